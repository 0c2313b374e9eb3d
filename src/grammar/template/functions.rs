//! What a template can do to a value (pure): functions of Go's `text/template` and of sprig, with
//! the same names, arguments and results.
//!
//! Some differences are deliberate: a missing field makes the whole value missing instead of
//! `<no value>`, null is empty, lists and objects are compact JSON, numbers are accepted as text,
//! and a value that cannot be decoded is an error instead of turning into the error's message.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::grammar::path::percent_encoded;
use crate::grammar::selector;
use crate::secret::Secret;

/// A function that templates can call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    B64dec,
    B64enc,
    Default,
    FromJson,
    Indent,
    Index,
    Lower,
    Nindent,
    Nospace,
    Print,
    Printf,
    Quote,
    Replace,
    Squote,
    Title,
    ToJson,
    ToRawJson,
    Trim,
    TrimAll,
    TrimPrefix,
    TrimSuffix,
    Upper,
    Urlquery,
}

const ANY: usize = usize::MAX;

/// The names, the functions, and their minimum and maximum number of arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 23] = [
    ("b64dec", Function::B64dec, 1, 1),
    ("b64enc", Function::B64enc, 1, 1),
    ("default", Function::Default, 2, 2),
    ("fromJson", Function::FromJson, 1, 1),
    ("indent", Function::Indent, 2, 2),
    ("index", Function::Index, 2, ANY),
    ("lower", Function::Lower, 1, 1),
    ("nindent", Function::Nindent, 2, 2),
    ("nospace", Function::Nospace, 1, 1),
    ("print", Function::Print, 1, ANY),
    ("printf", Function::Printf, 1, ANY),
    ("quote", Function::Quote, 1, ANY),
    ("replace", Function::Replace, 3, 3),
    ("squote", Function::Squote, 1, ANY),
    ("title", Function::Title, 1, 1),
    ("toJson", Function::ToJson, 1, 1),
    ("toRawJson", Function::ToRawJson, 1, 1),
    ("trim", Function::Trim, 1, 1),
    ("trimAll", Function::TrimAll, 2, 2),
    ("trimPrefix", Function::TrimPrefix, 2, 2),
    ("trimSuffix", Function::TrimSuffix, 2, 2),
    ("upper", Function::Upper, 1, 1),
    ("urlquery", Function::Urlquery, 1, ANY),
];

/// The maximum size of a function's result, in bytes: more than a variable can hold.
const MOST: usize = 1 << 20;

/// Returns the names of all functions, for messages.
pub(super) fn names() -> String {
    FUNCTIONS.map(|(name, ..)| name).join(", ")
}

impl Function {
    pub(super) fn named(name: &str) -> Option<Function> {
        FUNCTIONS.iter().find(|(known, ..)| *known == name).map(|(_, function, ..)| *function)
    }

