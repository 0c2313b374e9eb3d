//! Answers of Vault.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/answer.rs"]
mod answer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answer::settles(bytes));
