//! How often the server is asked, and over how many connections.

use test_vault::{Target, TestVault, json, on_every_https_vault};

use crate::support::application::{AppRole, as_role, as_root, kv, reading, role};
use crate::support::{Run, run};

/// A KV v2 mount with this many secrets, and a run that logs in and reads all of them.
fn secrets(target: &Target, number: usize, path: &str) -> (AppRole, Run) {
    let mount = kv(target, 2);
    let role = role(target, &reading(&mount), json!({}));
    let mut run = as_role(target, &role);
    for at in 0..number {
        target.operator().kv_put(&mount, 2, &format!("s{at}"), json!({"k": format!("v{at}")}));
        run = run.env(format!("S{at}"), format!("vault:{mount}/{path}s{at}#k"));
    }
    (role, run)
}

/// The requests and connections of one run.
fn counted(vault: &TestVault, run: &Run) -> (usize, usize) {
    vault.clear();
    let environment = run.environment();
    let is_fetched = |(name, value): &(&String, &String)| {
        name.strip_prefix('S').is_some_and(|number| value.strip_prefix('v') == Some(number))
    };
    let fetched = environment.iter().filter(is_fetched);
    assert_eq!(fetched.count(), environment.len() - 1, "{environment:?}");
    (vault.requests().len(), vault.connections())
}

#[test]
fn over_http_2_everything_takes_one_connection_and_one_request_each() {
    let target = Target::from(TestVault::builder().https().start());
    let vault = target.own().expect("own");
    for number in [1, 50] {
        let (_, with_data) = secrets(&target, number, "data/");
        let (_, without_data) = secrets(&target, number, "");
        for (run, requests) in [
            (with_data.clone().option("--revoke=false"), 1 + number),
            (with_data, 1 + number + 1),
            (without_data.clone().option("--kv-version=2").option("--revoke=false"), 1 + number),
            (without_data.clone().option("--revoke=false"), 1 + 1 + number),
            (without_data, 1 + 1 + number + 1),
        ] {
            assert_eq!(counted(vault, &run), (requests, 1));
        }
    }
}

#[test]
fn a_server_that_takes_few_requests_at_once_gets_the_others_later() {
    for most in [1, 10, 100] {
        let target = Target::from(TestVault::builder().https().streams(most).start());
        let (_, run) = secrets(&target, 150, "data/");
        assert_eq!(counted(target.own().expect("own"), &run), (1 + 150 + 1, 1), "{most}");
    }
}

#[test]
fn the_requests_go_login_mounts_reads_revocation() {
    let target = Target::from(TestVault::builder().https().start());
    let (role, run) = secrets(&target, 3, "");
    let vault = target.own().expect("own");
    counted(vault, &run);
    let lines = vault.lines();
    assert_eq!(lines[0], format!("POST /v1/auth/{}/login", role.mount));
    assert_eq!(lines[1], "GET /v1/sys/internal/ui/mounts");
    assert!(lines[2..5].iter().all(|line| line.starts_with("GET /v1/kv-")), "{lines:?}");
    assert_eq!(lines[5..], ["POST /v1/auth/token/revoke-self"]);
}

// Peer case C40.
#[test]
fn over_http_1_1_the_connections_are_few() {
    for vault in [TestVault::start(), TestVault::builder().http1_only().start()] {
        let target = Target::from(vault);
        let vault = target.own().expect("own");
        // Eight requests are under way at once. Now and then one begins before the last one's
        // connection is free again.
        for (number, most) in [(1, 2), (50, 16)] {
            let (_, run) = secrets(&target, number, "");
            let (requests, connections) = counted(vault, &run);
            assert_eq!(requests, 1 + 1 + number + 1);
            assert!(connections <= most, "{connections} connections for {number} secrets");
        }
    }
}

#[test]
fn a_given_token_needs_the_reads_only() {
    let target = Target::from(TestVault::builder().https().start());
    let vault = target.own().expect("own");
    for number in [1, 50] {
        let (_, run) = secrets(&target, number, "data/");
        let run = run.env("VAULT_TOKEN", target.root_token()).env("VAULT_AUTH_METHOD", "token");
        assert_eq!(counted(vault, &run), (number, 1));
    }
}

#[test]
fn fifty_secrets_come_from_a_real_server_too() {
    on_every_https_vault(|target| {
        let (_, run) = secrets(target, 50, "");
        let environment = run.environment();
        assert_eq!(environment.get("S49").map(String::as_str), Some("v49"));
        assert_eq!(environment.len(), 51);
    });
}

#[test]
fn with_nothing_to_fetch_nobody_is_asked() {
    let target = Target::from(TestVault::start());
    let (_, run_with) = secrets(&target, 1, "");
    let vault = target.own().expect("own");
    let run_without = run_with.without("S0");
    assert_eq!(counted(vault, &run_without), (0, 0));
    let without_anything =
        run().env("VAULT_ADDR", "https://vault.invalid").env("VAULT_TOKEN_FILE", "/none");
    assert!(without_anything.marker().end().started(), "credentials are not looked at either");
    assert_eq!(counted(vault, &as_root(&target)), (0, 0));
}

/// The other side may just have closed the connection that was kept: tinyproxy closes each one
/// without saying so. Over TLS it takes leave.
#[test]
fn in_clear_what_must_not_be_sent_twice_has_a_connection_of_its_own() {
    for (vault, connections) in [
        (TestVault::start(), [1, 1, 2]),
        (TestVault::builder().https().http1_only().start(), [1, 1, 1]),
        (TestVault::builder().https().start(), [1, 1, 1]),
    ] {
        let target = Target::from(vault);
        let (_, run) = secrets(&target, 1, "data/");
        let vault = target.own().expect("own");
        assert_eq!(counted(vault, &run).0, 1 + 1 + 1);
        let requests = vault.requests();
        let first = requests[0].connection - 1;
        let found: Vec<_> = requests.iter().map(|request| request.connection - first).collect();
        assert_eq!(found, connections, "login, read, revocation");
    }
}
