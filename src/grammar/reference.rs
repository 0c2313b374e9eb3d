//! The grammar of references in the values of variables (pure).
//!
//! ```text
//! value      = reference [ ":-" default ] | ciphertext | text with inline references | literal
//! reference  = [">>"] ("vault" | "bao") ["-file"] ["?"] ":" path "#" key [ "#" version | "#" json-body ]
//! key        = name | "/" JSON pointer | text with "${" action "}" in it
//! inline     = "${" ( reference [ ":-" default ] | ciphertext ) "}"
//! ciphertext = "vault:v" digits ":" base64
//! ```
//!
//! `vault://…` and `bao://…` are literals, since a Spring setting looks like that.
//!
//! Every value has exactly one reading. A body is one JSON object, so a brace or a `#` in its
//! strings ends nothing. Inline, a key ends at the first `}` that does not end an action, and a
//! default ends at the first `}` that does not close a `{` of its own.

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::error::Error;
use crate::grammar::path::Path;
use crate::grammar::selector::Selector;
use crate::grammar::template::{self, Template};
use crate::secret::Secret;

/// What a variable's value means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// It reaches the application unchanged.
    Literal,
    /// It is taken from Vault.
    Reference(Reference),
    /// It is decrypted by Vault's transit engine.
    Ciphertext(Secret),
    /// Text that contains at least one reference.
    Text(Vec<Piece>),
}

/// A piece of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// It stays as it is.
    Text(Secret),
    /// It is taken from Vault.
    Reference(Reference),
    /// It is decrypted by Vault's transit engine.
    Ciphertext(Secret),
}

/// A value to take from Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The path of the secret.
    pub path: Path,
    /// How to ask for it.
    pub ask: Ask,
    /// What to take of it.
    pub selector: Selector,
    /// What the variable gets.
    pub form: Form,
    /// `vault?:`: leave the variable out if path, version or key is missing.
    pub optional: bool,
    /// What to use instead if path, version or key is missing.
    pub default: Option<Secret>,
}

/// What a variable gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The value itself.
    #[default]
    Value,
    /// The path of a file that contains the value: `vault-file:`.
    File,
}

/// How to ask for a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read this version, from 1, or the latest if `None`.
    Read(Option<u64>),
    /// Write this body.
    Write(Body),
}

/// The body of a write: a JSON object. It may hold secrets, so its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Map<String, Json>);

/// Parses a variable's value.
///
/// # Errors
/// 78 for a value that begins as a reference and does not parse. The message does not repeat the
/// value.
pub fn parse(value: &[u8]) -> Result<Value, Error> {
    if let Some(ciphertext) = ciphertext(value) {
        return Ok(Value::Ciphertext(ciphertext));
    }
    match start(value) {
        Some(start) => whole(start).map(Value::Reference),
        None => mistaken(value).map_or_else(|| text(value), Err),
    }
}

/// Returns an error for a value that would be a reference without the quotes or blanks around it,
/// or in lower case: a mistake in the file or shell that it comes from.
fn mistaken(value: &[u8]) -> Option<Error> {
    let is_around = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`');
    let first = value.iter().position(|byte| !is_around(byte))?;
    let end = value.iter().rposition(|byte| !is_around(byte))? + 1;
    let bare = value.get(first..end)?;
    let colon = bare.iter().position(|byte| *byte == b':')?;
    let lower = [&bare.get(..colon)?.to_ascii_lowercase(), bare.get(colon..)?].concat();
    // A sentence is not a reference: `Vault: see #4`.
    let has_path = bare.get(colon + 1).is_some_and(|byte| !byte.is_ascii_whitespace());
    let is_reference = || start(&lower).is_some_and(|at| whole(at).is_ok());
    let is_one = has_path && (ciphertext(&lower).is_some() || is_reference());
    let around = value.get(..first)?;
    let fault = match around.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(_) => "with quotes around it",
        None if around.is_empty() => "in capital letters",
        None => "with a blank before it",
    };
    is_one.then(|| {
        Error::config(format!("a reference {fault}, which would reach the application as text"))
            .hint(format!("write it as vault:path#key, {LITERAL}"))
    })
}

