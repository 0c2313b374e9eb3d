//! Keeps credentials out of a server's words: one of Vault's messages quotes the secret id.
//!
//! A server's words are cleaned once, where they enter. Our own words never are: a token `t` would
//! cut holes into every message and reveal what it is.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::secret::Secret;

/// Replaces a credential in a text.
const MARK: &str = "[redacted]";

/// A credential with fewer characters may be a common word (`root`, `app`), so it is replaced only
/// if it stands alone.
const SHORT: usize = 8;

/// The credentials of this run.
#[derive(Debug, Default)]
pub struct Redactor(Mutex<Vec<Secret>>);

impl Redactor {
    /// Adds a credential, and its base64 form, in which some servers quote it.
    pub fn add(&self, secret: &Secret) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.push(secret.clone());
        if secret.expose().len() >= SHORT {
            secrets.push(STANDARD_NO_PAD.encode(secret.expose()).into());
            secrets.push(URL_SAFE_NO_PAD.encode(secret.expose()).into());
        }
    }

    /// Returns a server's text with each credential in it replaced, in whatever form it is quoted:
    /// as it is, escaped (Go's `%q`, JSON), percent-encoded, or in base64. If credentials overlap,
    /// one mark stands for all of them. A mark that is already there stays whole.
    pub fn clean(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<&str> = secrets
            .iter()
            .filter_map(Secret::expose_text)
            .filter(|text| !text.is_empty())
            .collect();
        let mut clean = String::with_capacity(text.len());
        let (mut at, mut covered) = (0, 0);
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            if covered <= at && text.get(at..).is_some_and(|rest| rest.starts_with(MARK)) {
                clean.push_str(MARK);
                at += MARK.len();
                continue;
            }
            let end = texts.iter().filter_map(|secret| end_of(text, at, secret)).max();
            if let Some(end) = end.filter(|end| *end > covered) {
                if covered <= at {
                    clean.push_str(MARK);
                }
                covered = end;
            }
            if covered <= at {
                clean.push(c);
            }
            at += c.len_utf8();
        }
        clean
    }
}

/// Returns where a credential that begins at `start` ends, if one begins there.
fn end_of(text: &str, start: usize, secret: &str) -> Option<usize> {
    let end = quoted(text, start, secret)?;
    let is_short = secret.chars().nth(SHORT - 1).is_none();
    (!is_short || stands_alone(text, start, end)).then_some(end)
}

/// Returns the furthest end of a credential in any form in which it may be quoted. One character
/// can be read in several ways, so several ends are followed at once.
fn quoted(text: &str, start: usize, secret: &str) -> Option<usize> {
    let mut ends = vec![start];
    for c in secret.chars() {
        let next = ends.iter().filter_map(|end| text.get(*end..).map(|rest| (end, rest)));
        let mut next: Vec<usize> = next
            .flat_map(|(end, rest)| forms(rest, c).into_iter().map(move |len| end + len))
            .collect();
        next.sort_unstable();
        next.dedup();
        if next.is_empty() {
            return None;
        }
        ends = next;
    }
    ends.last().copied()
}

/// Returns the lengths of the forms of a character at the beginning of a text.
fn forms(text: &str, c: char) -> Vec<usize> {
    let mut lengths = Vec::new();
    let mut utf8 = [0; 4];
    let bytes = c.encode_utf8(&mut utf8).as_bytes();
    if text.starts_with(c) {
        lengths.push(bytes.len());
    }
    match text.as_bytes().first() {
        Some(b'\\') => lengths.extend(escaped(text, c, bytes)),
        Some(b'%') => lengths.extend(hexadecimal(text, "%", bytes)),
        Some(b'+') if c == ' ' => lengths.push(1),
        _ => {}
    }
    lengths
}

/// Returns the lengths of the escapes of Go and JSON, with one backslash, or with more if the text
/// was escaped again.
fn escaped(text: &str, c: char, utf8: &[u8]) -> Vec<usize> {
    let rest = text.trim_start_matches('\\');
    let slashes = text.len() - rest.len();
    let letter = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        _ => c,
    };
    let mut utf16 = [0; 2];
    let units = c.encode_utf16(&mut utf16);
    let of_units = units.iter().fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}"));
    let of_unit = format!("\\U{:08x}", u32::from(c));
    let one = text.get(slashes - 1..).unwrap_or_default();
    let found = [
        rest.starts_with(letter).then_some(1 + letter.len_utf8()).filter(|_| c != '\\'),
        starts_with(one, &of_units),
        starts_with(one, &of_unit),
        hexadecimal(one, "\\x", utf8),
    ];
    let found = found.into_iter().flatten().map(|length| slashes - 1 + length);
    let doubled = [2, 4].into_iter().filter(|length| c == '\\' && *length <= slashes);
    found.chain(doubled).collect()
}

