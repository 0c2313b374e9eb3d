//! Under a terminal: the foreground, Ctrl-C and Ctrl-Z, in a shell's job and as the leader of the
//! session.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::exec::Terminal;
use crate::supervise::inits::{children, has_foreground, only_child, state, supervised};
use crate::support::binary;
use crate::support::launch::{add, eventually};

/// A shell with job control that does what is typed in. `$S` is the script.
fn shell(script: &str) -> (Terminal, tempfile::TempDir) {
    let directory = crate::support::directory();
    let file = directory.path().join("script");
    std::fs::write(&file, script).expect("a file");
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env_clear();
    command.env("PATH", std::env::var_os("PATH").expect("a PATH"));
    command.env("PS1", "$ ").env("V", binary()).env("TERM", "dumb");
    command.env("S", file);
    let mut shell = Terminal::of(command);
    shell.shows("$ ");
    (shell, directory)
}

/// An application that says each signal of the terminal that it gets, and each line.
/// In some shells a trap interrupts the read.
const TALKING: &str = "trap 'echo got-int' INT; echo ready
    while :; do
        if read line; then echo got:$line; elif [ $? -le 128 ]; then exit; fi
    done";

fn leader(script: &str) -> Terminal {
    Terminal::of(supervised().shell(script).build())
}

// dumb-init: tty, and job control in a shell below; tini 7
#[test]
fn the_application_has_the_terminal() {
    let mut terminal = Terminal::of(supervised().command(["tac"]).build());
    terminal.type_in(b"one\ntwo\n\x04");
    terminal.shows("two\r\none");
    assert_eq!(terminal.ends().code(), Some(0));

    let mut terminal = leader("exec bash --norc -mc 'echo flags $-.; exit 7'");
    let shown = terminal.shows(".\r\n");
    assert!(shown.split("flags ").nth(1).is_some_and(|flags| flags.contains('m')), "{shown}");
    assert!(!shown.contains("no job control"), "{shown}");
    assert_eq!(terminal.ends().code(), Some(7));
}

#[test]
fn ctrl_c_reaches_the_application_once() {
    let mut terminal = leader(
        "trap 'n=$((n+1)); echo int:$n' INT; trap 'echo total:$n; exit' QUIT; echo ready
         while :; do sleep 0.05; done",
    );
    terminal.shows("ready");
    terminal.type_in(b"\x03");
    terminal.shows("int:1");
    terminal.type_in(b"\x1c");
    terminal.shows("total:1");
}

// `docker run -it`: nobody could continue it
#[test]
fn ctrl_z_stops_nothing_for_good_where_we_lead_the_session() {
    let mut terminal = leader(TALKING);
    terminal.shows("ready");
    for number in 0..3 {
        terminal.type_in(b"\x1a");
        terminal.type_in(format!("line{number}\n").as_bytes());
        terminal.shows(&format!("got:line{number}"));
    }
}

#[test]
fn an_application_that_was_stopped_on_purpose_stays_stopped_where_we_lead_the_session() {
    let mut terminal = leader(TALKING);
    terminal.shows("ready");
    let init = Pid::from_raw(terminal.pid().cast_signed());
    let application = only_child(init);
    kill(application, Signal::SIGSTOP).expect("it is there");
    eventually("a stop", || (state(application) == Some('T')).then_some(()));
    eventually("we wait", || (state(init) == Some('S')).then_some(()));
    kill(init, Signal::SIGCONT).expect("it is there");
    eventually("it goes on", || (state(application) == Some('S')).then_some(()));
}

#[test]
fn ctrl_z_and_fg_work_in_a_shell() {
    let (mut shell, _script) = shell(TALKING);
    shell.type_in(b"$V --supervise -- sh $S\n");
    shell.shows("ready\r\n");
    for number in 0..3 {
        shell.type_in(b"\x1a");
        shell.shows("Stopped");
        shell.type_in(b"echo in-''shell\n");
        shell.shows("in-shell");
        shell.type_in(b"fg\n");
        shell.shows("supervise");
        shell.type_in(format!("line{number}\n").as_bytes());
        shell.shows(&format!("got:line{number}"));
    }
    shell.type_in(b"\x04");
    shell.shows("$ ");
    // The terminal is the shell's again.
    shell.type_in(b"echo en''d\n");
    shell.shows("end");
}

#[test]
fn a_job_in_the_background_reads_once_it_is_in_the_foreground() {
    let (mut shell, _script) = shell(TALKING);
    shell.type_in(b"$V --supervise -- sh $S &\n");
    shell.shows("ready\r\n");
    // It stops where it reads: the terminal is the shell's.
    shell.type_in(b"sleep 0.2; echo sti''ll\n");
    shell.shows("still");
    shell.type_in(b"fg\n");
    shell.shows("supervise");
    shell.type_in(b"line\n");
    shell.shows("got:line");
    shell.type_in(b"\x03");
    shell.shows("got-int");
}

#[test]
fn a_job_that_runs_in_the_background_can_be_brought_to_the_foreground() {
    let (mut shell, _script) =
        shell("trap 'echo got-int; exit' INT; echo ready; while :; do sleep 0.05; done");
    shell.type_in(b"$V --supervise -- sh $S &\n");
    shell.shows("ready\r\n");
    shell.type_in(b"fg\n");
    shell.shows("supervise");
    let init = only_child(Pid::from_raw(shell.pid().cast_signed()));
    eventually("the foreground", || {
        let below = children(init);
        below.into_iter().chain([init]).any(has_foreground).then_some(())
    });
    shell.type_in(b"\x03");
    shell.shows("got-int");
    shell.type_in(b"echo en''d\n");
    shell.shows("end");
}

#[test]
fn a_script_that_goes_on_after_us_has_the_terminal_again() {
    let built = supervised().shell("read line; echo first:$line").build();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\"; read line; echo second:$line; exit 5", "sh"]);
    add(&mut command, &built);
    let mut terminal = Terminal::of(command);
    terminal.type_in(b"a\n");
    terminal.shows("first:a");
    terminal.type_in(b"b\n");
    terminal.shows("second:b");
    assert_eq!(terminal.ends().code(), Some(5));
}

// `yes | vault-exec -- less`: the pipe is not the terminal
#[test]
fn the_last_of_a_pipeline_has_the_terminal_though_its_input_is_a_pipe() {
    let (mut shell, _script) = shell("head -n1; read key </dev/tty; echo key:$key");
    shell.type_in(b"yes | $V --supervise -- sh $S\n");
    shell.shows("y\r\n");
    shell.type_in(b"q\n");
    shell.shows("key:q");
}

// `vault-exec -- yes | less`: what is behind us in the pipeline wants the terminal that we have
#[test]
fn the_next_of_a_pipeline_gets_the_terminal_when_it_asks_for_it() {
    let (mut shell, _script) = shell("read key </dev/tty; echo key:$key");
    shell.type_in(b"$V --supervise -- sh -c \"sleep 0.3; echo x\" | sh $S\n");
    shell.shows("\r\n");
    shell.type_in(b"q\n");
    shell.shows("key:q");
}