/// Returns why a value looks like a reference although it is not one, for a warning.
pub(crate) fn suspicion(value: &[u8]) -> Option<&'static str> {
    const URL: &str =
        "begins like a URL, so it is text and no reference: without the slashes it would be one";
    const UNBRACED: &str =
        "has a reference without braces in it, which stays as it is: write ${vault:path#key}";
    let is_url = |prefix: &&[u8]| value.starts_with(prefix) && value.contains(&b'#');
    if [&b"vault://"[..], b"bao://"].iter().any(is_url) {
        return Some(URL);
    }
    let text = |piece: Piece| if let Piece::Text(text) = piece { Some(text) } else { None };
    let texts = match parse(value) {
        Ok(Value::Literal) => vec![Secret::from(value.to_vec())],
        Ok(Value::Text(pieces)) => pieces.into_iter().filter_map(text).collect(),
        _ => return None,
    };
    texts.iter().any(|text| has_unbraced(text.expose())).then_some(UNBRACED)
}

/// Returns whether a text contains `vault:path#key` as a word of its own.
fn has_unbraced(text: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let is_path = |byte: &u8| is_word(byte) || *byte == b'/';
    // After a slash it is the host of a URL.
    let begins = |at: usize| !at.checked_sub(1).and_then(|at| text.get(at)).is_some_and(is_path);
    (0..text.len()).filter(|at| begins(*at)).any(|at| {
        let rest = text.get(at..).unwrap_or_default();
        let path = rest.strip_prefix(b"vault:").or_else(|| rest.strip_prefix(b"bao:"));
        path.filter(|path| !path.starts_with(b"//")).is_some_and(|path| {
            let end = path.iter().position(|byte| !is_path(byte)).unwrap_or(path.len());
            end > 0
                && path.get(end) == Some(&b'#')
                && path.get(end + 1).is_some_and(|byte| is_word(byte) || *byte == b'/')
        })
    })
}

/// Returns whether the whole value is a reference or a ciphertext, even a malformed one.
pub fn is_reference(value: &[u8]) -> bool {
    start(value).is_some()
}

/// Returns whether a value is or contains a reference, even a malformed one.
pub fn has_reference(value: &[u8]) -> bool {
    is_reference(value) || next_inline(value).is_some()
}

/// Returns whether a value asks for the login's token: `vault:login`.
pub fn is_login(value: &[u8]) -> bool {
    matches!(value.trim_ascii(), b"vault:login" | b"bao:login")
}

impl Body {
    /// Returns a body with this content.
    pub fn new(object: Map<String, Json>) -> Body {
        Body(object)
    }

    /// Returns the body as compact JSON.
    pub fn json(&self) -> Secret {
        Secret::from(serde_json::to_string(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The beginning of a reference, and the rest after its colon.
#[derive(Clone, Copy)]
struct Start<'a> {
    write: bool,
    form: Form,
    optional: bool,
    rest: &'a [u8],
}

/// Where a reference is, which decides where it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Whole,
    Inline,
}

fn start(value: &[u8]) -> Option<Start<'_>> {
    let (write, rest) = strip(value, b">>");
    let rest = rest.strip_prefix(b"vault").or_else(|| rest.strip_prefix(b"bao"))?;
    let (is_file, rest) = strip(rest, b"-file");
    let form = if is_file { Form::File } else { Form::Value };
    let (optional, rest) = strip(rest, b"?");
    let rest = rest.strip_prefix(b":")?;
    let is_url = !write && !is_file && !optional && rest.starts_with(b"//");
    (!is_url).then_some(Start { write, form, optional, rest })
}

fn strip<'a>(value: &'a [u8], prefix: &[u8]) -> (bool, &'a [u8]) {
    value.strip_prefix(prefix).map_or((false, value), |rest| (true, rest))
}

