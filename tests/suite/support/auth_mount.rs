//! What the tests of all auth methods need: a mount of the method, a secret that its logins may
//! read, and the login as the server saw it.

use test_vault::{Recorded, Target, Value, json};

use crate::support::application::{policy, reading, with_app};
use crate::support::{Ended, Run, run_at};

/// An auth method on a mount of its own, and a secret.
pub(crate) struct WayIn<'a> {
    pub(crate) target: &'a Target,
    /// The method's name.
    pub(crate) method: &'static str,
    /// The path where it is mounted.
    pub(crate) mount: String,
    policy: String,
    kv: String,
}

impl WayIn<'_> {
    pub(crate) fn new<'a>(target: &'a Target, method: &'static str) -> WayIn<'a> {
        let kv = with_app(target);
        WayIn {
            target,
            method,
            mount: target.unique(method),
            policy: policy(target, &reading(&kv)),
            kv,
        }
    }

    /// Returns the settings of a role, with the policy that allows reading the secret.
    pub(crate) fn role(&self, mut settings: Value) -> Value {
        settings["token_policies"] = json!([self.policy]);
        settings
    }

    /// Returns a run that names the method and its mount, and reads the secret.
    pub(crate) fn run(&self) -> Run {
        run_at(self.target)
            .env("VAULT_AUTH_METHOD", self.method)
            .env("VAULT_AUTH_MOUNT", &self.mount)
            .env("A", self.reference())
    }

    /// Returns a reference to one key of the secret, whose value is `ada`.
    pub(crate) fn reference(&self) -> String {
        format!("vault:{}/app#user", self.kv)
    }

    /// Asserts that the run logs in and gets the secret.
    #[track_caller]
    pub(crate) fn assert_in(&self, run: &Run) {
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        if self.target.own().is_some() {
            assert_eq!(self.logins().last().and_then(|login| login.status), Some(200));
        }
    }

    /// Asserts that the run's only login is refused, and that the message names the mount and
    /// contains `words`.
    #[track_caller]
    pub(crate) fn assert_refused(&self, run: &Run, words: &str) -> Ended {
        if let Some(vault) = self.target.own() {
            vault.clear();
        }
        let at = format!("login at auth/{}", self.mount);
        let ended = run.fails(77, &[&at, words, &self.target.addr(), "VAULT_AUTH_MOUNT"]);
        if self.target.own().is_some() {
            assert_eq!(self.logins().len(), 1, "{words}");
        }
        ended
    }

    /// Returns the logins that our own server has seen, whatever became of them.
    pub(crate) fn logins(&self) -> Vec<Recorded> {
        let start = format!("/v1/auth/{}/login", self.mount);
        let requests = self.target.own().expect("a server of our own").requests();
        requests.into_iter().filter(|request| request.path.starts_with(&start)).collect()
    }

    /// Asserts that the only login went to this path below `login`, with this body and nothing that
    /// a login never has.
    #[track_caller]
    pub(crate) fn assert_login(&self, below: &str, body: &Value) {
        let logins = self.logins();
        let [login] = logins.as_slice() else { panic!("{} logins", logins.len()) };
        assert_eq!(login.line(), format!("POST /v1/auth/{}/login{below}", self.mount));
        assert_eq!(login.json(), *body);
        assert_eq!((login.header("x-vault-request"), login.token()), (Some("true"), None));
        assert_eq!(login.header("content-type"), Some("application/json"));
        assert_eq!(
            (login.header("x-vault-wrap-ttl"), login.header("x-vault-namespace")),
            (None, None)
        );
    }
}

/// Asserts that neither a credential nor its second half appears in what a run says at the highest
/// log level.
#[track_caller]
pub(crate) fn assert_says_nothing_of(run: &Run, credential: &str) {
    let ended = run.clone().option("--log-level=trace").marker().end();
    let half = &credential[credential.len() / 2..];
    assert!(half.len() > 5, "too short to be looked for");
    let said = format!("{}{}", ended.text(), ended.stderr);
    assert!(ended.stderr.contains("auth method") && !said.contains(half), "{said}");
}
