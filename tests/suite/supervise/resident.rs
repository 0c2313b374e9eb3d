//! What the process that stays holds: no directory, no descriptor, no thread, and for an
//! application that has nothing to renew no credential.

use std::fs;
use std::path::{Path, PathBuf};

use crate::proof::memory::frozen::Memory;
use crate::supervise::inits::{Init, Place, Running, descriptors, places, status_of, supervised};
use crate::support::directory;
use crate::support::launch::{FETCHED, Served, as_root, eventually};

// dumb-init: cwd of the parent is / and that of the child is kept; catatonit: cwd not held
#[test]
fn we_leave_the_working_directory_and_the_application_keeps_it() {
    let directory = directory();
    for place in places("supervise::resident::we_leave_the_working_directory") {
        let mut command = Init::Ours.command(["sh", "-c", "pwd; sleep 60"]);
        command.current_dir(directory.path());
        let mut running = Running::start(place, command);
        let here = directory.path().canonicalize().expect("it is there");
        assert_eq!(Path::new(&running.line()), here);
        eventually("/", || {
            (fs::read_link(format!("/proc/{}/cwd", running.init)).ok()? == Path::new("/"))
                .then_some(())
        });
    }
}

// catatonit: inherited pipes closed
#[test]
fn we_hold_no_descriptor_of_the_callers_but_stderr() {
    let mut running = Running::script(
        Init::Ours,
        Place::Beside,
        "exec 9</etc/passwd; echo ready; exec sleep 60 >/dev/null",
    );
    let found = eventually("descriptors", || {
        let found = descriptors(running.init);
        (found.get(1)?.1 == Path::new("/dev/null")).then_some(found)
    });
    let numbers: Vec<i32> = found.iter().map(|(number, _)| *number).collect();
    assert!(numbers.starts_with(&[0, 1, 2]) && numbers.len() > 3, "{found:?}");
    assert_eq!(found[0].1, Path::new("/dev/null"));
    let ours = ["anon_inode:[signalfd]", "anon_inode:[timerfd]"].map(Path::new);
    let is_ours = |(_, target): &(i32, PathBuf)| ours.contains(&target.as_path());
    assert!(found[3..].iter().all(is_ours), "{found:?}");
    // The application has left its stdout, and nobody else has it: the pipe is at its end.
    assert_eq!(running.rest(), Vec::<String>::new());
    assert_eq!(status_of(running.init, "Threads"), "1");
}

#[test]
fn a_descriptor_of_the_callers_is_the_applications() {
    let built = Init::Ours.command(["sh", "-c", "cat <&7; exec sleep 60"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec 7</proc/sys/kernel/ostype; exec \"$@\"", "sh"]);
    crate::support::launch::add(&mut command, &built);
    let mut running = Running::start(Place::Beside, command);
    assert_eq!(running.line(), "Linux");
    eventually("it is closed", || {
        descriptors(running.init).iter().all(|(number, _)| *number != 7).then_some(())
    });
}

// catatonit: LISTEN_PID
#[test]
fn variables_that_named_us_name_the_application() {
    // `exec` keeps the shell's process id.
    let script = "export LISTEN_PID=$$ WATCHDOG_PID=1 OTHER=$$
        exec \"$@\" --supervise -- sh -c 'echo $$ $LISTEN_PID $WATCHDOG_PID $OTHER; sleep 60'";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh"]).arg(crate::support::binary());
    let mut running = Running::start(Place::Beside, command);
    let line = running.line();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[0], words[1], "{line}");
    assert_eq!(words[2], "1", "{line}");
    assert_eq!(words[3], running.init.to_string(), "{line}");
}

#[test]
fn a_pure_init_holds_no_credential_and_no_secret() {
    as_root("supervise::resident::a_pure_init_holds_no_credential_and_no_secret", || {
        let served = Served::http();
        let run = served.with_approle().option("--supervise");
        let built = run.shell("printf '%s\\n' \"$PASSWORD\"; exec sleep 60").build();
        let mut running = Running::start(Place::Beside, built);
        assert_eq!(running.line(), FETCHED);
        // The application may be quicker than its report.
        for value in [FETCHED, &served.role.secret_id, &served.role.role_id] {
            eventually("it is gone", || {
                Memory::of(running.init).find(value.as_bytes()).is_empty().then_some(())
            });
        }
        // The same look finds what is there.
        assert!(!Memory::of(running.application()).find(FETCHED.as_bytes()).is_empty());
    });
}

#[test]
fn the_output_of_the_application_is_the_callers() {
    let ended = supervised().command(["cat"]).end_with_input(b"to the byte\0\xff");
    assert_eq!((ended.code, ended.stdout.as_slice()), (Some(0), &b"to the byte\0\xff"[..]));
    assert_eq!(ended.stderr, "");
}
