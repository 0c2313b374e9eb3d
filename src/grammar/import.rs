//! The grammar of `--secret` (pure): `[NAME=]path[#key[#version]]`, `path##version`,
//! `PREFIX_*=path`.

use crate::error::Error;
use crate::grammar::path::Path;
use crate::grammar::reference;
use crate::grammar::variable::is_name;

/// What to import in addition to the references in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The secret.
    pub path: Path,
    /// Its version, or the latest if `None`.
    pub version: Option<u64>,
    /// Which of its keys to import.
    pub keys: Keys,
}

/// Which keys to import, and under which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Every key, with this prefix.
    All {
        /// May be empty.
        prefix: String,
    },
    /// One key under its own name, with this prefix.
    One {
        /// The key.
        key: String,
        /// May be empty.
        prefix: String,
    },
    /// One key as the variable that the user named.
    Named {
        /// The key.
        key: String,
        /// The variable.
        name: String,
    },
}

/// The forms of an import, for hints.
const FORMS: &str = "an import is [NAME=]path[#key[#version]], path##version or 'PREFIX_*=path'";

/// Parses one import.
///
/// # Errors
/// 78 for a wrong path, key or version, for a name without a key, and for a reference.
pub fn parse(text: &str) -> Result<Import, Error> {
    if text.starts_with('=') {
        return Err(Error::config("no name before the =").hint(FORMS));
    }
    let (name, rest) = split_name(text);
    no_reference(name, rest)?;
    let (path, selector) = match rest.split_once('#') {
        Some((path, selector)) => (path, Some(selector)),
        None => (rest, None),
    };
    let (key, version) = selector.map_or(Ok((None, None)), self::selector)?;
    let keys = keys(name, key)?;
    Ok(Import { path: Path::parse(path)?, version, keys })
}

/// Checks that an import names a path, without the marks of a reference.
fn no_reference(name: Option<&str>, rest: &str) -> Result<(), Error> {
    let starts = [">>vault:", ">>bao:", "vault:", "bao:", "vault?:", "bao?:"];
    let Some(start) = starts.into_iter().find(|start| rest.starts_with(start)) else {
        return Ok(());
    };
    let name = name.map(|name| format!("{name}=")).unwrap_or_default();
    Err(Error::config(format!("{start} in an import, which is no reference")).hint(format!(
        "write {name}path#key, without {start}; a reference is the value of a variable"
    )))
}

/// Parses an import in vault-env's form, `path[#version]`: every key under its own name.
///
/// # Errors
/// 78 for a wrong path or version.
pub(crate) fn whole(text: &str) -> Result<Import, Error> {
    let (path, version) = match text.split_once('#') {
        Some((path, version)) => (path, reference::version(version)?),
        None => (text, None),
    };
    Ok(Import { path: Path::parse(path)?, version, keys: Keys::All { prefix: String::new() } })
}

/// Splits off the `NAME` before the first `=`, if it looks like a name: a path may contain an `=`
/// too.
fn split_name(text: &str) -> (Option<&str>, &str) {
    match text.split_once('=') {
        Some((name, rest)) if is_name(name.strip_suffix('*').unwrap_or(name)) || name == "*" => {
            (Some(name), rest)
        }
        _ => (None, text),
    }
}

/// Parses what follows the first `#`: `key`, `key#version` or, for the whole secret, `#version`. A
/// key may contain a `#` if what follows the last `#` is not a version.
fn selector(text: &str) -> Result<(Option<String>, Option<u64>), Error> {
    let wrong = |what: &str| Err(Error::config(what.to_owned()).hint(FORMS));
    if text.contains("${") {
        return wrong("a template as the key of an import is not supported");
    }
    if let Some(version) = text.strip_prefix('#') {
        let version = reference::version(version).map_err(|error| error.hint(FORMS))?;
        return Ok((None, version));
    }
    let (key, version) = match text.rsplit_once('#') {
        Some((key, version)) => match reference::version(version) {
            Ok(version) => (key, version),
            // It was meant as a version.
            Err(error) if version.parse::<i128>().is_ok() => return Err(error.hint(FORMS)),
            Err(_) => (text, None),
        },
        None => (text, None),
    };
    if key.is_empty() {
        return wrong("no key behind the #");
    }
    Ok((Some(key.to_owned()), version))
}

