//! Settings that were meant to be something else: names that are nearly ours, values that nobody
//! expanded, and what belongs elsewhere.

use std::fs;

use test_vault::{Target, TestVault};
use vault_exec::settings::names::ALL;

use crate::support::{Run, directory, run, run_at};

/// A run that reads a secret, with what a setting of this name needs beside it to be looked at.
fn complete(run: Run, name: &str) -> Run {
    let run = run.env("A", "vault:secret/app#a");
    let base = name.strip_suffix("_FILE").unwrap_or(name);
    match base {
        "ROLE_ID" => run.env("VAULT_AUTH_METHOD", "approle"),
        "SECRET_ID" | "WRAPPED_SECRET_ID" => run.env("VAULT_ROLE_ID", "r"),
        "JWT" | "ID_TOKEN" => run.env("VAULT_AUTH_METHOD", "jwt").env("VAULT_ROLE", "r"),
        "PASSWORD" => run.env("VAULT_AUTH_METHOD", "userpass").env("VAULT_USERNAME", "u"),
        "TOKEN" | "TOKEN_PATH" => run,
        "CLIENT_CERT" => run.env("VAULT_TOKEN", "t").env("VAULT_CLIENT_KEY", "/dev/null"),
        "CLIENT_KEY" => run.env("VAULT_TOKEN", "t").env("VAULT_CLIENT_CERT", "/dev/null"),
        "SERVER_URL" => run.env("VAULT_TOKEN", "t").without("VAULT_ADDR"),
        _ => run.env("VAULT_TOKEN", "t"),
    }
}

#[test]
fn a_name_that_is_nearly_one_of_ours_warns_and_one_of_a_service_does_not() {
    let warned = run().env("VAULT_EXEC_TIMEOUTT", "1s").marker().end();
    assert!(
        warned.started() && warned.stderr.contains("did you mean VAULT_EXEC_TIMEOUT?"),
        "{}",
        warned.stderr
    );
    let in_file = directory();
    let file = in_file.path().join("settings.env");
    fs::write(&file, "BAO_EXEC_KEPT=A\n").expect("a file");
    let warned = run().option("--env-file").option(&file).marker().end();
    assert!(warned.stderr.contains("did you mean BAO_EXEC_KEEP?"), "{}", warned.stderr);
    for quiet in [
        run()
            .env("VAULT_EXEC_PORT", "tcp://10.0.0.1:80")
            .env("VAULT_EXEC_SERVICE_HOST", "10.0.0.1"),
        run().env("VAULT_EXEC_MINE", "1").options(["--keep", "VAULT_EXEC_MINE"]),
        run().env("VAULT_EXECUTOR", "1").env("VAULT_TIMEOUTT", "1"),
    ] {
        assert_eq!(quiet.marker().end().stderr, "");
    }
}

/// Every setting that is a text, with what a deployment did not expand or has put around it.
#[test]
fn a_setting_that_was_not_expanded_or_has_quotes_around_it_is_an_error_at_once() {
    let target = Target::from(TestVault::start());
    for setting in ALL {
        for name in setting.all_variables().iter().filter(|name| *name != "PASSWORD") {
            for (value, part) in [
                ("${S3CRET}", "not expanded"),
                ("$(S3CRET)", "not expanded"),
                ("\"s3cret\"", "quotes around"),
            ] {
                let run = complete(run_at(&target), name).env(format!("VAULT_{name}"), value);
                let ended = run.end();
                let told = [&format!("VAULT_{name}: "), part];
                let is_told = told.iter().all(|part| ended.stderr.contains(*part));
                assert!(ended.code == Some(78) && is_told, "{name} {value}: {ended:?}");
                assert!(!ended.stderr.to_lowercase().contains("s3cret"), "{}", ended.stderr);
            }
        }
    }
    run_at(&target).env("VAULT_ADDR", "http://$VAULT_HOST:8200").fails(78, &["not expanded"]);
    run_at(&target).option("--addr='http://h'").fails(78, &["--addr: ", "quotes around"]);
}
