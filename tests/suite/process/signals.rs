//! What ends a start that is waiting, as PID 1 and otherwise.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, geteuid};
use test_vault::{Fault, Recorded};

use crate::process::signals_while_waiting::{
    ENDING, Waiting, Waits, all_end_at_once, fifo, here, name_server, opened, waiting,
    with_resolver,
};
use crate::proof::memory::frozen::Frozen;
use crate::support::launch::{
    PATIENCE, Served, add, as_root, before_exec, eventually, ignore, not_run, works,
};
use crate::support::{binary, directory};

#[test]
fn each_ending_signal_ends_the_wait_at_once_with_128_and_its_number() {
    let name = "process::signals::each_ending_signal_ends_the_wait_at_once_with_128_and_its_number";
    all_end_at_once(name, &here(|built| built), Waiting::pid);
}

/// Starts a command as PID 1 of its own namespace. The processes that create it are its ancestors.
pub(crate) fn as_pid_1(built: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.args(if geteuid().is_root() {
        &["-pf", "--kill-child"][..]
    } else {
        &["-Urpf", "--kill-child"]
    });
    add(&mut command, built);
    command
}

pub(crate) fn has_namespaces(name: &str) -> bool {
    let mut probe = Command::new("unshare");
    probe.args(if geteuid().is_root() { &["-pf", "true"][..] } else { &["-Urpf", "true"] });
    let has = works(&mut probe);
    if !has {
        not_run(name, "no PID namespace can be made");
    }
    has
}

/// Returns the only child of a process.
fn child_of(pid: Pid) -> Pid {
    eventually("the child of unshare", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
    })
}

// G1: a PID 1 that `docker stop` waits ten seconds for
#[test]
fn each_ending_signal_ends_the_wait_of_pid_1_too() {
    if !has_namespaces("process::signals::each_ending_signal_ends_the_wait_of_pid_1_too") {
        return;
    }
    // `unshare` passes on the exit status of its child.
    let name = "process::signals::each_ending_signal_ends_the_wait_of_pid_1_too";
    all_end_at_once(name, &here(|built| as_pid_1(&built)), |waiting| child_of(waiting.pid()));
}

#[test]
fn a_wait_for_an_env_file_of_pid_1_is_ended_too() {
    if !has_namespaces("process::signals::a_wait_for_an_env_file_of_pid_1_is_ended_too") {
        return;
    }
    let (served, directory) = (Served::http(), directory());
    let fifo = fifo(directory.path());
    let waiting = Waiting::start(as_pid_1(
        &served.with_token().env("VAULT_EXEC_ENV_FILE", &fifo).marker().build(),
    ));
    let (pid, _writer) = (child_of(waiting.pid()), opened(&fifo));
    assert_eq!(waiting.ended_by(pid, Signal::SIGTERM).code(), Some(143));
}

#[test]
fn an_ignored_signal_ends_nothing_and_stays_ignored_in_the_application() {
    for number in ENDING {
        let served = Served::http();
        served.vault.fault_times(1, "/v1/secret/", Fault::Delay(Duration::from_millis(500)));
        let mut command = served
            .with_approle()
            .shell("grep SigIgn /proc/self/status; kill -$0 $$; echo survived")
            .build();
        command.arg((number as i32).to_string());
        before_exec(&mut command, move || ignore(&[number]));
        let waiting = Waiting::start(command);
        let pid = waiting.pid();
        let is_waiting = |requests: &[Recorded]| {
            requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
        };
        assert!(served.vault.wait_for(is_waiting, PATIENCE));
        kill(pid, number).expect("it is there");
        let mut waiting = waiting;
        let stdout = waiting.0.stdout.take().expect("piped");
        let text = std::io::read_to_string(stdout).expect("UTF-8");
        assert!(waiting.0.wait().expect("it ends").success());
        let ignored = u64::from_str_radix(text.split_whitespace().nth(1).expect("a mask"), 16)
            .expect("hexadecimal");
        assert!(
            ignored & (1 << (number as i32 - 1)) != 0 && text.ends_with("survived\n"),
            "{number}: {text}"
        );
    }
}

#[test]
fn a_blocked_signal_waits_for_the_application() {
    let served = Served::http();
    served.vault.fault_times(1, "/v1/secret/", Fault::Delay(Duration::from_millis(500)));
    let mut command =
        served.with_approle().command(["grep", "-E", "SigBlk|ShdPnd", "/proc/self/status"]).build();
    before_exec(&mut command, || {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::from_iter([Signal::SIGTERM])), None)
    });
    let mut waiting = Waiting::start(command);
    let is_waiting = |requests: &[Recorded]| {
        requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
    };
    assert!(served.vault.wait_for(is_waiting, PATIENCE));
    kill(waiting.pid(), Signal::SIGTERM).expect("it is there");
    let text = std::io::read_to_string(waiting.0.stdout.take().expect("piped")).expect("UTF-8");
    assert!(waiting.0.wait().expect("it ends").success());
    assert_eq!(text.matches("0000000000004000").count(), 2, "{text}");
}

