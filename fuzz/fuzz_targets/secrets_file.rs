//! Secrets files.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/secrets_file.rs"]
mod secrets_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| secrets_file::settles(bytes));
