//! What the server does instead of what it should do.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;

/// One way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers with this and does nothing of what was asked.
    Answer {
        /// The status.
        status: u16,
        /// Headers; without a `content-type` it is JSON.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Does what was asked, but later.
    Delay(Duration),
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Close,
    /// Resets the connection (RST) without an answer.
    Reset,
    /// Does what was asked, then resets the connection: the client cannot know.
    LoseAnswer,
    /// Does what was asked, but ends the connection in the middle of the answer's body.
    Truncate,
    /// Does what was asked, and sends the answer's body byte by byte with a pause after each.
    Drip(Duration),
    /// Answers 200 with a body that never ends.
    Endless,
    /// Does what was asked, and says that the connection ends with this answer (HTTP/1.1).
    LastOfConnection,
    /// Puts these bytes on the connection (under TLS, if there is TLS) in place of HTTP, and closes
    /// it.
    Raw(Vec<u8>),
    /// The same, but resets it (RST).
    RawReset(Vec<u8>),
    /// The same as `Raw`, with a pause after each byte.
    RawDrip(Vec<u8>, Duration),
}

impl Fault {
    /// Returns an answer with any status and any body.
    pub fn answer(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.into() }
    }

    /// Returns an error in Vault's format with a status.
    pub fn error(status: u16, text: &str) -> Self {
        Self::answer(status, format!("{}\n", serde_json::json!({ "errors": [text] })))
    }

    /// Returns the same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Returns a 503 like that of a sealed server.
    pub fn sealed() -> Self {
        Self::error(503, "Vault is sealed")
    }

    /// Returns a 503 like that of a standby without a leader.
    pub fn no_leader() -> Self {
        Self::error(503, "no active Vault instance found")
    }

    /// Returns a 429, with `Retry-After` if the operator has enabled it.
    pub fn rate_limited(retry_after: Option<&str>) -> Self {
        let fault = Self::error(429, "request path \"secret/data/app\": rate limit quota exceeded");
        retry_after.into_iter().fold(fault, |fault, value| fault.with_header("retry-after", value))
    }

    /// Returns a 412 like that of a performance standby that lags behind.
    pub fn lagging() -> Self {
        Self::error(412, "required index state not present")
    }

    /// Returns a 500 in Vault's format.
    pub fn internal_error() -> Self {
        Self::error(500, "internal error")
    }

    /// Returns a proxy's 502: HTML.
    pub fn bad_gateway() -> Self {
        Self::answer(
            502,
            "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>\r\n",
        )
        .with_header("content-type", "text/html")
    }

    /// Returns the 307 of a standby that does not forward.
    pub fn redirect(location: &str) -> Self {
        Self::answer(307, "").with_header("location", location)
    }

    /// Returns a 200 with a body that ends in the middle of its JSON, although HTTP says that it is
    /// complete.
    pub fn invalid_json() -> Self {
        Self::answer(200, r#"{"request_id":"","data":{"#)
    }

    /// Returns the HTTP/2 frame with which a server says that it has not processed a stream, and
    /// never will (RFC 9113, 8.7).
    pub fn refused_stream(stream: u32) -> Self {
        const REFUSED_STREAM: u32 = 7;
        Self::Raw(frame(3, stream, &[REFUSED_STREAM]))
    }

    /// Returns the HTTP/2 frame with which a server says goodbye: streams after `last` were not
    /// processed (RFC 9113, 6.8).
    pub fn go_away(last: u32) -> Self {
        const NO_ERROR: u32 = 0;
        Self::Raw(frame(7, 0, &[last, NO_ERROR]))
    }

    /// Returns a 200 with JSON that is not an answer from Vault.
    pub fn wrong_shape() -> Self {
        Self::answer(200, r#"["not","an","envelope"]"#)
    }
}

/// Builds an HTTP/2 frame without flags (RFC 9113, 4.1).
fn frame(kind: u8, stream: u32, payload: &[u32]) -> Vec<u8> {
    let length = u8::try_from(payload.len() * 4).expect("a short frame");
    let payload = payload.iter().flat_map(|number| number.to_be_bytes());
    [0, 0, length, kind, 0].into_iter().chain(stream.to_be_bytes()).chain(payload).collect()
}

/// Which requests a fault applies to: a method, or any; and how the path begins, including `/v1/`.
#[derive(Clone, Debug)]
pub struct Matcher {
    method: Option<Method>,
    prefix: String,
}

impl Matcher {
    /// Matches every request.
    pub fn any() -> Self {
        Self { method: None, prefix: String::new() }
    }

    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method) && path.starts_with(&self.prefix)
    }
}

/// Parses `"POST /v1/auth/"`, or `"/v1/secret/"` for every method.
impl From<&str> for Matcher {
    fn from(text: &str) -> Self {
        let (method, prefix) =
            text.split_once(' ').map_or((None, text), |(method, prefix)| (Some(method), prefix));
        let method = method.map(|method| Method::from_bytes(method.as_bytes()).expect("a method"));
        Self { method, prefix: prefix.to_owned() }
    }
}

struct Planned {
    matcher: Matcher,
    fault: Fault,
    /// `None` means always.
    left: Option<usize>,
}

/// The planned faults; the first one that matches applies.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Vec<Planned>>);

impl Faults {
    pub(crate) fn plan(&self, matcher: Matcher, fault: Fault, left: Option<usize>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Planned {
            matcher,
            fault,
            left,
        });
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the fault for a request, and counts it as used once.
    pub(crate) fn take(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = planned
            .iter_mut()
            .find(|plan| plan.left != Some(0) && plan.matcher.matches(method, path))?;
        found.left = found.left.map(|left| left - 1);
        Some(found.fault.clone())
    }
}
