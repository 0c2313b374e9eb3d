//! Keeping credentials alive: renewals, replacements, and what is left at the end.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use test_vault::{Fault, Postgres, Target, TestVault, Value, json, on_every_vault_with_database};

use crate::proof::memory::frozen::Memory;
use crate::supervise::inits::{Place, Running, descriptors, state, status_of};
use crate::support::Run;
use crate::support::application::{AppRole, as_role, reading, role};
use crate::support::launch::{as_root, eventually};

/// Database users with leases of a few seconds, and a role that may have them.
struct Database<'a> {
    target: &'a Target,
    mount: String,
    role: AppRole,
}

impl<'a> Database<'a> {
    fn new(target: &'a Target, postgres: Option<&Postgres>, ttl: Value, token: Value) -> Self {
        let mount = target.unique("database");
        target.operator().enable_database(&mount, "app", ttl, postgres);
        let policy = reading(&format!("{mount}/creds"));
        Database { target, role: role(target, &policy, token), mount }
    }

    fn run(&self) -> Run {
        as_role(self.target, &self.role)
            .env("DB_USER", format!("vault:{}/creds/app#username", self.mount))
            .env("DB_PASSWORD", format!("vault:{}/creds/app#password", self.mount))
            .options(["--supervise", "--stop-timeout=2s", "--log-level=info"])
    }

    fn leases(&self) -> Vec<String> {
        self.target.operator().leases(&self.mount)
    }
}

/// Says which user it has, and ends with 7 at a SIGTERM.
const APPLICATION: &str =
    "trap 'exit 7' TERM; echo $$ $DB_USER; while :; do sleep 60 & wait $!; done";

fn own() -> Target {
    TestVault::start().into()
}

fn words(line: &str) -> (i32, String) {
    let (pid, user) = line.split_once(' ').expect("two words");
    (pid.parse().expect("a pid"), user.to_owned())
}

fn started(run: &Run) -> (Running, i32, String) {
    let mut running = Running::start(Place::Beside, run.clone().shell(APPLICATION).build());
    let (pid, user) = words(&running.line());
    (running, pid, user)
}

#[test]
fn a_lease_and_a_token_outlive_five_of_their_terms_and_end_with_the_application() {
    on_every_vault_with_database(|target, postgres| {
        let ttl = json!({ "default_ttl": "6s", "max_ttl": "1h" });
        let database = Database::new(target, postgres, ttl, json!({ "token_ttl": "8s" }));
        let began = Instant::now();
        let (mut running, pid, _) = started(&database.run());
        let leases = database.leases();
        assert_eq!(leases.len(), 1);
        while began.elapsed() < Duration::from_secs(30) {
            assert_eq!(database.leases(), leases, "after {:?}", began.elapsed());
            std::thread::sleep(Duration::from_millis(500));
        }
        assert_eq!(running.application().as_raw(), pid, "it was restarted");
        assert_eq!(status_of(running.init, "Threads"), "1");
        running.signal(Signal::SIGTERM);
        assert_eq!(running.ends().code(), Some(7));
        // The token is revoked, and the lease ends with it.
        eventually("the end of the lease", || database.leases().is_empty().then_some(()));
    });
}

#[test]
fn at_its_longest_the_application_is_replaced_before_the_old_user_goes() {
    on_every_vault_with_database(|target, postgres| {
        let ttl = json!({ "default_ttl": "6s", "max_ttl": "12s" });
        let database = Database::new(target, postgres, ttl, json!({ "token_ttl": "1h" }));
        let began = Instant::now();
        let (mut running, first, user) = started(&database.run());
        let old = database.leases();
        let (second, other) = words(&running.line());
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        assert_ne!((first, &user), (second, &other));
        assert_eq!(state(nix::unistd::Pid::from_raw(first)), None, "both run");
        let now = database.leases();
        assert!(now.iter().any(|lease| !old.contains(lease)), "{now:?}");
        // The old token is revoked, and its lease ends with it.
        eventually("the end of the old lease", || {
            database.leases().iter().all(|lease| !old.contains(lease)).then_some(())
        });
        running.signal(Signal::SIGTERM);
        assert_eq!(running.ends().code(), Some(7));
    });
}

