//! Templates as keys of references (pure): `${.name | filter …}`, and `${ . | toJson }` for a whole
//! secret.
//!
//! A small part of what vault-env takes, which are Go's templates with sprig's functions: a field
//! and filters without arguments. Everything else is an error that names what is not supported.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::grammar::path::percent_encoded;
use crate::grammar::selector;
use crate::secret::Secret;

/// A field of a secret, or the whole of it, and what is done to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The field's name; `None` is the whole secret.
    pub field: Option<String>,
    /// From the first to the last.
    pub filters: Vec<Filter>,
}

/// What can be done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Decodes base64 (RFC 4648, 4), line breaks left out.
    B64dec,
    /// Encodes as base64.
    B64enc,
    /// Escapes for the query of a URL, as Go's `url.QueryEscape`: a space becomes `+`.
    Urlquery,
    /// Makes JSON of it: of a string one with quotes.
    ToJson,
}

const FILTERS: [(&str, Filter); 4] = [
    ("b64dec", Filter::B64dec),
    ("b64enc", Filter::B64enc),
    ("urlquery", Filter::Urlquery),
    ("toJson", Filter::ToJson),
];

const FORMS: &str = "a template is ${.NAME | FILTER …} with the filters b64dec, b64enc, urlquery \
                     and toJson, or ${ . | toJson }; any other key needs no template: #NAME, or \
                     #/NAME/NESTED";

