//! What becomes of connections, before anything is said on them: of the first one, and of those
//! that follow where every request has one of its own.

use std::time::Duration;

use test_vault::{Fault, Gate, Matcher, Shut};

use super::{LONG, Outcome, PHASES, Phase, RETRIES, Transport, goes_on, outcome};
use crate::support::launch::Served;
use crate::support::{all_at_once, with_enough_time};

/// What becomes of a connection that is not let through.
struct Case {
    shut: Shut,
    http: Said,
    https: Said,
}

/// How it shows.
#[derive(Clone, Copy)]
struct Said {
    end: End,
    words: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is tried again, whatever the request is.
    Tried,
    /// The same, unless it is a login, which may have been on its way.
    Lost,
    /// It is waited for until the deadline.
    Waits,
    /// It is said at once, with this code.
    Final(i32),
}

const fn said(end: End, words: &'static str) -> Said {
    Said { end, words }
}

const SSH: Shut = Shut::Answered(b"SSH-2.0-OpenSSH_9.9\r\n");

const LATE: Said = said(End::Waits, "no connection in time");
const LOST: Said = said(End::Lost, "the connection was lost");

const CASES: &[Case] = &[
    Case {
        shut: Shut::Refused,
        http: said(End::Tried, "refused"),
        https: said(End::Tried, "refused"),
    },
    Case { shut: Shut::Dropped, http: LATE, https: LATE },
    // Over https it is the handshake that nobody answers.
    Case { shut: Shut::Silent, http: said(End::Waits, "no answer in time"), https: LATE },
    Case { shut: Shut::Closed, http: LOST, https: said(End::Tried, "handshake") },
    Case { shut: Shut::Reset, http: LOST, https: said(End::Tried, "reset") },
    Case {
        shut: SSH,
        http: said(End::Final(76), "the answer is not HTTP"),
        https: said(End::Final(69), "does not speak TLS"),
    },
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

/// A server behind a gate that lets the connections before this phase through, one for each
/// request.
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

impl Row {
    fn said(&self) -> Said {
        if self.transport == Transport::Http { self.case.http } else { self.case.https }
    }

    /// A start at a server and a gate of its own, and what is known of the gate's address.
    fn start(&self, timeout: Duration) -> (Served, Outcome, String) {
        let (served, gate) = behind_gate(self.transport, self.phase, self.case.shut);
        let address = address(&served, &gate);
        let run = served
            .with_approle()
            .env("VAULT_ADDR", &address)
            .option(format!("--max-retries={RETRIES}"));
        let outcome = outcome(run, timeout);
        (served, outcome, address)
    }
}

fn check(row: &Row) {
    let Row { case, phase, transport } = row;
    let name = format!("{:?} at {phase:?} over {transport:?}", case.shut);
    let Said { end, words } = row.said();
    let words = [phase.what(), words];
    let waits = end == End::Waits && *phase != Phase::Revoke;
    let (served, outcome, address) = if waits {
        with_enough_time(|time| row.start(time), |(_, outcome, _)| outcome.says(&words))
    } else {
        row.start(LONG)
    };
    outcome.said(&words, &name);
    outcome.said(&[&address], &name);
    if *phase == Phase::Revoke {
        outcome.started(&[], &name);
    } else {
        outcome.failed(if let End::Final(code) = end { code } else { 69 }, &[], &name);
        let is_repeated = end == End::Tried || (end == End::Lost && *phase != Phase::Login);
        outcome.said(&[if is_repeated { "3 tries in " } else { "1 try in " }], &name);
    }
    outcome.in_time(waits, &name);
    for each in PHASES {
        let passed =
            PHASES.iter().take_while(|before| *before != phase).any(|before| *before == each);
        assert_eq!(
            each.count(&served.vault),
            usize::from(passed),
            "{name}: {:?}",
            served.vault.lines()
        );
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
    all_at_once(
        rows.flat_map(|phase| transports.map(|transport| (phase, transport))),
        |(phase, transport)| {
            let (served, gate) = behind_gate(transport, phase, Shut::Refused);
            let run = served.with_approle().env("VAULT_ADDR", address(&served, &gate));
            goes_on(run, phase, &served, || gate.open(), &format!("{phase:?} over {transport:?}"));
            assert_eq!(phase.count(&served.vault), 1, "{:?}", served.vault.lines());
        },
    );
}
