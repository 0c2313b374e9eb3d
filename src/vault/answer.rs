//! What an HTTP answer says about a request, before anything reads its data (pure).

use std::time::Duration;

use serde_json::Value;

use crate::error::{Cause, Code, Error};
use crate::http::answers::Budget;
use crate::http::deadline::shown;
use crate::http::redact::Redactor;
use crate::http::retry::seconds;
use crate::printable::compact;
use crate::vault::spelling;

/// Things that Vault says only in words and that a decision depends on. The words are read once,
/// when an answer arrives; nothing later looks at a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The node is sealed, and has done nothing.
    Sealed,
    /// The node is not the active one, and has done nothing.
    Standby,
    /// A KV mount is being upgraded to version 2, and has done nothing.
    Upgrading,
    /// The namespace does not exist.
    NoNamespace,
    /// The token itself is refused, not the request.
    BadToken,
    /// The wrapping token is used up or never was a wrapping token.
    BadWrappingToken,
    /// A token's last use would have made a lease, which was revoked at once.
    Withheld,
    /// The lease no longer exists.
    NoLease,
    /// The lease, or the token, cannot be renewed.
    NotRenewable,
    /// Nothing is mounted there, because the path has a second `v1/`.
    SecondV1,
    /// Nothing is mounted there.
    NoMount,
    /// The mount is KV v2, and the path has no `data/`.
    WithoutData,
    /// A login names no role, but the method wants one.
    NoRole,
    /// A login names a role that does not exist.
    UnknownRole,
    /// The proof of identity has expired.
    Expired,
    /// The proof of identity is meant for somebody other than Vault.
    WrongAudience,
    /// A method says with a status of 500 that the login is not authorized.
    NotAuthorized,
    /// A role of type gce was used with a token that names no machine.
    NoMachine,
    /// A role of type iam was used with a token that lives longer than the role allows.
    LivesTooLong,
    /// A platform service that Vault asks during a login is too busy or was not reached.
    Upstream,
    /// Other words, or none.
    Other,
}

impl Meaning {
    /// Reads the words of an answer. `permission denied` alone is about a token; a policy's refusal
    /// is a list (`1 error occurred: …`) that contains the same words.
    fn of(status: u16, body: &Value) -> Meaning {
        let errors = texts(body, "errors");
        let of_errors = errors.iter().map(|text| Meaning::of_error(status, text));
        let of_warnings = texts(body, "warnings").into_iter().map(Meaning::of_warning);
        of_errors
            .chain(of_warnings)
            .find(|found| *found != Meaning::Other)
            .unwrap_or(Meaning::Other)
    }

    /// Compares the states of a node exactly: similar words from a method are a refusal.
    fn of_error(status: u16, text: &str) -> Meaning {
        match text {
            "Vault is sealed" => Meaning::Sealed,
            "no active Vault instance found"
            | "local node not active but active cluster node not found"
            | "node is not active"
            | "Vault is in standby mode" => Meaning::Standby,
            "namespace not found" if status == 404 => Meaning::NoNamespace,
            "permission denied" | "bad token" if status == 403 => Meaning::BadToken,
            _ if status == 403 && text.contains("invalid token") => Meaning::BadToken,
            _ if text.contains("wrapping token") => Meaning::BadWrappingToken,
            _ if status == 400 && text.contains("lease not found") => Meaning::NoLease,
            _ if status == 400 && text.contains("not renewable") => Meaning::NotRenewable,
            _ if text.contains(WITHHELD) => Meaning::Withheld,
            _ if status == 404 && text.contains("route \"v1/") => Meaning::SecondV1,
            _ if status == 404 && text.contains("no handler for route") => Meaning::NoMount,
            _ if text.starts_with(UPGRADING) => Meaning::Upgrading,
            _ => Meaning::of_login(status, text),
        }
    }

