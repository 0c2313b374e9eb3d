//! An allocator that wipes every block before it is freed.
//!
//! Our own values wipe themselves, but copies of a token or a secret also pass through buffers of
//! the HTTP, TLS and JSON libraries. Wiping every freed block covers those copies too, once their
//! owners are dropped.
#![allow(unsafe_code, reason = "an allocator is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;

use nix::libc;
use zeroize::optimization_barrier;

use crate::error::Code;

/// Wraps an allocator and wipes each block when it is freed.
///
/// `realloc` deliberately keeps its default implementation: it takes a new block, copies, and frees
/// the old one through `dealloc`. A C library's `realloc` may leave the old block behind unwiped.
pub struct Wiping<A>(pub A);

/// Returns the block, or ends the process if there is none: the standard library would abort, with
/// a message about itself.
fn given(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        out_of_memory();
    }
    block
}

/// Ends the process with the exit code of any other kernel failure. No memory can be allocated to
/// report it, and none is given back.
#[cold]
fn out_of_memory() -> ! {
    const SAID: &[u8] = b"vault-exec: error: the kernel gives no more memory\n\
        vault-exec:   is there a limit (ulimit -v, or that of the container)?\n";
    let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the calls read and write nothing but these two variables; the poll means that we do
    // not wait for a stderr that nobody reads. _exit(2) runs no more of our code.
    unsafe {
        if libc::poll(&raw mut stderr, 1, 0) == 1 && stderr.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, SAID.as_ptr().cast(), SAID.len());
        }
        libc::_exit(c_int::from(Code::Unavailable.status()))
    }
}

// SAFETY: every call goes to the wrapped allocator unchanged; `dealloc` writes to the block only
// while it is still ours.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`, which is also that of the
        // wrapped allocator.
        given(unsafe { self.0.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        given(unsafe { self.0.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller frees a block of `layout.size()` bytes that came from `alloc`, so it
        // is valid for writes and nobody else uses it. After the write it is initialised, so it may
        // be borrowed as bytes for the barrier, which keeps the compiler from dropping a write to
        // memory that is about to be freed.
        unsafe {
            block.write_bytes(0, layout.size());
            optimization_barrier(std::slice::from_raw_parts(block, layout.size()));
            self.0.dealloc(block, layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts the nonzero bytes in each block that it is asked to free.
    struct Recording(AtomicUsize);

    // SAFETY: calls the system's allocator; reads a block only before it frees it.
    unsafe impl GlobalAlloc for Recording {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's contract is the system allocator's.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: the block is the caller's until it is freed here.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            self.0.fetch_add(bytes.iter().filter(|&&byte| byte != 0).count(), Ordering::Relaxed);
            // SAFETY: the caller's contract is the system allocator's.
            unsafe { System.dealloc(block, layout) }
        }
    }

    fn fill(allocator: &impl GlobalAlloc, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is not empty, and the block that comes back has its size.
        unsafe {
            let block = allocator.alloc(layout);
            assert!(!block.is_null());
            block.write_bytes(0xAA, layout.size());
            block
        }
    }

    #[test]
    fn a_freed_block_is_wiped() {
        let wiping = Wiping(Recording(AtomicUsize::new(0)));
        for size in [1, 7, 64, 4096, 70_000] {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            let block = fill(&wiping, layout);
            // SAFETY: the block was allocated with this layout.
            unsafe { wiping.dealloc(block, layout) };
        }
        assert_eq!(wiping.0.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_old_block_of_a_reallocation_is_wiped_and_its_content_moves() {
        let wiping = Wiping(Recording(AtomicUsize::new(0)));
        let layout = Layout::from_size_align(100, 8).expect("a layout");
        let block = fill(&wiping, layout);
        // SAFETY: the block was allocated with `layout`; the new size is not zero; the result has
        // the new size.
        unsafe {
            let grown = wiping.realloc(block, layout, 1000);
            assert_eq!(std::slice::from_raw_parts(grown, 100), [0xAA; 100]);
            wiping.dealloc(grown, Layout::from_size_align_unchecked(1000, 8));
        }
        assert_eq!(wiping.0.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_the_wiping_the_recording_finds_what_was_left() {
        let recording = Recording(AtomicUsize::new(0));
        let layout = Layout::from_size_align(100, 8).expect("a layout");
        let block = fill(&recording, layout);
        // SAFETY: the block was allocated with this layout.
        unsafe { recording.dealloc(block, layout) };
        assert_eq!(recording.0.load(Ordering::Relaxed), 100);
    }
}
