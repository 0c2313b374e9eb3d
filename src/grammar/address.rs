//! The server's address (pure): what is accepted, and how an API path becomes a URL.

use std::net::IpAddr;
use std::os::unix::net::SocketAddr;
use std::path::{self, PathBuf};

use reqwest::Url;

use crate::error::{Code, Error};
use crate::grammar::sourced::unexpanded;

/// Where Vault listens: `http(s)://host[:port][/prefix]`, or `unix:///path` for the socket of an
/// Agent or a Proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// For a socket, the URL that Vault's own client requests: `http://localhost`.
    url: Url,
    socket: Option<PathBuf>,
    /// Whether messages may show the socket's path.
    is_shown: bool,
    /// The option or variable that sets it.
    origin: String,
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// 78 for anything but an http or https URL or a socket, and for a URL with credentials, a
    /// query or a fragment.
    pub fn parse(text: &str) -> Result<Address, Error> {
        const FORM: &str =
            "an address is like https://vault.example.com:8200, or unix:///path/of/a/socket";
        let wrong = |what: &str| Error::config(what).hint(FORM);
        if has_variable(text) {
            return Err(unexpanded("$"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("neither http://, https:// nor unix://"))?;
        match scheme.to_ascii_lowercase().as_str() {
            "unix" => socket(rest),
            "http" | "https" if has_zone(rest) => Err(Error::config(
                "an IPv6 address with a zone id (`%`)",
            )
            .hint("a URL has no place for one: use a name, or an address that is not link-local")),
            "http" | "https" if !authority(rest).is_ascii() => Err(Error::config(
                "a name of a host that is not in ASCII",
            )
            .hint(
                "write it as DNS has it: https://xn--bcher-kva.example for https://bücher.example",
            )),
            "http" | "https" => {
                let url =
                    Url::parse(text).map_err(|error| wrong(&format!("not a URL: {error}")))?;
                check(&url)?;
                Ok(Address { url: without_version(url), socket: None, ..Address::nowhere()? })
            }
            _ => Err(wrong("neither http://, https:// nor unix://")),
        }
    }

    /// Returns the URL of an API path that is already percent-encoded, optionally with a query.
    pub fn join(&self, path: &str, query: Option<&str>) -> Url {
        let prefix = self.url.path().trim_end_matches('/');
        let mut url = self.url.clone();
        url.set_path(&format!("{prefix}/v1/{path}"));
        url.set_query(query);
        url
    }

    /// Returns the URL that requests go to, with the path prefix of the API.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the same address with another host, or `None` if that is not a host name or is an IP
    /// address.
    pub fn with_host(&self, host: &str) -> Option<Address> {
        let mut url = self.url.clone();
        let is_ip = host.parse::<IpAddr>().is_ok();
        (!is_ip && url.set_host(Some(host)).is_ok()).then(|| Address { url, ..self.clone() })
    }

    /// Returns the socket to connect to, or `None` for a network address.
    pub fn socket(&self) -> Option<&path::Path> {
        self.socket.as_deref()
    }

    /// Returns the address that Vault's own client requests over a socket.
    fn nowhere() -> Result<Address, Error> {
        let url = Url::parse("http://localhost")
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        Ok(Address { url, socket: None, is_shown: true, origin: "VAULT_ADDR".to_owned() })
    }

    /// Returns the same address, recorded as set in this option or variable.
    #[must_use]
    pub fn set_in(self, origin: &str) -> Address {
        Address { origin: origin.to_owned(), ..self }
    }

    /// Returns the option or variable that sets the address.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the default port of plain http if the address leaves out the port. Vault hardly
    /// listens there.
    pub fn assumed_port(&self) -> Option<u16> {
        let is_assumed =
            self.socket.is_none() && self.url.scheme() == "http" && self.url.port().is_none();
        is_assumed.then(|| self.port())
    }

    /// Returns the same address, with a socket's path shown in messages only if it looks like a
    /// path: somebody may have put a credential there.
    #[must_use]
    pub fn shown_if(self, is_path: impl Fn(&path::Path) -> bool) -> Address {
        let is_shown = self.socket.as_deref().is_none_or(is_path);
        Address { is_shown, ..self }
    }

    /// Returns the host as in a URL: an IPv6 address is in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Returns the port, or the default port if the address leaves it out.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    /// Returns whether the connection is encrypted.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns whether the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }
}

/// Returns whether a host, as written in a URL, is this machine: a loopback address, including its
/// IPv6-mapped form; the unspecified address, which leads to this machine; `localhost` or a name
/// below it (RFC 6761, 6.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    match ip.map(|ip| ip.to_canonical()) {
        Some(ip) => ip.is_loopback() || ip.is_unspecified(),
        None => is_localhost(host),
    }
}

