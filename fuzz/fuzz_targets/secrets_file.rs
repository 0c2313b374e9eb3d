//! Any bytes are a secrets file, or errors that name their lines; what is one is spelled as one that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/suite/grammar/secrets_file.rs"]
mod secrets_file;

fuzz_target!(|bytes: &[u8]| secrets_file::settles(bytes));
