//! The main job from end to end, against the project's Vault and a real one.

use test_vault::{Target, json, on_every_https_vault, on_every_vault};

use crate::support::application::{as_role, reading, role, with_app};
use crate::support::{Run, run_at};

/// Returns a run that logs in with AppRole and has one reference.
fn with_approle(target: &Target) -> Run {
    let mount = with_app(target);
    as_role(target, &role(target, &reading(&mount), json!({})))
        .env("PASSWORD", format!("vault:{mount}/app#password"))
}

fn logs_in_and_starts(target: &Target) {
    let environment = with_approle(target).env("PLAIN", "plain").environment();
    assert_eq!(environment.get("PASSWORD").map(String::as_str), Some("s3cr3t"));
    assert_eq!(environment.get("PLAIN").map(String::as_str), Some("plain"));
    assert!(!environment.keys().any(|name| name.starts_with("VAULT_")), "{environment:?}");
}

#[test]
fn an_approle_login_fills_the_environment_over_http() {
    on_every_vault(logs_in_and_starts);
}

#[test]
fn an_approle_login_fills_the_environment_over_https() {
    on_every_https_vault(logs_in_and_starts);
}

#[test]
fn a_token_fills_the_environment() {
    on_every_vault(|target| {
        let run = run_at(target)
            .env("VAULT_TOKEN", target.root_token())
            .option("--secret")
            .option(format!("{}/app", with_app(target)));
        let environment = run.environment();
        assert_eq!(environment.get("user").map(String::as_str), Some("ada"));
        assert_eq!(environment.get("password").map(String::as_str), Some("s3cr3t"));
    });
}

#[test]
fn a_wrong_secret_id_is_refused_and_sent_once() {
    on_every_vault(|target| {
        with_approle(target)
            .env("VAULT_SECRET_ID", "wrong")
            .fails(77, &["auth/", "invalid role or secret ID"]);
        if let Some(own) = target.own() {
            assert_eq!(own.requests().len(), 1);
        }
    });
}
