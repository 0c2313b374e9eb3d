//! A process that is stopped just before it becomes the application, and the search of its memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::support::launch::before_exec;
use crate::support::{Ended, Run};

/// A process at the entry of its `execve`, before the kernel has done anything.
pub(crate) struct Frozen {
    child: Child,
    memory: Memory,
    /// Its other threads that have not ended.
    threads: BTreeSet<Pid>,
    /// How many other threads it has had.
    pub(crate) begun: usize,
    /// The system calls of all its threads that create a file or open one for writing.
    pub(crate) writing: Vec<String>,
}

impl Frozen {
    /// Starts `program` with the settings of `run` and lets it run up to its own `execve`.
    pub(crate) fn start(program: &Path, run: &Run) -> Frozen {
        Frozen::of(run.build_of(program), |_| true)
    }

    /// The same for a program that is started by another one, which becomes it.
    pub(crate) fn start_in(
        program: &Path,
        run: &Run,
        wrap: impl FnOnce(Command) -> Command,
    ) -> Frozen {
        let program = program.canonicalize().expect("a program");
        let is_program =
            |pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
        Frozen::of(wrap(run.build_of(&program)), is_program)
    }

    fn of(mut command: Command, is_program: impl Fn(Pid) -> bool) -> Frozen {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        before_exec(&mut command, ptrace::traceme);
        let child = command.spawn().expect("the program runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        assert_eq!(
            waitpid(pid, None),
            Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)),
            "stopped by its start"
        );
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACECLONE;
        ptrace::setoptions(pid, options | Options::PTRACE_O_TRACEEXEC).expect("traced");
        let mut frozen = Frozen {
            child,
            memory: Memory::of(pid),
            threads: BTreeSet::new(),
            begun: 0,
            writing: Vec::new(),
        };
        frozen.go_to_execve(is_program);
        // The memory that was opened before may belong to another program.
        frozen.memory = Memory::of(pid);
        frozen
    }

    fn go_to_execve(&mut self, is_program: impl Fn(Pid) -> bool) {
        let pid = self.memory.pid;
        let (mut next, mut has_executed) = (Some((pid, None)), false);
        loop {
            if let Some((thread, signal)) = next {
                // A thread that another one has ended meanwhile cannot continue.
                let goes_on = ptrace::syscall(thread, signal);
                assert!(goes_on.is_ok() || thread != pid, "{goes_on:?}");
            }
            // Waits only for what this thread has started, not for other tests' processes.
            next = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD))
                .expect("it stops")
            {
                // The end of an execve, which looks like its entry.
                WaitStatus::PtraceSyscall(_) if std::mem::take(&mut has_executed) => {
                    Some((pid, None))
                }
                WaitStatus::PtraceSyscall(thread)
                    if thread == pid && is_execve(pid) && is_program(pid) =>
                {
                    return;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.writing.extend(writing(thread));
                    Some((thread, None))
                }
                // A thread begins with a stop.
                WaitStatus::Stopped(thread, Signal::SIGSTOP) if self.threads.insert(thread) => {
                    self.begun += 1;
                    Some((thread, None))
                }
                WaitStatus::Stopped(thread, signal) => Some((thread, Some(signal))),
                WaitStatus::PtraceEvent(thread, _, event) if event == libc::PTRACE_EVENT_EXEC => {
                    has_executed = true;
                    Some((thread, None))
                }
                WaitStatus::PtraceEvent(thread, ..) => Some((thread, None)),
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..)
                    if thread != pid =>
                {
                    self.threads.remove(&thread);
                    None
                }
                ended => panic!("{ended:?} before execve: {}", self.said()),
            };
        }
    }

    /// Returns the output of a program that has ended.
    fn said(&mut self) -> String {
        std::io::read_to_string(self.child.stderr.take().expect("piped")).expect("UTF-8")
    }

    pub(crate) fn pid(&self) -> Pid {
        self.memory.pid
    }

    /// Returns its threads, except the first one, that have not ended.
    pub(crate) fn threads(&self) -> &BTreeSet<Pid> {
        &self.threads
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the addresses of the environment strings that were passed to `execve`.
    pub(crate) fn new_environment(&self) -> Vec<Range<u64>> {
        let [_, _, mut at] = arguments(self.memory.pid).1;
        let mut strings = Vec::new();
        loop {
            let pointer = u64::from_ne_bytes(self.memory.at::<8>(at));
            if pointer == 0 {
                return strings;
            }
            let mut end = pointer;
            while self.memory.at::<1>(end) != [0] {
                end += 1;
            }
            strings.push(pointer..end);
            at += 8;
        }
    }

    /// Lets it become the application, and waits until that has ended.
    pub(crate) fn go_on(mut self) -> Ended {
        self.detach();
        Ended::of(self.child.wait_with_output().expect("it ends"))
    }

    /// The same for an application that a signal may end.
    pub(crate) fn ends(mut self) -> ExitStatus {
        self.detach();
        self.child.wait().expect("it ends")
    }

    fn detach(&mut self) {
        ptrace::detach(self.memory.pid, None).expect("it goes on");
        for thread in &self.threads {
            // The kernel ends them before it continues, and waits until their end has been seen.
            let _ = waitpid(*thread, Some(WaitPidFlag::__WALL));
        }
    }
}