#[test]
fn a_lease_that_is_revoked_behind_us_is_replaced_at_once() {
    on_every_vault_with_database(|target, postgres| {
        let ttl = json!({ "default_ttl": "4s", "max_ttl": "1h" });
        let database = Database::new(target, postgres, ttl, json!({ "token_ttl": "1h" }));
        let (mut running, _, user) = started(&database.run());
        for lease in database.leases() {
            target
                .operator()
                .write("sys/leases/revoke", json!({ "lease_id": lease, "sync": true }));
        }
        let (_, other) = words(&running.line());
        assert_ne!(user, other);
    });
}

#[test]
fn a_limited_token_where_something_is_to_be_renewed_is_an_error_and_leaves_no_lease() {
    let target = own();
    let ttl = json!({ "default_ttl": "1h" });
    let database = Database::new(&target, None, ttl, json!({ "token_num_uses": 20 }));
    database.run().fails(78, &["limited number", "token_num_uses"]);
    assert!(database.leases().is_empty());
}

#[test]
fn a_term_from_outside_ends_it_with_the_applications_status_while_vault_is_away() {
    let target = own();
    let ttl = json!({ "default_ttl": "3s", "max_ttl": "1h" });
    let database = Database::new(&target, None, ttl, json!({ "token_ttl": "1h" }));
    let (mut running, _, _) = started(&database.run());
    no_vault(&target);
    std::thread::sleep(Duration::from_secs(4));
    running.signal(Signal::SIGTERM);
    let began = Instant::now();
    assert_eq!(running.ends().code(), Some(7));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Has a server of our own answer nothing but that it is sealed.
fn no_vault(target: &Target) {
    target.own().expect("a server of our own").fault("/v1/", Fault::sealed());
}

#[test]
fn an_outage_is_said_once_harms_no_application_and_is_made_up_for() {
    let target = own();
    let ttl = json!({ "default_ttl": "3s", "max_ttl": "1h" });
    let database = Database::new(&target, None, ttl, json!({ "token_ttl": "1h" }));
    let directory = crate::support::directory();
    let stderr = directory.path().join("stderr");
    let run = database.run().option("--log-level=warn").env("VAULT_EXEC_TIMEOUT", "2s");
    let mut built = run.shell(&format!("exec 2>/dev/null; {APPLICATION}")).build();
    built.stderr(fs::File::create(&stderr).expect("a file"));
    let said = || fs::read_to_string(&stderr).expect("UTF-8");
    let mut running = Running::start_with_stderr(Place::Beside, built);
    let (first, user) = words(&running.line());
    no_vault(&target);
    eventually("a warning", || said().contains("goes on as it is").then_some(()));
    let asked = || target.own().expect("ours").requests().len();
    let before = asked();
    std::thread::sleep(Duration::from_secs(6));
    // The lease has ended meanwhile, and Vault is not there: the application runs on.
    assert_eq!(running.application().as_raw(), first, "{}", said());
    assert_eq!(said().matches("goes on as it is").count(), 1, "{}", said());
    assert!(asked() - before < 30, "asked {} times", asked() - before);
    target.own().expect("ours").clear_faults();
    let (_, other) = words(&running.line());
    assert_ne!(user, other);
    assert_eq!(said().matches("Vault answers again").count(), 1, "{}", said());
}

#[test]
fn the_credentials_that_ended_end_the_application_only_if_asked_for() {
    let target = own();
    let ttl = json!({ "default_ttl": "2s", "max_ttl": "1h" });
    let database = Database::new(&target, None, ttl, json!({ "token_ttl": "1h" }));
    let run = database.run().option("--on-expiry=exit").env("VAULT_EXEC_TIMEOUT", "2s");
    let (mut running, _, _) = started(&run);
    no_vault(&target);
    assert_eq!(running.ends().code(), Some(75));
}

#[test]
fn the_supervisor_holds_no_secret_after_renewals_and_restarts() {
    as_root(
        "supervise::renewal::the_supervisor_holds_no_secret_after_renewals_and_restarts",
        || {
            let target = own();
            let ttl = json!({ "default_ttl": "2s", "max_ttl": "4s" });
            let database = Database::new(&target, None, ttl, json!({ "token_ttl": "1h" }));
            let script =
                "echo $DB_PASSWORD; trap 'exit 7' TERM; while :; do sleep 60 & wait $!; done";
            let built = database.run().shell(script).build();
            let mut running = Running::start(Place::Beside, built);
            let secrets: Vec<String> = (0..4).map(|_| running.line()).collect();
            for secret in &secrets {
                let found = Memory::of(running.init).find(secret.as_bytes());
                assert!(found.is_empty(), "{secret}: {found:?}");
            }
            let application = running.application();
            let last = secrets.last().expect("four").as_bytes();
            assert!(!Memory::of(application).find(last).is_empty());
            // The application has no credential: nor at its fourth start.
            let found = Memory::of(application).find(database.role.secret_id.as_bytes());
            assert!(found.is_empty(), "{found:?}");
            let sockets = descriptors(running.init);
            let is_socket = |(_, file): &(i32, std::path::PathBuf)| {
                file.to_string_lossy().starts_with("socket:")
            };
            assert!(!sockets.iter().any(is_socket), "{sockets:?}");
            assert_eq!(status_of(running.init, "Threads"), "1");
        },
    );
}

/// A run with one KV secret that is looked at.
fn looked_at(target: &Target, on_change: &str) -> (String, Run) {
    let mount = crate::support::application::with_app(target);
    let run = as_role(target, &role(target, &reading(&mount), json!({})))
        .env("DB_USER", format!("vault:{mount}/app#user"))
        .options(["--supervise", "--refresh=10s", "--stop-timeout=2s"])
        .option(format!("--on-change={on_change}"));
    (mount, run)
}

#[test]
fn a_new_version_restarts_the_application_with_it() {
    test_vault::on_every_vault(|target| {
        let (mount, run) = looked_at(target, "restart");
        let (mut running, first, user) = started(&run);
        assert_eq!(user, "ada");
        target.operator().kv_put(&mount, 2, "app", json!({ "user": "grace" }));
        let (second, user) = words(&running.line());
        assert_eq!(user, "grace");
        assert_ne!(first, second);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.ends().code(), Some(7));
    });
}

