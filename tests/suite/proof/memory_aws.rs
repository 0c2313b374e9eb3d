//! The proof that nothing of an AWS login is left in the process that becomes the application,
//! except what the application itself has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_vault::{AwsKeys, json};

use crate::proof::memory::frozen::Frozen;
use crate::proof::memory::{Credential, assert_clean_of, frozen_clean, left, places};
use crate::support::Run;
use crate::support::aws_account::{
    AUTHORIZATION, Source, TOKEN, container, decoded, instance, signature, sources, web_identity,
    with_keys,
};
use crate::support::controls::control;
use crate::support::launch::{Served, as_root};

/// Makes a server accept these keys.
pub(crate) fn let_in(served: &Served, keys: &AwsKeys) {
    let operator = served.vault.operator();
    operator.enable_aws("aws", json!({}), &[keys]);
    operator.aws_role("aws", "app", json!({ "token_policies": ["app"] }));
}

fn served(keys: &AwsKeys, served: Served) -> Served {
    let_in(&served, keys);
    served
}

pub(crate) fn run(served: &Served) -> Run {
    served.at().env("VAULT_AUTH_METHOD", "aws").env("AWS_EC2_METADATA_DISABLED", "true")
}

/// Returns the signature, and the part of the login's base64 that contains it.
fn signatures(served: &Served) -> Vec<Credential> {
    let requests = served.vault.requests();
    let login = requests
        .iter()
        .find(|request| request.path == "/v1/auth/aws/login")
        .expect("a login")
        .json();
    let signature = signature(&decoded(&login));
    let encoded = login["iam_request_headers"].as_str().expect("text");
    let text = String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8");
    let at = text.find(&signature).expect("the signature").div_ceil(3) * 4;
    vec![("signature", signature.into()), ("encoded signature", encoded[at..at + 64].into())]
}

/// Returns what a source hands out, and the credentials that it is asked with.
pub(crate) fn credentials(keys: &AwsKeys) -> Vec<Credential> {
    let AwsKeys { secret_access_key, session_token, .. } = keys.clone();
    vec![
        ("secret access key", secret_access_key.into()),
        ("session token", session_token.expect("a token").into()),
        ("web identity", TOKEN.into()),
        // No encoding changes this part.
        ("web identity's end", TOKEN.rsplit('.').next().expect("an end").into()),
        ("authorization", AUTHORIZATION.into()),
    ]
}

/// Asserts that, over http and https to Vault, nothing is left of what the source handed out, nor
/// of what was made from it.
fn nothing_is_left(source: impl Fn(&AwsKeys) -> Source) {
    for vault in [Served::http(), Served::https()] {
        let keys = AwsKeys::of_role("app", "session");
        let (served, source) = (served(&keys, vault), source(&keys));
        let run = source.add_to(run(&served));
        assert_clean_of(&served, &run, &credentials(&keys));
        served.vault.clear();
        let frozen = frozen_clean(&served, &run, &[]);
        let requests = source.requests();
        let token =
            requests.iter().rev().find_map(|request| request.header("x-aws-ec2-metadata-token"));
        let token = token.map(|token| ("the instance's token", token.into()));
        let left = left(&frozen, &signatures(&served).into_iter().chain(token).collect::<Vec<_>>());
        assert!(left.is_empty(), "{}: {left:#?}", source.name);
    }
}

#[test]
fn nothing_of_a_web_identity_and_its_keys_is_left() {
    as_root("proof::memory_aws::nothing_of_a_web_identity_and_its_keys_is_left", || {
        nothing_is_left(web_identity);
    });
}

#[test]
fn nothing_of_a_containers_keys_is_left() {
    as_root("proof::memory_aws::nothing_of_a_containers_keys_is_left", || {
        nothing_is_left(container);
    });
}

#[test]
fn nothing_of_an_instances_keys_is_left() {
    as_root("proof::memory_aws::nothing_of_an_instances_keys_is_left", || {
        nothing_is_left(instance);
    });
}

#[test]
fn the_search_finds_what_an_allocator_that_does_not_wipe_leaves_of_each() {
    as_root(
        "proof::memory_aws::the_search_finds_what_an_allocator_that_does_not_wipe_leaves_of_each",
        || {
            let keys = AwsKeys::of_role("app", "session");
            let served = served(&keys, Served::https());
            for source in sources(&keys) {
                served.vault.clear();
                let frozen =
                    Frozen::start(&control("control_unwiped_heap"), &source.add_to(run(&served)));
                let left = left(&frozen, &[credentials(&keys), signatures(&served)].concat());
                for name in ["secret access key", "session token", "signature"] {
                    let is_found =
                        left.iter().any(|found| found.contains(&format!("half of {name}:")));
                    assert!(is_found, "{}: {name} was not found: {left:#?}", source.name);
                }
            }
        },
    );
}

#[test]
fn keys_of_the_environment_are_left_in_that_of_the_application_only() {
    as_root(
        "proof::memory_aws::keys_of_the_environment_are_left_in_that_of_the_application_only",
        || {
            for vault in [Served::http(), Served::https()] {
                let keys = AwsKeys::of_role("app", "session");
                let served = served(&keys, vault);
                let run = with_keys(run(&served), &keys);
                for (run, new) in [(run.clone(), 1), (run.option("--clean-env"), 0)] {
                    let frozen = frozen_clean(&served, &run, &[]);
                    for value in
                        [&keys.secret_access_key, keys.session_token.as_ref().expect("a token")]
                    {
                        let (first, second) = value.split_at(value.len() / 2);
                        assert_eq!(
                            [first, second].map(|half| places(&frozen, half)),
                            [(new, 0); 2]
                        );
                    }
                    let left = left(&frozen, &signatures(&served));
                    assert!(left.is_empty(), "{left:#?}");
                    served.vault.clear();
                }
            }
        },
    );
}
