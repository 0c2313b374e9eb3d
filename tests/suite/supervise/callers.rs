//! What a caller can do to it: leave it in an unusual state, and end it.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::supervise::inits::{Init, Place, Running, supervised};
use crate::support::launch::{before_exec, ignore};

#[test]
fn an_ignored_sigchld_does_not_keep_it_from_hearing_of_the_end() {
    let mut command = supervised().shell("exit 7").build();
    before_exec(&mut command, || ignore(&[Signal::SIGCHLD]));
    assert_eq!(command.status().expect("it runs").code(), Some(7));
}

#[test]
fn closed_standard_descriptors_are_no_obstacle() {
    let mut command = supervised().shell("exit 7").build();
    before_exec(&mut command, || {
        for descriptor in 0..=2 {
            let _ = nix::unistd::close(descriptor);
        }
        Ok(())
    });
    assert_eq!(command.status().expect("it runs").code(), Some(7));
}

// tini: parent death signal
#[test]
fn the_application_gets_a_sigterm_if_we_are_killed() {
    let script = "trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 60 & wait $!; done";
    let mut running = Running::script(Init::Ours, Place::Beside, script);
    running.signal(Signal::SIGKILL);
    assert_eq!(running.line(), "term");
    assert_eq!(running.ends().code(), None);
}

/// `exec` keeps the process id, so a caller that has started others before may have children that
/// are strangers here.
#[test]
fn a_child_of_the_callers_is_no_application() {
    let built = supervised().shell("sleep 0.3; exit 4").build();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "(exit 9) & exec \"$@\"", "sh"]);
    crate::support::launch::add(&mut command, &built);
    assert_eq!(command.status().expect("it runs").code(), Some(4));
}

#[test]
fn a_signal_to_the_group_of_the_caller_reaches_the_application_once() {
    let mut command = Init::Ours
        .command(["sh", "-c", "trap 'echo int' INT; trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 60 & wait $!; done"]);
    command.process_group(0).stdin(Stdio::null());
    let mut running = Running::start(Place::Beside, command);
    assert_eq!(running.line(), "ready");
    kill(Pid::from_raw(-running.init.as_raw()), Signal::SIGINT).expect("a group");
    assert_eq!(running.line(), "int");
    kill(Pid::from_raw(-running.init.as_raw()), Signal::SIGTERM).expect("a group");
    assert_eq!(running.line(), "term");
    assert_eq!(running.ends().code(), Some(0));
}
