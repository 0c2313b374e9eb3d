//! Signals: which ones end the process while it waits for Vault, either at once or after some
//! cleanup; and how a supervisor receives signals and passes them on.
#![allow(unsafe_code, reason = "signal handlers can only be installed with unsafe calls")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc::{self, c_int, c_void};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use tokio::net::unix::pipe::{self, Receiver, Sender};

const ENDING: [c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP];

/// Makes TERM, INT, QUIT and HUP end the process at once with 128+n.
///
/// A process that is PID 1 gets no signal that it has no handler for (`pid_namespaces(7)`), so
/// `docker stop` would wait in vain. A signal that the caller ignores stays ignored: `execve` would
/// remove a handler, and the application would get the default action instead of what the caller
/// wanted (signal(7)).
pub(crate) fn end_at_once() {
    for signal in ENDING {
        if !is_ignored(signal) {
            install(signal);
        }
    }
}

/// Blocks these signals in the threads that `start` creates. If such a thread is still there when
/// the process becomes the application, it must not take the signal for the process: it alone would
/// end (`execve(2)` is ending it anyway), and the application would start as if there had been no
/// signal.
pub(crate) fn kept_from<T>(start: impl FnOnce() -> T) -> T {
    let ending: SigSet =
        ENDING.iter().filter_map(|signal| Signal::try_from(*signal).ok()).collect();
    let before = ending.thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Err(error) = before.and_then(|before| before.thread_set_mask()) {
        log::debug!("the mask of signals cannot be set: {error}");
    }
    started
}

/// Resets SIGPIPE to its default: Rust's runtime ignores it, and an ignored signal would stay
/// ignored in the application.
pub(crate) fn restore_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition, and no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Undoes [`restore_sigpipe`] if the process goes on after all.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition, and no handler of ours is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

const NONE: c_int = 0;
const NOWHERE: c_int = -1;
/// The descriptor that the handler writes to while signals are deferred.
static WAKES: AtomicI32 = AtomicI32::new(NOWHERE);
/// The signal that arrived while signals were deferred.
static ARRIVED: AtomicI32 = AtomicI32::new(NONE);

/// While this exists, TERM, INT, QUIT and HUP are reported instead of ending the process, until
/// [`Deferred::release`]. A second one still ends it at once.
pub(crate) struct Deferred {
    wakes: Receiver,
    /// Open as long as the handler may write to it.
    _handler: Sender,
}

impl Deferred {
    /// Defers the signals. Returns `None` if the kernel provides no descriptor; the signals then
    /// still end the process at once. Must be called within a runtime.
    pub(crate) fn begin() -> Option<Deferred> {
        let (handler, wakes) = pipe::pipe().ok()?;
        ARRIVED.store(NONE, Ordering::SeqCst);
        WAKES.store(handler.as_raw_fd(), Ordering::SeqCst);
        Some(Deferred { wakes, _handler: handler })
    }

    /// Waits for a signal.
    pub(crate) async fn arrived(&self) {
        while ARRIVED.load(Ordering::SeqCst) == NONE {
            // Without the pipe nothing reports the signal before the release.
            if self.wakes.readable().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets signals end the process at once again. If one has arrived, returns the exit status for
    /// it.
    #[allow(clippy::unused_self, reason = "who has it gives it up")]
    pub(crate) fn release(self) -> Option<u8> {
        WAKES.store(NOWHERE, Ordering::SeqCst);
        let signal = ARRIVED.swap(NONE, Ordering::SeqCst);
        u8::try_from(128 + signal).ok().filter(|_| signal != NONE)
    }
}

/// Signals that a fault in the program itself raises: even if blocked, they would end the process,
/// and without running its handler (signal(7)).
const FAULTS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGABRT,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// A signal set in the kernel's form: bit n-1 is signal n, up to 64.
///
/// The C library's own sets leave out the real-time signals that it reserves for itself, which
/// another library may use.
type Mask = u64;

/// The signals as the caller left them, for the application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    mask: Mask,
    ignores_child: bool,
}

impl Caller {
    /// Blocks every signal except those of faults, and resets SIGCHLD to its default.
    ///
    /// If SIGCHLD were ignored, children would leave no status, and a wait would not see any of
    /// them end (wait(2)).
    pub(crate) fn take_over() -> nix::Result<Caller> {
        let faults = FAULTS.iter().fold(0, |mask: Mask, signal| mask | 1 << (signal - 1));
        let mask = change_mask(!faults)?;
        let ignores_child = is_ignored(libc::SIGCHLD);
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        Ok(Caller { mask, ignores_child })
    }

