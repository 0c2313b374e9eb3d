//! What the server was asked, and what it answered.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, Method, Version};
use serde_json::Value;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, `POST`, …
    pub method: Method,
    /// The path as sent, percent-encoding and `/v1/` included.
    pub path: String,
    /// The part after the `?`, or nothing.
    pub query: String,
    /// The server's name: `Host` in HTTP/1.1, `:authority` in HTTP/2.
    pub authority: String,
    /// All headers as sent.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Vec<u8>,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The TCP connection that it came on, counted from 1.
    pub connection: usize,
    /// The certificates that the client presented in the TLS handshake, as DER.
    pub certificates: Arc<Vec<Vec<u8>>>,
    /// `None` while there is no answer, and for good if a fault gives none.
    pub status: Option<u16>,
}

impl Recorded {
    /// Returns a header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the token that came with it.
    pub fn token(&self) -> Option<&str> {
        self.header("x-vault-token")
    }

    /// Returns the body as JSON; null if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns `GET /v1/secret/data/app`, with the query if there is one.
    pub fn line(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{mark}{}", self.method, self.path, self.query)
    }
}

#[derive(Default)]
struct Entries {
    requests: Vec<Recorded>,
    /// The number of cleared requests: those that were cleared before they were answered must not
    /// be mistaken for later ones.
    cleared: usize,
    connections: usize,
    connections_before_clear: usize,
    server_names: Vec<Option<String>>,
}

/// The record, which many connections write and a test reads.
#[derive(Default)]
pub(crate) struct Log {
    entries: Mutex<Entries>,
    changed: Condvar,
}

impl Log {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection and returns its number.
    pub(crate) fn connected(&self) -> usize {
        let mut entries = self.entries();
        entries.connections += 1;
        self.changed.notify_all();
        entries.connections
    }

    /// Records the name that a client asked for in a TLS handshake (SNI).
    pub(crate) fn named(&self, name: Option<String>) {
        self.entries().server_names.push(name);
    }

    pub(crate) fn server_names(&self) -> Vec<Option<String>> {
        self.entries().server_names.clone()
    }

    /// Records a request and returns its number.
    pub(crate) fn asked(&self, request: Recorded) -> usize {
        let mut entries = self.entries();
        entries.requests.push(request);
        self.changed.notify_all();
        entries.cleared + entries.requests.len() - 1
    }

    pub(crate) fn answered(&self, number: usize, status: u16) {
        let mut entries = self.entries();
        let index = number.checked_sub(entries.cleared);
        if let Some(request) = index.and_then(|index| entries.requests.get_mut(index)) {
            request.status = Some(status);
        }
        self.changed.notify_all();
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.entries().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        let entries = self.entries();
        entries.connections - entries.connections_before_clear
    }

    pub(crate) fn clear(&self) {
        let mut entries = self.entries();
        entries.cleared += entries.requests.len();
        entries.requests.clear();
        entries.server_names.clear();
        entries.connections_before_clear = entries.connections;
    }

    pub(crate) fn wait_for(
        &self,
        mut wanted: impl FnMut(&[Recorded]) -> bool,
        timeout: Duration,
    ) -> bool {
        let waiting = self
            .changed
            .wait_timeout_while(self.entries(), timeout, |entries| !wanted(&entries.requests));
        let (_entries, result) = waiting.unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }
}
