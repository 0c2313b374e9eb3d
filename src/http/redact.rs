//! Keeps credentials out of what a server says: one of Vault's messages quotes the secret id.

use std::cmp::Reverse;
use std::sync::{Mutex, PoisonError};

use crate::secret::Secret;

/// The credentials of this run.
#[derive(Debug, Default)]
pub struct Redactor(Mutex<Vec<Secret>>);

impl Redactor {
    /// Takes a credential in.
    pub fn add(&self, secret: &Secret) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
    }

    /// `text` with each credential in it replaced: a longer one first, for a shorter one may be a
    /// part of it.
    pub fn clean(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = secrets.iter().filter_map(Secret::expose_text).filter(|text| !text.is_empty());
        let mut texts: Vec<&str> = texts.collect();
        texts.sort_by_key(|text| Reverse(text.len()));
        texts.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "[redacted]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_credential_is_replaced_everywhere() {
        let redactor = Redactor::default();
        redactor.add(&Secret::from("abc"));
        redactor.add(&Secret::from(""));
        redactor.add(&Secret::from("xyz"));
        assert_eq!(
            redactor.clean("invalid secret_id \"abc\" (abc, xyz)"),
            "invalid secret_id \"[redacted]\" ([redacted], [redacted])"
        );
    }

    #[test]
    fn a_credential_that_begins_with_another_one_is_replaced_as_a_whole() {
        let redactor = Redactor::default();
        redactor.add(&Secret::from("app"));
        redactor.add(&Secret::from("app-s3cret"));
        assert_eq!(redactor.clean("no app-s3cret of app"), "no [redacted] of [redacted]");
    }
}
