//! What goes to stdout before any application: help, a policy, the report of a check.

use std::io::Write;

use crate::error::Error;

/// Prints a text as a whole: it goes into files, and half of a policy must not look like all of it.
///
/// # Errors
/// 78 if stdout cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::config(format!("stdout cannot be written: {error}")))
}
