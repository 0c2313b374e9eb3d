//! `NO_PROXY`: the servers for which no proxy is used (pure).
//!
//! Every form that Go's clients understand (golang.org/x/net/http/httpproxy) means the same here. A
//! few forms that they ignore work too, as they do with curl: blanks between entries, brackets
//! without a port, and `.suffix` for the name `suffix` itself.

use std::net::{IpAddr, Ipv6Addr};

/// The entries of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<Entry>);

/// One or many servers, on one port or on all.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// `*`.
    Any,
    /// An address, or all addresses that share its first bits, as many as given.
    Network(IpAddr, u8),
    /// A name and all names below it: in lower case, without dots at either end.
    Name(String),
}

impl NoProxy {
    /// Parses a list. Ignores entries in none of the forms, as other clients do.
    pub fn parse(text: &str) -> NoProxy {
        let entries = text.split(|character: char| character == ',' || character.is_whitespace());
        NoProxy(entries.filter_map(entry).collect())
    }

    /// Returns whether a server is reached without a proxy. The host is as in a URL: an IPv6
    /// address is in brackets.
    pub fn has(&self, host: &str, port: u16) -> bool {
        let name = plain(host);
        let ip = name.parse().ok().map(canonical);
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|own| own == port)
                && match (&entry.host, ip) {
                    (Host::Any, _) => true,
                    (Host::Network(network, bits), Some(ip)) => begins_as(*network, ip, *bits),
                    (Host::Name(own), None) => is_at_or_below(own, &name),
                    _ => false,
                }
        })
    }
}

/// Returns a host without brackets, in lower case. A dot at its end says only that the name is
/// complete.
fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn entry(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry { host: Host::Any, port: None });
    }
    if let Some(host) = network(text).or_else(|| address(text)) {
        return Some(Entry { host, port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let host = address(host).or_else(|| name(host))?;
    Some(Entry { host, port })
}

/// Parses a network: `10.0.0.0/8`, `2001:db8::/32`.
fn network(text: &str) -> Option<Host> {
    let (ip, bits) = text.split_once('/')?;
    let (ip, bits): (IpAddr, u8) = (plain(ip).parse().ok()?, bits.parse().ok()?);
    let most = if ip.is_ipv4() { 32 } else { 128 };
    // An IPv4 address in IPv6 form has 96 bits before its own.
    let bits = match (ip, canonical(ip)) {
        (IpAddr::V6(_), IpAddr::V4(_)) => bits.checked_sub(96)?,
        _ => bits,
    };
    (bits <= most).then(|| Host::Network(canonical(ip), bits))
}

fn address(text: &str) -> Option<Host> {
    let ip = canonical(plain(text).parse().ok()?);
    Some(Host::Network(ip, if ip.is_ipv4() { 32 } else { 128 }))
}

/// Parses a name: `example.com`, `.example.com` and `*.example.com`.
fn name(text: &str) -> Option<Host> {
    let name = plain(text.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(text));
    let name = name.trim_start_matches('.');
    (!name.is_empty()).then(|| Host::Name(name.to_owned()))
}

/// Returns an address in its canonical form: `::ffff:10.1.2.3` is 10.1.2.3.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn begins_as(network: IpAddr, ip: IpAddr, bits: u8) -> bool {
    let (one, other, width) = match (network, ip) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_ipv6_mapped(), other.to_ipv6_mapped(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one, other, 128),
        _ => return false,
    };
    let differing = Ipv6Addr::to_bits(one) ^ Ipv6Addr::to_bits(other);
    differing.checked_shr(width - u32::from(bits)).unwrap_or_default() == 0
}

