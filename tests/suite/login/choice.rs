//! Getting in: which method is taken, where its credentials come from, and what is said of a
//! refusal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use test_vault::{Fault, Target, TestVault, json, on_every_vault};

use crate::support::application::{AppRole, as_role, as_root, reading, role, token, with_app};
use crate::support::{Run, directory, run, run_at};

/// A target with a secret, a role that may read it, and a run that logs in and reads it.
fn ready(target: &Target, settings: test_vault::Value) -> (String, AppRole, Run) {
    let mount = with_app(target);
    let role = role(target, &reading(&mount), settings);
    let run = as_role(target, &role).env("A", format!("vault:{mount}/app#user"));
    (mount, role, run)
}

fn own() -> Target {
    TestVault::start().into()
}

fn logins(target: &Target) -> Option<usize> {
    Some(target.own()?.lines().iter().filter(|line| line.ends_with("/login")).count())
}

#[test]
fn a_role_id_alone_logs_in_where_the_role_wants_no_secret_id() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let operator = target.operator();
        let auth = target.unique("approle");
        operator.enable_approle(&auth);
        let policy = crate::support::application::policy(target, &reading(&mount));
        let settings = json!({"bind_secret_id": false, "token_policies": [policy], "secret_id_bound_cidrs": ["127.0.0.0/8"]});
        operator.approle_role(&auth, "app", settings);
        let run = run_at(target)
            .env("VAULT_AUTH_MOUNT", format!("{auth}/"))
            .env("VAULT_ROLE_ID", operator.role_id(&auth, "app"))
            .env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
    });
}

#[test]
fn a_refused_login_names_mount_remedy_and_is_sent_once() {
    on_every_vault(|target| {
        let (_, role, run) = ready(target, json!({"secret_id_num_uses": 1}));
        run.environment();
        let destroyed = role.new_secret_id(json!({}));
        target.operator().write(
            &format!("auth/{}/role/app/secret-id/destroy", role.mount),
            json!({ "secret_id": destroyed }),
        );
        let refused = "invalid role or secret ID";
        for (name, run, words) in [
            ("used up", run.clone(), refused),
            ("wrong", run.clone().env("VAULT_SECRET_ID", "wrong"), refused),
            ("destroyed", run.clone().env("VAULT_SECRET_ID", &destroyed), refused),
            ("missing", run.clone().without("VAULT_SECRET_ID"), "missing secret_id"),
            ("wrong role id", run.clone().env("VAULT_ROLE_ID", "wrong"), refused),
            ("wrong mount", run.clone().env("VAULT_AUTH_MOUNT", "nowhere"), "permission denied"),
        ] {
            if let Some(vault) = target.own() {
                vault.clear();
            }
            let at = if name == "wrong mount" {
                "login at auth/nowhere"
            } else {
                &format!("login at auth/{}", role.mount)
            };
            let ended =
                run.fails(77, &[at, words, &target.addr(), "secret id", "VAULT_AUTH_MOUNT"]);
            assert!(
                !ended.stderr.contains(&destroyed) && !ended.stderr.contains(&role.secret_id),
                "{}",
                ended.stderr
            );
            assert_eq!(logins(target).unwrap_or(1), 1, "{name}");
        }
    });
}

#[test]
fn an_expired_secret_id_is_refused() {
    // A real server removes an expired one within a minute only.
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let secret_id = role.new_secret_id(json!({"ttl": "1ms"}));
    // The binary can be faster than the millisecond.
    let made = Instant::now();
    while made.elapsed() < Duration::from_millis(1) {
        thread::yield_now();
    }
    run.env("VAULT_SECRET_ID", secret_id).fails(77, &["invalid role or secret ID", "expired"]);
}

#[test]
fn a_locked_role_is_told_from_a_wrong_secret_id() {
    on_every_vault(|target| {
        let (_, _, run) = ready(target, json!({}));
        for _ in 0..5 {
            run.clone().env("VAULT_SECRET_ID", "wrong").fails(77, &["invalid role or secret ID"]);
        }
        run.fails(77, &["permission denied", "lock", "15 minutes"]);
    });
}

