//! A real server in dev mode, from the `PATH`.

use std::env;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, SysconfVar, sysconf};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::operator::Operator;

const STARTUP: Duration = Duration::from_mins(1);

/// `bao` or `vault` in dev mode. There is one for each scheme, which all tests of a process share
/// and which ends with the process.
pub struct RealVault {
    addr: String,
    root_token: String,
    ca: Option<PathBuf>,
    version: String,
    pid: Pid,
}

impl RealVault {
    /// Returns the one with plain HTTP, if there is a binary on the `PATH`.
    pub fn http() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RealVault>> = OnceLock::new();
        SHARED.get_or_init(|| Some(Self::start(&binary()?, Ipv4Addr::LOCALHOST, false))).as_ref()
    }

    /// Returns the one with HTTPS, if there is a binary on the `PATH`.
    pub fn https() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<RealVault>> = OnceLock::new();
        SHARED.get_or_init(|| Some(Self::start(&binary()?, Ipv4Addr::LOCALHOST, true))).as_ref()
    }

    /// Starts a separate one with HTTPS on every address of this thread's network, if there is a
    /// binary on the `PATH`: for a test with its own network. Its certificate is for `localhost`.
    pub fn on_every_address() -> Option<Self> {
        Some(Self::start(&binary()?, Ipv4Addr::UNSPECIFIED, true))
    }

    /// Returns the value for `VAULT_ADDR` on its own host.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Returns the token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// Returns the CA of an https server.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Returns its version: `2.6.2`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns a client that does everything as root.
    pub fn operator(&self) -> Operator {
        Operator::http(&self.addr, &self.root_token, self.ca())
    }

    /// Returns the processor time that all its threads have used so far: `utime` and `stime` of
    /// proc_pid_stat(5), in ticks.
    pub fn processor_time(&self) -> Duration {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.pid)).expect("a process of ours");
        let after_name = stat.rsplit(')').next().expect("a name in parentheses");
        // The state is the third field of the file, and the first one here.
        let fields = after_name.split_whitespace().skip(14 - 3).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().expect("a number")).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().expect("a clock that ticks");
        Duration::from_millis(ticks * 1000 / u64::try_from(per_second).expect("some"))
    }

    fn start(binary: &Path, ip: Ipv4Addr, tls: bool) -> Self {
        let port = free_port();
        let root_token = format!("root-{}", Uuid::new_v4().simple());
        let home = home("real-vault-");
        let mut command = command(binary, &home, (ip, port).into(), &root_token);
        if tls {
            command.arg("-dev-tls").arg(format!("-dev-tls-cert-dir={}", home.display()));
        }
        let log = home.join("log");
        let pid = keep_running(command, &log, Signal::SIGKILL);
        let scheme = if tls { "https" } else { "http" };
        let addr = format!("{scheme}://127.0.0.1:{port}");
        let ca = tls.then(|| home.join("vault-ca.pem"));
        let mut real = Self { addr, root_token, ca, version: String::new(), pid };
        wait_until_ready(port, &log, || real.operator());
        let version = real.operator().read("sys/seal-status")["version"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        real.version = version;
        real
    }
}

fn binary() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let candidates = ["bao", "vault"]
        .into_iter()
        .flat_map(|name| env::split_paths(&path).map(move |dir| dir.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket's address").port()
}

/// Makes a directory named after this process, and removes those of processes that are gone: no
/// code runs when a test process ends.
pub(crate) fn home(prefix: &str) -> PathBuf {
    let old = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten();
    for directory in old.map(|entry| entry.path()) {
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another test process may be doing the same.
            let _ = fs::remove_dir_all(&directory);
        }
    }
    TempDir::with_prefix(format!("{prefix}{}-", process::id()))
        .expect("a temporary directory")
        .keep()
}

/// Returns the command for a server. Dev mode leaves the root token in the home directory, so it
/// gets its own; the settings of whoever runs the tests must not affect it.
fn command(binary: &Path, home: &Path, address: SocketAddr, root_token: &str) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["server", "-dev", "-dev-no-store-token"])
        .arg(format!("-dev-root-token-id={root_token}"))
        .arg(format!("-dev-listen-address={address}"))
        .env_clear()
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// Starts a server, leaves it running and returns its process id. The server gets the signal when
/// the thread that started it ends, so that thread waits for it: the server ends with the process,
/// however that ends.
pub(crate) fn keep_running(mut command: Command, log: &Path, end: Signal) -> Pid {
    let output = File::create(log).expect("a log file");
    command.stdout(output.try_clone().expect("a descriptor")).stderr(output);
    #[allow(unsafe_code)]
    // SAFETY: prctl is one system call, which may be made between fork and exec.
    unsafe {
        command.pre_exec(move || Ok(set_pdeathsig(end)?));
    }
    let (started, result) = mpsc::channel();
    thread::spawn(move || match command.spawn() {
        Ok(mut child) => {
            started.send(Ok(child.id())).expect("the test that waits");
            child.wait()
        }
        Err(error) => {
            started.send(Err(error)).expect("the test that waits");
            Ok(ExitStatus::default())
        }
    });
    let id = result.recv().expect("the thread's word").expect("a server that starts");
    Pid::from_raw(id.try_into().expect("a process id"))
}

/// Waits for `secret/` to be mounted, which is the last thing that dev mode does.
fn wait_until_ready(port: u16, log: &Path, operator: impl Fn() -> Operator) {
    let deadline = Instant::now() + STARTUP;
    let is_ready = || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
            && operator().succeeds("sys/internal/ui/mounts/secret")
    };
    while !is_ready() {
        let said = fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < deadline, "the real server is not ready:\n{said}");
        thread::sleep(Duration::from_millis(20));
    }
}
