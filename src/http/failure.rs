//! Why a request got no answer, in words that name the remedy.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use h2::Reason;
use nix::libc;
use rustls::{CertificateError, InvalidMessage};

use crate::error::{Cause, Code, Error, LIMITED};
use crate::http::alert;
use crate::http::distrust::Distrust;
use crate::http::dns::Unresolved;
use crate::http::proxy::Named;

/// Why a try got no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to report.
    pub error: Error,
    /// Whether trying again can help.
    pub may_pass: bool,
    /// Whether the request may have reached the server.
    pub was_sent: bool,
}

const NAME_SERVER_FAILED: &str = "a name server in this container's /etc/resolv.conf has failed, perhaps for a search domain, \
     which `ndots` puts first: with a dot at its end (https://vault.example.com.:8200) the name is \
     asked for as it is";

/// What a try waits for; the steps come in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// The server's address.
    Name,
    /// TCP and TLS.
    Connection,
    /// The answer.
    Answer,
}

/// How a server is reached.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// Over the network.
    Direct,
    /// Through a socket on this machine.
    Socket,
    /// Through a proxy.
    Proxy(&'a Named),
}

/// Turns the failure of a try into an error. If the try timed out, `awaited` is what it was waiting
/// for. The URL is never part of the message.
pub(crate) fn understand(
    failure: &reqwest::Error,
    awaited: Awaited,
    route: Route<'_>,
    named: &str,
) -> Failure {
    if failure.is_timeout() {
        let error = match route {
            Route::Proxy(proxy) if awaited != Awaited::Answer => late_at_proxy(proxy),
            _ => late(awaited, named),
        };
        return Failure { error, may_pass: true, was_sent: awaited == Awaited::Answer };
    }
    if let Route::Proxy(proxy) = route
        && let Some((error, may_pass)) = of_proxy(failure, proxy)
    {
        let error = error.because(Cause::Proxy);
        return Failure { error, may_pass, was_sent: false };
    }
    let was_sent = !(failure.is_connect() || was_not_looked_at(failure));
    if let Some(tls) = tls_error(failure) {
        let (error, may_pass) = tls_failure(&tls);
        return Failure { error, may_pass, was_sent };
    }
    if is_not_http(failure) {
        return Failure { error: not_http(failure), may_pass: false, was_sent };
    }
    let error = Error::new(Code::Unavailable, words(failure));
    let error = if is_limited(failure) {
        error.hint(LIMITED)
    } else if matches!(route, Route::Socket) {
        with_socket_hint(error, failure)
    } else {
        with_hint(error, failure, named)
    };
    Failure { error, may_pass: true, was_sent }
}

/// Returns the TLS error in a failure, if there is one.
fn tls_error(failure: &reqwest::Error) -> Option<rustls::Error> {
    find::<rustls::Error>(failure).cloned().or_else(|| {
        let io = find::<h2::Error>(failure)?.get_io()?;
        (io.kind() == ErrorKind::InvalidData).then(|| of_text(&io.to_string()))
    })
}

/// Returns the TLS error with this text. h2 keeps only the text of its connection's error
/// (`h2::proto::Error::Io`), so this finds the alert that rustls formats that way.
fn of_text(text: &str) -> rustls::Error {
    let alerts = (0..=u8::MAX).map(|code| rustls::Error::AlertReceived(code.into()));
    let mut alerts = alerts.filter(|alert| alert.to_string() == text);
    alerts.next().unwrap_or_else(|| rustls::Error::General(text.to_owned()))
}

/// How a tunnel through a proxy failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    /// The proxy wants credentials (407).
    WantsCredentials,
    /// The proxy was not reached.
    NoProxy,
    /// The proxy refused, or answered something else.
    Refused,
}

/// Returns how the tunnel failed, if it did. hyper-util does not export its `TunnelError`, so only
/// its texts tell the cases apart.
fn tunnel(failure: &reqwest::Error) -> Option<Tunnel> {
    chain(failure).find_map(|error| match error.to_string().strip_prefix("tunnel error: ")? {
        "proxy authorization required" => Some(Tunnel::WantsCredentials),
        "failed to create underlying connection" => Some(Tunnel::NoProxy),
        _ => Some(Tunnel::Refused),
    })
}