#[test]
fn a_new_version_does_what_the_policy_says() {
    let target = own();
    let script = "trap 'echo hup; exit 3' HUP; trap 'exit 7' TERM; echo ready; while :; do sleep 60 & wait $!; done";
    let directory = crate::support::directory();
    let file = directory.path().join("changed");
    let exec = format!("exec:touch {}", file.display());
    for (policy, status) in [("signal:HUP", 3), ("exit", 75), ("exit:9", 9), (exec.as_str(), 7)] {
        let (mount, run) = looked_at(&target, policy);
        let mut running = Running::start(Place::Beside, run.shell(script).build());
        assert_eq!(running.line(), "ready");
        target.operator().kv_put(&mount, 2, "app", json!({ "user": "grace" }));
        if policy == exec {
            eventually("the program of the policy", || file.exists().then_some(()));
            running.signal(Signal::SIGTERM);
        }
        assert_eq!(running.ends().code(), Some(status), "{policy}");
    }
}

#[test]
fn a_secret_that_is_gone_or_cannot_be_built_changes_nothing() {
    let target = own();
    let (mount, run) = looked_at(&target, "restart");
    let (mut running, first, _) = started(&run);
    target.operator().kv_put(&mount, 2, "app", json!({ "other": "key" }));
    // It is seen, a start is tried, and the application is left as it is.
    std::thread::sleep(Duration::from_secs(22));
    assert_eq!(running.application().as_raw(), first);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ends().code(), Some(7));
}

