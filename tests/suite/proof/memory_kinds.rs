//! The proof of `memory` for every auth method in every circumstance: a method without a row here
//! makes a test fail.

use std::any::Any;
use std::fs;

use test_vault::{
    AwsKeys, AzureMetadata, Fault, GcpMetadata, JwtSigner, KubernetesApi, LocalServer, TestVault,
    json,
};
use vault_exec::door::login::METHODS;

use crate::proof::memory::{Credential, assert_clean_of};
use crate::proof::memory_aws;
use crate::proof::memory_methods::{PASSWORD, allowed, bytes, client, forms_of, google, microsoft};
use crate::support::aws_account::instance;
use crate::support::launch::{Served, as_root};
use crate::support::{Run, directory};

/// A prepared start: its run, what must not be left besides what the server has seen, and what has
/// to live as long.
struct Start(Run, Vec<Credential>, Box<dyn Any>);

/// Prepares a start that logs in and reads the secret of [`Served`].
type SetUp = fn(&Served) -> Start;

const KINDS: [(&str, SetUp); 11] = [
    ("token", |served| Start(served.with_token(), Vec::new(), Box::new(()))),
    ("approle", |served| Start(served.with_approle(), Vec::new(), Box::new(()))),
    ("kubernetes", kubernetes),
    ("jwt", jwt),
    ("cert", cert),
    ("userpass", userpass),
    ("ldap", ldap),
    ("aws", aws),
    ("gcp", gcp),
    ("azure", azure),
    ("none", none),
];

fn named(served: &Served, method: &str) -> Run {
    served.at().env("VAULT_AUTH_METHOD", method)
}

fn kubernetes(served: &Served) -> Start {
    let (api, operator) = (KubernetesApi::start(), served.vault.operator());
    operator.enable_kubernetes("kubernetes", &api);
    operator.kubernetes_role("kubernetes", "app", allowed());
    let token = api.token("default", "app", json!({}));
    let run = named(served, "kubernetes").option("--role=app").env("VAULT_JWT", &token);
    Start(run, bytes("JWT", &token), Box::new(api))
}

fn jwt(served: &Served) -> Start {
    let (signer, operator) = (JwtSigner::new(), served.vault.operator());
    operator.enable_jwt("jwt", &signer);
    operator.jwt_role("jwt", "app", allowed());
    let jwt = signer.sign(json!({ "sub": "job", "aud": "vault" }));
    let run = named(served, "jwt").option("--role=app").env("VAULT_JWT", &jwt);
    Start(run, bytes("JWT", &jwt), Box::new(()))
}

fn cert(served: &Served) -> Start {
    let (client, run) = client(served);
    Start(run, forms_of(&client), Box::new(client))
}

fn userpass(served: &Served) -> Start {
    served.vault.operator().enable_userpass("userpass");
    let user = json!({ "password": PASSWORD, "token_policies": ["app"] });
    served.vault.operator().userpass_user("userpass", "ada", user);
    with_password(served, "userpass")
}

fn ldap(served: &Served) -> Start {
    served.vault.operator().enable_ldap("ldap", Some(&[("ada", PASSWORD)]));
    served.vault.operator().ldap_user("ldap", "ada", json!({ "policies": ["app"] }));
    with_password(served, "ldap")
}

fn with_password(served: &Served, method: &str) -> Start {
    let run = named(served, method).env("VAULT_USERNAME", "ada").env("VAULT_PASSWORD", PASSWORD);
    Start(run, bytes("password", PASSWORD), Box::new(()))
}

fn aws(served: &Served) -> Start {
    let keys = AwsKeys::of_role("app", "session");
    memory_aws::let_in(served, &keys);
    let source = instance(&keys);
    Start(source.add_to(memory_aws::run(served)), memory_aws::credentials(&keys), Box::new(source))
}

