//! What reaches the application of a signal that is sent to us, and what of it reaches more.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};

use crate::process::signals_while_waiting::Waiting;
use crate::supervise::inits::{self, Init, Place, Running, places, state};
use crate::support::launch::{before_exec, eventually, ignore};
use crate::support::run;

/// Those that a program can be sent by anybody and that are not of its own faults.
const PASSED: [Signal; 17] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGTERM,
    Signal::SIGSTKFLT,
    Signal::SIGCONT,
    Signal::SIGURG,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// A shell that says the number of each signal that it gets.
fn saying(numbers: impl IntoIterator<Item = i32>) -> String {
    let traps = numbers.into_iter().map(|number| format!("trap 'echo {number}' {number}\n"));
    let traps = traps.collect::<Vec<_>>().concat();
    format!("{traps}echo ready\nwhile :; do sleep 60 & wait $!; done")
}

// dumb-init: every normal signal is forwarded; tini: TERM, USR1, USR2
#[test]
fn every_normal_signal_reaches_the_application() {
    let script = saying(PASSED.map(|signal| signal as i32));
    for place in places("supervise::signals::every_normal_signal_reaches_the_application") {
        for init in inits::all() {
            let mut running = Running::script(init, place, &script);
            for signal in PASSED {
                running.signal(signal);
                let said = running.line();
                assert_eq!(said, (signal as i32).to_string(), "{init:?} {place:?} {signal}");
            }
        }
    }
}

#[test]
fn real_time_signals_reach_the_application() {
    let numbers = [36, 40, 50, 64];
    let mut running = Running::script(Init::Ours, Place::Beside, &saying(numbers));
    for number in numbers {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{number} {}", running.init)])
            .status()
            .expect("sh runs");
        assert!(sent.success());
        assert_eq!(running.line(), number.to_string());
    }
}

/// A busy machine may let it wait for its turn: of some tries one has to be as quick as promised.
#[test]
fn a_signal_is_passed_on_within_ten_milliseconds() {
    let mut running = Running::script(Init::Ours, Place::Beside, &saying([10]));
    let took = (0..50).map(|_| {
        let began = Instant::now();
        running.signal(Signal::SIGUSR1);
        assert_eq!(running.line(), "10");
        began.elapsed()
    });
    assert!(took.min().expect("some") < Duration::from_millis(10));
}

// dumb-init: the first HUP or CONT is not forwarded twice
#[test]
fn a_signal_reaches_the_application_once() {
    for place in places("supervise::signals::a_signal_reaches_the_application_once") {
        let mut running = Running::script(Init::Ours, place, &saying([1, 18, 10]));
        for signal in [Signal::SIGHUP, Signal::SIGCONT, Signal::SIGHUP, Signal::SIGUSR1] {
            running.signal(signal);
            assert_eq!(running.line(), (signal as i32).to_string(), "{place:?}");
        }
    }
}

// dumb-init: TSTP, TTOU and TTIN suspend both, and CONT resumes
#[test]
fn what_stops_us_stops_the_application_and_a_continue_resumes_both() {
    for signal in [Signal::SIGTSTP, Signal::SIGTTOU, Signal::SIGTTIN] {
        let mut command = Init::Ours.command(["sh", "-c", "echo ready; sleep 60"]);
        // In an orphaned group the kernel would stop nobody at SIGTSTP.
        command.process_group(0);
        let mut running = Running::start(Place::Beside, command);
        assert_eq!(running.line(), "ready");
        let both = [running.init, running.application()];
        running.signal(signal);
        for pid in both {
            eventually("both stop", || (state(pid) == Some('T')).then_some(()));
        }
        running.signal(Signal::SIGCONT);
        for pid in both {
            eventually("both go on", || (state(pid) == Some('S')).then_some(()));
        }
    }
}

/// A parent that traps the signal and a child that does not; each says what it hears.
const FAMILY: &str = "
    trap '' USR1
    trap 'echo main; exit 3' TERM
    (trap 'echo below; exit' TERM; echo ready; while :; do sleep 60 & wait $!; done) &
    while :; do wait; done";

