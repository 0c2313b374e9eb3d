//! The fault matrix: whatever goes wrong with whichever request, over http and https, ends with the
//! right code, the right words and in time, uses no credential twice, and starts the application
//! exactly where it should.

mod answers;
mod connections;
mod handshakes;
mod names;

use std::time::{Duration, Instant};

use test_vault::{Fault, Recorded, TestVault};

use crate::support::launch::Served;
use crate::support::{Ended, Run, once_it_tries_again};

/// Enough for every start that does not run into its deadline.
const LONG: Duration = Duration::from_mins(3);
/// A revocation is one try of at most this.
const REVOCATION: Duration = Duration::from_secs(2);
/// How much longer than it should a start may take on a busy machine. What never ends takes longer.
const SLACK: Duration = Duration::from_mins(1);
/// Where repetitions are counted, these are made.
const RETRIES: usize = 2;

/// The requests of a start that logs in with AppRole and reads one secret, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Login,
    Preflight,
    Read,
    Revoke,
}

const PHASES: [Phase; 4] = [Phase::Login, Phase::Preflight, Phase::Read, Phase::Revoke];

impl Phase {
    fn method(self) -> &'static str {
        if matches!(self, Phase::Login | Phase::Revoke) { "POST" } else { "GET" }
    }

    fn path(self) -> &'static str {
        match self {
            Phase::Login => "/v1/auth/approle/login",
            Phase::Preflight => "/v1/sys/internal/ui/mounts",
            Phase::Read => "/v1/secret/data/app",
            Phase::Revoke => "/v1/auth/token/revoke-self",
        }
    }

    /// What messages call it.
    fn what(self) -> &'static str {
        match self {
            Phase::Login => "login at auth/approle",
            Phase::Preflight => "finding out the mounts (sys/internal/ui/mounts",
            Phase::Read => "PASSWORD: secret/data/app",
            Phase::Revoke => "the token is not revoked: auth/token/revoke-self",
        }
    }

    /// Lets all of its requests fail.
    fn fault(self, vault: &TestVault, fault: Fault) {
        vault.fault(&*format!("{} {}", self.method(), self.path()), fault);
    }

    /// How many requests there were of it.
    fn count(self, vault: &TestVault) -> usize {
        vault.requests().iter().filter(|request| self.is(request)).count()
    }

    fn is(self, request: &Recorded) -> bool {
        request.method == self.method() && request.path.starts_with(self.path())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Http,
    /// TLS with HTTP/2.
    Https,
    /// TLS with HTTP/1.1.
    Https1,
}

impl Transport {
    fn serve(self) -> Served {
        match self {
            Transport::Http => Served::http(),
            Transport::Https => Served::https(),
            Transport::Https1 => Served::by(TestVault::builder().https().http1_only()),
        }
    }
}

/// How a start ended, and when.
struct Outcome {
    ended: Ended,
    took: Duration,
    timeout: Duration,
}

/// Runs what prints a marker where it is started, and gives it this much time.
fn outcome(run: Run, timeout: Duration) -> Outcome {
    let run = run
        .env("VAULT_EXEC_TIMEOUT", format!("{}ms", timeout.as_millis()))
        .env("VAULT_EXEC_LOG", "info");
    let began = Instant::now();
    Outcome { ended: run.marker().end(), took: began.elapsed(), timeout }
}

impl Outcome {
    /// It ended when its time was up where it `waits`, else long before.
    fn in_time(&self, waits: bool, case: &str) {
        let time = if waits { self.timeout } else { Duration::ZERO };
        self.took(time, time, case);
    }

    /// It ended between these times, the later of which may be missed on a busy machine.
    fn took(&self, least: Duration, most: Duration, case: &str) {
        assert!(
            self.took >= least && self.took < most + SLACK,
            "{case}: {:?}: {}",
            self.took,
            self.ended.stderr
        );
    }

    fn failed(&self, code: i32, words: &[&str], case: &str) {
        assert_eq!(self.ended.code, Some(code), "{case}: {}", self.ended.stderr);
        assert_eq!(self.ended.text(), "", "{case}: the application was started");
        self.said(words, case);
        // What to do about it; and what to do about wrong credentials is not said of anything else.
        self.said(&["\nvault-exec:   "], case);
        let speaks_of_role = self.ended.stderr.contains("is the role id right");
        assert!(
            !speaks_of_role || self.ended.stderr.contains("Vault's own log says more"),
            "{case}: {}",
            self.ended.stderr
        );
        assert!(!self.ended.stderr.contains("docs.rs"), "{case}: {}", self.ended.stderr);
    }

    /// The application runs, and nobody was bothered with what went wrong on the way.
    fn started(&self, words: &[&str], case: &str) {
        assert!(
            self.ended.started() && self.ended.code == Some(0),
            "{case}: {}",
            self.ended.stderr
        );
        assert!(
            !self.ended.stderr.contains("warn: ") && !self.ended.stderr.contains("error: "),
            "{case}"
        );
        self.said(words, case);
    }

    fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.ended.stderr.contains(word))
    }

    fn said(&self, words: &[&str], case: &str) {
        for word in words {
            assert!(
                self.ended.stderr.contains(word),
                "{case}: no {word:?} in: {}",
                self.ended.stderr
            );
        }
    }
}

/// A start that fails at a request goes on once that is repaired, and makes every other request
/// once.
fn goes_on(run: Run, phase: Phase, served: &Served, repair: impl FnOnce(), case: &str) {
    let ended = once_it_tries_again(run.env("VAULT_EXEC_TIMEOUT", "60s").marker().spawn(), repair);
    assert!(ended.started() && ended.code == Some(0), "{case}: {}", ended.stderr);
    let what = phase.what().trim_start_matches("PASSWORD: ");
    assert!(
        ended.stderr.starts_with(&format!("vault-exec: warn: {what}")),
        "{case}: {}",
        ended.stderr
    );
    for each in PHASES.into_iter().filter(|each| *each != phase) {
        assert_eq!(each.count(&served.vault), 1, "{case}: {:?}", served.vault.lines());
    }
}
