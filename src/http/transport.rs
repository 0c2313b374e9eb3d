//! The HTTP library, set up as every connection of ours needs it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client as Http, Method, Proxy, RequestBuilder, Response, Url, retry};
use rustls::ClientConfig;

use crate::error::{Code, Error};
use crate::http::connections::{Connections, Count};
use crate::http::dns::Resolver;
use crate::http::failure::{self, Awaited, Failure};

/// DNS, TCP and TLS take at most this much of one try.
const CONNECT: Duration = Duration::from_secs(5);

/// Sends requests over connections that it keeps. All of it happens on the thread that waits for
/// them, in the runtime of the round: a thread for the library, as its blocking client has one, and
/// one for each request under way, would cost more than many a request.
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
    /// 70 if the library fails.
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
        let http = builder.build().map_err(|error| unbuilt(failure::root(&error)))?;
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
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let before = self.connections.count();
        request.send().await.map_err(|error| {
            let failure = failure::understand(&error, self.awaited(before), self.is_socket);
            self.resolver.forget();
            failure
        })
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

fn unbuilt(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Internal, format!("the HTTP client: {error}"))
}
