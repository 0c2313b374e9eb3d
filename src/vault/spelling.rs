//! Keeps numbers as an answer spells them (pure).
//!
//! serde_json keeps the digits of a number and writes its exponent in a form of its own: `1E5`
//! becomes `1e+5`. Vault, its CLI and vault-env show a number as it was stored.

use std::collections::HashMap;

use serde_json::{Number, Value};

/// Gives the numbers in `value`, which was parsed from `json`, the spelling that they have there. A
/// number that one answer spells in two ways keeps the form that serde_json gives it.
pub(crate) fn keep(json: &[u8], value: &mut Value) {
    let mut spellings: HashMap<String, Option<&str>> = HashMap::new();
    for spelling in with_exponent(json) {
        let known = spellings.entry(normal(spelling)).or_insert(Some(spelling));
        *known = known.filter(|known| *known == spelling);
    }
    if !spellings.is_empty() {
        spell(value, &spellings);
    }
}

fn spell(value: &mut Value, spellings: &HashMap<String, Option<&str>>) {
    match value {
        Value::Number(number) => {
            if let Some(Some(spelling)) = spellings.get(number.as_str()) {
                // The spelling comes from the parsed text, so it is a number.
                *number = Number::from_string_unchecked((*spelling).to_owned());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|item| spell(item, spellings)),
        Value::Object(map) => map.values_mut().for_each(|item| spell(item, spellings)),
        _ => {}
    }
}

/// Returns the numbers in a JSON text that have an exponent.
fn with_exponent(json: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let start = rest.iter().position(|byte| matches!(byte, b'"' | b'-' | b'0'..=b'9'))?;
            let token = rest.get(start..)?;
            let length = if token.starts_with(b"\"") { string(token) } else { number(token) };
            let (token, behind) = token.split_at_checked(length)?;
            rest = behind;
            if !token.starts_with(b"\"") && token.iter().any(|byte| matches!(byte, b'e' | b'E')) {
                return std::str::from_utf8(token).ok();
            }
        }
    })
}

/// Returns the length of the string at the beginning of a JSON text.
fn string(json: &[u8]) -> usize {
    let mut is_escaped = true;
    let end = json.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 1)
}

fn number(json: &[u8]) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    json.iter().position(|byte| !is_part(byte)).unwrap_or(json.len())
}

/// Returns the spelling that serde_json gives a number with an exponent.
fn normal(spelling: &str) -> String {
    let (digits, exponent) = spelling.split_once(['e', 'E']).unwrap_or((spelling, ""));
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{digits}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(json: &str) -> String {
        let mut value: Value = serde_json::from_str(json).expect(json);
        keep(json.as_bytes(), &mut value);
        value.to_string()
    }

    #[test]
    fn a_number_keeps_its_spelling() {
        for json in [
            "1E5",
            "1e5",
            "1e+5",
            "1E+5",
            "1e-05",
            "-1.50E-7",
            "0e0",
            "[1E5,\"1e5\",{\"a\":-2e9}]",
            r#"{"1E5":"\"1E5","a\\":1E5,"b":[1e6,1.0,-0]}"#,
            "1.50",
            "\"\\\\\"",
            "{}",
            "[1E400,123456789012345678901234567890]",
        ] {
            assert_eq!(kept(json), json);
        }
    }

    #[test]
    fn two_spellings_of_one_number_become_one() {
        assert_eq!(kept("[1E5,1e5,1E6]"), "[1e+5,1e+5,1E6]");
    }

    #[test]
    fn any_bytes_have_an_end() {
        for json in ["\"", "\"\\", "-", "1e", "\"\\\"1E5", "e", "1E5\u{ff}"] {
            let mut value = Value::Null;
            keep(json.as_bytes(), &mut value);
            assert_eq!(value, Value::Null);
        }
    }
}
