//! What the server, or something in its place, does with a request that has reached it.

use std::time::Duration;

use test_vault::Fault;

use super::{LONG, Outcome, PHASES, Phase, RETRIES, REVOCATION, Transport, goes_on, outcome};
use crate::support::launch::Served;
use crate::support::{all_at_once, with_enough_time};

/// What comes of a fault that stays.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Nobody can know whether it was done: what may be repeated is, and a login ends at once. 69.
    Unknown,
    /// It was not done: everything is repeated. 69.
    NotDone,
    /// It is waited for until the deadline, and then there is no time for another try. 69.
    Waits,
    /// It ends at once with this code.
    Final(i32),
}

struct Case {
    name: &'static str,
    /// The fault for requests to this path.
    fault: fn(&str) -> Fault,
    end: End,
    words: &'static [&'static str],
    transports: &'static [Transport],
}

impl Case {
    /// A revocation is answered without a body, to which little can happen: HTTP/1.1 has its end in
    /// the headers.
    fn is_harmless_to_revocation(&self, transport: Transport) -> bool {
        match (self.fault)(Phase::Revoke.path()) {
            Fault::Drip(_) => true,
            Fault::Truncate => transport == Transport::Http,
            _ => false,
        }
    }
}

const fn case(
    name: &'static str,
    end: End,
    words: &'static [&'static str],
    fault: fn(&str) -> Fault,
) -> Case {
    Case { name, fault, end, words, transports: &[Transport::Http, Transport::Https] }
}

/// Bytes of HTTP/1.1.
const fn raw(
    name: &'static str,
    end: End,
    words: &'static [&'static str],
    fault: fn(&str) -> Fault,
) -> Case {
    Case { name, fault, end, words, transports: &[Transport::Http, Transport::Https1] }
}

/// Over TLS with HTTP/2 only.
const fn secure(
    name: &'static str,
    end: End,
    words: &'static [&'static str],
    fault: fn(&str) -> Fault,
) -> Case {
    Case { name, fault, end, words, transports: &[Transport::Https] }
}

const SECOND: Duration = Duration::from_secs(1);
/// The head of an answer without its last empty line, and without what says how long the body is.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/// An answer with this line about its length, and this body.
fn with_length(line: &str, body: &str) -> Vec<u8> {
    format!("{HEAD}{line}\r\n\r\n{body}").into_bytes()
}

const LOST: &[&str] = &["the connection was lost"];
const BROKE_OFF: &[&str] = &["the answer broke off"];
const NOT_HTTP: &[&str] = &["the answer is not HTTP"];
const NOT_JSON: &[&str] = &["status 200 is not JSON", "load balancer"];
const TOO_LONG: &[&str] = &["more than 4 MiB"];

