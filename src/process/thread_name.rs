//! Sets a thread's name without the C library's number formatting.
//!
//! musl's function can name any thread, through a file in `/proc` whose path it formats. The
//! standard library, its only caller here, only names the calling thread, for which one system call
//! is enough.
#![allow(unsafe_code, reason = "the standard library calls this function by its bare name")]

use std::ffi::{CStr, c_char, c_int, c_void};

use nix::sys::prctl::set_name;

/// Implements pthread_setname_np(3): returns 0 or an error number.
// SAFETY: the signature is the C library's own.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_thread: *const c_void, name: *const c_char) -> c_int {
    // SAFETY: the caller passes a NUL-terminated string, as the C library's function requires.
    let name = unsafe { CStr::from_ptr(name) };
    set_name(name).map_or_else(|error| error as c_int, |()| 0)
}
