//! The server that a test runs against, whichever of the two kinds it is.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;

use uuid::Uuid;

use crate::harness::operator::Operator;
use crate::harness::postgres::Postgres;
use crate::harness::real::RealVault;
use crate::harness::server::TestVault;
use crate::wire::tls::TlsFiles;

/// A Vault for one test: a fresh server of our own, or the real one that all tests share.
pub struct Target(Which);

enum Which {
    Own { vault: Box<TestVault>, ca: Option<PathBuf> },
    Real(&'static RealVault),
}

impl From<TestVault> for Target {
    fn from(vault: TestVault) -> Self {
        let ca = vault.tls().map(TlsFiles::ca);
        Self(Which::Own { vault: Box::new(vault), ca })
    }
}

impl From<&'static RealVault> for Target {
    fn from(real: &'static RealVault) -> Self {
        Self(Which::Real(real))
    }
}

impl Target {
    /// Returns the value for `VAULT_ADDR`.
    pub fn addr(&self) -> String {
        match &self.0 {
            Which::Own { vault, .. } => vault.addr(),
            Which::Real(real) => real.addr().to_owned(),
        }
    }

    /// Returns `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.ca_file().is_some() { "https" } else { "http" }
    }

    /// Returns the token that may do everything.
    pub fn root_token(&self) -> String {
        match &self.0 {
            Which::Own { vault, .. } => vault.root_token(),
            Which::Real(real) => real.root_token().to_owned(),
        }
    }

    /// Returns the value for `VAULT_CACERT` for https.
    pub fn ca_file(&self) -> Option<&Path> {
        match &self.0 {
            Which::Own { ca, .. } => ca.as_deref(),
            Which::Real(real) => real.ca(),
        }
    }

    /// Returns the client that sets it up. On our own server it bypasses HTTP, so its requests are
    /// neither recorded nor hit by faults.
    pub fn operator(&self) -> Operator {
        match &self.0 {
            Which::Own { vault, .. } => vault.operator(),
            Which::Real(real) => real.operator(),
        }
    }

    /// Returns a root client that uses HTTP like everyone else: its requests are recorded and hit
    /// by faults.
    pub fn http(&self) -> Operator {
        Operator::http(&self.addr(), &self.root_token(), self.ca_file())
    }

    /// Returns our own server, for what only that can do: records, faults, sealing.
    pub fn own(&self) -> Option<&TestVault> {
        match &self.0 {
            Which::Own { vault, .. } => Some(vault),
            Which::Real(_) => None,
        }
    }

    /// Returns a name for a mount, a role or a policy that nobody else has on a shared server.
    pub fn unique(&self, name: &str) -> String {
        format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..8])
    }
}

/// Runs a test on our own server, and on a real one if there is one.
pub fn on_every_vault(test: impl Fn(&Target)) {
    test(&TestVault::start().into());
    run_on_real(RealVault::http(), test);
}

/// The same over https.
pub fn on_every_https_vault(test: impl Fn(&Target)) {
    test(&TestVault::builder().https().start().into());
    run_on_real(RealVault::https(), test);
}

/// The same with a database, which only a real server needs: without PostgreSQL the test does not
/// run on a real server.
pub fn on_every_vault_with_database(test: impl Fn(&Target, Option<&Postgres>)) {
    test(&TestVault::start().into(), None);
    run_on_real(RealVault::http(), |target| match Postgres::shared() {
        Some(postgres) => test(target, Some(postgres)),
        None => without_database(),
    });
}

fn run_on_real(real: Option<&'static RealVault>, test: impl Fn(&Target)) {
    match real {
        Some(real) => test(&real.into()),
        None => not_run(),
    }
}

fn not_run() {
    static SAID: Once = Once::new();
    const TEXT: &str =
        "not run: no bao or vault on the PATH, so nothing ran against a real server\n";
    assert!(env::var_os("CI_REQUIRE_REAL_VAULT").is_none_or(|value| value != "1"), "{TEXT}");
    say_once(&SAID, TEXT);
}

fn without_database() {
    static SAID: Once = Once::new();
    say_once(
        &SAID,
        "not run: no PostgreSQL on this machine, so no database secrets came from a real server\n",
    );
}

/// Prints where everyone sees it: the test harness captures `eprintln!`.
fn say_once(said: &'static Once, text: &str) {
    said.call_once(|| std::io::stderr().write_all(text.as_bytes()).expect("stderr"));
}
