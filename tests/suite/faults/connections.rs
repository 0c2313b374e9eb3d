//! What becomes of connections, before anything is said on them: of the first one, and of those that follow where every
//! request has one of its own.

use std::time::Duration;

use test_vault::{Fault, Gate, Matcher, Shut};

use super::{LONG, PHASES, Phase, REVOCATION, SHORT, Transport, goes_on, outcome};
use crate::launch::Served;
use crate::support::all_at_once;

/// What becomes of a connection that is not let through.
struct Case {
    shut: Shut,
    http: Said,
    https: Said,
}

/// How it shows.
#[derive(Clone, Copy)]
struct Said {
    /// Whether it is said at once, and not when the time is up, and with which code.
    end: Result<(), i32>,
    /// Whether the request may have been on its way: a login ends at once then.
    was_sent: bool,
    words: &'static str,
}

/// It is tried until the deadline, whatever the request is.
const fn tried(words: &'static str) -> Said {
    Said { end: Ok(()), was_sent: false, words }
}

/// The same, unless it is a login.
const fn lost(words: &'static str) -> Said {
    Said { end: Ok(()), was_sent: true, words }
}

const fn at_once(code: i32, words: &'static str) -> Said {
    Said { end: Err(code), was_sent: false, words }
}

const SSH: Shut = Shut::Answered(b"SSH-2.0-OpenSSH_9.9\r\n");

const CASES: &[Case] = &[
    Case { shut: Shut::Refused, http: tried("refused"), https: tried("refused") },
    Case { shut: Shut::Dropped, http: tried("no connection in time"), https: tried("no connection in time") },
    // It is there that a handshake waits.
    Case { shut: Shut::Silent, http: tried("no answer in time"), https: tried("no connection in time") },
    Case { shut: Shut::Closed, http: lost("the connection was lost"), https: tried("handshake") },
    Case { shut: Shut::Reset, http: lost("the connection was lost"), https: tried("reset") },
    Case { shut: SSH, http: at_once(76, "the answer is not HTTP"), https: at_once(69, "does not speak TLS") },
];

struct Row {
    case: &'static Case,
    phase: Phase,
    transport: Transport,
}

fn rows() -> Vec<Row> {
    let transports = [Transport::Http, Transport::Https1];
    let of = |case| move |phase| transports.map(|transport| Row { case, phase, transport });
    CASES.iter().flat_map(|case| PHASES.into_iter().flat_map(of(case))).collect()
}

/// A server behind a gate that lets the connections before this phase through, one for each request.
fn behind_gate(transport: Transport, phase: Phase, shut: Shut) -> (Served, Gate) {
    let served = transport.serve();
    served.vault.fault(Matcher::any(), Fault::LastOfConnection);
    let passes = PHASES.iter().take_while(|before| **before != phase).count();
    let gate = Gate::new(served.vault.socket_addr(), passes, shut);
    (served, gate)
}

fn address(served: &Served, gate: &Gate) -> String {
    format!("{}://{}", served.vault.scheme(), gate.socket_addr())
}

fn check(Row { case, phase, transport }: &Row) {
    let name = format!("{:?} at {phase:?} over {transport:?}", case.shut);
    let (served, gate) = behind_gate(*transport, *phase, case.shut);
    let address = address(&served, &gate);
    let said = if *transport == Transport::Http { case.http } else { case.https };
    let is_final = said.end.is_err() || (said.was_sent && *phase == Phase::Login);
    let timeout = if is_final || *phase == Phase::Revoke { LONG } else { SHORT };
    let outcome = outcome(served.with_approle().env("VAULT_ADDR", &address), timeout);
    outcome.said(&[phase.what(), said.words, &address], &name);
    if *phase == Phase::Revoke {
        outcome.started(&[], &name);
        outcome.took(Duration::ZERO, REVOCATION, &name);
    } else {
        outcome.failed(said.end.err().unwrap_or(69), &[], &name);
        outcome.took(if is_final { Duration::ZERO } else { SHORT }, SHORT, &name);
    }
    for each in PHASES {
        let passed = PHASES.iter().take_while(|before| *before != phase).any(|before| *before == each);
        assert_eq!(each.count(&served.vault), usize::from(passed), "{name}: {:?}", served.vault.lines());
    }
}

#[test]
fn whatever_becomes_of_a_connection() {
    all_at_once(&rows(), check);
}

#[test]
fn a_server_that_dies_and_comes_back_in_time_is_waited_for_at_any_request() {
    let transports = [Transport::Http, Transport::Https1];
    let rows = PHASES.into_iter().filter(|phase| *phase != Phase::Revoke);
    all_at_once(rows.flat_map(|phase| transports.map(|transport| (phase, transport))), |(phase, transport)| {
        let (served, gate) = behind_gate(transport, phase, Shut::Refused);
        let run = served.with_approle().env("VAULT_ADDR", address(&served, &gate));
        goes_on(run, phase, &served, || gate.open(), &format!("{phase:?} over {transport:?}"));
        assert_eq!(phase.count(&served.vault), 1, "{:?}", served.vault.lines());
    });
}
