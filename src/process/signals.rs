//! What ends the process while it waits for Vault.
#![allow(unsafe_code, reason = "signal handlers can only be installed with unsafe calls")]

use std::mem::MaybeUninit;
use std::ptr;

use nix::libc::{self, c_int};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

const ENDING: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// Makes TERM, INT, QUIT and HUP end the process at once with 128+n.
///
/// As PID 1 a process gets no signal that it has no handler for (`pid_namespaces(7)`), so `docker
/// stop` would wait in vain. A signal that the caller ignores stays ignored: a handler would be
/// gone after `execve`, and the application would get the default instead of what the caller wanted
/// (signal(7)).
pub fn end_at_once() {
    for signal in ENDING {
        if !is_ignored(signal) {
            install(signal);
        }
    }
}

/// What `start` starts takes none of these signals for the process: a thread that is still there
/// when the process becomes the application would end alone with its signal (`execve(2)` is then
/// ending it anyway), and the application would start as if there had been none.
pub fn kept_from<T>(start: impl FnOnce() -> T) -> T {
    let ending: SigSet =
        ENDING.iter().filter_map(|signal| Signal::try_from(*signal).ok()).collect();
    let before = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Err(error) = before.and_then(|before| before.thread_set_mask()) {
        log::debug!("the mask of signals cannot be set: {error}");
    }
    started
}

/// Gives SIGPIPE back its default: Rust's runtime ignores it, and an ignored signal would stay so
/// in the application.
pub fn restore_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition and no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Undoes [`restore_sigpipe`] where the process goes on after all.
pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition and no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

extern "C" fn end(signal: c_int) {
    // SAFETY: _exit is async-signal-safe (signal-safety(7)) and does not return.
    unsafe { libc::_exit(128 + signal) }
}

fn is_ignored(signal: c_int) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the current one to memory that is ours; all
    // zeroes is a valid `sigaction`, so it may be read also where the call failed.
    let current = unsafe {
        libc::sigaction(signal, ptr::null(), current.as_mut_ptr());
        current.assume_init()
    };
    current.sa_sigaction == libc::SIG_IGN
}

fn install(signal: c_int) {
    let handler: extern "C" fn(c_int) = end;
    // SAFETY: all zeroes is a valid `sigaction` with an empty mask and no flags; the handler has
    // the type that a call without SA_SIGINFO expects, lives as long as the process, and does
    // nothing but end it.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}
