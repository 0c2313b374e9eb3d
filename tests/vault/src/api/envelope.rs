//! What an answer consists of, and its JSON as Go's encoder writes it.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::core::Flavour;
use crate::api::leases::Terms;
use crate::api::tokens::Grant;

/// A successful answer before it becomes JSON.
#[derive(Default)]
pub(crate) struct Answer {
    /// 200, or 204 if there is no content, unless the engine wants another.
    pub(crate) status: Option<u16>,
    pub(crate) data: Option<Value>,
    pub(crate) warnings: Vec<String>,
    pub(crate) lease_duration: u64,
    pub(crate) lease_id: String,
    pub(crate) renewable: bool,
    /// For a secret that expires: the lease to make.
    pub(crate) terms: Option<Terms>,
    /// For a login: the token to make.
    pub(crate) grant: Option<Grant>,
    /// The token that was made.
    pub(crate) auth: Option<Value>,
    /// Whether `data`'s keys are also at the top level, as with `sys/mounts`.
    pub(crate) injected: bool,
    /// The accessor that is reported when this answer is wrapped.
    pub(crate) accessor: Option<String>,
    /// A body without an envelope (`sys/health`), or one that is sent verbatim (an unwrapped
    /// answer).
    pub(crate) verbatim: Option<String>,
}

impl Answer {
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn data(data: Value) -> Self {
        Self { data: Some(data), ..Self::default() }
    }

    pub(crate) fn login(grant: Grant) -> Self {
        Self { grant: Some(grant), ..Self::default() }
    }

    pub(crate) fn leased(data: Value, terms: Terms) -> Self {
        Self { terms: Some(terms), ..Self::data(data) }
    }

    pub(crate) fn verbatim(status: u16, body: String) -> Self {
        Self { status: Some(status), verbatim: Some(body), ..Self::default() }
    }

    pub(crate) fn warn(mut self, warning: &str) -> Self {
        self.warnings.push(warning.to_owned());
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    fn is_empty(&self) -> bool {
        self.data.is_none()
            && self.auth.is_none()
            && self.warnings.is_empty()
            && self.lease_id.is_empty()
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) errors: Vec<String>,
    /// Whether the credentials were wrong, which counts towards the lockout.
    pub(crate) bad_credentials: bool,
}

impl Failure {
    pub(crate) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, errors: vec![text.into()], bad_credentials: false }
    }

    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    pub(crate) fn bad_credentials(text: &str) -> Self {
        Self { bad_credentials: true, ..Self::bad_request(text) }
    }

    /// Returns a failure for something that does not exist: a 404 without a message.
    pub(crate) fn not_found() -> Self {
        Self { status: 404, errors: Vec::new(), bad_credentials: false }
    }

    /// Returns one error as Go's multierror prints it.
    pub(crate) fn multierror(status: u16, text: &str) -> Self {
        Self::new(status, format!("1 error occurred:\n\t* {text}\n\n"))
    }

    pub(crate) fn denied() -> Self {
        Self::new(403, "permission denied")
    }

    pub(crate) fn unsupported_path() -> Self {
        Self::multierror(404, "unsupported path")
    }

    pub(crate) fn unsupported_operation() -> Self {
        Self::multierror(405, "unsupported operation")
    }
}

pub(crate) type Outcome = Result<Answer, Failure>;

/// A status and a body, ready to be sent.
pub(crate) struct Rendered {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Rendered {
    pub(crate) fn failure(failure: &Failure) -> Self {
        Self { status: failure.status, body: go_json(&json!({ "errors": failure.errors })) }
    }

    /// Renders an answer. `kind` is the type of the mount that answered, which Vault reports and
    /// OpenBao does not.
    pub(crate) fn answer(answer: Answer, flavour: Flavour, kind: &str) -> Self {
        if let Some(body) = answer.verbatim {
            return Self { status: answer.status.unwrap_or(200), body };
        }
        if answer.is_empty() {
            return Self { status: answer.status.unwrap_or(204), body: String::new() };
        }
        let status = answer.status.unwrap_or(200);
        Self { status, body: go_json(&envelope(answer, flavour, kind)) }
    }

    pub(crate) fn wrapped(wrap_info: Value) -> Self {
        let mut envelope = blank(String::new());
        envelope.insert("wrap_info".to_owned(), wrap_info);
        Self { status: 200, body: go_json(&Value::Object(envelope)) }
    }
}

fn envelope(answer: Answer, flavour: Flavour, kind: &str) -> Value {
    let mut envelope = blank(Uuid::new_v4().to_string());
    envelope.insert("lease_id".to_owned(), answer.lease_id.into());
    envelope.insert("renewable".to_owned(), answer.renewable.into());
    envelope.insert("lease_duration".to_owned(), answer.lease_duration.into());
    envelope.insert("auth".to_owned(), answer.auth.unwrap_or_default());
    if !answer.warnings.is_empty() {
        envelope.insert("warnings".to_owned(), json!(answer.warnings));
    }
    if flavour == Flavour::Vault {
        envelope.insert("mount_type".to_owned(), kind.into());
    }
    let data = answer.data.map(sorted).unwrap_or_default();
    if let (true, Value::Object(fields)) = (answer.injected, &data) {
        envelope.extend(fields.clone());
    }
    envelope.insert("data".to_owned(), data);
    Value::Object(envelope)
}

/// Returns the keys in the order of Go's struct.
fn blank(request_id: String) -> Map<String, Value> {
    let mut envelope = Map::new();
    envelope.insert("request_id".to_owned(), request_id.into());
    envelope.insert("lease_id".to_owned(), "".into());
    envelope.insert("renewable".to_owned(), false.into());
    envelope.insert("lease_duration".to_owned(), 0.into());
    for key in ["data", "wrap_info", "warnings", "auth"] {
        envelope.insert(key.to_owned(), Value::Null);
    }
    envelope
}

/// Sorts a map's keys, as Go's encoder does.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Writes JSON as Go's encoder does: it escapes characters that HTML and JavaScript might stumble
/// over, and ends with a line feed. None of these characters can be outside a string.
pub(crate) fn go_json(value: &Value) -> String {
    let mut text = value.to_string();
    for (character, escape) in [
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u{2028}", "\\u2028"),
        ("\u{2029}", "\\u2029"),
    ] {
        text = text.replace(character, escape);
    }
    text.push('\n');
    text
}