    /// Restores the mask and the dispositions that the process had.
    pub(crate) fn give_back(self) -> nix::Result<()> {
        if self.ignores_child {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
        }
        change_mask(self.mask).map(|_| ())
    }
}

/// Sets the mask of this thread, the only one, and returns the previous one.
fn change_mask(mask: Mask) -> nix::Result<Mask> {
    let mut before: Mask = 0;
    // SAFETY: the kernel reads one set and writes the other, each of the size that it is told
    // (rt_sigprocmask(2)); both belong to this function.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            size_of::<Mask>(),
        )
    };
    Errno::result(done).map(|_| before)
}

fn set_disposition(signal: c_int, disposition: libc::sighandler_t) {
    // SAFETY: called only with SIG_DFL and SIG_IGN, which are not handlers.
    unsafe { libc::signal(signal, disposition) };
}

/// A signal that has arrived, with its details.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    /// Its number; real-time signals have no name.
    pub(crate) number: c_int,
    /// The value that sigqueue(3) sent with it.
    value: usize,
    /// Whether the kernel sent it, for example for a key pressed at the terminal, and not a
    /// process.
    pub(crate) is_of_kernel: bool,
}

/// Opens a non-blocking descriptor from which every blocked signal can be read.
pub(crate) fn open() -> nix::Result<SignalFd> {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: a `sigset_t` begins with the kernel's set (all C libraries pass it to the kernel as
    // is) and is at least as large; all zeroes is a valid one. Nobody else owns the new descriptor,
    // and it is a signalfd.
    unsafe {
        all.as_mut_ptr().cast::<Mask>().write(Mask::MAX);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = Errno::result(libc::signalfd(-1, all.as_ptr(), flags.bits()))?;
        Ok(SignalFd::from_owned_fd(OwnedFd::from_raw_fd(descriptor)))
    }
}

/// Returns the next signal that has arrived, or `None` if there is none now.
pub(crate) fn next(descriptor: &SignalFd) -> Option<Arrived> {
    let info = descriptor.read_signal().ok().flatten()?;
    Some(Arrived {
        number: c_int::try_from(info.ssi_signo).ok()?,
        value: usize::try_from(info.ssi_ptr).unwrap_or_default(),
        is_of_kernel: info.ssi_code == libc::SI_KERNEL,
    })
}

/// Sends a signal to a process or, with a negative id, to a group. It is not a failure if the
/// target does not exist: it has just ended.
pub(crate) fn send(to: Pid, number: c_int) {
    // SAFETY: kill(2) touches none of our memory.
    let sent = Errno::result(unsafe { libc::kill(to.as_raw(), number) });
    if let Err(error) = sent.map(|_| ()).or_else(|error| match error {
        Errno::ESRCH => Ok(()),
        other => Err(other),
    }) {
        log::debug!("signal {number} cannot be sent to {to}: {error}");
    }
}

/// Passes a signal on to a process, including the value of a real-time signal.
pub(crate) fn pass_on(to: Pid, arrived: Arrived) {
    let is_real_time = arrived.number >= FIRST_REAL_TIME;
    if is_real_time && to.as_raw() > 0 {
        let value = libc::sigval { sival_ptr: arrived.value as *mut c_void };
        // SAFETY: the value is passed on as a number; nothing here follows it as a pointer.
        let queued = unsafe { libc::sigqueue(to.as_raw(), arrived.number, value) };
        if queued == 0 {
            return;
        }
    }
    send(to, arrived.number);
}

