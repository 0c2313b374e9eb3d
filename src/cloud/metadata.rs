//! One request to a platform: to a metadata server, which is asked directly, or to a token service
//! of a cloud.

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

/// The longest answer; a token has a few thousand bytes.
const LIMIT: usize = 1 << 20;

/// One try takes at most this: a metadata server is near, and where it drops an answer (a hop limit
/// of 1 does that to containers) the deadline is not to pass without a word.
const TRY: Duration = Duration::from_secs(5);

/// How a server is reached.
pub(crate) enum Route<'a> {
    /// Without a proxy: a metadata server knows the container by its address, and a proxy would see
    /// the token.
    Direct,
    /// Through the proxy that the environment names, if any, with the system's authorities, or those
    /// of this file.
    Internet(&'a [Variable], Option<&'a Sourced>),
}

/// A request.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    /// GET, PUT or POST.
    pub method: Method,
    /// The whole URL, without any secret in it.
    pub url: Url,
    /// Headers, whose values may be secrets.
    pub headers: Vec<(&'static str, Secret)>,
    /// The body, if any.
    pub body: Option<Secret>,
    /// Which answers below 500 say that it may work later, beside 429.
    pub is_later: fn(&Page) -> bool,
    /// What messages call it.
    pub what: &'a str,
    /// What to do where the server is not reached.
    pub hint: &'a str,
}

impl Ask<'_> {
    /// A request without headers and body.
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

/// An answer, whatever its status below 500.
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
    /// Whether the status is 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body, if it is JSON of a reasonable size.
    pub(crate) fn json(&self) -> Option<Value> {
        Budget::default().parse(self.body.expose()).ok().flatten()
    }

    /// What a refusal says: a description in JSON (RFC 6749, section 5.2), or a line of plain text.
    /// A page of HTML says nothing.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(self.body.expose());
        let Some(json) = self.json() else {
            let line = text.trim_start().lines().next().unwrap_or_default();
            return if line.starts_with('<') { String::new() } else { line.to_owned() };
        };
        let text = |name| json.get(name).and_then(Value::as_str);
        text("error_description").or_else(|| text("error")).unwrap_or_default().to_owned()
    }

    /// A refusal of `what` (77), with the server's own words where it has any, of which a credential
    /// may be one.
    pub(crate) fn refused(&self, what: &str, words: &str, redactor: &Redactor) -> Error {
        let words = compact(&redactor.clean(words));
        let words = if words.is_empty() { words } else { format!(": {words}") };
        Error::new(Code::Refused, format!("{what}: status {}{words}", self.status))
    }
}

/// The URL with a query of these names and values.
#[must_use]
pub(crate) fn with_query(mut url: Url, pairs: &[(&str, &str)]) -> Url {
    let encoded = |text: &str| percent_encoded(text.as_bytes(), "-._~");
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    url.set_query(Some(&pairs.join("&")));
    url
}

/// A token in a text: printable, without white space at its ends and in it.
pub(crate) fn token(text: &Secret) -> Option<Secret> {
    let token = text.trimmed();
    let is_token = !token.is_empty() && token.expose().iter().all(u8::is_ascii_graphic);
    is_token.then_some(token)
}

/// The address of a server, and perhaps a path and a query, that a variable has. Messages show the
/// server.
///
/// # Errors
/// 78, with the name of the variable, for what is neither http nor https, and for credentials in
/// it.
pub(crate) fn address(text: &str, origin: &str) -> Result<Url, Error> {
    let is_one = |url: &Url| {
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        matches!(url.scheme(), "http" | "https") && !has_credentials && url.fragment().is_none()
    };
    let wrong = || Error::config(format!("{origin}: not an address like http://169.254.169.254"));
    Url::parse(text).ok().filter(is_one).ok_or_else(wrong)
}

/// The same without a query.
///
/// # Errors
/// As above.
pub(crate) fn server(text: &str, origin: &str) -> Result<Url, Error> {
    let url = address(text, origin)?;
    if url.query().is_some() {
        Err(Error::config(format!("{origin}: a `?` in the address")))
    } else {
        Ok(url)
    }
}

/// A platform's server and the connection to it, kept as far as the server keeps it.
pub(crate) struct Web<'a> {
    transport: Transport,
    patience: &'a Patience,
}

impl Web<'_> {
    /// The server of a URL; nothing is sent yet.
    ///
    /// # Errors
    /// 78 for a proxy that is none, and what [`Transport::new`] fails of.
    pub(crate) fn to<'a>(
        patience: &'a Patience,
        route: &Route<'_>,
        url: &Url,
    ) -> Result<Web<'a>, Error> {
        Ok(Web { transport: transport(route, url, patience.left())?, patience })
    }

    /// Asks until there is an answer, or until the deadline.
    ///
    /// # Errors
    /// 69 where the server was not reached or not ready, 76 where something else answered.
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
            // What is wrong with a certificate is said best where it was verified.
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
