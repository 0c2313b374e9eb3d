//! The name of a thread, set without the C library's printing of numbers.
//!
//! musl's function names any thread, through a file in `/proc` whose path it prints. The standard
//! library, its one caller here, names the calling thread alone, for which one system call is
//! enough.
#![allow(unsafe_code, reason = "the standard library calls this function by its bare name")]

use std::ffi::{CStr, c_char, c_int, c_void};

use nix::sys::prctl::set_name;

/// As pthread_setname_np(3) has it: 0, or the number of the error.
// SAFETY: the C library's own signature.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_thread: *const c_void, name: *const c_char) -> c_int {
    // SAFETY: the caller passes a string that ends with a NUL byte, as the C library's function
    // wants it.
    let name = unsafe { CStr::from_ptr(name) };
    set_name(name).map_or_else(|error| error as c_int, |()| 0)
}