/// A value on its way through the filters.
enum Stage<'a> {
    Whole(&'a Map<String, Value>),
    Json(&'a Value),
    Bytes(Secret),
}

impl Template {
    /// Reads what stands between `${` and `}`.
    ///
    /// # Errors
    /// 78 for anything but a field, or the whole secret, and filters that there are.
    pub fn parse(text: &str) -> Result<Template, Error> {
        let mut stages = text.split('|').map(str::trim);
        let field = field(stages.next().unwrap_or_default())?;
        let filters = stages.map(filter).collect::<Result<Vec<_>, _>>()?;
        if field.is_none() && filters.first() != Some(&Filter::ToJson) {
            return Err(Error::config("a template of a whole secret without | toJson").hint(FORMS));
        }
        Ok(Template { field, filters })
    }

    /// What it makes of a secret; `None` where the field is missing.
    ///
    /// # Errors
    /// 78 for a value that a filter cannot take.
    pub fn apply(&self, secret: &Map<String, Value>) -> Result<Option<Secret>, Error> {
        let first = match &self.field {
            None => Stage::Whole(secret),
            Some(name) => match secret.get(name) {
                Some(value) => Stage::Json(value),
                None => return Ok(None),
            },
        };
        let last = self.filters.iter().try_fold(first, |stage, filter| filter.apply(stage))?;
        Ok(Some(last.text()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{.{}", self.field.as_deref().unwrap_or_default())?;
        for filter in &self.filters {
            write!(f, " | {}", filter.name())?;
        }
        f.write_str("}")
    }
}

impl Filter {
    fn name(self) -> &'static str {
        FILTERS.iter().find(|(_, filter)| *filter == self).map_or("", |(name, _)| name)
    }

    fn apply(self, stage: Stage<'_>) -> Result<Stage<'_>, Error> {
        let made = match self {
            Filter::ToJson => stage.json()?,
            Filter::B64enc => Secret::from(STANDARD.encode(stage.text().expose())),
            Filter::B64dec => decoded(&stage.text())?,
            Filter::Urlquery => {
                Secret::from(percent_encoded(stage.text().expose(), "-_.~ ").replace(' ', "+"))
            }
        };
        Ok(Stage::Bytes(made))
    }
}

impl Stage<'_> {
    fn text(self) -> Secret {
        match self {
            Stage::Whole(secret) => Secret::from(serde_json::to_string(secret).unwrap_or_default()),
            Stage::Json(value) => selector::text(value),
            Stage::Bytes(bytes) => bytes,
        }
    }

    fn json(self) -> Result<Secret, Error> {
        match self {
            Stage::Json(value) => Ok(Secret::from(value.to_string())),
            Stage::Bytes(bytes) => match bytes.expose_text() {
                Some(text) => Ok(Secret::from(Value::from(text).to_string())),
                None => Err(Error::config("toJson of a value that is not UTF-8")),
            },
            Stage::Whole(_) => Ok(self.text()),
        }
    }
}

/// The bytes that base64 stands for, as Go reads it: with padding, and with line breaks anywhere.
///
/// # Errors
/// 78 for what is not base64.
pub fn decoded(text: &Secret) -> Result<Secret, Error> {
    let bytes: Vec<u8> =
        text.expose().iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    STANDARD
        .decode(bytes)
        .map(Secret::from)
        .map_err(|_| Error::config("b64dec of a value that is not base64"))
}

fn field(text: &str) -> Result<Option<String>, Error> {
    let Some(name) = text.strip_prefix('.') else { return Err(unsupported(text)) };
    if name.is_empty() {
        return Ok(None);
    }
    if name.contains('.') {
        let error = Error::config("a template with a nested field is not supported");
        return Err(error.hint(FORMS));
    }
    if is_name(name) { Ok(Some(name.to_owned())) } else { Err(unsupported(text)) }
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_numeric())
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn filter(text: &str) -> Result<Filter, Error> {
    let found = FILTERS.iter().find(|(name, _)| *name == text);
    found.map(|(_, filter)| *filter).ok_or_else(|| unsupported(text))
}

/// Names the first word only, where it is one: an argument behind it may be a secret.
fn unsupported(text: &str) -> Error {
    let word = text.split_whitespace().next().filter(|word| is_name(word));
    let message = match word {
        Some(word) if FILTERS.iter().any(|(name, _)| *name == word) => {
            format!("a template whose {word} has an argument is not supported")
        }
        Some(word) => format!("a template with {word} is not supported"),
        None => "a template that is no .NAME and filters is not supported".to_owned(),
    };
    Error::config(message).hint(FORMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(template: &str, json: &str) -> Result<Option<Vec<u8>>, Error> {
        let secret: Map<String, Value> = serde_json::from_str(json).expect("an object");
        let value = Template::parse(template)?.apply(&secret)?;
        Ok(value.map(|value| value.expose().to_vec()))
    }

    #[test]
    fn every_filter_alone_and_in_a_row() {
        let json = r#"{"p":"a b/ü&~*'","q":"c2VjcmV0","o":{"a":null,"b":[1.0,"x"]},"n":1.50,"wrapped":"c2Vj\ncmV0\r\n","bin":"/w==","z":null}"#;
        for (template, value) in [
            (".p", "a b/ü&~*'"),
            (".p | urlquery", "a+b%2F%C3%BC%26~%2A%27"),
            (".q | b64dec", "secret"),
            (".q|b64dec|b64enc", "c2VjcmV0"),
            ("  .q  |  b64dec  |  urlquery  ", "secret"),
            (".wrapped | b64dec", "secret"),
            (".p | toJson", r#""a b/ü&~*'""#),
            (".n | toJson", "1.50"),
            (".n | b64enc", "MS41MA=="),
            (".o", r#"{"a":null,"b":[1.0,"x"]}"#),
            (".o | toJson | b64enc", "eyJhIjpudWxsLCJiIjpbMS4wLCJ4Il19"),
            (".z | toJson", "null"),
            (".z", ""),
            (".bin | b64dec | b64enc", "/w=="),
            (".q | b64dec | toJson", r#""secret""#),
        ] {
            assert_eq!(applied(template, json), Ok(Some(value.as_bytes().to_vec())), "{template}");
        }
        assert_eq!(applied(".bin | b64dec", json), Ok(Some(vec![0xff])));
        assert_eq!(applied(".none | b64dec", json), Ok(None));
    }

    #[test]
    fn a_whole_secret_is_compact_json() {
        let json = r#"{"a": {"k": [1e5, true]}, "b": "x<y"}"#;
        assert_eq!(
            applied(" . | toJson ", json),
            Ok(Some(br#"{"a":{"k":[1e+5,true]},"b":"x<y"}"#.to_vec()))
        );
        assert_eq!(applied(".|toJson|b64enc", "{}"), Ok(Some(b"e30=".to_vec())));
    }

    #[test]
    fn a_value_that_a_filter_cannot_take_is_an_error_that_does_not_show_it() {
        for (template, part) in [
            (".a | b64dec", "not base64"),
            (".b | b64dec | b64dec", "not base64"),
            (".c | b64dec | toJson", "not UTF-8"),
        ] {
            let error = applied(template, r#"{"a":"s3cret!","b":"czNjcmV0IQ==","c":"/w=="}"#)
                .expect_err(template);
            assert!(error.code.status() == 78 && error.message.contains(part), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_is_not_supported_is_named_and_arguments_are_not() {
        for (template, part) in [
            ("index . \"s3cret\"", "with index"),
            (".a | default \"s3cret\"", "with default"),
            (".a | b64dec \"s3cret\"", "b64dec has an argument"),
            (".a | upper", "with upper"),
            ("toJson .", "toJson has an argument"),
            (".", "without | toJson"),
            (". | b64enc", "without | toJson"),
            (".a.b", "nested"),
            (".a |", "no .NAME"),
            ("", "no .NAME"),
            ("\"s3cret\"", "no .NAME"),
            (".my-key", "no .NAME"),
            (".1a", "no .NAME"),
            ("if .a", "with if"),
        ] {
            let error = Template::parse(template).expect_err(template);
            assert!(
                error.code.status() == 78 && error.message.contains(part),
                "{template}: {error:?}"
            );
            assert!(
                error.message.contains("not supported") || error.message.contains("without"),
                "{error:?}"
            );
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }
}