/// Parses `vault:v` digits `:` base64. `v0` is not a version of a key. White space at the end is
/// ignored.
fn ciphertext(value: &[u8]) -> Option<Secret> {
    let text = std::str::from_utf8(value).ok()?.trim_ascii_end();
    let (version, data) = text.strip_prefix("vault:v")?.split_once(':')?;
    let digits_only = version.bytes().all(|byte| byte.is_ascii_digit());
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let is_ciphertext = digits_only
        && version.parse::<u64>().is_ok_and(|version| version > 0)
        && !data.is_empty()
        && data.chars().all(is_base64);
    is_ciphertext.then(|| Secret::from(text))
}

/// Parses a value as text with references in it.
fn text(value: &[u8]) -> Result<Value, Error> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some((before, start)) = next_inline(rest) {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_vec().into()));
        }
        let behind_brace = rest.get(before.len() + "${".len()..).unwrap_or_default();
        let (piece, after) = match inline_ciphertext(behind_brace) {
            Some((ciphertext, after)) => (Piece::Ciphertext(ciphertext), after),
            None => inline(start).map(|(found, after)| (Piece::Reference(found), after))?,
        };
        pieces.push(piece);
        rest = after;
    }
    if pieces.is_empty() {
        return Ok(Value::Literal);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_vec().into()));
    }
    Ok(Value::Text(pieces))
}

/// Returns the text before the next inline reference, and the beginning of that reference.
fn next_inline(value: &[u8]) -> Option<(&[u8], Start<'_>)> {
    let mut starts = value.windows(2).enumerate().filter(|(_, two)| *two == b"${");
    starts.find_map(|(at, _)| Some((value.get(..at)?, start(value.get(at + 2..)?)?)))
}

/// Returns the ciphertext before the `}`, and what follows the `}`.
fn inline_ciphertext(value: &[u8]) -> Option<(Secret, &[u8])> {
    let end = value.iter().position(|byte| *byte == b'}')?;
    Some((ciphertext(value.get(..end)?)?, value.get(end + 1..)?))
}

fn whole(start: Start<'_>) -> Result<Reference, Error> {
    let text = std::str::from_utf8(start.rest)
        .map_err(|_| Error::config("a reference that is not UTF-8"))?;
    let (reference, rest) = reference(start, text, Place::Whole)?;
    if rest.is_empty() { Ok(reference) } else { Err(behind()) }
}

/// Parses a reference up to its `}`. Returns what follows the `}` too.
fn inline(start: Start<'_>) -> Result<(Reference, &[u8]), Error> {
    // The text after the reference may contain bytes that are not UTF-8, but the reference may not.
    let text = match std::str::from_utf8(start.rest) {
        Ok(text) => text,
        Err(error) => start
            .rest
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok())
            .unwrap_or_default(),
    };
    let (reference, rest) = reference(start, text, Place::Inline)?;
    let rest = rest
        .strip_prefix('}')
        .ok_or_else(|| if rest.is_empty() { unclosed() } else { behind() })?;
    let after = start.rest.get(text.len() - rest.len()..).unwrap_or_default();
    Ok((reference, after))
}

/// Parses a reference from after its colon on. Returns what follows it too.
fn reference<'a>(
    start: Start<'_>,
    text: &'a str,
    place: Place,
) -> Result<(Reference, &'a str), Error> {
    let (path, rest) = path(text, place)?;
    let (selector, rest) = selector(rest, place)?;
    let (ask, rest) = if start.write { write(rest)? } else { read(rest, place)? };
    let (default, rest) = match rest.strip_prefix(":-") {
        Some(rest) => default(rest, place).map(|(default, rest)| (Some(default), rest))?,
        None => (None, rest),
    };
    let Start { form, optional, .. } = start;
    Ok((Reference { path, ask, selector, form, optional, default }, rest))
}

fn path(text: &str, place: Place) -> Result<(Path, &str), Error> {
    let end = text.find(|c| c == '#' || (c == '}' && place == Place::Inline));
    match end.and_then(|end| text.split_at_checked(end)) {
        Some((path, rest)) if rest.starts_with('#') => {
            Ok((Path::parse(path)?, rest.get(1..).unwrap_or_default()))
        }
        None if place == Place::Inline => Err(unclosed()),
        _ => Err(no_key()),
    }
}

