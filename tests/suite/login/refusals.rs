//! A login that Vault refuses: what is refused for good ends at once, with a hint that fits; what a
//! platform's service is too busy for is tried again.

use test_vault::Fault;

use crate::support::launch::Served;
use crate::support::{Ended, Run, all_at_once};

const LOGIN: &str = "POST /v1/auth/approle/login";

fn refused(status: u16, text: &str, change: impl Fn(Run) -> Run) -> (Ended, usize) {
    let served = Served::http();
    served.vault.fault(LOGIN, Fault::error(status, text));
    let run = change(served.with_approle().option("--timeout=1s"));
    let ended = run.marker().end();
    let logins = served.vault.lines().iter().filter(|line| *line == LOGIN).count();
    (ended, logins)
}

#[test]
fn a_refusal_ends_at_once_and_its_hint_fits() {
    let rows: [(u16, &str, &[&str]); 9] = [
        (500, "service principal not authorized: 0f", &["not authorized", "VAULT_AUTH_MOUNT"]),
        (500, "oidc: token is expired (Token Expiry: 2026)", &["has expired", "clocks"]),
        (500, "failed to verify signature: failed to verify id token", &["VAULT_AUTH_MOUNT"]),
        (400, "missing role", &["set VAULT_ROLE"]),
        (400, "role \"app\" could not be found", &["is VAULT_ROLE right", "VAULT_NAMESPACE"]),
        (400, "error validating token: token is expired", &["has expired", "clocks"]),
        (400, "invalid audience (aud) claim", &["bound_audiences"]),
        (400, "invalid role or secret ID", &["secret id", "VAULT_NAMESPACE says which"]),
        (
            403,
            "permission denied",
            &["nothing is mounted at auth/approle", "locked", "VAULT_NAMESPACE"],
        ),
    ];
    all_at_once(rows, |(status, text, words)| {
        let (ended, logins) = refused(status, text, |run| run);
        assert_eq!((ended.code, logins), (Some(77), 1), "{text}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("may have been done"), "{}", ended.stderr);
    });
}

#[test]
fn a_failure_of_vaults_is_no_refusal() {
    let rows = [
        "failed to verify signature: fetching keys oidc: get keys failed: EOF",
        "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
        "internal error",
    ];
    all_at_once(rows, |text| {
        let (ended, logins) = refused(500, text, |run| run);
        assert_eq!((ended.code, logins), (Some(69), 1), "{text}: {}", ended.stderr);
        assert!(ended.stderr.contains("may have been done"), "{}", ended.stderr);
    });
}

#[test]
fn a_platforms_service_that_is_too_busy_is_asked_again_until_the_deadline() {
    let rows = [
        "error making upstream request: received error code 400 from STS: <Code>Throttling</Code>",
        "error making upstream request: error making request: dial tcp: i/o timeout",
    ];
    all_at_once(rows, |text| {
        let (ended, logins) = refused(400, text, |run| run);
        assert!(ended.code == Some(69) && logins > 1, "{logins}: {}", ended.stderr);
        assert!(ended.stderr.contains("throttles"), "{}", ended.stderr);
        let (ended, logins) = refused(400, text, |run| run.option("--max-retries=1"));
        assert!(ended.code == Some(69) && logins == 2, "{logins}: {}", ended.stderr);
    });
    let no =
        "error making upstream request: received error code 403 from STS: InvalidClientTokenId";
    let (ended, logins) = refused(400, no, |run| run);
    assert_eq!((ended.code, logins), (Some(77), 1), "{}", ended.stderr);
}
