//! Whatever becomes of the requests that keep credentials alive, the application sees nothing of it.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use test_vault::{Fault, Target, TestVault, json};

use crate::supervise::inits::{Place, Running};
use crate::support::application::{as_role, reading, role};
use crate::support::{all_at_once, directory};

/// Every way in which a renewal can go wrong for a while.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("sealed", Fault::sealed()),
        ("standby", Fault::no_leader()),
        ("500", Fault::internal_error()),
        ("502", Fault::bad_gateway()),
        ("429", Fault::rate_limited(None)),
        ("429 with Retry-After", Fault::rate_limited(Some("1"))),
        ("no answer", Fault::Hang),
        ("closed", Fault::Close),
        ("reset", Fault::Reset),
        ("answer lost", Fault::LoseAnswer),
        ("cut off", Fault::Truncate),
        ("drip", Fault::Drip(Duration::from_millis(200))),
        ("no JSON", Fault::invalid_json()),
        ("another shape", Fault::wrong_shape()),
    ]
}

#[test]
fn a_failing_renewal_harms_no_application_and_is_said_once_and_made_up_for() {
    all_at_once(faults(), |(name, fault)| {
        let target: Target = TestVault::start().into();
        let ttl = json!({ "default_ttl": "40s", "max_ttl": "1h" });
        target.operator().enable_database("database", "app", ttl, None);
        let role = role(&target, &reading("database/creds"), json!({ "token_ttl": "1h" }));
        let directory = directory();
        let stderr = directory.path().join("stderr");
        let mut built = as_role(&target, &role)
            .env("DB_USER", "vault:database/creds/app#username")
            .options(["--supervise", "--stop-timeout=2s"])
            .shell("exec 2>&-; trap 'exit 7' TERM; echo $$; while :; do sleep 60 & wait $!; done")
            .build();
        built.stderr(fs::File::create(&stderr).expect("a file"));
        let said = || fs::read_to_string(&stderr).expect("UTF-8");
        let mut running = Running::start_with_stderr(Place::Beside, built);
        let pid = running.line();
        let own = target.own().expect("a server of our own");
        own.fault("/v1/sys/leases/renew", fault);
        let renewals = || {
            let lines = own.lines();
            lines.iter().filter(|line| line.contains("sys/leases/renew")).count()
        };
        // The first comes after half to three quarters of the lease, and is tried again.
        eventually_within_a_minute(name, || said().contains("goes on as it is"));
        assert_eq!(running.application().to_string(), pid, "{name}: {}", said());
        own.clear_faults();
        let before = renewals();
        eventually_within_a_minute(name, || said().contains("Vault answers again"));
        assert!(renewals() > before, "{name}");
        assert_eq!(said().matches("goes on as it is").count(), 1, "{name}: {}", said());
        assert_eq!(running.application().to_string(), pid, "{name}: {}", said());
        running.signal(Signal::SIGTERM);
        assert_eq!(running.ends().code(), Some(7), "{name}: {}", said());
    });
}

#[track_caller]
fn eventually_within_a_minute(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within a minute");
}
