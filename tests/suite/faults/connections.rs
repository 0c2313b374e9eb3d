//! What becomes of connections, before anything is said on them: of the first one, and of those that follow where every
//! request has one of its own.

use std::time::Duration;

use test_vault::{Fault, Gate, Matcher, Shut};

use super::{PHASES, Phase, SHORT, Transport, goes_on, outcome};
use crate::launch::Served;
use crate::support::all_at_once;

struct Case {
    shut: Shut,
    /// What is said over http and over https.
    words: [&'static str; 2],
    /// What is shut at once, and not when the time is up: over http, and over https, where it is within the handshake.
    is_final: [bool; 2],
}

const SSH: Shut = Shut::Answered(b"SSH-2.0-OpenSSH_9.9\r\n");

/// Over http a closed or reset connection is one on which the request was.
const CASES: &[Case] = &[
    Case { shut: Shut::Refused, words: ["refused", "refused"], is_final: [false, false] },
    Case { shut: Shut::Dropped, words: ["no connection in time", "no connection in time"], is_final: [false, false] },
    Case { shut: Shut::Silent, words: ["no answer in time", "no connection in time"], is_final: [false, false] },
    Case { shut: Shut::Closed, words: ["the connection was lost", "handshake"], is_final: [false, false] },
    Case { shut: Shut::Reset, words: ["the connection was lost", "reset"], is_final: [false, false] },
    Case { shut: SSH, words: ["the answer is not HTTP", "does not speak TLS"], is_final: [true, true] },
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
    let column = usize::from(*transport != Transport::Http);
    // A login that is on its way is not repeated.
    let is_sent = *transport == Transport::Http && matches!(case.shut, Shut::Closed | Shut::Reset);
    let is_final = case.is_final[column] || (is_sent && *phase == Phase::Login);
    let timeout = if is_final { Duration::from_secs(60) } else { SHORT };
    let timeout = if *phase == Phase::Revoke { Duration::from_secs(60) } else { timeout };
    let outcome = outcome(served.with_approle().env("VAULT_ADDR", &address), timeout);
    outcome.said(&[phase.what(), case.words[column], &address], &name);
    match phase {
        Phase::Revoke => {
            outcome.started(&[], &name);
            outcome.took(Duration::ZERO, SHORT, &name);
        }
        _ => {
            let code = if column == 0 && case.shut == SSH { 76 } else { 69 };
            outcome.failed(code, &[], &name);
            outcome.took(if is_final { Duration::ZERO } else { SHORT }, SHORT, &name);
        }
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