    pub(super) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("", |(name, ..)| name)
    }

    /// Returns the minimum and maximum number of arguments.
    pub(super) fn arity(self) -> (usize, usize) {
        let found = FUNCTIONS.iter().find(|(_, function, ..)| *function == self);
        found.map_or((0, 0), |(_, _, least, most)| (*least, *most))
    }

    /// Returns whether the whole secret makes sense as an argument.
    pub(super) fn takes_whole(self) -> bool {
        matches!(self, Function::ToJson | Function::ToRawJson | Function::Index)
    }

    /// Applies the function to its arguments, whose number must be right.
    ///
    /// # Errors
    /// 78 for a value that the function cannot take.
    pub(super) fn apply<'a>(self, arguments: &[Item<'a>]) -> Result<Item<'a>, Error> {
        match (self, arguments) {
            (Function::Default, [default, given]) => {
                let chosen = if given.is_empty() { default } else { given };
                return Ok(chosen.clone());
            }
            (_, all) if all.iter().any(|item| matches!(item, Item::Missing)) => {
                return Ok(Item::Missing);
            }
            (Function::Index, [of, keys @ ..]) => return index(of, keys),
            (Function::FromJson, [item]) => return from_json(&item.text()),
            _ => {}
        }
        let made = self.made(arguments)?;
        if made.expose().len() > MOST { Err(too_large()) } else { Ok(Item::Text(made)) }
    }

    /// Returns the function's result for arguments none of which is missing.
    fn made(self, arguments: &[Item<'_>]) -> Result<Secret, Error> {
        let text = |item: &Item<'_>| self.text(item);
        let made = match (self, arguments) {
            (Function::B64enc, [item]) => STANDARD.encode(item.text().expose()),
            (Function::B64dec, [item]) => return decoded(&item.text()),
            (Function::Urlquery, all) => {
                percent_encoded(printed(all).expose(), "-_.~ ").replace(' ', "+")
            }
            (Function::Print, all) => return Ok(printed(all)),
            (Function::ToJson, [item]) => go_json(&json(item)?, true),
            (Function::ToRawJson, [item]) => go_json(&json(item)?, false),
            (Function::Quote, all) => {
                let quoted: Result<Vec<_>, _> = all
                    .iter()
                    .filter(|item| !item.is_null())
                    .map(|item| text(item).map(|text| go_quoted(&text)))
                    .collect();
                quoted?.join(" ")
            }
            (Function::Squote, all) => {
                let quoted: Result<Vec<_>, _> = all
                    .iter()
                    .filter(|item| !item.is_null())
                    .map(|item| text(item).map(|text| format!("'{text}'")))
                    .collect();
                quoted?.join(" ")
            }
            (Function::Printf, [form, values @ ..]) => formatted(&text(form)?, values)?,
            (Function::Trim, [item]) => text(item)?.trim().to_owned(),
            (Function::Upper, [item]) => text(item)?.chars().map(upper).collect(),
            (Function::Lower, [item]) => text(item)?.chars().map(lower).collect(),
            (Function::Title, [item]) => title(&text(item)?),
            (Function::Nospace, [item]) => {
                text(item)?.chars().filter(|c| !c.is_whitespace()).collect()
            }
            (Function::Indent, [by, item]) => indented(by, &text(item)?)?,
            (Function::Nindent, [by, item]) => format!("\n{}", indented(by, &text(item)?)?),
            (Function::Replace, [old, new, item]) => {
                replaced(&text(item)?, &text(old)?, &text(new)?)?
            }
            (Function::TrimAll, [cut, item]) => {
                let cut = text(cut)?;
                text(item)?.trim_matches(|c: char| cut.contains(c)).to_owned()
            }
            (Function::TrimPrefix, [prefix, item]) => {
                let text_of = text(item)?;
                text_of.strip_prefix(&*text(prefix)?).unwrap_or(&text_of).to_owned()
            }
            (Function::TrimSuffix, [suffix, item]) => {
                let text_of = text(item)?;
                text_of.strip_suffix(&*text(suffix)?).unwrap_or(&text_of).to_owned()
            }
            _ => {
                let name = self.name();
                return Err(Error::new(
                    crate::error::Code::Internal,
                    format!("{name} was called with other arguments than the parser lets through"),
                ));
            }
        };
        Ok(Secret::from(made))
    }

    fn text(self, item: &Item<'_>) -> Result<String, Error> {
        item.text()
            .expose_text()
            .map(str::to_owned)
            .ok_or_else(|| Error::config(format!("{} of a value that is not UTF-8", self.name())))
    }
}

