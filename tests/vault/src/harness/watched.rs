//! What all of our own servers can do: report what they were asked, and misbehave.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio_rustls::TlsAcceptor;

use crate::harness::leaks;
use crate::harness::record::Recorded;
use crate::wire::fault::{Fault, Matcher};
use crate::wire::listen::{Listener, Running};
use crate::wire::service::Service;

/// A running server, which ends when this is dropped.
pub struct Watched {
    pub(crate) service: Arc<Service>,
    _running: Running,
}

impl Watched {
    pub(crate) fn start(
        listener: Listener,
        tls: Option<TlsAcceptor>,
        service: Arc<Service>,
    ) -> Self {
        Self { _running: Running::start(listener, tls, Arc::clone(&service)), service }
    }

    /// Returns all requests since the start or the last [`clear`](Self::clear), in the order in
    /// which they arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.service.log.requests()
    }

    /// Returns the same as lines: `GET /v1/secret/data/app`.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::line).collect()
    }

    /// Returns how many TCP connections were accepted, including those that carried no request.
    pub fn connections(&self) -> usize {
        self.service.log.connections()
    }

    /// Returns the name that each TLS handshake asked for (SNI), if any, in order.
    pub fn server_names(&self) -> Vec<Option<String>> {
        self.service.log.server_names()
    }

    /// Forgets the requests and connections so far.
    pub fn clear(&self) {
        self.service.log.clear();
    }

    /// Waits until the requests are as wanted, and returns false if that takes longer than the
    /// timeout. It checks again whenever a request arrives or is answered.
    pub fn wait_for(&self, wanted: impl FnMut(&[Recorded]) -> bool, timeout: Duration) -> bool {
        self.service.log.wait_for(wanted, timeout)
    }

    /// Misbehaves for every request that matches.
    pub fn fault(&self, matcher: impl Into<Matcher>, fault: Fault) {
        self.service.faults.plan(matcher.into(), fault, None);
    }

    /// Misbehaves for the next `times` requests that match. Several plans for the same requests
    /// take turns.
    pub fn fault_times(&self, times: usize, matcher: impl Into<Matcher>, fault: Fault) {
        self.service.faults.plan(matcher.into(), fault, Some(times));
    }

    /// Stops misbehaving.
    pub fn clear_faults(&self) {
        self.service.faults.clear();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !thread::panicking() {
            leaks::assert_none_asked();
        }
    }
}
