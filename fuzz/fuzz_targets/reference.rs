//! Any bytes are a value or an error; what is a value is spelled as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vault_exec::reference::{Piece, Value, parse};

#[path = "../../tests/suite/grammar/spelling.rs"]
mod spelling;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = parse(bytes) else { return };
    let Some(spelling) = spelling::spelled(&value) else { return };
    assert_eq!(parse(&spelling).as_ref(), Ok(&value), "{}", String::from_utf8_lossy(&spelling));
    assert_eq!(spelling::spelled(&value).as_ref(), Some(&spelling));
    if let Value::Text(pieces) = value {
        kept(bytes, &pieces);
    }
});

/// Panics unless every text between the references is in the input, one behind the other.
fn kept(bytes: &[u8], pieces: &[Piece]) {
    let mut rest = bytes;
    for piece in pieces {
        let Piece::Text(text) = piece else { continue };
        let text = text.expose();
        let at = rest.windows(text.len()).position(|found| found == text).expect("the text is in the input");
        rest = &rest[at + text.len()..];
    }
    if let Some(Piece::Text(first)) = pieces.first() {
        assert!(bytes.starts_with(first.expose()));
    }
    if let Some(Piece::Text(last)) = pieces.last() {
        assert!(bytes.ends_with(last.expose()));
    }
}
