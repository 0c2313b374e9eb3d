//! A throw-away PostgreSQL, from the `PATH` or from where distributions install it.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use uuid::Uuid;

use crate::harness::real::{free_port, home, keep_running};

const STARTUP: Duration = Duration::from_mins(1);
const SUPERUSER: &str = "operator";

/// A server on its own port, which ends when it is dropped, and with the process in any case.
pub struct Postgres {
    port: u16,
    password: String,
    home: PathBuf,
    pid: Pid,
}

impl Postgres {
    /// Returns the one that all tests of a process share, if its programs are installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Starts another one, if its programs are installed; it accepts connections when this returns.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let (home, port) = (home("test-postgres-"), free_port());
        let password = Uuid::new_v4().simple().to_string();
        let account = Account::new();
        account.own(&home);
        init(&programs, &home, &password, &account);
        let log = home.join("log");
        let pid = keep_running(server(&programs, &home, port, &account), &log, Signal::SIGQUIT);
        let postgres = Self { port, password, home, pid };
        postgres.wait_until_ready(&log);
        Some(postgres)
    }

    /// Returns the `connection_url` for `config/NAME` of the database secrets engine.
    pub fn connection_url(&self) -> String {
        format!(
            "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
            self.port
        )
    }

    /// Returns the user who may create users.
    pub fn username(&self) -> &'static str {
        SUPERUSER
    }

    /// Returns the password of [`username`](Self::username).
    pub fn password(&self) -> &str {
        &self.password
    }

    fn wait_until_ready(&self, log: &Path) {
        let deadline = Instant::now() + STARTUP;
        while !asks_for_password(self.port) {
            let said = fs::read_to_string(log).unwrap_or_default();
            assert!(Instant::now() < deadline, "PostgreSQL is not ready:\n{said}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // If it failed, it is gone already, and its log says why.
        let _ = kill(self.pid, Signal::SIGQUIT);
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// The user who runs it: PostgreSQL refuses to be root.
struct Account(Option<User>);

impl Account {
    fn new() -> Self {
        let user = |name| User::from_name(name).expect("the list of users");
        Self(
            geteuid().is_root().then(|| {
                user("nobody").or_else(|| user("postgres")).expect("a user that is not root")
            }),
        )
    }

    fn own(&self, path: &Path) {
        if let Some(user) = &self.0 {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .expect("a directory of root's");
        }
    }

    /// Returns a command that runs as this user, without the environment of whoever runs the tests.
    fn command(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(home).stdin(Stdio::null());
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Returns the directory of `initdb` and `postgres`.
fn programs() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let candidates =
        env::split_paths(&path).chain(versions.map(|version| version.path().join("bin")));
    candidates
        .into_iter()
        .find(|directory| ["initdb", "postgres"].iter().all(|name| directory.join(name).is_file()))
}

fn init(programs: &Path, home: &Path, password: &str, account: &Account) {
    let file = home.join("password");
    fs::write(&file, password).expect("a file in a temporary directory");
    account.own(&file);
    let mut command = account.command(&programs.join("initdb"), home);
    command.args([
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--pgdata=data",
    ]);
    command.arg(format!("--username={SUPERUSER}")).arg("--pwfile=password");
    let output = command.output().expect("initdb");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the server's command. Every mount of the secrets engine keeps some connections open.
fn server(programs: &Path, home: &Path, port: u16, account: &Account) -> Command {
    let mut command = account.command(&programs.join("postgres"), home);
    command.args(["-D", "data", "-F", "-h", "127.0.0.1", "-N", "500", "-p"]).arg(port.to_string());
    command.args(["-c", "unix_socket_directories="]);
    command
}

/// Returns whether the server is ready: while it is still starting it answers the first message
/// with an error, and then with a question.
fn asks_for_password(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&startup_message())?;
        let mut kind = [0];
        stream.read_exact(&mut kind).map(|()| kind[0])
    };
    ask().is_ok_and(|kind| kind == b'R')
}

/// Returns the startup message: its own length, version 3.0 of the protocol, and settings that end
/// with an empty one.
fn startup_message() -> Vec<u8> {
    let settings = format!("user\0{SUPERUSER}\0database\0postgres\0\0");
    let length = u32::try_from(settings.len() + 8).expect("a short message");
    [&length.to_be_bytes(), &196_608_u32.to_be_bytes(), settings.as_bytes()].concat()
}