    /// Reads the words of methods that refuse a login. With a status of 500 only azure's words
    /// count, because azure refuses with it; others may be about Vault's own certificates, for
    /// example.
    fn of_login(status: u16, text: &str) -> Meaning {
        let lower = text.to_ascii_lowercase();
        match status {
            400 if is_upstream(text) => Meaning::Upstream,
            500 if lower.contains("claims with gce metadata") => Meaning::NoMachine,
            500 if !is_refusal_of_azure(&lower) => Meaning::Other,
            _ if lower.contains("claims with gce metadata") => Meaning::NoMachine,
            400 if lower.contains("jwts expire within") => Meaning::LivesTooLong,
            400 | 401 | 403 | 500 if lower.contains("expired") => Meaning::Expired,
            400 | 401 | 403 | 500 if lower.contains("audience") => Meaning::WrongAudience,
            500 => Meaning::NotAuthorized,
            400 if text == "missing role" || text == "role is required" => Meaning::NoRole,
            400 if is_about_role(text) => Meaning::UnknownRole,
            _ => Meaning::Other,
        }
    }

    /// Returns whether it is the refusal of a login, whatever the status.
    fn is_refused_login(self) -> bool {
        matches!(
            self,
            Meaning::Expired | Meaning::WrongAudience | Meaning::NotAuthorized | Meaning::NoMachine
        )
    }

    fn of_warning(text: &str) -> Meaning {
        let is_without_data = text.starts_with("Invalid path for a versioned K/V");
        if is_without_data { Meaning::WithoutData } else { Meaning::Other }
    }
}

/// Matches the words of jwt, gcp and aws, and those of kubernetes and azure.
fn is_about_role(text: &str) -> bool {
    let is_not_found = text.ends_with("could not be found") || text.ends_with("not found");
    is_not_found && (text.starts_with("role ") || text.starts_with("entry for role "))
        || text.starts_with("invalid role name")
}

/// Returns whether the azure method refuses with this text, in lower case. If it could not fetch
/// Azure's keys, it has not checked anything yet.
fn is_refusal_of_azure(text: &str) -> bool {
    let is_without_keys = text.contains("fetching keys") || text.contains("get keys failed");
    let says = |words: &str| text.contains(words);
    !is_without_keys
        && (says(" not authorized")
            || text.starts_with("oidc: ")
            || says("failed to verify signature")
            || says("match expected identities")
            || says("token is not yet valid")
            || text.ends_with("are required")
            || says("claims are missing from token")
            || says("token claim does not match")
            || says("provided resource_id does not match")
            || says("both cannot be '*'")
            || says("bound scale set defined but"))
}

/// Returns whether this is what the aws or the gcp method says if the service that it asks throttles,
/// has failed or was not reached.
fn is_upstream(text: &str) -> bool {
    const BUSY: [&str; 6] = [
        "error making request: ",
        "Throttling",
        "RequestLimitExceeded",
        "Rate exceeded",
        "received error code 429",
        "received error code 5",
    ];
    if let Some((_, status)) = text.split_once("googleapi: Error ") {
        return status.starts_with("429") || status.starts_with('5');
    }
    text.starts_with("error making upstream request: ")
        && BUSY.iter().any(|busy| text.contains(busy))
}

/// What Vault briefly says just after a KV mount was upgraded to version 2.
const UPGRADING: &str = "Upgrading from non-versioned to versioned data";
/// How Vault says that it gives no lease for a token's last use.
const WITHHELD: &str = "token had one use left, so leased credentials were immediately revoked";

/// An answer that comes from Vault: JSON or nothing, with a status that is about the request
/// itself.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status: 2xx or 4xx, or the 500 of a refused login.
    pub status: u16,
    /// What its words mean.
    pub meaning: Meaning,
    /// The texts of `errors`, without credentials.
    pub errors: Vec<String>,
    /// The texts of `warnings`, without credentials.
    pub warnings: Vec<String>,
    /// The body; null if there was none.
    pub body: Body,
}

/// A JSON body. It may hold secrets, so it is never shown.
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
    /// Vault has not done it. The request may be sent again, even if it must not be done twice.
    NotDone {
        /// Why.
        error: Error,
        /// How long Vault asked to wait.
        wait: Option<Duration>,
    },
    /// It is not known whether Vault has done it.
    Unknown(Error),
    /// The same, but for a login it is a refusal, which a method reports with a status of 500.
    RefusedLogin(Answer, Error),
    /// Asking again would change nothing.
    Final(Error),
}

