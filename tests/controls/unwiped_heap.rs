//! The program without the allocator that wipes: the search of a process's memory must find what
//! this one leaves behind.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::process::ExitCode;

use vault_exec::door::start::{self, Wiped};

/// Uses no block twice: what is found is not what luck has left.
struct Keeping;

// SAFETY: every block is the system's, and its owner's for ever.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Keeping = Keeping;

fn main() -> ExitCode {
    vault_exec::door::log::report_bugs();
    ExitCode::from(start::start(Wiped::All))
}
