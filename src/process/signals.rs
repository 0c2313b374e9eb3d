//! What ends the process while it waits for Vault: at once, or after what must be undone first.
#![allow(unsafe_code, reason = "signal handlers can only be installed with unsafe calls")]

use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc::{self, c_int};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::net::unix::pipe::{self, Receiver, Sender};

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

const NONE: c_int = 0;
const NOWHERE: c_int = -1;
/// The descriptor that the handler writes to while signals are deferred.
static WAKES: AtomicI32 = AtomicI32::new(NOWHERE);
/// The signal that has arrived while signals were deferred.
static ARRIVED: AtomicI32 = AtomicI32::new(NONE);

/// From here on TERM, INT, QUIT and HUP are told of instead of ending the process, until
/// [`Deferred::release`]. A second one ends it at once all the same.
pub struct Deferred {
    wakes: Receiver,
    /// Open as long as the handler may write to it.
    _handler: Sender,
}

impl Deferred {
    /// Defers the signals; `None` if the kernel gives no descriptor, and then they still end the
    /// process at once. To be called within a runtime.
    pub fn begin() -> Option<Deferred> {
        let (handler, wakes) = pipe::pipe().ok()?;
        ARRIVED.store(NONE, Ordering::SeqCst);
        WAKES.store(handler.as_raw_fd(), Ordering::SeqCst);
        Some(Deferred { wakes, _handler: handler })
    }

    /// Waits for a signal.
    pub async fn arrived(&self) {
        while ARRIVED.load(Ordering::SeqCst) == NONE {
            // Without the pipe nothing tells of the signal before the release.
            if self.wakes.readable().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets signals end the process at once again. Returns the exit status that one which has
    /// arrived asks for.
    pub fn release(self) -> Option<u8> {
        WAKES.store(NOWHERE, Ordering::SeqCst);
        let signal = ARRIVED.swap(NONE, Ordering::SeqCst);
        u8::try_from(128 + signal).ok().filter(|_| signal != NONE)
    }
}

extern "C" fn end(signal: c_int) {
    let wakes = WAKES.load(Ordering::SeqCst);
    if wakes != NOWHERE
        && ARRIVED.compare_exchange(NONE, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    {
        // SAFETY: write is async-signal-safe (signal-safety(7)); the byte outlives the call, and
        // the descriptor is open as long as it stands in WAKES. It does not block.
        unsafe { libc::write(wakes, ptr::from_ref(&0_u8).cast(), 1) };
        return;
    }
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
