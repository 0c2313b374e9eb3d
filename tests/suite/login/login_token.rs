//! `VAULT_TOKEN=vault:login`: the application talks to Vault itself, with the token of our login.

use std::collections::BTreeMap;

use test_vault::{Flavour, Target, TestVault, json, on_every_https_vault, on_every_vault};

use crate::support::application::{AppRole, as_role, kv, reading, role, token, with_app};
use crate::support::{Run, directory, run, run_at};

/// A run whose application gets the token of a login by a role that may do this.
fn ready(target: &Target, hcl: &str) -> (AppRole, Run) {
    let role = role(target, hcl, json!({}));
    let run = as_role(target, &role).env("VAULT_TOKEN", "vault:login");
    (role, run)
}

#[track_caller]
fn is_good(target: &Target, token: &str) {
    let (status, answer) =
        target.http().request("GET", "auth/token/lookup-self", Some(token), None);
    assert_eq!(status, 200, "{answer}");
}

fn names(environment: &BTreeMap<String, String>) -> Vec<&str> {
    environment.keys().map(String::as_str).filter(|name| *name != "PATH").collect()
}

fn revocations(target: &Target) -> usize {
    let own = target.own().expect("own");
    own.lines().into_iter().filter(|line| line == "POST /v1/auth/token/revoke-self").count()
}

// Peer case A40.
#[test]
fn the_application_gets_a_token_that_works_and_all_that_a_client_needs() {
    on_every_https_vault(|target| {
        let mount = with_app(target);
        let (role, run) = ready(target, &reading(&mount));
        let run = run
            .env("A", format!("vault:{mount}/app#user"))
            .env("VAULT_SECRET_ID_FILE", "")
            .env("VAULT_X", "x");
        let environment = run.environment();
        assert_eq!(names(&environment), ["A", "VAULT_ADDR", "VAULT_CACERT", "VAULT_TOKEN"]);
        assert_eq!(environment["A"], "ada");
        assert_eq!(environment["VAULT_ADDR"], target.addr());
        assert_eq!(
            Some(environment["VAULT_CACERT"].as_str()),
            target.ca_file().and_then(|file| file.to_str())
        );
        let token = &environment["VAULT_TOKEN"];
        is_good(target, token);
        let (status, answer) =
            target.http().request("GET", &format!("{mount}/data/app"), Some(token), None);
        assert_eq!(
            (status, answer["data"]["data"]["password"].as_str()),
            (200, Some("s3cr3t")),
            "{answer}"
        );
        assert!(
            !environment.values().any(|value| *value == role.secret_id || *value == role.role_id)
        );
    });
}

// Peer case A40, with the other names that vault-env leaves in place.
#[test]
fn the_settings_of_a_client_are_passed_and_those_of_the_login_are_not() {
    let target: Target = TestVault::builder().flavour(Flavour::Vault).start().into();
    let (_, run) = ready(&target, &reading("nowhere"));
    let passed = [
        ("VAULT_NAMESPACE", "team/a"),
        ("VAULT_TLS_SERVER_NAME", "vault.example"),
        ("VAULT_SKIP_VERIFY", "false"),
        ("VAULT_CLIENT_TIMEOUT", "30s"),
        ("VAULT_MAX_RETRIES", "2"),
        ("VAULT_WRAP_TTL", "5m"),
        ("VAULT_MFA", "x"),
        ("VAULT_SRV_LOOKUP", "false"),
    ];
    let stripped = [
        "VAULT_ROLE",
        "VAULT_AUTH_METHOD",
        "VAULT_ENV_PASSTHROUGH",
        "VAULT_EXEC_TIMEOUT",
        "VAULT_PORT",
    ];
    let run = passed.iter().fold(run, |run, (name, value)| run.env(*name, *value));
    let run = run
        .env("VAULT_ROLE", "x")
        .env("VAULT_AUTH_METHOD", "approle")
        .env("VAULT_EXEC_TIMEOUT", "20s");
    let environment = run.env("VAULT_PORT", "tcp://x").environment();
    for (name, value) in passed {
        assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
    }
    for name in stripped {
        assert!(!environment.contains_key(name), "{name}");
    }
    assert_eq!(environment.len(), passed.len() + 3, "{environment:?}");
}

