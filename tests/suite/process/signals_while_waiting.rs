//! Everything that a start can wait for, and that a signal ends it there at once: tested on the
//! machine itself, in a PID namespace and in containers.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use test_vault::{Fault, Gate, Recorded, Shut};

use crate::support::launch::{PATIENCE, Served, add, eventually, not_run, works};
use crate::support::{Run, directory};

pub(crate) const ENDING: [Signal; 4] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];
/// A start that a signal ends is over in a moment; one that keeps waiting would take its whole
/// timeout of a minute.
const PROMPTLY: Duration = Duration::from_secs(5);
/// The promised time. A busy machine may delay a process that is ready to run, so only one of
/// several tries has to be this quick, but all must be prompt. A start that waits for anything but
/// its turn is late every time.
const AT_ONCE: Duration = Duration::from_millis(100);
const TRIES: usize = 8;

/// A process that is killed when the test ends.
pub(crate) struct Waiting(pub(crate) Child);

impl Waiting {
    pub(crate) fn start(mut command: Command) -> Waiting {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Waiting(command.spawn().expect("it runs"))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"))
    }

    /// Sends `signal` to the process `pid` and returns how the start ended, which must be within
    /// [`PROMPTLY`].
    #[track_caller]
    pub(crate) fn ended_by(self, pid: Pid, signal: Signal) -> ExitStatus {
        self.timed(pid, signal).0
    }

    /// The same, and how long it took until the process was gone; its parent may be slower to
    /// report that.
    #[track_caller]
    fn timed(mut self, pid: Pid, signal: Signal) -> (ExitStatus, Duration) {
        let began = Instant::now();
        kill(pid, signal).expect("it is there");
        while is_alive(pid) {
            assert!(began.elapsed() < PROMPTLY, "{signal} does not end it");
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = began.elapsed();
        (self.0.wait().expect("a child of ours"), took)
    }
}

/// Returns whether a process has not ended yet; its parent may not have heard of its end.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Something that a start can wait for.
#[derive(Debug)]
pub(crate) enum Waits {
    /// The addresses of a name, from a server that never answers.
    Name,
    /// A connection: its packets are dropped on the way.
    Connection,
    /// A TLS handshake that never comes: only the kernel accepts the connection.
    Handshake,
    /// An answer, such as to the login or to the read.
    Answer(&'static str),
    /// The next try, at a port where nobody listens.
    Port,
    /// The content of a file: a FIFO that nobody has written to.
    File,
}

const WAITS: [Waits; 9] = [
    Waits::Name,
    Waits::Connection,
    Waits::Handshake,
    Waits::Answer("/v1/auth/approle/login"),
    Waits::Answer("/v1/sys/internal/ui/mounts"),
    Waits::Answer("/v1/secret/"),
    Waits::Answer("/v1/auth/token/revoke-self"),
    Waits::Port,
    Waits::File,
];

/// A start that waits, and what has to live as long.
pub(crate) type Kept = (Waiting, Box<dyn Any>);

/// Makes the command of a start. If the start needs its own resolver configuration, that file is
/// passed in.
pub(crate) type Begin<'a> = &'a dyn Fn(&Run, Option<&Path>) -> Command;

/// Returns a start that waits, begun by `begin`; `None` if only root can make it wait for this.
pub(crate) fn waiting(waits: &Waits, begin: Begin<'_>) -> Option<Kept> {
    let served = Served::http();
    let run = served.with_approle().option("--log-level=warn").marker();
    Some(match waits {
        Waits::Name if !geteuid().is_root() => return None,
        Waits::Name => for_a_name(&run, begin),
        Waits::Connection => for_a_connection(run, begin),
        Waits::Handshake => for_a_handshake(run, begin),
        Waits::Answer(path) => for_an_answer(served, &run, path, begin),
        Waits::Port => for_the_next_try(run, begin),
        Waits::File => for_a_file(&served, begin),
    })
}

/// Starts it with its own resolver configuration, which names a server on an address of this
/// machine.
fn for_a_name(run: &Run, begin: Begin<'_>) -> Kept {
    let (resolver, address) = name_server();
    let directory = directory();
    let file = directory.path().join("resolv.conf");
    fs::write(&file, format!("nameserver {address}\n")).expect("a file");
    let waiting = Waiting::start(begin(
        &run.clone().env("VAULT_ADDR", "http://vault.example.com"),
        Some(&file),
    ));
    resolver.recv(&mut [0; 512]).expect("a question");
    (waiting, Box::new((resolver, directory)))
}

/// Opens a socket for a resolver's questions, on an address that nobody else has.
pub(crate) fn name_server() -> (UdpSocket, Ipv4Addr) {
    let addresses = (1..=254).map(|last| Ipv4Addr::new(127, 53, 53, last));
    let bound =
        addresses.filter_map(|address| Some((UdpSocket::bind((address, 53)).ok()?, address)));
    let (server, address) = bound.into_iter().next().expect("a free address");
    server.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (server, address)
}

/// Begins a start on this machine, with the command changed by `wrap`.
pub(crate) fn here(wrap: impl Fn(Command) -> Command) -> impl Fn(&Run, Option<&Path>) -> Command {
    move |run, resolver| {
        let built = wrap(run.build());
        if let Some(file) = resolver { with_resolver(file, &built) } else { built }
    }
}

/// Returns the command, run with `file` as `/etc/resolv.conf`.
pub(crate) fn with_resolver(file: &Path, built: &Command) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\""])
        .arg(file);
    add(&mut command, built);
    command
}

