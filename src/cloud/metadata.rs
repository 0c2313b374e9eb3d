//! One request to a platform: to a metadata server, which is reached directly, or to a cloud's
//! token service.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, Url};
use serde_json::Value;

use crate::error::{Code, Error};
use crate::grammar::address::Address;
use crate::grammar::path::percent_encoded;
use crate::grammar::sourced::Sourced;
use crate::http::answers::{Budget, body};
use crate::http::dns::Resolver;
use crate::http::proxy::Proxies;
use crate::http::redact::Redactor;
use crate::http::retry::{Patience, Tried, seconds};
use crate::http::tls::{self, Peer, TlsSettings};
use crate::http::transport::Transport;
use crate::printable::compact;
use crate::secret::{Secret, Variable};

/// The maximum size of an answer; a token has a few thousand bytes.
const LIMIT: usize = 1 << 20;

/// The maximum time for one try. A metadata server is near; if it drops an answer (as a hop limit
/// of 1 does to containers), the deadline should not pass without a message.
const TRY: Duration = Duration::from_secs(5);

/// How to reach a server.
pub(crate) enum Route<'a> {
    /// Without a proxy: a metadata server identifies the container by its address, and a proxy
    /// would see the token.
    Direct,
    /// Through the proxy that the environment names, if any, and with the system's certificate
    /// authorities or those in this file.
    Internet(&'a [Variable], Option<&'a Sourced>),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// GET, PUT or POST.
    pub method: Method,
    /// The whole URL, which contains no secret.
    pub url: Url,
    /// The headers; their values may be secrets.
    pub headers: Vec<(&'static str, Secret)>,
    /// The body, if any.
    pub body: Option<Secret>,
    /// Returns whether an answer below 500 says to try again later. 429 always does.
    pub is_later: fn(&Page) -> bool,
    /// What messages call the request.
    pub what: &'a str,
    /// What to do if the server cannot be reached.
    pub hint: &'a str,
}

impl Ask<'_> {
    /// Returns a request without headers or a body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Ask {
            method,
            url,
            headers: Vec::new(),
            body: None,
            is_later: |_| false,
            what: "",
            hint: "",
        }
    }
}

/// An answer with any status below 500.
#[derive(Debug)]
pub(crate) struct Page {
    /// The HTTP status: 2xx or 4xx.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may hold a secret.
    pub body: Secret,
}

impl Page {
    /// Returns whether the status is 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the body if it is JSON of a reasonable size.
    pub(crate) fn json(&self) -> Option<Value> {
        Budget::default().parse(self.body.expose()).ok().flatten()
    }

    /// Returns what a refusal says: a description in JSON (RFC 6749, section 5.2), or a line of
    /// plain text. Returns nothing for an HTML page.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(self.body.expose());
        let Some(json) = self.json() else {
            let line = text.trim_start().lines().next().unwrap_or_default();
            return if line.starts_with('<') { String::new() } else { line.to_owned() };
        };
        let text = |name| json.get(name).and_then(Value::as_str);
        text("error_description").or_else(|| text("error")).unwrap_or_default().to_owned()
    }

    /// Returns the error for a refusal of `what` (77), with the server's own words if there are
    /// any. They may contain a credential.
    pub(crate) fn refused(&self, what: &str, words: &str, redactor: &Redactor) -> Error {
        let words = compact(&redactor.clean(words));
        let words = if words.is_empty() { words } else { format!(": {words}") };
        Error::new(Code::Refused, format!("{what}: status {}{words}", self.status))
    }
}

/// Returns the URL with a query of these names and values.
#[must_use]
pub(crate) fn with_query(mut url: Url, pairs: &[(&str, &str)]) -> Url {
    let encoded = |text: &str| percent_encoded(text.as_bytes(), "-._~");
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    url.set_query(Some(&pairs.join("&")));
    url
}

/// Returns the token in a text: printable, without white space inside it or at its ends.
pub(crate) fn token(text: &Secret) -> Option<Secret> {
    let token = text.trimmed();
    let is_token = !token.is_empty() && token.expose().iter().all(u8::is_ascii_graphic);
    is_token.then_some(token)
}

/// Parses a variable's value as the address of a server, optionally with a path and a query.
/// Messages show the server.
///
/// # Errors
/// 78, with the name of the variable, for anything but http and https, and for an address with
/// credentials.
pub(crate) fn address(text: &str, origin: &str) -> Result<Url, Error> {
    let is_one = |url: &Url| {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        matches!(url.scheme(), "http" | "https") && !has_credentials && url.fragment().is_none()
    };
    let wrong = || Error::config(format!("{origin}: not an address like http://169.254.169.254"));
    Url::parse(text).ok().filter(is_one).ok_or_else(wrong)
}

