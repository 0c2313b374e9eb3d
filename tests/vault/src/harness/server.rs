//! Our own server.

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

/// A Vault on its own port, which ends when it is dropped.
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

/// The settings of a [`TestVault`].
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

    /// Uses HTTPS with HTTP/2, and a certificate signed by a CA of its own.
    #[must_use]
    pub fn https(self) -> Self {
        self.with_tls(|_| {})
    }

    /// Uses HTTPS with a different certificate.
    #[must_use]
    pub fn certificate(self, certificate: Certificate) -> Self {
        self.with_tls(|tls| tls.certificate = certificate)
    }

    /// Uses HTTPS with the test's own certificate chain and key, as PEM.
    #[must_use]
    pub fn shows(self, chain: &str, key: &str) -> Self {
        self.with_tls(|tls| tls.own = Some((chain.to_owned(), key.to_owned())))
    }

    /// Uses HTTPS with these TLS versions.
    #[must_use]
    pub fn tls_versions(self, versions: Versions) -> Self {
        self.with_tls(|tls| tls.versions = versions)
    }

    /// Uses HTTPS and demands a client certificate.
    #[must_use]
    pub fn client_certificate(self) -> Self {
        self.with_tls(|tls| tls.client_certificate = true)
    }

    /// Uses HTTPS without HTTP/2.
    #[must_use]
    pub fn http1_only(self) -> Self {
        self.with_tls(|tls| tls.http1_only = true)
    }

    /// Serves the API only below this path: `/vault` for `/vault/v1/…`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.trim_end_matches('/').clone_into(&mut self.prefix);
        self
    }

    /// Listens on this port instead of a free one: for a server that starts late.
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

    /// Listens on this address and includes it in its certificate: for the address of a host in a
    /// test's own network namespace.
    #[must_use]
    pub fn ip(mut self, ip: IpAddr) -> Self {
        self.ip = Some(ip);
        self
    }

    /// Listens on a Unix domain socket, without TLS, as an Agent does. An existing one is replaced.
    #[must_use]
    pub fn socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = Some(path.as_ref().to_owned());
        self
    }

    fn bind(&self) -> (Listener, Place) {
        if let Some(path) = &self.socket {
            // There may be none to remove.
            let _ = std::fs::remove_file(path);
            let listener = UnixListener::bind(path).expect("a socket");
            return (Listener::Socket(listener), Place::Socket(path.clone()));
        }
        let (listener, address) =
            Listener::on_port(self.ip.unwrap_or(Ipv4Addr::LOCALHOST.into()), self.port);
        (listener, Place::Port(address))
    }

    /// Behaves like Vault or like OpenBao.
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

    /// Accepts this many requests at once on an HTTP/2 connection, as something in front of Vault
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
    /// Starts one with plain HTTP on a free port.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder, for everything else.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Returns the value for `VAULT_ADDR`, including the path prefix.
    pub fn addr(&self) -> String {
        match &self.place {
            Place::Port(address) => format!("{}://{address}{}", self.scheme(), self.prefix),
            Place::Socket(path) => format!("unix://{}", path.display()),
        }
    }

    /// Returns `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.files.is_some() { "https" } else { "http" }
    }

    /// Returns where it listens, unless that is a Unix domain socket.
    pub fn socket_addr(&self) -> SocketAddr {
        match &self.place {
            Place::Port(address) => *address,
            Place::Socket(path) => panic!("{} has no port", path.display()),
        }
    }

    /// Returns the PEM files of an https server.
    pub fn tls(&self) -> Option<&TlsFiles> {
        self.files.as_ref()
    }

    /// Returns the token that may do everything.
    pub fn root_token(&self) -> String {
        self.api.core().root_token.clone()
    }

    /// Returns the key for `sys/unseal`.
    pub fn unseal_key(&self) -> String {
        self.api.core().unseal_key.clone()
    }

    /// Adds this token to every request that comes without one, as a Proxy with auto-auth does. The
    /// record shows what was sent.
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

    /// Returns a client that does everything as root and bypasses HTTP: its requests are neither
    /// recorded nor hit by faults.
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