fn selector(text: &str, place: Place) -> Result<(Selector, &str), Error> {
    let (mut end, mut is_template) = (0, false);
    loop {
        let rest = text.get(end..).unwrap_or_default();
        end += key_end(rest, place);
        let Some(action) = text.get(end..).and_then(|rest| rest.strip_prefix("${")) else { break };
        let (_, behind) = template::split_action(action).ok_or_else(unclosed)?;
        (end, is_template) = (text.len() - behind.len(), true);
    }
    let (key, rest) = split(text, end);
    match key {
        "" => Err(no_key()),
        _ if is_template => Ok((Selector::Template(Template::parse(key)?), rest)),
        _ => Ok((Selector::Key(key.to_owned()), rest)),
    }
}

/// Returns where a key or a version ends, or an action of a template begins. Nothing after that is
/// examined, since a text may contain many references.
fn key_end(text: &str, place: Place) -> usize {
    let is_end = |(at, c): &(usize, char)| match c {
        '#' => true,
        '}' => place == Place::Inline,
        '$' => text.get(*at..).is_some_and(|rest| rest.starts_with("${")),
        ':' => text.get(*at..).is_some_and(|rest| rest.starts_with(":-")),
        _ => false,
    };
    text.char_indices().find(is_end).map_or(text.len(), |(at, _)| at)
}

fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn read(text: &str, place: Place) -> Result<(Ask, &str), Error> {
    let Some(rest) = text.strip_prefix('#') else { return Ok((Ask::Read(None), text)) };
    if rest.trim_start().starts_with('{') {
        return Err(Error::config("a reference with a body that is no write")
            .hint("a write begins with >>: >>vault:path#key#{…}"));
    }
    let (number, rest) = split(rest, key_end(rest, place));
    Ok((Ask::Read(version(number)?), rest))
}

/// Parses the body of a write: one JSON object, or `{}` if there is none.
fn write(text: &str) -> Result<(Ask, &str), Error> {
    let Some(json) = text.strip_prefix('#') else {
        return Ok((Ask::Write(Body::new(Map::new())), text));
    };
    let mut objects = serde_json::Deserializer::from_str(json).into_iter::<Map<String, Json>>();
    let object = objects.next().and_then(Result::ok).ok_or_else(no_body)?;
    let rest = json.get(objects.byte_offset()..).unwrap_or_default();
    Ok((Ask::Write(Body::new(object)), rest.trim_ascii_start()))
}

fn default(text: &str, place: Place) -> Result<(Secret, &str), Error> {
    let end =
        if place == Place::Whole { text.len() } else { closing(text).ok_or_else(unclosed)? };
    let (default, rest) = split(text, end);
    if has_reference(default.as_bytes()) {
        return Err(Error::config("a default that is a reference or has one in it")
            .hint("a default is text"));
    }
    Ok((Secret::from(default), rest))
}

/// Returns the position of the first `}` that does not close a `{` in the text itself.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.bytes().position(|byte| {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return true,
            b'}' => open -= 1,
            _ => {}
        }
        false
    })
}

/// Parses the version of a KV v2 secret. Returns `None` for an empty text, `0` and `-1`, which mean
/// the latest, as in vault-env.
///
/// # Errors
/// 78 for anything but a number from 1.
pub(crate) fn version(text: &str) -> Result<Option<u64>, Error> {
    if matches!(text, "" | "0" | "-1") {
        return Ok(None);
    }
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits_only && *number > 0);
    number.map(Some).ok_or_else(|| {
        Error::config("the version of a secret is a number from 1")
            .hint("leave #version out for the latest")
    })
}

const LITERAL: &str = "or name the variable in --literal if it is no reference";

fn no_key() -> Error {
    Error::config("a reference without a key").hint(format!("write vault:path#key, {LITERAL}"))
}

fn unclosed() -> Error {
    Error::config("a reference without its closing }")
        .hint(format!("write ${{vault:path#key}}, {LITERAL}"))
}

fn behind() -> Error {
    Error::config("a reference with something behind its end")
        .hint(format!("only :-default can follow, {LITERAL}"))
}

