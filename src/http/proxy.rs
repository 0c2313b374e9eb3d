//! Which proxy a server is reached through.

use reqwest::{NoProxy, Proxy};

use crate::error::Error;
use crate::grammar::address::Address;
use crate::secret::Variable;
use crate::settings::layers::Sourced;

/// A proxy, and the variable that names it.
pub struct Chosen {
    /// The proxy.
    pub proxy: Proxy,
    /// For messages.
    pub origin: String,
}

/// The proxy for a server: the one set for Vault alone, else that of `HTTPS_PROXY` or `HTTP_PROXY`
/// unless `NO_PROXY` names the server. Never one for a server on this machine: it would be sent the
/// token.
///
/// # Errors
/// 78 for a proxy that is no URL; the message does not repeat it, for it may hold a password.
pub fn choose(
    address: &Address,
    own: Option<&Sourced>,
    environment: &[Variable],
) -> Result<Option<Chosen>, Error> {
    if address.is_loopback() {
        return Ok(None);
    }
    if let Some(own) = own {
        let proxy = proxy(own.text()?, &own.origin)?;
        return Ok(Some(Chosen { proxy, origin: own.origin.clone() }));
    }
    let names = if address.is_https() {
        ["HTTPS_PROXY", "https_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy"]
    };
    let Some((name, text)) = first(environment, &names) else { return Ok(None) };
    let except = first(environment, &["NO_PROXY", "no_proxy"])
        .and_then(|(_, text)| NoProxy::from_string(text));
    Ok(Some(Chosen {
        proxy: proxy(text, name)?.no_proxy(except),
        origin: format!("{name} (and NO_PROXY)"),
    }))
}

fn proxy(text: &str, origin: &str) -> Result<Proxy, Error> {
    let wrong = || {
        Error::config(format!("{origin}: not the URL of a proxy"))
            .hint("a proxy is like http://proxy.example.com:3128")
    };
    let is_http =
        text.starts_with("http://") || text.starts_with("https://") || !text.contains("://");
    if is_http { Proxy::all(text).map_err(|_| wrong()) } else { Err(wrong()) }
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

    fn chosen(
        address: &str,
        own: Option<&str>,
        environment: &[(&str, &str)],
    ) -> Result<bool, Error> {
        let address = Address::parse(address).expect("an address");
        let own = own.map(|text| Sourced { value: text.into(), origin: "VAULT_PROXY_ADDR".into() });
        let environment: Vec<Variable> =
            environment.iter().map(|(name, value)| Variable::new(*name, *value)).collect();
        choose(&address, own.as_ref(), &environment).map(|proxy| proxy.is_some())
    }

    #[test]
    fn a_proxy_is_used_for_other_machines_only() {
        let both = [("HTTP_PROXY", "http://p:1"), ("https_proxy", "p:1")];
        assert_eq!(chosen("http://vault", None, &both), Ok(true));
        assert_eq!(chosen("https://vault", None, &both), Ok(true));
        assert_eq!(chosen("http://vault", None, &both[1..]), Ok(false));
        assert_eq!(chosen("http://vault", Some("http://p:1"), &[]), Ok(true));
        for address in ["http://127.0.0.1:1", "https://localhost", "http://[::1]"] {
            assert_eq!(chosen(address, Some("http://p:1"), &both), Ok(false), "{address}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_does_not_repeat_it() {
        for text in ["socks5://s3cret@p", "http://", "http://s3cret:s3cret@"] {
            let error = chosen("http://vault", Some(text), &[]).expect_err(text);
            assert!(
                error.code.status() == 78 && !format!("{error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }
}
