//! The terminal's foreground, shared between us and the application (credentials(7), tty(4)).

use std::fs::File;

use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};

/// Opens the terminal that controls the session, whatever stdin is.
fn terminal() -> Option<File> {
    File::open("/dev/tty").ok()
}

/// Returns whether `group` is in the foreground of the terminal; false if there is no terminal.
pub(crate) fn is_in_front(group: Pid) -> bool {
    terminal().is_some_and(|terminal| tcgetpgrp(&terminal) == Ok(group))
}

/// Hands the foreground to a group of this session. SIGTTOU must be blocked, or a process in the
/// background is stopped here (tcsetpgrp(3)).
pub(crate) fn put_in_front(group: Pid) {
    let Some(terminal) = terminal() else { return };
    if let Err(error) = tcsetpgrp(&terminal, group) {
        log::debug!("the terminal cannot be handed over: {error}");
    }
}

/// Takes the foreground back from the application's group. If another group has it now, it is not
/// ours to take.
pub(crate) fn take_back(from: Pid) {
    if is_in_front(from) {
        put_in_front(getpgrp());
    }
}