#[test]
fn the_address_and_the_namespace_are_those_in_effect() {
    let target: Target = TestVault::builder().flavour(Flavour::Vault).start().into();
    let (_, run) = ready(&target, &reading("nowhere"));
    let run = run.env("VAULT_ADDR", "http://127.0.0.1:1").option("--addr").option(target.addr());
    let environment =
        run.clone().option("--namespace=team/b").env("VAULT_NAMESPACE", "team/a").environment();
    assert_eq!(names(&environment), ["VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_TOKEN"]);
    assert_eq!(
        (environment["VAULT_ADDR"].as_str(), environment["VAULT_NAMESPACE"].as_str()),
        (&*target.addr(), "team/b")
    );
    let without = run.clone().without("VAULT_ADDR").environment();
    assert_eq!(without["VAULT_ADDR"], target.addr());
    let (_, run) = ready(&target, &reading("nowhere"));
    let agent = run
        .env("VAULT_ADDR", "http://127.0.0.1:1")
        .env("VAULT_AGENT_ADDR", target.addr())
        .environment();
    assert_eq!(
        names(&agent),
        ["VAULT_ADDR", "VAULT_TOKEN"],
        "an agent's address is an address to a client"
    );
    assert_eq!(agent["VAULT_ADDR"], target.addr());
}

#[test]
fn with_nothing_else_to_fetch_there_is_a_login_and_the_token_lives_on() {
    on_every_vault(|target| {
        let (_, run) = ready(target, &reading("nowhere"));
        for revoke in ["auto", "false"] {
            let environment = run.clone().option("--revoke").option(revoke).environment();
            is_good(target, &environment["VAULT_TOKEN"]);
        }
        if target.own().is_some() {
            assert_eq!(revocations(target), 0);
        }
        run.clone().option("--revoke=true").fails(78, &["vault:login", "--revoke"]);
        run.env("VAULT_REVOKE_TOKEN", "yes").fails(78, &["vault:login", "VAULT_REVOKE_TOKEN"]);
    });
}

#[test]
fn the_variable_that_asks_says_with_which_prefix_all_come() {
    on_every_vault(|target| {
        let role = role(target, &reading("nowhere"), json!({}));
        for text in ["vault:login", "bao:login", " vault:login\n"] {
            let environment = as_role(target, &role).env("BAO_TOKEN", text).environment();
            assert_eq!(names(&environment), ["BAO_ADDR", "BAO_TOKEN"], "{text:?}");
            assert_eq!(environment["BAO_ADDR"], target.addr());
            is_good(target, &environment["BAO_TOKEN"]);
        }
    });
}

#[test]
fn an_env_file_may_ask_for_it() {
    on_every_vault(|target| {
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(&file, format!("VAULT_TOKEN=vault:login\nVAULT_ADDR={}\n", target.addr()))
            .expect("written");
        let role = role(target, &reading("nowhere"), json!({}));
        let run = as_role(target, &role).without("VAULT_ADDR").option("--env-file").option(&file);
        for run in [run.clone(), run.option("--clean-env")] {
            let environment = run.environment();
            assert_eq!(names(&environment), ["VAULT_ADDR", "VAULT_TOKEN"]);
            assert_eq!(environment["VAULT_ADDR"], target.addr());
            is_good(target, &environment["VAULT_TOKEN"]);
        }
    });
}

#[test]
fn an_empty_variable_does_not_hide_what_an_env_file_asks_for() {
    on_every_vault(|target| {
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(&file, "VAULT_TOKEN=vault:login\n").expect("written");
        let role = role(target, &reading("nowhere"), json!({}));
        let run = as_role(target, &role).env("VAULT_TOKEN", "").option("--env-file").option(&file);
        let environment = run.environment();
        assert_eq!(names(&environment), ["VAULT_ADDR", "VAULT_TOKEN"]);
        is_good(target, &environment["VAULT_TOKEN"]);
    });
}

