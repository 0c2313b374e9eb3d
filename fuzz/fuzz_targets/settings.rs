//! Options, environments and env files.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/settings.rs"]
mod settings;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| settings::settles(bytes));
