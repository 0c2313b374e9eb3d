//! One HTTP request: recorded, then either spoiled by a fault or passed to the site and answered.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use tokio::sync::mpsc;

use crate::harness::leaks;
use crate::harness::record::{Log, Recorded};
use crate::wire::connection::Ending;
use crate::wire::fault::{Fault, Faults};

/// Go's server sends answers that are larger than this in chunks.
const CHUNKED_FROM: usize = 2048;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The connection that a request came on, and a way to end it.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) connection: usize,
    /// What the client presented in the TLS handshake.
    pub(crate) certificates: Arc<Vec<Vec<u8>>>,
    pub(crate) end: mpsc::UnboundedSender<Ending>,
}

impl Visit {
    /// Ends the connection, which drops this future.
    async fn end<T>(&self, ending: Ending) -> T {
        // If nobody receives this, the connection has ended, and there is nothing to do.
        let _ = self.end.send(ending);
        pending().await
    }
}

/// What stands behind HTTP and knows the answers.
pub(crate) trait Site: Send + Sync {
    fn answer(&self, request: &Recorded) -> Response<Vec<u8>>;

    /// Returns the headers, in lower case, that carry a credential to it.
    fn carriers(&self) -> &[&str];
}

/// What all connections of a server share.
pub(crate) struct Service {
    site: Arc<dyn Site>,
    pub(crate) log: Log,
    pub(crate) faults: Faults,
    /// How many requests an HTTP/2 connection accepts at once, if it is not the library's default.
    pub(crate) streams: Option<u32>,
}

impl Service {
    pub(crate) fn new(site: Arc<dyn Site>) -> Self {
        Self { site, log: Log::default(), faults: Faults::default(), streams: None }
    }

    pub(crate) async fn respond(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
        visit: Visit,
    ) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body =
            body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let request = recorded(parts, &body, &visit);
        leaks::asked(&request, self.site.carriers());
        let number = self.log.asked(request.clone());
        let response = match self.faults.take(&request.method, &request.path) {
            Some(fault) => self.misbehave(fault, &request, &visit).await,
            None => whole(self.site.answer(&request)),
        };
        self.log.answered(number, response.status().as_u16());
        Ok(response)
    }

    async fn misbehave(&self, fault: Fault, request: &Recorded, visit: &Visit) -> Response<Body> {
        match fault {
            Fault::Answer { status, headers, body } => made_up(status, headers, body).map(full),
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                whole(self.site.answer(request))
            }
            Fault::Hang => pending().await,
            Fault::Close => visit.end(Ending::Close).await,
            Fault::Reset => visit.end(Ending::Reset).await,
            Fault::LastOfConnection => last_of_connection(whole(self.site.answer(request))),
            Fault::Raw(bytes) => visit.end(Ending::Raw(bytes)).await,
            Fault::RawReset(bytes) => visit.end(Ending::RawReset(bytes)).await,
            Fault::RawDrip(bytes, pause) => visit.end(Ending::RawDrip(bytes, pause)).await,
            Fault::LoseAnswer => {
                self.site.answer(request);
                visit.end(Ending::Reset).await
            }
            Fault::Truncate => truncated(self.site.answer(request)),
            Fault::Drip(pause) => dripping(self.site.answer(request), pause),
            Fault::Endless => endless(),
        }
    }
}

fn authority(parts: &Parts) -> String {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    parts.uri.authority().map_or(host.unwrap_or_default(), Authority::as_str).to_owned()
}

fn recorded(parts: Parts, body: &Bytes, visit: &Visit) -> Recorded {
    Recorded {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authority: authority(&parts),
        method: parts.method,
        headers: parts.headers,
        body: body.to_vec(),
        version: parts.version,
        connection: visit.connection,
        certificates: Arc::clone(&visit.certificates),
        status: None,
    }
}

/// Returns an answer with any headers; it is JSON with `no-store` unless they say something else.
pub(crate) fn made_up(
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in headers {
        let name = HeaderName::try_from(name).expect("a header's name");
        response
            .headers_mut()
            .insert(name, HeaderValue::try_from(value).expect("a header's value"));
    }
    response
}

fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}

/// Returns a normal answer.
fn whole(answer: Response<Vec<u8>>) -> Response<Body> {
    answer.map(|body| if body.len() > CHUNKED_FROM { chunked(body) } else { full(body) })
}

fn last_of_connection(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Returns a body that `fill` sends piece by piece.
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
        // If there is no reader, there is nobody left to send to; the same below.
        let _ = sender.send_data(Bytes::from(bytes)).await;
    })
}

fn truncated(answer: Response<Vec<u8>>) -> Response<Body> {
    with_length(answer, |mut bytes| {
        bytes.truncate(bytes.len() / 2);
        streamed(async move |mut sender| {
            let _ = sender.send_data(Bytes::from(bytes)).await;
            // An abort overtakes data that has not been flushed yet.
            tokio::time::sleep(Duration::from_millis(50)).await;
            sender.abort(io::ErrorKind::ConnectionAborted.into());
        })
    })
}

fn dripping(answer: Response<Vec<u8>>, pause: Duration) -> Response<Body> {
    with_length(answer, |bytes| {
        let bytes = Bytes::from(bytes);
        streamed(async move |mut sender| {
            for at in 0..bytes.len() {
                if sender.send_data(bytes.slice(at..=at)).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        })
    })
}

/// Sends the body in its own way, and announces its full length beforehand.
fn with_length(answer: Response<Vec<u8>>, send: impl FnOnce(Vec<u8>) -> Body) -> Response<Body> {
    let length = answer.body().len();
    let mut response = answer.map(send);
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
    made_up(200, Vec::new(), Vec::new()).map(|_| body)
}
