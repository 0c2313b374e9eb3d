//! The grammar of `--file` (pure): `PATH=path#key[#version]`, `PATH=` with any value that contains
//! references, and `DIRECTORY/*=path` for one file per key.

use std::path::PathBuf;

use crate::error::Error;
use crate::grammar::import::{self, Import, Keys};
use crate::grammar::path::Path;
use crate::grammar::reference::{self, Ask, Form, Reference, Value};
use crate::grammar::selector::Selector;

/// A file at a place that the user names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedFile {
    /// The file, or the directory if there are several.
    pub place: PathBuf,
    /// What the file contains.
    pub content: Content,
}

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The same content as a variable with this value.
    Value(Value),
    /// One file for each key of a secret, of this version or the latest. The place is a directory.
    EachKey(Path, Option<u64>),
}

const FORMS: &str = "a file is PATH=path#key[#version], PATH= and a value with references in it, or \
                     'DIRECTORY/*=path' for each key of a secret";

/// Parses one `--file`.
///
/// # Errors
/// 78 for a place that is not an absolute path, and for anything that is neither a reference nor a
/// secret.
pub(crate) fn parse(text: &str) -> Result<PlacedFile, Error> {
    let (place, value) =
        text.split_once('=').ok_or_else(|| wrong("no = behind the path of a file"))?;
    let place = place.trim();
    if !place.starts_with('/') || place.contains('\0') {
        return Err(wrong("the path of a file must begin with /"));
    }
    if place.split('/').any(|segment| segment == "..") {
        return Err(wrong("the path of a file has .. in it"));
    }
    if let Some(directory) = place.strip_suffix("/*") {
        return Ok(PlacedFile { place: PathBuf::from(directory), content: each_key(value)? });
    }
    if place.ends_with('/') {
        return Err(wrong("the path of a file ends with /"));
    }
    let value = if reference::has_reference(value.as_bytes()) {
        reference::parse(value.as_bytes())?
    } else {
        Value::Reference(one_key(value)?)
    };
    Ok(PlacedFile { place: PathBuf::from(place), content: Content::Value(value) })
}

fn wrong(what: &str) -> Error {
    Error::config(what).hint(FORMS)
}

fn each_key(value: &str) -> Result<Content, Error> {
    match import::parse(value)? {
        Import { path, version, keys: Keys::All { prefix } } if prefix.is_empty() => {
            Ok(Content::EachKey(path, version))
        }
        _ => Err(wrong("a key, and a directory for all of them")),
    }
}

fn one_key(value: &str) -> Result<Reference, Error> {
    match import::parse(value)? {
        Import { path, version, keys: Keys::One { key, prefix } } if prefix.is_empty() => {
            Ok(Reference {
                path,
                ask: Ask::Read(version),
                selector: Selector::Key(key),
                form: Form::Value,
                optional: false,
                default: None,
            })
        }
        _ => Err(wrong("a file, and no key of the secret")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        match parse(text).expect(text).content {
            Content::Value(value) => value,
            Content::EachKey(..) => panic!("{text}: each key"),
        }
    }

    #[test]
    fn a_key_a_value_with_references_or_each_key() {
        let reference = |text: &str| reference::parse(text.as_bytes()).expect("a value");
        assert_eq!(parse("/run/a=secret/app#k").expect("a file").place, PathBuf::from("/run/a"));
        assert_eq!(value("/run/a=secret/app#k"), reference("vault:secret/app#k"));
        assert_eq!(value("/run/a=secret/app#k#3"), reference("vault:secret/app#k#3"));
        assert_eq!(value("/a b=vault:a/b#k:-x=y"), reference("vault:a/b#k:-x=y"));
        assert_eq!(value("/a=u=${vault:a/b#k}\n"), reference("u=${vault:a/b#k}\n"));
        let all = parse("/run/secrets/*=secret/app##2").expect("a directory");
        assert_eq!(all.place, PathBuf::from("/run/secrets"));
        assert_eq!(
            all.content,
            Content::EachKey(Path::parse("secret/app").expect("a path"), Some(2))
        );
    }

    #[test]
    fn what_is_no_file_says_what_one_is() {
        for text in [
            "/run/a",
            "run/a=secret/app#k",
            "/run/../etc/a=secret/app#k",
            "/run/=secret/app#k",
            "/run/a=secret/app",
            "/run/a=N=secret/app#k",
            "/run/*=secret/app#k",
            "/run/*=P_*=secret/app",
            "/run/a=",
            "/run/a=vault:secret/app",
            "",
        ] {
            assert_eq!(parse(text).expect_err(text).code.status(), 78, "{text}");
        }
    }
}
