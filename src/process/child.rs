//! Children: a fork, and what each side of it makes of itself.
#![allow(unsafe_code, reason = "a fork copies one thread of what may be many")]

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, chdir, fork, getpgrp, getpid, getppid, setpgid};

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
