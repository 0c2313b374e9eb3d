//! What becomes of the server's name: in a network of their own, starts ask a name server of the
//! test. The debug build asks it through glibc, the static one through musl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use test_vault::{Gate, Names, Shut, name_server};

use super::{LONG, Outcome, Phase, RETRIES, Transport, outcome};
use crate::support::launch::Served;
use crate::support::own_network::alone;
use crate::support::{Run, all_at_once, with_enough_time};

/// Nothing that is sent there arrives anywhere: it is routed to this machine, which has another
/// address.
const DEAD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const NETWORK: &[&str] = &[
    "ip address add 10.9.9.1/32 dev lo",
    "ip route add 10.9.9.0/24 dev lo",
    "ip -6 address add fd00::9/128 dev lo nodad",
];
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Nobody listens there on any port.
const CLOSED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
/// No route leads there.
const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));
const HERE_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9));
/// What is sent there is dropped.
const DEAD_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

struct Case {
    /// The first label of the server's name.
    name: &'static str,
    names: fn() -> Names,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// The application starts, at the earliest after this.
    Starts(Duration),
    /// It is tried again and fails, with these words.
    Fails(&'static [&'static str]),
    /// The same, at the deadline.
    Waits(&'static [&'static str]),
}

const fn case(name: &'static str, end: End, names: fn() -> Names) -> Case {
    Case { name, names, end }
}

const LATE: Duration = Duration::from_millis(1500);
const STARTS: End = End::Starts(Duration::ZERO);

const CASES: &[Case] = &[
    case("unknown", End::Fails(&["has no address here", "3 tries in "]), || Names::Unknown),
    // glibc hands this on, musl asks again.
    case("failure", End::Fails(&["VAULT_ADDR", "ndots", "example.com.:8200"]), || Names::Failure),
    case("empty", End::Fails(&["has no address here"]), || Names::Addresses(Vec::new())),
    case("silence", End::Waits(&["no name server has answered in time", "resolv.conf"]), || {
        Names::Silence
    }),
    case("nowhere", End::Fails(&["unreachable", "3 tries in "]), || {
        Names::Addresses(vec![NOWHERE])
    }),
    case("dead", End::Waits(&["no connection in time", "firewall"]), || {
        Names::Addresses(vec![DEAD])
    }),
    case("late", End::Starts(LATE), || Names::Late(LATE, vec![HERE])),
    case("dead-first", STARTS, || Names::Addresses(vec![DEAD, HERE])),
    case("closed-first", STARTS, || Names::Addresses(vec![CLOSED, HERE])),
    case("six-dead", STARTS, || Names::Addresses(vec![DEAD_6, HERE])),
    case("six-nowhere", STARTS, || Names::Addresses(vec![NOWHERE, HERE])),
    // Name servers that know nothing of IPv6, and some that know nothing of IPv4.
    case("six-unknown", STARTS, || only(HERE, Names::Unknown)),
    case("six-refused", STARTS, || only(HERE, Names::Refusal)),
    case("six-failure", STARTS, || only(HERE, Names::Failure)),
    case("six-silence", STARTS, || only(HERE, Names::Silence)),
    case("six-empty", STARTS, || only(HERE, Names::Addresses(Vec::new()))),
    case("four-unknown", STARTS, || only(HERE_6, Names::Unknown)),
    case("four-empty", STARTS, || only(HERE_6, Names::Addresses(Vec::new()))),
];

fn only(address: IpAddr, other: Names) -> Names {
    Names::Only(vec![address], Box::new(other))
}

/// The resolver is more patient than every start here: nothing waits for it.
const RESOLVER: &str = "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n";

/// A run that asks for the server by a name.
fn by_name(run: Run, scheme: &str, name: &str, port: u16) -> Run {
    // The certificate is not for that name.
    run.env("VAULT_ADDR", format!("{scheme}://{name}.test:{port}"))
        .env("VAULT_TLS_SERVER_NAME", "localhost")
}

fn start(case: &Case, transport: Transport, timeout: Duration) -> (Served, Outcome) {
    let served = transport.serve();
    let address = served.vault.socket_addr();
    let at = |ip| SocketAddr::new(ip, address.port());
    let _dead = Gate::at(at(DEAD_6), address, 0, Shut::Dropped);
    let _six = Gate::at(at(HERE_6), address, usize::MAX, Shut::Dropped);
    let run = by_name(served.with_approle(), served.vault.scheme(), case.name, address.port());
    let outcome = outcome(run.option(format!("--max-retries={RETRIES}")), timeout);
    (served, outcome)
}