/// Returns whether a name is `localhost` or below it.
pub(crate) fn is_localhost(name: &str) -> bool {
    const LOCALHOST: &str = "localhost";
    let name = name.trim_end_matches('.');
    let Some(start) = name.len().checked_sub(LOCALHOST.len()) else { return false };
    name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(LOCALHOST))
        && name.get(..start).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Shows the address as the user knows it, without the slash that the URL parser adds.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.socket {
            Some(socket) if self.is_shown => write!(f, "unix://{}", socket.display()),
            Some(_) => f.write_str("unix:// and what does not look like a path"),
            None => f.write_str(self.url.as_str().trim_end_matches('/')),
        }
    }
}

/// Takes the path as it is, without percent-encoding, like Vault's own client.
fn socket(path: &str) -> Result<Address, Error> {
    const FORM: &str = "the address of a socket is like unix:///run/vault/agent.sock";
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(Error::config("unix:// without the absolute path of a socket").hint(FORM));
    }
    if SocketAddr::from_pathname(path).is_err() {
        let length = path.len();
        return Err(Error::config(format!(
            "the path of the socket has {length} bytes, and 107 are the most"
        ))
        .hint(
            "mount the directory of the socket at a shorter path, or reach it through a link with \
             one",
        ));
    }
    Ok(Address { socket: Some(PathBuf::from(path)), ..Address::nowhere()? })
}

/// Returns whether the text contains a variable that nobody has expanded.
fn has_variable(text: &str) -> bool {
    let mut behind = text.split('$').skip(1);
    behind.any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || "_{(".contains(c)))
}

/// Returns whether the host is an IPv6 address with a zone (`%` and an interface) after it.
fn has_zone(rest: &str) -> bool {
    let host = rest.strip_prefix('[').and_then(|rest| rest.split([']', '/']).next());
    host.is_some_and(|host| host.contains('%'))
}

