//! A service of this machine that a program asks beside Vault: metadata of a cloud, a token
//! service, or whatever else speaks HTTP.

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

/// What carries a credential to a metadata service.
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

/// Plain HTTP on a free port, which records what it is asked, misbehaves on request, and ends when
/// it is dropped.
pub struct LocalServer {
    watched: Watched,
    scheme: &'static str,
    address: SocketAddr,
}

impl LocalServer {
    /// Whatever is asked, the handler answers.
    pub fn start(handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static) -> Self {
        Self::start_at(0, handler)
    }

    /// The same on this port: for a service that comes late.
    pub fn start_at(
        port: u16,
        handler: impl Fn(&Recorded) -> LocalAnswer + Send + Sync + 'static,
    ) -> Self {
        let handler = Handler { answer: handler, carriers: OF_METADATA };
        Self::of(Arc::new(Service::new(Arc::new(handler))), port, None)
    }

    /// A standby of Vault, which sends everybody on to the leader at this address.
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

    /// The same over TLS, on another port, and the files of its authority.
    pub fn over_tls(self) -> (Self, TlsFiles) {
        let (acceptor, files) = tls::prepare(&tls::Settings::default());
        (Self::of(Arc::clone(&self.watched.service), 0, Some(acceptor)), files)
    }

    fn of(service: Arc<Service>, port: u16, tls: Option<TlsAcceptor>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (listener, address) = Listener::on_port(Ipv4Addr::LOCALHOST.into(), port);
        Self { watched: Watched::start(listener, tls, service), scheme, address }
    }

    /// Its URL, without a slash at its end.
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
