//! The time before the program has made itself not dumpable: what a process of the same user can
//! open of it then.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid};
use test_vault::{Fault, Recorded};

use crate::proof::memory::{Waiting, can_read, open_to_all, start_of_its_stack};
use crate::support::launch::{Ordinary, PATIENCE, Served, before_exec, without};

/// What other processes of the user must not be able to open.
const FILES: [&str; 3] = ["mem", "environ", "maps"];

/// Returns a start by an ordinary user that has not executed its first instruction yet.
fn stopped(served: &Served, mode: u32) -> (Waiting, Ordinary) {
    let ordinary = Ordinary::new();
    fs::set_permissions(ordinary.program(), fs::Permissions::from_mode(mode)).expect("its owner");
    let mut command = ordinary.build(&served.with_approle());
    open_to_all(&mut command);
    before_exec(&mut command, ptrace::traceme);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let waiting = Waiting(command.spawn().expect("it runs"));
    let stop = WaitStatus::Stopped(pid(&waiting.0), Signal::SIGTRAP);
    assert_eq!(waitpid(pid(&waiting.0), None), Ok(stop));
    (waiting, ordinary)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

/// Lets it continue until it waits for Vault.
fn go_on(served: &Served, waiting: &Waiting) {
    served.vault.fault("/v1/secret/", Fault::Hang);
    ptrace::detach(pid(&waiting.0), None).expect("it goes on");
    let is_read = |requests: &[Recorded]| {
        requests.iter().any(|request| request.path.starts_with("/v1/secret/"))
    };
    assert!(served.vault.wait_for(is_read, PATIENCE), "the secret is asked for");
}

/// Returns whether an ordinary user's process can open each of [`FILES`].
fn can_open(waiting: &Waiting) -> [bool; 3] {
    FILES.map(|file| can_read(&format!("/proc/{}/{file}", waiting.0.id())))
}

/// A process of the user that has opened another one's memory, and keeps it open.
struct Attacker(Child);

impl Attacker {
    fn of(pid: u32) -> Attacker {
        let mut command = Command::new("sh");
        Ordinary::be(&mut command);
        let script = "exec 3< /proc/$0/mem && echo opened && read -r at && dd status=none \
                      bs=1 count=1 iflag=skip_bytes skip=$at <&3 | wc -c";
        command.args(["-c", script, &pid.to_string()]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut attacker = Attacker(piped);
        assert_eq!(attacker.line(), "opened\n");
        attacker
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("piped");
        BufReader::with_capacity(1, stdout).read_line(&mut line).expect("UTF-8");
        line
    }

    /// Returns whether it can read at this address now.
    fn reads(mut self, address: u64) -> bool {
        writeln!(self.0.stdin.take().expect("piped"), "{address}").expect("it reads");
        let read = self.line() == "1\n";
        self.0.wait().expect("it ends");
        read
    }
}

/// What SECURITY.md says about a file that its user may read: until the first instructions have
/// run, the user's other processes can open the memory, and what they have opened stays open.
#[test]
fn a_file_that_its_user_may_read_leaves_the_first_instant_open() {
    let served = Served::http();
    let (waiting, _kept) = stopped(&served, 0o755);
    assert_eq!(can_open(&waiting), [true; 3]);
    let attacker = Attacker::of(waiting.0.id());
    go_on(&served, &waiting);
    assert_eq!(can_open(&waiting), [false; 3]);
    assert!(attacker.reads(start_of_its_stack(waiting.0.id())));
}

#[test]
fn a_file_of_roots_that_can_be_executed_only_is_closed_from_the_first_instruction() {
    if !geteuid().is_root() {
        return without(
            "proof::first_instruction::a_file_of_roots_that_can_be_executed_only_is_closed_from_the_first_instruction",
            "root",
        );
    }
    let served = Served::http();
    let (waiting, _kept) = stopped(&served, 0o711);
    assert_eq!(can_open(&waiting), [false; 3]);
    go_on(&served, &waiting);
    assert_eq!(can_open(&waiting), [false; 3]);
}

/// What the kernel keeps closed for the program is open again for the application, as if it had
/// been started directly.
#[test]
fn the_application_of_a_file_that_can_be_executed_only_is_as_it_would_be_without_it() {
    let ordinary = Ordinary::new();
    fs::set_permissions(ordinary.program(), fs::Permissions::from_mode(0o711)).expect("its owner");
    let served = Served::http();
    let run = served.with_approle().shell("test -r /proc/self/environ && echo $PASSWORD");
    let output = ordinary.build(&run).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.trim(), crate::support::launch::FETCHED, "{output:?}");
}