fn check(case: &Case, transport: Transport) {
    let name = format!("{} over {transport:?}", case.name);
    let (served, outcome) = match case.end {
        End::Waits(words) => with_enough_time(
            |time| start(case, transport, time),
            |(_, outcome)| outcome.says(words),
        ),
        _ => start(case, transport, LONG),
    };
    match case.end {
        End::Starts(least) => {
            assert!(outcome.ended.started(), "{name}: {}", outcome.ended.stderr);
            assert!(!outcome.says(&["trying again"]), "{name}: {}", outcome.ended.stderr);
            outcome.took(least, least, &name);
        }
        End::Fails(words) | End::Waits(words) => {
            outcome.failed(
                69,
                &["login at auth/approle: ", &format!("://{}.test:", case.name)],
                &name,
            );
            outcome.said(words, &name);
        }
    }
    outcome.in_time(matches!(case.end, End::Waits(_)), &name);
    assert_eq!(Phase::Login.count(&served.vault), usize::from(outcome.ended.started()), "{name}");
}

#[test]
fn whatever_becomes_of_a_name() {
    asking("wire::faults::names::whatever_becomes_of_a_name", || {
        name_server("127.0.0.1:53".parse().expect("an address"), |name| {
            let case = CASES.iter().find(|case| name == format!("{}.test", case.name));
            case.map_or(Names::Unknown, |case| (case.names)())
        });
        let rows = CASES
            .iter()
            .flat_map(|case| [Transport::Http, Transport::Https].map(|each| (case, each)));
        all_at_once(rows, |(case, transport)| check(case, transport));
    });
}

/// glibc asks the second name server when the first one has been silent for 5 s, which is all that
/// one try may take: the next try is told what comes of it.
#[test]
fn a_first_name_server_that_is_dead_stops_no_start() {
    let resolver = [("/etc/resolv.conf", "nameserver 127.0.0.2\nnameserver 127.0.0.1\n")];
    alone(
        "wire::faults::names::a_first_name_server_that_is_dead_stops_no_start",
        NETWORK,
        &resolver,
        || {
            let _silent = UdpSocket::bind("127.0.0.2:53").expect("a free port");
            name_server("127.0.0.1:53".parse().expect("an address"), |_| {
                Names::Late(Duration::from_secs(1), vec![HERE])
            });
            let served = Transport::Https.serve();
            let run =
                by_name(served.with_approle(), "https", "vault", served.vault.socket_addr().port());
            let outcome = outcome(run, LONG);
            assert!(outcome.ended.started(), "{}", outcome.ended.stderr);
            assert_eq!(Phase::Login.count(&served.vault), 1);
        },
    );
}

