//! The grammar of an action (pure), which is that of Go's `text/template`:
//!
//! ```text
//! pipeline = command { "|" command }
//! command  = operand | function operand { operand }
//! operand  = "." | "$" | field | constant | "(" pipeline ")", each with fields after it
//! ```

use serde_json::{Number, Value};

use super::Node;
use super::functions::{self, Function};
use crate::error::Error;

/// The maximum number of tokens in one action, since each can add a level of nesting.
const MOST_TOKENS: usize = 256;

const FORMS: &str =
    "a template is text with ${.NAME}, ${.NAME | FUNCTION} or ${FUNCTION .NAME} in it";

#[derive(Debug, PartialEq)]
enum Token {
    Whole,
    /// `.name`, and whether it follows the previous token directly.
    Field(String, bool),
    Name(String),
    Constant(Value),
    Open,
    Close,
    Pipe,
}

/// Parses what is between `${` and `}`.
///
/// # Errors
/// 78 for anything that is not supported.
pub(super) fn action(text: &str) -> Result<Node, Error> {
    let mut tokens = tokens(text)?;
    tokens.reverse();
    let mut parser = Parser { tokens };
    let node = parser.pipeline()?;
    match parser.tokens.last() {
        None if node == Node::Whole => Err(whole()),
        None => Ok(node),
        Some(_) => Err(Error::config("a template with a ) that closes nothing").hint(FORMS)),
    }
}

/// The remaining tokens in reverse order: the next one is at the end.
struct Parser {
    tokens: Vec<Token>,
}

impl Parser {
    fn pipeline(&mut self) -> Result<Node, Error> {
        let mut node = self.command(None)?;
        while self.tokens.pop_if(|token| *token == Token::Pipe).is_some() {
            node = self.command(Some(node))?;
        }
        Ok(node)
    }

    /// Parses a command. `piped` becomes its last argument.
    fn command(&mut self, piped: Option<Node>) -> Result<Node, Error> {
        let function = match self.tokens.last() {
            Some(Token::Name(name)) => Some(function(name)?),
            _ => None,
        };
        if function.is_some() {
            self.tokens.pop();
        } else if piped.is_some() {
            return Err(Error::config("a template with no function behind a |").hint(FORMS));
        }
        let mut arguments = Vec::new();
        while !matches!(self.tokens.last(), None | Some(Token::Pipe | Token::Close)) {
            arguments.push(self.operand()?);
        }
        arguments.extend(piped);
        match function {
            Some(function) => call(function, arguments),
            None if arguments.len() == 1 => arguments.pop().ok_or_else(empty),
            None if arguments.is_empty() => Err(empty()),
            None => Err(Error::config("a template with two values and no function").hint(FORMS)),
        }
    }

    fn operand(&mut self) -> Result<Node, Error> {
        let mut node = match self.tokens.pop() {
            Some(Token::Whole) => Node::Whole,
            Some(Token::Field(name, _)) => Node::Field(Box::new(Node::Whole), name),
            Some(Token::Constant(value)) => Node::Constant(value),
            Some(Token::Open) => {
                let node = self.pipeline()?;
                self.tokens.pop_if(|token| *token == Token::Close).ok_or_else(|| {
                    Error::config("a template with a ( that is not closed").hint(FORMS)
                })?;
                node
            }
            Some(Token::Name(name)) => {
                let known = function(&name)?.name();
                return Err(Error::config(format!(
                    "a template with {known} as an argument is not supported"
                ))
                .hint(format!("put it in parentheses: ({known} .NAME)")));
            }
            Some(Token::Close | Token::Pipe) | None => return Err(empty()),
        };
        while let Some(Token::Field(name, _)) =
            self.tokens.pop_if(|token| matches!(token, Token::Field(_, true)))
        {
            node = Node::Field(Box::new(node), name);
        }
        Ok(node)
    }
}

fn call(function: Function, arguments: Vec<Node>) -> Result<Node, Error> {
    let (least, most) = function.arity();
    let name = function.name();
    if arguments.len() < least || arguments.len() > most {
        let number = |number: usize| match number {
            1 => "one value".to_owned(),
            number => format!("{number} values"),
        };
        let takes =
            if most == usize::MAX { format!("at least {}", number(least)) } else { number(most) };
        let given = number(arguments.len());
        return Err(Error::config(format!(
            "a template whose {name} has {given}: {name} takes {takes}"
        ))
        .hint(FORMS));
    }
    if !function.takes_whole() && arguments.contains(&Node::Whole) {
        return Err(whole());
    }
    Ok(Node::Call(function, arguments))
}

