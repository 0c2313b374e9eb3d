//! Inits, ours and those that others use, with an application below them: as PID 1 of a namespace
//! and as an ordinary process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::signals::{as_pid_1, has_namespaces};
use crate::support::launch::{PATIENCE, eventually, works};
use crate::support::{Run, binary, run};

/// A program that starts another one and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Init {
    Ours,
    OursForGroups,
    Tini,
    TiniForGroups,
    Dumb,
    Catatonit,
}

/// Every one that is on this machine; ours first.
pub(crate) fn all() -> Vec<Init> {
    let known = [
        Init::Ours,
        Init::OursForGroups,
        Init::Tini,
        Init::TiniForGroups,
        Init::Dumb,
        Init::Catatonit,
    ];
    known.into_iter().filter(|init| init.is_ours() || works(&mut init.probe())).collect()
}

impl Init {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Init::Ours | Init::OursForGroups)
    }

    fn program(self) -> PathBuf {
        match self {
            Init::Ours | Init::OursForGroups => binary(),
            Init::Tini | Init::TiniForGroups => "tini".into(),
            Init::Dumb => "dumb-init".into(),
            Init::Catatonit => "catatonit".into(),
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Init::Ours => &["--supervise", "--log-level=warn", "--"],
            Init::OursForGroups => &["--supervise", "--signal-group", "--stop-timeout=5s", "--"],
            // As a process that is not PID 1 it collects orphans only with -s.
            Init::Tini => &["-s", "--"],
            Init::TiniForGroups => &["-s", "-g", "--"],
            Init::Dumb | Init::Catatonit => &["--"],
        }
    }

    fn probe(self) -> Command {
        let mut command = Command::new(self.program());
        command.args(self.options()).arg("true");
        command
    }

    /// The command that has the init start another one.
    pub(crate) fn command<T: AsRef<OsStr>>(self, command: impl IntoIterator<Item = T>) -> Command {
        let mut built = Command::new(self.program());
        built.env_clear().env("PATH", std::env::var_os("PATH").expect("a PATH"));
        built.args(self.options()).args(command);
        built
    }
}

/// Where an init runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// As the first process of a PID namespace of its own.
    First,
    /// As any other process.
    Beside,
}

/// Both places, if this machine lets a test make a namespace.
pub(crate) fn places(name: &str) -> Vec<Place> {
    if has_namespaces(name) { vec![Place::First, Place::Beside] } else { vec![Place::Beside] }
}

fn at(place: Place, built: Command) -> Command {
    if place == Place::Beside {
        return built;
    }
    let mut command = as_pid_1(&built);
    if let Some(directory) = built.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

/// How a command ends at a place.
pub(crate) fn end_of(place: Place, built: Command) -> ExitStatus {
    at(place, built).stdin(Stdio::null()).status().expect("it runs")
}

/// A run that stays.
pub(crate) fn supervised() -> Run {
    run().option("--supervise")
}

/// An init with an application that runs.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// The init's own process.
    pub(crate) init: Pid,
    /// The groups of what it has started, for the end of the test.
    groups: Vec<Pid>,
}

impl Running {
    /// Starts the command at a place; its application's output is read line by line.
    pub(crate) fn start(place: Place, built: Command) -> Running {
        let mut command = at(place, built);
        command.stderr(Stdio::inherit());
        Running::spawn(place, command)
    }

    /// The same with the command's own stderr.
    pub(crate) fn start_with_stderr(place: Place, built: Command) -> Running {
        Running::spawn(place, at(place, built))
    }

    fn spawn(place: Place, mut command: Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let started = Pid::from_raw(child.id().cast_signed());
        let init = if place == Place::First { only_child(started) } else { started };
        Running { child, lines, init, groups: children(init) }
    }

    /// The same with a script, once it has said `ready`.
    pub(crate) fn script(init: Init, place: Place, script: &str) -> Running {
        let mut running = Running::start(place, init.command(["sh", "-c", script]));
        assert_eq!(running.line(), "ready", "{init:?} {place:?}");
        running.groups.extend(children(running.init));
        running
    }

    /// What the application says next.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("UTF-8");
        line.trim_end().to_owned()
    }

    /// All that it says until nobody has the pipe open.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let lines = std::mem::replace(&mut self.lines, BufReader::new(empty()));
        lines.lines().map(|line| line.expect("UTF-8")).collect()
    }

    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.init, signal).expect("it is there");
    }

    /// The application's process.
    pub(crate) fn application(&self) -> Pid {
        only_child(self.init)
    }

    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE * 3, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for group in self.groups.drain(..).chain(children(self.init)) {
            let _ = kill(Pid::from_raw(-group.as_raw()), Signal::SIGKILL);
        }
        let _ = kill(self.init, Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn empty() -> ChildStdout {
    let mut command = Command::new("true");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("true runs");
    let _ = child.wait();
    child.stdout.take().expect("piped")
}

/// The children of a process.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}

/// The child of a process that has one, or will have.
pub(crate) fn only_child(pid: Pid) -> Pid {
    eventually("a child", || children(pid).first().copied())
}

/// The state of a process as the kernel has it, such as `S`, `T` and `Z`; nothing if it is gone.
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether its group is the foreground of its terminal (proc(5), stat: `pgrp` and `tpgid`).
pub(crate) fn has_foreground(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    fields.len() > 5 && fields[2] == fields[5]
}

/// A line of `/proc/<pid>/status`.
pub(crate) fn status_of(pid: Pid, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.expect("its line").trim().to_owned()
}

/// What the descriptors of a process are, by their number.
pub(crate) fn descriptors(pid: Pid) -> Vec<(i32, PathBuf)> {
    let entries = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd"));
    let mut found: Vec<(i32, PathBuf)> = entries
        .expect("it is there")
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    found.sort();
    found
}
