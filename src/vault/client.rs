//! Sends one request to Vault: within the deadline, repeated if that is allowed, and with either
//! Vault's answer or an error as the result.

use std::cell::Cell;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, Url, Version};
use rustls::ClientConfig;
use serde_json::Value;

use crate::error::{Cause, Code, Error};
use crate::grammar::address::Address;
use crate::grammar::namespace;
use crate::http::answers::body;
use crate::http::deadline::{Deadline, shown};
use crate::http::dns::Resolver;
use crate::http::failure::{Failure, wants_credentials};
use crate::http::proxy::Proxies;
use crate::http::redact::Redactor;
use crate::http::retry::{Patience, Tried};
use crate::http::transport::Transport;
use crate::secret::Secret;
use crate::vault::answer::{Answer, Meaning, Raw, Verdict, judge};
use crate::vault::redirect;

/// The largest accepted answer.
const LIMIT: usize = 4 << 20;
/// The number of parallel requests over HTTP/1.1, each on a connection of its own.
const PARALLEL_HTTP1: usize = 8;
/// The number of parallel requests over HTTP/2, all on one connection. Go's servers allow 250; if a
/// server allows fewer, the others wait for their turn.
const PARALLEL_HTTP2: usize = 128;

const BAD_TOKEN: &str =
    "the token is wrong, expired, revoked or used up, or not for this address and namespace";
const ELSEWHERE: &str = "a token is good for its own namespace and those below it, and \
                         VAULT_NAMESPACE, that of the secrets, is not below VAULT_AUTH_NAMESPACE, \
                         that of the login";

const NO_TOKEN: &str = "does the Agent or Proxy at the address add its own token (auto_auth, and \
                        use_auto_auth_token in api_proxy), and does a policy of that token allow \
                        it?";

const REDIRECTED: &str = "a standby redirects to the api_addr of the active node: is it right, \
                          and reachable from this container?";

/// How Vault is reached.
pub(crate) struct Connection {
    /// The server.
    pub address: Address,
    /// Whether whatever is at the address adds a token of its own.
    pub adds_token: bool,
    /// `X-Vault-Namespace` of the login and of everything that concerns its token.
    pub auth_namespace: Option<String>,
    /// `X-Vault-Namespace` of the secrets.
    pub namespace: Option<String>,
    /// Certificates.
    pub tls: ClientConfig,
    /// The name in the handshake, if it is not the address's.
    pub server_name: Option<String>,
    /// The proxies.
    pub(crate) proxies: Proxies,
    /// Whether a standby may send a request to the active node.
    pub follows_redirects: bool,
    /// When everything must be done.
    pub deadline: Deadline,
    /// Tries after the first one; `None` means until the deadline.
    pub max_retries: Option<u32>,
}

/// A client of one server.
pub(crate) struct Client {
    transport: Transport,
    /// The address that requests go to: the user's, or one that contains the name for the
    /// handshake.
    target: Address,
    address: Address,
    adds_token: bool,
    follows_redirects: bool,
    auth_namespace: Option<HeaderValue>,
    namespace: Option<HeaderValue>,
    is_connected: Cell<bool>,
    is_http2: Cell<bool>,
    /// The deadline, and how often something is tried.
    pub patience: Patience,
}

/// Whether a request may be sent again if its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Yes: it changes nothing.
    Freely,
    /// A login, a write, or a read that makes a lease: only if it was not sent, or if Vault said
    /// that it was not done.
    OnlyIfNotDone,
    /// One try, whatever happens.
    Never,
}

/// The namespace that a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// That of the login, where its token belongs.
    Login,
    /// That of the secrets.
    Secrets,
    /// The root namespace.
    Root,
}

/// A request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// GET or POST.
    pub method: Method,
    /// The API path, percent-encoded.
    pub path: String,
    /// The query, if any.
    pub query: Option<String>,
    /// `X-Vault-Token`.
    pub token: Option<&'a Secret>,
    /// The JSON body.
    pub body: Option<&'a Secret>,
    /// Which namespace it is for.
    pub space: Space,
    /// Whether it may be sent again.
    pub repeat: Repeat,
    /// When it must be answered, if not by the client's own deadline.
    pub deadline: Option<Deadline>,
    /// Its name in messages.
    pub what: String,
}

impl Request<'_> {
    /// Creates a request for a path that we chose, in the namespace of the secrets. It is sent
    /// again only if it was not done.
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        let what = path.clone();
        Request {
            method,
            path,
            query: None,
            token: None,
            body: None,
            space: Space::Secrets,
            repeat: Repeat::OnlyIfNotDone,
            deadline: None,
            what,
        }
    }
}