#[test]
fn a_missing_role_id_is_named_before_anything_is_asked() {
    let vault = TestVault::start();
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_SECRET_ID", "s")
        .env("A", "vault:secret/data/a#k");
    run.fails(78, &["approle", "no role id", "VAULT_ROLE_ID"]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn credentials_of_both_methods_need_a_word_which_one_counts() {
    on_every_vault(|target| {
        let (_, _, run) = ready(target, json!({}));
        let run = run.env("VAULT_TOKEN", target.root_token());
        run.fails(78, &["VAULT_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID", "VAULT_AUTH_METHOD"]);
        for method in ["token", "approle", "AppRole"] {
            if let Some(vault) = target.own() {
                vault.clear();
            }
            assert_eq!(
                run.clone().env("VAULT_AUTH_METHOD", method).value("A").as_deref(),
                Some("ada"),
                "{method}"
            );
            assert_eq!(
                logins(target).unwrap_or(usize::from(method != "token")),
                usize::from(method != "token")
            );
        }
    });
}

#[test]
fn no_credentials_at_all_are_answered_with_what_there_could_be() {
    run().env("VAULT_ADDR", "http://127.0.0.1:9").env("A", "vault:secret/data/a#k").fails(
        78,
        &["no credentials", "VAULT_TOKEN", "VAULT_TOKEN_FILE", "VAULT_ROLE_ID", "VAULT_SECRET_ID"],
    );
}

#[test]
fn a_bad_token_is_told_from_a_policy_that_does_not_allow_the_read() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = run_at(target);
        for path in ["app", "data/app"] {
            let run = run.clone().env("A", format!("vault:{mount}/{path}#user"));
            let bad = run
                .clone()
                .env("VAULT_TOKEN", "hvs.wrong")
                .fails(77, &["A: ", "permission denied", "the token is wrong"]);
            assert!(
                !bad.stderr.contains("hvs.wrong") && !bad.stderr.contains("--kv-version"),
                "{}",
                bad.stderr
            );
            let other = token(target, &reading("nothing"));
            let allowed =
                run.env("VAULT_TOKEN", other).fails(77, &["A: ", "permission denied", "policy"]);
            assert!(!allowed.stderr.contains("the token is wrong"), "{}", allowed.stderr);
        }
    });
}

#[test]
fn a_revoked_token_is_a_bad_one() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&mount));
        target.operator().write("auth/token/revoke", json!({ "token": token }));
        let run =
            run_at(target).env("VAULT_TOKEN", token).env("A", format!("vault:{mount}/app#user"));
        run.fails(77, &["the token is wrong, expired, revoked"]);
    });
}

#[test]
fn a_token_that_cannot_be_sent_is_named_and_not_shown() {
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("A", "vault:secret/data/a#k");
    for value in ["two words", "line\nbreak", "ümlaut"] {
        let ended = run.clone().env("VAULT_TOKEN", value).fails(78, &["VAULT_TOKEN", "characters"]);
        assert!(!ended.stderr.contains(value), "{}", ended.stderr);
    }
}

#[test]
fn a_token_with_too_few_uses_is_an_error_that_names_both_numbers() {
    on_every_vault(|target| {
        let (mount, _, run) = ready(target, json!({"token_num_uses": 2}));
        for path in ["b", "c"] {
            target.operator().kv_put(&mount, 2, path, json!({"k": "v"}));
        }
        let run = run.env("B", format!("vault:{mount}/b#k"));
        run.environment();
        let three = run.env("C", format!("vault:{mount}/c#k"));
        three.fails(78, &["2 requests", "3 to make", "token_num_uses"]);
    });
}

/// The list of mounts takes no use of the token, on the real server either.
#[test]
fn a_token_with_exactly_enough_uses_is_enough_with_and_without_detection() {
    on_every_vault(|target| {
        let (mount, _, run) = ready(target, json!({"token_num_uses": 1}));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert_eq!(
            run.clone().env("A", format!("vault:{mount}/data/app#user")).value("A").as_deref(),
            Some("ada")
        );
        let ended = run.option("--log-level=info").marker().end();
        assert!(
            ended.started() && !ended.stderr.contains("not revoked"),
            "a spent token is gone: {}",
            ended.stderr
        );
    });
}

#[test]
fn a_batch_token_reads_and_is_not_revoked() {
    on_every_vault(|target| {
        let (_, _, run) = ready(target, json!({"token_type": "batch"}));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        for revoke in ["auto", "true"] {
            let ended = run
                .clone()
                .option("--revoke")
                .option(revoke)
                .option("--log-level=info")
                .marker()
                .end();
            assert!(ended.started() && !ended.stderr.contains("revoked"), "{}", ended.stderr);
        }
        if let Some(vault) = target.own() {
            assert!(
                !vault.lines().iter().any(|line| line.contains("revoke")),
                "{:?}",
                vault.lines()
            );
        }
    });
}