/// Returns the length of the bytes written as two hexadecimal digits each, with `before` in front
/// of each.
fn hexadecimal(text: &str, before: &str, bytes: &[u8]) -> Option<usize> {
    let all = bytes.iter().fold(String::new(), |text, byte| format!("{text}{before}{byte:02x}"));
    starts_with(text, &all)
}

fn starts_with(text: &str, beginning: &str) -> Option<usize> {
    let is_it = text.get(..beginning.len())?.eq_ignore_ascii_case(beginning);
    is_it.then_some(beginning.len())
}

/// Returns whether a part of a text is outside any word or path. In `don't` the apostrophe belongs
/// to the word; in `'t'` it does not.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = || text.get(..start).unwrap_or_default().chars().rev();
    let after = || text.get(end..).unwrap_or_default().chars();
    is_edge(before()) && is_edge(after())
}

fn is_edge(mut neighbours: impl Iterator<Item = char>) -> bool {
    let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/');
    match neighbours.next() {
        None => true,
        // A dot at the end of a sentence is not part of the word.
        Some('\'' | '.') => !neighbours.next().is_some_and(is_of_word),
        Some(c) => !is_of_word(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(secrets: &[&str], text: &str) -> String {
        let redactor = Redactor::default();
        for secret in secrets {
            redactor.add(&Secret::from(*secret));
        }
        redactor.clean(text)
    }

    #[test]
    fn every_credential_is_replaced_everywhere() {
        assert_eq!(
            cleaned(&["abcdefgh", "", "xyzxyzxyz"], "no \"abcdefgh\" (abcdefgh,xyzxyzxyz)"),
            "no \"[redacted]\" ([redacted],[redacted])"
        );
        assert_eq!(cleaned(&["abcdefgh"], "xabcdefghy"), "x[redacted]y");
    }

    #[test]
    fn a_short_credential_is_replaced_where_it_stands_alone() {
        for (secret, text, expected) in [
            ("t", "invalid secret_id \"t\"", "invalid secret_id \"[redacted]\""),
            ("t", "no t, no t. t", "no [redacted], no [redacted]. [redacted]"),
            ("t", "don't put it there", "don't put it there"),
            ("t", "'t' is no token", "'[redacted]' is no token"),
            ("root", "no root-ca at secret/data/root", "no root-ca at secret/data/root"),
            ("root", "role_id=root: no role", "role_id=[redacted]: no role"),
            ("app", "app: no such role", "[redacted]: no such role"),
            ("app", "my_app app2 app/x a.app.b", "my_app app2 app/x a.app.b"),
            ("a\"b", "no \"a\\\"b\" here", "no \"[redacted]\" here"),
        ] {
            assert_eq!(cleaned(&[secret], text), expected, "{text}");
        }
    }

    #[test]
    fn a_credential_is_found_in_the_forms_in_which_servers_quote() {
        let secret = "pä\"s\\s <w>\n🦀";
        for quoted in [
            secret,
            "pä\\\"s\\\\s <w>\\n🦀",
            "p\\u00e4\\\"s\\\\s \\u003cw\\u003e\\n\\ud83e\\udd80",
            "p\\u00E4\\\"s\\\\s \\u003Cw\\u003E\\u000a\\U0001f980",
            "p\\xc3\\xa4\\\"s\\\\s <w>\\n🦀",
            "p\\\\u00e4\\\\\\\"s\\\\\\\\s <w>\\\\n🦀",
            "p%C3%A4%22s%5Cs%20%3Cw%3E%0A%F0%9F%A6%80",
            "p%c3%a4%22s%5cs+%3cw%3e%0a%f0%9f%a6%80",
            "cMOkInNccyA8dz4K8J+mgA==",
            "cMOkInNccyA8dz4K8J-mgA",
        ] {
            let text = cleaned(&[secret], &format!("no \"{quoted}\" here"));
            assert!(text.starts_with("no \"[redacted]") && text.ends_with("\" here"), "{text}");
        }
    }

    #[test]
    fn credentials_that_overlap_are_one_mark_and_a_mark_is_never_cut() {
        assert_eq!(cleaned(&["app-s3cr", "app-s3cret"], "no app-s3cret"), "no [redacted]");
        assert_eq!(cleaned(&["12345678", "56789012"], "-123456789012-"), "-[redacted]-");
        assert_eq!(
            cleaned(&["redacted", "dact"], "no [redacted] (redacted)"),
            "no [redacted] ([redacted])"
        );
    }
}
