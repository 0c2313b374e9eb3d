//! Two hundred containers that start at once.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use test_vault::{Fault, Recorded, Target, TestVault, json, on_every_https_vault};

use crate::support::application::{AppRole, kv, reading, role};
use crate::support::launch::PATIENCE;
use crate::support::{Ended, Run, run_at};

/// Containers that a node's restart, or a rollout, may start together.
const STARTS: usize = 200;

/// What a start has until it fails: much more than it takes on a busy machine.
const GENEROUS: &str = "120s";

/// A secret, and a role with a secret id for each start, which is good for one login.
struct Fleet {
    role: AppRole,
    secret_ids: Vec<String>,
    mount: String,
}

impl Fleet {
    fn of(target: &Target) -> Fleet {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "app", json!({ "user": "ada" }));
        let role = role(target, &reading(&mount), json!({}));
        let once = || role.new_secret_id(json!({ "num_uses": 1 }));
        let secret_ids = (0..STARTS).map(|_| once()).collect();
        Fleet { role, secret_ids, mount }
    }

    /// All starts at once, and how each of them ended and after what time.
    fn start(&self, target: &Target, timeout: &str) -> Vec<(Ended, Duration)> {
        let start = |secret_id: &String| {
            let (child, began) = (self.run(target, secret_id, timeout).spawn(), Instant::now());
            thread::spawn(move || {
                (Ended::of(child.wait_with_output().expect("it ends")), began.elapsed())
            })
        };
        let waiting: Vec<_> = self.secret_ids.iter().map(start).collect();
        waiting.into_iter().map(|waiting| waiting.join().expect("it ends")).collect()
    }

    fn run(&self, target: &Target, secret_id: &str, timeout: &str) -> Run {
        run_at(target)
            .env("VAULT_AUTH_MOUNT", &self.role.mount)
            .env("VAULT_ROLE_ID", &self.role.role_id)
            .env("VAULT_SECRET_ID", secret_id)
            .env("VALUE", format!("vault:{}/data/app#user", self.mount))
            .options(["--timeout", timeout])
            .shell("printf %s \"$VALUE\"")
    }

    /// How often each secret id came in a login that the server has answered like this, or not at
    /// all.
    fn logins(&self, vault: &TestVault, status: Option<u16>) -> BTreeMap<String, usize> {
        let path = format!("/v1/auth/{}/login", self.role.mount);
        let is_login = |request: &&Recorded| request.path == path && request.status == status;
        let mut logins = BTreeMap::new();
        for login in vault.requests().iter().filter(is_login) {
            *logins
                .entry(login.json()["secret_id"].as_str().expect("a secret id").to_owned())
                .or_default() += 1;
        }
        logins
    }

    /// Each of them once.
    fn each_once(&self) -> BTreeMap<String, usize> {
        self.secret_ids.iter().map(|secret_id| (secret_id.clone(), 1)).collect()
    }
}

/// Those that have started have their value; the others say that the server was not reached or not
/// ready.
fn count_started(all: &[(Ended, Duration)]) -> usize {
    let (started, failed): (Vec<_>, Vec<_>) =
        all.iter().map(|(ended, _)| ended).partition(|ended| ended.code == Some(0));
    for ended in failed {
        let is_said = ended.stderr.contains("vault-exec: error: ");
        assert!(ended.code == Some(69) && is_said && ended.stdout.is_empty(), "{ended:?}");
    }
    assert!(started.iter().all(|ended| ended.text() == "ada"), "{started:?}");
    started.len()
}

/// A real server keeps no record that a test could read, but takes a secret id that is good for one
/// login only once.
fn all_start(target: &Target) {
    let fleet = Fleet::of(target);
    assert_eq!(count_started(&fleet.start(target, GENEROUS)), STARTS);
    if let Some(vault) = target.own() {
        assert_eq!(fleet.logins(vault, Some(200)), fleet.each_once());
    }
}

#[test]
fn all_of_them_start_and_each_logs_in_once() {
    all_start(&TestVault::start().into());
}

#[test]
fn over_https_too() {
    on_every_https_vault(all_start);
}

#[test]
fn a_server_that_is_too_busy_for_some_of_them_gets_no_login_twice() {
    let target = Target::from(TestVault::builder().https().start());
    let (fleet, vault) = (Fleet::of(&target), target.own().expect("own"));
    let (busy, lost) = (STARTS / 2, STARTS / 10);
    vault.fault_times(busy, "POST /v1/auth/", Fault::rate_limited(Some("1")));
    vault.fault_times(busy, "POST /v1/auth/", Fault::no_leader());
    vault.fault_times(lost, "POST /v1/auth/", Fault::LoseAnswer);
    vault.fault_times(lost, "POST /v1/auth/", Fault::Reset);
    vault.fault_times(busy, "GET /v1/", Fault::rate_limited(None));
    let started = count_started(&fleet.start(&target, GENEROUS));
    assert_eq!(started, STARTS - 2 * lost);
    let (done, unknown) = (fleet.logins(vault, Some(200)), fleet.logins(vault, None));
    assert_eq!((done.len(), unknown.len()), (started, 2 * lost));
    assert_eq!(done.into_iter().chain(unknown).collect::<BTreeMap<_, _>>(), fleet.each_once());
    for status in [429, 503] {
        assert_eq!(fleet.logins(vault, Some(status)).values().sum::<usize>(), busy);
    }
}

#[test]
fn a_server_that_is_too_slow_for_all_of_them_fails_each_at_its_deadline() {
    let target = Target::from(TestVault::builder().https().start());
    let (fleet, vault) = (Fleet::of(&target), target.own().expect("own"));
    vault.fault("POST /v1/auth/", Fault::Hang);
    let ended = fleet.start(&target, "3s");
    assert_eq!(count_started(&ended), 0);
    // Most of it is the time until each of so many processes gets a turn.
    let longest = ended.iter().map(|(_, time)| *time).max().expect("some");
    assert!(longest < Duration::from_secs(3) + PATIENCE, "{longest:?}");
    assert!(fleet.logins(vault, None).values().all(|count| *count == 1));
}