#[test]
fn a_role_without_the_default_policy_starts() {
    on_every_vault(|target| {
        let (_, _, run) = ready(target, json!({"token_no_default_policy": true}));
        let ended = run.clone().marker().end();
        assert!(ended.started() && ended.stderr.is_empty(), "{ended:?}");
    });
}

#[test]
fn a_given_token_makes_no_login() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&mount));
        let run =
            run_at(target).env("VAULT_TOKEN", token).env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert_eq!(run.value("A").as_deref(), Some("ada"), "it was not revoked");
        if let Some(vault) = target.own() {
            assert!(
                vault.lines().iter().all(|line| !line.contains("/auth/")),
                "{:?}",
                vault.lines()
            );
        }
    });
}

#[test]
fn what_a_server_says_of_the_secret_id_is_redacted() {
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let text = format!("invalid secret_id \"{}\" of role {}", role.secret_id, role.role_id);
    target.own().expect("own").fault("POST /v1/auth/", Fault::error(400, &text));
    let ended = run
        .option("--log-level=trace")
        .fails(77, &["invalid secret_id \"[redacted]\" of role [redacted]"]);
    assert!(
        !ended.stderr.contains(&role.secret_id) && !ended.stderr.contains(&role.role_id),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_a_server_says_of_the_token_is_redacted() {
    let target = own();
    let mount = with_app(&target);
    let root = target.root_token();
    target
        .own()
        .expect("own")
        .fault(&*format!("/v1/{mount}/"), Fault::error(400, &format!("no {root} here")));
    let ended = as_root(&target)
        .env("A", format!("vault:{mount}/app#user"))
        .fails(77, &["no [redacted] here"]);
    assert!(!ended.stderr.contains(&root), "{}", ended.stderr);
}

#[test]
fn an_answer_to_a_login_without_a_token_is_understood() {
    let target = own();
    let (_, _, run) = ready(&target, json!({}));
    let vault = target.own().expect("own");
    let wrapped = json!({"auth": null, "wrap_info": {"token": "hvs.w", "ttl": 60}}).to_string();
    let mfa = json!({"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "x"}}})
        .to_string();
    for (body, code, words) in [
        (wrapped, 77, "wrapped"),
        (mfa, 77, "second factor"),
        (json!({"auth": {"client_token": ""}}).to_string(), 76, "empty token"),
        (json!({"auth": null}).to_string(), 76, "without a token"),
        (json!(["x"]).to_string(), 76, "without a token"),
        ("<html>".to_owned(), 76, "not JSON"),
    ] {
        vault.clear_faults();
        vault.clear();
        vault.fault("POST /v1/auth/", Fault::answer(200, body));
        run.fails(code, &["login at auth/", words]);
        assert_eq!(logins(&target), Some(1));
    }
}

/// A run that takes its credentials from files in a directory.
fn from_files(role: &AppRole, directory: &std::path::Path, run: Run) -> Run {
    fs::write(directory.join("role"), format!("{}\n", role.role_id)).expect("written");
    fs::write(directory.join("secret"), format!("\t{}\r\n", role.new_secret_id(json!({}))))
        .expect("written");
    run.without("VAULT_ROLE_ID")
        .without("VAULT_SECRET_ID")
        .env("VAULT_ROLE_ID_FILE", directory.join("role"))
        .env("VAULT_SECRET_ID_FILE", directory.join("secret"))
}

#[test]
fn credential_files_are_read_trimmed_and_left_alone() {
    on_every_vault(|target| {
        let (_, role, run) = ready(target, json!({}));
        let directory = directory();
        let run = from_files(&role, directory.path(), run);
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert!(directory.path().join("secret").exists());
    });
}

#[test]
fn credential_files_are_removed_after_a_login_where_that_is_wanted() {
    on_every_vault(|target| {
        let (mount, role, run) = ready(target, json!({}));
        let directory = directory();
        let run = from_files(&role, directory.path(), run).option("--remove-credential-files");
        let refused = run.clone().env("VAULT_AUTH_MOUNT", "nowhere");
        refused.fails(77, &["login at auth/nowhere"]);
        assert!(directory.path().join("secret").exists(), "a refused login removes nothing");
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert!(
            !directory.path().join("secret").exists() && !directory.path().join("role").exists()
        );
        fs::write(directory.path().join("token"), token(target, &reading(&mount)))
            .expect("written");
        let run = run_at(target)
            .env("VAULT_TOKEN_FILE", directory.path().join("token"))
            .env("VAULT_EXEC_REMOVE_CREDENTIAL_FILES", "yes")
            .env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert!(!directory.path().join("token").exists());
    });
}

#[test]
fn credential_files_are_gone_before_anything_is_waited_for_behind_the_login() {
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let directory = directory();
    let run = from_files(&role, directory.path(), run).option("--remove-credential-files");
    let vault = target.own().expect("own");
    vault.fault("GET /v1/kv-", Fault::Hang);
    let mut child = run.spawn();
    let is_read = |requests: &[test_vault::Recorded]| {
        requests.iter().any(|request| request.path.contains("/kv-"))
    };
    let asked = vault.wait_for(is_read, Duration::from_secs(30));
    let left = directory.path().join("secret").exists();
    child.kill().and_then(|()| child.wait()).expect("it can be ended");
    assert!(asked && !left, "a start that is ended while it reads leaves no file");
}

#[test]
fn a_credential_file_that_cannot_be_removed_is_a_warning() {
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let directory = directory();
    let run = from_files(&role, directory.path(), run).option("--remove-credential-files");
    // The file is read through a link of /proc, which can be followed and not be removed, by root
    // either.
    let open = fs::File::open(directory.path().join("secret")).expect("opened");
    let link =
        format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&open));
    let ended = run.env("VAULT_SECRET_ID_FILE", &link).marker().end();
    assert!(ended.started(), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("warn: {link} cannot be removed")), "{}", ended.stderr);
}

#[test]
fn credential_files_are_removed_with_the_links_to_them_and_nothing_but_files_is() {
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let run = from_files(&role, directory.path(), run).option("--remove-credential-files");
    std::os::unix::fs::symlink("secret", path("link")).expect("a link");
    nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600))
        .expect("a FIFO");
    let (fifo, role_id) = (path("fifo"), role.role_id.clone());
    let writer = std::thread::spawn(move || fs::write(fifo, role_id));
    let run = run
        .env("VAULT_ROLE_ID_FILE", path("fifo"))
        .env("VAULT_SECRET_ID_FILE", path("link"))
        .marker();
    let ended = run.end();
    writer.join().expect("a thread").expect("written");
    assert!(ended.started(), "{}", ended.stderr);
    assert!(!path("secret").exists() && fs::symlink_metadata(path("link")).is_err());
    let words = format!("{} cannot be removed: it is not a regular file", path("fifo").display());
    assert!(path("fifo").exists() && ended.stderr.contains(&words), "{}", ended.stderr);
}

