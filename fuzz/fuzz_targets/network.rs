//! `NO_PROXY`, redirects and PEM.
#![no_main]

#[path = "../../tests/suite/references/fuzzed/network.rs"]
mod network;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| network::settles(bytes));