const CASES: &[Case] = &[
    case("no answer", End::Waits, &["no answer in time"], |_| Fault::Hang),
    case("closed before the headers", End::Unknown, LOST, |_| Fault::Close),
    case("reset before the headers", End::Unknown, LOST, |_| Fault::Reset),
    raw("closed within the headers", End::Unknown, LOST, |_| Fault::Raw(HEAD.into())),
    raw("reset within the headers", End::Unknown, LOST, |_| Fault::RawReset(HEAD.into())),
    raw("closed after the headers", End::Unknown, BROKE_OFF, |_| {
        Fault::Raw(with_length("content-length: 99", ""))
    }),
    raw("reset after the headers", End::Unknown, BROKE_OFF, |_| {
        Fault::RawReset(with_length("content-length: 99", ""))
    }),
    case("done, and reset before the answer", End::Unknown, LOST, |_| Fault::LoseAnswer),
    case("truncated body", End::Unknown, BROKE_OFF, |_| Fault::Truncate),
    raw("truncated chunk", End::Unknown, BROKE_OFF, |_| {
        Fault::Raw(with_length("transfer-encoding: chunked", "30\r\n{\"data\":"))
    }),
    raw("a chunk of no length", End::Unknown, BROKE_OFF, |_| {
        Fault::Raw(with_length("transfer-encoding: chunked", "zz\r\n{\"data\":"))
    }),
    case("endless body", End::Final(76), TOO_LONG, |_| Fault::Endless),
    raw("endless headers", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(format!("{HEAD}x: {}", "x".repeat(1 << 20)).into())
    }),
    case(
        "one byte of the body in a second",
        End::Waits,
        &["the answer did not end in time"],
        |_| Fault::Drip(SECOND),
    ),
    raw("one byte of the headers in a second", End::Waits, &["no answer in time"], |_| {
        Fault::RawDrip(HEAD.into(), SECOND)
    }),
    raw("shorter than it says", End::Unknown, BROKE_OFF, |_| {
        Fault::Raw(with_length("content-length: 99", "{}"))
    }),
    raw("longer than it says", End::Final(76), NOT_JSON, |_| {
        Fault::Raw(with_length("content-length: 9", "{\"data\":{}}"))
    }),
    raw("a negative length", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(with_length("content-length: -2", "{}"))
    }),
    raw("a length that is no number", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(with_length("content-length: two", "{}"))
    }),
    raw("two lengths", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(with_length("content-length: 2\r\ncontent-length: 3", "{}"))
    }),
    raw("another protocol", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw("SSH-2.0-OpenSSH_9.9\r\n".into())
    }),
    raw("bytes", End::Final(76), NOT_HTTP, |_| Fault::Raw(b"\0\x01\xfe\xff\r\n\r\n".to_vec())),
    secure("bytes where frames should be", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())
    }),
    secure("HTTP/1.1 where HTTP/2 should be", End::Final(76), NOT_HTTP, |_| {
        Fault::Raw(HEAD.into())
    }),
    case("HTML with 502", End::Unknown, &["status 502"], |_| Fault::bad_gateway()),
    case("HTML with 503", End::NotDone, &["status 503"], |_| {
        Fault::answer(503, "<html>503 Service Unavailable</html>")
            .with_header("content-type", "text/html")
    }),
    case("HTML with 200", End::Final(76), NOT_JSON, |_| {
        Fault::answer(200, "<html>Welcome to nginx!</html>")
    }),
    case("JSON that ends too early", End::Final(76), NOT_JSON, |_| Fault::invalid_json()),
    case("10 MB of JSON", End::Final(76), TOO_LONG, |_| {
        Fault::answer(200, format!("{{\"data\":\"{}\"}}", "x".repeat(10 << 20)))
    }),
    case("deep nesting", End::Final(76), &["the answer nests more than 120 levels deep"], |_| {
        Fault::answer(200, "[".repeat(100_000))
    }),
    case(
        "a redirect to itself",
        End::Final(76),
        &["redirected more than once", "VAULT_ADDR"],
        Fault::redirect,
    ),
    case("a redirect to another scheme", End::Final(76), &["a redirect to nowhere"], |_| {
        Fault::redirect("ftp://127.0.0.1/")
    }),
    secure("a redirect to http", End::Final(76), &["from https to http", "api_addr"], |path| {
        Fault::redirect(&format!("http://127.0.0.1:1{path}"))
    }),
    case("a redirect to a login page", End::Final(76), &["to another path", "login page"], |_| {
        Fault::redirect("https://127.0.0.1:1/oauth2/start")
    }),
    case("a redirect without a target", End::Final(76), &["a redirect to nowhere"], |_| {
        Fault::answer(307, "")
    }),
    case("a redirect to where nobody listens", End::NotDone, &["refused"], |path| {
        Fault::redirect(&format!("https://127.0.0.1:1{path}"))
    }),
    case("sealed", End::NotDone, &["status 503: Vault is sealed", "unseal"], |_| Fault::sealed()),
    case("a standby without a leader", End::NotDone, &["no active Vault instance found"], |_| {
        Fault::no_leader()
    }),
    case(
        "a standby that finds no active node",
        End::NotDone,
        &["status 500: local node not active", "leader"],
        |_| Fault::error(500, "local node not active but active cluster node not found"),
    ),
    case("a standby that lags behind", End::NotDone, &["status 412"], |_| Fault::lagging()),
    case("a rate limit", End::NotDone, &["status 429", "quota"], |_| Fault::rate_limited(None)),
    case(
        "a rate limit beyond the deadline",
        End::Final(69),
        &["asked again in 900 s", "quota"],
        |_| Fault::rate_limited(Some("900")),
    ),
    case("an internal error", End::Unknown, &["status 500: internal error"], |_| {
        Fault::internal_error()
    }),
    case("not implemented", End::Final(69), &["status 501"], |_| Fault::answer(501, "")),
];

struct Row {
    case: &'static Case,
    phase: Phase,
    transport: Transport,
}

fn rows(phase: Phase) -> Vec<Row> {
    let of = |case: &'static Case| {
        case.transports.iter().map(move |&transport| Row { case, phase, transport })
    };
    CASES.iter().flat_map(of).collect()
}

impl Row {
    fn end(&self) -> End {
        match self.case.end {
            // A login is not repeated where it may have been done.
            End::Unknown if self.phase == Phase::Login => End::Final(69),
            end => end,
        }
    }

    /// A start at a server of its own.
    fn start(&self, timeout: Duration) -> (Served, Outcome) {
        let served = self.transport.serve();
        self.phase.fault(&served.vault, (self.case.fault)(self.phase.path()));
        let run = served.with_approle().option(format!("--max-retries={RETRIES}"));
        let outcome = outcome(run, timeout);
        (served, outcome)
    }
}