/// Returns the system call that a thread is stopped at, if it creates a file or opens one for
/// writing.
fn writing(thread: Pid) -> Option<String> {
    let (number, [first, second, third]) = arguments(thread);
    let opens = |flags: u64| {
        let flags = libc::c_int::try_from(flags & 0xffff_ffff).unwrap_or(-1);
        flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) != libc::O_RDONLY
    };
    let is_writing = match number {
        libc::SYS_openat => opens(third),
        // Its flags are in memory: nothing here needs it.
        libc::SYS_openat2
        | libc::SYS_memfd_create
        | libc::SYS_truncate
        | libc::SYS_mkdirat
        | libc::SYS_mknodat
        | libc::SYS_linkat
        | libc::SYS_symlinkat
        | libc::SYS_renameat2 => true,
        other => is_writing_as_before(other, second, opens),
    };
    is_writing.then(|| format!("system call {number} ({first:x}, {second:x}, {third:x})"))
}

/// Recognizes the calls that exist only on the older architectures.
#[cfg(target_arch = "x86_64")]
fn is_writing_as_before(number: i64, second: u64, opens: impl Fn(u64) -> bool) -> bool {
    let makes = [
        libc::SYS_creat,
        libc::SYS_mkdir,
        libc::SYS_mknod,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_rename,
    ];
    makes.contains(&number)
        || number == libc::SYS_renameat
        || number == libc::SYS_open && opens(second)
}

#[cfg(not(target_arch = "x86_64"))]
fn is_writing_as_before(_: i64, _: u64, _: impl Fn(u64) -> bool) -> bool {
    false
}

fn is_execve(pid: Pid) -> bool {
    arguments(pid).0 == libc::SYS_execve
}

/// Returns the number and the first three arguments of the system call that a process is stopped
/// at, on any architecture.
fn arguments(pid: Pid) -> (i64, [u64; 3]) {
    let text =
        fs::read_to_string(format!("/proc/{pid}/syscall")).expect("a stopped process of ours");
    let mut words = text.split_whitespace();
    let number = words.next().and_then(|word| word.parse().ok()).expect("a number");
    // After an execve there is no call any more, and there are no arguments.
    let mut hex = || {
        let word = words.next().and_then(|word| word.strip_prefix("0x")).unwrap_or("0");
        u64::from_str_radix(word, 16).expect("hexadecimal")
    };
    (number, [hex(), hex(), hex()])
}

/// The memory of another process.
pub(crate) struct Memory {
    pid: Pid,
    file: File,
}

/// A place where something was found.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) address: u64,
    /// The mapping and the bytes around it, without the thing itself.
    #[allow(dead_code, reason = "shown where a test fails")]
    context: String,
}

impl Memory {
    /// Opens the memory of a process. Only root or its tracer may do that, and only root if the
    /// process is not dumpable.
    pub(crate) fn of(pid: Pid) -> Memory {
        Memory {
            pid,
            file: File::open(format!("/proc/{pid}/mem"))
                .expect("the right to read the process's memory"),
        }
    }

    fn at<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.file.read_exact_at(&mut bytes, address).expect("mapped memory");
        bytes
    }

    /// Returns everything that the process can write to, with the names of the mappings.
    fn writable(&self) -> Vec<(Range<u64>, String)> {
        let maps =
            fs::read_to_string(format!("/proc/{}/maps", self.pid)).expect("a process of ours");
        let writable = maps
            .lines()
            .filter(|line| line.split(' ').nth(1).is_some_and(|access| access.contains('w')));
        let parse = |line: &str| {
            let (start, end) =
                line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let number = |text| u64::from_str_radix(text, 16).expect("an address");
            (
                number(start)..number(end),
                line.split_whitespace().nth(5).unwrap_or("anonymous").to_owned(),
            )
        };
        writable.map(parse).collect()
    }

    /// Finds every occurrence of `needle`.
    pub(crate) fn find(&self, needle: &[u8]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut searched = 0;
        for (range, name) in self.writable() {
            let mut bytes =
                vec![0; usize::try_from(range.end - range.start).expect("it fits in ours too")];
            // A mapping may have a hole, such as the end of a file that became shorter.
            let Ok(length) = self.file.read_at(&mut bytes, range.start) else { continue };
            searched += length;
            let mut from = 0;
            while let Some(found) = position(&bytes[from..length], needle) {
                let at = from + found;
                let context = around(&bytes[..length], at, needle.len());
                findings.push(Finding {
                    address: range.start + at as u64,
                    context: format!("{name}: {context}"),
                });
                from = at + 1;
            }
        }
        // A supervisor that has given its memory back has little.
        assert!(searched > 100_000, "only {searched} bytes could be searched");
        findings
    }
}

/// Returns the 32 bytes before and after, in hexadecimal.
fn around(bytes: &[u8], at: usize, length: usize) -> String {
    let hex =
        |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let (before, behind) = (&bytes[at.saturating_sub(32)..at], &bytes[at + length..]);
    format!("{} [{length} bytes] {}", hex(before), hex(&behind[..behind.len().min(32)]))
}

#[allow(
    unsafe_code,
    reason = "the C library searches megabytes quickly also where the tests are not optimised"
)]
fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    // SAFETY: both ranges are borrowed slices, and memmem reads nothing beyond their lengths.
    let found = unsafe {
        libc::memmem(bytes.as_ptr().cast(), bytes.len(), needle.as_ptr().cast(), needle.len())
    };
    (!found.is_null()).then(|| found.addr() - bytes.as_ptr().addr())
}
