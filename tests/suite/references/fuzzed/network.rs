//! What comes from the environment and the network beside answers: lists of `NO_PROXY`, PEM, and
//! redirects. Any text means something or nothing, and what must hold of it does.
//!
//! The first line of an input says what the rest is: `no_proxy` with a host and a port behind it,
//! `redirect` with the address that was asked, or `pem`.

use reqwest::Url;
use vault_exec::door::http::no_proxy::NoProxy;
use vault_exec::door::http::pem::sections;
use vault_exec::door::vault::redirect;

/// What a request of a login is for.
const PATH: &str = "auth/approle/login";

pub(crate) fn settles(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (head, rest) = text.split_once('\n').unwrap_or((text, ""));
    let words: Vec<&str> = head.split(' ').collect();
    match *words.as_slice() {
        ["no_proxy", host, port] => no_proxy(rest, host, port.parse().unwrap_or(8200)),
        ["redirect", from] => redirected(from, rest),
        _ => pem(rest),
    }
}

/// A longer list never takes a server off it, the order does not matter, and a server that is named
/// is on it.
fn no_proxy(list: &str, host: &str, port: u16) {
    let has = |list: &str| NoProxy::parse(list).has(host, port);
    let is_on_it = has(list);
    assert!(has("*") && has(&format!("{list},*")) && !has(""));
    assert!(!is_on_it || has(&format!("x.invalid {list}\tother.invalid:1")), "{list} {host}");
    let reversed: Vec<&str> = list.split(|c: char| c == ',' || c.is_whitespace()).rev().collect();
    assert_eq!(has(&reversed.join(",")), is_on_it, "{list} {host}");
    assert_eq!(NoProxy::parse(list).has(&host.to_ascii_uppercase(), port), is_on_it);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(is_plain) {
        assert_eq!(NoProxy::parse(list).has(&format!("{host}."), port), is_on_it, "{list} {host}");
        assert!(has(&format!("{list},{host}")) && has(&format!("{host}:{port}")), "{host}");
        assert!(!has(&format!("{host}:{}", port.wrapping_add(1))), "{host}");
    }
}

/// What is followed leads to the same path, never from https to http, never from this machine to
/// another one in clear, and takes no password along.
fn redirected(from: &str, location: &str) {
    let Ok(from) = Url::parse(from) else { return };
    if !matches!(from.scheme(), "http" | "https") || !from.path().ends_with(PATH) {
        return;
    }
    match redirect::target(&from, PATH, Some(location)) {
        Ok(next) => {
            assert!(next.scheme() == "https" || from.scheme() == "http", "{from} {next}");
            assert!(next.username().is_empty() && next.password().is_none(), "{next}");
            let is_near = |url: &Url| matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
            assert!(
                next.scheme() == "https"
                    || !is_near(&from)
                    || next.host_str().is_some_and(|host| {
                        host.starts_with("127.")
                            || host.starts_with('[')
                            || host.trim_end_matches('.').ends_with("localhost")
                            || host == "0.0.0.0"
                    }),
                "{from} {next}"
            );
            // It may be percent-encoded.
            assert!(next.path().contains('%') || next.path().ends_with(PATH), "{next}");
        }
        Err(error) => assert_eq!(error.code.status(), 76),
    }
    assert!(redirect::target(&from, PATH, None).is_err());
}

/// A section is found whatever stands before it, and no more of them than there are marks.
fn pem(text: &str) {
    let found: Vec<_> = sections(text).collect();
    assert!(found.len() <= text.matches("-----BEGIN ").count());
    for section in &found {
        assert!(
            text.contains(section.label) && section.body.is_none_or(|body| text.contains(body))
        );
        if let Some(bytes) = section.decoded() {
            assert!(bytes.len() <= text.len());
        }
        let _ = (section.is_encrypted(), section.is_certificate());
    }
    let longer = format!("{text}-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----");
    let last = sections(&longer).last().expect("a section");
    assert!(last.is_certificate() && !last.is_encrypted(), "{longer}");
    assert_eq!(last.decoded().as_deref().map(Vec::as_slice), Some(&b"ABC"[..]), "{longer}");
}
