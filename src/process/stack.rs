//! The stack of the first thread, where arithmetic and moved values leave what they held.
//!
//! The allocator wipes what is freed on the heap. TLS and RSA compute on the stack, and a value that
//! moves is a copy that nobody frees: primes of a client key and the secrets of a session stay there
//! until something else happens to be written over them.
#![allow(unsafe_code, reason = "memory below the frames in use can only be reached uninitialised")]

use std::mem::MaybeUninit;

use zeroize::optimization_barrier;

/// Bytes that are wiped. Frames are several times as large where nothing is optimized.
const SIZE: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

/// Does `work` in frames below this one, and wipes these frames.
pub fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let done = below(work);
    wipe();
    done
}

/// Never inlined: what `work` keeps on the stack must not become a part of the caller's frame.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites the stack below the caller's frame.
#[inline(never)]
pub fn wipe() {
    let mut frame = MaybeUninit::<[u8; SIZE]>::uninit();
    // SAFETY: the frame is this function's own and has SIZE bytes; after the write it is
    // initialised, so it may be borrowed for the barrier, which keeps the compiler from dropping a
    // write to memory that nobody reads.
    unsafe {
        frame.as_mut_ptr().write_bytes(0, 1);
        optimization_barrier(frame.assume_init_ref());
    }
}