type Outcome = Tried<Answer>;

impl Client {
    /// Creates a client; nothing is sent yet.
    ///
    /// # Errors
    /// 78 for a namespace or a server name that cannot be sent, and the errors of
    /// [`Transport::new`].
    pub(crate) fn new(connection: Connection) -> Result<Client, Error> {
        let Connection {
            address,
            adds_token,
            auth_namespace,
            namespace,
            tls,
            server_name,
            proxies,
            follows_redirects,
            deadline,
            max_retries,
        } = connection;
        // Through a proxy, the name in the URL is what the proxy connects to.
        let is_direct = proxies.of(address.url()).is_none();
        let alias = server_name.filter(|_| is_direct && address.is_https());
        // A dot at the name's end is for name servers; gateways and certificates do not know it.
        let alias = alias.or_else(|| address.host().strip_suffix('.').map(str::to_owned));
        let namespace =
            namespace.map(|name| namespace_header(name, "VAULT_NAMESPACE")).transpose()?;
        let auth_namespace = auth_namespace
            .map(|name| namespace_header(name, "VAULT_AUTH_NAMESPACE"))
            .transpose()?;
        let (target, resolver) = target(&address, alias);
        let transport = Transport::new(tls, resolver, proxies, address.socket(), address.origin())?;
        Ok(Client {
            transport,
            target,
            follows_redirects,
            auth_namespace,
            namespace,
            is_connected: Cell::new(false),
            is_http2: Cell::new(false),
            patience: Patience::new(deadline, max_retries),
            address,
            adds_token,
        })
    }

    /// Sends a request until Vault answers it.
    ///
    /// # Errors
    /// 69 if Vault was not reached or not ready before the deadline, 76 if something else answered.
    pub(crate) async fn send(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let (is_single, began) = (request.repeat == Repeat::Never, Instant::now());
        let attempt = async || self.attempt(request).await;
        let answer = self.patience.persist(&request.what, &self.address, is_single, attempt).await;
        answer
            .inspect(|answer| log_answer(&request.what, answer, began.elapsed()))
            .map_err(|error| self.with_way(error))
    }

    /// Returns the error for an answer with a 4xx status: 66 for 404, otherwise 77.
    pub(crate) fn refused(&self, answer: &Answer, what: &str) -> Error {
        let code = if answer.status == 404 { Code::Missing } else { Code::Refused };
        let error = Error::new(code, format!("{what}: {} ({})", answer.refusal(), self.address));
        match (answer.status, answer.meaning) {
            (403, _) if self.adds_token => error.hint(NO_TOKEN),
            (403, Meaning::BadToken) => error.hint(BAD_TOKEN),
            (403, _) if self.is_elsewhere(what) => error.hint(ELSEWHERE),
            (403, _) => error.hint("no policy of the token allows it"),
            (_, Meaning::Withheld) => error.because(Cause::Withheld).hint(
                "give the token more uses, or any number: num_uses of a token, token_num_uses of \
                 a role",
            ),
            _ => error,
        }
    }

    /// Adds the request, the status and the server to an error about an answer.
    pub(crate) fn placed(&self, error: Error, what: &str, status: u16) -> Error {
        let message = format!("{what}: {} (status {status}, {})", error.message, self.address);
        Error { message, ..error }
    }

