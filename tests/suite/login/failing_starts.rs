//! What a start leaves behind at Vault if it fails after the login: nothing.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use test_vault::{Fault, Target, TestVault, json, on_every_vault_with_database};

use crate::references::leases::Database;
use crate::support::application::{as_role, kv, role, token};
use crate::support::launch::{PATIENCE, executable, not_run};
use crate::support::{Ended, Run, directory, run_at};

/// What the application's role may do, beside reading database users.
fn policy(database: &Database<'_>, kv: &str) -> String {
    format!(
        "{}path \"{kv}/data/*\" {{ capabilities = [\"read\"] }}
         path \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}",
        database.policy()
    )
}

/// A start that gets a lease, and what else there is in Vault for it.
struct Start<'a> {
    target: &'a Target,
    database: Database<'a>,
    kv: String,
    with_role: Run,
}

impl<'a> Start<'a> {
    fn new(target: &'a Target, database: Database<'a>, directory: &Path) -> Start<'a> {
        let kv = kv(target, 2);
        let directory = directory.to_str().expect("UTF-8");
        target.operator().kv_put(
            &kv,
            2,
            "app",
            json!({
                "nul": "a\0b",
                "string": "x".repeat(140_000),
                "part": "x".repeat(100_000),
                "nowhere": "/nowhere",
                "here": directory,
                "user": "ada",
            }),
        );
        let role = role(target, &policy(&database, &kv), json!({}));
        let with_role = database.wanted(as_role(target, &role));
        Start { target, database, kv, with_role }
    }

    fn reference(&self, key: &str) -> String {
        format!("vault:{}/data/app#{key}", self.kv)
    }

    /// The start fails so, and neither its token nor its lease is there afterwards.
    #[track_caller]
    fn leaves_nothing(&self, name: &str, run: &Run, code: i32, part: &str) {
        let ended = run.end();
        assert_eq!((ended.code, ended.text().as_str()), (Some(code), ""), "{name}: {ended:?}");
        assert!(ended.stderr.contains(part), "{name}: {}", ended.stderr);
        self.is_left_nothing(name);
    }

    #[track_caller]
    fn is_left_nothing(&self, name: &str) {
        let leases = self.target.operator().wait_for_leases(&self.database.mount, 0, PATIENCE);
        assert_eq!(leases, Vec::<String>::new(), "{name}");
        if let Some(token) = self.last_token() {
            let looked_up = self.target.operator();
            let answer = looked_up.request("GET", "auth/token/lookup-self", Some(&token), None);
            assert_eq!(answer.0, 403, "{name}: the token is alive");
        }
    }

    /// The token that the last secret was read with, which a server of our own has recorded.
    fn last_token(&self) -> Option<String> {
        let requests = self.target.own()?.requests();
        let path = format!("/v1/{}/", self.database.mount);
        let read = requests.iter().rfind(|request| request.path.starts_with(&path));
        read.expect("a lease was asked for").token().map(str::to_owned)
    }
}

#[test]
fn a_start_that_cannot_become_the_application_revokes_its_token_and_leases() {
    let directory = directory();
    let script = executable(directory.path(), "app", b"#!/bin/sh\n");
    std::fs::write(directory.path().join("text"), "not executable").expect("a file");
    // A PATH from Vault is shown as a part of the program's path.
    test_vault::leaks::publish(&directory.path().display().to_string());
    on_every_vault_with_database(|target, postgres| {
        let start = Start::new(target, Database::new(target, postgres), directory.path());
        let run = start.with_role.clone().command(["true"]);
        let large = (0..60).fold(run.clone(), |run, number| {
            run.env(format!("PART_{number}"), start.reference("part"))
        });
        for (name, run, code, part) in [
            ("a NUL byte", run.clone().env("A", start.reference("nul")), 78, "A: "),
            ("a long string", run.clone().env("A", start.reference("string")), 78, "A: "),
            ("a large environment", large, 78, "the environment and the arguments"),
            (
                "no program",
                run.clone().env("PATH", start.reference("nowhere")).command(["app"]),
                127,
                "not found",
            ),
            (
                "a program that cannot run",
                run.clone().env("PATH", start.reference("here")).command(["text"]),
                126,
                "Permission denied",
            ),
            ("a missing key", run.clone().env("A", start.reference("none")), 66, "no key none"),
            ("a refusal", run.clone().env("A", "vault:sys/none#k"), 77, "A: "),
        ] {
            start.leaves_nothing(name, &run, code, part);
        }
        let name = "login::failing_starts: an execve that is refused";
        if !tells_whether_it_executes(&script) {
            return not_run(name, "the kernel has no AT_EXECVE_CHECK (Linux 6.14)");
        }
        // What is open for writing cannot be executed (execve(2), ETXTBSY).
        let _writer = OpenOptions::new().append(true).open(&script).expect("its owner");
        start.leaves_nothing(name, &run.command([&script]), 126, "busy");
    });
}

