//! The initial environment block, where the kernel put the process's environment. It is read once,
//! then partly wiped.
#![allow(unsafe_code, reason = "the block can only be reached through the C library's `environ`")]

use std::ffi::CStr;

use nix::libc::c_char;
use zeroize::Zeroize;

use crate::secret::Variable;

unsafe extern "C" {
    static environ: *const *mut c_char;
}

/// Returns the environment in its original order.
pub(crate) fn read() -> Vec<Variable> {
    std::env::vars_os().map(|(name, value)| Variable::new(name, value)).collect()
}

/// Overwrites in place the values of the variables that `is_ours` selects: `/proc/<pid>/environ`
/// shows live memory, and removing a variable would leave its text there.
///
/// Call it after [`read`], while the process has a single thread.
pub(crate) fn wipe(is_ours: impl Fn(&[u8]) -> bool) {
    // SAFETY: `environ` is null or an array of pointers that ends with a null pointer. Nothing in
    // this program sets variables, so the array and the strings are still those that the kernel
    // made, in writable memory (execve(2)). No other thread runs that could read them.
    unsafe { wipe_all(environ, &is_ours) }
}

/// # Safety
/// `entry` is null, or points to the first element of an array that ends with a null pointer and
/// whose strings meet the requirements of [`wipe_value`].
unsafe fn wipe_all(mut entry: *const *mut c_char, is_ours: &impl Fn(&[u8]) -> bool) {
    // SAFETY: the caller's promise. No pointer after the null one is read.
    unsafe {
        while !entry.is_null() && !(*entry).is_null() {
            wipe_value(*entry, is_ours);
            entry = entry.add(1);
        }
    }
}

/// # Safety
/// `text` is a NUL-terminated string in writable memory that nobody else uses.
unsafe fn wipe_value(text: *mut c_char, is_ours: &impl Fn(&[u8]) -> bool) {
    // SAFETY: the caller's promise. The first borrow ends before the second begins.
    let (start, length) = unsafe {
        let bytes = CStr::from_ptr(text).to_bytes();
        let Some(equals) = bytes.iter().position(|&byte| byte == b'=') else { return };
        if !bytes.get(..equals).is_some_and(is_ours) {
            return;
        }
        (equals + 1, bytes.len() - equals - 1)
    };
    // SAFETY: the range is inside the string that was just measured.
    unsafe { std::slice::from_raw_parts_mut(text.add(start).cast::<u8>(), length) }.zeroize();
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;

    fn is_ours(name: &[u8]) -> bool {
        name.starts_with(b"VAULT_")
    }

    #[test]
    fn only_the_value_of_a_variable_of_ours_is_wiped() {
        for (text, left) in [
            ("VAULT_TOKEN=abc", "VAULT_TOKEN="),
            ("A=abc", "A=abc"),
            ("VAULT_X", "VAULT_X"),
            ("VAULT_Y=", "VAULT_Y="),
        ] {
            let mut bytes = [text.as_bytes(), b"\0after"].concat();
            // SAFETY: the string belongs to the test, is writable, and ends with NUL.
            unsafe { wipe_value(bytes.as_mut_ptr().cast(), &is_ours) };
            let expected =
                [left.as_bytes(), &vec![0; text.len() - left.len()], b"\0after"].concat();
            assert_eq!(bytes, expected, "{text}");
        }
    }

    #[test]
    fn every_variable_of_a_block_is_looked_at() {
        let mut block = b"VAULT_A=abc\0B=abc\0VAULT_C=abc\0".to_vec();
        let start = block.as_mut_ptr().cast::<c_char>();
        // SAFETY: each string is inside the block and ends with NUL; the last pointer is null.
        unsafe { wipe_all([start, start.add(12), start.add(18), null_mut()].as_ptr(), &is_ours) };
        assert_eq!(block, b"VAULT_A=\0\0\0\0B=abc\0VAULT_C=\0\0\0\0");
    }

    #[test]
    fn without_a_block_nothing_is_done() {
        // SAFETY: a null pointer is allowed.
        unsafe { wipe_all(null(), &is_ours) };
    }
}
