//! Settings that were meant to be something else: names that are nearly ours, values that nobody
//! expanded, and what belongs elsewhere.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use test_vault::{Target, TestVault, Value, json};
use vault_exec::door::settings::names::ALL;

use crate::support::launch::not_run;
use crate::support::{Ended, Run, directory, run, run_at};

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
        "EXEC_REFRESH"
        | "EXEC_ON_CHANGE"
        | "EXEC_ON_FILE_CHANGE"
        | "EXEC_ON_EXPIRY"
        | "EXEC_REPLACE_BEFORE"
        | "EXEC_STOP_SIGNAL"
        | "EXEC_STOP_TIMEOUT"
        | "EXEC_SPLAY"
        | "EXEC_SIGNAL_GROUP"
        | "EXEC_STATUS" => run.env("VAULT_TOKEN", "t").env("VAULT_EXEC_SUPERVISE", "true"),
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
        let is_text = |name: &&String| !["PASSWORD", "EXEC_FILES"].contains(&name.as_str());
        for name in setting.all_variables().iter().filter(is_text) {
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

/// What somebody may have put where the path of its file belongs.
const CONTENTS: [&str; 4] = [
    "hvs.CAESIJs3cretS3CRET",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJzM2NyZXQifQ.c2lnbmF0dXJl",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----",
    "/9j/4AAQSkZJRgABAQ==",
];

/// Every variable that takes the path of a file or directory, with a run that looks at it.
fn paths(target: &Target) -> Vec<(String, Run)> {
    let mut all = Vec::new();
    for setting in ALL.iter().filter(|setting| setting.is_path() || setting.is_credential()) {
        let names = setting.all_variables().into_iter();
        // It is written, and not read.
        let names = names.filter(|name| name != "EXEC_STATUS_FILE");
        let is_path =
            |name: &String| setting.is_path() || !setting.variables.contains(&name.as_str());
        for name in names.filter(is_path) {
            let run = complete(run_at(target), &name);
            let ca = run.variables().get(OsStr::new("VAULT_CACERT")).cloned();
            let run = match (name.as_str(), ca) {
                ("CLIENT_KEY", Some(ca)) => run.env("VAULT_CLIENT_CERT", ca),
                ("CACERT" | "CAPATH", _) => run.without("VAULT_CACERT"),
                _ => run,
            };
            all.push((format!("VAULT_{name}"), run.clone()));
            all.push((format!("BAO_{name}"), run));
        }
    }
    let aws = || run_at(target).env("VAULT_AUTH_METHOD", "aws").env("A", "vault:secret/app#a");
    let role = "arn:aws:iam::123456789012:role/app";
    all.push(("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), aws().env("AWS_ROLE_ARN", role)));
    let over_https = || {
        run()
            .env("VAULT_ADDR", "https://127.0.0.1:1")
            .env("VAULT_TOKEN", "t")
            .env("A", "vault:a/b#c")
    };
    all.push(("SSL_CERT_FILE".to_owned(), over_https()));
    all.push(("SSL_CERT_DIR".to_owned(), over_https()));
    let address = "http://127.0.0.1:1/credentials";
    all.push((
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(),
        aws().env("AWS_CONTAINER_CREDENTIALS_FULL_URI", address),
    ));
    all
}

#[test]
fn a_credential_in_the_place_of_its_path_is_never_shown() {
    let target = Target::from(TestVault::builder().https().start());
    let paths = paths(&target);
    assert!(paths.len() > 25, "{}", paths.len());
    for (name, run) in &paths {
        for content in CONTENTS {
            let run = run.clone().env(name, content).options(["--log-level", "trace"]);
            let ended = run.end();
            assert_eq!(ended.code, Some(78), "{name} {ended:?}");
            assert!(ended.stderr.contains(&format!("{name}: ")), "{name}: {}", ended.stderr);
            assert!(
                ended.stderr.contains("the content where the path belongs"),
                "{}",
                ended.stderr
            );
            for part in content.split(['\n', '/', '.']).filter(|part| part.len() > 5) {
                assert!(!ended.stderr.contains(part), "{name}: {}", ended.stderr);
            }
        }
    }
    for (option, content) in [("--env-file", CONTENTS[0]), ("--secrets-file", CONTENTS[1])] {
        let run = run_at(&target).option(option).option(content);
        let ended = run.fails(78, &[&format!("{option}: "), "where the path belongs"]);
        assert!(!ended.stderr.contains(content), "{}", ended.stderr);
    }
}

fn is_directory(name: &str) -> bool {
    ["CAPATH", "FILE_DIR"].iter().any(|end| name.ends_with(end))
}

#[test]
fn a_credential_in_the_place_of_a_file_is_not_shown() {
    for text in ["hvs.S3CRET", "S3CRET=x", "/run/x=S3CRET", "${S3CRET}"] {
        let ended = run().env("VAULT_EXEC_FILES", text).fails(78, &["VAULT_EXEC_FILES"]);
        assert!(!ended.stderr.contains("S3CRET"), "{}", ended.stderr);
    }
}

#[test]
fn a_path_that_is_one_is_shown_with_the_remedy() {
    let target = Target::from(TestVault::builder().https().start());
    let directory = directory();
    let absent = directory.path().join("absent");
    for (name, run) in paths(&target) {
        if name.starts_with("SSL_") {
            continue;
        }
        let there = directory.path().display().to_string();
        let shown = format!("{} ({name}): ", absent.display());
        run.clone().env(&name, &absent).fails(78, &[&shown]);
        if !is_directory(&name) {
            let told = format!("{there} ({name}): a directory, and not a file");
            run.env(&name, &there).fails(78, &[&told, "Docker makes a directory"]);
        }
    }
}

#[test]
fn the_deadline_covers_files() {
    let target = Target::from(TestVault::builder().https().start());
    let directory = directory();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    let is_file = |name: &str| !is_directory(name) && !name.starts_with("SSL_");
    for (name, run) in paths(&target).iter().filter(|(name, _)| is_file(name)) {
        let run = run.clone().env(name, &fifo).options(["--timeout", "100ms"]);
        let shown = format!("{} ({name}): ", fifo.display());
        run.fails(78, &[&shown, "before the deadline", "FIFO"]);
    }
}

#[test]
fn a_fifo_that_somebody_writes_is_read() {
    let target = Target::from(TestVault::start());
    let directory = directory();
    let fifo = directory.path().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a FIFO");
    target.operator().kv_put("secret", 2, "app", json!({ "a": "1" }));
    let run = run_at(&target).env("VAULT_TOKEN_FILE", &fifo).env("A", "vault:secret/app#a");
    let child = run.spawn();
    fs::write(&fifo, target.root_token()).expect("somebody reads");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert!(ended.code == Some(0) && ended.text().contains("A=1"), "{ended:?}");
}

#[test]
fn an_empty_file_and_one_of_another_user_are_told_with_the_remedy() {
    let target = Target::from(TestVault::start());
    let directory = directory();
    let file = directory.path().join("token");
    fs::write(&file, "\n").expect("a file");
    let run = run_at(&target).env("VAULT_TOKEN_FILE", &file).env("A", "vault:secret/app#a");
    run.fails(78, &["token (VAULT_TOKEN_FILE): the file is empty", "not yet"]);
    if !nix::unistd::geteuid().is_root() {
        not_run("a file of another user", "this is not root");
        return;
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    let mut command = run.build();
    let ended = Ended::of(command.uid(65534).gid(65534).output().expect("it runs"));
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for part in ["belongs to user 0", "mode 600", "this is user 65534", "chown", "fsGroup"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_credential_file_that_others_may_use_warns() {
    let target = Target::from(TestVault::start());
    target.operator().kv_put("secret", 2, "app", json!({ "a": "1" }));
    let directory = directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let file = directory.path().join("token");
    fs::write(&file, target.root_token()).expect("a file");
    let run = run_at(&target).env("VAULT_TOKEN_FILE", &file).env("A", "vault:secret/app#a");
    for (mode, told) in [
        (0o400, None),
        (0o440, None),
        (0o444, Some("every user may read this credential")),
        (0o622, Some("every user may change this credential")),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        let ended = run.clone().marker().end();
        assert!(ended.started(), "{ended:?}");
        match told {
            Some(told) => assert!(ended.stderr.contains(told), "{mode:o}: {}", ended.stderr),
            None => assert_eq!(ended.stderr, "", "{mode:o}"),
        }
    }
}

#[test]
fn a_credential_in_the_place_of_a_socket_is_never_shown() {
    for content in ["hvs.CAESIJs3cret/x", "s3cret s3cret", &"s3cret".repeat(20)] {
        let ended = run()
            .env("VAULT_ADDR", format!("unix:///no/{content}"))
            .env("VAULT_TOKEN", "t")
            .env("A", "vault:secret/app#a")
            .options(["--timeout", "100ms", "--log-level", "trace"])
            .end();
        assert!(matches!(ended.code, Some(69 | 78)), "{ended:?}");
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

/// A server with a secret, and a run with a token that may read it.
fn with_app(secret: Value) -> (Target, Run) {
    let target = Target::from(TestVault::start());
    target.operator().kv_put("secret", 2, "app", secret);
    let run = run_at(&target).env("VAULT_TOKEN", target.root_token());
    (target, run)
}

#[test]
fn lists_may_have_their_items_on_lines() {
    let (_target, run) = with_app(json!({ "a": "1" }));
    let block = "\n  A=secret/app#a\n  spring.datasource.password=secret/app#a\n";
    let environment = run.clone().env("VAULT_EXEC_SECRETS", block).environment();
    assert_eq!(environment.get("A").map(String::as_str), Some("1"));
    assert_eq!(environment.get("spring.datasource.password").map(String::as_str), Some("1"));
    let environment = run.env("VAULT_ENV_FROM_PATH", "secret/data/app\n").environment();
    assert_eq!(environment.get("a").map(String::as_str), Some("1"));
}

#[test]
fn a_name_or_pattern_that_is_none_is_an_error() {
    for name in ["VAULT_ENV_PASSTHROUGH", "VAULT_EXEC_KEEP", "VAULT_EXEC_LITERAL"] {
        for value in ["VAULT_A VAULT_B", "VAULT_A;VAULT_B", "*_A", "VAULT_A=1"] {
            run().env(name, value).fails(78, &[&format!("{name}: "), "PREFIX_*"]);
        }
    }
    let kept =
        run().env("VAULT_A", "1").env("VAULT_B", "2").env("VAULT_EXEC_KEEP", "VAULT_A\nVAULT_B");
    assert_eq!(kept.environment().len(), 3);
}

#[test]
fn an_import_that_is_a_reference_says_what_to_write() {
    for (import, hint) in [
        ("vault:secret/app#a", "write path#key, without vault:"),
        ("A=vault:secret/app#a", "write A=path#key, without vault:"),
        ("=secret/app", "[NAME=]path"),
    ] {
        run().option("--secret").option(import).fails(78, &["--secret", hint]);
    }
}

#[test]
fn a_key_may_have_a_number_sign_in_it() {
    let (_target, run) = with_app(json!({ "a#b": "1", "c#2": "2" }));
    let run = run.options(["--secret", "A=secret/app#a#b", "--secret", "B=secret/app#c#2#"]);
    let environment = run.environment();
    assert_eq!(environment.get("A").map(String::as_str), Some("1"));
    assert_eq!(environment.get("B").map(String::as_str), Some("2"));
}

#[test]
fn two_keys_that_become_one_name_are_both_named() {
    let (_target, run) = with_app(json!({ "db-host": "1", "db_host": "2" }));
    run.options(["--sanitize", "--secret", "secret/app"])
        .fails(78, &["the keys db-host and db_host both make db_host", "--on-conflict"]);
}

#[test]
fn a_mount_may_have_auth_in_front_of_it() {
    let target = Target::from(TestVault::start());
    let operator = target.operator();
    operator.kv_put("secret", 2, "app", json!({ "a": "1" }));
    operator.policy("app", "path \"secret/data/app\" { capabilities = [\"read\"] }");
    operator.enable_approle("teams/web");
    operator.approle_role("teams/web", "app", json!({ "token_policies": ["app"] }));
    let run = run_at(&target)
        .env("VAULT_ROLE_ID", operator.role_id("teams/web", "app"))
        .env("VAULT_SECRET_ID", operator.secret_id("teams/web", "app", json!({})))
        .env("A", "vault:secret/data/app#a");
    for mount in ["teams/web", "auth/teams/web", "/auth/teams/web/"] {
        for name in ["VAULT_AUTH_MOUNT", "VAULT_AUTH_PATH", "VAULT_PATH"] {
            assert_eq!(run.clone().env(name, mount).value("A").as_deref(), Some("1"), "{mount}");
        }
    }
}

#[test]
fn methods_have_the_names_that_other_tools_give_them() {
    for (name, method) in [("aws-iam", "aws"), ("gcp-gce", "gcp"), ("AWS-IAM", "aws")] {
        let run = run_at(&Target::from(TestVault::start()))
            .env("VAULT_AUTH_METHOD", name)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("A", "vault:secret/app#a");
        run.fails(78, &[&format!("the auth method {method}, and no")]);
    }
}

#[test]
fn a_token_in_the_home_directory_is_pointed_out_where_no_method_is_named() {
    let home = directory();
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("A", "vault:secret/app#a");
    let run = run.env("HOME", home.path());
    run.fails(78, &["no credentials to log in with", "approle needs"]);
    fs::write(home.path().join(".vault-token"), "t").expect("a file");
    let ended = run.fails(78, &["no credentials to log in with", "VAULT_AUTH_METHOD=token"]);
    assert!(!ended.stderr.contains("approle needs"), "{}", ended.stderr);
}
