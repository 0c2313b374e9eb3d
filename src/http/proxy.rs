//! The proxy that a server is reached through, if any.

use std::fmt;
use std::sync::Arc;

use reqwest::{Proxy, Url};

use crate::error::Error;
use crate::grammar::address::{Address, is_loopback};
use crate::grammar::sourced::Sourced;
use crate::http::no_proxy::NoProxy;
use crate::secret::Variable;

/// The proxies for all servers that a client may contact.
#[derive(Default)]
pub(crate) struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    except: NoProxy,
}

/// A proxy, and the variable that names it.
#[derive(Clone)]
pub(crate) struct Named {
    /// May hold a password.
    url: Url,
    /// For messages.
    pub(crate) origin: String,
}

impl Proxies {
    /// Chooses the proxy that is set for Vault alone, otherwise those of `HTTPS_PROXY` and
    /// `HTTP_PROXY`, with `NO_PROXY`. `ALL_PROXY` is curl's; Vault's own client does not know it.
    ///
    /// # Errors
    /// 78 if the proxy for this address cannot be used. The message does not repeat the proxy,
    /// because it may hold a password.
    pub(crate) fn choose(
        address: &Address,
        own: Option<&Sourced>,
        environment: &[Variable],
    ) -> Result<Proxies, Error> {
        if let Some(own) = own {
            if address.is_loopback() {
                return Ok(Proxies::default());
            }
            let origin = own.origin.to_string();
            let named = Named { url: parsed(own.text()?, &origin)?, origin };
            return Ok(Proxies {
                http: Some(named.clone()),
                https: Some(named),
                ..Proxies::default()
            });
        }
        let except = first(environment, &["NO_PROXY", "no_proxy"]).map(|(_, text)| text);
        let except = NoProxy::parse(except.unwrap_or_default());
        let is_direct = address.is_loopback() || except.has(address.host(), address.port());
        // An invalid proxy that this address does not need must not prevent the start.
        let needed = |is_needed: bool, found: Result<Option<Named>, Error>| match found {
            Err(error) if is_needed && !is_direct => Err(error),
            found => Ok(found.ok().flatten()),
        };
        Ok(Proxies {
            http: needed(!address.is_https(), for_http(environment))?,
            https: needed(address.is_https(), named(environment, &["HTTPS_PROXY", "https_proxy"]))?,
            except,
        })
    }

    /// Returns the proxy for a URL. A server on this machine never gets one, because the proxy
    /// would be sent the token.
    pub(crate) fn of(&self, url: &Url) -> Option<&Named> {
        let named = if url.scheme() == "https" { &self.https } else { &self.http };
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        named.as_ref().filter(|_| !is_loopback(host) && !self.except.has(host, port))
    }

    /// Returns the proxy setting for the HTTP library, which asks for each request, or `None` if
    /// there is no proxy at all.
    pub(crate) fn for_library(proxies: &Arc<Proxies>) -> Option<Proxy> {
        let is_any = proxies.http.is_some() || proxies.https.is_some();
        let proxies = Arc::clone(proxies);
        is_any.then(|| Proxy::custom(move |url| proxies.of(url).map(|named| named.url.clone())))
    }
}

/// Shows its address and the variable, without a password.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.url.origin().ascii_serialization(), self.origin)
    }
}

/// Returns the proxy for http. A web server passes each request header to a CGI program as a
/// variable, so `HTTP_PROXY` may be the `Proxy` header of whoever sent the request (CVE-2016-5385).
/// No header becomes a variable in lower case.
fn for_http(environment: &[Variable]) -> Result<Option<Named>, Error> {
    let is_cgi = first(environment, &["REQUEST_METHOD"]).is_some();
    if !is_cgi {
        return named(environment, &["HTTP_PROXY", "http_proxy"]);
    }
    let found = named(environment, &["http_proxy"])?;
    if found.is_none() && first(environment, &["HTTP_PROXY"]).is_some() {
        return Err(Error::config(
            "HTTP_PROXY is not used beside REQUEST_METHOD: it may come from whoever sent the request",
        )
        .hint("set http_proxy, in lower case, or VAULT_PROXY_ADDR"));
    }
    Ok(found)
}

fn named(environment: &[Variable], names: &[&str]) -> Result<Option<Named>, Error> {
    let Some((name, text)) = first(environment, names) else { return Ok(None) };
    Ok(Some(Named { url: parsed(text, name)?, origin: name.to_owned() }))
}

/// Parses a proxy's URL; the scheme may be missing.
fn parsed(text: &str, origin: &str) -> Result<Url, Error> {
    const FORM: &str = "a proxy is like http://proxy.example.com:3128";
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("socks") {
        return Err(Error::config(format!("{origin}: a SOCKS proxy, which is not supported"))
            .hint("an HTTP proxy is: http://proxy.example.com:3128"));
    }
    let url = matches!(scheme.as_str(), "http" | "https")
        .then(|| Url::parse(&format!("{scheme}://{rest}")).ok())
        .flatten();
    url.ok_or_else(|| Error::config(format!("{origin}: not the URL of a proxy")).hint(FORM))
}