/// Parses an address without a query.
///
/// # Errors
/// Those of [`address()`], and 78 for a query.
pub(crate) fn server(text: &str, origin: &str) -> Result<Url, Error> {
    let url = address(text, origin)?;
    if url.query().is_some() {
        Err(Error::config(format!("{origin}: a `?` in the address")))
    } else {
        Ok(url)
    }
}

/// A platform's server and the connection to it, which stays open as long as the server allows.
pub(crate) struct Web<'a> {
    transport: Transport,
    patience: &'a Patience,
}

impl Web<'_> {
    /// Prepares a connection to a URL's server. Sends nothing yet.
    ///
    /// # Errors
    /// 78 for an invalid proxy, and the errors of [`Transport::new`].
    pub(crate) fn to<'a>(
        patience: &'a Patience,
        route: &Route<'_>,
        url: &Url,
    ) -> Result<Web<'a>, Error> {
        Ok(Web { transport: transport(route, url, patience.left())?, patience })
    }

    /// Asks until there is an answer or the deadline passes.
    ///
    /// # Errors
    /// 69 if the server was not reached or not ready, 76 if something else answered.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Page, Error> {
        let at = ask.url.origin().ascii_serialization();
        let attempt = async || attempt(&self.transport, ask, self.patience).await;
        self.patience.persist(ask.what, &at, false, attempt).await
    }
}

fn transport(route: &Route<'_>, url: &Url, left: Duration) -> Result<Transport, Error> {
    let address = || Address::parse(&url.origin().ascii_serialization());
    let (environment, authorities, proxies) = match route {
        Route::Direct => (&[][..], None, Proxies::default()),
        Route::Internet(environment, authorities) => {
            (*environment, *authorities, Proxies::choose(&address()?, None, environment)?)
        }
    };
    let trusted = TlsSettings { ca_file: authorities.cloned(), ..TlsSettings::default() };
    let peer = Peer::Other(url.host_str().unwrap_or_default());
    let tls = tls::configure(&trusted, url.scheme() == "https", environment, peer, left)?;
    Transport::new(tls, Resolver::default(), proxies, None, "this")
}

async fn attempt(transport: &Transport, ask: &Ask<'_>, patience: &Patience) -> Tried<Page> {
    let left = patience.left();
    let mut request = transport.request(ask.method.clone(), ask.url.clone(), left.min(TRY));
    for (name, value) in &ask.headers {
        request = request.header(*name, value.expose());
    }
    if let Some(body) = &ask.body {
        request = request.body(body.expose().to_vec());
    }
    match transport.send(request).await {
        Ok(response) => judged(ask, response, &patience.budget).await,
        Err(failure) => {
            // The code that verified a certificate explains best what is wrong with it.
            let hint = match failure.error.hint {
                Some(hint) if !failure.may_pass && failure.error.code == Code::Unavailable => hint,
                _ => ask.hint.to_owned(),
            };
            let error = Error { hint: Some(hint), ..failure.error };
            if failure.may_pass { Tried::Again(error, None) } else { Tried::Final(error) }
        }
    }
}

async fn judged(ask: &Ask<'_>, mut response: Response, budget: &Budget) -> Tried<Page> {
    let status = response.status().as_u16();
    let mut body = match body(&mut response, LIMIT, budget).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            return Tried::Final(
                Error::new(Code::Protocol, "the answer has more than 1 MiB").hint(ask.hint),
            );
        }
        Err(error) if error.code == Code::Protocol => return Tried::Final(error),
        Err(error) => return Tried::Again(error.hint(ask.hint), None),
    };
    let headers = std::mem::take(response.headers_mut());
    let page = Page { status, headers, body: Secret::from(std::mem::take(&mut *body)) };
    let failed = |code| Error::new(code, format!("status {status}")).hint(ask.hint);
    match status {
        429 | 500.. => Tried::Again(failed(Code::Unavailable), retry_after(&page.headers)),
        200..300 | 400..500 if (ask.is_later)(&page) => {
            Tried::Again(failed(Code::Unavailable), retry_after(&page.headers))
        }
        200..300 | 400..500 => Tried::Done(page),
        _ => Tried::Final(failed(Code::Protocol)),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    seconds(headers.get(RETRY_AFTER)?.to_str().ok()?)
}
