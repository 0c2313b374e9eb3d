//! Which servers are reached through a proxy: the token must not go to one that `NO_PROXY` excepts
//! the server from. In a network of its own the server has a name and addresses like any other
//! machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use test_vault::{Gate, Names, Shut, name_server};

use super::network::{SECRET, proxy};
use crate::support::launch::Served;
use crate::support::own_network::alone;
use crate::support::{Run, all_at_once};

const PORT: u16 = 8200;
const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
const SIX: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const NETWORK: &[&str] =
    &["ip address add 10.1.2.3/32 dev lo", "ip -6 address add 2001:db8::1/128 dev lo nodad"];

const NAME: &str = "vault.example.com:8200";
const WHOLE: &str = "vault.example.com.:8200";
const IP: &str = "10.1.2.3:8200";
const IP_6: &str = "[2001:db8::1]:8200";
const MAPPED: &str = "[::ffff:10.1.2.3]:8200";

/// The host and port of an address, a list, and whether it excepts the server.
const LISTS: &[(&str, &str, bool)] = &[
    (NAME, "*", true),
    (NAME, "vault.example.com", true),
    (NAME, "VAULT.EXAMPLE.COM", true),
    (NAME, "vault.example.com.", true),
    (NAME, "example.com", true),
    (NAME, ".example.com", true),
    (NAME, "*.example.com", true),
    (NAME, "vault.example.com:8200", true),
    (NAME, ".example.com:8200", true),
    (NAME, "other.test,vault.example.com", true),
    (NAME, "other.test vault.example.com", true),
    (NAME, "other.test , vault.example.com ,", true),
    (NAME, "vault.example.com:8201", false),
    (NAME, "ample.com", false),
    (NAME, "10.1.2.3", false),
    (NAME, "0.0.0.0/0", false),
    (WHOLE, "*", true),
    (WHOLE, "vault.example.com", true),
    (WHOLE, "vault.example.com:8200", true),
    (WHOLE, ".example.com", true),
    (WHOLE, "other.test", false),
    (IP, "*", true),
    (IP, "10.1.2.3", true),
    (IP, "10.1.2.3:8200", true),
    (IP, "10.0.0.0/8", true),
    (IP, "other.test 10.1.2.0/24", true),
    (IP, "10.1.2.3:443", false),
    (IP, "10.1.3.0/24", false),
    (IP_6, "2001:db8::1", true),
    (IP_6, "[2001:db8::1]", true),
    (IP_6, "[2001:db8::1]:8200", true),
    (IP_6, "2001:db8::/32", true),
    (IP_6, "[2001:db8::1]:443", false),
    (MAPPED, "10.1.2.3", true),
    (MAPPED, "10.0.0.0/8", true),
];

/// A run that reads with a token from a server at this host and port.
fn reading(served: &Served, at: &str) -> Run {
    served.with_token().env("VAULT_ADDR", format!("http://{at}")).option("--kv-version=2")
}

fn check(served: &Served, (at, list, is_excepted): (&str, &str, bool)) {
    let (address, asked) = proxy(SECRET);
    let run = reading(served, at).env("HTTP_PROXY", format!("http://{address}"));
    let ended = run.env("NO_PROXY", list).marker().end();
    assert_eq!(asked.try_recv().is_err(), is_excepted, "{at} with {list:?}: {}", ended.stderr);
    // What the proxy answers holds no such secret.
    assert_eq!(ended.started(), is_excepted, "{at} with {list:?}: {}", ended.stderr);
}

#[test]
fn what_no_proxy_names_is_reached_without_a_proxy() {
    alone(
        "wire::proxies::what_no_proxy_names_is_reached_without_a_proxy",
        NETWORK,
        &[("/etc/resolv.conf", "nameserver 127.0.0.1\n")],
        || {
            name_server("127.0.0.1:53".parse().expect("an address"), |name| match name {
                "vault.example.com" => Names::Addresses(vec![FOUR]),
                _ => Names::Unknown,
            });
            let served = Served::http();
            let to = served.vault.socket_addr();
            let _gates = [FOUR, SIX]
                .map(|ip| Gate::at(SocketAddr::new(ip, PORT), to, usize::MAX, Shut::Refused));
            all_at_once(LISTS.iter().copied(), |row| check(&served, row));
        },
    );
}

/// This machine is never reached through a proxy, however its address is written.
#[test]
fn no_proxy_gets_the_token_for_this_machine() {
    let served = Served::http();
    let port = served.vault.socket_addr().port();
    for host in [
        "127.0.0.1",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "127.1",
        "localhost",
        "localhost.",
        "vault.localhost",
    ] {
        for name in ["HTTP_PROXY", "http_proxy", "VAULT_PROXY_ADDR"] {
            let (address, asked) = proxy(SECRET);
            let run =
                reading(&served, &format!("{host}:{port}")).env(name, format!("http://{address}"));
            let ended = run.marker().end();
            assert!(ended.started(), "{name} and {host}: {}", ended.stderr);
            assert!(asked.try_recv().is_err(), "{name} and {host}");
        }
    }
}

#[test]
fn the_scheme_of_a_proxy_may_be_in_capitals() {
    let served = Served::http();
    for scheme in ["HTTP://", "Http://", ""] {
        let (address, asked) = proxy(SECRET);
        let run = reading(&served, "vault.test").env("HTTP_PROXY", format!("{scheme}{address}"));
        run.marker().end();
        assert!(asked.try_recv().is_ok(), "{scheme}");
    }
}

#[test]
fn the_program_of_a_web_server_takes_no_proxy_from_a_header() {
    let served = Served::http();
    let (address, asked) = proxy(SECRET);
    let run = reading(&served, "vault.test").env("REQUEST_METHOD", "GET");
    let run = run.env("HTTP_PROXY", format!("http://{address}"));
    run.fails(78, &["HTTP_PROXY", "REQUEST_METHOD", "http_proxy"]);
    assert!(asked.try_recv().is_err());
}