#[test]
fn the_status_file_says_what_is_known_and_goes_with_the_application() {
    let target = own();
    let ttl = json!({ "default_ttl": "1h" });
    let database = Database::new(&target, None, ttl, json!({ "token_ttl": "1h" }));
    let directory = crate::support::directory();
    let file = directory.path().join("status.json");
    let run = database.run().env("VAULT_EXEC_STATUS_FILE", &file);
    let (mut running, pid, _) = started(&run);
    let status: Value =
        eventually("the status", || serde_json::from_str(&fs::read_to_string(&file).ok()?).ok());
    assert_eq!((&status["state"], &status["pid"]), (&json!("running"), &json!(pid)), "{status}");
    assert_eq!(status["leases"][0]["path"], format!("{}/creds/app", database.mount));
    kill(running.init, Signal::SIGTERM).expect("it is there");
    assert_eq!(running.ends().code(), Some(7));
    assert!(!file.exists());
}

#[test]
fn a_certificate_is_replaced_before_its_end() {
    test_vault::on_every_vault(|target| {
        let mount = target.unique("pki");
        target.operator().enable_pki(&mount);
        let settings = json!({ "allow_any_name": true, "ttl": "20s" });
        target.operator().pki_role(&mount, "app", settings);
        let policy = format!("path \"{mount}/issue/*\" {{ capabilities = [\"update\"] }}");
        let body = r#"{"common_name":"a.example.com","ttl":"20s"}"#;
        let run = as_role(target, &role(target, &policy, json!({})))
            .env("SERIAL", format!(">>vault:{mount}/issue/app#serial_number#{body}"))
            .options(["--supervise", "--stop-timeout=1s"]);
        let script = "trap 'exit 7' TERM; echo $$ $SERIAL; while :; do sleep 60 & wait $!; done";
        let began = Instant::now();
        let mut running = Running::start(Place::Beside, run.shell(script).build());
        let (first, serial) = words(&running.line());
        let (second, other) = words(&running.line());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(first != second && serial != other, "{serial} {other}");
    });
}

#[test]
fn what_hangs_on_a_batch_token_is_replaced_before_the_tokens_end() {
    on_every_vault_with_database(|target, postgres| {
        let ttl = json!({ "default_ttl": "1h", "max_ttl": "2h" });
        let token = json!({ "token_ttl": "16s", "token_type": "batch" });
        let database = Database::new(target, postgres, ttl, token);
        let began = Instant::now();
        let (mut running, first, user) = started(&database.run());
        let (second, other) = words(&running.line());
        assert!(began.elapsed() < Duration::from_secs(16), "{:?}", began.elapsed());
        assert!(first != second && user != other, "{user} {other}");
    });
}

#[test]
fn a_token_that_the_application_has_lives_on() {
    test_vault::on_every_vault(|target| {
        let role =
            role(target, &reading("none"), json!({ "token_ttl": "8s", "token_max_ttl": "1h" }));
        let run = as_role(target, &role)
            .env("VAULT_TOKEN", "vault:login")
            .options(["--supervise", "--stop-timeout=1s"]);
        let script = "trap 'exit 7' TERM; echo $VAULT_TOKEN; while :; do sleep 60 & wait $!; done";
        let mut running = Running::start(Place::Beside, run.shell(script).build());
        let token = running.line();
        std::thread::sleep(Duration::from_secs(12));
        let looked_up = |token: &str| {
            target.operator().request("GET", "auth/token/lookup-self", Some(token), None).0
        };
        assert_eq!(looked_up(&token), 200);
        running.signal(Signal::SIGTERM);
        assert_eq!(running.ends().code(), Some(7));
        eventually("its end", || (looked_up(&token) == 403).then_some(()));
    });
}

#[test]
fn a_prefix_that_is_revoked_behind_us_is_replaced() {
    on_every_vault_with_database(|target, postgres| {
        if target.own().is_some() {
            return;
        }
        let ttl = json!({ "default_ttl": "4s", "max_ttl": "1h" });
        let database = Database::new(target, postgres, ttl, json!({ "token_ttl": "1h" }));
        let (mut running, _, user) = started(&database.run());
        let path = format!("sys/leases/revoke-prefix/{}/creds", database.mount);
        target.operator().write(&path, json!({}));
        let (_, other) = words(&running.line());
        assert_ne!(user, other);
    });
}