fn function(name: &str) -> Result<Function, Error> {
    Function::named(name).ok_or_else(|| {
        Error::config(format!("a template with {name} is not supported"))
            .hint(format!("the functions are {}", functions::names()))
    })
}

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let (mut rest, mut is_attached) = (text, false);
    while let Some(c) = rest.chars().next() {
        let before = rest;
        match c {
            c if c.is_whitespace() => rest = rest.trim_start(),
            '|' | '(' | ')' => {
                rest = rest.get(1..).unwrap_or_default();
                tokens.push(match c {
                    '|' => Token::Pipe,
                    '(' => Token::Open,
                    _ => Token::Close,
                });
            }
            '"' | '`' => {
                let (value, behind) = quoted(rest)?;
                tokens.push(Token::Constant(Value::String(value)));
                rest = behind;
            }
            '.' | '$' => {
                let (name, behind) = word(rest.get(1..).unwrap_or_default());
                tokens.push(match (c, name) {
                    ('$' | '.', "") => Token::Whole,
                    ('$', _) => return Err(unsupported("a variable")),
                    (_, name) if name.starts_with(char::is_numeric) => {
                        return Err(unsupported("a field whose name begins with a digit")
                            .hint("write index . \"NAME\""));
                    }
                    (_, name) => Token::Field(name.to_owned(), is_attached),
                });
                rest = behind;
            }
            '0'..='9' | '-' | '+' => {
                let (value, behind) = number(rest)?;
                tokens.push(Token::Constant(value));
                rest = behind;
            }
            _ => {
                let (name, behind) = word(rest);
                if name.is_empty() {
                    return Err(unsupported("a sign that is none of . | ( ) \" ` $"));
                }
                tokens.push(match name {
                    "true" => Token::Constant(Value::Bool(true)),
                    "false" => Token::Constant(Value::Bool(false)),
                    _ => Token::Name(name.to_owned()),
                });
                rest = behind;
            }
        }
        is_attached = can_have_fields(before);
        if tokens.len() > MOST_TOKENS {
            return Err(Error::config(format!("a template of more than {MOST_TOKENS} words")));
        }
    }
    Ok(tokens)
}

/// Returns whether a `.name` that follows a token with this beginning is a field of it.
fn can_have_fields(token: &str) -> bool {
    token.starts_with(['.', '$', ')'])
}

/// Splits off a word of letters, digits and `_`.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Splits off a decimal number that Go would print as it is written.
fn number(text: &str) -> Result<(Value, &str), Error> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '+' | '_'))
        .unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let digits = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "1"));
    let is_plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let has_short_spelling = (whole == "0" || !whole.starts_with('0')) && !fraction.ends_with('0');
    match number.parse::<Number>() {
        Ok(parsed) if is_plain(whole) && is_plain(fraction) && has_short_spelling => {
            Ok((Value::Number(parsed), rest))
        }
        _ if digits.is_empty() || !digits.starts_with(|c: char| c.is_ascii_digit()) => {
            Err(unsupported("a - or + that belongs to no number")
                .hint("write index . \"NAME\" for a key with a - in its name"))
        }
        _ => Err(unsupported("a number in this form").hint("write it in quotes")),
    }
}

/// Splits off a constant in quotes.
fn quoted(text: &str) -> Result<(String, &str), Error> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`').ok_or_else(open_quote)?;
        return Ok((value.replace('\r', ""), rest));
    }
    let mut value = String::new();
    let mut characters = text.strip_prefix('"').unwrap_or(text).chars();
    loop {
        match characters.next() {
            None | Some('\n') => return Err(open_quote()),
            Some('"') => return Ok((value, characters.as_str())),
            Some('\\') => value.push(escape(&mut characters)?),
            Some(c) => value.push(c),
        }
    }
}

/// Reads an escape of Go's strings from after its `\`.
fn escape(characters: &mut std::str::Chars<'_>) -> Result<char, Error> {
    let length = match characters.next() {
        Some('a') => return Ok('\u{7}'),
        Some('b') => return Ok('\u{8}'),
        Some('f') => return Ok('\u{c}'),
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some('v') => return Ok('\u{b}'),
        Some(c @ ('\\' | '"')) => return Ok(c),
        Some('x') => 2,
        Some('u') => 4,
        Some('U') => 8,
        _ => return Err(no_escape()),
    };
    let digits = characters.as_str().get(..length).ok_or_else(no_escape)?;
    *characters = characters.as_str().get(length..).unwrap_or_default().chars();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or_else(no_escape)?;
    // A `\x` of 80 or more is one byte in Go, not a character.
    char::from_u32(code).filter(|_| length > 2 || code < 0x80).ok_or_else(no_escape)
}

fn no_escape() -> Error {
    Error::config("a template with an escape that is not supported in a quoted text")
        .hint("the escapes are \\n \\t \\r \\\\ \\\" \\x41 \\u00e4; text in ` has none")
}

fn open_quote() -> Error {
    Error::config("a template with a quoted text that is not closed").hint(FORMS)
}

fn empty() -> Error {
    Error::config("a template with nothing where a value belongs").hint(FORMS)
}

fn whole() -> Error {
    Error::config("a template of a whole secret without toJson")
        .hint("write ${. | toJson}, or ${.NAME} for one key")
}

fn unsupported(what: &str) -> Error {
    Error::config(format!("a template with {what} is not supported")).hint(FORMS)
}
