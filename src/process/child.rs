//! Children: a fork, and what each side of it makes of itself.
#![allow(unsafe_code, reason = "a fork copies one thread of what may be many")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc::{self, c_int};
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, chdir, fork, getpgrp, getpid, getppid, pipe2, setpgid};

use crate::process::signals::Caller;
use crate::process::terminal;

/// What the application's process has to know about the one that it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    supervisor: Pid,
    caller: Caller,
    /// Whether our group had the terminal's foreground.
    had_terminal: bool,
}

impl Origin {
    /// Of this process, before its first fork.
    pub(crate) fn here(caller: Caller) -> Origin {
        Origin { supervisor: getpid(), caller, had_terminal: terminal::is_in_front(getpgrp()) }
    }

    /// The process id of the supervisor.
    pub(crate) fn supervisor(&self) -> Pid {
        self.supervisor
    }
}

/// Divides this process, which must have a single thread, into the supervisor and the application's
/// process, which has a group of its own on both sides' return.
///
/// # Errors
/// EAGAIN or ENOMEM where the kernel gives no process (fork(2)).
pub(crate) fn divide(origin: &Origin) -> nix::Result<Option<Pid>> {
    // SAFETY: nothing of this program has started a thread yet: those that there are belong to a
    // runtime or to a look-up of a name, which only a child begins.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // Both sides do it: neither can know which is first. After the child's exec it fails,
            // and has been done.
            let _ = setpgid(child, child);
            Ok(Some(child))
        }
        ForkResult::Child => {
            become_application(origin);
            Ok(None)
        }
    }
}

/// Divides off another process for the application, which takes its place later: the terminal stays
/// with the one that there is. It has the working directory that the first one had.
///
/// # Errors
/// As [`divide`].
pub(crate) fn divide_again(origin: &Origin, directory: Option<&Path>) -> nix::Result<Option<Pid>> {
    // SAFETY: as in `divide`; a supervisor never starts a thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            let _ = setpgid(child, child);
            Ok(Some(child))
        }
        ForkResult::Child => {
            become_application(&Origin { had_terminal: false, ..*origin });
            if let Some(directory) = directory
                && let Err(error) = chdir(directory)
            {
                log::warn!("{}: {error}: the application starts in /", directory.display());
            }
            Ok(None)
        }
    }
}

/// Divides off a process that asks Vault something. It ends with the supervisor.
///
/// # Errors
/// As [`divide`].
pub(crate) fn divide_for_work() -> nix::Result<Option<Pid>> {
    let parent = getpid();
    // SAFETY: as in `divide`; a supervisor never starts a thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(child)),
        ForkResult::Child => {
            end_with(parent, Signal::SIGKILL);
            Ok(None)
        }
    }
}

/// Ends a process that was divided off, without what a program does at its end.
pub(crate) fn end() -> ! {
    // SAFETY: ends the process and runs nothing else of it.
    unsafe { libc::_exit(0) }
}

/// Runs a program as the application would be run, without waiting for it.
///
/// # Errors
/// What the kernel says of a program that cannot run.
pub(crate) fn run(
    origin: &Origin,
    directory: Option<&Path>,
    words: &[String],
) -> std::io::Result<()> {
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let caller = origin.caller;
    // SAFETY: the hook makes system calls and nothing else: it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || caller.give_back().map_err(Into::into)) };
    // Whoever collects all children collects this one.
    command.spawn().map(drop)
}

/// Makes a pipe that no program inherits: its end to read from and its end to write to.
///
/// # Errors
/// EMFILE or ENFILE where there are too many descriptors (pipe(2)).
pub(crate) fn pipe() -> nix::Result<(File, File)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((read.into(), write.into()))
}

/// Tells the process at the other end to go on.
pub(crate) fn tell(mut go: &File) {
    if let Err(error) = go.write_all(b"g") {
        log::error!("the application's process cannot be told to go on: {error}");
    }
}

/// Waits until it is told to go on; false if there is nobody left to do that.
pub(crate) fn is_told(mut wait: File) -> bool {
    matches!(wait.read(&mut [0]), Ok(1))
}

/// A group of its own, the terminal if it was ours, the caller's signals, and an end with the
/// supervisor.
fn become_application(origin: &Origin) {
    let own = getpid();
    if let Err(error) = setpgid(own, own) {
        log::debug!("the application has no group of its own: {error}");
    }
    if origin.had_terminal {
        terminal::put_in_front(own);
    }
    end_with(origin.supervisor, Signal::SIGTERM);
    if let Err(error) = origin.caller.give_back() {
        log::debug!("the mask of signals cannot be set: {error}");
    }
}

/// Has the kernel end this process with its parent. The end of PID 1 ends all others anyway.
fn end_with(parent: Pid, signal: Signal) {
    if parent.as_raw() == 1 {
        return;
    }
    if let Err(error) = set_pdeathsig(signal) {
        log::debug!("the application will not hear of the supervisor's end: {error}");
    }
    // It may have ended before it was asked for.
    if getppid() != parent {
        crate::process::signals::raise_with_default(signal as c_int);
    }
}

/// Has the orphans below us come to us, as they come to PID 1 anyway.
pub(crate) fn adopt_orphans() {
    if getpid().as_raw() != 1
        && let Err(error) = set_child_subreaper(true)
    {
        log::debug!("orphans of the application go to PID 1: {error}");
    }
}

/// Holds no working directory, which would keep its file system from being unmounted.
pub(crate) fn leave_directory() {
    if let Err(error) = chdir("/") {
        log::debug!("the working directory stays in use: {error}");
    }
}

/// Closes every descriptor but standard input, output and error, and `kept`.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) {
    for descriptor in open_descriptors() {
        if descriptor > 2 && !kept.iter().any(|kept| kept.as_raw_fd() == descriptor) {
            // SAFETY: no value of this program owns it: those that do are kept, and what remains
            // came from the caller. The one that the list was read with is closed already, which
            // close(2) says and harms nobody, for there is no other thread.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
        }
        // Without /proc there is no list: these are what a caller has left open in practice.
        Err(_) => (3..1024).collect(),
    }
}

/// Puts nothing in the place of standard input and output: a pipe that the supervisor held would
/// keep its other end waiting.
pub(crate) fn let_go_of_input_and_output() {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    match null.and_then(|null| replace(&null).map_err(Into::into)) {
        Ok(()) => {}
        Err(error) => log::debug!("standard input and output stay in use: {error}"),
    }
}

fn replace(null: &File) -> nix::Result<()> {
    for place in 0..=1 {
        // SAFETY: both are descriptors; what was there before is owned by no value.
        Errno::result(unsafe { libc::dup2(null.as_raw_fd(), place) })?;
    }
    Ok(())
}

/// Only pages that are used are locked (mlockall(2)); the libc crate has it for one C library.
const MCL_ONFAULT: c_int = 4;

/// Keeps this process in memory, best effort: credentials do not go to a swap device.
pub(crate) fn stay_in_memory() {
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE | MCL_ONFAULT;
    // SAFETY: it moves no memory and changes none.
    if let Err(error) = Errno::result(unsafe { libc::mlockall(all) }) {
        log::debug!("the supervisor's memory may be swapped: {error}");
    }
}
