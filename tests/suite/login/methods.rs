//! The table of auth methods: what each needs, what is said where that is not there, and which one
//! is taken.

use test_vault::TestVault;

use crate::support::{Run, run};

/// Every method, what a run lacks that names it alone, and what the hint must name.
const METHODS: [(&str, &str, &[&str]); 10] = [
    ("token", "no token", &["VAULT_TOKEN", "VAULT_TOKEN_FILE", "~/.vault-token"]),
    (
        "approle",
        "no role id",
        &["VAULT_ROLE_ID", "VAULT_SECRET_ID_FILE", "VAULT_WRAPPED_SECRET_ID"],
    ),
    ("kubernetes", "no role", &["VAULT_ROLE", "VAULT_JWT_FILE", "serviceaccount/token"]),
    ("jwt", "no JWT", &["VAULT_JWT", "VAULT_JWT_FILE", "VAULT_ROLE"]),
    ("cert", "no client certificate", &["VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "https"]),
    ("userpass", "no user name", &["VAULT_USERNAME", "VAULT_PASSWORD_FILE"]),
    ("ldap", "no user name", &["VAULT_USERNAME", "VAULT_PASSWORD"]),
    (
        "aws",
        "no credentials of AWS",
        &["VAULT_AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"],
    ),
    ("gcp", "no role", &["VAULT_ROLE", "GCE_METADATA_HOST"]),
    ("azure", "no role", &["VAULT_ROLE", "VAULT_AZURE_RESOURCE"]),
];

/// A run with something to fetch and no credentials, which would find nobody at home on the
/// instance.
fn bare(vault: &TestVault) -> Run {
    run()
        .env("VAULT_ADDR", vault.addr())
        .env("A", "vault:secret/data/a#k")
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

#[test]
fn a_method_that_lacks_something_says_what_it_needs_before_anything_is_asked() {
    let vault = TestVault::start();
    for (method, lacks, needs) in METHODS {
        for name in [method.to_owned(), method.to_uppercase()] {
            let ended = bare(&vault).env("VAULT_AUTH_METHOD", &name).fails(78, &[method, lacks]);
            for word in needs {
                assert!(ended.stderr.contains(word), "{method}: no {word} in {}", ended.stderr);
            }
        }
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn all_that_a_method_lacks_is_named_at_once() {
    let vault = TestVault::start();
    let run = bare(&vault).env("VAULT_AUTH_METHOD", "userpass");
    run.fails(78, &["no user name", "no password"]);
    run.env("VAULT_USERNAME", "ada").fails(78, &["no password"]);
    let kubernetes = bare(&vault).env("VAULT_AUTH_METHOD", "kubernetes");
    kubernetes.fails(78, &["no role", "no token of a service account"]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_method_that_there_is_not_is_answered_with_those_that_there_are() {
    let vault = TestVault::start();
    for run in [
        bare(&vault).option("--auth-method=aprole"),
        bare(&vault).env("BAO_AUTH_METHOD", "kubernets"),
    ] {
        let ended = run.fails(78, &["no such auth method"]);
        for (method, ..) in METHODS {
            assert!(ended.stderr.contains(method), "no {method} in {}", ended.stderr);
        }
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_role_without_credentials_means_kubernetes_which_is_said() {
    let vault = TestVault::start();
    let run = bare(&vault).env("VAULT_ROLE", "web");
    run.fails(
        78,
        &["VAULT_ROLE is set", "kubernetes", "no token of a service account", "VAULT_JWT"],
    );
    let named =
        run.env("VAULT_AUTH_METHOD", "kubernetes").fails(78, &["no token of a service account"]);
    assert!(!named.stderr.contains("VAULT_ROLE is set"), "{}", named.stderr);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn credentials_of_a_method_that_must_be_named_are_listed() {
    let vault = TestVault::start();
    let run = bare(&vault)
        .env("VAULT_JWT", "s3cret")
        .env("VAULT_USERNAME", "ada")
        .env("BAO_PASSWORD_FILE", "/p");
    let ended = run.fails(
        78,
        &[
            "VAULT_JWT",
            "VAULT_USERNAME",
            "BAO_PASSWORD_FILE",
            "VAULT_AUTH_METHOD",
            "userpass",
            "ldap",
        ],
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    assert_eq!(vault.connections(), 0);
}
