//! The grammar of references in values of variables (pure).
//!
//! ```text
//! value     = reference [ ":-" default ] | literal
//! reference = ("vault" | "bao") ["?"] ":" path "#" key [ "#" version ]
//! ```
//!
//! `vault://…` and `bao://…` are literals: a Spring setting looks like that.

use crate::error::Error;
use crate::path::Path;

/// What a variable's value is.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    /// It reaches the application as it is.
    Literal,
    /// It is taken from Vault.
    Reference(Reference),
}

/// A value that is taken from Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The secret.
    pub path: Path,
    /// What of it.
    pub key: String,
    /// Which version of it; the latest where there is none. From 1.
    pub version: Option<u64>,
    /// `vault?:`: the variable is left out where path, version or key is missing.
    pub optional: bool,
    /// What is taken where path, version or key is missing.
    pub default: Option<String>,
}

/// Reads a variable's value.
///
/// # Errors
/// What begins as a reference and does not parse, or needs what this version does not have. The message does not repeat
/// the value.
pub fn parse(value: &[u8]) -> Result<Value, Error> {
    let Some(start) = start(value) else {
        return if has_inline(value) {
            Err(later("references inside of a text, ${vault:…},"))
        } else {
            Ok(Value::Literal)
        };
    };
    if start.write {
        return Err(later("writes, >>vault:…,"));
    }
    let rest = std::str::from_utf8(start.rest).map_err(|_| Error::config("a reference that is not UTF-8"))?;
    if !start.optional && is_ciphertext(rest) {
        return Err(later("decryption of transit ciphertexts"));
    }
    reference(rest, start.optional).map(Value::Reference)
}

/// Whether the whole value is a reference, however wrong.
pub fn is_reference(value: &[u8]) -> bool {
    start(value).is_some()
}

/// How a value begins as a reference, and the rest behind its colon.
struct Start<'a> {
    write: bool,
    optional: bool,
    rest: &'a [u8],
}

fn start(value: &[u8]) -> Option<Start<'_>> {
    let (write, rest) = strip(value, b">>");
    let rest = rest.strip_prefix(b"vault").or_else(|| rest.strip_prefix(b"bao"))?;
    let (optional, rest) = strip(rest, b"?");
    let rest = rest.strip_prefix(b":")?;
    let is_url = !write && !optional && rest.starts_with(b"//");
    (!is_url).then_some(Start { write, optional, rest })
}

fn strip<'a>(value: &'a [u8], prefix: &[u8]) -> (bool, &'a [u8]) {
    value.strip_prefix(prefix).map_or((false, value), |rest| (true, rest))
}

fn has_inline(value: &[u8]) -> bool {
    value.windows(2).enumerate().any(|(at, two)| two == b"${" && value.get(at + 2..).is_some_and(is_reference))
}

/// `v` digits `:` base64, behind `vault:`; `v0` is no version of a key.
fn is_ciphertext(rest: &str) -> bool {
    let Some((version, data)) = rest.strip_prefix('v').and_then(|rest| rest.split_once(':')) else { return false };
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    version.parse::<u64>().is_ok_and(|version| version > 0) && !data.is_empty() && data.chars().all(is_base64)
}

fn reference(text: &str, optional: bool) -> Result<Reference, Error> {
    let (path, rest) = text.split_once('#').ok_or_else(no_key)?;
    let (rest, default) = match rest.split_once(":-") {
        Some((rest, default)) => (rest, Some(default.to_owned())),
        None => (rest, None),
    };
    let (key, version) = key_and_version(rest)?;
    Ok(Reference { path: Path::parse(path)?, key, version, optional, default })
}

/// `key` or `key#version`, as references and imports share it.
///
/// # Errors
/// An empty key, a version that is no number from 1, a template.
pub fn key_and_version(text: &str) -> Result<(String, Option<u64>), Error> {
    if text.starts_with("${") {
        return Err(later("a template as the key, ${.name | filter},"));
    }
    let (key, version) = match text.split_once('#') {
        Some((key, version)) => (key, Some(self::version(version)?)),
        None => (text, None),
    };
    if key.is_empty() { Err(no_key()) } else { Ok((key.to_owned(), version)) }
}

/// A version of a KV v2 secret.
///
/// # Errors
/// Anything but a number from 1.
pub fn version(text: &str) -> Result<u64, Error> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits_only && *number > 0);
    number.ok_or_else(|| {
        Error::config("the version of a secret is a number from 1").hint("leave #version out for the latest")
    })
}

