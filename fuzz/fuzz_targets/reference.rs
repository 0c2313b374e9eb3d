//! Values of variables.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/reference.rs"]
mod reference;
#[path = "../../tests/suite/references/fuzzed/spelling.rs"]
mod spelling;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| reference::settles(bytes));