/// Returns the error, and whether it may pass, if the proxy is what failed: over https whatever
/// makes the tunnel, otherwise whatever makes a connection.
fn of_proxy(failure: &reqwest::Error, proxy: &Named) -> Option<(Error, bool)> {
    let is_https = failure.url().is_some_and(|url| url.scheme() == "https");
    let tunnel = tunnel(failure);
    if tunnel.is_none() && (is_https || !failure.is_connect()) || is_limited(failure) {
        return None;
    }
    let failed = |words: String, hint: String| {
        Error::new(Code::Unavailable, format!("the proxy {proxy} {words}")).hint(hint)
    };
    let origin = &proxy.origin;
    let cause = innermost(failure);
    Some(match (tunnel, tls_error(failure), find::<Unresolved>(failure)) {
        (Some(Tunnel::WantsCredentials), ..) => (wants_credentials(proxy), false),
        (Some(Tunnel::Refused), ..) => {
            let hint = "does it let CONNECT through to this server and port, and reach it itself?";
            (failed(format!("makes no tunnel to the server ({cause})"), hint.to_owned()), true)
        }
        (_, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)), _) => {
            (failed("speaks no TLS".to_owned(), format!("use http:// in {origin}")), false)
        }
        (_, Some(error), _) => {
            let hint = format!("is https:// in {origin} right, and its certificate trusted here?");
            (failed(format!("was not reached over TLS: {}", tls_failure(&error).0), hint), false)
        }
        (.., Some(Unresolved::Failed(_))) => {
            (failed(format!("was not reached: {cause}"), NAME_SERVER_FAILED.to_owned()), true)
        }
        (.., Some(_)) => {
            let hint = format!("is its name in {origin} right? It has no address here");
            (failed(format!("was not reached: {cause}"), hint), true)
        }
        _ => {
            let hint = format!("does it run, and is its address in {origin} right?");
            (failed(format!("was not reached: {cause}"), hint), true)
        }
    })
}

/// Returns the error for a proxy that wants credentials (407).
pub(crate) fn wants_credentials(proxy: &Named) -> Error {
    Error::new(
        Code::Unavailable,
        format!("the proxy {proxy} wants credentials, or others (status 407)"),
    )
    .hint(format!(
        "they go into its URL in {}: http://user:password@proxy.example.com:3128",
        proxy.origin
    ))
    .because(Cause::Proxy)
}

fn late_at_proxy(proxy: &Named) -> Error {
    Error::new(Code::Unavailable, format!("no connection through the proxy {proxy} in time"))
        .hint(format!(
            "is its address in {} right, does no firewall drop what is sent, and does it reach the \
             server itself?",
            proxy.origin
        ))
        .because(Cause::Proxy)
}

/// HTTP/2 itself ends a connection on which it receives something it cannot read.
fn is_not_http(failure: &reqwest::Error) -> bool {
    find::<hyper::Error>(failure).is_some_and(hyper::Error::is_parse)
        || find::<h2::Error>(failure).is_some_and(|error| error.is_go_away() && error.is_library())
}

fn not_http(failure: &reqwest::Error) -> Error {
    let is_https = failure.url().is_some_and(|url| url.scheme() == "https");
    let cause = innermost(failure);
    Error::new(Code::Protocol, format!("the answer is not HTTP ({cause})")).hint(if is_https {
        "is it Vault that listens there?"
    } else {
        "where the server speaks TLS on this port, use https:// in the address"
    })
}

fn late(awaited: Awaited, named: &str) -> Error {
    let (words, hint) = match awaited {
        Awaited::Name => (
            "no name server has answered in time",
            format!(
                "do the name servers in this container's /etc/resolv.conf answer, and is the name \
                 in {named} right? With `ndots` there, search domains are asked for first: a dot at \
                 the name's end (https://vault.example.com.:8200) leaves them out"
            ),
        ),
        Awaited::Connection => (
            "no connection in time",
            format!(
                "is {named} its address as seen from this container, and does no firewall drop \
                 what is sent?"
            ),
        ),
        Awaited::Answer => (
            "no answer in time",
            "something listens there and does not answer: is it Vault, and is it well?".to_owned(),
        ),
    };
    Error::new(Code::Unavailable, words).hint(hint)
}

/// Returns whether the server did not process the request: the connection ended before the request
/// was written, or HTTP/2 says so (RFC 9113, 8.7), either by refusing the stream or with a GOAWAY
/// that covers only streams up to an earlier one.
fn was_not_looked_at(failure: &reqwest::Error) -> bool {
    let is_refused = |error: &h2::Error| {
        let is_refused_stream = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused_stream || error.is_go_away())
    };
    find::<hyper::Error>(failure).is_some_and(hyper::Error::is_canceled)
        || find::<h2::Error>(failure).is_some_and(is_refused)
}

/// Returns the words of the innermost error. An h2 error may contain text from the server.
fn innermost(failure: &reqwest::Error) -> String {
    match find::<h2::Error>(failure).and_then(h2::Error::reason) {
        Some(reason) => format!("HTTP/2: {}", reason.description()),
        // rustls adds a link to its explanation.
        None => root(failure).to_string().split(": https://").take(1).collect(),
    }
}

