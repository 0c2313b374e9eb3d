//! Env files.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/env_file.rs"]
mod env_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| env_file::settles(bytes));