/// An HTTP answer as it arrived.
pub struct Raw<'a> {
    /// The status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub bytes: &'a [u8],
}

/// Judges an answer. The credentials quoted in its words are removed here, once.
pub fn judge(raw: &Raw<'_>, redactor: &Redactor, budget: &Budget) -> Verdict {
    let answer = match body(raw.bytes, budget) {
        Ok(body) => body.map(|body| Answer::new(raw.status, body, redactor)),
        Err(error) => return Verdict::Final(error),
    };
    let meaning = answer.as_ref().map_or(Meaning::Other, |answer| answer.meaning);
    let unavailable = |answer: Option<&Answer>| unavailable(raw, answer);
    match (raw.status, answer) {
        (200..300, Some(answer)) => Verdict::Answered(answer),
        (200..300, None) => Verdict::Final(not_vaults(raw, "is not JSON")),
        (412 | 429 | 472 | 473 | 503, answer) => {
            Verdict::NotDone { error: unavailable(answer.as_ref()), wait: wait(raw) }
        }
        (400, Some(answer)) if meaning == Meaning::Upgrading => {
            Verdict::NotDone { error: unavailable(Some(&answer)), wait: None }
        }
        (404, Some(answer)) if meaning == Meaning::NoNamespace => {
            Verdict::Final(Error::config(answer.refusal()).because(Cause::NoNamespace))
        }
        (400..500, Some(answer)) if has_errors(&answer.body.0) => Verdict::Answered(answer),
        (400..500, _) => {
            let error = not_vaults(raw, "does not have the form of Vault's errors");
            Verdict::Final(error.because(Cause::Blocked))
        }
        // A node reports these states with any of these statuses.
        (500..600, Some(answer)) if matches!(meaning, Meaning::Sealed | Meaning::Standby) => {
            Verdict::NotDone { error: unavailable(Some(&answer)), wait: wait(raw) }
        }
        (500, Some(answer)) if meaning.is_refused_login() => {
            let error = unavailable(Some(&answer));
            Verdict::RefusedLogin(answer, error)
        }
        (501, answer) => Verdict::Final(unavailable(answer.as_ref())),
        (500..600, answer) => Verdict::Unknown(unavailable(answer.as_ref())),
        (_, _) => Verdict::Final(not_vaults(raw, "has a status that Vault does not use")),
    }
}

impl Answer {
    /// Creates an answer with this status and body, and reads and cleans its words.
    pub fn new(status: u16, body: Value, redactor: &Redactor) -> Answer {
        let clean =
            |name| texts(&body, name).into_iter().map(|text| redactor.clean(text)).collect();
        Answer {
            status,
            meaning: Meaning::of(status, &body),
            errors: clean("errors"),
            warnings: clean("warnings"),
            body: Body(body),
        }
    }

    /// Returns whether the request was done.
    pub fn is_success(&self) -> bool {
        self.status < 300
    }

    /// Returns the status and Vault's own words, for a message.
    pub fn refusal(&self) -> String {
        let words = self.words();
        if words.is_empty() {
            format!("status {}", self.status)
        } else {
            format!("status {}: {words}", self.status)
        }
    }

    /// Returns Vault's own words in one line.
    pub fn words(&self) -> String {
        compact(&self.errors.join("; "))
    }
}

/// Parses a body. An empty body is null; anything that is not JSON is `None`.
fn body(bytes: &[u8], budget: &Budget) -> Result<Option<Value>, Error> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Some(Value::Null));
    }
    let mut body = budget.parse(bytes)?;
    if let Some(body) = &mut body {
        spelling::keep(bytes, body);
    }
    Ok(body)
}

/// Returns whether this is Vault's form: its errors are `{"errors": […]}`, and a deleted version of
/// a secret is a 404 with data.
fn has_errors(body: &Value) -> bool {
    body.get("errors").is_some_and(Value::is_array) || body.get("data").is_some()
}