fn gcp(served: &Served) -> Start {
    let metadata = GcpMetadata::start();
    Start(google(served, &metadata), Vec::new(), Box::new(metadata))
}

fn azure(served: &Served) -> Start {
    let metadata = AzureMetadata::start();
    Start(microsoft(served, &metadata), Vec::new(), Box::new(metadata))
}

fn none(served: &Served) -> Start {
    served.vault.add_token(&served.token);
    Start(named(served, "none"), Vec::new(), Box::new(()))
}

#[test]
fn every_method_has_a_row() {
    let methods: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
    assert_eq!(KINDS.map(|(name, _)| name).as_slice(), methods);
}

/// Prepares each start on a server of its own, and tests it.
fn on_each(start: impl Fn() -> Served, test: impl Fn(&str, &Served, &Run, &[Credential])) {
    for (name, set_up) in KINDS {
        let served = start();
        // The certificate is shown in the handshake.
        if name == "cert" && served.vault.tls().is_none() {
            continue;
        }
        let Start(run, others, _kept) = set_up(&served);
        test(name, &served, &run, &others);
        let reads =
            served.vault.lines().iter().filter(|line| line.ends_with("/secret/data/app")).count();
        assert!(reads > 0, "{name}: nothing was read");
    }
}

fn https() -> Served {
    Served::https()
}

#[test]
fn nothing_is_left_whatever_the_method_and_the_protocol() {
    as_root("proof::memory_kinds::nothing_is_left_whatever_the_method_and_the_protocol", || {
        let http1 = || Served::by(TestVault::builder().https().http1_only());
        on_each(Served::http, |_, served, run, others| assert_clean_of(served, run, others));
        on_each(http1, |_, served, run, others| assert_clean_of(served, run, others));
        on_each(https, |_, served, run, others| assert_clean_of(served, run, others));
    });
}

#[test]
fn nothing_is_left_whatever_the_method_where_tries_fail_and_the_token_stays() {
    as_root(
        "proof::memory_kinds::nothing_is_left_whatever_the_method_where_tries_fail_and_the_token_stays",
        || {
            on_each(https, |_, served, run, others| {
                served.vault.fault_times(1, "/v1/auth/", Fault::sealed());
                served.vault.fault_times(1, "/v1/sys/", Fault::bad_gateway());
                served.vault.fault_times(1, "/v1/secret/", Fault::Close);
                assert_clean_of(served, &run.clone().option("--revoke=false"), others);
            });
        },
    );
}

#[test]
fn nothing_is_left_whatever_the_method_where_the_token_cannot_be_revoked() {
    as_root(
        "proof::memory_kinds::nothing_is_left_whatever_the_method_where_the_token_cannot_be_revoked",
        || {
            on_each(https, |name, served, run, others| {
                served.vault.fault("/v1/auth/token/revoke-self", Fault::internal_error());
                // Without a login there is no token to revoke.
                let run =
                    if name == "none" { run.clone() } else { run.clone().option("--revoke=true") };
                assert_clean_of(served, &run, others);
            });
        },
    );
}

#[test]
fn nothing_is_left_whatever_the_method_where_a_standby_sends_it_on() {
    as_root(
        "proof::memory_kinds::nothing_is_left_whatever_the_method_where_a_standby_sends_it_on",
        || {
            on_each(https, |name, served, run, others| {
                let (standby, files) = LocalServer::standby(&served.vault.addr()).over_tls();
                let directory = directory();
                let both = directory.path().join("ca.pem");
                let read = |file| fs::read_to_string(file).expect("a certificate");
                let authorities = read(files.ca()) + &read(served.vault.tls().expect("https").ca());
                fs::write(&both, authorities).expect("a file");
                assert_clean_of(
                    served,
                    &run.clone().env("VAULT_ADDR", standby.addr()).env("VAULT_CACERT", both),
                    others,
                );
                assert!(!standby.requests().is_empty(), "{name}: the standby was not asked");
            });
        },
    );
}
