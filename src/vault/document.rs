//! What an answer contains: a secret's data and its lease (pure).

use std::fmt;

use serde_json::{Map, Value};

use crate::error::Error;
use crate::grammar::selector::{self, Selector};
use crate::secret::Secret;

/// A secret that was fetched.
#[derive(Debug, Default)]
pub struct Found {
    /// Its data.
    pub document: Document,
    /// Its version, if it has one.
    pub version: Option<u64>,
    /// The lease, if there is one.
    pub lease: Option<Lease>,
}

/// The lease of a dynamic secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Identifies the lease; not a secret.
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

    /// Returns what a reference selects, or `None` if that is missing.
    ///
    /// # Errors
    /// 78 for a value that a template's filter cannot take.
    pub fn select(&self, selector: &Selector) -> Result<Option<Secret>, Error> {
        selector.select(&self.0)
    }

    /// Returns the value of `key` as text, as a selector for this key does.
    pub fn get(&self, key: &str) -> Option<Secret> {
        selector::value(&self.0, key)
    }

    /// Returns what to do about a key that is not there.
    pub fn suggestion(&self, selector: &Selector) -> String {
        let near = match selector {
            Selector::Key(key) => selector::suggestion(&self.0, key),
            Selector::Template(_) => None,
        };
        match near {
            Some(near) => near,
            None if self.0.is_empty() => "the secret has no keys".to_owned(),
            None => format!("the secret has {}", selector::listed(self.0.keys())),
        }
    }

    /// Returns every key with its value as text, in the order of the keys.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Secret)> {
        self.0.iter().map(|(key, value)| (key.as_str(), selector::text(value)))
    }

    /// Returns the names of the keys, for messages. Names are not secrets, because references
    /// contain them too.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let document = Document::new(serde_json::from_str(r#"{"k":"v"}"#).expect("an object"));
        assert_eq!(format!("{document:?}"), "[redacted]");
    }
}
