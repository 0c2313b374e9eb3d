//! What an HTTP answer says about a request, before anybody looks at its data (pure).

use std::time::Duration;

use serde_json::Value;

use crate::error::{Code, Error};
use crate::http::deadline::shown;

/// What a node says that is not the one to be asked.
const NOT_READY: [&str; 5] = [
    "Vault is sealed",
    NO_LEADER,
    NO_ACTIVE_NODE,
    "node is not active",
    "Vault is in standby mode",
];
const NO_LEADER: &str = "no active Vault instance found";
const NO_ACTIVE_NODE: &str = "local node not active but active cluster node not found";

/// The remedy for what Vault's own words do not tell.
pub const UNCLEAR: &str = "Vault's own log says more";

/// An answer that is Vault's: JSON, or nothing, with a status that speaks of the request itself.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status: 2xx or 4xx.
    pub status: u16,
    /// The body; null where there was none.
    pub body: Body,
}

/// A JSON body, which may hold secrets and so is never shown.
pub struct Body(pub Value);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What to do after a try.
#[derive(Debug)]
pub enum Verdict {
    /// Vault has answered.
    Answered(Answer),
    /// Vault has not done it: it may be asked again, also for what must not be done twice.
    NotDone {
        /// Why.
        error: Error,
        /// How long Vault asked to wait.
        wait: Option<Duration>,
    },
    /// It is not known whether Vault has done it.
    Unknown(Error),
    /// Asking again would change nothing.
    Final(Error),
}

/// An HTTP answer as it came.
pub struct Raw<'a> {
    /// The status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub bytes: &'a [u8],
}

/// Judges an answer.
pub fn judge(raw: &Raw<'_>) -> Verdict {
    let body = body(raw.bytes);
    match (raw.status, body) {
        (200..300, Some(body)) => {
            Verdict::Answered(Answer { status: raw.status, body: Body(body) })
        }
        (200..300, None) => Verdict::Final(not_vaults(raw, "is not JSON")),
        (412 | 429 | 472 | 473 | 503, body) => {
            Verdict::NotDone { error: unavailable(raw, body.as_ref()), wait: wait(raw) }
        }
        (400, Some(body)) if is_upgrading(&body) => {
            Verdict::NotDone { error: unavailable(raw, Some(&body)), wait: None }
        }
        (407, _) => Verdict::Final(not_through_proxy()),
        (404, Some(body)) if texts(&body, "errors").contains(&"namespace not found") => {
            Verdict::Final(Error::config(words(404, Some(&body))))
        }
        (400..500, Some(body)) if has_errors(&body) => {
            Verdict::Answered(Answer { status: raw.status, body: Body(body) })
        }
        (400..500, _) => {
            Verdict::Final(not_vaults(raw, "does not have the form of Vault's errors"))
        }
        (500..600, Some(body)) if is_not_ready(&body) => {
            Verdict::NotDone { error: unavailable(raw, Some(&body)), wait: wait(raw) }
        }
        (501, body) => Verdict::Final(unavailable(raw, body.as_ref())),
        (500..600, body) => Verdict::Unknown(unavailable(raw, body.as_ref())),
        (_, _) => Verdict::Final(not_vaults(raw, "has a status that Vault does not use")),
    }
}

impl Answer {
    /// Whether the request was done.
    pub fn is_success(&self) -> bool {
        self.status < 300
    }

    /// The status and Vault's own words, for a message. They are not redacted yet.
    pub fn refusal(&self) -> String {
        words(self.status, Some(&self.body.0))
    }

    /// Whether it is the token that is refused and not what it asked for: a policy's refusal comes
    /// as a list of errors, one of the token without, or with `invalid token` in it.
    pub fn refuses_token(&self) -> bool {
        let of_token = |text: &&str| {
            *text == "permission denied" || text.contains("invalid token") || *text == "bad token"
        };
        self.status == 403 && self.errors().iter().any(of_token)
    }

    /// Vault's own words, in one line; not redacted yet.
    pub fn words(&self) -> String {
        compact(&self.errors().join("; "))
    }

    /// The texts of `errors`.
    pub fn errors(&self) -> Vec<&str> {
        texts(&self.body.0, "errors")
    }