fn for_a_connection(run: Run, begin: Begin<'_>) -> Kept {
    // There is no server behind it, because no connection is let through.
    let hole = Gate::new((Ipv4Addr::LOCALHOST, 1).into(), 0, Shut::Dropped);
    let waiting = Waiting::start(begin(
        &run.env("VAULT_ADDR", format!("http://{}", hole.socket_addr())),
        None,
    ));
    // A socket that has sent SYN, in the kernel's notation: port and state, both in hexadecimal.
    let line = format!(":{:04X} 02 ", hole.socket_addr().port());
    eventually("the connection's first packet", || {
        fs::read_to_string("/proc/net/tcp").ok()?.contains(&line).then_some(())
    });
    (waiting, Box::new(hole))
}

fn for_a_handshake(run: Run, begin: Begin<'_>) -> Kept {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let ca = Served::https();
    let run = run.env("VAULT_ADDR", address).env("VAULT_CACERT", ca.vault.tls().expect("TLS").ca());
    let waiting = Waiting::start(begin(&run, None));
    let (connection, _) = listener.accept().expect("a connection");
    // The first bytes of the handshake are there: now it waits for our answer.
    connection.peek(&mut [0; 1]).expect("a hello");
    (waiting, Box::new((listener, connection, ca)))
}

fn for_an_answer(served: Served, run: &Run, path: &str, begin: Begin<'_>) -> Kept {
    served.vault.fault(path, Fault::Hang);
    let waiting = Waiting::start(begin(run, None));
    let has_come =
        |requests: &[Recorded]| requests.iter().any(|request| request.path.starts_with(path));
    assert!(served.vault.wait_for(has_come, PATIENCE), "{path} is asked for");
    (waiting, Box::new(served))
}

fn for_the_next_try(run: Run, begin: Begin<'_>) -> Kept {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let mut waiting = Waiting::start(begin(&run.env("VAULT_ADDR", address), None));
    let mut line = String::new();
    let mut reader = BufReader::new(waiting.0.stderr.take().expect("piped"));
    reader.read_line(&mut line).expect("a line");
    assert!(line.contains("trying again"), "{line}");
    (waiting, Box::new(reader))
}

fn for_a_file(served: &Served, begin: Begin<'_>) -> Kept {
    let directory = directory();
    let fifo = fifo(directory.path());
    let waiting = Waiting::start(begin(&served.at().env("VAULT_TOKEN_FILE", &fifo).marker(), None));
    (waiting, Box::new((opened(&fifo), directory)))
}

pub(crate) fn fifo(directory: &Path) -> PathBuf {
    let fifo = directory.join("fifo");
    assert!(works(Command::new("mkfifo").arg(&fifo)));
    fifo
}

/// Opens a FIFO, which works this way once somebody reads it; nothing is written to it then.
pub(crate) fn opened(fifo: &Path) -> File {
    eventually("the opening of the file", || {
        OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(fifo).ok()
    })
}

/// Asserts that each ending signal ends each wait at once with 128+n; `pid` finds the process in
/// what was begun.
pub(crate) fn all_end_at_once(name: &str, begin: Begin<'_>, pid: impl Fn(&Waiting) -> Pid) {
    for waits in &WAITS {
        for signal in ENDING {
            let mut times = Vec::new();
            while times.iter().all(|took| *took >= AT_ONCE) {
                assert!(times.len() < TRIES, "{waits:?}: {signal} ends it after {times:?}");
                let Some((waiting, _kept)) = waiting(waits, begin) else {
                    not_run(name, "only root can be a name server");
                    break;
                };
                let pid = pid(&waiting);
                let (status, took) = waiting.timed(pid, signal);
                // A start waits at most two seconds for a revocation: if all of this took longer,
                // it proves nothing.
                if !(matches!(waits, Waits::Answer("/v1/auth/token/revoke-self"))
                    && status.success())
                {
                    assert_eq!(status.code(), Some(128 + signal as i32), "{waits:?}");
                    times.push(took);
                }
            }
        }
    }
}