fn check(row: &Row) {
    let Row { case, phase, transport } = row;
    let name = format!("{} at {phase:?} over {transport:?}", case.name);
    let (served, outcome) = match row.end() {
        End::Waits if *phase != Phase::Revoke => with_enough_time(
            |time| row.start(time),
            |(_, outcome)| outcome.says(case.words) && outcome.says(&[phase.what()]),
        ),
        _ => row.start(LONG),
    };
    if *phase == Phase::Revoke {
        revoked_in_vain(&outcome, &served, row, &name);
    } else {
        failed(&outcome, &served, row, &name);
    }
    let before = PHASES.iter().take_while(|before| *before != phase);
    before.for_each(|before| {
        assert_eq!(before.count(&served.vault), 1, "{name}: {:?}", served.vault.lines());
    });
}

fn failed(outcome: &Outcome, served: &Served, row: &Row, name: &str) {
    let Row { case, phase, .. } = row;
    let code = if let End::Final(code) = row.end() { code } else { 69 };
    outcome.failed(code, &[phase.what(), &served.vault.addr()], name);
    outcome.said(case.words, name);
    let count = phase.count(&served.vault);
    match row.end() {
        End::Unknown | End::NotDone => {
            assert_eq!(count, 1 + RETRIES, "{name}");
            outcome.said(&["trying again", &format!("{count} tries in ")], name);
        }
        // A redirect is followed once.
        End::Waits | End::Final(_) => {
            assert!((1..=2).contains(&count), "{name}: {count}");
            outcome.said(&["1 try in "], name);
        }
    }
    outcome.in_time(matches!(row.end(), End::Waits), name);
    if *phase == Phase::Login && matches!(case.end, End::Unknown) {
        outcome.said(&["it may have been done, so it is not repeated"], name);
    }
}

/// One try of at most two seconds, which stops no start.
fn revoked_in_vain(
    outcome: &Outcome,
    served: &Served,
    Row { case, transport, .. }: &Row,
    name: &str,
) {
    if case.is_harmless_to_revocation(*transport) {
        outcome.started(&[], name);
        let odd = outcome.ended.stderr.lines().filter(|line| !line.contains(": logged in with "));
        assert_eq!(odd.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    } else {
        outcome.started(&[Phase::Revoke.what()], name);
        // On a busy machine the two seconds are over before more than that can be said.
        let is_told =
            [case.words[0], " in time"].iter().any(|words| outcome.ended.stderr.contains(words));
        assert!(is_told, "{name}: {}", outcome.ended.stderr);
        let least = if matches!(case.end, End::Waits) { REVOCATION } else { Duration::ZERO };
        outcome.took(least, REVOCATION, name);
    }
    let count = Phase::Revoke.count(&served.vault);
    assert!((1..=2).contains(&count), "{name}: {count}");
}

#[test]
fn whatever_becomes_of_a_login() {
    all_at_once(&rows(Phase::Login), check);
}

#[test]
fn whatever_becomes_of_the_question_for_the_mounts() {
    all_at_once(&rows(Phase::Preflight), check);
}

#[test]
fn whatever_becomes_of_a_read() {
    all_at_once(&rows(Phase::Read), check);
}

#[test]
fn whatever_becomes_of_a_revocation() {
    all_at_once(&rows(Phase::Revoke), check);
}

const BOTH: [Transport; 2] = [Transport::Http, Transport::Https];

/// What there is to say of it depends on what was asked for.
#[test]
fn whatever_becomes_of_json_in_another_shape() {
    let rows = [
        (Phase::Login, 76, &["login at auth/approle: ", "without a token in it (status 200, "][..]),
        // Whoever does not tell the mounts is not asked for them any more: the path is read as it
        // is written.
        (
            Phase::Preflight,
            77,
            &["PASSWORD: secret/app: status 403", "the token cannot see what is mounted", "data/"],
        ),
        (Phase::Read, 76, &["PASSWORD: secret/data/app: ", "status 200"]),
    ];
    all_at_once(
        rows.into_iter().flat_map(|row| BOTH.map(|transport| (row, transport))),
        |(row, transport)| {
            let (phase, code, words) = row;
            let served = transport.serve();
            phase.fault(&served.vault, Fault::wrong_shape());
            let outcome = outcome(served.with_approle(), LONG);
            outcome.failed(code, words, &format!("{phase:?} over {transport:?}"));
            outcome.in_time(false, "JSON");
            assert_eq!(Phase::Login.count(&served.vault), 1);
        },
    );
    all_at_once(BOTH, |transport| {
        let served = transport.serve();
        Phase::Revoke.fault(&served.vault, Fault::wrong_shape());
        outcome(served.with_approle(), LONG)
            .started(&[], "a revocation needs no answer but the status");
    });
}

#[test]
fn a_server_that_is_sealed_and_unsealed_in_time_is_waited_for_at_any_request() {
    let rows = PHASES.into_iter().filter(|phase| *phase != Phase::Revoke);
    all_at_once(
        rows.flat_map(|phase| BOTH.map(|transport| (phase, transport))),
        |(phase, transport)| {
            let served = transport.serve();
            phase.fault(&served.vault, Fault::sealed());
            let case = format!("{phase:?} over {transport:?}");
            goes_on(served.with_approle(), phase, &served, || served.vault.clear_faults(), &case);
        },
    );
}
