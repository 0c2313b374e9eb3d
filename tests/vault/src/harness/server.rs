//! A server of our own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::Api;
use crate::api::core::{Core, Flavour};
use crate::harness::operator::Operator;
use crate::harness::watched::Watched;
use crate::wire::listen::Listener;
use crate::wire::service::{Service, Site};
use crate::wire::tls::{self, Certificate, Settings, TlsFiles, Versions};

/// A Vault on a port of its own, which ends when it is dropped.
pub struct TestVault {
    api: Arc<Api>,
    watched: Watched,
    place: Place,
    prefix: String,
    files: Option<TlsFiles>,
}

/// Where it listens.
enum Place {
    Port(SocketAddr),
    Socket(PathBuf),
}

/// How a [`TestVault`] is to be.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    tls: Option<Settings>,
    prefix: String,
    port: u16,
    ip: Option<IpAddr>,
    socket: Option<PathBuf>,
    flavour: Flavour,
    sealed: bool,
    streams: Option<u32>,
}

impl Builder {
    fn with_tls(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(self.tls.get_or_insert_default());
        self
    }

    /// HTTPS with HTTP/2, and a certificate signed by a CA of its own.
    #[must_use]
    pub fn https(self) -> Self {
        self.with_tls(|_| {})
    }

    /// HTTPS with another certificate.
    #[must_use]
    pub fn certificate(self, certificate: Certificate) -> Self {
        self.with_tls(|tls| tls.certificate = certificate)
    }

    /// HTTPS with a certificate of the test's own, what else is to be shown, and the key, as PEM.
    #[must_use]
    pub fn shows(self, chain: &str, key: &str) -> Self {
        self.with_tls(|tls| tls.own = Some((chain.to_owned(), key.to_owned())))
    }

    /// HTTPS in these TLS versions.
    #[must_use]
    pub fn tls_versions(self, versions: Versions) -> Self {
        self.with_tls(|tls| tls.versions = versions)
    }

    /// HTTPS that demands a client certificate.
    #[must_use]
    pub fn client_certificate(self) -> Self {
        self.with_tls(|tls| tls.client_certificate = true)
    }

    /// HTTPS without HTTP/2.
    #[must_use]
    pub fn http1_only(self) -> Self {
        self.with_tls(|tls| tls.http1_only = true)
    }

    /// Serves the API below this path only: `/vault` for `/vault/v1/…`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.trim_end_matches('/').clone_into(&mut self.prefix);
        self
    }

    /// Listens here, not on a free port: for a server that comes late.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Listens on `[::1]`.
    #[must_use]
    pub fn ipv6(self) -> Self {
        self.ip(Ipv6Addr::LOCALHOST.into())
    }

    /// Listens on this address, and has it in its certificate: that of a host in a namespace of the
    /// test's own.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// Listens on a socket of the file system, without TLS, as an Agent does. One that is there
    /// already is replaced.
    #[must_use]
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = Some(path.as_ref().to_owned());
        self
    }

    fn bind(&self) -> (Listener, Place) {
        if let Some(path) = &self.socket {
            // Nobody has to have been there.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path).expect("a socket");
            return (Listener::Socket(listener), Place::Socket(path.clone()));
        }
        let (listener, address) =
            Listener::on_port(self.ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port);
        (listener, Place::Port(address))
    }

    /// Speaks as Vault or as OpenBao.
    #[must_use]
    pub fn flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Starts sealed.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.sealed = true;
        self
    }

    /// Takes so many requests at once on a connection over HTTP/2, as what stands in front of Vault
    /// may do.
    #[must_use]
    pub fn streams(mut self, most: u32) -> Self {
        self.streams = Some(most);
        self
    }

    /// Starts it; it accepts connections when this returns.
    pub fn start(self) -> TestVault {
        let (listener, place) = self.bind();
        let (acceptor, files) =
            self.tls.map(|tls| tls::prepare(&Settings { ip: self.ip, ..tls })).unzip();
        let mut core = Core::new(self.flavour);
        core.sealed = self.sealed;
        let api = Arc::new(Api::new(core, self.prefix.clone()));
        let mut service = Service::new(Arc::clone(&api) as Arc<dyn Site>);
        service.streams = self.streams;
        let service = Arc::new(service);
        let watched = Watched::start(listener, acceptor, service);
        TestVault { api, watched, place, prefix: self.prefix, files }
    }
}

impl TestVault {
    /// Plain HTTP on a free port.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// For everything else.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// What goes into `VAULT_ADDR`, path prefix included.
    pub fn addr(&self) -> String {
        match &self.place {
            Place::Port(address) => format!("{}://{address}{}", self.scheme(), self.prefix),
            Place::Socket(path) => format!("unix://{}", path.display()),
        }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.files.is_some() { "https" } else { "http" }
    }

    /// Where it listens, unless on a socket of the file system.
    pub fn socket_addr(&self) -> SocketAddr {
        match &self.place {
            Place::Port(address) => *address,
            Place::Socket(path) => panic!("{} has no port", path.display()),
        }
    }

    /// The PEM files of an https server.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.files.as_ref()
    }

    /// The token that may do everything.
    pub fn root_token(&self) -> String {
        self.api.core().root_token.clone()
    }

    /// What `sys/unseal` wants.
    pub fn unseal_key(&self) -> String {
        self.api.core().unseal_key.clone()
    }

    /// Adds this token to every request that comes without one, as a Proxy with auto-auth does.
    /// Records show what was sent.
    pub fn add_token(&self, token: &str) {
        self.api.add_token(token);
    }

    /// Seals it.
    pub fn seal(&self) {
        self.api.core().sealed = true;
    }

    /// Unseals it.
    pub fn unseal(&self) {
        self.api.core().sealed = false;
    }

    /// Does everything as root, past HTTP: neither recorded nor hit by faults.
    pub fn operator(&self) -> Operator {
        Operator::direct(Arc::clone(&self.api))
    }
}

impl Deref for TestVault {
    type Target = Watched;

    fn deref(&self) -> &Watched {
        &self.watched
    }
}
