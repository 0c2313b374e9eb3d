//! A request as the API sees it, whether it came over HTTP or from the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::api::clock;
use crate::api::envelope::Failure;
use crate::api::namespaces::Namespace;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    List,
    Write,
    Delete,
}

/// One call. `path` is the part after `/v1/`, later the part after the namespace, and below a mount
/// the part after the mount.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) path: String,
    /// The root, until the core has processed `header` and `path`.
    pub(crate) namespace: Namespace,
    /// `X-Vault-Namespace`.
    pub(crate) header: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) token: Option<String>,
    pub(crate) wrap_ttl: Option<Duration>,
    pub(crate) body: Map<String, Value>,
    /// The chain (DER) that the client presented in the TLS handshake.
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Request {
    /// Makes a request; `path` is the part after `/v1/`, still percent-encoded.
    pub(crate) fn new(
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Self, Failure> {
        let query = parse_query(query);
        let operation = operation(method, &query)?;
        Ok(Self {
            operation,
            path: if operation == Operation::List { folder(path) } else { decode(path) },
            namespace: Namespace::default(),
            header: text(headers, "x-vault-namespace").unwrap_or_default().to_owned(),
            query,
            token: token(headers),
            wrap_ttl: wrap_ttl(headers)?,
            body: if operation == Operation::Write { parse_body(body)? } else { Map::new() },
            certificates: Vec::new(),
        })
    }

    /// Returns the same request as the backend at `mount` sees it.
    pub(crate) fn below(&self, mount: &str) -> Self {
        Self { path: self.path[mount.len()..].to_owned(), ..self.clone() }
    }

    /// Returns the path from the root namespace.
    pub(crate) fn full_path(&self) -> String {
        format!("{}{}", self.namespace.path, self.path)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.body.get(key).and_then(Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        match self.body.get(key)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.body.get(key)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        self.body.get(key).and_then(clock::duration)
    }

    /// Returns a list; it may be sent as a string with commas.
    pub(crate) fn list(&self, key: &str) -> Option<Vec<String>> {
        let items: Vec<String> = match self.body.get(key)? {
            Value::Array(items) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Value::String(text) => text.split(',').map(str::to_owned).collect(),
            _ => return None,
        };
        Some(
            items
                .iter()
                .map(|item| item.trim().to_owned())
                .filter(|item| !item.is_empty())
                .collect(),
        )
    }
}

fn operation(method: &Method, query: &BTreeMap<String, String>) -> Result<Operation, Failure> {
    let listing = query.get("list").is_some_and(|value| value == "true");
    Ok(match method.as_str() {
        "GET" if listing => Operation::List,
        "GET" => Operation::Read,
        "LIST" => Operation::List,
        "POST" | "PUT" => Operation::Write,
        "DELETE" => Operation::Delete,
        _ => return Err(Failure { status: 405, errors: Vec::new(), bad_credentials: false }),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn token(headers: &HeaderMap) -> Option<String> {
    let token = text(headers, "x-vault-token")
        .or_else(|| text(headers, "authorization").and_then(|value| value.strip_prefix("Bearer ")));
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

fn wrap_ttl(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get("x-vault-wrap-ttl") else { return Ok(None) };
    let duration = value.to_str().ok().and_then(clock::duration_text);
    let Some(duration) = duration else {
        let text =
            format!("error parsing X-Vault-Wrap-TTL header: time: invalid duration {value:?}");
        return Err(Failure::bad_request(text));
    };
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

fn parse_body(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err(Failure::bad_request(format!(
            "failed to decode JSON input: json: cannot unmarshal {} into Go value of type \
             map[string]interface {{}}",
            go_type(&other)
        ))),
        Err(error) if error.is_eof() => {
            Err(Failure::bad_request("failed to decode JSON input: unexpected EOF"))
        }
        Err(error) => Err(Failure::bad_request(format!("failed to decode JSON input: {error}"))),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        _ => "bool",
    }
}

pub(crate) fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Parses a form's fields, in which a plus is a space.
pub(crate) fn parse_form(body: &str) -> BTreeMap<String, String> {
    parse_query(&body.replace('+', " "))
}

/// Adds the slash that a listed path ends in, whether or not the client sent it.
fn folder(path: &str) -> String {
    format!("{}/", decode(path).trim_end_matches('/'))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