/// A value on its way through a template.
#[derive(Clone)]
pub(super) enum Item<'a> {
    /// A field that is not there.
    Missing,
    /// The whole secret.
    Whole(&'a Map<String, Value>),
    /// A value in the secret.
    Json(Cow<'a, Value>),
    /// A number in the template itself. Go prints it as a number, but a number in a secret as a
    /// string.
    Number(&'a Value),
    /// The result of a function.
    Text(Secret),
}

impl<'a> Item<'a> {
    pub(super) fn constant(value: &'a Value) -> Item<'a> {
        if value.is_number() { Item::Number(value) } else { Item::Json(Cow::Borrowed(value)) }
    }

    pub(super) fn text(&self) -> Secret {
        match self {
            Item::Missing => Secret::default(),
            Item::Whole(secret) => Secret::from(selector::object(secret)),
            Item::Json(value) => selector::text(value),
            Item::Number(value) => selector::text(value),
            Item::Text(bytes) => bytes.clone(),
        }
    }

    /// Returns a field, or `Missing` if there is none of this name.
    pub(super) fn field(self, name: &str) -> Item<'a> {
        let found = match self {
            Item::Whole(secret) => secret.get(name).map(Cow::Borrowed),
            Item::Json(Cow::Borrowed(value)) => value.get(name).map(Cow::Borrowed),
            Item::Json(Cow::Owned(value)) => value.get(name).cloned().map(Cow::Owned),
            Item::Missing | Item::Text(_) | Item::Number(_) => None,
        };
        found.map_or(Item::Missing, Item::Json)
    }

    /// Returns an element of a list, or `Missing`.
    fn element(self, at: usize) -> Item<'a> {
        let found = match self {
            Item::Json(Cow::Borrowed(value)) => value.get(at).map(Cow::Borrowed),
            Item::Json(Cow::Owned(value)) => value.get(at).cloned().map(Cow::Owned),
            _ => None,
        };
        found.map_or(Item::Missing, Item::Json)
    }

    /// Returns whether `default` replaces it: something missing, null, false or empty. A number in
    /// a secret never is, since its spelling is kept.
    fn is_empty(&self) -> bool {
        match self {
            Item::Missing => true,
            Item::Whole(secret) => secret.is_empty(),
            Item::Text(bytes) => bytes.is_empty(),
            Item::Number(value) => is_zero(&value.to_string()),
            Item::Json(value) => match &**value {
                Value::Null | Value::Bool(false) => true,
                Value::Bool(true) | Value::Number(_) => false,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
            },
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Item::Json(value) if value.is_null())
    }

    /// Returns whether Go treats it as a string: `print` puts no blank next to one.
    fn is_string(&self) -> bool {
        match self {
            Item::Text(_) => true,
            Item::Json(value) => value.is_string() || value.is_number(),
            Item::Missing | Item::Whole(_) | Item::Number(_) => false,
        }
    }
}

fn index<'a>(of: &Item<'a>, keys: &[Item<'a>]) -> Result<Item<'a>, Error> {
    let mut item = of.clone();
    for key in keys {
        item = match key {
            Item::Number(key) => {
                let at = key
                    .to_string()
                    .parse()
                    .map_err(|_| Error::config("index with a number that is no index of a list"))?;
                item.element(at)
            }
            key => item.field(&Function::Index.text(key)?),
        };
    }
    Ok(item)
}

fn from_json<'a>(text: &Secret) -> Result<Item<'a>, Error> {
    serde_json::from_slice(text.expose())
        .map(|value| Item::Json(Cow::Owned(value)))
        .map_err(|_| Error::config("fromJson of a value that is no JSON"))
}

fn json(item: &Item<'_>) -> Result<String, Error> {
    match item {
        Item::Json(value) => Ok(value.to_string()),
        Item::Number(value) => Ok(value.to_string()),
        Item::Whole(secret) => Ok(selector::object(secret)),
        item => Ok(Value::from(Function::ToJson.text(item)?).to_string()),
    }
}

/// Escapes JSON like Go's encoder: line separators and, so that JSON can be part of a page, HTML's
/// special characters.
fn go_json(json: &str, is_for_html: bool) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' if is_for_html => escaped.push_str("\\u003c"),
            '>' if is_for_html => escaped.push_str("\\u003e"),
            '&' if is_for_html => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Does what Go's `fmt.Sprint` does: puts a blank between two values if neither is a string.
fn printed(items: &[Item<'_>]) -> Secret {
    let mut printed = Vec::new();
    let mut is_after_string = true;
    for item in items {
        if !is_after_string && !item.is_string() {
            printed.push(b' ');
        }
        is_after_string = item.is_string();
        printed.extend_from_slice(item.text().expose());
    }
    Secret::from(printed)
}

/// Does what Go's `fmt.Sprintf` does. Only `%s`, `%v`, `%q` and `%%` are supported.
fn formatted(form: &str, values: &[Item<'_>]) -> Result<String, Error> {
    let unsupported = || {
        Error::config("a printf with another verb than %s, %v, %q and %%")
            .hint("write printf \"%s:%s\" .A .B")
    };
    let count = || Error::config("a printf with more or fewer verbs than values");
    let (mut text, mut values) = (String::new(), values.iter());
    let mut parts = form.split('%');
    text.push_str(parts.next().unwrap_or_default());
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            // `%%`: what follows is text.
            None => {
                text.push('%');
                text.push_str(parts.next().ok_or_else(unsupported)?);
                continue;
            }
            Some(verb @ ('s' | 'v' | 'q')) => {
                let value = Function::Printf.text(values.next().ok_or_else(count)?)?;
                text.push_str(&if verb == 'q' { go_quoted(&value) } else { value });
            }
            Some(_) => return Err(unsupported()),
        }
        text.push_str(rest.as_str());
    }
    if values.next().is_some() { Err(count()) } else { Ok(text) }
}

/// Quotes like Go's `strconv.Quote`.
fn go_quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c => quoted.push_str(&escaped(c)),
        }
    }
    quoted.push('"');
    quoted
}

