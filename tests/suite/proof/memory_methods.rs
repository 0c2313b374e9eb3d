//! The proof of `memory` for the auth methods other than token and AppRole: no JWT, no password and
//! no client key is left.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_vault::{
    AzureMetadata, ClientCa, ClientCertificate, GcpMetadata, JwtSigner, KubernetesApi, Recorded,
    TestVault, Versions, json,
};

use crate::proof::memory::frozen::Frozen;
use crate::proof::memory::{
    Credential, assert_clean, assert_clean_of, credentials, is_optimised, left,
};
use crate::support::controls::control;
use crate::support::launch::{Served, as_root};
use crate::support::{Run, directory};

pub(crate) const PASSWORD: &str = "the password of a user, which nobody else has: 8d1f0c";

/// Returns the policy that allows reading the secret of the start.
pub(crate) fn allowed() -> test_vault::Value {
    json!({ "token_policies": ["app"] })
}

pub(crate) fn bytes(name: &'static str, value: &str) -> Vec<Credential> {
    vec![(name, value.as_bytes().to_vec())]
}

/// Asserts that nothing is left of a credential in the variable `name`, nor in the file that
/// `name_FILE` names.
fn assert_clean_in_both_forms(
    served: &Served,
    run: &Run,
    name: &str,
    kind: &'static str,
    value: &str,
) {
    assert_clean_of(served, &run.clone().env(name, value), &bytes(kind, value));
    let directory = directory();
    let file = directory.path().join("credential");
    fs::write(&file, format!("{value}\n")).expect("a file");
    assert_clean_of(served, &run.clone().env(format!("{name}_FILE"), &file), &bytes(kind, value));
}

#[test]
fn nothing_of_a_service_accounts_token_is_left() {
    as_root("proof::memory_methods::nothing_of_a_service_accounts_token_is_left", || {
        for served in [Served::http(), Served::https()] {
            let (api, operator) = (KubernetesApi::start(), served.vault.operator());
            operator.enable_kubernetes("kubernetes", &api);
            operator.kubernetes_role("kubernetes", "app", allowed());
            let token = api.token("default", "app", json!({}));
            assert_clean_in_both_forms(
                &served,
                &served.at().option("--role=app"),
                "VAULT_JWT",
                "JWT",
                &token,
            );
        }
    });
}

#[test]
fn nothing_of_a_jwt_is_left() {
    as_root("proof::memory_methods::nothing_of_a_jwt_is_left", || {
        for served in [Served::http(), Served::https()] {
            let (signer, operator) = (JwtSigner::new(), served.vault.operator());
            operator.enable_jwt("jwt", &signer);
            operator.jwt_role("jwt", "app", allowed());
            let jwt = signer.sign(json!({ "sub": "job", "aud": "vault" }));
            let run = served.at().env("VAULT_AUTH_METHOD", "jwt").env("VAULT_ROLE", "app");
            assert_clean_in_both_forms(&served, &run, "VAULT_JWT", "JWT", &jwt);
        }
    });
}

#[test]
fn nothing_of_a_password_is_left() {
    as_root("proof::memory_methods::nothing_of_a_password_is_left", || {
        for served in [Served::http(), Served::https()] {
            let operator = served.vault.operator();
            operator.enable_userpass("userpass");
            let user = json!({ "password": PASSWORD, "token_policies": ["app"] });
            operator.userpass_user("userpass", "ada", user);
            operator.enable_ldap("ldap", Some(&[("ada", PASSWORD)]));
            operator.ldap_user("ldap", "ada", json!({ "policies": ["app"] }));
            for method in ["userpass", "ldap"] {
                let run = served.at().env("VAULT_AUTH_METHOD", method).env("VAULT_USERNAME", "ada");
                assert_clean_in_both_forms(&served, &run, "VAULT_PASSWORD", "password", PASSWORD);
            }
        }
    });
}

/// Returns a client certificate that the server accepts, and a run that logs in with it.
pub(crate) fn client(served: &Served) -> (ClientCertificate, Run) {
    client_with(served, |ca| ca.issue("app"))
}

