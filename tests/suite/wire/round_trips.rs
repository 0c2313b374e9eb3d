//! Round trips of a start over a network, counted where the packets pass: handshakes and TCP's
//! windows among them.

use std::time::{Duration, Instant};

use test_vault::{Builder, DelayedNetwork, Fault, Operator, Side, Target, TestVault, json};

use crate::support::application::{as_role, kv, reading, role};
use crate::support::launch::{as_root, eventually, not_run};
use crate::support::{Run, run_at};

/// Long enough for all that a program sends at once to be under way before the first answer is
/// there, also on a busy machine.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Runs a test on two hosts that are a round trip apart.
fn on_a_network(name: &str, test: impl FnOnce(&DelayedNetwork)) {
    as_root(name, || match DelayedNetwork::new(ROUND_TRIP) {
        Ok(network) => test(&network),
        Err(error) => not_run(name, format!("no network of its own: {error}")),
    });
}

/// A Vault on the other host.
fn vault(network: &DelayedNetwork, builder: Builder) -> Target {
    network.on(Side::Far, || builder.ip(DelayedNetwork::address(Side::Far)).start()).into()
}

/// What there is to read: a mount with secrets of this size, and a role.
struct Setting {
    target: Target,
    run: Run,
    mount: String,
}

impl Setting {
    fn new(target: Target, secrets: usize, size: usize) -> Setting {
        let mount = kv(&target, 2);
        let put = |operator: Operator, number| {
            operator.kv_put(&mount, 2, &format!("s{number}"), json!({ "k": "v".repeat(size) }));
        };
        (0..secrets).for_each(|number| put(target.operator(), number));
        let role = role(&target, &reading(&mount), json!({}));
        let run = as_role(&target, &role);
        Setting { target, run, mount }
    }

    /// A start that reads this many of them, each at `path` below the mount.
    fn reading(&self, secrets: usize, path: &str) -> Run {
        let name = |number| format!("S{number}");
        let reference = |number| format!("vault:{}/{path}s{number}#k", self.mount);
        (0..secrets).fold(self.run.clone(), |run, number| run.env(name(number), reference(number)))
    }
}

/// How often a start is watched: on a busy machine a request may miss those that it belongs with,
/// which only adds to the count.
const TRIES: usize = 5;

/// The fewest round trips of a start, which has to work and to take as long as they do.
#[track_caller]
fn round_trips(network: &DelayedNetwork, run: &Run, expected: u32) -> u32 {
    let mut fewest = u32::MAX;
    for _ in 0..TRIES {
        fewest = fewest.min(once(network, run));
        if fewest <= expected {
            break;
        }
    }
    fewest
}

#[track_caller]
fn once(network: &DelayedNetwork, run: &Run) -> u32 {
    network.reset();
    let began = Instant::now();
    let ended = network.on(Side::Near, || run.clone().marker().end());
    let took = began.elapsed();
    assert!(ended.started(), "{}", ended.stderr);
    let trips = eventually("the end of the connection", || network.round_trips());
    assert!(took >= ROUND_TRIP * trips, "{took:?} for {trips} round trips");
    trips
}

/// A start takes so many round trips, and no fewer.
#[track_caller]
fn takes(network: &DelayedNetwork, run: &Run, expected: u32, why: &str) {
    assert_eq!(round_trips(network, run, expected), expected, "{why}");
}

#[test]
fn a_start_over_tls_takes_four_round_trips_however_many_secrets() {
    on_a_network(
        "wire::round_trips::a_start_over_tls_takes_four_round_trips_however_many_secrets",
        |network| {
            let setting = Setting::new(vault(network, TestVault::builder().https()), 50, 8);
            // 20 answers of 400 bytes are within the 10 segments that TCP sends at first (RFC
            // 6928).
            for secrets in [1, 20] {
                let run = setting.reading(secrets, "data/");
                takes(network, &run.clone().option("--revoke=false"), 4, "TCP, TLS, login, reads");
                takes(network, &run, 5, "one more to revoke");
                let run = setting.reading(secrets, "").option("--revoke=false");
                takes(network, &run, 5, "one more to find the versions out");
                takes(network, &run.option("--kv-version=2"), 4, "none where they are set");
            }
        },
    );
}

#[test]
fn answers_beyond_the_first_window_of_tcp_take_one_round_trip_for_each_doubling_of_it() {
    let name = "wire::round_trips::answers_beyond_the_first_window_of_tcp_take_one_round_trip_for_each_doubling_of_it";
    on_a_network(name, |network| {
        let setting = Setting::new(vault(network, TestVault::builder().https()), 50, 200);
        // 50 answers are 28 kB: after the answers to handshake and login the window has some 18 kB,
        // then twice as much.
        let run = setting.reading(50, "data/").option("--revoke=false");
        takes(network, &run, 5, "one more window");
    });
}

#[test]
fn mounts_that_have_to_be_asked_for_one_by_one_are_asked_for_at_once() {
    on_a_network(
        "wire::round_trips::mounts_that_have_to_be_asked_for_one_by_one_are_asked_for_at_once",
        |network| {
            let target = vault(network, TestVault::builder().https());
            let mounts: Vec<String> = (0..4).map(|_| kv(&target, 2)).collect();
            let role = role(
                &target,
                &mounts.iter().map(|mount| reading(mount)).collect::<Vec<_>>().concat(),
                json!({}),
            );
            let mut run = as_role(&target, &role).option("--revoke=false");
            for mount in &mounts {
                target.operator().kv_put(mount, 2, "app", json!({ "k": "v" }));
                run = run.env(mount.to_uppercase(), format!("vault:{mount}/app#k"));
            }
            let refused = || {
                let list = Fault::error(403, "permission denied");
                target.own().expect("own").fault_times(1, "/v1/sys/internal/ui/mounts", list);
                once(network, &run)
            };
            // TCP, TLS, login, the list that is refused, all four mounts, reads.
            let trips: Vec<u32> = (0..TRIES).map(|_| refused()).collect();
            assert_eq!(trips.iter().min(), Some(&6), "{trips:?}");
        },
    );
}

#[test]
fn a_token_saves_the_login_and_http_the_handshake_of_tls() {
    on_a_network(
        "wire::round_trips::a_token_saves_the_login_and_http_the_handshake_of_tls",
        |network| {
            for (builder, login, token) in
                [(TestVault::builder().https(), 4, 3), (TestVault::builder(), 3, 2)]
            {
                let setting = Setting::new(vault(network, builder), 1, 8);
                let run = setting.reading(1, "data/").option("--revoke=false");
                takes(network, &run, login, "with a login");
                let given = run_at(&setting.target).env("VAULT_TOKEN", setting.target.root_token());
                takes(
                    network,
                    &given.env("S0", format!("vault:{}/data/s0#k", setting.mount)),
                    token,
                    "with a token",
                );
            }
        },
    );
}

#[test]
fn over_http_1_1_reads_wait_for_connections_and_for_one_another() {
    on_a_network(
        "wire::round_trips::over_http_1_1_reads_wait_for_connections_and_for_one_another",
        |network| {
            let setting = Setting::new(vault(network, TestVault::builder()), 50, 8);
            // TCP and login; then eight connections, seven of them new, with a request at a time on
            // each.
            for (secrets, trips) in [(1, 3..=3), (8, 4..=4), (50, 9..=10)] {
                let found = round_trips(
                    network,
                    &setting.reading(secrets, "data/").option("--revoke=false"),
                    *trips.start(),
                );
                assert!(trips.contains(&found), "{secrets}: {found}");
            }
        },
    );
}