#[test]
fn a_clean_environment_has_it_and_each_name_once() {
    on_every_vault(|target| {
        let (_, run) = ready(target, &reading("nowhere"));
        let run = run.env("OTHER", "x").option("--keep=VAULT_ADDR,VAULT_TOKEN");
        let environment = run.clone().environment();
        assert_eq!(names(&environment), ["OTHER", "VAULT_ADDR", "VAULT_TOKEN"]);
        is_good(target, &environment["VAULT_TOKEN"]);
        let environment = run.option("--clean-env").environment();
        assert_eq!(names(&environment), ["VAULT_ADDR", "VAULT_TOKEN"]);
        is_good(target, &environment["VAULT_TOKEN"]);
    });
}

#[test]
fn a_token_that_is_given_in_a_file_is_the_one_that_is_handed_on() {
    on_every_vault(|target| {
        let directory = directory();
        let file = directory.path().join("token");
        let token = token(target, &reading("nowhere"));
        std::fs::write(&file, format!("{token}\n")).expect("written");
        for name in ["VAULT_TOKEN_FILE", "VAULT_TOKEN_PATH"] {
            let run = run_at(target).env("VAULT_TOKEN", "vault:login").env(name, &file);
            let environment = run.environment();
            assert_eq!(names(&environment), ["VAULT_ADDR", "VAULT_TOKEN"], "{name}");
            assert_eq!(environment["VAULT_TOKEN"], token);
        }
        is_good(target, &token);
    });
}

#[test]
fn without_credentials_or_without_vault_it_is_an_error() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", "vault:login");
    run.fails(78, &["no credentials"]);
    run.clone().env("VAULT_AUTH_METHOD", "token").env("HOME", "/nowhere").fails(78, &["no token"]);
    let run = run.env("VAULT_ROLE_ID", "r").env("VAULT_SECRET_ID", "s");
    run.clone().env("VAULT_ENABLED", "false").fails(78, &["VAULT_TOKEN", "VAULT_ENABLED"]);
    run.clone().without("VAULT_ADDR").fails(78, &["VAULT_ADDR"]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_start_that_fails_revokes_the_token_nevertheless() {
    let target: Target = TestVault::start().into();
    let mount = kv(&target, 2);
    let (_, run) = ready(&target, &reading(&mount));
    run.clone().env("A", format!("vault:{mount}/none#k")).fails(66, &["A: "]);
    assert_eq!(revocations(&target), 1);
    run.env("A", format!("vault:{mount}/none#k")).option("--revoke=false").fails(66, &["A: "]);
    assert_eq!(revocations(&target), 1, "it is not wanted");
}

#[test]
fn a_refused_login_starts_nothing() {
    on_every_vault(|target| {
        let (_, run) = ready(target, &reading("nowhere"));
        run.env("VAULT_SECRET_ID", "wrong").fails(77, &["approle"]);
    });
}

#[test]
fn only_the_token_may_ask_for_it() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let (_, run) = ready(target, &reading(&mount));
        run.clone().env("OTHER", "vault:login").fails(78, &["OTHER"]);
        run.env("VAULT_ADDR", "vault:login").fails(78, &["VAULT_ADDR"]);
    });
}

// Peer cases A41, A42.
#[test]
fn a_plain_token_is_not_handed_on_unless_it_is_kept_by_name() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&mount));
        let run = run_at(target)
            .env("VAULT_TOKEN", &token)
            .env("VAULT_SKIP_VERIFY", "false")
            .env("VAULT_ROLE", "web")
            .env("A", format!("vault:{mount}/app#user"));
        assert_eq!(names(&run.environment()), ["A"]);
        let kept = run.env("VAULT_ENV_PASSTHROUGH", "VAULT_ADDR, VAULT_ROLE").environment();
        assert_eq!(names(&kept), ["A", "VAULT_ADDR", "VAULT_ROLE"]);
        assert_eq!(
            (kept["VAULT_ADDR"].as_str(), kept["VAULT_ROLE"].as_str()),
            (&*target.addr(), "web")
        );
    });
}