fn client_with(
    served: &Served,
    issue: impl FnOnce(&ClientCa) -> ClientCertificate,
) -> (ClientCertificate, Run) {
    let (ca, operator) = (ClientCa::new(), served.vault.operator());
    operator.enable_cert("cert");
    operator.cert_role("cert", "app", &ca.pem(), allowed());
    let client = issue(&ca);
    let run = served.at().env("VAULT_AUTH_METHOD", "cert");
    let run = run.env("VAULT_CLIENT_CERT", client.cert()).env("VAULT_CLIENT_KEY", client.key());
    (client, run)
}

/// Returns a private key as it is in its file, and as DER.
fn files_forms(client: &ClientCertificate) -> Vec<Credential> {
    let pem = fs::read_to_string(client.key()).expect("the key");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(&body).expect("base64");
    vec![("key's PEM", body.into_bytes()), ("key's DER", der)]
}

/// Returns a number as files store it, and as arithmetic does: with the least significant limb
/// first, which is the reverse byte order on these machines.
fn both_orders(name: &'static str, number: &[u8]) -> Vec<Credential> {
    vec![(name, number.to_vec()), (name, number.iter().rev().copied().collect())]
}

/// Returns an RSA private key in all its forms: each number that gives the others away.
fn forms_of_rsa(client: &ClientCertificate) -> Vec<Credential> {
    let mut forms = files_forms(client);
    let der = forms[1].1.clone();
    // RSAPrivateKey (RFC 8017, A.1.2) without its version, modulus and public exponent.
    let names = ["d", "p", "q", "d mod p-1", "d mod q-1", "1/q mod p"];
    let numbers = integers(&der);
    assert_eq!(numbers.len(), names.len() + 4, "version, and version, modulus, exponent, …");
    for (name, number) in names.into_iter().zip(&numbers[4..]) {
        forms.extend(both_orders(name, number));
    }
    forms
}

/// Returns all integers in DER, including those in octet strings and sequences, without leading
/// zeros.
fn integers(mut der: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let long = usize::from(first & 0x7f);
        let (length, rest) = if first & 0x80 == 0 {
            (long, rest)
        } else {
            let (length, rest) = rest.split_at(long);
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        };
        let (content, behind) = rest.split_at(length);
        match tag {
            0x02 => {
                found.push(content.iter().copied().skip_while(|byte| *byte == 0).collect());
            }
            0x04 | 0x30 => found.extend(integers(content)),
            _ => {}
        }
        der = behind;
    }
    found
}

/// Returns a P-256 private key as it is in its file, as DER, and the secret number itself.
pub(crate) fn forms_of(client: &ClientCertificate) -> Vec<Credential> {
    let mut forms = files_forms(client);
    let der = &forms[1].1;
    // PKCS #8 around SEC 1 (RFC 5915): the number follows the tag and the length of its octet
    // string.
    let at =
        der.windows(5).position(|window| window == [2, 1, 1, 4, 32]).expect("a key of P-256") + 5;
    let number = der[at..at + 32].to_vec();
    forms.extend(both_orders("key", &number));
    forms
}

#[test]
fn nothing_of_a_client_certificates_key_is_left() {
    as_root("proof::memory_methods::nothing_of_a_client_certificates_key_is_left", || {
        let served = Served::https();
        let (client, run) = client(&served);
        assert_clean_of(&served, &run, &forms_of(&client));
        assert_clean_of(&served, &run.option("--role=app"), &forms_of(&client));
    });
}

#[test]
fn nothing_of_a_client_certificates_key_of_rsa_is_left() {
    as_root("proof::memory_methods::nothing_of_a_client_certificates_key_of_rsa_is_left", || {
        for versions in [Versions::Tls12, Versions::Tls13] {
            let served = Served::by(TestVault::builder().https().tls_versions(versions));
            let (client, run) = client_with(&served, |ca| ca.issue_rsa("app"));
            assert_clean_of(&served, &run, &forms_of_rsa(&client));
        }
    });
}

#[test]
fn the_search_finds_a_key_of_rsa_where_the_stack_is_not_wiped() {
    as_root(
        "proof::memory_methods::the_search_finds_a_key_of_rsa_where_the_stack_is_not_wiped",
        || {
            let served = Served::https();
            let (client, run) = client_with(&served, |ca| ca.issue_rsa("app"));
            let frozen = Frozen::start(&control("control_unwiped_stack"), &run);
            let left = left(&frozen, &forms_of_rsa(&client));
            assert!(
                !is_optimised() || left.iter().any(|found| found.contains("[stack]")),
                "{left:#?}"
            );
        },
    );
}