fn keys(name: Option<&str>, key: Option<String>) -> Result<Keys, Error> {
    let prefix = name.map_or(Some(""), |name| name.strip_suffix('*')).map(str::to_owned);
    match (prefix, name, key) {
        (Some(prefix), _, None) => Ok(Keys::All { prefix }),
        (Some(prefix), _, Some(key)) => Ok(Keys::One { key, prefix }),
        (None, Some(name), Some(key)) => Ok(Keys::Named { key, name: name.to_owned() }),
        (None, name, None) => {
            let name = name.unwrap_or_default();
            let hint = format!(
                "write {name}=path#key for one key, or '{name}_*=path' for all of them with a \
                 prefix"
            );
            Err(Error::config(format!("{name}= names one variable, but no key of the secret"))
                .hint(hint))
        }
        (None, None, Some(_)) => Err(Error::config("an import without a name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(text: &str) -> (String, Option<u64>, Keys) {
        let Import { path, version, keys } = parse(text).expect(text);
        (path.to_string(), version, keys)
    }

    #[test]
    fn every_form() {
        let all = |prefix: &str| Keys::All { prefix: prefix.into() };
        let one = |key: &str, prefix: &str| Keys::One { key: key.into(), prefix: prefix.into() };
        let named = |key: &str, name: &str| Keys::Named { key: key.into(), name: name.into() };
        for (text, path, version, keys) in [
            ("secret/app", "secret/app", None, all("")),
            ("secret/app##3", "secret/app", Some(3), all("")),
            ("secret/app#user", "secret/app", None, one("user", "")),
            ("secret/app/##-1", "secret/app", None, all("")),
            ("secret/app#user#", "secret/app", None, one("user", "")),
            ("secret/app#user#3", "secret/app", Some(3), one("user", "")),
            ("USER=secret/app#user", "secret/app", None, named("user", "USER")),
            ("USER=secret/app#/a/b#2", "secret/app", Some(2), named("/a/b", "USER")),
            ("DB_*=secret/db", "secret/db", None, all("DB_")),
            ("DB_*=secret/db##1", "secret/db", Some(1), all("DB_")),
            ("DB_*=secret/db#user", "secret/db", None, one("user", "DB_")),
            ("*=secret/db", "secret/db", None, all("")),
            ("secret/a=b#c", "secret/a=b", None, one("c", "")),
            ("secret/a#b=c", "secret/a", None, one("b=c", "")),
            ("/secret/a", "secret/a", None, all("")),
            ("my-var=path#k", "path", None, named("k", "my-var")),
            (
                "spring.datasource.password=path#k",
                "path",
                None,
                named("k", "spring.datasource.password"),
            ),
            ("app.*=path", "path", None, all("app.")),
            ("secret/a#b#c", "secret/a", None, one("b#c", "")),
            ("secret/a#b#c#2", "secret/a", Some(2), one("b#c", "")),
            ("secret/a#b#2#", "secret/a", None, one("b#2", "")),
        ] {
            assert_eq!(import(text), (path.into(), version, keys), "{text}");
        }
    }

    #[test]
    fn vault_envs_form_has_the_version_behind_the_path() {
        let import =
            |text| whole(text).map(|import| (import.path.to_string(), import.version)).ok();
        assert_eq!(import("secret/data/a"), Some(("secret/data/a".into(), None)));
        assert_eq!(import("secret/data/a#2"), Some(("secret/data/a".into(), Some(2))));
        for latest in ["secret/data/a#", "secret/data/a#0", "secret//data/a/#-1"] {
            assert_eq!(import(latest), Some(("secret/data/a".into(), None)), "{latest}");
        }
        for text in ["", "a#k", "a#1#2", "a/../b"] {
            assert_eq!(import(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_import_is_an_error() {
        for text in [
            "",
            "#k",
            "a#",
            "a##x",
            "=path",
            "=path#k",
            "vault:path#k",
            "bao:path#k",
            "vault?:path#k",
            ">>vault:path#k",
            "NAME=vault:path#k",
            "app.*=vault:path",
            "A=a",
            "A=",
            "A=#k",
            "a/../b",
            "1A=/x/../y",
            "a#${.k}",
        ] {
            assert_eq!(parse(text).expect_err(text).code.status(), 78, "{text}");
        }
    }
}
