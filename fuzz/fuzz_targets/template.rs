//! Templates, and what they make of a secret.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/template.rs"]
mod template;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| template::settles(bytes));
