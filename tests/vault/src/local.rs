//! A service of this machine that a program asks beside Vault: metadata of a cloud, a token service, or
//! whatever else speaks HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use tokio_rustls::TlsAcceptor;

use crate::fault::{Fault, Matcher};
use crate::listen::{Listener, Running};
use crate::record::Recorded;
use crate::service::{Service, Site, made_up};
use crate::tls::{self, TlsFiles};

/// Status, headers and body. Without a `content-type` it is JSON.
pub type LocalAnswer = (u16, Vec<(String, String)>, Vec<u8>);

struct Handler<F>(F);

impl<F: Fn(&Recorded) -> LocalAnswer + Send + Sync> Site for Handler<F> {
    fn answer(&self, request: &Recorded) -> Response<Vec<u8>> {
        let (status, headers, body) = (self.0)(request);
        made_up(status, headers, body)
    }
}

/// Plain HTTP on a free port, which records what it is asked, misbehaves on request, and ends when it is dropped.
pub struct LocalServer {
    service: Arc<Service>,
    scheme: &'static str,
    address: SocketAddr,
    /// Ends with the rest.
    _running: Running,
}

impl LocalServer {
    /// Whatever is asked, the handler answers.
    pub fn start(handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self::start_at(0, handler)
    }

    /// The same on this port: for a service that comes late.
    pub fn start_at(port: u16, handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self::of(Arc::new(Service::new(Arc::new(Handler(handler)))), port, None)
    }

    /// The same over TLS, on another port, and the files of its authority.
    pub fn over_tls(self) -> (Self, TlsFiles) {
        let (acceptor, files) = tls::prepare(tls::Settings::default());
        (Self::of(self.service, 0, Some(acceptor)), files)
    }

    fn of(service: Arc<Service>, port: u16, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (listener, address) = Listener::on_port(Ipv4Addr::LOCALHOST.into(), port);
        let running = Running::start(listener, tls, Arc::clone(&service));
        Self { service, scheme, address, _running: running }
    }

    /// Its URL, without a slash at its end.
    pub fn addr(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// All requests so far, in the order in which they arrived.
    pub fn requests(&self) -> Vec<Recorded> {
        self.service.log.requests()
    }

    /// The same as lines: `GET /metadata/instance?format=json`.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Recorded::line).collect()
    }

    /// Waits until the requests are as wanted, and says whether they were before the time was up.
    pub fn wait_for(&self, wanted: impl FnMut(&[Recorded]) -> bool, timeout: Duration) -> bool {
        self.service.log.wait_for(wanted, timeout)
    }

    /// Misbehaves for every request that matches.
    pub fn fault(&self, matcher: impl Into<Matcher>, fault: Fault) {
        self.service.faults.plan(matcher.into(), fault, None);
    }

    /// Misbehaves for the next `times` requests that match.
    pub fn fault_times(&self, times: usize, matcher: impl Into<Matcher>, fault: Fault) {
        self.service.faults.plan(matcher.into(), fault, Some(times));
    }
}
