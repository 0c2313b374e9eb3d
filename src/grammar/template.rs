//! Templates as keys of references (pure): text with `${…}` in it, as in vault-env.
//!
//! The braces contain an action of Go's `text/template`: fields (`.name`, `.a.b`), the whole secret
//! (`.`), constants, and functions in a call (`title .name`) or after a `|`. The functions are
//! those of sprig that work on text; `functions` lists them. Variables, conditions and loops are
//! errors that name what is not supported.

mod functions;
mod parser;

use std::fmt::{self, Write};

use serde_json::{Map, Value};

use crate::error::Error;
use crate::secret::Secret;

pub(crate) use functions::decoded;
use functions::{Function, Item};

/// Text that contains values of a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    /// The template as the user wrote it. A constant in it may be a secret.
    source: Secret,
    pieces: Vec<Piece>,
}

/// A piece of a template.
#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(Secret),
    Action(Node),
}

/// What an action computes.
#[derive(Clone, PartialEq, Eq)]
enum Node {
    /// The whole secret.
    Whole,
    /// A constant.
    Constant(Value),
    /// A field of another node's result.
    Field(Box<Node>, String),
    /// A function and its arguments. The last one may come from before a `|`.
    Call(Function, Vec<Node>),
}

impl Template {
    /// Parses a key that contains at least one `${…}`.
    ///
    /// # Errors
    /// 78 for anything that is not supported. The message names functions, never a text or a
    /// constant.
    pub fn parse(text: &str) -> Result<Template, Error> {
        let mut pieces = Vec::new();
        let (mut rest, mut trims) = (text, false);
        while let Some((before, after)) = rest.split_once("${") {
            let (inside, behind) = split_action(after).ok_or_else(unclosed)?;
            let (action, trims_before, trims_behind) = without_trim_marks(inside);
            let before = if trims { before.trim_start() } else { before };
            push_text(&mut pieces, if trims_before { before.trim_end() } else { before });
            pieces.push(Piece::Action(parser::action(action)?));
            (rest, trims) = (behind, trims_behind);
        }
        push_text(&mut pieces, if trims { rest.trim_start() } else { rest });
        Ok(Template { source: Secret::from(text), pieces })
    }

    /// Returns the template as the user wrote it.
    pub fn source(&self) -> &Secret {
        &self.source
    }

    /// Returns what the template makes of a secret, or `None` if a field is missing and has no
    /// `default`.
    ///
    /// # Errors
    /// 78 for a value that a function cannot take.
    pub fn apply(&self, secret: &Map<String, Value>) -> Result<Option<Secret>, Error> {
        let mut made = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            made.push(match piece {
                Piece::Text(text) => text.clone(),
                Piece::Action(node) => match node.value(secret)? {
                    Item::Missing => return Ok(None),
                    item => item.text(),
                },
            });
        }
        let bytes: Vec<&[u8]> = made.iter().map(Secret::expose).collect();
        Ok(Some(Secret::from(bytes.concat())))
    }
}

impl Node {
    fn value<'a>(&'a self, secret: &'a Map<String, Value>) -> Result<Item<'a>, Error> {
        match self {
            Node::Whole => Ok(Item::Whole(secret)),
            Node::Constant(value) => Ok(Item::constant(value)),
            Node::Field(of, name) => Ok(of.value(secret)?.field(name)),
            Node::Call(function, arguments) => {
                let arguments: Result<Vec<_>, _> =
                    arguments.iter().map(|argument| argument.value(secret)).collect();
                function.apply(&arguments?)
            }
        }
    }

    /// Writes fields and functions. A constant may be a secret, so it is shown only in an `index`.
    fn show(&self, f: &mut fmt::Formatter<'_>, shows_constants: bool) -> fmt::Result {
        match self {
            Node::Whole => f.write_char('.'),
            Node::Constant(value) if shows_constants => write!(f, "{value}"),
            Node::Constant(_) => f.write_str("\"…\""),
            Node::Field(of, name) => {
                if !matches!(**of, Node::Whole) {
                    of.show(f, false)?;
                }
                write!(f, ".{name}")
            }
            Node::Call(function, arguments) => {
                write!(f, "({}", function.name())?;
                for argument in arguments {
                    f.write_char(' ')?;
                    argument.show(f, *function == Function::Index)?;
                }
                f.write_char(')')
            }
        }
    }
}

