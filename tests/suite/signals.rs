//! What ends a start that waits, as PID 1 and otherwise.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, geteuid};
use test_vault::{Fault, Recorded};

use crate::launch::{PATIENCE, Served, before_exec, eventually, ignore, not_run, works};
use crate::support::{Run, directory};

const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP];
/// A start that a signal ends is over in a moment; one that waits on would take its whole timeout of a minute.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A process that is ended with the test.
struct Waiting(Child);

impl Waiting {
    fn start(mut command: Command) -> Waiting {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Waiting(command.spawn().expect("it runs"))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"))
    }

    /// How `signal` to the process `pid` ends it, within [`PROMPTLY`].
    #[track_caller]
    fn ended_by(mut self, pid: Pid, signal: Signal) -> ExitStatus {
        let began = Instant::now();
        kill(pid, signal).expect("it is there");
        loop {
            if let Some(status) = self.0.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(began.elapsed() < PROMPTLY, "{signal} does not end it");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a start can wait for.
enum Waits {
    /// An answer to the login, then to the read.
    Answer(&'static str),
    /// A TLS handshake that never comes: the connection is taken by the kernel alone.
    Handshake,
    /// The next try, at a port where nobody listens.
    Port,
}

/// A start that waits, begun by `begin`.
fn waiting(waits: &Waits, begin: impl Fn(&Run) -> Command) -> (Waiting, Box<dyn std::any::Any>) {
    let served = Served::http();
    let run = served.with_approle().option("--log-level=warn").marker();
    match waits {
        Waits::Answer(path) => {
            served.vault.fault(*path, Fault::Hang);
            let waiting = Waiting::start(begin(&run));
            let has_come = |requests: &[Recorded]| requests.iter().any(|request| request.path.starts_with(path));
            assert!(served.vault.wait_for(has_come, PATIENCE), "{path} is asked for");
            (waiting, Box::new(served))
        }
        Waits::Handshake => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("https://{}", listener.local_addr().expect("an address"));
            let ca = Served::https();
            let run = run.env("VAULT_ADDR", address).env("VAULT_CACERT", ca.vault.tls().expect("TLS").ca());
            let waiting = Waiting::start(begin(&run));
            let (connection, _) = listener.accept().expect("a connection");
            // The first bytes of the handshake are there: now it waits for ours.
            connection.peek(&mut [0; 1]).expect("a hello");
            (waiting, Box::new((listener, connection, ca)))
        }
        Waits::Port => {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("http://{}", listener.local_addr().expect("an address"));
            drop(listener);
            let mut waiting = Waiting::start(begin(&run.env("VAULT_ADDR", address)));
            let mut line = String::new();
            let stderr = waiting.0.stderr.take().expect("piped");
            let mut reader = std::io::BufReader::new(stderr);
            std::io::BufRead::read_line(&mut reader, &mut line).expect("a line");
            assert!(line.contains("trying again"), "{line}");
            (waiting, Box::new(reader))
        }
    }
}

const WAITS: [Waits; 4] =
    [Waits::Answer("/v1/auth/approle/login"), Waits::Answer("/v1/secret/"), Waits::Handshake, Waits::Port];

#[test]
fn each_ending_signal_ends_the_wait_at_once_with_128_and_its_number() {
    for waits in &WAITS {
        for signal in ENDING {
            let (waiting, _kept) = waiting(waits, Run::build);
            let pid = waiting.pid();
            assert_eq!(waiting.ended_by(pid, signal).code(), Some(128 + signal as i32));
        }
    }
}

/// Has `run` started as PID 1 of a namespace of its own. The processes that make it are the parents.
fn as_pid_1(run: &Run) -> Command {
    let built = run.build();
    let mut command = Command::new("unshare");
    command.args(if geteuid().is_root() { &["-pf", "--kill-child"][..] } else { &["-Urpf", "--kill-child"] });
    command.arg(built.get_program()).args(built.get_args()).env_clear();
    command.envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

fn has_namespaces(name: &str) -> bool {
    let mut probe = Command::new("unshare");
    probe.args(if geteuid().is_root() { &["-pf", "true"][..] } else { &["-Urpf", "true"] });
    let has = works(&mut probe);
    if !has {
        not_run(name, "no PID namespace can be made");
    }
    has
}

/// The only child of a process.
fn child_of(pid: Pid) -> Pid {
    eventually("the child of unshare", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
    })
}

// G1: a PID 1 that `docker stop` waits ten seconds for
#[test]
fn each_ending_signal_ends_the_wait_of_pid_1_too() {
    if !has_namespaces("signals::each_ending_signal_ends_the_wait_of_pid_1_too") {
        return;
    }
    for waits in &WAITS {
        for signal in ENDING {
            let (waiting, _kept) = waiting(waits, as_pid_1);
            let pid = child_of(waiting.pid());
            // `unshare` passes the exit status of its child on.
            assert_eq!(waiting.ended_by(pid, signal).code(), Some(128 + signal as i32));
        }
    }
}

#[test]
fn a_wait_for_a_file_of_pid_1_is_ended_too() {
    if !has_namespaces("signals::a_wait_for_a_file_of_pid_1_is_ended_too") {
        return;
    }
    let directory = directory();
    let fifo = directory.path().join("fifo");
    assert!(works(Command::new("mkfifo").arg(&fifo)));
    let served = Served::http();
    let with_token = served.at().env("VAULT_TOKEN_FILE", &fifo).marker();
    let with_env_file = served.with_token().env("VAULT_EXEC_ENV_FILE", &fifo).marker();
    for run in [with_token, with_env_file] {
        let waiting = Waiting::start(as_pid_1(&run));
        let pid = child_of(waiting.pid());
        // A FIFO can be opened so once somebody reads it; then nothing is written.
        let _writer = eventually("the opening of the file", || {
            OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifo).ok()
        });
        assert_eq!(waiting.ended_by(pid, Signal::SIGTERM).code(), Some(143));
    }
}

#[test]
fn an_ignored_signal_ends_nothing_and_stays_ignored_in_the_application() {
    for number in ENDING {
        let served = Served::http();
        served.vault.fault_times(1, "/v1/secret/", Fault::Delay(Duration::from_millis(500)));
        let mut command =
            served.with_approle().shell("grep SigIgn /proc/self/status; kill -$0 $$; echo survived").build();
        command.arg((number as i32).to_string());
        before_exec(&mut command, move || ignore(&[number]));
        let waiting = Waiting::start(command);
        let pid = waiting.pid();
        let is_waiting = |requests: &[Recorded]| requests.iter().any(|request| request.path.starts_with("/v1/secret/"));
        assert!(served.vault.wait_for(is_waiting, PATIENCE));
        kill(pid, number).expect("it is there");
        let mut waiting = waiting;
        let stdout = waiting.0.stdout.take().expect("piped");
        let text = std::io::read_to_string(stdout).expect("UTF-8");
        assert!(waiting.0.wait().expect("it ends").success());
        let ignored = u64::from_str_radix(text.split_whitespace().nth(1).expect("a mask"), 16).expect("hexadecimal");
        assert!(ignored & (1 << (number as i32 - 1)) != 0 && text.ends_with("survived\n"), "{number}: {text}");
    }
}

#[test]
fn a_blocked_signal_waits_for_the_application() {
    let served = Served::http();
    served.vault.fault_times(1, "/v1/secret/", Fault::Delay(Duration::from_millis(500)));
    let mut command = served.with_approle().command(["grep", "-E", "SigBlk|ShdPnd", "/proc/self/status"]).build();
    before_exec(&mut command, || {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::from_iter([Signal::SIGTERM])), None)
    });
    let mut waiting = Waiting::start(command);
    let is_waiting = |requests: &[Recorded]| requests.iter().any(|request| request.path.starts_with("/v1/secret/"));
    assert!(served.vault.wait_for(is_waiting, PATIENCE));
    kill(waiting.pid(), Signal::SIGTERM).expect("it is there");
    let text = std::io::read_to_string(waiting.0.stdout.take().expect("piped")).expect("UTF-8");
    assert!(waiting.0.wait().expect("it ends").success());
    assert_eq!(text.matches("0000000000004000").count(), 2, "{text}");
}