fn escaped(c: char) -> String {
    match u32::from(c) {
        code @ 0..0x80 => format!("\\x{code:02x}"),
        code @ 0x80..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// Returns whether Go prints a character as it is. Rust's escaping uses the same categories, unless
/// the character is the first of a text.
fn is_printable(c: char) -> bool {
    c.is_ascii_graphic()
        || c == ' '
        || (!c.is_ascii() && ['a', c].iter().collect::<String>().escape_debug().eq(['a', c]))
}

/// Maps one character to one, as Go does: `ß` stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    single(c, upper.next(), upper.next())
}

/// Returns the title case. Latin digraphs have a third form besides upper and lower case.
fn title_case(c: char) -> char {
    match c {
        'Ǆ'..='ǆ' => 'ǅ',
        'Ǉ'..='ǉ' => 'ǈ',
        'Ǌ'..='ǌ' => 'ǋ',
        'Ǳ'..='ǳ' => 'ǲ',
        c => upper(c),
    }
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    single(c, lower.next(), lower.next())
}

fn single(c: char, first: Option<char>, second: Option<char>) -> char {
    match (first, second) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Does what Go's `strings.Title` does: changes the first letter of each word. Letters, digits and
/// `_` do not separate words; outside of ASCII only white space does.
fn title(text: &str) -> String {
    let mut is_first = true;
    let one = |c: char| {
        let shown = if is_first { title_case(c) } else { c };
        is_first =
            if c.is_ascii() { !c.is_ascii_alphanumeric() && c != '_' } else { c.is_whitespace() };
        shown
    };
    text.chars().map(one).collect()
}

fn indented(by: &Item<'_>, text: &str) -> Result<String, Error> {
    const DEEPEST: usize = 1000;
    let by = by.text().expose_text().and_then(|by| by.parse().ok());
    let by = by.filter(|by| *by <= DEEPEST).ok_or_else(|| {
        Error::config(format!("an indent by other than a number up to {DEEPEST}"))
    })?;
    let pad = " ".repeat(by);
    Ok(format!("{pad}{}", replaced(text, "\n", &format!("\n{pad}"))?))
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String, Error> {
    let times = text.matches(old).count();
    if times.saturating_mul(new.len()).saturating_add(text.len()) > MOST {
        return Err(too_large());
    }
    Ok(text.replace(old, new))
}

fn too_large() -> Error {
    Error::config(format!("a template that makes more than {MOST} bytes"))
}

/// Decodes base64 as Go does: with padding, and with line breaks anywhere.
///
/// # Errors
/// 78 for anything but base64.
pub(crate) fn decoded(text: &Secret) -> Result<Secret, Error> {
    let bytes: Vec<u8> =
        text.expose().iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    STANDARD
        .decode(bytes)
        .map(Secret::from)
        .map_err(|_| Error::config("b64dec of a value that is not base64"))
}
/// Returns whether a JSON number is zero in any spelling.
fn is_zero(number: &str) -> bool {
    let digits = number.split(['e', 'E']).next().unwrap_or(number);
    !digits.contains(|c: char| c.is_ascii_digit() && c != '0')
}
