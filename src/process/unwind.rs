//! The interface of a stack unwinder (Itanium C++ ABI, "Exception Handling", level I) without one
//! behind it.
//!
//! A panic ends the process in its hook, which reports where it happened, so nothing ever unwinds
//! the stack. The standard library could, so it includes an unwinder and a reader of debug
//! information that names each frame. With these functions in the unwinder's place, the optimizer
//! sees that neither is reachable.
#![allow(unsafe_code, reason = "the standard library calls these functions by their bare names")]

use std::ffi::{c_int, c_void};
use std::process::abort;

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

/// A stack walk that ends before its first frame.
// SAFETY: the signature is the interface's own; the function calls nothing and writes to nothing.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

macro_rules! never_called {
    ($($name:ident)*) => {$(
        // SAFETY: without a walk there is no frame to ask about and none to resume, so it is never
        // called; if it is, it aborts.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! {
            abort()
        }
    )*};
}

never_called! {
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