#[test]
fn an_env_file_with_a_credential_stays_with_a_warning() {
    let target = own();
    let (_, role, run) = ready(&target, json!({}));
    let directory = directory();
    let file = directory.path().join("app.env");
    fs::write(&file, format!("VAULT_SECRET_ID={}\n", role.new_secret_id(json!({}))))
        .expect("written");
    let run = run.without("VAULT_SECRET_ID").env("VAULT_EXEC_ENV_FILE", &file).marker();
    let words = format!("warn: VAULT_SECRET_ID in {}: the env file has a", file.display());
    for (option, is_said) in [("--remove-credential-files", true), ("--log-level=warn", false)] {
        let ended = run.clone().option(option).end();
        assert!(ended.started(), "{}", ended.stderr);
        assert_eq!(ended.stderr.contains(&words), is_said, "{}", ended.stderr);
        assert!(file.exists());
    }
}

#[test]
fn a_credential_that_is_a_variable_and_a_file_is_an_error_that_names_both() {
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("A", "vault:secret/data/a#k");
    for name in ["VAULT_TOKEN", "BAO_TOKEN", "VAULT_ROLE_ID", "VAULT_SECRET_ID"] {
        let file = format!("{name}_FILE");
        let run = run.clone().env(name, "s3cr3t").env(&file, "/none");
        let ended = run.fails(78, &[&format!("{name} and {file} are both set"), "unset one"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
    }
    run.env("VAULT_TOKEN", "t")
        .env("VAULT_TOKEN_PATH", "/none")
        .fails(78, &["VAULT_TOKEN and VAULT_TOKEN_PATH"]);
}

#[test]
fn a_credential_file_that_cannot_be_used_is_named() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("empty"), " \n\t").expect("written");
    fs::write(path("large"), "x".repeat((1 << 20) + 1)).expect("written");
    fs::write(path("secret"), "x").expect("written");
    fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o600)).expect("changed");
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("A", "vault:secret/data/a#k");
    for (file, words) in
        [("empty", "empty"), ("none", "No such file"), ("large", "1 MiB"), (".", "directory")]
    {
        for (name, others) in [
            ("VAULT_TOKEN_FILE", &[][..]),
            ("VAULT_TOKEN_PATH", &[]),
            ("BAO_ROLE_ID_FILE", &[]),
            ("VAULT_SECRET_ID_FILE", &[("VAULT_ROLE_ID", "r")]),
        ] {
            let run = others.iter().fold(run.clone(), |run, (name, value)| run.env(*name, *value));
            let place = format!("{} ({name})", path(file).display());
            run.env(name, path(file)).fails(78, &[&place, words]);
        }
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn both_credential_files_that_cannot_be_read_are_named() {
    let run = run().env("VAULT_ADDR", "http://127.0.0.1:9").env("A", "vault:secret/data/a#k");
    let both = |role: &str, secret: &str| {
        run.clone().env("VAULT_ROLE_ID_FILE", role).env("VAULT_SECRET_ID_FILE", secret)
    };
    both("/no-role", "/no-secret").fails(
        78,
        &[
            "/no-role (VAULT_ROLE_ID_FILE)",
            "/no-secret (VAULT_SECRET_ID_FILE)",
            "mounted into the container",
        ],
    );
    both("/none/role", "/none/secret").fails(
        78,
        &["VAULT_ROLE_ID_FILE: ", "VAULT_SECRET_ID_FILE: ", "its directory is not there"],
    );
}

#[test]
fn a_credential_of_a_higher_layer_wins_over_one_of_a_lower() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("root"), format!("{}\n", target.root_token())).expect("written");
        fs::write(path("wrong"), "wrong").expect("written");
        let wrong = format!("VAULT_TOKEN=wrong\nA=vault:{mount}/app#user\n");
        fs::write(path("wrong.env"), wrong).expect("written");
        fs::write(path("root.env"), format!("BAO_TOKEN_FILE={}\n", path("root").display()))
            .expect("written");
        let run = run_at(target).options(["--env-file".into(), path("wrong.env")]);
        run.fails(77, &["the token is wrong"]);
        assert_eq!(
            run.clone().env("VAULT_TOKEN_FILE", path("root")).value("A").as_deref(),
            Some("ada")
        );
        let run = run.options(["--env-file".into(), path("root.env")]);
        assert_eq!(run.value("A").as_deref(), Some("ada"), "a later file over an earlier one");
        run.clone().env("VAULT_TOKEN_FILE", path("wrong")).fails(77, &["the token is wrong"]);
        let run = run.env("VAULT_TOKEN_FILE", path("wrong")).env("BAO_TOKEN", target.root_token());
        assert_eq!(run.value("A").as_deref(), Some("ada"), "BAO_ before VAULT_");
    });
}

#[test]
fn with_the_method_named_the_token_of_the_command_line_client_is_taken() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let home = directory();
        let run =
            run_at(target).env("HOME", home.path()).env("A", format!("vault:{mount}/app#user"));
        let named =
            run.clone().env("VAULT_AUTH_METHOD", "token").option("--remove-credential-files");
        named.fails(78, &["the auth method token, and no token", "VAULT_TOKEN"]);
        fs::write(home.path().join(".vault-token"), format!("{}\n", target.root_token()))
            .expect("written");
        run.fails(78, &["no credentials"]);
        assert_eq!(named.value("A").as_deref(), Some("ada"));
        assert!(home.path().join(".vault-token").exists(), "it is the user's own");
        named.clone().env("VAULT_TOKEN", "wrong").fails(77, &["the token is wrong"]);
        fs::write(home.path().join(".vault-token"), "\n").expect("written");
        named.fails(78, &[".vault-token", "empty"]);
    });
}
