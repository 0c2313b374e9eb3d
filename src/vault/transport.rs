//! The HTTP library, set up as every connection of ours needs it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::blocking::{Client as Http, RequestBuilder, Response};
use reqwest::redirect::Policy;
use reqwest::{Method, Proxy, Url, retry};
use rustls::ClientConfig;

use crate::error::{Code, Error};
use crate::vault::connections::{Connections, Count};
use crate::vault::dns::Resolver;
use crate::vault::failure::{self, Awaited, Failure};

/// DNS, TCP and TLS take at most this much of one try.
const CONNECT: Duration = Duration::from_secs(5);

/// Sends requests over connections that it keeps.
pub struct Transport {
    http: Http,
    connections: Connections,
    resolver: Resolver,
    is_socket: bool,
}

impl Transport {
    /// One without connections; `socket` is one to talk to instead of the network.
    ///
    /// # Errors
    /// 69 where the kernel gives no thread or descriptor, 70 where the library fails.
    pub fn new(
        tls: ClientConfig,
        resolver: Resolver,
        proxy: Option<Proxy>,
        socket: Option<&Path>,
    ) -> Result<Transport, Error> {
        let connections = Connections::default();
        let mut builder = Http::builder()
            .user_agent("vault-exec")
            .redirect(Policy::none())
            // Its own would be neither counted nor waited for.
            .retry(retry::never())
            .referer(false)
            .timeout(None)
            .connect_timeout(CONNECT)
            .connector_layer(connections.clone())
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(resolver.clone()))
            .no_proxy();
        if let Some(proxy) = proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(socket) = socket {
            builder = builder.unix_socket(socket);
        }
        let http = builder.build().map_err(|error| unbuilt(&error))?;
        Ok(Transport { http, connections, resolver, is_socket: socket.is_some() })
    }

    /// A request to be sent within this time, to the end of its answer.
    pub fn request(&self, method: Method, url: Url, time: Duration) -> RequestBuilder {
        self.http.request(method, url).timeout(time)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why there is no answer to it.
    pub fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let before = self.connections.count();
        request.send().map_err(|error| failure::understand(&error, self.awaited(before), self.is_socket))
    }

    /// What a request that has run out of time, and was begun then, has waited for.
    fn awaited(&self, then: Count) -> Awaited {
        match self.connections.is_awaited_since(then) {
            true if self.resolver.is_waiting() => Awaited::Name,
            true => Awaited::Connection,
            false => Awaited::Answer,
        }
    }
}

/// The library begins with a thread and a few descriptors: the kernel may refuse both, which is no bug.
fn unbuilt(error: &reqwest::Error) -> Error {
    let message = format!("the HTTP client: {}", failure::root(error));
    match failure::find::<io::Error>(error) {
        Some(_) => Error::new(Code::Unavailable, message).hint(failure::LIMITED),
        None => Error::new(Code::Internal, message),
    }
}