fn no_body() -> Error {
    Error::config("a write whose body is no JSON object")
        .hint("write >>vault:path#key#{\"name\":\"value\"}")
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

    fn parts(value: &str) -> (String, String, Ask, bool, Option<String>) {
        let Reference { path, ask, selector, optional, default, .. } = found(value);
        let default = default.map(|default| default.expose_text().expect("UTF-8").to_owned());
        (path.to_string(), selector.to_string(), ask, optional, default)
    }

    fn body(json: &str) -> Ask {
        Ask::Write(Body::new(serde_json::from_str(json).expect("an object")))
    }

    /// Returns the text with `[path|key|ask|default]` for each reference in it.
    fn pieces(value: &str) -> String {
        let Ok(Value::Text(pieces)) = parse(value.as_bytes()) else {
            panic!("{value}: {:?}", parse(value.as_bytes()))
        };
        let shown = |piece: &Piece| match piece {
            Piece::Text(text) => text.expose_text().expect("UTF-8").to_owned(),
            Piece::Ciphertext(text) => format!("<{}>", text.expose_text().expect("UTF-8")),
            Piece::Reference(Reference { path, ask, selector, form, optional, default }) => {
                let file = if *form == Form::File { "file " } else { "" };
                let ask = match ask {
                    Ask::Read(version) => {
                        version.map(|version| version.to_string()).unwrap_or_default()
                    }
                    Ask::Write(body) => body.json().expose_text().expect("UTF-8").to_owned(),
                };
                let optional = if *optional { "?" } else { "" };
                let default =
                    default.as_ref().map_or("", |default| default.expose_text().expect("UTF-8"));
                format!("[{file}{optional}{path}|{selector}|{ask}|{default}]")
            }
        };
        pieces.iter().map(shown).collect()
    }

    #[test]
    fn references() {
        let text = |text: &str| Some(text.to_owned());
        for (value, path, key, ask, optional, default) in [
            ("vault:secret/data/a#k", "secret/data/a", "k", Ask::Read(None), false, None),
            ("bao:secret/a#k", "secret/a", "k", Ask::Read(None), false, None),
            ("vault:/secret/a#k", "secret/a", "k", Ask::Read(None), false, None),
            ("vault?:a/b#k", "a/b", "k", Ask::Read(None), true, None),
            ("vault:a/b#k#", "a/b", "k", Ask::Read(None), false, None),
            ("vault:a/b#k#0", "a/b", "k", Ask::Read(None), false, None),
            ("vault:a/b#k#-1:-d", "a/b", "k", Ask::Read(None), false, text("d")),
            ("vault:a//b/#k", "a/b", "k", Ask::Read(None), false, None),
            ("bao?:a/b#k#7", "a/b", "k", Ask::Read(Some(7)), true, None),
            ("vault:a/b#k#12", "a/b", "k", Ask::Read(Some(12)), false, None),
            ("vault:a/b#k:-d", "a/b", "k", Ask::Read(None), false, text("d")),
            ("vault:a/b#k:-", "a/b", "k", Ask::Read(None), false, text("")),
            ("vault:a/b#k#2:-x#y:-z", "a/b", "k", Ask::Read(Some(2)), false, text("x#y:-z")),
            ("vault:a/b#/c/0/d", "a/b", "/c/0/d", Ask::Read(None), false, None),
            ("vault:a/b#key with: spaces", "a/b", "key with: spaces", Ask::Read(None), false, None),
            ("vault:a:-b/c#k", "a:-b/c", "k", Ask::Read(None), false, None),
            ("vault:a b/%2e?x=1#k", "a b/%2e?x=1", "k", Ask::Read(None), false, None),
            ("vault:v1/a#k", "v1/a", "k", Ask::Read(None), false, None),
            ("vault:v1:a/b#k", "v1:a/b", "k", Ask::Read(None), false, None),
            ("vault:a/b#k}", "a/b", "k}", Ask::Read(None), false, None),
            ("vault:a}/b{#k", "a}/b{", "k", Ask::Read(None), false, None),
            ("vault:a/b#${.k | b64dec}", "a/b", "${(b64dec .k)}", Ask::Read(None), false, None),
            ("vault:a/b#x ${.k}${.l}#2", "a/b", "…${.k}${.l}", Ask::Read(Some(2)), false, None),
            (
                r#"vault:a#${index . "}#:-"}:-d"#,
                "a",
                r#"${(index . "}#:-")}"#,
                Ask::Read(None),
                false,
                text("d"),
            ),
            (
                "vault:a/b#${ .|toJson }#3:-{}",
                "a/b",
                "${(toJson .)}",
                Ask::Read(Some(3)),
                false,
                text("{}"),
            ),
            (">>vault:a/b#k", "a/b", "k", body("{}"), false, None),
            (">>bao?:a/b#k#{}", "a/b", "k", body("{}"), true, None),
            (
                r#">>vault:a/b#k#{"x":"}:-#${","y":{"z":[1.0]}}:-d"#,
                "a/b",
                "k",
                body(r#"{"y":{"z":[1.0]},"x":"}:-#${"}"#),
                false,
                text("d"),
            ),
            (
                r#">>vault:t/decrypt/k#${.plaintext | b64dec}#{"ciphertext":"vault:v1:C"} "#,
                "t/decrypt/k",
                "${(b64dec .plaintext)}",
                body(r#"{"ciphertext":"vault:v1:C"}"#),
                false,
                None,
            ),
            ("vault:a/b#k:-${HOME}", "a/b", "k", Ask::Read(None), false, text("${HOME}")),
        ] {
            assert_eq!(parts(value), (path.into(), key.into(), ask, optional, default), "{value}");
        }
    }

    #[test]
    fn a_file_is_asked_for_by_the_scheme_and_all_else_stays() {
        for (file, value) in [
            ("vault-file:a/b#k", "vault:a/b#k"),
            ("bao-file?:a/b#k#3:-d", "bao?:a/b#k#3:-d"),
            ("vault-file:a/b#${.k | b64dec}", "vault:a/b#${.k | b64dec}"),
            (r#">>vault-file:p/issue/r#k#{"x":1}"#, r#">>vault:p/issue/r#k#{"x":1}"#),
            ("vault-file:v1:a#k", "vault:v1:a#k"),
        ] {
            assert_eq!(found(value).form, Form::Value, "{value}");
            assert_eq!(found(file), Reference { form: Form::File, ..found(value) }, "{file}");
        }
        assert_eq!(pieces("-Dks=${vault-file?:a/b#k:-d}!"), "-Dks=[file ?a/b|k||d]!");
        for literal in ["vault-file", "vault-files:a/b#k", "vault?-file:a/b#k", "file:a/b#k"] {
            assert_eq!(parse(literal.as_bytes()), Ok(Value::Literal), "{literal}");
        }
    }

    #[test]
    fn literals() {
        for value in [
            "",
            "a",
            "vault",
            "vaults:a#b",
            "Vault: a#b? no, a title",
            "VAULT:",
            "\"vault:\"",
            " vault://a#b",
            "notvault:a#b",
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
            "vault:s3cret#k#x",
            "vault:s3cret#k#-2",
            "vault:s3cret#k#00",
            "vault:s3cret#k# 1",
            "vault:s3cret#k#+1",
            "vault:s3cret#k#1#2",
            "vault:a/../s3cret#k",
            "vault:v0:s3cret",
            "vault?://s3cret",
            "vault:s3cret:-default",
            "vault:s3cret#k#99999999999999999999",
            "vault:s3cret#k#{\"a\":1}",
            ">>vault:s3cret",
            ">>vault:s3cret#k#",
            ">>vault:s3cret#k#2",
            ">>vault:s3cret#k#{",
            ">>vault:s3cret#k#[1]",
            ">>vault:s3cret#k#{}}",
            ">>vault:s3cret#k#{}{}",
            ">>vault:s3cret#k#{}#1",
            "vault:s3cret#${.a",
            "vault:s3cret#${.a | env \"s3cret\"}",
            "vault:s3cret#s3cret ${.a} ${",
            "vault:s3cret#${.a \"s3cret}",
            "vault:s3cret#k:-vault:s3cret#l",
            "vault:s3cret#k:-x${vault:s3cret#l}",
            "${vault:s3cret",
            "${vault:s3cret}",
            "${vault:s3cret} # }",
            "${vault:s3cret#k",
            "${vault:s3cret#}",
            "${vault:s3cret#k#2",
            "${vault:v1:s3cret-not-base64}",
            "${vault:v1:s3cret",
            "${bao:v1:s3cret}",
            "${vault:s3cret#k:-{}",
            "${vault:s3cret#k:-${vault:s3cret#l}}",
            "${vault:s3cret#${.a}",
            "${>>vault:s3cret#k#{\"a\":1}",
            "${>>vault:s3cret#k#{\"a\":1}x}",
            "a${vault:s3cret#k}b${vault:s3cret}",
            "vault:v1:s3cret-not-base64",
            "bao:v1:s3cret",
        ] {
            let error = parse(value.as_bytes()).expect_err(value);
            assert_eq!(error.code.status(), 78, "{value}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        for value in [&b"vault:\xff#k"[..], b"${vault:a\xff#k}", b"${vault:a#k:-\xff}"] {
            assert_eq!(parse(value).expect_err("an error").code.status(), 78);
        }
    }

    #[test]
    fn a_reference_with_something_around_it_or_in_capitals_is_an_error() {
        for (value, fault) in [
            ("\"vault:s3cret/b#k\"", "quotes"),
            ("'vault?:s3cret/b#k#2:-d'", "quotes"),
            (" \"vault:s3cret#k\"\n", "quotes"),
            ("`bao:s3cret#k`", "quotes"),
            (" vault:s3cret#k", "a blank"),
            ("\t>>vault:s3cret#k#{}", "a blank"),
            ("\n vault:v1:aGVsbG8= ", "a blank"),
            ("VAULT:s3cret#k", "capital"),
            ("Vault:s3cret#k", "capital"),
            (">>BAO?:s3cret#k", "capital"),
            ("Vault:v1:aGVsbG8=", "capital"),
        ] {
            let error = parse(value.as_bytes()).expect_err(value);
            assert!(error.message.contains(fault), "{value}: {error:?}");
            assert!(error.code.status() == 78 && !format!("{error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_looks_like_a_reference_and_is_none_is_suspicious() {
        for (value, words) in [
            ("vault://secret/app#k", Some("begins like a URL")),
            ("bao://x#y", Some("begins like a URL")),
            ("postgres://vault:p#k:vault:p#k@h", Some("without braces")),
            ("x vault:secret/data/app#k", Some("without braces")),
            ("[\"bao:a-b/c.d#/e/0\"]", Some("without braces")),
            ("${vault:a#b} and vault:a#b", Some("without braces")),
            ("vault://secret/app", None),
            ("${vault:a#b}", None),
            ("${vault:a#b:-vault: a#b}", None),
            ("my-vault:a#b", None),
            ("notvault:a#b", None),
            ("the vault: see #12", None),
            ("see vault:#1", None),
            ("a vault:8200/ui#", None),
            ("http://vault:8200/ui/#x", None),
            ("tcp vault://a#b", None),
            ("vault:a#b", None),
            ("", None),
        ] {
            let found = suspicion(value.as_bytes());
            assert_eq!(
                found.map(|found| words.is_some_and(|words| found.contains(words))),
                words.map(|_| true),
                "{value}: {found:?}"
            );
        }
    }

    #[test]
    fn references_in_a_text_have_one_reading() {
        for (value, expected) in [
            ("${vault:a/b#k}", "[a/b|k||]"),
            ("a${vault:a/b#k}c", "a[a/b|k||]c"),
            (r#"{"p":${vault:kv/app#p}}"#, r#"{"p":[kv/app|p||]}"#),
            (
                r#"{"p":"${vault:kv/app#p#2}","q":{"r":${bao?:/kv/app#q:-null}}}"#,
                r#"{"p":"[kv/app|p|2|]","q":{"r":[?kv/app|q||null]}}"#,
            ),
            ("${vault:a#b}${vault:a#c}", "[a|b||][a|c||]"),
            ("$${vault:a#b}$", "$[a|b||]$"),
            ("${HOME}${vault:a#b}${vault://x}", "${HOME}[a|b||]${vault://x}"),
            ("${${vault:a#b}}", "${[a|b||]}"),
            ("${vault:a#b:-}|${vault:a#c:-{\"x\":{}}}}", "[a|b||]|[a|c||{\"x\":{}}]}"),
            ("${vault:a#b:-:-#2}", "[a|b||:-#2]"),
            ("${vault:a{b#c{d}", "[a{b|c{d||]"),
            (
                r#"x${>>vault:pki/issue/r#certificate#{"a": {"b":":-#"} ,"common_name":"}"}}}"#,
                r#"x[pki/issue/r|certificate|{"a":{"b":":-#"},"common_name":"}"}|]}"#,
            ),
            (
                r#"${>>vault:t/decrypt/k#${.plaintext | b64dec}#{"ciphertext":"C"}:-none}"#,
                r#"[t/decrypt/k|${(b64dec .plaintext)}|{"ciphertext":"C"}|none]"#,
            ),
            ("${>>vault:p/i#c}__${>>vault:p/i#c#{}}", "[p/i|c|{}|]__[p/i|c|{}|]"),
            (
                "${vault:a#${.k | urlquery}}@${vault:a#${.k}#3}",
                "[a|${(urlquery .k)}||]@[a|${.k}|3|]",
            ),
            (
                r##"${vault:a#u:${.u} p:${replace "}" "#" .p}}@h"##,
                r#"[a|…${.u}…${(replace "…" "…" .p)}||]@h"#,
            ),
            ("vault://host/${vault:a#b}", "vault://host/[a|b||]"),
            ("${vault:v1:a/b#k}", "[v1:a/b|k||]"),
            ("a${vault:v1:aGVsbG8=}b", "a<vault:v1:aGVsbG8=>b"),
            (
                "${vault:v2:aA==}${vault:a#b}}${vault:v1:bA==}",
                "<vault:v2:aA==>[a|b||]}<vault:v1:bA==>",
            ),
            ("${vault:a#b#0}${vault:a#b#}${vault:/a/#b#-1:-d}", "[a|b||][a|b||][a|b||d]"),
            ("${vault:a#/b/0}", "[a|/b/0||]"),
            ("\n${vault:a#b}\0", "\n[a|b||]\0"),
        ] {
            assert_eq!(pieces(value), expected, "{value}");
        }
    }

    #[test]
    fn a_text_of_as_many_references_as_a_variable_can_hold() {
        let text = "${vault:a#b}".repeat((128 << 10) / 12);
        let Ok(Value::Text(pieces)) = parse(text.as_bytes()) else { panic!("no text") };
        assert_eq!(pieces.len(), (128 << 10) / 12);
    }

    #[test]
    fn what_is_not_utf8_stays_as_it_is_around_a_reference() {
        let Ok(Value::Text(pieces)) = parse(b"\xff${vault:a#b}\xfe}") else { panic!("no text") };
        assert_eq!(
            (&pieces[0], &pieces[2]),
            (&Piece::Text(vec![0xff].into()), &Piece::Text(b"\xfe}".to_vec().into()))
        );
    }

    // The table of peer case A17.
    #[test]
    fn ciphertexts() {
        for (value, is_one) in [
            ("vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==", true),
            ("vault:v100:aGVsbG8=", true),
            ("vault:v1:aGVsbG8=\n", true),
            ("vault:", false),
            ("vault:v0", false),
            ("vault:v0:", false),
            ("vault:v0:aGVsbG8=", false),
            ("vault:v+1:aGVsbG8=", false),
            ("vault:v1:a-b", false),
            ("bao:v1:aGVsbG8=", false),
            ("vault?:v1:aGVsbG8=", false),
            ("vault:secret/data/accounts/aws#AWS_SECRET_ACCESS_KEY", false),
            ("vault:secret/data/accounts/aws#AWS_SECRET_ACCESS_KEY#1", false),
        ] {
            assert_eq!(
                matches!(parse(value.as_bytes()), Ok(Value::Ciphertext(_))),
                is_one,
                "{value}"
            );
        }
    }
}
