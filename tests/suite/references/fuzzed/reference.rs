//! Any bytes are a value or an error; what is a value is spelled as something that reads the same.

use vault_exec::door::grammar::reference::{Ask, Piece, Reference, Value, has_reference, parse};
use vault_exec::door::grammar::selector::Selector;
use vault_exec::door::secret::Secret;

use super::spelling::spelled;

/// Where a reference stands: inline, a `}` ends most of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Whole,
    Inline,
}

/// Panics unless what reads as something has nothing in it that would end it, and is spelled as
/// something that reads the same.
pub(crate) fn settles(bytes: &[u8]) {
    let Ok(value) = parse(bytes) else { return };
    let Some(spelling) = spelled(&value) else { return };
    match &value {
        Value::Reference(reference) => {
            assert!(is_sound(reference, Place::Whole), "{}", shown(bytes));
        }
        Value::Text(pieces) => {
            assert!(pieces.iter().all(is_sound_piece), "{}", shown(bytes));
            kept(bytes, pieces);
        }
        Value::Literal | Value::Ciphertext(_) => {}
    }
    assert_eq!(parse(&spelling).as_ref(), Ok(&value), "{}", shown(&spelling));
    assert_eq!(spelled(&value).as_ref(), Some(&spelling));
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_sound(reference: &Reference, place: Place) -> bool {
    let has = |text: &str, ends: &[&str]| {
        ends.iter().any(|end| text.contains(end)) || (place == Place::Inline && text.contains('}'))
    };
    let is_default = |text: &Secret| {
        let braces =
            place == Place::Whole || text.expose_text().is_some_and(|text| balanced(text) == text);
        braces && !has_reference(text.expose())
    };
    let key = match &reference.selector {
        Selector::Key(key) => !key.is_empty() && !has(key, &["#", ":-", "${"]),
        Selector::Template(_) => true,
    };
    key && !has(reference.path.as_str(), &["#"])
        && reference.ask != Ask::Read(Some(0))
        && reference.default.as_ref().is_none_or(is_default)
}

fn is_sound_piece(piece: &Piece) -> bool {
    match piece {
        Piece::Reference(reference) => is_sound(reference, Place::Inline),
        Piece::Ciphertext(text) => parse(text.expose()) == Ok(Value::Ciphertext(text.clone())),
        Piece::Text(text) => !text.is_empty() && !has_reference(&[b"x", text.expose()].concat()),
    }
}

/// The text without braces that close none, and with one for each that is not closed.
pub(crate) fn balanced(text: &str) -> String {
    let (mut kept, mut open) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '{' => open += 1,
            '}' if open == 0 => continue,
            '}' => open -= 1,
            _ => {}
        }
        kept.push(c);
    }
    kept + &"}".repeat(open)
}

/// Panics unless every text between the references is in the input, one behind the other.
fn kept(bytes: &[u8], pieces: &[Piece]) {
    let mut rest = bytes;
    for piece in pieces {
        let Piece::Text(text) = piece else { continue };
        let text = text.expose();
        let at = rest
            .windows(text.len())
            .position(|found| found == text)
            .expect("the text is in the input");
        rest = &rest[at + text.len()..];
    }
    if let Some(Piece::Text(first)) = pieces.first() {
        assert!(bytes.starts_with(first.expose()));
    }
    if let Some(Piece::Text(last)) = pieces.last() {
        assert!(bytes.ends_with(last.expose()));
    }
}
