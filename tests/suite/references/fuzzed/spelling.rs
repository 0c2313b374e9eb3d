//! How a value is spelled: the way back from what `reference::parse` makes of a text. `fuzz/` goes
//! by it as well.

use vault_exec::door::grammar::reference::{Ask, Form, Piece, Reference, Value};
use vault_exec::door::grammar::selector::Selector;

/// The text that reads as `value`; `None` for a literal, which any other text is.
pub(crate) fn spelled(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Literal => None,
        Value::Reference(reference) => Some(spelled_reference("vault", reference)),
        Value::Ciphertext(ciphertext) => Some(ciphertext.expose().to_vec()),
        Value::Text(pieces) => Some(pieces.iter().flat_map(piece).collect()),
    }
}

/// The reference as a whole value, with `vault` or `bao` before it.
pub(crate) fn spelled_reference(prefix: &str, reference: &Reference) -> Vec<u8> {
    let Reference { path, ask, selector, form, optional, default } = reference;
    let write = if matches!(ask, Ask::Write(_)) { ">>" } else { "" };
    let optional = if *optional { "?" } else { "" };
    let file = if *form == Form::File { "-file" } else { "" };
    let mut text = format!("{write}{prefix}{file}{optional}:{path}#").into_bytes();
    text.extend_from_slice(match selector {
        Selector::Key(key) => key.as_bytes(),
        Selector::Template(template) => template.source().expose(),
    });
    match ask {
        Ask::Read(None) => {}
        Ask::Read(Some(version)) => text.extend(format!("#{version}").into_bytes()),
        Ask::Write(body) => text.extend([b"#", body.json().expose()].concat()),
    }
    if let Some(default) = default {
        text.extend([b":-", default.expose()].concat());
    }
    text
}

fn piece(piece: &Piece) -> Vec<u8> {
    match piece {
        Piece::Text(text) => text.expose().to_vec(),
        Piece::Ciphertext(text) => [b"${", text.expose(), b"}"].concat(),
        Piece::Reference(reference) => {
            [b"${", &*spelled_reference("vault", reference), b"}"].concat()
        }
    }
}