/// Whether the kernel tells before the fact.
fn tells_whether_it_executes(program: &Path) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    File::open(program).is_ok() && (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

#[test]
fn a_given_token_stays_and_its_leases_of_a_failed_start_go() {
    on_every_vault_with_database(|target, postgres| {
        let directory = directory();
        let start = Start::new(target, Database::new(target, postgres), directory.path());
        let token = token(target, &policy(&start.database, &start.kv));
        let run = start.database.wanted(run_at(target)).env("VAULT_TOKEN", &token);
        let run = run.env("A", start.reference("nul")).command(["true"]);
        assert_eq!(run.end().code, Some(78));
        start.database.assert_leases(0);
        let (status, _) =
            target.operator().request("GET", "auth/token/lookup-self", Some(&token), None);
        assert_eq!(status, 200, "the token is its owner's");
    });
}

/// A start on a server of our own whose read of the other secret is never answered.
fn hanging(test: impl FnOnce(&Start<'_>, &TestVault, Run)) {
    let target: Target = TestVault::start().into();
    let directory = directory();
    let start = Start::new(&target, Database::new(&target, None), directory.path());
    let vault = target.own().expect("own");
    vault.fault(format!("/v1/{}/", start.kv).as_str(), Fault::Hang);
    let run = start.with_role.clone().env("A", start.reference("user")).marker();
    test(&start, vault, run);
}

#[test]
fn a_start_that_runs_out_of_time_revokes_its_token_and_leases() {
    hanging(|start, _, run| {
        let run = run.option("--timeout=2s");
        start.leaves_nothing("no time", &run, 69, "no answer in time");
    });
}

#[test]
fn a_signal_after_the_login_revokes_the_token_and_the_leases_first() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        hanging(|start, vault, run| {
            let child = run.spawn();
            let read = format!("/v1/{}/", start.kv);
            let is_waiting = |requests: &[test_vault::Recorded]| {
                requests.iter().any(|request| request.path.starts_with(&read))
            };
            assert!(vault.wait_for(is_waiting, PATIENCE));
            // The lease comes at the same time: not before it is there is there anything to lose.
            start.database.assert_leases(1);
            kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("alive");
            let ended = Ended::of(child.wait_with_output().expect("it ends"));
            assert_eq!(ended.code, Some(128 + signal as i32), "{ended:?}");
            assert!(ended.stdout.is_empty() && ended.stderr.is_empty(), "{ended:?}");
            start.is_left_nothing(signal.as_str());
        });
    }
}

#[test]
fn a_signal_is_obeyed_within_a_second_also_where_vault_does_not_answer() {
    hanging(|_, vault, run| {
        vault.fault("POST /v1/auth/token/revoke-self", Fault::Hang);
        let child = run.spawn();
        let is_waiting = |requests: &[test_vault::Recorded]| {
            requests.iter().any(|request| request.path.starts_with("/v1/kv-"))
        };
        assert!(vault.wait_for(is_waiting, PATIENCE));
        let began = Instant::now();
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGTERM)
            .expect("alive");
        let output = child.wait_with_output().expect("it ends");
        // A busy machine is slower, and docker stop waits for ten seconds.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(output.status.code(), Some(143), "{output:?}");
    });
}
