//! A service of this machine that a program uses besides Vault: cloud metadata, a token service, or
//! anything else that speaks HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;

use hyper::Response;
use tokio_rustls::TlsAcceptor;

use crate::harness::record::Recorded;
use crate::harness::watched::Watched;
use crate::wire::listen::Listener;
use crate::wire::service::{Service, Site, made_up};
use crate::wire::tls::{self, TlsFiles};

/// Status, headers and body. Without a `content-type` it is JSON.
pub type LocalAnswer = (u16, Vec<(String, String)>, Vec<u8>);

struct Handler<F> {
    answer: F,
    carriers: &'static [&'static str],
}

/// The headers that carry a credential to a metadata service.
const OF_METADATA: &[&str] = &["authorization", "x-aws-ec2-metadata-token"];

impl<F: Fn(&Recorded) -> LocalAnswer + Send + Sync> Site for Handler<F> {
    fn answer(&self, request: &Recorded) -> Response<Vec<u8>> {
        let (status, headers, body) = (self.answer)(request);
        made_up(status, headers, body)
    }

    fn carriers(&self) -> &[&str] {
        self.carriers
    }
}

/// A plain HTTP server on a free port, which records what it is asked, misbehaves on request, and
/// ends when it is dropped.
pub struct LocalServer {
    watched: Watched,
    scheme: &'static str,
    address: SocketAddr,
}

impl LocalServer {
    /// Starts one whose handler answers every request.
    pub fn start(handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self::start_at(0, handler)
    }

    /// The same on this port: for a service that starts late.
    pub fn start_at(
        port: u16,
        handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static,
    ) -> Self {
        let handler = Handler { answer: handler, carriers: OF_METADATA };
        Self::of(Arc::new(Service::new(Arc::new(handler))), port, None)
    }

    /// Starts a Vault standby, which redirects everybody to the leader at this address.
    pub fn standby(leader: &str) -> Self {
        let leader = leader.to_owned();
        let answer = move |request: &Recorded| {
            let mark = if request.query.is_empty() { "" } else { "?" };
            let location = format!("{leader}{}{mark}{}", request.path, request.query);
            (307, vec![("location".to_owned(), location)], Vec::new())
        };
        let handler = Handler { answer, carriers: &["x-vault-token"] };
        Self::of(Arc::new(Service::new(Arc::new(handler))), 0, None)
    }

    /// Returns the same over TLS, on a different port, and the files of its CA.
    pub fn over_tls(self) -> (Self, TlsFiles) {
        let (acceptor, files) = tls::prepare(&tls::Settings::default());
        (Self::of(Arc::clone(&self.watched.service), 0, Some(acceptor)), files)
    }

    fn of(service: Arc<Service>, port: u16, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (listener, address) = Listener::on_port(Ipv4Addr::LOCALHOST.into(), port);
        Self { watched: Watched::start(listener, tls, service), scheme, address }
    }

    /// Returns its URL, without a trailing slash.
    pub fn addr(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

impl Deref for LocalServer {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.watched
    }
}