/// The kernel's first real-time signal (signal(7)); C libraries reserve some of them for
/// themselves.
const FIRST_REAL_TIME: c_int = 32;

/// Returns whether any process is left in a group.
pub(crate) fn group_is_there(group: Pid) -> bool {
    // SAFETY: kill(2) with signal 0 only checks.
    unsafe { libc::kill(-group.as_raw(), 0) == 0 || Errno::last() == Errno::EPERM }
}

/// Raises a signal in this process with its default effect; all others stay blocked.
///
/// Returns if the signal has no effect, or after a stop that has ended. The kernel does not stop a
/// process whose group is orphaned (setpgid(2)) for SIGTSTP, SIGTTIN or SIGTTOU, and it never stops
/// PID 1.
pub(crate) fn raise_with_default(number: c_int) {
    // SAFETY: SIG_DFL is not a handler; kill(2) touches none of our memory.
    let before = unsafe {
        let before = libc::signal(number, libc::SIG_DFL);
        libc::kill(libc::getpid(), number);
        before
    };
    // It takes effect here, before the call returns.
    if let Ok(mask) = change_mask(Mask::MAX & !(1 << (number - 1))) {
        let _ = change_mask(mask);
    }
    if before != libc::SIG_ERR {
        // SAFETY: the previous disposition is valid.
        unsafe { libc::signal(number, before) };
    }
}

/// Consumes a pending SIGCONT, and returns whether there was one.
pub(crate) fn take_continue() -> bool {
    let mut only = MaybeUninit::<libc::sigset_t>::zeroed();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set is initialized and, like the time, outlives the call; no information about
    // the signal is asked for.
    unsafe {
        libc::sigemptyset(only.as_mut_ptr());
        libc::sigaddset(only.as_mut_ptr(), libc::SIGCONT);
        libc::sigtimedwait(only.as_ptr(), ptr::null_mut(), &raw const now) == libc::SIGCONT
    }
}

/// Waits for any signal without using a descriptor: it needs nothing of the process but its stack.
pub(super) fn wait_for_any() -> Option<c_int> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialized by the first call; no information about the signal is asked
    // for.
    let number = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigwaitinfo(all.as_ptr(), ptr::null_mut())
    };
    (number > 0).then_some(number)
}

extern "C" fn end(signal: c_int) {
    let wakes = WAKES.load(Ordering::SeqCst);
    if wakes != NOWHERE
        && ARRIVED.compare_exchange(NONE, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    {
        // SAFETY: write is async-signal-safe (signal-safety(7)). The byte outlives the call, and
        // the descriptor stays open as long as it is in WAKES. It does not block.
        unsafe { libc::write(wakes, ptr::from_ref(&0_u8).cast(), 1) };
        return;
    }
    // SAFETY: _exit is async-signal-safe (signal-safety(7)) and does not return.
    unsafe { libc::_exit(128 + signal) }
}

fn is_ignored(signal: c_int) -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the current one to our memory. All zeroes
    // is a valid `sigaction`, so it may be read even if the call failed.
    let current = unsafe {
        libc::sigaction(signal, ptr::null(), current.as_mut_ptr());
        current.assume_init()
    };
    current.sa_sigaction == libc::SIG_IGN
}

fn install(signal: c_int) {
    let handler: extern "C" fn(c_int) = end;
    // SAFETY: all zeroes is a valid `sigaction` with an empty mask and no flags. The handler has
    // the type that a call without SA_SIGINFO expects, lives as long as the process, and does only
    // what is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as *const () as usize;
        libc::sigaction(signal, &raw const action, ptr::null_mut());
    }
}
