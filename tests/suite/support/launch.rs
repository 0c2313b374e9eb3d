//! Starts in the situations that process tests need: with something to fetch and without, as root
//! and as an ordinary user, with what a caller can leave to a program.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::geteuid;
use test_vault::{Builder, Operator, TestVault, json};

use crate::support::application::AppRole;
use crate::support::{Run, binary, run};

/// How long to wait for an event that comes at once on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The value of the secret that starts fetch: long enough not to be found anywhere by accident.
pub(crate) const FETCHED: &str = "fetched-a1d0c6e97b3f42-of-the-application";

/// A Vault with a secret, `secret/app`, and a role and a token that may read it.
pub(crate) struct Served {
    pub(crate) vault: TestVault,
    pub(crate) role: AppRole,
    pub(crate) token: String,
}

impl Served {
    pub(crate) fn http() -> Served {
        Served::by(TestVault::builder())
    }

    pub(crate) fn https() -> Served {
        Served::by(TestVault::builder().https())
    }

    pub(crate) fn by(builder: Builder) -> Served {
        let vault = builder.start();
        let operator = vault.operator();
        operator.kv_put("secret", 2, "app", json!({ "user": "ada", "password": FETCHED }));
        operator.policy("app", "path \"secret/data/*\" { capabilities = [\"read\"] }");
        let token = operator.create_token(json!({ "policies": ["app"] }));
        let ca = vault.tls().map(test_vault::TlsFiles::ca);
        let http = Operator::http(&vault.addr(), &vault.root_token(), ca.as_deref());
        let settings = json!({ "token_policies": ["app"] });
        let role = AppRole::at(operator, http, "approle".to_owned(), settings);
        Served { vault, role, token }
    }

    /// Returns a run that knows the address and has a reference, but no credentials.
    pub(crate) fn at(&self) -> Run {
        let run =
            run().env("VAULT_ADDR", self.vault.addr()).env("PASSWORD", "vault:secret/app#password");
        match self.vault.tls() {
            Some(files) => run.env("VAULT_CACERT", files.ca()),
            None => run,
        }
    }

    /// Returns a run that logs in with AppRole.
    pub(crate) fn with_approle(&self) -> Run {
        self.at()
            .env("VAULT_ROLE_ID", &self.role.role_id)
            .env("VAULT_SECRET_ID", &self.role.secret_id)
    }

    /// Returns the run with this many more secrets, each at its own path.
    pub(crate) fn with_many(&self, run: Run, number: usize) -> Run {
        let operator = self.vault.operator();
        (0..number).fold(run, |run, number| {
            operator.kv_put("secret", 2, &format!("many/{number}"), json!({ "k": "v" }));
            run.env(format!("V{number}"), format!("vault:secret/data/many/{number}#k"))
        })
    }

    /// Returns a run that logs in with AppRole and a wrapped secret id, and the wrapping token.
    pub(crate) fn with_wrapped(&self) -> (Run, String) {
        let token = self.role.wrapped_secret_id("5m");
        (
            self.at()
                .env("VAULT_ROLE_ID", &self.role.role_id)
                .env("VAULT_WRAPPED_SECRET_ID", &token),
            token,
        )
    }

    /// Returns a run that is given its token.
    pub(crate) fn with_token(&self) -> Run {
        self.at().env("VAULT_TOKEN", &self.token)
    }
}

/// Runs a test of the process both with something to fetch and without.
pub(crate) fn on_both_starts(test: impl Fn(&Run)) {
    test(&run());
    let served = Served::http();
    test(&served.with_approle());
    let reads = served.vault.lines().iter().filter(|line| line.contains("secret/data/app")).count();
    assert!(reads > 0, "nothing was fetched");
}

/// Has the child do what a caller can do to a program that it starts.
pub(crate) fn before_exec(
    command: &mut Command,
    hook: impl FnMut() -> nix::Result<()> + Send + Sync + 'static,
) {
    let mut hook = hook;
    #[allow(
        unsafe_code,
        reason = "what a caller leaves to a program can only be set between fork and exec"
    )]
    // SAFETY: the hooks of these tests only make system calls: they neither allocate nor take a
    // lock.
    unsafe {
        command.pre_exec(move || hook().map_err(Into::into));
    }
}

/// Makes a command start another one, in the other one's environment.
pub(crate) fn add(command: &mut Command, built: &Command) {
    command.arg(built.get_program()).args(built.get_args()).env_clear();
    command.envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
}

/// Ignores signals, for programs that are started from here.
pub(crate) fn ignore(signals: &[Signal]) -> nix::Result<()> {
    for number in signals {
        #[allow(unsafe_code, reason = "dispositions can only be set with unsafe calls")]
        // SAFETY: SIG_IGN is not a handler, and the child that this runs in is about to become
        // another program.
        unsafe { signal(*number, SigHandler::SigIgn) }?;
    }
    Ok(())
}

/// Runs a test as root, if necessary in a user namespace of its own, in which an ordinary user is
/// root: the test `name`, and nothing else, is run again in there.
pub(crate) fn as_root(name: &str, test: impl FnOnce()) {
    if geteuid().is_root() {
        return test();
    }
    if !works(Command::new("unshare").args(["-Ur", "true"])) {
        return not_run(name, "neither root nor able to make a user namespace");
    }
    let itself = std::env::current_exe().expect("the tests");
    let output = Command::new("unshare")
        .arg("-Ur")
        .arg(itself)
        .args(["--exact", name])
        .output()
        .expect("unshare runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && shown.contains("1 passed"),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reports that a test needs something that this machine lacks; a failure if the machine is
/// supposed to have everything.
pub(crate) fn not_run(name: &str, why: impl Display) {
    assert!(std::env::var_os("CI_REQUIRE_ALL").is_none_or(|value| value != "1"), "{name}: {why}");
    let _ = writeln!(io::stderr(), "not run: {name}: {why}");
}

/// Reports that a test needs something that not everybody who runs all tests has, such as root's
/// rights.
pub(crate) fn without(name: &str, what: &str) {
    let _ = writeln!(io::stderr(), "not run: {name}: no {what}");
}

pub(crate) fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// An ordinary user: the current one, or, for root, one without any rights.
pub(crate) struct Ordinary {
    directory: tempfile::TempDir,
}

impl Ordinary {
    pub(crate) fn new() -> Ordinary {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let program = directory.path().join("vault-exec");
        copy_executable(&binary(), &program);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("its owner");
        Ordinary { directory }
    }

    /// Returns the program that this user starts.
    pub(crate) fn program(&self) -> PathBuf {
        self.directory.path().join("vault-exec")
    }

    /// Returns the same run as a command of this user.
    pub(crate) fn build(&self, run: &Run) -> Command {
        let mut command = run.build_of(&self.program());
        Ordinary::be(&mut command);
        command
    }

    /// Makes a command run as this user.
    pub(crate) fn be(command: &mut Command) {
        if geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
    }
}

/// Calls `look` repeatedly until it returns something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes an executable file.
pub(crate) fn executable(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let (source, file) = (directory.join(format!("{name}.source")), directory.join(name));
    fs::write(&source, content).expect("a file");
    copy_executable(&source, &file);
    file
}

/// Has another process write the copy: a file that this one has open for writing would be inherited
/// by whatever another test starts just then, and a file that is open for writing cannot be
/// executed.
fn copy_executable(source: &Path, file: &Path) {
    assert!(works(Command::new("cp").arg("--").args([source, file])), "cp to {}", file.display());
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("its owner");
}
