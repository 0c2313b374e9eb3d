//! What users of vault-env, vaultenv and envconsul bring along, where no other file has it.

use std::time::{Duration, Instant};

use test_vault::{Fault, Flavour, Target, TestVault, json, on_every_vault};

use crate::support::application::{as_role, as_root, kv, reading, role, token, with_app};
use crate::support::{Run, directory, run, run_at};

fn names(run: &Run) -> Vec<String> {
    run.environment().into_keys().filter(|name| name != "PATH").collect()
}

// Peer cases A24, A26.
#[test]
fn missing_secrets_are_ignored_by_vault_envs_name_and_refused_ones_are_not() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(
            target,
            &format!(
                "{}\n{}",
                reading(&format!("{mount}/data/app")),
                reading(&format!("{mount}/data"))
            ),
        );
        let run = run_at(target)
            .env("VAULT_TOKEN", token)
            .env("VAULT_IGNORE_MISSING_SECRETS", "true")
            .env("FINE", format!("vault:{mount}/data/app#user"))
            .env("X", format!("vault:{mount}/data/none#k"))
            .env("Y", format!("vault:{mount}/data/app#none"));
        assert_eq!(names(&run), ["FINE"]);
        let ended = run.clone().marker().end();
        assert!(
            ["X", "Y"].iter().all(|name| ended.stderr.contains(&format!("{name} is left out: "))),
            "{}",
            ended.stderr
        );
        run.clone().env("VAULT_IGNORE_MISSING_SECRETS", "false").fails(66, &["X: ", "Y: "]);
        let other = with_app(target);
        run.env("Z", format!("vault:{other}/data/app#user"))
            .fails(77, &["Z: ", "permission denied"]);
    });
}

// Peer case A51.
#[test]
fn a_token_is_revoked_by_vault_envs_name_also_a_given_one() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&mount));
        let run =
            run_at(target).env("VAULT_TOKEN", &token).env("A", format!("vault:{mount}/app#user"));
        let status =
            || target.operator().request("GET", "auth/token/lookup-self", Some(&token), None).0;
        assert_eq!(names(&run.clone().env("VAULT_REVOKE_TOKEN", "false")), ["A"]);
        assert_eq!(status(), 200);
        assert_eq!(names(&run.env("VAULT_REVOKE_TOKEN", "true")), ["A"]);
        assert_eq!(status(), 403);
        let refusing = role(target, &reading(&mount), json!({"token_no_default_policy": true}));
        let run = as_role(target, &refusing).env("A", format!("vault:{mount}/app#user"));
        let ended = run.env("VAULT_REVOKE_TOKEN", "true").marker().end();
        assert!(ended.started() && ended.stderr.contains("the token is not revoked"), "{ended:?}");
    });
}

// Peer case A52.
#[test]
fn a_server_that_is_not_reached_ends_the_start_with_the_clients_timeout() {
    let vault = TestVault::start();
    vault.fault("/v1/", Fault::Hang);
    for (addr, parts) in [(vault.addr(), ""), ("http://127.0.0.1:1".to_owned(), "127.0.0.1:1")] {
        let run =
            run().env("VAULT_ADDR", addr).env("VAULT_ROLE_ID", "r").env("VAULT_SECRET_ID", "s");
        let began = Instant::now();
        let run = run.env("A", "vault:secret/data/app#k").env("VAULT_CLIENT_TIMEOUT", "1s");
        run.fails(69, &[parts]);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
}

// Peer case A53.
#[test]
fn a_timeout_without_a_unit_is_in_seconds() {
    let vault = TestVault::start();
    vault.fault("/v1/", Fault::Hang);
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", "t")
        .env("A", "vault:secret/data/app#k");
    let began = Instant::now();
    run.clone().env("VAULT_CLIENT_TIMEOUT", "1").fails(69, &[]);
    let elapsed = began.elapsed();
    assert!(
        elapsed > Duration::from_millis(900) && elapsed < Duration::from_secs(10),
        "{elapsed:?}"
    );
    run.env("VAULT_CLIENT_TIMEOUT", "soon").fails(78, &["VAULT_CLIENT_TIMEOUT"]);
}

// Peer case A54.
#[test]
fn what_has_no_effect_here_says_so_and_false_says_nothing() {
    on_every_vault(|target| {
        let mount = with_app(target);
        for (name, value) in [("VAULT_ENV_DELAY", "5s"), ("VAULT_ENV_LOG_SERVER", "logs:514")] {
            let run =
                as_root(target).env("A", format!("vault:{mount}/app#user")).shell("echo $A; env");
            let began = Instant::now();
            let ended = run.clone().env(name, value).end();
            assert!(
                ended.text().starts_with("ada\n") && !ended.text().contains(name),
                "{}",
                ended.text()
            );
            assert!(ended.stderr.contains(&format!("{name} has no effect")), "{}", ended.stderr);
            assert!(began.elapsed() < Duration::from_secs(5), "{name} delays");
            for off in ["false", "0", ""] {
                let ended = run.clone().env(name, off).end();
                assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}={off}");
            }
        }
    });
}

