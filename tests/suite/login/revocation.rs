//! What becomes of the token before the application starts.

use std::time::{Duration, Instant};

use test_vault::{Fault, Target, TestVault, Value, json, on_every_vault};

use crate::support::application::{as_role, reading, role, token, with_app};
use crate::support::{Run, run_at};

/// A run that logs in and reads one secret.
fn ready(target: &Target, settings: Value) -> Run {
    let mount = with_app(target);
    let role = role(target, &reading(&mount), settings);
    as_role(target, &role).env("A", format!("vault:{mount}/data/app#user"))
}

fn own() -> Target {
    TestVault::start().into()
}

/// Whether the token with which the last secret was read is still good.
fn is_alive(target: &Target) -> bool {
    let requests = target.own().expect("own").requests();
    let read =
        requests.iter().rfind(|request| request.path.starts_with("/v1/kv-")).expect("a read");
    let token = read.token().expect("a token");
    target.operator().request("GET", "auth/token/lookup-self", Some(token), None).0 == 200
}

fn revocations(target: &Target) -> usize {
    let lines = target.own().expect("own").lines();
    lines.iter().filter(|line| *line == "POST /v1/auth/token/revoke-self").count()
}

#[test]
fn the_token_of_a_login_is_revoked_unless_that_is_not_wanted() {
    let target = own();
    let run = ready(&target, json!({}));
    for (revoke, alive) in
        [(None, false), (Some("auto"), false), (Some("true"), false), (Some("false"), true)]
    {
        let run = revoke
            .into_iter()
            .fold(run.clone(), |run, revoke| run.option("--revoke").option(revoke));
        let ended = run.marker().end();
        assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
        assert_eq!(is_alive(&target), alive, "{revoke:?}");
    }
}