/// What is said of the names that search domains make.
fn searched() -> [(&'static str, Names); 5] {
    [
        ("unknown", Names::Unknown),
        ("failure", Names::Failure),
        ("refused", Names::Refusal),
        ("silence", Names::Silence),
        ("empty", Names::Addresses(Vec::new())),
    ]
}

/// As Kubernetes has it: a name with fewer than five dots is looked for below each search domain
/// first, and the name server for one of them may be any.
#[test]
fn a_search_domain_that_fails_stops_no_start() {
    const PODS: &str = "nameserver 127.0.0.1\nsearch ns.svc.cluster.local bad.search\noptions \
                        ndots:5\n";
    alone(
        "wire::faults::names::a_search_domain_that_fails_stops_no_start",
        NETWORK,
        &[("/etc/resolv.conf", PODS)],
        || {
            name_server("127.0.0.1:53".parse().expect("an address"), |name| {
                let case =
                    searched().into_iter().find(|(case, _)| name.starts_with(&format!("{case}.")));
                match case {
                    Some((_, names)) if name.ends_with(".bad.search") => names,
                    Some((case, _)) if name == format!("{case}.test") => {
                        Names::Addresses(vec![HERE])
                    }
                    _ => Names::Unknown,
                }
            });
            all_at_once(searched(), |(name, _)| {
                let served = Transport::Https.serve();
                let port = served.vault.socket_addr().port();
                let outcome = outcome(by_name(served.with_approle(), "https", name, port), LONG);
                assert!(outcome.ended.started(), "{name}: {}", outcome.ended.stderr);
                assert!(!outcome.says(&["trying again"]), "{name}: {}", outcome.ended.stderr);
            });
        },
    );
}

#[test]
fn a_name_with_a_dot_at_its_end_is_asked_for_as_it_is() {
    let resolver = "nameserver 127.0.0.1\nsearch svc.cluster.local\noptions ndots:5\n";
    alone(
        "wire::faults::names::a_name_with_a_dot_at_its_end_is_asked_for_as_it_is",
        NETWORK,
        &[("/etc/resolv.conf", resolver)],
        || {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            name_server("127.0.0.1:53".parse().expect("an address"), move |name| {
                count.fetch_add(1, Ordering::Relaxed);
                assert_eq!(name, "vault.test");
                Names::Addresses(vec![HERE])
            });
            let served = Transport::Http.serve();
            let port = served.vault.socket_addr().port();
            let run = served.with_token().env("VAULT_ADDR", format!("http://vault.test.:{port}"));
            let outcome = outcome(run, LONG);
            assert!(outcome.ended.started(), "{}", outcome.ended.stderr);
            assert_eq!(asked.load(Ordering::Relaxed), QUESTIONS);
        },
    );
}

/// A name server could send the token to another machine.
#[test]
fn localhost_is_asked_of_no_name_server() {
    let files = [("/etc/resolv.conf", RESOLVER), ("/etc/hosts", "127.0.0.9 localhost\n")];
    alone("wire::faults::names::localhost_is_asked_of_no_name_server", NETWORK, &files, || {
        let asked = moving(CLOSED);
        let served = Transport::Http.serve();
        let port = served.vault.socket_addr().port();
        for host in ["localhost", "localhost.", "vault.localhost", "LOCALHOST"] {
            let run = served.with_approle().env("VAULT_ADDR", format!("http://{host}:{port}"));
            let outcome = outcome(run, LONG);
            assert!(outcome.ended.started(), "{host}: {}", outcome.ended.stderr);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    });
}

/// A lookup asks for addresses of both kinds.
const QUESTIONS: usize = 2;

/// A name server with this address for what is asked first, one lookup, and the test's own for what
/// is asked later. It counts the questions.
fn moving(first: IpAddr) -> Arc<AtomicUsize> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    name_server("127.0.0.1:53".parse().expect("an address"), move |_| {
        let is_first = count.fetch_add(1, Ordering::Relaxed) < QUESTIONS;
        Names::Addresses(vec![if is_first { first } else { HERE }])
    });
    asked
}

/// Runs a test where the name server is the test's own.
fn asking(name: &str, test: impl FnOnce()) {
    alone(name, NETWORK, &[("/etc/resolv.conf", RESOLVER)], test);
}

#[test]
fn a_name_is_looked_up_once_for_all_connections() {
    asking("wire::faults::names::a_name_is_looked_up_once_for_all_connections", || {
        let (asked, served) = (moving(HERE), Transport::Http.serve());
        let run = served.with_many(served.with_approle(), 20);
        let outcome =
            outcome(by_name(run, "http", "vault", served.vault.socket_addr().port()), LONG);
        assert!(outcome.ended.started(), "{}", outcome.ended.stderr);
        assert!(served.vault.connections() > 2, "they were not made in parallel");
        assert_eq!(asked.load(Ordering::Relaxed), QUESTIONS);
    });
}

/// What is at the first address takes a connection and ends it: the name is not good for that
/// address any more.
#[test]
fn a_name_that_has_moved_is_looked_up_again() {
    asking("wire::faults::names::a_name_that_has_moved_is_looked_up_again", || {
        let (asked, served) = (moving(CLOSED), Transport::Http.serve());
        let port = served.vault.socket_addr().port();
        let left = TcpListener::bind((CLOSED, port)).expect("a free port");
        let gone = thread::spawn(move || drop(left.accept().expect("a connection")));
        let run = by_name(served.with_token(), "http", "vault", port).option("--kv-version=2");
        let outcome = outcome(run.option(format!("--max-retries={RETRIES}")), LONG);
        gone.join().expect("it was connected to");
        assert!(outcome.ended.started(), "{}", outcome.ended.stderr);
        assert_eq!(asked.load(Ordering::Relaxed), 2 * QUESTIONS);
    });
}