fn first<'a>(environment: &'a [Variable], names: &[&'a str]) -> Option<(&'a str, &'a str)> {
    names.iter().find_map(|name| {
        let variable = environment.iter().find(|variable| variable.name == *name)?;
        variable
            .value
            .expose_text()
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| (*name, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::sourced::Origin;

    const BOTH: &[(&str, &str)] = &[("HTTP_PROXY", "http://plain:1"), ("https_proxy", "secure:1")];

    fn chosen(
        address: &str,
        own: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<Proxies, Error> {
        let address = Address::parse(address).expect("an address");
        let own = own.map(|text| Sourced {
            value: text.into(),
            origin: Origin::Variable("VAULT_PROXY_ADDR".into()),
        });
        let environment: Vec<Variable> =
            environment.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        Proxies::choose(&address, own.as_ref(), &environment)
    }

    /// Returns the proxy for a URL, and the variable.
    fn of(proxies: &Proxies, url: &str) -> Option<(String, String)> {
        let named = proxies.of(&Url::parse(url).expect("a URL"))?;
        Some((named.url.as_str().to_owned(), named.origin.clone()))
    }

    /// Returns the proxy for an address.
    fn at(address: &str, own: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        of(&chosen(address, own, environment).expect("proxies"), address).map(|(url, _)| url)
    }

    #[test]
    fn a_proxy_is_used_for_other_machines_only() {
        let plain = Some("http://plain:1/".to_owned());
        assert_eq!(at("http://vault", None, BOTH), plain);
        assert_eq!(at("https://vault", None, BOTH), Some("http://secure:1/".to_owned()));
        assert_eq!(at("http://vault", None, &BOTH[1..]), None);
        assert_eq!(at("http://vault", Some("http://p:1"), BOTH), Some("http://p:1/".to_owned()));
        for host in
            ["127.0.0.1:1", "localhost", "[::1]", "0.0.0.0:1", "[::ffff:127.0.0.1]", "a.localhost."]
        {
            for scheme in ["http", "https"] {
                let address = format!("{scheme}://{host}");
                assert_eq!(at(&address, Some("http://p:1"), BOTH), None, "{address}");
                assert_eq!(at(&address, None, BOTH), None, "{address}");
            }
        }
    }

    /// A redirect may lead to a server for which another rule applies.
    #[test]
    fn each_url_has_the_proxy_that_is_meant_for_it() {
        let environment = [BOTH, &[("NO_PROXY", "a.test,10.0.0.0/8")]].concat();
        for address in ["http://a.test", "http://b.test", "https://a.test", "http://127.0.0.1"] {
            let proxies = chosen(address, None, &environment).expect("proxies");
            let origins = [
                "http://b.test",
                "https://b.test",
                "http://a.test",
                "https://10.1.2.3",
                "http://[::1]",
            ]
            .map(|url| of(&proxies, url).map(|(_, origin)| origin));
            let named = |name: &str| Some(name.to_owned());
            let expected = [named("HTTP_PROXY"), named("https_proxy"), None, None, None];
            assert_eq!(origins, expected, "{address}");
        }
    }

    #[test]
    fn a_proxy_for_vault_alone_knows_no_exceptions() {
        let proxy = at("http://vault", Some("p:1"), &[("NO_PROXY", "*")]);
        assert_eq!(proxy, Some("http://p:1/".to_owned()));
    }

    #[test]
    fn capitals_go_before_lower_case_and_blanks_around_it_are_dropped() {
        let environment =
            [("http_proxy", "low:1"), ("HTTP_PROXY", " HTTP://UP:1 "), ("no_proxy", "vault")];
        assert_eq!(at("http://vault.test", None, &environment), Some("http://up:1/".to_owned()));
        assert_eq!(at("http://vault", None, &environment), None);
        let environment = [&environment[..], &[("NO_PROXY", "other")]].concat();
        assert_eq!(at("http://vault", None, &environment), Some("http://up:1/".to_owned()));
        assert_eq!(
            at("http://vault", None, &[("HTTP_PROXY", " "), ("http_proxy", "low:1")]),
            Some("http://low:1/".to_owned())
        );
        assert_eq!(
            at("https://vault", None, &[("HTTP_PROXY", "up:1"), ("ALL_PROXY", "all:1")]),
            None
        );
    }

    #[test]
    fn a_program_of_a_web_server_takes_no_proxy_from_a_header() {
        let mut environment =
            vec![("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1"), ("HTTPS_PROXY", "p:1")];
        let error = chosen("http://vault", None, &environment).err().expect("an error");
        assert!(error.code.status() == 78 && error.message.contains("REQUEST_METHOD"), "{error:?}");
        assert_eq!(at("https://vault", None, &environment), Some("http://p:1/".to_owned()));
        assert_eq!(
            at("http://vault", Some("own:1"), &environment),
            Some("http://own:1/".to_owned())
        );
        assert_eq!(at("http://localhost", None, &environment), None);
        environment.push(("http_proxy", "low:1"));
        assert_eq!(at("http://vault", None, &environment), Some("http://low:1/".to_owned()));
        environment.push(("NO_PROXY", "vault"));
        assert_eq!(at("http://vault", None, &environment), None);
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_does_not_repeat_it() {
        for text in [
            "socks5://s3cret@p",
            "SOCKS5h://s3cret@p:1080",
            "ftp://s3cret@p",
            "http://",
            "http://s3cret:s3cret@",
        ] {
            let error = chosen("http://vault", Some(text), &[]).err().expect(text);
            assert!(
                error.code.status() == 78 && !format!("{error:?}").contains("s3cret"),
                "{error:?}"
            );
            assert_eq!(error.message.contains("SOCKS"), text.to_lowercase().starts_with("socks"));
        }
    }

    #[test]
    fn a_wrong_proxy_that_is_not_needed_stops_no_start() {
        let wrong = [("HTTP_PROXY", "socks5://p"), ("NO_PROXY", "a.test")];
        for address in ["https://vault", "http://a.test", "http://localhost"] {
            assert_eq!(at(address, None, &wrong), None, "{address}");
        }
        assert!(chosen("http://vault", None, &wrong).is_err());
    }
}