/// For messages: leaves out the constants and the text around the actions.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(_) => f.write_char('…')?,
                Piece::Action(node) => {
                    f.write_str("${")?;
                    node.show(f, false)?;
                    f.write_char('}')?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Splits `text`, which begins after a `${`, at the `}` that ends the action. A `}` in a quoted
/// constant does not end it. Returns `None` if there is no such brace.
pub fn split_action(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (None, '}') => return Some((text.get(..at)?, text.get(at + 1..)?)),
            (None, '"' | '`' | '\'') => quote = Some(c),
            (Some('"' | '\''), '\\') => drop(characters.next()),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Handles Go's `{{- ` and ` -}}`, which drop the white space beside the action.
fn without_trim_marks(action: &str) -> (&str, bool, bool) {
    let is_space = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let before = action.strip_prefix('-').filter(|rest| is_space(rest.chars().next()));
    let action = before.unwrap_or(action);
    let behind = action.strip_suffix('-').filter(|rest| is_space(rest.chars().next_back()));
    (behind.unwrap_or(action), before.is_some(), behind.is_some())
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(Secret::from(text)));
    }
}

fn unclosed() -> Error {
    Error::config("a template without its closing }").hint("write ${.NAME}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = r#"{"p":"a b/ü&~*'","q":"c2VjcmV0","o":{"a":null,"b":[1.0,"x"],
        "c":{"d":"deep"}},"n":1.50,"w":"c2Vj\ncmV0\r\n","bin":"/w==","z":null,"t":true,"f":false,
        "s":"","my-key":"dash","tls.crt":"PEM\nLINE","l":["x",["y"]],"sp":" \t a  b\u00a0\n ",
        "title":"hello wörld o'neil foo_bar ünder-score ßa ǆx","h":"<a&b>\u2028","zero":0,"UP":"ÄßÉ",
        "quote":"a\"b\\c\n\u0001é\u00a0\u0301🦀\u200b","js":"{\"a\":{\"b\":\"in\"},\"n\":1.50}",
        "URL":"http://x/y/"}"#;

    fn applied(template: &str, json: &str) -> Result<Option<Vec<u8>>, Error> {
        let secret: Map<String, Value> = serde_json::from_str(json).expect("an object");
        let value = Template::parse(template)?.apply(&secret)?;
        Ok(value.map(|value| value.expose().to_vec()))
    }

    fn all_equal(table: &[(&str, &str)]) {
        for (template, value) in table {
            let made = applied(template, SECRET)
                .map(|made| made.map(|made| String::from_utf8_lossy(&made).into_owned()));
            assert_eq!(made, Ok(Some((*value).to_owned())), "{template}");
        }
    }

    // What Go's text/template with sprig 3.3 makes of the same secret.
    #[test]
    fn what_go_makes_of_a_template() {
        all_equal(&[
            ("My name is: ${title .p}", "My name is: A B/Ü&~*'"),
            ("AWS key in base64: ${.q | b64enc}", "AWS key in base64: YzJWamNtVjA="),
            ("${.o.c.d}", "deep"),
            ("${$.q}${($).q}", "c2VjcmV0c2VjcmV0"),
            (r#"${index . "tls.crt"}"#, "PEM\nLINE"),
            (r#"${index . "my-key" | upper}"#, "DASH"),
            (r#"${index .o "c" "d"}${(index .o "c").d}"#, "deepdeep"),
            ("${index .l 0}${index .l 1 0}", "xy"),
            ("${title .title}", "Hello Wörld O'Neil Foo_bar Ünder-Score ßa ǅx"),
            ("${.title | upper}", "HELLO WÖRLD O'NEIL FOO_BAR ÜNDER-SCORE ßA ǄX"),
            ("${lower .UP}", "äßé"),
            ("${.sp | trim}", "a  b"),
            ("${.h | toJson}${toJson \"<\"}", r#""\u003ca\u0026b\u003e\u2028""\u003c""#),
            ("${.h | toRawJson}", r#""<a&b>\u2028""#),
            ("${toJson .o}", r#"{"a":null,"b":[1.0,"x"],"c":{"d":"deep"}}"#),
            ("${.n | toJson}${.n}${.z | toJson}", "1.501.50null"),
            ("${quote .quote}", "\"a\\\"b\\\\c\\n\\x01é\\u00a0\u{301}🦀\\u200b\""),
            ("${squote .p .q}", "'a b/ü&~*'' 'c2VjcmV0'"),
            ("${quote .p .n .t}", r#""a b/ü&~*'" "1.50" "true""#),
            (r#"${.s | default "d"}${.missing | default "x"}${.z | default "y"}"#, "dxy"),
            (r#"${.f | default "w"}${.zero | default 5}${default 7 .s}"#, "w07"),
            (r#"${.o.missing.x | default "d"}"#, "d"),
            (r#"${replace "/" "-" .p}${ replace "" "-" .q }"#, "a b-ü&~*'-c-2-V-j-c-m-V-0-"),
            (r#"${.URL | trimSuffix "/"}|${.URL | trimPrefix "http://"}"#, "http://x/y|x/y/"),
            (r#"${trimAll "/h" .URL}"#, "ttp://x/y"),
            ("${ .q|b64dec|b64enc }${.w | b64dec}", "c2VjcmV0secret"),
            ("${.bin | b64dec | b64enc}", "/w=="),
            (r#"${printf "%s:%s" .p .q | b64enc}"#, "YSBiL8O8Jn4qJzpjMlZqY21WMA=="),
            (r#"${printf "%v%%%q" .n .p}"#, "1.50%\"a b/ü&~*'\""),
            ("${print .p .q .t .f .n 5 6}", "a b/ü&~*'c2VjcmV0true false1.505 6"),
            ("${quote .z .q .z}${squote .z}", "\"c2VjcmV0\""),
            ("${default 7 0}${0 | default \"x\"}", "7x"),
            (
                "${urlquery .p}${urlquery .p .q}",
                "a+b%2F%C3%BC%26~%2A%27a+b%2F%C3%BC%26~%2A%27c2VjcmV0",
            ),
            ("${(.js | fromJson).a.b}", "in"),
            (r#"${indent 2 (index . "tls.crt")}"#, "  PEM\n  LINE"),
            (r#"${nindent 4 (index . "tls.crt")}"#, "\n    PEM\n    LINE"),
            ("a  ${- .q -}  b ${- .q }", "ac2VjcmV0bc2VjcmV0"),
            (r#"${"a" | upper}${`r\n`}${"\x41\u00e4\t"}"#, "Ar\\nAä\t"),
            ("${5}${1.5}${-3}${true}", "51.5-3true"),
            ("${.q | b64dec | title | quote}", "\"Secret\""),
            ("${ .q | quote | quote | quote }", r#""\"\\\"c2VjcmV0\\\"\"""#),
            (r#"${"}"}${"a}b" | upper}"#, "}A}B"),
            (r#"${title ""}${"" | quote}"#, "\"\""),
            ("${.q}}${.t}$", "c2VjcmV0}true$"),
        ]);
    }

    #[test]
    fn what_go_cannot_make_or_makes_wrong() {
        all_equal(&[
            ("${.sp | nospace}", "ab"),
            (
                "${.z}|${.o.b}|${.o}",
                "|[1.0,\"x\"]|{\"a\":null,\"b\":[1.0,\"x\"],\"c\":{\"d\":\"deep\"}}",
            ),
            ("${.n | b64enc}", "MS41MA=="),
            (r#"${index (fromJson .js) "n"}"#, "1.50"),
            (r#"${.p.x | default "d"}${index .l 7 | default "e"}"#, "de"),
            ("${.z | trim}${.t | upper}", "TRUE"),
        ]);
        assert_eq!(applied("${.bin | b64dec}", SECRET), Ok(Some(vec![0xff])));
    }

    #[test]
    fn a_missing_field_makes_all_of_it_missing() {
        for template in [
            "${.none | b64dec}",
            "a${.q}b${.none}c",
            "${.o.none.x}",
            "${.p.x}",
            "${index . \"none\"}",
            "${index .l 2}",
            "${print .q .none}",
            "${.q | default .none | quote}${.s | default .none | quote}",
        ] {
            assert_eq!(applied(template, SECRET), Ok(None), "{template}");
        }
    }

    #[test]
    fn a_whole_secret_is_compact_json() {
        let json = r#"{"a": {"k": [10, true]}, "b": "x\"y"}"#;
        assert_eq!(
            applied("${ . | toJson }", json),
            Ok(Some(br#"{"a":{"k":[10,true]},"b":"x\"y"}"#.to_vec()))
        );
        assert_eq!(applied("${.|toJson|b64enc}", "{}"), Ok(Some(b"e30=".to_vec())));
    }

    #[test]
    fn a_value_that_a_function_cannot_take_is_an_error_that_does_not_show_it() {
        for (template, part) in [
            ("${.a | b64dec}", "not base64"),
            ("${.b | b64dec | b64dec}", "not base64"),
            ("${.c | b64dec | toJson}", "not UTF-8"),
            ("${.c | b64dec | title}", "title of a value that is not UTF-8"),
            ("${.a | fromJson}", "no JSON"),
            ("${indent 5000 .a}", "up to 1000"),
            ("${indent \"s3cret\" .a}", "up to 1000"),
            ("${printf .a .b}", "more or fewer"),
            ("${printf \"%d s3cret\" .b}", "another verb"),
            ("${printf \"%s%s s3cret\" .b}", "more or fewer"),
            ("${printf \"100%\"}", "another verb"),
        ] {
            let error = applied(template, r#"{"a":"s3cret!","b":"czNjcmV0IQ==","c":"/w=="}"#)
                .expect_err(template);
            assert!(error.code.status() == 78 && error.message.contains(part), "{error:?}");
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn nothing_grows_without_a_bound() {
        let quotes = " | quote".repeat(100);
        let replaces = r#" | replace "" "xxxxxxxxxxxxxxxx""#.repeat(60);
        for stages in [quotes, replaces] {
            let error = applied(&format!("${{.q{stages}}}"), SECRET).expect_err("too large");
            assert!(error.message.contains("more than 1048576 bytes"), "{error:?}");
        }
        for template in [
            format!("${{{}.q{}}}", "(".repeat(100_000), ")".repeat(100_000)),
            format!("${{.q{}}}", " | trim".repeat(100_000)),
            format!("${{.q{}}}", ".q".repeat(100_000)),
        ] {
            let error = applied(&template, SECRET).expect_err("too long");
            assert!(error.message.contains("more than 256 words"), "{error:?}");
        }
    }

    #[test]
    fn what_is_not_supported_is_named_and_texts_and_constants_are_not() {
        for (template, part) in [
            ("s3cret ${env \"s3cret\"}", "with env is not supported"),
            ("${if .a}", "with if"),
            ("${end}", "with end"),
            ("${.a | b64dec \"s3cret\"}", "b64dec has 2 values: b64dec takes one value"),
            ("${default \"s3cret\"}", "default has one value: default takes 2 values"),
            ("${print}", "print has 0 values: print takes at least one value"),
            ("${.}", "without toJson"),
            ("${(.)}", "without toJson"),
            ("${. | b64enc}", "without toJson"),
            ("${.a |}", "no function behind a |"),
            ("${.a | .b}", "no function behind a |"),
            ("${.a | \"s3cret\"}", "no function behind a |"),
            ("${.a .b}", "two values and no function"),
            ("${}", "nothing where a value belongs"),
            ("${| trim}", "nothing where a value belongs"),
            ("${trim ()}", "nothing where a value belongs"),
            ("${trim (.a}", "a ( that is not closed"),
            ("${trim .a)}", "a ) that closes nothing"),
            ("${quote trim .a}", "trim as an argument"),
            ("${.my-key}", "a - or +"),
            ("${.1a}", "begins with a digit"),
            ("${$x := .a}", "a variable"),
            ("${/* s3cret */}", "a sign that is none of"),
            ("${'s'}", "a sign that is none of"),
            ("${0x10}", "a number in this form"),
            ("${1e5}", "a number in this form"),
            ("${1.50}", "a number in this form"),
            ("${\"s3cret\\y\"}", "an escape"),
            ("${\"\\xff\"}", "an escape"),
            ("${\"\\ud800\"}", "an escape"),
            ("${\"s3cret\n\"}", "a quoted text that is not closed"),
            ("${\"s3cret}", "without its closing }"),
            ("${`s3cret}", "without its closing }"),
            ("${.a", "without its closing }"),
        ] {
            let error = Template::parse(template).expect_err(template);
            assert!(
                error.code.status() == 78 && error.message.contains(part),
                "{template}: {error:?}"
            );
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
    }

    #[test]
    fn a_template_is_shown_without_its_texts_and_constants() {
        for (template, shown) in [
            ("${.a.b}", "${.a.b}"),
            ("s3cret ${title .a}s3cret", "…${(title .a)}…"),
            ("${.a | default \"s3cret\" | trim}", "${(trim (default \"…\" .a))}"),
            ("${(index . \"tls.crt\" 0).a}", "${(index . \"tls.crt\" 0).a}"),
        ] {
            let parsed = Template::parse(template).expect(template);
            assert_eq!((parsed.to_string(), format!("{parsed:?}")), (shown.into(), shown.into()));
        }
    }
}
