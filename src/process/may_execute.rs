//! Whether the kernel would execute a program, asked before it is too late to undo anything.
#![allow(unsafe_code, reason = "the system call has no other interface")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

/// Asks the kernel whether it would execute a program with these arguments and this environment
/// (`execveat(2)` with `AT_EXECVE_CHECK`, Linux 6.14). It looks at permissions, security modules,
/// mounts, writers and sizes, not at the file's format.
///
/// # Errors
/// `EACCES`, `ETXTBSY` or `E2BIG`, which are certain. Anything else, such as a kernel or a filter
/// that does not know the flag, says nothing.
pub(super) fn may_execute(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
) -> Result<(), Errno> {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: the program is a string and the arrays are of pointers to strings, which end with a
    // null pointer and live until the call returns; with this flag the call executes nothing and
    // writes nothing (execveat(2)).
    let answer = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            libc::AT_FDCWD,
            program.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EXECVE_CHECK,
        )
    };
    match Errno::result(answer) {
        Err(errno @ (Errno::EACCES | Errno::ETXTBSY | Errno::E2BIG)) => Err(errno),
        _ => Ok(()),
    }
}

/// As execve(2) takes them.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}