/// Returns what is before the path.
fn authority(rest: &str) -> &str {
    rest.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

/// Returns the address without the API's own `/v1` at its end, which would otherwise be there
/// twice.
fn without_version(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/');
    if let Some(prefix) = path.strip_suffix("/v1").map(str::to_owned) {
        url.set_path(&prefix);
    }
    url
}

fn check(url: &Url) -> Result<(), Error> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::config("a user name or password in the address")
            .hint("an address is shown in messages: leave credentials out of it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::config("a `?` or `#` in the address")
            .hint("an address is scheme, host, port and perhaps a path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::path::Path;

    fn address(text: &str) -> Address {
        Address::parse(text).expect(text)
    }

    #[test]
    fn a_path_goes_below_the_prefix() {
        for (text, url) in [
            ("http://h", "http://h/v1/a/b"),
            ("https://h:8200/", "https://h:8200/v1/a/b"),
            ("https://h/vault", "https://h/vault/v1/a/b"),
            ("https://h/vault/", "https://h/vault/v1/a/b"),
            ("https://h/v1", "https://h/v1/a/b"),
            ("https://h/v1/", "https://h/v1/a/b"),
            ("https://h/vault/v1", "https://h/vault/v1/a/b"),
            ("https://h/v1/vault", "https://h/v1/vault/v1/a/b"),
            ("https://h/rev1", "https://h/rev1/v1/a/b"),
            ("http://[::1]:8200", "http://[::1]:8200/v1/a/b"),
        ] {
            assert_eq!(address(text).join("a/b", None).as_str(), url);
        }
    }

    #[test]
    fn the_url_parser_changes_nothing_in_an_encoded_path() {
        let path = Path::parse("a b/%2e%2e/..x/%2F?q#f;ä&+").expect("a path").encoded();
        let url = address("http://h").join(&path, Some("version=2"));
        assert_eq!(url.as_str(), format!("http://h/v1/{path}?version=2"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "vault:8200",
            "h",
            "ftp://h",
            "http://",
            "https://u:s3cret@h",
            "https://u@h",
            "http://h?x",
            "http://h#x",
            "unix://",
            "unix://run/s",
            "unix:///",
            "unix:/run/s",
            "127.0.0.1:8200",
            "http://[fe80::1%25eth0]:8200",
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(
                error.code.status() == 78 && !format!("{error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_variable_that_nobody_has_expanded_is_one() {
        for text in ["http://$VAULT_HOST:8200", "$VAULT_ADDR", "https://${H}", "http://$(HOST)/"] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.message.contains("not expanded"), "{error:?}");
        }
        assert!(Address::parse("http://h/a$/b$1").is_ok());
    }

    #[test]
    fn a_socket_is_taken_as_it_is_written() {
        for path in ["/run/a b/ä%20.sock", "/[::1%x]", &format!("/{}", "x".repeat(106))] {
            let address = address(&format!("unix://{path}"));
            assert_eq!(address.socket(), Some(path::Path::new(path)));
            assert_eq!(address.to_string(), format!("unix://{path}"));
            assert_eq!(address.join("a", None).as_str(), "http://localhost/v1/a");
            assert!(address.is_loopback() && !address.is_https());
        }
        let error =
            Address::parse(&format!("unix:///{}", "x".repeat(107))).expect_err("it is too long");
        assert!(error.message.contains("108 bytes"), "{error:?}");
    }

    #[test]
    fn a_zone_is_one_in_the_host_alone() {
        for (rest, expected) in [
            ("[fe80::1%eth0]:1", true),
            ("[fe80::1%25a]/x", true),
            ("[::1]/a%20b", false),
            ("h/[%]", false),
        ] {
            assert_eq!(has_zone(rest), expected, "{rest}");
        }
    }

    #[test]
    fn a_name_in_other_than_ascii_is_written_as_dns_has_it() {
        for text in ["https://bücher.example", "http://vault.日本:8200/v", "http://h:８２００"]
        {
            let error = Address::parse(text).expect_err(text);
            assert!(
                error.message.contains("ASCII")
                    && error.hint.is_some_and(|hint| hint.contains("xn--")),
                "{text}"
            );
        }
        assert_eq!(address("https://xn--bcher-kva.example").host(), "xn--bcher-kva.example");
        assert_eq!(address("http://h/ä").join("a", None).as_str(), "http://h/%C3%A4/v1/a");
    }

    #[test]
    fn a_port_is_assumed_for_plain_http_alone() {
        let ports = ["http://h", "http://h:80", "http://h:8200", "https://h", "unix:///a/b"]
            .map(|text| address(text).assumed_port());
        assert_eq!(ports, [Some(80), Some(80), None, None, None]);
    }

    #[test]
    fn loopback() {
        for text in [
            "http://127.0.0.1",
            "http://127.8.9.1:1",
            "http://[::1]:8200",
            "http://localhost",
            "http://LOCALHOST:1",
            "http://a.localhost.",
            "http://127.1",
            "http://0.0.0.0:8200",
            "http://0",
            "http://[::]:8200",
            "http://[::ffff:127.0.0.1]",
            "http://[::ffff:0.0.0.0]",
            "http://localhost.",
            "http://a.b.LOCALHOST:1",
        ] {
            assert!(address(text).is_loopback(), "{text}");
        }
        for text in [
            "http://10.0.0.1",
            "http://vault",
            "http://localhost.example",
            "http://[::2]",
            "http://127.0.0.1.example",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.1",
            "http://mylocalhost",
            "http://local",
        ] {
            assert!(!address(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_as_it_was_written() {
        assert_eq!(address("https://h:8200").to_string(), "https://h:8200");
        assert_eq!((address("https://h").port(), address("http://h:1").port()), (443, 1));
    }
}
