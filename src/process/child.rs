//! Child processes: forking, and what parent and child do afterwards.
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

/// What the application's process needs to know about the process that it was forked from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    supervisor: Pid,
    caller: Caller,
    /// Whether our process group was in the foreground of the terminal.
    had_terminal: bool,
}

impl Origin {
    /// Returns the origin for this process, before its first fork.
    pub(crate) fn here(caller: Caller) -> Origin {
        Origin { supervisor: getpid(), caller, had_terminal: terminal::is_in_front(getpgrp()) }
    }

    /// Returns the process id of the supervisor.
    pub(crate) fn supervisor(&self) -> Pid {
        self.supervisor
    }
}

/// Forks this process, which must have a single thread, into the supervisor and the application's
/// process. When the call returns on either side, the application's process is in its own group.
///
/// # Errors
/// EAGAIN or ENOMEM if the kernel cannot create a process (fork(2)).
pub(crate) fn divide(origin: &Origin) -> nix::Result<Option<Pid>> {
    // SAFETY: this program has not started a thread yet: the only ones it ever has belong to a
    // runtime or to a name lookup, and only a child begins those.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // Both sides call it, since neither knows which runs first. After the child's exec the
            // call fails, but by then it has already been done.
            let _ = setpgid(child, child);
            Ok(Some(child))
        }
        ForkResult::Child => {
            become_application(origin);
            Ok(None)
        }
    }
}

/// Forks another process for the application, which replaces the current one later; the terminal
/// stays with the current one. The new process gets the working directory that the first one had.
///
/// # Errors
/// Same as [`divide`].
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

/// Forks a process that sends requests to Vault. It ends when the supervisor ends.
///
/// # Errors
/// Same as [`divide`].
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

/// Ends a forked process without a program's usual exit handlers.
pub(crate) fn end() -> ! {
    // SAFETY: ends the process and runs nothing else in it.
    unsafe { libc::_exit(0) }
}

/// Runs a program the way the application would be run, without waiting for it.
///
/// # Errors
/// The kernel's error if the program cannot run.
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
    // SAFETY: the hook only makes system calls: it neither allocates nor takes a lock.
    unsafe { command.pre_exec(move || caller.give_back().map_err(Into::into)) };
    // This child is reaped by whoever reaps all children.
    command.spawn().map(drop)
}

/// Makes a pipe that no program inherits. Returns its read end and its write end.
///
/// # Errors
/// EMFILE or ENFILE if too many descriptors are open (pipe(2)).
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

/// Waits until it is told to go on. Returns false if nobody is left to tell it.
pub(crate) fn is_told(mut wait: File) -> bool {
    matches!(wait.read(&mut [0]), Ok(1))
}

/// Makes this the application's process: gives it its own group, the terminal if we had it, and the
/// caller's signals, and ties its life to the supervisor's.
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

/// Has the kernel end this process when its parent ends. When PID 1 ends, all other processes end
/// anyway.
fn end_with(parent: Pid, signal: Signal) {
    if parent.as_raw() == 1 {
        return;
    }
    if let Err(error) = set_pdeathsig(signal) {
        log::debug!("the application will not hear of the supervisor's end: {error}");
    }
    // The parent may have ended before the request was made.
    if getppid() != parent {
        crate::process::signals::raise_with_default(signal as c_int);
    }
}

/// Makes orphaned descendants our children, as PID 1 does anyway.
pub(crate) fn adopt_orphans() {
    if getpid().as_raw() != 1
        && let Err(error) = set_child_subreaper(true)
    {
        log::debug!("orphans of the application go to PID 1: {error}");
    }
}

/// Leaves the working directory, which would otherwise keep its file system from being unmounted.
pub(crate) fn leave_directory() {
    if let Err(error) = chdir("/") {
        log::debug!("the working directory stays in use: {error}");
    }
}

/// Closes every descriptor except standard input, output and error, and those in `kept`.
pub(crate) fn close_others(kept: &[BorrowedFd<'_>]) {
    for descriptor in open_descriptors() {
        if descriptor > 2 && !kept.iter().any(|kept| kept.as_raw_fd() == descriptor) {
            // SAFETY: no value of this program owns it: descriptors that are owned are kept, and
            // the rest came from the caller. The descriptor that the list was read with is closed
            // already; close(2) reports that, and it is harmless because there is no other thread.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn open_descriptors() -> Vec<RawFd> {
    match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
        }
        // Without /proc there is no list: this is the range that callers leave open in practice.
        Err(_) => (3..1024).collect(),
    }
}

/// Replaces standard input and output with /dev/null: a pipe held open by the supervisor would keep
/// its other end waiting.
pub(crate) fn let_go_of_input_and_output() {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null");
    match null.and_then(|null| replace(&null).map_err(Into::into)) {
        Ok(()) => {}
        Err(error) => log::debug!("standard input and output stay in use: {error}"),
    }
}

fn replace(null: &File) -> nix::Result<()> {
    for place in 0..=1 {
        // SAFETY: both are descriptors; no value owns what was there before.
        Errno::result(unsafe { libc::dup2(null.as_raw_fd(), place) })?;
    }
    Ok(())
}

/// Locks only pages that are used (mlockall(2)); the libc crate defines it for only one C library.
const MCL_ONFAULT: c_int = 4;

/// Locks this process in memory, best effort, so that credentials are not written to swap.
pub(crate) fn stay_in_memory() {
    let all = libc::MCL_CURRENT | libc::MCL_FUTURE | MCL_ONFAULT;
    // SAFETY: it neither moves nor changes memory.
    if let Err(error) = Errno::result(unsafe { libc::mlockall(all) }) {
        log::debug!("the supervisor's memory may be swapped: {error}");
    }
}
