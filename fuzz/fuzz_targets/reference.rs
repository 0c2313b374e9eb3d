//! Values of variables.
#![no_main]

#[path = "../../tests/suite/fuzzed/reference.rs"]
mod reference;
#[path = "../../tests/suite/fuzzed/spelling.rs"]
mod spelling;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reference::settles(bytes));