    /// The texts of `warnings`.
    pub fn warnings(&self) -> Vec<&str> {
        texts(&self.body.0, "warnings")
    }
}

/// No body is null; what is not JSON is `None`.
fn body(bytes: &[u8]) -> Option<Value> {
    if bytes.trim_ascii().is_empty() {
        return Some(Value::Null);
    }
    serde_json::from_slice(bytes).ok()
}

/// Vault's errors are `{"errors": […]}`; a deleted version of a secret is a 404 with data.
fn has_errors(body: &Value) -> bool {
    body.get("errors").is_some_and(Value::is_array) || body.get("data").is_some()
}

/// A node that is sealed or on standby has done nothing, whatever status it says so with; 500 is
/// one of them. The texts are compared to the letter, for one of a method's own is a refusal.
fn is_not_ready(body: &Value) -> bool {
    texts(body, "errors").iter().any(|text| NOT_READY.contains(text))
}

/// Just after a KV mount was upgraded to version 2 it answers so for a moment.
fn is_upgrading(body: &Value) -> bool {
    texts(body, "errors")
        .iter()
        .any(|text| text.starts_with("Upgrading from non-versioned to versioned data"))
}

fn unavailable(raw: &Raw<'_>, body: Option<&Value>) -> Error {
    let patience = wait(raw)
        .map(|wait| format!("; it is to be asked again in {}", shown(wait)))
        .unwrap_or_default();
    let errors = body.map(|body| texts(body, "errors")).unwrap_or_default();
    Error::new(Code::Unavailable, format!("{}{patience}", words(raw.status, body)))
        .hint(remedy(raw.status, &errors))
}

/// What to do about a server that is not ready.
fn remedy(status: u16, errors: &[&str]) -> &'static str {
    match status {
        412 => "the node has not got yet what another one has: it catches up, or is cut off",
        429 => "it takes fewer starts at once, a higher quota, or a longer --timeout",
        501 => "has Vault been initialized, and is it Vault that answers there?",
        _ if errors.iter().any(|text| text.contains("sealed")) => {
            "unseal it, or wait for it with a longer --timeout"
        }
        _ if errors.iter().any(|text| NOT_READY.contains(text)) => {
            "the cluster elects a leader, or too few of its nodes are up"
        }
        _ if errors.is_empty() => {
            "a load balancer answers like this where no Vault behind it is ready"
        }
        _ => UNCLEAR,
    }
}

fn not_vaults(raw: &Raw<'_>, what: &str) -> Error {
    let error = Error::new(Code::Protocol, format!("the answer with status {} {what}", raw.status));
    if raw.bytes.starts_with(b"Client sent an HTTP request to an HTTPS server") {
        return error.hint("the server speaks TLS on this port: use https:// in the address");
    }
    error.hint(
        "is the address that of Vault's API, and is it Vault that answers there, not a load \
         balancer or a login page?",
    )
}

/// A proxy has not let a request through.
pub fn not_through_proxy() -> Error {
    Error::new(Code::Unavailable, "the proxy wants credentials, or others (status 407)")
        .hint("they go into its URL: http://user:password@proxy.example.com:3128.")
}

fn words(status: u16, body: Option<&Value>) -> String {
    let texts = body.map(|body| texts(body, "errors").join("; ")).unwrap_or_default();
    if texts.is_empty() {
        format!("status {status}")
    } else {
        format!("status {status}: {}", compact(&texts))
    }
}

/// Go's list of several errors has line breaks and tabs; one line and 500 bytes are enough for a
/// message. It ends between two words: nobody would know a part of a credential for one.
pub fn compact(text: &str) -> String {
    const MOST: usize = 500;
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = line.len() + 1 + word.len() <= MOST;
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(if fits { word } else { "…" });
        if !fits {
            break;
        }
    }
    line
}

fn texts<'a>(body: &'a Value, name: &str) -> Vec<&'a str> {
    body.get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn wait(raw: &Raw<'_>) -> Option<Duration> {
    seconds(raw.retry_after?)
}