#[test]
fn an_application_that_is_pid_1_gets_its_signals_as_if_started_directly() {
    if !has_namespaces("signals::an_application_that_is_pid_1_gets_its_signals_as_if_started_directly") {
        return;
    }
    let served = Served::http();
    for run in [crate::support::run(), served.with_approle()] {
        let directory = directory();
        let file = directory.path().join("ready");
        let script = format!("trap 'exit 42' TERM; echo $$ > {}; while :; do sleep 0.05; done", file.display());
        let waiting = Waiting::start(as_pid_1(&run.shell(&script)));
        let pid = child_of(waiting.pid());
        let own = eventually("the application", || fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n')));
        assert_eq!(own, "1\n");
        assert_eq!(waiting.ended_by(pid, Signal::SIGTERM).code(), Some(42));
    }
}

#[test]
fn a_signal_of_another_kind_has_its_usual_effect_on_a_start_that_waits() {
    for signal in [Signal::SIGKILL, Signal::SIGUSR1, Signal::SIGALRM] {
        let (waiting, _kept) = waiting(&WAITS[1], Run::build);
        let pid = waiting.pid();
        assert_eq!(waiting.ended_by(pid, signal).signal(), Some(signal as i32));
    }
}

// vaultenv C31: SIGSTOP and SIGCONT around
#[test]
fn a_start_that_is_stopped_and_continued_goes_on() {
    let served = Served::http();
    served.vault.fault_times(1, "/v1/secret/", Fault::Delay(Duration::from_millis(300)));
    let mut waiting = Waiting::start(served.with_approle().marker().build());
    let is_waiting = |requests: &[Recorded]| requests.iter().any(|request| request.path.starts_with("/v1/secret/"));
    assert!(served.vault.wait_for(is_waiting, PATIENCE));
    kill(waiting.pid(), Signal::SIGSTOP).expect("it is there");
    eventually("the stop", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", waiting.pid())).ok()?;
        state.rsplit(") ").next()?.starts_with('T').then_some(())
    });
    kill(waiting.pid(), Signal::SIGCONT).expect("it is there");
    assert!(waiting.0.wait().expect("it ends").success());
}
