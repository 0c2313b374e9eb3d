//! Any bytes are a secrets file, or errors that name their lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_exec::secrets_file::parse;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    match parse(bytes) {
        Ok(found) => assert!(found.iter().all(|line| (1..=lines).contains(&line.number))),
        Err(errors) => assert!(errors.0.iter().all(|error| error.message.starts_with("line "))),
    }
});