/// `Retry-After` in seconds, which is the only form that Vault sends (RFC 9110, 10.2.3).
pub fn seconds(retry_after: &str) -> Option<Duration> {
    retry_after.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> String {
        match judge(&Raw { status, retry_after: None, bytes: body.as_bytes() }) {
            Verdict::Answered(answer) => format!("answered {}", answer.status),
            Verdict::NotDone { error, .. } => format!("not done {}", error.code.status()),
            Verdict::Unknown(error) => format!("unknown {}", error.code.status()),
            Verdict::Final(error) => format!("final {}", error.code.status()),
        }
    }

    #[test]
    fn statuses_and_bodies() {
        let errors = r#"{"errors":["x"]}"#;
        for (status, body, expected) in [
            (200, r#"{"data":{}}"#, "answered 200"),
            (204, "", "answered 204"),
            (200, "<html>", "final 76"),
            (200, r#"{"data":{}"#, "final 76"),
            (400, errors, "answered 400"),
            (403, errors, "answered 403"),
            (404, r#"{"errors":[]}"#, "answered 404"),
            (404, r#"{"data":{"data":null}}"#, "answered 404"),
            (404, r#"{"errors":["namespace not found"]}"#, "final 78"),
            (404, "<html>", "final 76"),
            (404, "", "final 76"),
            (403, r#"{"message":"x"}"#, "final 76"),
            (407, "<html>", "final 69"),
            (407, errors, "final 69"),
            (400, "Client sent an HTTP request to an HTTPS server.\n", "final 76"),
            (
                400,
                r#"{"errors":["Upgrading from non-versioned to versioned data. This"]}"#,
                "not done 69",
            ),
            (412, errors, "not done 69"),
            (429, errors, "not done 69"),
            (503, r#"{"errors":["Vault is sealed"]}"#, "not done 69"),
            (503, "<html>", "not done 69"),
            (500, errors, "unknown 69"),
            (502, "<html>", "unknown 69"),
            (501, errors, "final 69"),
            (
                500,
                r#"{"errors":["local node not active but active cluster node not found"]}"#,
                "not done 69",
            ),
            (500, r#"{"errors":["the user's account is not active"]}"#, "unknown 69"),
            (304, "", "final 76"),
        ] {
            assert_eq!(judged(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_body_that_nests_too_deep_is_no_answer_of_vaults() {
        let deep = "[".repeat(100_000);
        assert_eq!(judged(200, &deep), "final 76");
    }

    #[test]
    fn a_server_that_is_not_ready_is_said_to_need_something() {
        for (status, errors, part) in [
            (412, &["required index state not present"][..], "catches up"),
            (429, &["rate limit quota exceeded"], "quota"),
            (500, &["internal error"], "log"),
            (501, &[], "initialized"),
            (502, &[], "load balancer"),
            (503, &[], "load balancer"),
            (503, &["Vault is sealed"], "unseal"),
            (503, &[NO_LEADER], "leader"),
            (500, &[NO_ACTIVE_NODE], "leader"),
        ] {
            assert!(remedy(status, errors).contains(part), "{status} {errors:?}");
        }
    }

    #[test]
    fn several_errors_become_one_line_of_bounded_length() {
        let text = format!("2 errors occurred:\n\t* a\n\t* {}\n\n", "bbb ".repeat(200));
        let shown = words(403, Some(&serde_json::json!({ "errors": [text] })));
        assert!(
            shown.starts_with("status 403: 2 errors occurred: * a * bbb")
                && shown.len() < 600
                && !shown.contains('\n')
        );
    }

    #[test]
    fn retry_after_in_seconds() {
        let waits = |text| wait(&Raw { status: 429, retry_after: text, bytes: b"" });
        assert_eq!(waits(Some("3")), Some(Duration::from_secs(3)));
        assert_eq!((waits(Some("soon")), waits(None)), (None, None));
    }

    #[test]
    fn a_long_text_ends_between_two_words() {
        let words = |number: usize| vec!["s3cret"; number].join("\n\t");
        assert_eq!(compact(&words(71)), vec!["s3cret"; 71].join(" "));
        assert_eq!(compact(&words(72)), vec!["s3cret"; 71].join(" ") + " …");
        assert_eq!(compact(&"s3cret".repeat(100)), "…");
        assert_eq!(compact(" \n"), "");
    }
}