fn unavailable(raw: &Raw<'_>, answer: Option<&Answer>) -> Error {
    let patience = wait(raw)
        .map(|wait| format!("; it is to be asked again in {}", shown(wait)))
        .unwrap_or_default();
    let status = format!("status {}", raw.status);
    let (words, meaning, is_silent) = answer.map_or((status, Meaning::Other, true), |answer| {
        (answer.refusal(), answer.meaning, answer.errors.is_empty())
    });
    let (hint, cause) = remedy(raw.status, meaning, is_silent);
    Error::new(Code::Unavailable, format!("{words}{patience}")).because(cause).hint(hint)
}

/// Returns what to do about a server that is not ready, and that may have said nothing about
/// itself.
fn remedy(status: u16, meaning: Meaning, is_silent: bool) -> (&'static str, Cause) {
    let hint = match (status, meaning) {
        (412, _) => "the node does not have yet what another one has: it catches up, or is cut off",
        (429, _) => "it takes fewer starts at once, a higher quota, or a longer --timeout",
        (501, _) => "has Vault been initialized, and is it Vault that answers there?",
        (_, Meaning::Sealed) => "unseal it, or wait for it with a longer --timeout",
        (_, Meaning::Standby) => "the cluster elects a leader, or too few of its nodes are up",
        _ if is_silent => "a load balancer answers like this if no Vault behind it is ready",
        _ => return ("Vault's own log says more", Cause::Unexplained),
    };
    (hint, Cause::Other)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> String {
        let raw = Raw { status, retry_after: None, bytes: body.as_bytes() };
        match judge(&raw, &Redactor::default(), &Budget::default()) {
            Verdict::Answered(answer) => format!("answered {}", answer.status),
            Verdict::NotDone { error, .. } => format!("not done {}", error.code.status()),
            Verdict::Unknown(error) => format!("unknown {}", error.code.status()),
            Verdict::RefusedLogin(answer, _) => format!("refused login {}", answer.status),
            Verdict::Final(error) => format!("final {}", error.code.status()),
        }
    }

    fn answer(status: u16, body: Value) -> Answer {
        Answer::new(status, body, &Redactor::default())
    }

    #[test]
    fn words_lose_credentials_and_keep_what_they_mean() {
        let redactor = Redactor::default();
        redactor.add(&"wrapping token".into());
        let body = serde_json::json!({"errors": ["wrapping token is not valid"]});
        let answer = Answer::new(400, body, &redactor);
        assert_eq!(answer.refusal(), "status 400: [redacted] is not valid");
        assert_eq!(answer.meaning, Meaning::BadWrappingToken);
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
            (407, "<html>", "final 76"),
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
            (500, r#"{"errors":["service principal not authorized: x"]}"#, "refused login 500"),
            (502, r#"{"errors":["service principal not authorized: x"]}"#, "unknown 69"),
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
            (503, &["no active Vault instance found"], "leader"),
            (500, &["local node not active but active cluster node not found"], "leader"),
        ] {
            let meaning = Meaning::of(status, &serde_json::json!({ "errors": errors }));
            let (hint, _) = remedy(status, meaning, errors.is_empty());
            assert!(hint.contains(part), "{status} {errors:?}: {hint}");
        }
    }

    #[test]
    fn words_have_a_meaning_where_something_is_decided_by_them() {
        for (status, text, meaning) in [
            (403, "permission denied", Meaning::BadToken),
            (
                403,
                "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
                Meaning::BadToken,
            ),
            (403, "bad token", Meaning::BadToken),
            (403, "1 error occurred:\n\t* permission denied\n\n", Meaning::Other),
            (400, "permission denied", Meaning::Other),
            (400, "wrapping token is not valid or does not exist", Meaning::BadWrappingToken),
            (404, "namespace not found", Meaning::NoNamespace),
            (400, "namespace not found", Meaning::Other),
            (503, "Vault is sealed", Meaning::Sealed),
            (500, "the user's vault is sealed", Meaning::Other),
            (500, "node is not active", Meaning::Standby),
            (500, "the user's node is not active", Meaning::Other),
            (400, "Upgrading from non-versioned to versioned data. This", Meaning::Upgrading),
            (
                404,
                "no handler for route \"v1/secret/x\". route entry not found.",
                Meaning::SecondV1,
            ),
            (404, "no handler for route \"secret/x\". route entry not found.", Meaning::NoMount),
            (
                400,
                "1 error occurred:\n\t* token had one use left, so leased credentials were immediately revoked\n\n",
                Meaning::Withheld,
            ),
        ] {
            let answer = answer(status, serde_json::json!({ "errors": ["x", text] }));
            assert_eq!(answer.meaning, meaning, "{status} {text}");
        }
        let warned = serde_json::json!({"warnings": ["Invalid path for a versioned K/V secrets engine. See"]});
        assert_eq!(answer(404, warned).meaning, Meaning::WithoutData);
    }

    #[test]
    fn refused_logins_have_a_meaning() {
        use Meaning::{
            Expired, NoRole, NotAuthorized, Other, UnknownRole, Upstream, WrongAudience,
        };
        for (status, text, meaning) in [
            (400, "missing role", NoRole),
            (400, "role is required", NoRole),
            (400, "role \"app\" could not be found", UnknownRole),
            (400, "role \"app\" not found", UnknownRole),
            (400, "entry for role app not found", UnknownRole),
            (400, "invalid role name \"app\"", UnknownRole),
            (400, "error validating token: token is expired", Expired),
            (403, "Token has expired", Expired),
            (500, "oidc: token is expired (Token Expiry: 2026-01-01)", Expired),
            (500, "tls: failed to verify certificate: x509: certificate has expired", Other),
            (
                400,
                "error validating claims: aud claim does not match any bound audience",
                WrongAudience,
            ),
            (500, "oidc: expected audience \"a\" got [\"b\"]", WrongAudience),
            (500, "service principal not authorized: 0f", NotAuthorized),
            (500, "groups not authorized: [a]", NotAuthorized),
            (500, "subscription not authorized: 0f", NotAuthorized),
            (500, "resource group not authorized: web", NotAuthorized),
            (500, "scale set not authorized: web", NotAuthorized),
            (500, "location not authorized: westeurope", NotAuthorized),
            (500, "failed to verify signature: failed to verify id token signature", NotAuthorized),
            (500, "failed to verify signature: fetching keys oidc: get keys failed: EOF", Other),
            (500, "token object id does not match expected identities", NotAuthorized),
            (500, "token is not yet valid (Token Not Before: 2026)", NotAuthorized),
            (500, "subscription_id and resource_group_name are required", NotAuthorized),
            (500, "bound scale set defined but no vmss_name", NotAuthorized),
            (
                500,
                "expected specific bound_group_ids or bound_service_principal_ids; both cannot be '*'",
                NotAuthorized,
            ),
            (
                400,
                "could not find service account \"a\": googleapi: Error 503: unavailable",
                Upstream,
            ),
            (
                400,
                "error when attempting to find instance a: googleapi: Error 500: backend",
                Upstream,
            ),
            (400, "could not find service account \"a\": googleapi: Error 404: none", Other),
            (500, "internal error", Other),
            (404, "role \"app\" not found", Other),
            (
                400,
                "error making upstream request: received error code 400 from STS: <Code>Throttling</Code>",
                Upstream,
            ),
            (400, "error making upstream request: received error code 503 from STS: ", Upstream),
            (
                400,
                "error making upstream request: error making request: dial tcp: i/o timeout",
                Upstream,
            ),
            (
                400,
                "error making upstream request: received error code 403 from STS: <Code>InvalidClientTokenId</Code>",
                Other,
            ),
            (400, "invalid role or secret ID", Other),
        ] {
            let found = answer(status, serde_json::json!({ "errors": [text] })).meaning;
            assert_eq!(found, meaning, "{status} {text}");
        }
    }

    #[test]
    fn several_errors_become_one_line_of_bounded_length() {
        let text = format!("2 errors occurred:\n\t* a\n\t* {}\n\n", "bbb ".repeat(200));
        let shown = answer(403, serde_json::json!({ "errors": [text] })).refusal();
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
}
