//! TLS that does not come about: it is said at once, with what to do, and no credential is sent.

use test_vault::{Builder, Certificate, Gate, Shut, TestVault, Versions};

use super::{LONG, PHASES, outcome};
use crate::support::all_at_once;
use crate::support::launch::Served;

/// Whom the client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Server,
    /// An authority of another server.
    Other,
}

struct Case {
    name: &'static str,
    server: fn(Builder) -> Builder,
    trust: Trust,
    words: &'static [&'static str],
    /// In TLS 1.3 a server says that it wants a certificate after the handshake, when HTTP/2 may
    /// have seen nothing of it but that the connection is lost, before the request was on it.
    is_known_at_once: bool,
}

const fn case(
    name: &'static str,
    words: &'static [&'static str],
    server: fn(Builder) -> Builder,
) -> Case {
    Case { name, server, trust: Trust::Server, words, is_known_at_once: true }
}

const CASES: &[Case] = &[
    Case {
        name: "an unknown authority",
        server: |builder| builder,
        trust: Trust::Other,
        words: &["signed by an unknown authority", "VAULT_CACERT"],
        is_known_at_once: true,
    },
    case("an expired certificate", &["has expired", "clock"], |builder| {
        builder.certificate(Certificate::Expired)
    }),
    case(
        "a certificate for another name",
        &["for another name", "wrong.example", "VAULT_TLS_SERVER_NAME"],
        |builder| builder.certificate(Certificate::WrongName),
    ),
    Case {
        name: "a client certificate is demanded",
        server: Builder::client_certificate,
        trust: Trust::Server,
        words: &["wants a client certificate", "VAULT_CLIENT_CERT"],
        is_known_at_once: false,
    },
];

fn check((case, versions, http1): &(&Case, Versions, bool)) {
    let name = format!("{} in {versions:?}, HTTP/1.1 only: {http1}", case.name);
    let builder = (case.server)(TestVault::builder().tls_versions(*versions));
    let served = Served::by(if *http1 { builder.http1_only() } else { builder });
    let (other, run) = (Served::https(), served.with_approle());
    let run = match case.trust {
        Trust::Server => run,
        Trust::Other => run.env("VAULT_CACERT", other.vault.tls().expect("https").ca()),
    };
    let outcome = outcome(run, LONG);
    outcome.failed(69, &["login at auth/approle: ", &served.vault.addr()], &name);
    outcome.said(case.words, &name);
    if case.is_known_at_once || *versions == Versions::Tls12 || *http1 {
        outcome.said(&["1 try in "], &name);
        outcome.in_time(false, &name);
    }
    assert!(
        PHASES.iter().all(|phase| phase.count(&served.vault) == 0),
        "{name}: {:?}",
        served.vault.lines()
    );
}

#[test]
fn whatever_is_wrong_with_a_handshake() {
    let versions = [Versions::Tls12, Versions::Tls13];
    let ways = versions.into_iter().flat_map(|version| [(version, false), (version, true)]);
    let rows: Vec<_> = ways
        .flat_map(|(version, http1)| CASES.iter().map(move |case| (case, version, http1)))
        .collect();
    all_at_once(&rows, check);
}

/// What a server says that speaks TLS 1.1 and less: a fatal alert, `protocol_version` (RFC 5246,
/// 7.2).
const PROTOCOL_VERSION: Shut = Shut::Answered(&[21, 3, 1, 0, 2, 2, 70]);
/// A server that has no cipher in common: `handshake_failure`.
const HANDSHAKE_FAILURE: Shut = Shut::Answered(&[21, 3, 3, 0, 2, 2, 40]);

#[test]
fn a_server_without_a_version_or_cipher_in_common_is_understood() {
    for alert in [PROTOCOL_VERSION, HANDSHAKE_FAILURE] {
        let served = Served::https();
        let gate = Gate::new(served.vault.socket_addr(), 0, alert);
        let run =
            served.with_approle().env("VAULT_ADDR", format!("https://{}", gate.socket_addr()));
        let outcome = outcome(run, LONG);
        outcome.failed(
            69,
            &["no common TLS version or cipher", "TLS 1.2", "1 try in "],
            "an alert",
        );
        outcome.in_time(false, "an alert");
    }
}