#[test]
fn an_application_that_is_pid_1_gets_its_signals_as_if_started_directly() {
    if !has_namespaces(
        "process::signals::an_application_that_is_pid_1_gets_its_signals_as_if_started_directly",
    ) {
        return;
    }
    let served = Served::http();
    for run in [crate::support::run(), served.with_approle()] {
        let directory = directory();
        let file = directory.path().join("ready");
        let script = format!(
            "trap 'exit 42' TERM; echo $$ > {}; while :; do sleep 0.05; done",
            file.display()
        );
        let waiting = Waiting::start(as_pid_1(&run.shell(&script).build()));
        let pid = child_of(waiting.pid());
        let own = eventually("the application", || {
            fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
        });
        assert_eq!(own, "1\n");
        assert_eq!(waiting.ended_by(pid, Signal::SIGTERM).code(), Some(42));
    }
}

#[test]
fn a_signal_of_another_kind_has_its_usual_effect_on_a_start_that_waits() {
    for signal in [Signal::SIGKILL, Signal::SIGUSR1, Signal::SIGALRM] {
        let login = Waits::Answer("/v1/auth/approle/login");
        let (waiting, _kept) =
            waiting(&login, &here(|built| built)).expect("anybody can wait for this");
        let pid = waiting.pid();
        assert_eq!(waiting.ended_by(pid, signal).signal(), Some(signal as i32));
    }
}

// vaultenv C31: SIGSTOP and SIGCONT around
#[test]
fn a_start_that_is_stopped_and_continued_goes_on() {
    // On a busy machine an answer may come before the signal.
    let delays = [300, 3_000, 30_000].map(Duration::from_millis);
    assert!(delays.into_iter().any(goes_on_after_a_stop), "it never waited long enough");
}

/// Stops a start while it waits for an answer, which comes after `delay`, and continues it. Returns
/// false if it was no longer waiting when it was stopped.
fn goes_on_after_a_stop(delay: Duration) -> bool {
    let served = Served::http();
    served.vault.fault_times(1, "/v1/secret/", Fault::Delay(delay));
    let mut waiting = Waiting::start(served.with_approle().marker().build());
    let is_waiting = |requests: &[Recorded]| {
        requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
    };
    assert!(served.vault.wait_for(is_waiting, PATIENCE));
    kill(waiting.pid(), Signal::SIGSTOP).expect("it is there");
    let is_stopped = eventually("the stop", || {
        let state = fs::read_to_string(format!("/proc/{}/stat", waiting.pid())).ok()?;
        let state = state.rsplit(") ").next()?;
        state.starts_with(['T', 'Z']).then_some(state.starts_with('T'))
    });
    kill(waiting.pid(), Signal::SIGCONT).expect("it is there");
    assert!(waiting.0.wait().expect("it ends").success());
    is_stopped
}

/// The last instant in which any of our code exists: at the entry of `execve` a signal either ends
/// the process with 128+n or goes to the application, which has not yet said what it does with it.
#[test]
fn a_signal_in_the_last_instant_before_the_application_is_not_lost() {
    as_root(
        "process::signals::a_signal_in_the_last_instant_before_the_application_is_not_lost",
        || {
            let served = Served::http();
            for run in [crate::support::run(), served.with_approle()] {
                for signal in ENDING {
                    let frozen =
                        Frozen::start(&binary(), &run.clone().shell("echo $$; sleep 1000"));
                    kill(frozen.pid(), signal).expect("it is there");
                    let status = frozen.ends();
                    let number = status.signal().or_else(|| Some(status.code()? - 128));
                    assert_eq!(number, Some(signal as i32), "{status}");
                }
            }
        },
    );
}

/// A thread that takes a signal in that instant would end alone: the kernel has begun to end all
/// other threads for `execve`, and the application would start as if there had been no signal.
#[test]
fn no_thread_that_is_left_takes_a_signal_from_the_application() {
    if !geteuid().is_root() {
        return not_run(
            "process::signals::no_thread_that_is_left_takes_a_signal",
            "only root can be a name server",
        );
    }
    let served = Served::http();
    // The revocation is forwarded to a name that nobody answers for, and is abandoned.
    served.vault.fault(
        "/v1/auth/token/revoke-self",
        Fault::redirect("https://vault.example.com/v1/auth/token/revoke-self"),
    );
    let (_resolver, address) = name_server();
    let directory = directory();
    let file = directory.path().join("resolv.conf");
    fs::write(&file, format!("nameserver {address}\noptions timeout:30 attempts:1\n"))
        .expect("a file");
    let frozen =
        Frozen::start_in(&binary(), &served.with_approle(), |built| with_resolver(&file, &built));
    assert!(!frozen.threads().is_empty(), "no thread waits for a name any more");
    for thread in frozen.threads() {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).expect("it waits");
        let blocked =
            status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("its line").trim();
        let blocked = u64::from_str_radix(blocked, 16).expect("hexadecimal");
        let all = ENDING.iter().fold(0, |mask, signal| mask | 1 << (*signal as i32 - 1));
        assert_eq!(blocked & all, all, "{status}");
    }
    assert_eq!(frozen.go_on().code, Some(0));
}
