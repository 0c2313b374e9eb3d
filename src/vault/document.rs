//! What an answer brings: a secret's data, how its values become text, and the lease that it hangs
//! on (pure).

use std::fmt;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::grammar::reference::Selector;
use crate::secret::Secret;

/// A secret that was fetched.
#[derive(Debug, Default)]
pub struct Found {
    /// Its data.
    pub document: Document,
    /// Its version, where it has one.
    pub version: Option<u64>,
    /// The lease, where there is one.
    pub lease: Option<Lease>,
}

/// What a dynamic secret is lent for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Names the lease; no secret.
    pub id: String,
    /// Seconds.
    pub duration: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// The keys and values of one secret. Its `Debug` shows neither.
#[derive(Clone, Default, PartialEq)]
pub struct Document(Map<String, Value>);

impl Document {
    /// Takes the data of an answer.
    pub fn new(data: Map<String, Value>) -> Document {
        Document(data)
    }

    /// What a reference takes of it; `None` where that is missing.
    ///
    /// # Errors
    /// 78 for a value that a template's filter cannot take.
    pub fn select(&self, selector: &Selector) -> Result<Option<Secret>, Error> {
        match selector {
            Selector::Key(key) => Ok(self.get(key)),
            Selector::Template(template) => template.apply(&self.0),
        }
    }

    /// The value of `key` as text: the key of exactly this name, else, where it begins with `/`,
    /// what the JSON pointer (RFC 6901) finds in nested values.
    pub fn get(&self, key: &str) -> Option<Secret> {
        self.0.get(key).or_else(|| self.pointer(key)).map(text)
    }

    /// Every key with its value as text, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Secret)> {
        self.0.iter().map(|(key, value)| (key.as_str(), text(value)))
    }

    /// The names of the keys, for messages: names are no secrets, as they stand in references too.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn pointer(&self, pointer: &str) -> Option<&Value> {
        let mut tokens = pointer
            .strip_prefix('/')?
            .split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"));
        let first = self.0.get(&tokens.next()?)?;
        tokens.try_fold(first, |value, token| match value {
            Value::Object(map) => map.get(&token),
            Value::Array(list) => list.get(index(&token)?),
            _ => None,
        })
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// RFC 6901 has no leading zeros and no signs in an index.
fn index(token: &str) -> Option<usize> {
    let digits_only = token.bytes().all(|byte| byte.is_ascii_digit());
    let has_zeros = token.len() > 1 && token.starts_with('0');
    if digits_only && !has_zeros { token.parse().ok() } else { None }
}

/// A string as it is, a number in its own spelling, `true` and `false`, null as nothing, the rest
/// as compact JSON.
pub fn text(value: &Value) -> Secret {
    match value {
        Value::String(text) => Secret::from(text.as_str()),
        Value::Null => Secret::default(),
        other => Secret::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Document {
        Document::new(serde_json::from_str(json).expect("an object"))
    }

    fn get(json: &str, key: &str) -> Option<String> {
        document(json).get(key).map(|value| value.expose_text().expect("UTF-8").to_owned())
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
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", document(r#"{"k":"v"}"#)), "[redacted]");
    }
}