fn no_key() -> Error {
    Error::config("a reference without a key")
        .hint("write vault:path#key, or name the variable in --literal if it is no reference")
}

fn later(what: &str) -> Error {
    Error::config(format!("{what} are not supported by this version"))
        .hint("name the variable in --literal if its value is to reach the application as it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Reference {
        match parse(value.as_bytes()) {
            Ok(Value::Reference(reference)) => reference,
            other => panic!("{value}: {other:?}"),
        }
    }

    fn parts(value: &str) -> (String, String, Option<u64>, bool, Option<String>) {
        let Reference { path, key, version, optional, default } = found(value);
        (path.to_string(), key, version, optional, default)
    }

    #[test]
    fn references() {
        let text = |text: &str| Some(text.to_owned());
        for (value, path, key, version, optional, default) in [
            ("vault:secret/data/a#k", "secret/data/a", "k", None, false, None),
            ("bao:secret/a#k", "secret/a", "k", None, false, None),
            ("vault:/secret/a#k", "secret/a", "k", None, false, None),
            ("vault?:a/b#k", "a/b", "k", None, true, None),
            ("bao?:a/b#k#7", "a/b", "k", Some(7), true, None),
            ("vault:a/b#k#12", "a/b", "k", Some(12), false, None),
            ("vault:a/b#k:-d", "a/b", "k", None, false, text("d")),
            ("vault:a/b#k:-", "a/b", "k", None, false, text("")),
            ("vault:a/b#k#2:-x#y:-z", "a/b", "k", Some(2), false, text("x#y:-z")),
            ("vault:a/b#/c/0/d", "a/b", "/c/0/d", None, false, None),
            ("vault:a/b#key with: spaces", "a/b", "key with: spaces", None, false, None),
            ("vault:a:-b/c#k", "a:-b/c", "k", None, false, None),
            ("vault:a b/%2e?x=1#k", "a b/%2e?x=1", "k", None, false, None),
            ("vault:v1/a#k", "v1/a", "k", None, false, None),
            ("vault:v1:a/b#k", "v1:a/b", "k", None, false, None),
        ] {
            assert_eq!(parts(value), (path.into(), key.into(), version, optional, default), "{value}");
        }
    }

    #[test]
    fn literals() {
        for value in [
            "",
            "a",
            "vault",
            "vaults:a#b",
            "Vault:a#b",
            "notvault:a#b",
            " vault:a#b",
            "vault://host/x#y",
            "bao://x",
            "prefix-vault:secret/data/a#k",
            "${HOME}",
            "${vaulty:x}",
            "$vault:a#b",
            "{vault:a#b}",
            "${vault://x}",
            ">vault:a#b",
        ] {
            assert_eq!(parse(value.as_bytes()), Ok(Value::Literal), "{value}");
        }
        assert_eq!(parse(b"\xffvault:a#b"), Ok(Value::Literal));
    }

    #[test]
    fn what_begins_as_a_reference_and_is_none_is_an_error_that_does_not_repeat_it() {
        for value in [
            "vault:",
            "vault:s3cret",
            "vault:s3cret#",
            "vault:#s3cret",
            "vault:s3cret##1",
            "vault:s3cret#k#",
            "vault:s3cret#k#x",
            "vault:s3cret#k#0",
            "vault:s3cret#k#-1",
            "vault:s3cret#k#+1",
            "vault:s3cret#k#1#2",
            "vault:a/../s3cret#k",
            "vault:a//s3cret#k",
            "vault:v0:s3cret",
            "vault?://s3cret",
            "vault:s3cret:-default",
            "vault:s3cret#k#99999999999999999999",
        ] {
            let error = parse(value.as_bytes()).expect_err(value);
            assert_eq!(error.code.status(), 78, "{value}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        assert_eq!(parse(b"vault:\xff#k").expect_err("an error").code.status(), 78);
    }

    #[test]
    fn what_a_later_version_brings_is_an_error() {
        for value in [
            ">>vault:pki/issue/x#certificate",
            ">>bao?:x#y",
            "a${vault:a#b}c",
            "${bao?:a#b}",
            "${>>vault:a#b}",
            "vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==",
            "vault:v100:aGVsbG8=",
            "vault:a#${.k | b64dec}",
        ] {
            let error = parse(value.as_bytes()).expect_err(value);
            assert!(error.code.status() == 78 && error.message.contains("not supported"), "{value}: {error}");
        }
    }
}
