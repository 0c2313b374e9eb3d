//! Decides which redirects are followed (pure): only that of a standby to the active node, for the
//! same request. Anything else that answers with one (a login page, a gateway) gets neither token
//! nor login.

use reqwest::Url;

use crate::error::{Code, Error};
use crate::grammar::address::is_loopback;

/// What to do about a redirect that does not come from a standby.
pub(crate) const NO_DETOUR: &str = "put the address of Vault itself into VAULT_ADDR";
const IN_CLEAR: &str = "a standby redirects to the api_addr of the active node: it must begin with \
                        https://";
const NOT_THE_SAME: &str = "a standby redirects to the same path of the active node: what answers \
                            there, a login page or a gateway?";

/// Returns where to resend a request for `path`, below `/v1/`, that was sent to `from`.
///
/// # Errors
/// 76 for a redirect that is not followed: to another path, or unencrypted to another machine
/// unless the request was already sent unencrypted to another machine.
pub fn target(from: &Url, path: &str, location: Option<&str>) -> Result<Url, Error> {
    let refused = |what: &str, hint| Err(Error::new(Code::Protocol, what).hint(hint));
    let Some(next) = location.and_then(|location| from.join(location).ok()).filter(is_web) else {
        return refused("a redirect to nowhere", NO_DETOUR);
    };
    if !is_same(next.path(), from.path()) && !is_same(next.path(), &format!("/v1/{path}")) {
        let server = next.origin().ascii_serialization();
        return refused(&format!("a redirect to another path, at {server}"), NOT_THE_SAME);
    }
    let is_near = |url: &Url| url.host_str().is_some_and(is_loopback);
    if next.scheme() == "http" && from.scheme() == "https" {
        return refused(
            "a redirect from https to http, which would send the token in clear",
            IN_CLEAR,
        );
    }
    if next.scheme() == "http" && is_near(from) && !is_near(&next) {
        return refused(
            "a redirect from this machine to another one, which would send the token in clear",
            IN_CLEAR,
        );
    }
    Ok(next)
}

/// Returns whether this is a web URL without credentials: the HTTP library would turn a name and a
/// password into a header.
fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
}

/// Returns whether two paths are the same, however they are percent-encoded.
fn is_same(one: &str, other: &str) -> bool {
    decoded(one) == decoded(other)
}

fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(first) = rest.as_bytes().first() {
        let of_hex = rest.get(1..3).filter(|_| *first == b'%');
        let byte = of_hex.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = rest.get(if byte.is_some() { 3 } else { 1 }..).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "auth/approle/login";

    fn followed(from: &str, location: &str) -> Result<String, String> {
        let from = Url::parse(from).expect("a URL");
        target(&from, PATH, Some(location))
            .map(|url| url.to_string())
            .map_err(|error| error.message)
    }

    #[test]
    fn a_redirect_is_followed_to_the_same_path_only() {
        let from = "https://vault.example.com/prefix/v1/auth/approle/login";
        for location in [
            "https://active:8200/prefix/v1/auth/approle/login",
            "https://active:8200/v1/auth/approle/login",
            "https://active:8200/v1/auth/app%72ole/login",
            "https://active:8200/v1/auth/approle/login?a=b",
            "/v1/auth/approle/login",
            "//active/v1/auth/approle/login",
        ] {
            assert!(followed(from, location).is_ok(), "{location}");
        }
        for location in [
            "/oauth2/start?rd=/v1/auth/approle/login",
            "https://login.example.com/oauth2/start",
            "https://login.example.com/",
            "https://active/v1/auth/approle/login/",
            "https://active/v1/auth/approle/Login",
            "https://active/other/v1/auth/approle/login",
            "https://active/v1/auth/approle%2Flogin/../x",
            "https://active/v1/sys/wrapping/unwrap",
        ] {
            let error = followed(from, location).expect_err(location);
            assert!(error.starts_with("a redirect to another path, at https://"), "{error}");
        }
        for location in ["ftp://active/v1/auth/approle/login", "https://", "https://u:p@a/v1/x"] {
            assert_eq!(followed(from, location), Err("a redirect to nowhere".to_owned()));
        }
        let from = Url::parse(from).expect("a URL");
        assert!(target(&from, PATH, None).is_err());
    }

    #[test]
    fn a_redirect_never_brings_a_credential_into_the_clear() {
        for (from, to, is_followed) in [
            ("https://vault", "http://vault", false),
            ("https://vault", "http://127.0.0.1:8200", false),
            ("https://127.0.0.1:8200", "http://127.0.0.1:8201", false),
            ("http://127.0.0.1:8200", "http://192.0.2.2:8200", false),
            ("http://localhost:8200", "http://vault", false),
            ("http://[::ffff:127.0.0.1]", "http://vault", false),
            ("http://0.0.0.0:8200", "http://vault", false),
            ("http://127.0.0.1:8200", "http://vault.localhost", true),
            ("http://127.0.0.1:8200", "http://[::1]:8201", true),
            ("http://127.0.0.1:8200", "https://192.0.2.2:8200", true),
            ("http://vault", "http://active", true),
            ("http://vault", "http://127.0.0.1", true),
            ("https://vault", "https://active", true),
        ] {
            let followed = followed(&format!("{from}/v1/{PATH}"), &format!("{to}/v1/{PATH}"));
            assert_eq!(followed.is_ok(), is_followed, "{from} {to}: {followed:?}");
        }
    }
}
