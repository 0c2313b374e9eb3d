//! The stack of the first thread, where arithmetic and moved values leave their data behind.
//!
//! The allocator wipes what is freed on the heap. But TLS and RSA compute on the stack, and moving
//! a value leaves a copy that nobody frees: primes of a client key and session secrets stay there
//! until something else happens to overwrite them.
#![allow(unsafe_code, reason = "memory below the frames in use can only be reached uninitialised")]

use std::mem::MaybeUninit;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{SysconfVar, sysconf};
use zeroize::optimization_barrier;

/// The most that is wiped, in bytes. Frames are several times as large in unoptimized builds.
const MOST: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

/// How much one frame of the wiping overwrites, in bytes.
const FRAME: usize = 1 << 10;

/// How much the next frame and its calls may take, in bytes.
const REACH: usize = FRAME + (FRAME >> 1);

/// Runs `work` in frames below this one, and then wipes those frames.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let done = below(work);
    wipe();
    done
}

/// Runs `work` in a frame of its own. Never inlined: what `work` keeps on the stack must not become
/// part of the caller's frame.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites the stack below the caller's frame, as far as it has ever been used.
///
/// It does not grow the stack: if the kernel had no more memory, that would end the process.
#[inline(never)]
pub(crate) fn wipe() {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| size.try_into().ok());
    let top = 0_u8;
    wipe_below((&raw const top).addr(), page.unwrap_or(4096));
}

/// Wipes one frame after the other: a frame's size is fixed, but how much is mapped is not.
#[inline(never)]
fn wipe_below(top: usize, page: usize) {
    let mut frame = MaybeUninit::<[u8; FRAME]>::uninit();
    let here = frame.as_ptr().addr();
    // SAFETY: the frame belongs to this function and has FRAME bytes.
    unsafe { frame.as_mut_ptr().write_bytes(0, 1) };
    let next = here.saturating_sub(REACH);
    if top.saturating_sub(next) < MOST && (here / page == next / page || is_mapped(next, page)) {
        wipe_below(top, page);
    }
    // SAFETY: it was initialised above. The barrier keeps the compiler from dropping the write to
    // memory that nobody reads; and because the frame is in use until here, the next one is below
    // it.
    optimization_barrier(unsafe { frame.assume_init_ref() });
}

/// Returns whether memory is mapped at an address; true if the kernel does not say.
fn is_mapped(address: usize, page: usize) -> bool {
    let start = std::ptr::without_provenance_mut(address / page * page);
    let mut resident = 0_u8;
    // SAFETY: mincore(2) reads nothing at the address, and writes one byte for one page.
    let answer = unsafe { libc::mincore(start, page, (&raw mut resident).cast()) };
    Errno::result(answer) != Err(Errno::ENOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: [u8; 16] = *b"left on the stac";

    /// Leaves marks deep in the stack, and returns where.
    #[inline(never)]
    fn leave(depth: usize) -> usize {
        let marks = [MARK; 64];
        optimization_barrier(&marks);
        let at = if depth == 0 { marks.as_ptr().expose_provenance() } else { leave(depth - 1) };
        optimization_barrier(&marks);
        at
    }

    /// Reads an address of this thread's stack, whatever frame it belonged to.
    fn peek(address: usize) -> [u8; 16] {
        let at = std::ptr::with_exposed_provenance::<[u8; 16]>(address);
        // SAFETY: it was a frame of this thread, whose stack stays mapped.
        unsafe { at.read_volatile() }
    }

    #[test]
    fn what_work_leaves_on_the_stack_is_wiped() {
        let at = below(|| leave(20));
        assert_eq!(peek(at), MARK, "nothing was left");
        let at = wiped_after(|| leave(20));
        assert_eq!(peek(at), [0; 16]);
    }

    #[test]
    fn what_is_mapped() {
        let here = 0_u8;
        assert!(is_mapped((&raw const here).addr(), 4096));
        assert!(!is_mapped(0, 4096));
    }
}