/// Asserts that nothing is left of the only JWT that a metadata server has issued, as Vault has
/// seen it, nor of Vault's token.
fn assert_clean_and_logged_in(served: &Served, run: &Run) {
    assert_clean(served, run);
    let is_login =
        |request: &&Recorded| request.path.ends_with("/login") && request.json()["jwt"].is_string();
    let login = served.vault.requests().iter().find(is_login).and_then(|login| login.status);
    assert_eq!(login, Some(200), "no JWT was searched for");
}

/// Returns a run on a Google machine, which logs in.
pub(crate) fn google(served: &Served, metadata: &GcpMetadata) -> Run {
    let operator = served.vault.operator();
    operator.enable_gcp("gcp", metadata);
    operator.gcp_role("gcp", "app", allowed());
    let run = served.at().env("VAULT_AUTH_METHOD", "gcp").env("GCE_METADATA_HOST", metadata.host());
    run.option("--role=app")
}

#[test]
fn nothing_of_an_identity_of_google_is_left() {
    as_root("proof::memory_methods::nothing_of_an_identity_of_google_is_left", || {
        for served in [Served::http(), Served::https()] {
            let metadata = GcpMetadata::start();
            assert_clean_and_logged_in(&served, &google(&served, &metadata));
        }
    });
}

/// Returns a run on a Microsoft machine, which logs in.
pub(crate) fn microsoft(served: &Served, metadata: &AzureMetadata) -> Run {
    let operator = served.vault.operator();
    operator.enable_azure("azure", metadata, "https://management.azure.com/");
    let bounds = json!({
        "token_policies": ["app"], "bound_subscription_ids": [AzureMetadata::SUBSCRIPTION],
    });
    operator.azure_role("azure", "app", bounds);
    let run = served.at().env("VAULT_AUTH_METHOD", "azure");
    run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", metadata.addr()).option("--role=app")
}

#[test]
fn nothing_of_a_managed_identitys_token_is_left() {
    as_root("proof::memory_methods::nothing_of_a_managed_identitys_token_is_left", || {
        for served in [Served::http(), Served::https()] {
            let metadata = AzureMetadata::start();
            assert_clean_and_logged_in(&served, &microsoft(&served, &metadata));
        }
    });
}

#[test]
fn the_search_finds_what_the_methods_leave_without_the_wiping() {
    as_root(
        "proof::memory_methods::the_search_finds_what_the_methods_leave_without_the_wiping",
        || {
            let served = Served::https();
            // A key of RSA has numbers that are long enough to outlive the next use of their memory.
            let (client, run) = client_with(&served, |ca| ca.issue_rsa("app"));
            let frozen = Frozen::start(&control("control_unwiped_heap"), &run);
            assert!(
                !left(&frozen, &forms_of_rsa(&client)).is_empty(),
                "nothing of the key was found"
            );
            served.vault.operator().enable_userpass("userpass");
            let user = json!({ "password": PASSWORD, "token_policies": ["app"] });
            served.vault.operator().userpass_user("userpass", "ada", user);
            let run = served.at().env("VAULT_AUTH_METHOD", "userpass").env("VAULT_USERNAME", "ada");
            let frozen = Frozen::start(
                &control("control_unwiped_block"),
                &run.env("VAULT_PASSWORD", PASSWORD),
            );
            assert!(
                !left(&frozen, &bytes("password", PASSWORD)).is_empty(),
                "nothing of the password was found"
            );
        },
    );
}

#[test]
fn the_search_finds_an_identity_without_the_wiping() {
    as_root("proof::memory_methods::the_search_finds_an_identity_without_the_wiping", || {
        let (served, metadata) = (Served::http(), GcpMetadata::start());
        let run = google(&served, &metadata);
        let frozen = Frozen::start(&control("control_unwiped_heap"), &run);
        let left = left(&frozen, &credentials(&served));
        assert!(left.iter().any(|found| found.contains("half of JWT")), "{left:#?}");
    });
}
