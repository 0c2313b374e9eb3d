//! Keeps other processes of the same user out.

use nix::sys::prctl::set_dumpable;

/// Makes the process not dumpable (`PR_SET_DUMPABLE`, prctl(2)): no core file, no ptrace, and no
/// reading of its memory or environment in `/proc` by the same user. `execve` undoes it, so the
/// application is as it would be without us.
///
/// If the kernel refuses, the start continues: this is a second line of defence.
pub(crate) fn harden() {
    if let Err(error) = set_dumpable(false) {
        log::debug!("the process stays dumpable: {error}");
    }
}
