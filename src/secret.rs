//! Values that wipe their memory and never show their content.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;

use zeroize::Zeroizing;

/// Bytes that may be a credential or a secret. They are wiped when dropped, redacted in `Debug`,
/// and have no `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Returns the bytes themselves. Every use is a place where a secret could leak: keep them few.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the value as text, if it is UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Returns the value without white space at its ends, the form in which credentials are used.
    #[must_use]
    pub fn trimmed(&self) -> Secret {
        Secret::from(self.0.trim_ascii().to_vec())
    }

    /// Returns whether the value is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret::from(text.into_bytes())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }
}

impl From<OsString> for Secret {
    fn from(text: OsString) -> Secret {
        Secret::from(text.into_vec())
    }
}

/// An environment variable. Any value may be a secret, so all of them are treated as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name, which need not be UTF-8.
    pub name: OsString,
    /// The value.
    pub value: Secret,
}

impl Variable {
    /// Creates a variable from a name and a value.
    pub fn new(name: impl Into<OsString>, value: impl Into<Secret>) -> Variable {
        Variable { name: name.into(), value: value.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let shown = format!("{:?}", Variable::new("NAME", "hvs.value"));
        assert!(shown.contains("NAME") && !shown.contains("hvs"), "{shown}");
    }

    #[test]
    fn white_space_at_the_ends_goes_and_inside_stays() {
        assert_eq!(Secret::from(" \ta b\r\n").trimmed(), Secret::from("a b"));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let secret = Secret::from(vec![0xff, b'a']);
        assert_eq!((secret.expose(), secret.expose_text()), (&[0xff, b'a'][..], None));
    }
}
