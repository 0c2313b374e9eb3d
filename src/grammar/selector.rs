//! What a reference takes of a secret (pure): the value of a key, what a JSON pointer finds, or
//! what a template makes of it.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::grammar::template::Template;
use crate::secret::Secret;

/// What to take of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// An exact name or, if it begins with `/`, a JSON pointer.
    Key(String),
    /// What a template makes of the secret.
    Template(Template),
}

impl Selector {
    /// Returns the selected part of a secret, or `None` if it is missing.
    ///
    /// # Errors
    /// 78 for a value that a template's function cannot take.
    pub fn select(&self, secret: &Map<String, Value>) -> Result<Option<Secret>, Error> {
        match self {
            Selector::Key(key) => Ok(value(secret, key)),
            Selector::Template(template) => template.apply(secret),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Key(key) => f.write_str(key),
            Selector::Template(template) => template.fmt(f),
        }
    }
}

/// Returns the value of `key` as text: the value of the key with exactly this name, or else, if
/// `key` begins with `/`, what the JSON pointer (RFC 6901) finds in nested values.
pub(crate) fn value(secret: &Map<String, Value>, key: &str) -> Option<Secret> {
    secret.get(key).or_else(|| pointer(secret, key)).map(text)
}

/// Suggests what to write instead of a missing key, if there is something similar.
pub(crate) fn suggestion(secret: &Map<String, Value>, key: &str) -> Option<String> {
    let near =
        secret.keys().find(|known| key.trim() == known.trim() || key.eq_ignore_ascii_case(known));
    if let Some(known) = near {
        let ends_in_blank = key.trim() == known && key != key.trim();
        let why =
            if ends_in_blank { "a blank or line break stands at an end of the key: " } else { "" };
        return Some(format!("{why}write #{known}"));
    }
    let pointer = format!("/{}", key.trim_start_matches('/').replace('.', "/"));
    if pointer != key && self::pointer(secret, &pointer).is_some() {
        return Some(format!("the value is nested: write #{pointer}"));
    }
    let (above, _) = key.rsplit_once('/').filter(|(above, _)| !above.is_empty())?;
    match self::pointer(secret, above)? {
        Value::Object(map) => Some(format!("{above} has {}", listed(map.keys()))),
        Value::Array(list) => Some(format!("{above} is a list of {}, from {above}/0", list.len())),
        _ => Some(format!("{above} is a value, and has nothing below it")),
    }
}

/// Lists names for a message, but only some of them if there are many.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const MOST: usize = 20;
    let more = names.len().saturating_sub(MOST);
    let text = names.take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

/// Returns a value as text: a string as it is, a number in its own spelling, `true` or `false`,
/// nothing for null, and compact JSON for the rest.
pub(crate) fn text(value: &Value) -> Secret {
    match value {
        Value::String(text) => Secret::from(text.as_str()),
        Value::Null => Secret::default(),
        other => Secret::from(other.to_string()),
    }
}

/// Returns a whole secret as compact JSON.
pub(crate) fn object(secret: &Map<String, Value>) -> String {
    let members =
        secret.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn pointer<'a>(secret: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let mut tokens = pointer
        .strip_prefix('/')?
        .split('/')
        .map(|token| token.replace("~1", "/").replace("~0", "~"));
    let first = secret.get(&tokens.next()?)?;
    tokens.try_fold(first, |value, token| match value {
        Value::Object(map) => map.get(&token),
        Value::Array(list) => list.get(index(&token)?),
        _ => None,
    })
}

/// Parses an index. RFC 6901 allows no leading zeros and no sign in one.
fn index(token: &str) -> Option<usize> {
    let digits_only = token.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = token.len() > 1 && token.starts_with('0');
    if digits_only && !has_zeros { token.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(json: &str, key: &str) -> Option<String> {
        let secret: Map<String, Value> = serde_json::from_str(json).expect("an object");
        value(&secret, key).map(|value| value.expose_text().expect("UTF-8").to_owned())
    }

    #[test]
    fn every_type_of_value_has_its_text() {
        for (value, text) in [
            (r#""a\u003cb""#, "a<b"),
            (r#""""#, ""),
            ("8080", "8080"),
            ("1.50", "1.50"),
            ("1e+21", "1e+21"),
            ("-0", "-0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("true", "true"),
            ("false", "false"),
            ("null", ""),
            (r#"{"a": {}, "b": [1, "x"]}"#, r#"{"a":{},"b":[1,"x"]}"#),
            ("[1.0, null]", "[1.0,null]"),
        ] {
            assert_eq!(get(&format!("{{\"k\":{value}}}"), "k").as_deref(), Some(text), "{value}");
        }
    }

    #[test]
    fn an_exact_key_goes_before_a_pointer() {
        let json = r#"{"/a/b": "exact", "a": {"b": "nested", "c/d": {"~": "odd"}, "l": ["x", ["y"]], "": "empty"}, "n": null}"#;
        for (key, value) in [
            ("/a/b", Some("exact")),
            ("/a/c~1d/~0", Some("odd")),
            ("/a/l/0", Some("x")),
            ("/a/l/1/0", Some("y")),
            ("/a/", Some("empty")),
            ("/n", Some("")),
            ("/a/l/00", None),
            ("/a/l/2", None),
            ("/a/l/-1", None),
            ("/a/x", None),
            ("/a/b/c", None),
            ("a/b", None),
            ("/", None),
            ("b", None),
        ] {
            assert_eq!(get(json, key).as_deref(), value, "{key}");
        }
    }

    #[test]
    fn a_key_like_one_that_is_there_is_suggested() {
        let json =
            r#"{"password": "p", "Pool": 1, "pool": {"max": 10, "min": 1}, "l": ["x"], "s": "t"}"#;
        let secret: Map<String, Value> = serde_json::from_str(json).expect("an object");
        for (key, part) in [
            (
                "password ",
                Some("a blank or line break stands at an end of the key: write #password"),
            ),
            ("\npassword", Some("write #password")),
            ("PASSWORD", Some("write #password")),
            ("pool.max", Some("nested: write #/pool/max")),
            ("pool/max", Some("nested: write #/pool/max")),
            ("/pool.max", Some("nested: write #/pool/max")),
            ("l.0", Some("nested: write #/l/0")),
            ("/pool/mux", Some("/pool has max, min")),
            ("/l/7", Some("/l is a list of 1, from /l/0")),
            ("/s/x", Some("/s is a value, and has nothing below it")),
            ("/none/x", None),
            ("/none", None),
            ("user", None),
        ] {
            let found = suggestion(&secret, key);
            let fits = found.as_ref().map(|found| part.is_some_and(|part| found.contains(part)));
            assert_eq!(fits, part.map(|_| true), "{key}: {found:?}");
        }
        let many: Map<String, Value> = (0..25).map(|at| (format!("k{at:02}"), at.into())).collect();
        let listed = listed(many.keys());
        assert!(listed.starts_with("k00, k01, ") && listed.ends_with("k19 and 5 more"), "{listed}");
    }
}