    /// Returns what knows the credentials that no message may show.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.patience.redactor
    }

    /// Returns the namespace of the secrets.
    pub(crate) fn namespace(&self) -> Option<&str> {
        text(self.namespace.as_ref())
    }

    /// Returns the server's address, for messages.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the namespace of the login.
    pub(crate) fn auth_namespace(&self) -> Option<&str> {
        text(self.auth_namespace.as_ref())
    }

    /// Returns whether a path of the secrets is in a namespace where a token of the login's
    /// namespace is not valid.
    pub(crate) fn is_elsewhere(&self, path: &str) -> bool {
        let whole = namespace::whole(self.namespace(), path);
        namespace::below(text(self.auth_namespace.as_ref()), Some(&whole)).is_none()
    }

    /// Returns whether anything has been answered yet.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.get()
    }

    /// Returns how many requests are sent at once: few over HTTP/1.1, where each one takes a
    /// connection. Call it after the first answer, which reveals the protocol.
    pub(crate) fn parallel(&self) -> usize {
        if self.is_http2.get() { PARALLEL_HTTP2 } else { PARALLEL_HTTP1 }
    }

    /// Returns the time in which a request must be answered.
    fn left(&self, request: &Request<'_>) -> Duration {
        request.deadline.map_or_else(|| self.patience.left(), |deadline| deadline.left())
    }

    /// Adds that something in between may have failed, or that the port may be wrong.
    fn with_way(&self, error: Error) -> Error {
        if !matches!(error.code, Code::Unavailable | Code::Protocol) || error.cause == Cause::Proxy
        {
            return error;
        }
        let url = self.address.url();
        let is_odd = error.code == Code::Protocol && !self.address.is_https();
        let is_doubtful = self.address.socket().is_none() && (is_odd || !self.is_connected());
        let port = url.port().map_or(url.port_or_known_default(), |_| None);
        let error = match port.filter(|_| is_doubtful) {
            Some(port) => error.also(&format!(
                "the address has no port, so it was port {port}: Vault's own is 8200"
            )),
            None => error,
        };
        match self.transport.proxy(url) {
            Some(proxy) => error.also(&format!("a proxy is in between: {proxy}")),
            None => error,
        }
    }

    async fn attempt(&self, request: &Request<'_>) -> Outcome {
        let url = self.target.join(&request.path, request.query.as_deref());
        let response = match self.exchange(request, url.clone()).await {
            Ok(response) => response,
            Err(outcome) => return outcome,
        };
        if !is_redirect(&response) {
            return self.judged(request, response).await;
        }
        match self.redirected(request, &response, &url) {
            Ok(next) => self.follow(request, &next).await,
            Err(error) => Outcome::Final(error),
        }
    }

    /// Returns where a redirect leads, if it is followed.
    fn redirected(
        &self,
        request: &Request<'_>,
        response: &Response,
        from: &Url,
    ) -> Result<Url, Error> {
        let refused = |what: &str| Error::new(Code::Protocol, what);
        if self.address.socket().is_some() {
            return Err(refused("a redirect, which leads nowhere from a socket")
                .hint("the Agent or Proxy must reach Vault's active node itself"));
        }
        if !self.follows_redirects {
            return Err(refused("a redirect, and VAULT_DISABLE_REDIRECTS is set").hint(
                "put the address of the active node into VAULT_ADDR, or unset \
                 VAULT_DISABLE_REDIRECTS",
            ));
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        redirect::target(from, &request.path, location)
    }

    /// Follows one hop, as a standby asks: with the same method, body and token.
    async fn follow(&self, request: &Request<'_>, url: &Url) -> Outcome {
        log::debug!("{}: redirected to {}", request.what, url.host_str().unwrap_or_default());
        let outcome = match self.exchange(request, url.clone()).await {
            Err(outcome) => outcome,
            Ok(response) if is_redirect(&response) => Outcome::Final(
                Error::new(Code::Protocol, "redirected more than once").hint(redirect::NO_DETOUR),
            ),
            Ok(response) => self.judged(request, response).await,
        };
        outcome.map_err(|error| {
            error
                .at(format!("redirected to {}", url.origin().ascii_serialization()))
                .also(REDIRECTED)
        })
    }

    async fn judged(&self, request: &Request<'_>, response: Response) -> Outcome {
        let proxy = self.transport.proxy(response.url()).filter(|_| response.status() == 407);
        if let Some(proxy) = proxy {
            return Outcome::Final(wants_credentials(proxy));
        }
        match judged(request, response, &self.patience).await {
            Outcome::Final(error) if error.cause == Cause::NoNamespace => {
                let is_logins =
                    request.space == Space::Login && self.auth_namespace != self.namespace;
                let setting = if is_logins { "VAULT_AUTH_NAMESPACE" } else { "VAULT_NAMESPACE" };
                Outcome::Final(
                    error.hint(format!("is {setting} right? A namespace is like team/web")),
                )
            }
            outcome => outcome,
        }
    }

    async fn exchange(&self, request: &Request<'_>, url: Url) -> Result<Response, Outcome> {
        if self.left(request).is_zero() {
            return Err(Outcome::Again(too_late(), None));
        }
        log::trace!("{} /v1/{}", request.method, request.path);
        let prepared = self.prepare(request, url).map_err(Outcome::Final)?;
        let response =
            self.transport.send(prepared).await.map_err(|failure| self.lost(request, failure))?;
        self.is_connected.set(true);
        self.is_http2.set(response.version() == Version::HTTP_2);
        Ok(response)
    }

    fn lost(&self, request: &Request<'_>, failure: Failure) -> Outcome {
        if !failure.may_pass {
            return Outcome::Final(failure.error);
        }
        if failure.was_sent {
            return unknown(request, failure.error);
        }
        let mut error = failure.error;
        if let Some(port) = self.address.assumed_port().filter(|_| error.cause != Cause::Proxy) {
            let message = error.message;
            error.message = format!("{message}; port {port} was tried, and Vault's is 8200");
        }
        Outcome::Again(error, None)
    }

    fn prepare(&self, request: &Request<'_>, url: Url) -> Result<RequestBuilder, Error> {
        let (method, left) = (request.method.clone(), self.left(request));
        // The other side may just have closed the kept connection. A request that changes something
        // would be lost with it and must not be sent again.
        let mut builder = if request.repeat == Repeat::Freely || !self.is_connected() {
            self.transport.request(method, url, left)
        } else {
            self.transport.request_alone(method, url, left)?
        };
        builder = builder.header("X-Vault-Request", "true");
        if let Some(token) = request.token {
            builder = builder.header("X-Vault-Token", token_header(token)?);
        }
        let namespace = match request.space {
            Space::Login => &self.auth_namespace,
            Space::Secrets => &self.namespace,
            Space::Root => &None,
        };
        if let Some(namespace) = namespace {
            builder = builder.header("X-Vault-Namespace", namespace.clone());
        }
        if let Some(body) = request.body {
            builder =
                builder.header("Content-Type", "application/json").body(body.expose().to_vec());
        }
        Ok(builder)
    }
}

