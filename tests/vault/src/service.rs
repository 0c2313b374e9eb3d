//! One HTTP request: written down, spoiled by a fault or handed to the core, answered.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response};
use tokio::sync::mpsc;

use crate::core::Core;
use crate::envelope::Rendered;
use crate::fault::{Fault, Faults};
use crate::path;
use crate::record::{Log, Recorded};
use crate::request::Request;
use crate::wire::Ending;

/// Go's server sends answers that are larger than this in chunks.
const CHUNKED_FROM: usize = 2048;
const TOKEN: &str = "x-vault-token";

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// Which connection a request came on, and how to end that.
pub(crate) struct Visit {
    pub(crate) connection: usize,
    pub(crate) end: mpsc::UnboundedSender<Ending>,
}

impl Visit {
    /// Ends the connection, which drops this future.
    async fn end<T>(&self, ending: Ending) -> T {
        // Nobody listens once the connection has ended, and then there is nothing to do.
        let _ = self.end.send(ending);
        pending().await
    }
}

/// What all connections of a server share.
pub(crate) struct Service {
    core: Mutex<Core>,
    prefix: String,
    added: Mutex<Option<HeaderValue>>,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
}

impl Service {
    pub(crate) fn new(core: Core, prefix: String) -> Self {
        Self { core: Mutex::new(core), prefix, added: Mutex::default(), log: Log::default(), faults: Faults::default() }
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds this token to every request that comes without one.
    pub(crate) fn add_token(&self, token: &str) {
        let token = token.parse().expect("a header's value");
        *self.added.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// The headers as the API gets them.
    fn headers(&self, sent: &HeaderMap) -> HeaderMap {
        let mut headers = sent.clone();
        let added = self.added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = added.filter(|_| !headers.contains_key(TOKEN)) {
            headers.insert(TOKEN, token);
        }
        headers
    }

    /// The API without HTTP; `path` begins after `/v1/`.
    pub(crate) fn call(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Rendered {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match Request::new(method, path, query, headers, body) {
            Ok(request) => self.core().handle(&request),
            Err(failure) => Rendered::failure(&failure),
        }
    }

    pub(crate) async fn respond(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
        visit: Visit,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let number = self.log.asked(recorded(&parts, &body, visit.connection));
        let response = match self.faults.take(&parts.method, parts.uri.path()) {
            Some(fault) => self.misbehave(fault, &parts, &body, &visit).await,
            None => {
                path::refuse(&parts.method, &parts.uri).unwrap_or_else(|| whole(self.answer(&parts, &body), &parts))
            }
        };
        self.log.answered(number, response.status().as_u16());
        Ok(response)
    }

    fn answer(&self, parts: &Parts, body: &[u8]) -> Rendered {
        let path = parts.uri.path().strip_prefix(self.prefix.as_str()).and_then(|path| path.strip_prefix("/v1/"));
        let Some(path) = path else { return Rendered { status: 404, body: "{\"errors\":[]}\n".to_owned() } };
        let query = parts.uri.query().unwrap_or_default();
        self.call(&parts.method, &format!("{path}?{query}"), &self.headers(&parts.headers), body)
    }

    async fn misbehave(&self, fault: Fault, parts: &Parts, body: &[u8], visit: &Visit) -> Response<Body> {
        match fault {
            Fault::Answer { status, headers, body } => made_up(status, headers, body),
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                whole(self.answer(parts, body), parts)
            }
            Fault::Hang => pending().await,
            Fault::Close => visit.end(Ending::Close).await,
            Fault::Reset => visit.end(Ending::Reset).await,
            Fault::Raw(bytes) => visit.end(Ending::Raw(bytes)).await,
            Fault::LoseAnswer => {
                self.answer(parts, body);
                visit.end(Ending::Reset).await
            }
            Fault::Truncate => truncated(self.answer(parts, body)),
            Fault::Drip(pause) => dripping(self.answer(parts, body), pause),
            Fault::Endless => endless(),
        }
    }
}

fn recorded(parts: &Parts, body: &Bytes, connection: usize) -> Recorded {
    Recorded {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers.clone(),
        body: body.to_vec(),
        version: parts.version,
        connection,
        status: None,
    }
}

fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}

/// An answer as it should be.
fn whole(rendered: Rendered, parts: &Parts) -> Response<Body> {
    let bytes = rendered.body.into_bytes();
    let body = if bytes.len() > CHUNKED_FROM { chunked(bytes) } else { full(bytes) };
    let mut response = response(rendered.status, body);
    if let Some(namespace) = parts.headers.get("x-vault-namespace") {
        response.headers_mut().insert("x-vault-namespace", namespace.clone());
    }
    response
}

pub(crate) fn made_up(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Response<Body> {
    let mut response = response(status, full(body));
    for (name, value) in headers {
        let name = HeaderName::try_from(name).expect("a header's name");
        response.headers_mut().insert(name, HeaderValue::try_from(value).expect("a header's value"));
    }
    response
}

/// A body that `fill` sends piece by piece.
fn streamed<F>(fill: impl FnOnce(Sender<Bytes, io::Error>) -> F) -> Body
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    tokio::spawn(fill(sender));
    body.boxed()
}

fn chunked(bytes: Vec<u8>) -> Body {
    streamed(async move |mut sender| {
        // Without a reader there is nothing left to send to; so below.
        let _ = sender.send_data(Bytes::from(bytes)).await;
    })
}

fn truncated(rendered: Rendered) -> Response<Body> {
    let mut bytes = rendered.body.into_bytes();
    let length = bytes.len();
    bytes.truncate(length / 2);
    let body = streamed(async move |mut sender| {
        let _ = sender.send_data(Bytes::from(bytes)).await;
        // An abort overtakes what has not been flushed yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.abort(io::ErrorKind::ConnectionAborted.into());
    });
    let mut response = response(rendered.status, body);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

fn dripping(rendered: Rendered, pause: Duration) -> Response<Body> {
    let bytes = Bytes::from(rendered.body);
    let length = bytes.len();
    let body = streamed(async move |mut sender| {
        for at in 0..bytes.len() {
            if sender.send_data(bytes.slice(at..=at)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    let mut response = response(rendered.status, body);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

fn endless() -> Response<Body> {
    let body = streamed(async move |mut sender| {
        let mut next = Bytes::from_static(b"{\"data\":{\"endless\":\"");
        while sender.send_data(next).await.is_ok() {
            next = Bytes::from_static(&[b'a'; 16 * 1024]);
        }
    });
    response(200, body)
}
