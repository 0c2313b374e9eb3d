//! Asks the kernel whether it would execute a program, while everything can still be undone.
#![allow(unsafe_code, reason = "the system call has no other interface")]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use nix::errno::Errno;
use nix::libc;

/// Asks the kernel whether it would execute a program with these arguments and this environment
/// (`execveat(2)` with `AT_EXECVE_CHECK`, Linux 6.14). The kernel checks permissions, security
/// modules, mounts, writers and sizes, but not the file's format.
///
/// # Errors
/// `EACCES`, `ETXTBSY` or `E2BIG`, which are certain. Any other result, such as that of a kernel or
/// a filter that does not know the flag, says nothing and counts as success.
pub(super) fn may_execute(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
) -> Result<(), Errno> {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: the program is a string, and the arrays hold pointers to strings, end with a null
    // pointer, and live until the call returns. With this flag the call executes nothing and writes
    // nothing (execveat(2)).
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

/// Returns the strings in the form that execve(2) takes.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}
