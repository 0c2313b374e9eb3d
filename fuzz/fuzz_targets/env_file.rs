//! Any bytes are an env file or an error that names its line; what is an env file is spelled as one that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/suite/grammar/env_file.rs"]
mod env_file;

fuzz_target!(|bytes: &[u8]| env_file::settles(bytes));
