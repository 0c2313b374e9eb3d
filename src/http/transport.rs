//! Sets up the HTTP library as all our connections need it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client as Http, Method, RequestBuilder, Response, Url, retry};
use rustls::ClientConfig;

use crate::error::{Code, Error};
use crate::http::connections::{Connections, Count};
use crate::http::dns::Resolver;
use crate::http::failure::{self, Awaited, Failure, Route};
use crate::http::proxy::{Named, Proxies};

/// The most time of one try that DNS, TCP and TLS take.
const CONNECT: Duration = Duration::from_secs(5);

/// Sends requests over connections that it keeps. Everything happens on the thread that waits for
/// the requests, in the runtime of the round. A thread for the library, as its blocking client has
/// one, and one for each request under way would cost more than many requests do.
pub(crate) struct Transport {
    http: Http,
    /// The same without a pool: each of its requests gets a connection of its own.
    alone: OnceCell<Http>,
    setup: Setup,
}

/// The settings from which clients are made.
struct Setup {
    tls: ClientConfig,
    proxies: Arc<Proxies>,
    socket: Option<PathBuf>,
    /// The user's name for the server's address.
    named: String,
    connections: Connections,
    resolver: Resolver,
}

impl Transport {
    /// Creates a transport without connections. `socket` is used instead of the network, if given;
    /// `named` is the user's name for the address.
    ///
    /// # Errors
    /// 70 if the library fails.
    pub(crate) fn new(
        tls: ClientConfig,
        resolver: Resolver,
        proxies: Proxies,
        socket: Option<&Path>,
        named: &str,
    ) -> Result<Transport, Error> {
        let socket = socket.map(Path::to_owned);
        let proxies = Arc::new(proxies);
        let (connections, named) = (Connections::default(), named.to_owned());
        let setup = Setup { tls, proxies, socket, named, connections, resolver };
        Ok(Transport { http: setup.client(None)?, alone: OnceCell::new(), setup })
    }
}

impl Setup {
    /// Returns a client that keeps at most `idle` unused connections.
    fn client(&self, idle: Option<usize>) -> Result<Http, Error> {
        let mut builder = Http::builder()
            .user_agent(concat!("vault-exec/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            // The library's own retries would be neither counted nor waited for.
            .retry(retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .connector_layer(self.connections.clone())
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Arc::new(self.resolver.clone()))
            .no_proxy();
        if let Some(proxy) = Proxies::for_library(&self.proxies) {
            builder = builder.proxy(proxy);
        }
        if let Some(socket) = &self.socket {
            builder = builder.unix_socket(socket.as_path());
        }
        if let Some(idle) = idle {
            builder = builder.pool_max_idle_per_host(idle);
        }
        builder.build().map_err(|error| unbuilt(failure::root(&error)))
    }
}

impl Setup {
    /// Returns how the server in a failure was to be reached.
    fn route(&self, failure: &reqwest::Error) -> Route<'_> {
        match failure.url().and_then(|url| self.proxies.of(url)) {
            _ if self.socket.is_some() => Route::Socket,
            Some(proxy) => Route::Proxy(proxy),
            None => Route::Direct,
        }
    }
}

impl Transport {
    /// Returns the proxy through which a URL is reached, if any.
    pub(crate) fn proxy(&self, url: &Url) -> Option<&Named> {
        self.setup.proxies.of(url)
    }

    /// Builds a request; `time` limits it up to the end of its answer.
    pub(crate) fn request(&self, method: Method, url: Url, time: Duration) -> RequestBuilder {
        self.http.request(method, url).timeout(time)
    }

    /// Does the same over a new connection, unless the protocol tells when the other side has
    /// closed a kept one: TLS says goodbye, and HTTP/2 says what it has not processed.
    ///
    /// # Errors
    /// 70 if the library fails.
    pub(crate) fn request_alone(
        &self,
        method: Method,
        url: Url,
        time: Duration,
    ) -> Result<RequestBuilder, Error> {
        if url.scheme() == "https" {
            return Ok(self.request(method, url, time));
        }
        if self.alone.get().is_none() {
            // It is empty here, so setting it succeeds.
            let _ = self.alone.set(self.setup.client(Some(0))?);
        }
        let http = self.alone.get().unwrap_or(&self.http);
        Ok(http.request(method, url).timeout(time))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let before = self.setup.connections.count();
        request.send().await.map_err(|error| {
            let (awaited, route) = (self.awaited(before), self.setup.route(&error));
            let failure = failure::understand(&error, awaited, route, &self.setup.named);
            self.setup.resolver.forget();
            failure
        })
    }

    /// Returns what a request that was begun at `then` and timed out was waiting for.
    fn awaited(&self, then: Count) -> Awaited {
        match self.setup.connections.is_awaited_since(then) {
            true if self.setup.resolver.is_waiting() => Awaited::Name,
            true => Awaited::Connection,
            false => Awaited::Answer,
        }
    }
}

fn unbuilt(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Internal, format!("the HTTP client: {error}"))
}