#[test]
fn a_real_server_forgets_the_token_too() {
    on_every_vault(|target| {
        let run = ready(target, json!({"token_ttl": "7777s"}));
        let accessors = || {
            let answer = target
                .operator()
                .request("LIST", "auth/token/accessors", Some(&target.root_token()), None)
                .1;
            answer.pointer("/data/keys").and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let ours = |accessor: &&Value| {
            let body = json!({ "accessor": accessor });
            let answer = target.operator().request(
                "POST",
                "auth/token/lookup-accessor",
                Some(&target.root_token()),
                Some(body),
            );
            answer.1.pointer("/data/creation_ttl") == Some(&json!(7777))
                && answer.1.to_string().contains(policy(&run))
        };
        run.environment();
        assert_eq!(accessors().iter().filter(ours).count(), 0);
        run.clone().option("--revoke=false").environment();
        if target.own().is_none() {
            assert_eq!(accessors().iter().filter(ours).count(), 1, "the look at the tokens works");
        }
    });
}

/// The mount of the run's login, which the token's path has.
fn policy(run: &Run) -> &str {
    run.variables()
        .get(std::ffi::OsStr::new("VAULT_AUTH_MOUNT"))
        .and_then(|mount| mount.to_str())
        .expect("a mount")
}

#[test]
fn a_given_token_is_revoked_only_where_that_is_said() {
    on_every_vault(|target| {
        let mount = with_app(target);
        for (revoke, alive) in [("auto", true), ("false", true), ("true", false)] {
            let token = token(target, &reading(&mount));
            let run = run_at(target)
                .env("VAULT_TOKEN", &token)
                .env("A", format!("vault:{mount}/app#user"));
            let ended = run.option("--revoke").option(revoke).marker().end();
            assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
            let (status, _) =
                target.operator().request("GET", "auth/token/lookup-self", Some(&token), None);
            assert_eq!(status == 200, alive, "{revoke}");
        }
    });
}

#[test]
fn neither_a_batch_token_nor_a_spent_one_is_revoked() {
    for settings in [json!({"token_type": "batch"}), json!({"token_num_uses": 1})] {
        let target = own();
        let run = ready(&target, settings.clone());
        for revoke in ["auto", "true"] {
            let ended = run
                .clone()
                .option("--revoke")
                .option(revoke)
                .option("--log-level=info")
                .marker()
                .end();
            assert!(
                ended.started() && !ended.stderr.contains("revoked"),
                "{settings} {revoke}: {}",
                ended.stderr
            );
        }
        assert_eq!(revocations(&target), 0, "{settings}");
    }
    let target = own();
    let run = ready(&target, json!({"token_num_uses": 2}));
    run.environment();
    assert_eq!(revocations(&target), 1, "one use was left for it");
}

// Peer case A51.
#[test]
fn a_refused_revocation_stops_no_start() {
    on_every_vault(|target| {
        let run = ready(target, json!({"token_no_default_policy": true}));
        let quiet = run.clone().marker().end();
        assert!(quiet.started() && quiet.stderr.is_empty(), "{}", quiet.stderr);
        let told = run.clone().option("--log-level=info").marker().end();
        assert!(told.stderr.contains("info: the token is not revoked"), "{}", told.stderr);
        let warned = run.option("--revoke=true").marker().end();
        assert!(warned.started(), "{}", warned.stderr);
        assert!(
            warned.stderr.contains("warn: the token is not revoked: auth/token/revoke-self"),
            "{}",
            warned.stderr
        );
        assert!(warned.stderr.contains("permission denied"), "{}", warned.stderr);
    });
}

#[test]
fn a_revocation_is_tried_once_and_for_two_seconds_at_most() {
    for fault in [
        Fault::Hang,
        Fault::internal_error(),
        Fault::sealed(),
        Fault::Reset,
        Fault::rate_limited(Some("1")),
    ] {
        let target = own();
        let run = ready(&target, json!({}));
        target.own().expect("own").fault("POST /v1/auth/token/revoke-self", fault.clone());
        let began = Instant::now();
        let ended = run.marker().end();
        assert!(ended.started() && ended.stderr.is_empty(), "{fault:?}: {}", ended.stderr);
        assert!(began.elapsed() < Duration::from_secs(10), "{fault:?}: {:?}", began.elapsed());
        assert_eq!(revocations(&target), 1, "{fault:?}");
    }
}

#[test]
fn a_start_that_fails_leaves_no_token_behind() {
    let target = own();
    let run = ready(&target, json!({}));
    let mount = run.clone().value("A").map(|_| run.clone()).expect("it works");
    mount.clone().env("B", "vault:secret/data/none#k").fails(77, &["B: "]);
    assert!(!is_alive(&target));
    let missing = ready(&target, json!({}));
    missing.clone().option("--kv-version=2").env("C", "${HOME}").environment();
    let with_missing_key = missing.variables()[std::ffi::OsStr::new("A")]
        .to_str()
        .expect("UTF-8")
        .replace("#user", "#none");
    missing.env("B", with_missing_key).fails(66, &["B: "]);
    assert!(!is_alive(&target));
}

/// An answer as a database engine gives it.
fn leased() -> Fault {
    let lease = json!({"lease_id": "database/creds/app/x", "lease_duration": 60, "renewable": true, "data": {"user": "u"}});
    Fault::answer(200, lease.to_string())
}

#[test]
fn a_token_that_carries_a_lease_is_kept() {
    let target = own();
    let run = ready(&target, json!({}));
    target.own().expect("own").fault("GET /v1/kv-", leased());
    let ended = run.clone().option("--log-level=info").marker().end();
    assert!(
        ended.started() && ended.stderr.contains("lease database/creds/app/x: 60 s"),
        "{}",
        ended.stderr
    );
    assert!(is_alive(&target));
    let ended = run.option("--revoke=true").marker().end();
    assert!(
        ended.started() && ended.stderr.contains("warn: the token is revoked"),
        "{}",
        ended.stderr
    );
    assert!(!is_alive(&target));
}

#[test]
fn a_lease_longer_than_its_token_is_warned_of() {
    let target = own();
    let run = ready(&target, json!({"token_ttl": "30s"}));
    target.own().expect("own").fault("GET /v1/kv-", leased());
    let ended = run.marker().end();
    assert!(
        ended.started() && ended.stderr.contains("with the token that it was made with, in 30 s"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("in 30 s, not in 60 s"), "{}", ended.stderr);
    let time = ended
        .stderr
        .split("ends at ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && time.len() == "2026-01-01T00:00:00Z".len(),
        "{time}"
    );
}

#[test]
fn a_start_that_fails_leaves_no_lease_behind_either() {
    let target = own();
    let run = ready(&target, json!({}));
    let missing = run.variables()[std::ffi::OsStr::new("A")]
        .to_str()
        .expect("UTF-8")
        .replace("#user", "#none");
    target.own().expect("own").fault("GET /v1/kv-", leased());
    run.env("B", missing).fails(66, &["B: "]);
    assert!(!is_alive(&target), "nobody uses the lease");
}