fn words(failure: &reqwest::Error) -> String {
    let cause = innermost(failure);
    match failure {
        _ if failure.is_connect() => cause,
        // The library talks about its tasks here. The request may have been written in the last
        // instant, so it counts as sent.
        _ if find::<hyper::Error>(failure).is_some_and(hyper::Error::is_user) => {
            "the connection was lost before the turn of the request came".to_owned()
        }
        _ => format!("the connection was lost ({cause})"),
    }
}

fn with_hint(error: Error, failure: &reqwest::Error, named: &str) -> Error {
    match find::<Unresolved>(failure) {
        Some(Unresolved::Failed(_)) => {
            return error.hint(format!("{NAME_SERVER_FAILED} (it is in {named})"));
        }
        Some(_) => {
            return error.hint(format!("the name of the server in {named} has no address here"));
        }
        None => {}
    }
    if failure.is_connect() {
        return error.hint(format!(
            "is Vault running, and is {named} its address as seen from this container?"
        ));
    }
    error.hint(
        "is it Vault that listens there? A server that wants a client certificate \
         (VAULT_CLIENT_CERT) may end a connection like this, too",
    )
}

/// Returns whether this machine refuses: an error of socket(2) or of starting a thread.
fn is_limited(failure: &reqwest::Error) -> bool {
    let number = match find::<Unresolved>(failure) {
        // For a Unix socket, EAGAIN means that its server is busy.
        Some(Unresolved::System(libc::EAGAIN)) => return true,
        Some(Unresolved::System(number)) => Some(*number),
        _ => find::<io::Error>(failure).and_then(io::Error::raw_os_error),
    };
    matches!(number, Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS))
}

/// Adds a hint for a socket. An Agent or a Proxy creates its socket when it starts and restricts
/// the socket's mode afterwards, so all of these failures may pass.
fn with_socket_hint(error: Error, failure: &reqwest::Error) -> Error {
    if !failure.is_connect() {
        return error;
    }
    match find::<io::Error>(failure).map(io::Error::kind) {
        Some(ErrorKind::NotFound) => error.hint(
            "is the Agent or Proxy running, and is the directory of its socket mounted here, at \
             this path?",
        ),
        Some(ErrorKind::PermissionDenied) => error.hint(
            "the user that the container runs as must be able to write to the socket: see \
             socket_mode, socket_user and socket_group of the listener",
        ),
        _ => error.hint(
            "is the Agent or Proxy running, and is this its socket? One that has ended leaves its \
             file",
        ),
    }
}

/// Returns the innermost error.
pub(crate) fn root<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    chain(error).last().unwrap_or(error)
}

/// Finds an error of type `T` in the chain below an error.
pub(crate) fn find<'a, T: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Iterates over an error and its causes, down to the root.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| below(*error))
}

/// Returns the cause of an error. The `source` of an `io::Error` skips the error that it was made
/// from, which may be another `io::Error`.
fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

/// Returns the error for a TLS failure, and whether it may pass. A certificate or protocol that
/// does not fit will not.
fn tls_failure(error: &rustls::Error) -> (Error, bool) {
    let (words, hint) = match error {
        rustls::Error::InvalidCertificate(certificate) => {
            let (words, hint) = certificate_failure(certificate);
            return (Error::new(Code::Unavailable, words).hint(hint), false);
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            "the server does not speak TLS on this port".to_owned(),
            "use http:// in the address, or the server's TLS port",
        ),
        rustls::Error::AlertReceived(alert) => return alert::understood(*alert),
        rustls::Error::PeerIncompatible(_) => (
            format!("no common TLS version or cipher ({error})"),
            "TLS 1.2 with ECDHE and AES-GCM or ChaCha20 is the least that is spoken; a server may \
             also say so where it wants a client certificate",
        ),
        _ => return (Error::new(Code::Unavailable, format!("TLS failed ({error})")), true),
    };
    (Error::new(Code::Unavailable, words).hint(hint), false)
}

fn certificate_failure(error: &CertificateError) -> (String, String) {
    let distrust = match error {
        CertificateError::Other(other) => other.0.downcast_ref::<Distrust>(),
        _ => None,
    };
    match distrust {
        Some(Distrust { message, hint }) => (message.clone(), hint.clone()),
        // The handshake's signature was not made with the certificate's key.
        None => (
            format!("the server's certificate does not verify ({error})"),
            "is the server's key that of its certificate?".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_alert_is_known_again_by_the_text_that_http2_keeps_of_it() {
        for alert in [
            AlertDescription::CertificateRequired,
            AlertDescription::UnrecognisedName,
            AlertDescription::Unknown(99),
        ] {
            let error = rustls::Error::AlertReceived(alert);
            assert_eq!(of_text(&error.to_string()), error);
        }
        assert_eq!(of_text("x"), rustls::Error::General("x".to_owned()));
    }
}