#[test]
fn the_log_is_set_by_vault_envs_names() {
    let run = run().env("VAULT_ENV_DELAY", "5s");
    let quiet = run.clone().env("VAULT_LOG_LEVEL", "error").marker().end();
    assert!(quiet.started() && quiet.stderr.is_empty(), "{}", quiet.stderr);
    let json = run.env("VAULT_JSON_LOG", "true").marker().end();
    let line = json.stderr.lines().next().expect("a line");
    let record: test_vault::Value = serde_json::from_str(line).expect("JSON");
    assert!(
        record["message"].as_str().is_some_and(|text| text.contains("VAULT_ENV_DELAY")),
        "{line}"
    );
    assert_eq!(json.text().lines().count(), 1, "the log is not on stdout");
}

#[test]
fn the_token_and_the_auth_mount_are_given_by_vault_envs_names() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let directory = directory();
        let file = directory.path().join("token");
        std::fs::write(&file, format!(" {}\n", target.root_token())).expect("written");
        let run = run_at(target).env("A", format!("vault:{mount}/app#user"));
        // Peer case A43: the line break does no harm.
        assert_eq!(names(&run.clone().env("VAULT_TOKEN_PATH", &file)), ["A"]);
        assert_eq!(names(&run.clone().env("VAULT_TOKEN_FILE", &file)), ["A"]);
        // Peer case A44.
        let absent = directory.path().join("absent");
        run.clone().env("VAULT_TOKEN_FILE", &absent).fails(78, &["absent", "VAULT_TOKEN_FILE"]);
        let role = role(target, &reading(&mount), json!({}));
        let run = as_role(target, &role).env("A", format!("vault:{mount}/app#user"));
        run.clone().without("VAULT_AUTH_MOUNT").env("VAULT_EXEC_TIMEOUT", "5s").fails(77, &[]);
        assert_eq!(names(&run.without("VAULT_AUTH_MOUNT").env("VAULT_PATH", &role.mount)), ["A"]);
    });
}

// Peer case A55: AppRole is logged in to as it wants it, and once.
#[test]
fn the_method_approle_is_really_approle() {
    let target: Target = TestVault::start().into();
    let mount = with_app(&target);
    let role = role(&target, &reading(&mount), json!({}));
    let run =
        as_role(&target, &role).env("VAULT_AUTH_METHOD", "approle").env("VAULT_ROLE", "ignored");
    let run = run.env("A", format!("vault:{mount}/app#user"));
    assert_eq!(names(&run), ["A"]);
    run.env("VAULT_SECRET_ID", "wrong").fails(77, &[]);
    let login = format!("POST /v1/auth/{}/login", role.mount);
    let logins =
        target.own().expect("own").lines().into_iter().filter(|line| *line == login).count();
    assert_eq!(logins, 2, "one for each start");
}

// Peer case A10.
#[test]
fn a_path_that_is_no_kv_version_2_path_is_named() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let path = format!("{mount}/data/get/data");
        as_root(target)
            .env("SECRET", format!("vault:{mount}/get/data#data"))
            .fails(66, &["SECRET: ", &path]);
    });
}

// Peer case C41.
#[test]
fn a_token_that_may_not_list_mounts_reads_kv_version_2_nevertheless() {
    let target: Target = TestVault::start().into();
    let mount = with_app(&target);
    let token = token(&target, &reading(&mount));
    let run = run_at(&target).env("VAULT_TOKEN", token).env("A", format!("vault:{mount}/app#user"));
    let own = target.own().expect("own");
    let refusal = || Fault::error(403, "permission denied");
    own.fault("GET /v1/sys/internal/ui/mounts", refusal());
    run.fails(66, &["A: ", "data/", "--kv-version"]);
    assert_eq!(names(&run.clone().option("--kv-version=2")), ["A"]);
    // The list alone is refused: what is asked for each path is not.
    own.clear_faults();
    own.fault_times(1, "GET /v1/sys/internal/ui/mounts", refusal());
    assert_eq!(names(&run), ["A"]);
}

// Peer cases C7, C8.
#[test]
fn a_bad_token_and_no_token_start_nothing() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run =
            run_at(target).env("A", format!("vault:{mount}/app#user")).option("--max-retries=1");
        run.clone().env("VAULT_TOKEN", "s.bad").fails(77, &["A: "]);
        run.fails(78, &["no credentials"]);
    });
}

