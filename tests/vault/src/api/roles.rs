//! Named things below an auth method: roles, users, certificates.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::request::{Operation, Request};

/// How one is written and read.
pub(crate) trait Role: Clone + Default {
    /// Applies what a request sets, to a new or an existing one.
    fn configure(&mut self, request: &Request) -> Result<(), Failure>;

    fn describe(&self) -> Value;
}

/// All of them by name, ignoring case.
#[derive(Default)]
pub(crate) struct Roles<R>(BTreeMap<String, R>);

impl<R: Role> Roles<R> {
    /// Handles `…/`, which lists them, and `…/<name>` for one.
    pub(crate) fn handle(&mut self, name: &str, request: &Request) -> Outcome {
        let key = name.to_lowercase();
        match request.operation {
            Operation::List if !name.is_empty() => Err(Failure::unsupported_operation()),
            Operation::List if self.0.is_empty() => Err(Failure::not_found()),
            Operation::List => {
                Ok(Answer::data(json!({ "keys": self.0.keys().collect::<Vec<_>>() })))
            }
            _ if !is_name(name) => Err(Failure::unsupported_path()),
            Operation::Read => self
                .get(name)
                .map(|role| Answer::data(role.describe()))
                .ok_or_else(Failure::not_found),
            Operation::Write => {
                let mut role = self.0.get(&key).cloned().unwrap_or_default();
                role.configure(request)?;
                self.0.insert(key, role);
                Ok(Answer::empty())
            }
            Operation::Delete => {
                self.0.remove(&key);
                Ok(Answer::empty())
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&R> {
        self.0.get(&name.to_lowercase())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &R)> {
        self.0.iter()
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut R> {
        self.0.get_mut(&name.to_lowercase())
    }

    /// Returns whether there is one at `path`, which names one if it begins with `prefix`.
    pub(crate) fn exist(&self, prefix: &str, path: &str) -> Option<bool> {
        let name = path.strip_prefix(prefix).filter(|name| is_name(name))?;
        Some(self.get(name).is_some())
    }
}

/// Returns whether this is a valid name: word characters, with dots and hyphens between them.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.starts_with(is_word)
        && name.ends_with(is_word)
        && name.chars().all(|character| is_word(character) || "-.".contains(character))
}
