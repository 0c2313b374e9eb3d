//! What becomes of the server's name: in a network of their own, starts ask a name server of the test. The debug build asks
//! it through glibc, the static one through musl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use test_vault::{Gate, Names, Shut, name_server};

use super::{LONG, Phase, SHORT, Transport, outcome};
use crate::own_network::alone;
use crate::support::{Run, all_at_once};

/// Nothing that is sent there arrives anywhere: it is routed to this machine, which has another address.
const DEAD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const NETWORK: &[&str] = &["ip address add 10.9.9.1/32 dev lo", "ip route add 10.9.9.0/24 dev lo"];
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Nobody listens there on any port.
const CLOSED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// No route leads there.
const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
const HERE_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// DNS, TCP and TLS take at most this much of one try.
const CONNECT: Duration = Duration::from_secs(5);

struct Case {
    /// The first label of the server's name.
    name: &'static str,
    names: fn() -> Names,
    timeout: Duration,
    /// What is said where it fails; nothing where it starts.
    words: &'static [&'static str],
    /// What it takes, where it starts.
    took: [Duration; 2],
}

const fn starts(name: &'static str, timeout: Duration, took: [Duration; 2], names: fn() -> Names) -> Case {
    Case { name, names, timeout, words: &[], took }
}

const fn fails(name: &'static str, words: &'static [&'static str], names: fn() -> Names) -> Case {
    Case { name, names, timeout: SHORT, words, took: [SHORT, SHORT] }
}

const NONE: Duration = Duration::ZERO;

const CASES: &[Case] = &[
    fails("unknown", &["has no address here", " tries in "], || Names::Unknown),
    // glibc hands this on, musl asks again.
    fails("failure", &["VAULT_ADDR"], || Names::Failure),
    fails("empty", &["has no address here"], || Names::Addresses(Vec::new())),
    fails("silence", &["no name server has answered in time", "resolv.conf"], || Names::Silence),
    fails("nowhere", &["unreachable"], || Names::Addresses(vec![NOWHERE])),
    fails("dead", &["no connection in time", "firewall"], || Names::Addresses(vec![DEAD])),
    starts("late", LONG, [Duration::from_millis(1500), CONNECT], || {
        Names::Late(Duration::from_millis(1500), vec![HERE])
    }),
    starts("dead-first", LONG, [NONE, CONNECT], || Names::Addresses(vec![DEAD, HERE])),
    starts("closed-first", LONG, [NONE, NONE], || Names::Addresses(vec![CLOSED, HERE])),
    // Less than a connection may take: the other family is not waited for.
    starts("six-dead", Duration::from_millis(4500), [NONE, NONE], || Names::Addresses(vec![HERE_6, HERE])),
    starts("six-nowhere", LONG, [NONE, NONE], || Names::Addresses(vec![NOWHERE, HERE])),
];

/// A run that asks for the server by a name.
fn by_name(run: Run, scheme: &str, name: &str, port: u16) -> Run {
    // The certificate is not for that name.
    run.env("VAULT_ADDR", format!("{scheme}://{name}.test:{port}")).env("VAULT_TLS_SERVER_NAME", "localhost")
}

fn check((case, transport): &(&Case, Transport)) {
    let name = format!("{} over {transport:?}", case.name);
    let served = transport.serve();
    let address = served.vault.socket_addr();
    let _six = Gate::at(SocketAddr::new(HERE_6, address.port()), address, 0, Shut::Dropped);
    let run = by_name(served.with_approle(), served.vault.scheme(), case.name, address.port());
    let outcome = outcome(run, case.timeout);
    outcome.took(case.took[0], case.took[1], &name);
    if case.words.is_empty() {
        assert!(outcome.ended.started(), "{name}: {}", outcome.ended.stderr);
    } else {
        outcome.failed(69, &["login at auth/approle: ", &format!("://{}.test:", case.name)], &name);
        outcome.said(case.words, &name);
    }
    assert_eq!(Phase::Login.count(&served.vault), usize::from(case.words.is_empty()), "{name}");
}

#[test]
fn whatever_becomes_of_a_name() {
    let resolver = [("/etc/resolv.conf", "nameserver 127.0.0.1\n")];
    alone("faults::names::whatever_becomes_of_a_name", NETWORK, &resolver, || {
        name_server("127.0.0.1:53".parse().expect("an address"), |name| {
            let case = CASES.iter().find(|case| name == format!("{}.test", case.name));
            case.map_or(Names::Unknown, |case| (case.names)())
        });
        let rows: Vec<_> =
            CASES.iter().flat_map(|case| [Transport::Http, Transport::Https].map(|each| (case, each))).collect();
        all_at_once(&rows, check);
    });
}

/// glibc asks the second name server when the first one has been silent for 5 s, which is all that one try may take: the
/// next try is told what comes of it.
#[test]
fn a_first_name_server_that_is_dead_stops_no_start() {
    let resolver = [("/etc/resolv.conf", "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")];
    alone("faults::names::a_first_name_server_that_is_dead_stops_no_start", NETWORK, &resolver, || {
        let _silent = UdpSocket::bind("127.0.0.2:53").expect("a free port");
        name_server("127.0.0.1:53".parse().expect("an address"), |_| Names::Late(Duration::from_secs(1), vec![HERE]));
        let served = Transport::Https.serve();
        let run = by_name(served.with_approle(), "https", "vault", served.vault.socket_addr().port());
        let outcome = outcome(run, Duration::from_secs(30));
        assert!(outcome.ended.started(), "{}", outcome.ended.stderr);
        assert_eq!(Phase::Login.count(&served.vault), 1);
    });
}
