//! What it ends with: what the application ended with.

use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use test_vault::Fault;

use crate::process::signals_while_waiting::Waiting;
use crate::supervise::inits::{self, Init, Place, end_of, places, supervised};
use crate::support::all_at_once;
use crate::support::launch::{PATIENCE, Served};

// tini: exit codes 0 to 255; dumb-init: 0 1 2 32 64 127 254 255
#[test]
fn every_status_of_the_application_is_ours() {
    let cases = places("supervise::exit_codes::every_status_of_the_application_is_ours")
        .into_iter()
        .flat_map(|place| (0..=255).map(move |status| (place, status)));
    all_at_once(cases, |(place, status)| {
        let built = Init::Ours.command(["sh", "-c", &format!("exit {status}")]);
        assert_eq!(end_of(place, built).code(), Some(status), "{place:?}");
    });
}

const DEATHS: [Signal; 8] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGKILL,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGSEGV,
];

// tini: TERM, USR1, USR2 give 128+n; dumb-init: TERM, HUP, QUIT, KILL
#[test]
fn a_death_by_a_signal_is_128_and_its_number_for_pid_1_and_the_same_death_otherwise() {
    let name = "supervise::exit_codes::a_death_by_a_signal";
    for place in places(name) {
        for init in inits::all() {
            for signal in DEATHS {
                let script = format!("kill -{} $$; sleep 60", signal as i32);
                let status = end_of(place, init.command(["sh", "-c", &script]));
                let of_shell = Some(128 + signal as i32);
                if place == Place::Beside && init.is_ours() {
                    assert_eq!(status.signal(), Some(signal as i32), "{init:?}: {status}");
                    assert!(!status.core_dumped(), "{signal}");
                } else {
                    assert_eq!(status.code(), of_shell, "{init:?} {place:?} {signal}: {status}");
                }
            }
        }
    }
}

#[test]
fn a_death_by_a_real_time_signal_is_one_too() {
    let built = Init::Ours.command(["sh", "-c", "kill -40 $$; sleep 60"]);
    assert_eq!(end_of(Place::Beside, built).signal(), Some(40));
}

// dumb-init: bad_exec
#[test]
fn what_cannot_run_ends_as_without_supervision() {
    for (command, code) in [("no-such-program", 127), ("/etc/passwd", 126), ("/etc", 126)] {
        let ended = supervised().command([command]).end();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(command), "{}", ended.stderr);
    }
}

#[test]
fn a_start_that_fails_ends_with_its_own_code() {
    let served = Served::http();
    let run = served.with_approle().option("--supervise");
    run.clone().env("VAULT_SECRET_ID", "wrong").fails(77, &["auth/approle"]);
    run.clone().env("PASSWORD", "vault:secret/app#none").fails(66, &["none"]);
    run.clone().env("PASSWORD", "vault:secret/app").fails(78, &["PASSWORD"]);
    run.env("VAULT_ADDR", "http://127.0.0.1:1").env("VAULT_EXEC_TIMEOUT", "1s").fails(69, &[]);
}

#[test]
fn an_ending_signal_while_the_start_waits_ends_both_with_128_and_its_number() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
        let served = Served::http();
        served.vault.fault("/v1/secret/", Fault::Delay(PATIENCE));
        let waiting = Waiting::start(served.with_approle().option("--supervise").marker().build());
        let is_waiting = |requests: &[test_vault::Recorded]| {
            requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
        };
        assert!(served.vault.wait_for(is_waiting, PATIENCE));
        let (pid, application) = (waiting.pid(), inits::only_child(waiting.pid()));
        assert_eq!(waiting.ended_by(pid, signal).code(), Some(128 + signal as i32));
        assert_eq!(inits::state(application), None, "the start goes on");
    }
}