fn is_at_or_below(suffix: &str, name: &str) -> bool {
    let rest = name.strip_suffix(suffix);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// What Go's clients do with an entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Go {
        Same,
        /// They use the proxy anyway.
        Proxied,
    }
    use Go::{Proxied, Same};

    /// A list, a host as in a URL, a port, whether the proxy is bypassed, and what Go does.
    const TABLE: &[(&str, &str, u16, bool, Go)] = &[
        // Everything.
        ("*", "vault.example.com", 8200, true, Same),
        ("other.test,*", "10.1.2.3", 8200, true, Same),
        ("* , other.test", "[2001:db8::1]", 8200, true, Same),
        // Names.
        ("vault.example.com", "vault.example.com", 8200, true, Same),
        ("VAULT.Example.COM", "vault.example.com", 8200, true, Same),
        ("example.com", "vault.example.com", 443, true, Same),
        ("example.com", "a.b.example.com", 443, true, Same),
        ("example.com", "vaultexample.com", 443, false, Same),
        ("example.com", "example.com.evil.test", 443, false, Same),
        ("example.com", "example.org", 443, false, Same),
        ("vault", "vault", 8200, true, Same),
        ("vault", "vault.default.svc", 8200, false, Same),
        ("com", "example.com", 443, true, Same),
        // Suffixes.
        (".example.com", "vault.example.com", 8200, true, Same),
        (".example.com", "example.com", 8200, true, Proxied),
        (".example.com", "vaultexample.com", 8200, false, Same),
        ("*.example.com", "vault.example.com", 8200, true, Same),
        ("*.example.com", "a.b.example.com", 8200, true, Same),
        ("*.example.com", "example.com", 8200, true, Proxied),
        ("*.Example.Com:8200", "vault.example.com", 8200, true, Same),
        (".svc", "vault.default.svc", 8200, true, Same),
        ("*example.com", "vaultexample.com", 443, false, Same),
        ("vault.*.com", "vault.example.com", 443, false, Same),
        // A port.
        ("vault.example.com:8200", "vault.example.com", 8200, true, Same),
        ("vault.example.com:8200", "vault.example.com", 8201, false, Same),
        ("vault.example.com:443", "vault.example.com", 443, true, Same),
        ("example.com:8200", "vault.example.com", 8200, true, Same),
        (".example.com:8200", "vault.example.com", 8200, true, Same),
        (".example.com:8200", "vault.example.com", 443, false, Same),
        ("vault.example.com:", "vault.example.com", 8200, true, Same),
        ("vault.example.com:https", "vault.example.com", 443, false, Same),
        ("vault.example.com:99999", "vault.example.com", 443, false, Same),
        // Addresses.
        ("10.1.2.3", "10.1.2.3", 8200, true, Same),
        ("10.1.2.3", "10.1.2.33", 8200, false, Same),
        ("10.1.2.3:8200", "10.1.2.3", 8200, true, Same),
        ("10.1.2.3:8200", "10.1.2.3", 443, false, Same),
        ("10.1.2", "10.1.2.3", 8200, false, Same),
        ("2.3", "10.1.2.3", 8200, false, Same),
        ("10.1.2.3", "vault.10.1.2.3.test", 8200, false, Same),
        ("::ffff:10.1.2.3", "10.1.2.3", 8200, true, Same),
        ("10.1.2.3", "[::ffff:a01:203]", 8200, true, Same),
        ("2001:db8::1", "[2001:db8::1]", 8200, true, Same),
        ("2001:DB8:0:0::1", "[2001:db8::1]", 8200, true, Same),
        ("2001:db8::1", "[2001:db8::2]", 8200, false, Same),
        ("[2001:db8::1]", "[2001:db8::1]", 8200, true, Proxied),
        ("[2001:db8::1]:8200", "[2001:db8::1]", 8200, true, Same),
        ("[2001:db8::1]:8200", "[2001:db8::1]", 8201, false, Same),
        ("2001:db8::1:8200", "[2001:db8::1]", 8200, false, Same),
        // Networks.
        ("10.0.0.0/8", "10.1.2.3", 8200, true, Same),
        ("10.9.9.9/8", "10.1.2.3", 8200, true, Same),
        ("10.0.0.0/8", "11.1.2.3", 8200, false, Same),
        ("10.1.2.0/23", "10.1.3.9", 8200, true, Same),
        ("10.1.2.0/24", "10.1.3.9", 8200, false, Same),
        ("10.1.2.3/32", "10.1.2.3", 8200, true, Same),
        ("10.1.2.2/32", "10.1.2.3", 8200, false, Same),
        ("0.0.0.0/0", "10.1.2.3", 8200, true, Same),
        ("0.0.0.0/0", "[2001:db8::1]", 8200, false, Same),
        ("::ffff:10.0.0.0/104", "10.1.2.3", 8200, true, Same),
        ("2001:db8::/32", "[2001:db8:1::1]", 8200, true, Same),
        ("2001:db8::/32", "[2001:db9::1]", 8200, false, Same),
        ("[2001:db8::]/32", "[2001:db8:1::1]", 8200, true, Proxied),
        ("::/0", "[2001:db8::1]", 8200, true, Same),
        ("::/0", "10.1.2.3", 8200, false, Same),
        ("10.0.0.0/33", "10.1.2.3", 8200, false, Same),
        ("10.0.0.0/-1", "10.1.2.3", 8200, false, Same),
        ("2001:db8::/129", "[2001:db8::1]", 8200, false, Same),
        // Names are not looked up, so no network contains one.
        ("0.0.0.0/0", "vault.example.com", 8200, false, Same),
        // A dot at the end.
        ("vault.example.com", "vault.example.com.", 8200, true, Proxied),
        ("vault.example.com:8200", "vault.example.com.", 8200, true, Proxied),
        (".example.com", "vault.example.com.", 8200, true, Proxied),
        ("vault.example.com.", "vault.example.com", 8200, true, Proxied),
        ("10.1.2.3", "10.1.2.3.", 8200, true, Proxied),
        // More than one.
        ("a.test,vault.test", "vault.test", 80, true, Same),
        (" a.test , vault.test ", "vault.test", 80, true, Same),
        ("a.test vault.test", "vault.test", 80, true, Proxied),
        ("a.test\tvault.test\nb.test", "vault.test", 80, true, Proxied),
        (",,vault.test,,", "vault.test", 80, true, Same),
        // Entries that are not servers.
        ("", "vault.test", 80, false, Same),
        (",", "vault.test", 80, false, Same),
        (".", "vault.test", 80, false, Same),
        ("*.", "vault.test", 80, false, Same),
        (":80", "vault.test", 80, false, Same),
        ("[]:80", "vault.test", 80, false, Same),
        ("[", "[2001:db8::1]", 80, false, Same),
        ("/8", "10.1.2.3", 80, false, Same),
    ];

    #[test]
    fn the_table_of_forms() {
        for (list, host, port, is_excepted, go) in TABLE {
            assert_eq!(
                NoProxy::parse(list).has(host, *port),
                *is_excepted,
                "{list:?}: {host}:{port}"
            );
            assert!(*is_excepted || *go == Same, "Go excepts nothing that is not excepted here");
        }
    }

    fn cases() -> ProptestConfig {
        ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn any_list_is_read(list in "\\PC*", host in "\\PC{0,20}", port: u16) {
            NoProxy::parse(&list).has(&host, port);
        }

        #[test]
        fn a_server_is_excepted_by_itself_wherever_it_stands(
            host in "[a-z0-9-]{1,8}(\\.[a-zA-Z][a-z0-9-]{0,8}){0,3}\\.?",
            port in 1..u16::MAX,
            before in "[a-z.*:0-9/, ]{0,30}",
            divider in "[, \t]{1,3}",
        ) {
            for entry in [host.clone(), format!("{host}:{port}")] {
                let list = format!("{before}{divider}{entry}{divider}{before}");
                prop_assert!(NoProxy::parse(&list).has(&host.to_lowercase(), port), "{list}");
            }
        }

        #[test]
        fn an_address_is_in_each_network_that_it_begins_as(bits: u32, length in 0..=32_u8) {
            let text = |bits| std::net::Ipv4Addr::from_bits(bits).to_string();
            let list = NoProxy::parse(&format!("{}/{length}", text(bits)));
            prop_assert!(list.has(&text(bits), 1));
            prop_assert_eq!(list.has(&text(bits ^ (1 << 31)), 1), length == 0);
        }
    }
}