fn log_answer(what: &str, answer: &Answer, took: Duration) {
    let id = answer.body.0.get("request_id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = id.map(|id| format!(", request id {id}")).unwrap_or_default();
    log::debug!("{what}: status {} in {}{id}", answer.status, shown(took));
}

async fn judged(request: &Request<'_>, mut response: Response, patience: &Patience) -> Outcome {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let bytes = match body(&mut response, LIMIT, &patience.budget).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Outcome::Final(too_large()),
        Err(error) if error.code == Code::Protocol => return Outcome::Final(error),
        Err(error) => return unknown(request, error),
    };
    let raw = Raw { status, retry_after: retry_after.as_deref(), bytes: &bytes };
    match judge(&raw, &patience.redactor, &patience.budget) {
        Verdict::Answered(answer) => Outcome::Done(answer),
        Verdict::NotDone { error, wait } => Outcome::Again(error, wait),
        Verdict::RefusedLogin(answer, _) if request.space == Space::Login => Outcome::Done(answer),
        Verdict::Unknown(error) | Verdict::RefusedLogin(_, error) => unknown(request, error),
        Verdict::Final(error) => Outcome::Final(error),
    }
}

/// Returns the address for the URL, which contains the name that the handshake and `Host` must
/// have, and a resolver that still finds the server.
fn target(address: &Address, alias: Option<String>) -> (Address, Resolver) {
    let renamed = alias.and_then(|alias| Some((address.with_host(&alias)?, alias)));
    match renamed {
        Some((target, alias)) => {
            let real = address.host().trim_start_matches('[').trim_end_matches(']').to_owned();
            (target, Resolver::with_alias(alias, real))
        }
        None => (address.clone(), Resolver::default()),
    }
}

fn is_redirect(response: &Response) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 307 | 308)
}

fn too_late() -> Error {
    Error::new(Code::Unavailable, "the time was up before it was sent")
        .hint("a longer --timeout gives it some")
}

fn too_large() -> Error {
    Error::new(Code::Protocol, "the answer has more than 4 MiB")
        .hint("is it Vault that answers there?")
}

/// Decides what to do if it is unknown whether the request was done.
fn unknown(request: &Request<'_>, error: Error) -> Outcome {
    if request.repeat != Repeat::OnlyIfNotDone {
        return Outcome::Again(error, None);
    }
    let message = format!("{}; it may have been done, so it is not repeated", error.message);
    Outcome::Final(Error { message, ..error })
}

/// Makes the token's header, redacted in `Debug` and never put into HTTP/2's header table.
fn token_header(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_bytes(token.expose())
        .map_err(|_| Error::config("the token has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn namespace_header(namespace: String, setting: &str) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(namespace)
        .map_err(|_| Error::config(format!("{setting}: characters that no namespace has")))
}

fn text(header: Option<&HeaderValue>) -> Option<&str> {
    std::str::from_utf8(header?.as_bytes()).ok()
}
