//! Reaping children, and ending the way one of them did.
#![allow(unsafe_code, reason = "the wait of nix fails at a death by a real-time signal")]

use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

use crate::process::signals;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited with this status.
    Exited(u8),
    /// This signal killed it.
    Killed(c_int),
}

/// What happened to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has ended and been reaped.
    Ended(End),
    /// A signal has stopped it.
    Stopped(c_int),
}

/// Returns the next child that ended or stopped, or `None` if there is none left.
///
/// At each SIGCHLD, call it until it returns `None`: several that arrive at once count as one
/// (signal(7)).
pub(crate) fn next() -> Option<(Pid, Change)> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes only to the one integer that it is given.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED) };
        match pid {
            1.. => return understood(status).map(|change| (Pid::from_raw(pid), change)),
            -1 if Errno::last() == Errno::EINTR => {}
            _ => return None,
        }
    }
}

fn understood(status: c_int) -> Option<Change> {
    if libc::WIFEXITED(status) {
        let status = u8::try_from(libc::WEXITSTATUS(status)).ok()?;
        return Some(Change::Ended(End::Exited(status)));
    }
    if libc::WIFSIGNALED(status) {
        return Some(Change::Ended(End::Killed(libc::WTERMSIG(status))));
    }
    libc::WIFSTOPPED(status).then(|| Change::Stopped(libc::WSTOPSIG(status)))
}

/// Ends this process the way the application ended: with its status, or, if a signal killed it, by
/// the same signal, so that the caller sees what it would have seen without us. PID 1 cannot be
/// killed by a signal, and exits with 128+n.
pub(crate) fn end_like(end: End) -> u8 {
    match end {
        End::Exited(status) => status,
        End::Killed(signal) => {
            if std::process::id() != 1 {
                // The application has left its core file, if any; ours would be of no use.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                signals::raise_with_default(signal);
            }
            u8::try_from(128 + signal).unwrap_or(u8::MAX)
        }
    }
}

/// The application's process, for [`keep`]; 0 if there is none yet.
static APPLICATION: AtomicI32 = AtomicI32::new(0);

/// Sets the process that [`keep`] looks after.
pub(crate) fn look_after(application: Pid) {
    APPLICATION.store(application.as_raw(), Ordering::Relaxed);
}

/// Does what is left to do after a bug in a supervisor: reaps children, passes signals on, and ends
/// the way the application does. Uses nothing that the bug may have corrupted: no memory but its
/// stack and one static. Returns at once in a process that has no application.
pub(crate) fn keep() {
    let application = APPLICATION.load(Ordering::Relaxed);
    if application == 0 {
        return;
    }
    loop {
        while let Some((pid, change)) = next() {
            match change {
                Change::Ended(end) if pid.as_raw() == application => exit(end),
                Change::Stopped(_) | Change::Ended(_) => {}
            }
        }
        match signals::wait_for_any() {
            None | Some(libc::SIGCHLD | libc::SIGTTIN | libc::SIGTTOU) => {}
            // SAFETY: kill(2) touches none of our memory.
            Some(number) => unsafe {
                libc::kill(application, number);
            },
        }
    }
}

fn exit(end: End) -> ! {
    let status = end_like(end);
    // SAFETY: ends the process without running anything else in it.
    unsafe { libc::_exit(status.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;
    use crate::process::child;
    use crate::process::signals::Caller;

    /// Stands in for the application below a supervisor that has a bug: it exits with 7 at the
    /// first SIGUSR1.
    fn application() -> ! {
        while signals::wait_for_any() != Some(libc::SIGUSR1) {}
        // SAFETY: ends the process without running anything else in it.
        unsafe { libc::_exit(7) }
    }

    #[test]
    fn after_a_bug_signals_still_reach_the_application_and_its_status_is_ours() {
        let (mut read, write) = child::pipe().expect("a pipe");
        // SAFETY: the children only make system calls, since other threads of the tests may hold
        // locks.
        let supervisor = match unsafe { fork() }.expect("a process") {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let _ = Caller::take_over();
                // SAFETY: as above.
                match unsafe { fork() } {
                    Ok(ForkResult::Parent { child }) => look_after(child),
                    _ => application(),
                }
                // SAFETY: writes one byte of a constant to an open descriptor.
                unsafe { libc::write(write.as_raw_fd(), b"r".as_ptr().cast(), 1) };
                keep();
                // SAFETY: ends the process without running anything else in it.
                unsafe { libc::_exit(1) }
            }
        };
        read.read_exact(&mut [0]).expect("it keeps the application");
        kill(supervisor, Signal::SIGUSR1).expect("it is there");
        assert_eq!(waitpid(supervisor, None), Ok(WaitStatus::Exited(supervisor, 7)));
    }

    #[test]
    fn a_status_of_the_kernel_is_understood() {
        for (status, change) in [
            (0, Some(Change::Ended(End::Exited(0)))),
            (255 << 8, Some(Change::Ended(End::Exited(255)))),
            (libc::SIGKILL, Some(Change::Ended(End::Killed(libc::SIGKILL)))),
            (libc::SIGSEGV | 0x80, Some(Change::Ended(End::Killed(libc::SIGSEGV)))),
            (64, Some(Change::Ended(End::Killed(64)))),
            (libc::SIGTSTP << 8 | 0x7f, Some(Change::Stopped(libc::SIGTSTP))),
            (0xffff, None),
        ] {
            assert_eq!(understood(status), change, "{status:#x}");
        }
    }
}
