//! Starts to which the kernel gives little: each one works or says why it does not, and none hangs
//! or dies silently.

use std::fs;
use std::process::{Command, Stdio};

use nix::libc::rlim_t;
use nix::sys::resource::{Resource, setrlimit};

use crate::proof::memory::frozen::Frozen;
use crate::support::launch::{FETCHED, Ordinary, Served, as_root, before_exec};
use crate::support::{Ended, Run, binary, directory, run};

fn start(served: &Served) -> Run {
    served.with_approle().options(["--max-retries", "2"]).shell("echo $PASSWORD")
}

/// Runs a start with this limit and returns how it ended.
fn limited(mut command: Command, limit: Resource, value: rlim_t) -> Ended {
    before_exec(&mut command, move || setrlimit(limit, value, value));
    Ended::of(command.stdin(Stdio::null()).output().expect("it runs"))
}

/// Returns whether it started; if not, asserts that it said so and what to do.
fn is_started(ended: &Ended) -> bool {
    if ended.code == Some(0) {
        assert_eq!(ended.text().trim_end(), FETCHED);
        return true;
    }
    assert_eq!((ended.code, ended.text().as_str()), (Some(69), ""), "{ended:?}");
    assert!(ended.stderr.contains("is there a limit"), "{ended:?}");
    false
}

/// Running out of memory ends in a message, wherever it happens.
#[test]
fn the_end_of_memory_is_said_and_no_abort() {
    let directory = directory();
    let file = directory.path().join("large.env");
    fs::write(&file, format!("A={}\n", "x".repeat(1_000_000))).expect("a file");
    // Each of them is kept until the environment has been made.
    let run = (0..80).fold(run().marker(), |run, _| run.option("--env-file").option(&file));
    let ended = limited(run.build(), Resource::RLIMIT_AS, 64 << 20);
    assert_eq!((ended.code, ended.text().as_str()), (Some(69), ""), "{ended:?}");
    assert!(ended.stderr.contains("gives no more memory"), "{ended:?}");
    assert!(ended.stderr.contains("is there a limit"), "{ended:?}");
}

fn on_both_schemes(test: impl Fn(&Served)) {
    test(&Served::http());
    test(&Served::https());
}

/// Returns the run with a server name for the handshake, so that a thread of its own looks up the
/// address behind it: `localhost` alone is not looked up.
fn looking_up(run: Run) -> Run {
    run.env("VAULT_TLS_SERVER_NAME", "localhost")
}

#[test]
fn few_descriptors_are_enough_and_fewer_are_said() {
    on_both_schemes(|served| {
        // The program's loader takes one of them, if there is a loader.
        let started =
            |value| is_started(&limited(start(served).build(), Resource::RLIMIT_NOFILE, value));
        let started: Vec<bool> = (4..=10).map(started).collect();
        assert!(
            started.is_sorted() && started.contains(&false) && started.contains(&true),
            "{started:?}"
        );
    });
}

#[test]
fn without_another_thread_nothing_is_started_and_the_limit_is_named() {
    let (ordinary, served) = (Ordinary::new(), Served::https());
    let run = looking_up(start(&served));
    let started = |value| is_started(&limited(ordinary.build(&run), Resource::RLIMIT_NPROC, value));
    // Each thread counts, including the first one, and so does everything else that its user runs.
    let [one, _, _, many] = [1, 2, 3, 10_000].map(started);
    assert_eq!((one, many), (false, true));
}

#[test]
fn only_a_name_and_a_file_take_another_thread() {
    as_root("process::kernel_limits::only_a_name_and_a_file_take_another_thread", || {
        let begun = |run: &Run| Frozen::start(&binary(), run).begun;
        on_both_schemes(|served| {
            // The file of trusted authorities.
            let files = usize::from(served.vault.tls().is_some());
            assert_eq!(begun(&served.with_many(start(served), 30)), files);
        });
        let served = Served::https();
        assert_eq!(begun(&looking_up(served.with_many(start(&served), 30))), 2);
    });
}

#[test]
fn little_memory_is_enough_and_less_is_said() {
    on_both_schemes(|served| {
        let started = |value: rlim_t| {
            is_started(&limited(start(served).build(), Resource::RLIMIT_AS, value << 20))
        };
        // Memory that is mapped and never touched counts too.
        assert!([32, 48, 64].map(started).iter().is_sorted());
        assert!(started(512));
    });
}