// Peer cases C28, C29, C30: a path behind the address is a prefix here.
#[test]
fn an_address_is_http_or_https_with_a_port_or_without() {
    let run = run()
        .env("VAULT_TOKEN", "t")
        .env("A", "vault:secret/data/app#k")
        .env("VAULT_EXEC_TIMEOUT", "500ms");
    for addr in [
        "ftp://localhost:8200",
        "file:///x",
        "localhost:8200",
        "ws://localhost",
        "httpx://localhost",
        "//x",
    ] {
        run.clone().env("VAULT_ADDR", addr).fails(78, &["VAULT_ADDR"]);
    }
    // Nobody listens on these ports of these addresses, and the failure says which one was tried.
    for (addr, tried) in
        [("http://127.0.0.77", "127.0.0.77"), ("http://127.0.0.77:1/", "127.0.0.77:1")]
    {
        run.clone().env("VAULT_ADDR", addr).fails(69, &[tried]);
    }
    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    let run = run.env("VAULT_EXEC_TIMEOUT", "20s").env("VAULT_TOKEN", vault.root_token());
    assert_eq!(
        run.clone().env("VAULT_ADDR", format!("{}/", vault.addr())).value("A").as_deref(),
        Some("v")
    );
    let prefixed = TestVault::builder().prefix("/foo").start();
    prefixed.operator().kv_put("secret", 2, "app", json!({"k": "v"}));
    let run = run.env("VAULT_ADDR", prefixed.addr()).env("VAULT_TOKEN", prefixed.root_token());
    assert_eq!(run.value("A").as_deref(), Some("v"));
}

/// What an import adds, by its form.
fn imported(target: &Target, import: &str) -> Vec<(String, String)> {
    let run = as_root(target).option("--secret").option(import);
    run.environment().into_iter().filter(|(name, _)| name != "PATH").collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

// Peer cases D1, D2, D3, D4, D6: the prefix is what the user says, and a new name is given to one
// key.
#[test]
fn envconsuls_names_are_had_with_a_prefix() {
    on_every_vault(|target| {
        for version in [1, 2] {
            let mount = kv(target, version);
            target.operator().kv_put(&mount, version, "foo", json!({"bar": "s1", "zed": "s2"}));
            let data = if version == 2 { "data/" } else { "" };
            let path = format!("{mount}/{data}foo");
            let of = |form: &str| imported(target, &form.replace('@', &path));
            assert_eq!(
                of("kv_foo_*=@"),
                pairs(&[("kv_foo_bar", "s1"), ("kv_foo_zed", "s2")]),
                "D1, D4"
            );
            assert_eq!(
                of("prefix_kv_foo_bar_suffix=@#bar"),
                pairs(&[("prefix_kv_foo_bar_suffix", "s1")]),
                "D2"
            );
            assert_eq!(of("bar=@#bar"), pairs(&[("bar", "s1")]), "D3");
            assert_eq!(of("@"), pairs(&[("bar", "s1"), ("zed", "s2")]), "D6");
        }
    });
}

// Peer cases D5, D7: a version that is gone is missing here, and a number has its text.
#[test]
fn what_envconsul_skips_is_said() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "foo", json!({"number": 7}));
        let path = format!("{mount}/foo");
        assert_eq!(imported(target, &path), pairs(&[("number", "7")]));
        target.operator().write(&format!("{mount}/destroy/foo"), json!({"versions": [1]}));
        let run = as_root(target).option("--secret").option(&path);
        run.fails(66, &[&path, "destroyed"]);
        assert!(run.option("--ignore-missing").marker().end().started());
    });
}

// Peer case D10.
#[test]
fn envconsuls_variables_are_taken_from_the_environment() {
    let target: Target = TestVault::builder().https().flavour(Flavour::Vault).start().into();
    let mount = with_app(&target);
    let ca = target.ca_file().expect("https");
    let run = run()
        .env("VAULT_ADDR", target.addr())
        .env("VAULT_TOKEN", target.root_token())
        .env("VAULT_NAMESPACE", "team")
        .env("VAULT_CAPATH", ca.parent().expect("a directory"))
        .env("VAULT_TLS_SERVER_NAME", "localhost")
        .env("A", format!("vault:{mount}/app#user"));
    assert_eq!(names(&run), ["A"]);
    let own = target.own().expect("own");
    assert!(
        own.requests().iter().all(|request| request.header("x-vault-namespace") == Some("team"))
    );
    assert!(
        own.server_names().iter().all(|name| name.as_deref() == Some("localhost")),
        "{:?}",
        own.server_names()
    );
}
