//! Writes to stdout before any application runs: help, a policy, the report of a check.

use std::io::Write;

use crate::error::Error;

/// Prints the whole text or fails: the output goes into files, and half of a policy must not look
/// like a complete one.
///
/// # Errors
/// 78 if stdout cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::config(format!("stdout cannot be written: {error}")))
}