// dumb-init: signals_entire_group; tini: group
#[test]
fn the_whole_group_gets_a_signal_only_if_asked_for() {
    let name = "supervise::signals::the_whole_group_gets_a_signal_only_if_asked_for";
    for place in places(name) {
        for init in inits::all() {
            let mut running = Running::script(init, place, FAMILY);
            running.signal(Signal::SIGTERM);
            let mut said = vec![running.line()];
            let is_for_groups =
                matches!(init, Init::OursForGroups | Init::TiniForGroups | Init::Dumb);
            // Others end with the main process, and what is below it may not have said anything.
            if is_for_groups && !init.is_ours() {
                assert!(["main", "below"].contains(&said[0].as_str()), "{init:?}: {said:?}");
            } else if is_for_groups {
                said.push(running.line());
                said.sort();
                assert_eq!(said, ["below", "main"], "{init:?} {place:?}");
            } else {
                assert_eq!(said, ["main"], "{init:?} {place:?}");
            }
            assert_eq!(running.ends().code(), Some(3), "{init:?}");
        }
    }
}

// dumb-init: all_processes_receive_term_on_exit
#[test]
fn what_is_left_of_the_group_is_ended_before_us_if_asked_for() {
    let script = "
        (trap 'sleep 0.2; echo gone; exit' TERM; echo ready; while :; do sleep 60 & wait $!; done) &
        read line < \"$0\"; exit 5";
    for place in places("supervise::signals::what_is_left_of_the_group") {
        let directory = crate::support::directory();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let command =
            Init::OursForGroups.command(["sh", "-c", script, fifo.to_str().expect("text")]);
        let mut running = Running::start(place, command);
        assert_eq!(running.line(), "ready");
        std::fs::write(&fifo, "\n").expect("it reads");
        assert_eq!(running.line(), "gone", "{place:?}");
        assert_eq!(running.ends().code(), Some(5));
    }
}

#[test]
fn what_does_not_end_with_its_group_is_killed_after_the_time_to_stop() {
    let script = "trap '' TERM; (echo ready; while :; do sleep 60; done) & sleep 0.1; exit 5";
    let command =
        ["--supervise", "--signal-group", "--stop-timeout=300ms", "--", "sh", "-c", script];
    let mut built = Command::new(crate::support::binary());
    built.args(command);
    let mut running = Running::start(Place::Beside, built);
    assert_eq!(running.line(), "ready");
    assert_eq!(running.ends().code(), Some(5));
    assert_eq!(running.rest(), Vec::<String>::new(), "somebody still has the pipe");
}

// pid1-rs: sigterm_ignore
#[test]
fn an_application_that_ignores_a_signal_is_never_killed_for_it() {
    for place in places("supervise::signals::an_application_that_ignores_a_signal") {
        let script = "trap '' TERM; trap 'echo 10' USR1; echo ready
            while :; do sleep 60 & wait $!; done";
        let mut running = Running::script(Init::Ours, place, script);
        for _ in 0..3 {
            running.signal(Signal::SIGTERM);
            running.signal(Signal::SIGUSR1);
            assert_eq!(running.line(), "10");
        }
    }
}

// tini: sigconf
#[test]
fn the_application_has_the_mask_and_the_ignored_signals_that_it_would_have_without_us() {
    let signals = |supervised: bool| {
        let run = if supervised { run().option("--supervise") } else { run() };
        let mut command =
            run.command(["grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]).build();
        before_exec(&mut command, || {
            ignore(&[Signal::SIGTTOU, Signal::SIGSEGV, Signal::SIGINT, Signal::SIGCHLD])?;
            let blocked = [Signal::SIGTTIN, Signal::SIGILL, Signal::SIGTERM];
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::from_iter(blocked)), None)
        });
        String::from_utf8(command.output().expect("it runs").stdout).expect("UTF-8")
    };
    let (directly, supervised) = (signals(false), signals(true));
    assert_eq!(supervised, directly);
    let chld = 1_u64 << (libc::SIGCHLD - 1);
    let ignored = supervised.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a line");
    assert_ne!(u64::from_str_radix(ignored.trim(), 16).expect("a mask") & chld, 0);
}

#[test]
fn a_signal_that_the_caller_blocks_waits_in_the_application() {
    // A shell would unblock it.
    let mut command = run().option("--supervise").command(["cat"]).build();
    before_exec(&mut command, || {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::from_iter([Signal::SIGTERM])), None)
    });
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let mut waiting = Waiting(command.spawn().expect("it runs"));
    let application = inits::only_child(waiting.pid());
    let comm = format!("/proc/{application}/comm");
    eventually("the application", || {
        (std::fs::read_to_string(&comm).ok()? == "cat\n").then_some(())
    });
    kill(waiting.pid(), Signal::SIGTERM).expect("it is there");
    eventually("the signal", || {
        (inits::status_of(application, "ShdPnd") == "0000000000004000").then_some(())
    });
    drop(waiting.0.stdin.take());
    assert_eq!(waiting.0.wait().expect("it ends").code(), Some(0));
}
