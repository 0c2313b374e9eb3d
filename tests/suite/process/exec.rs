//! Becoming the application: what it inherits, what it is given, and which errors are found before
//! Vault is asked.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, getpgrp, getsid, setsid};

use crate::support::launch::{
    Ordinary, PATIENCE, Served, add, before_exec, executable, ignore, not_run, on_both_starts,
    works,
};
use crate::support::{Ended, Run, binary, directory, run};

/// Returns what `script` prints when `command` starts it, without the trailing line break.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let ended = Ended::of(command.stdin(Stdio::null()).output().expect("it runs"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.text().trim_end().to_owned()
}

fn status_of(run: &Run) -> ExitStatus {
    run.build()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs")
}

/// Returns a command that is started from a shell, as a container's runtime or an init would do it.
fn from_shell(run: &Run, script: &str) -> Command {
    let built = run.build();
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(built.get_program()).args(built.get_args());
    command.env_clear().envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

// tini 1, dumb-init 1, A49
#[test]
fn the_applications_exit_status_comes_through() {
    on_both_starts(|run| {
        for code in [0, 1, 2, 7, 32, 64, 78, 125, 126, 127, 128, 254, 255] {
            assert_eq!(status_of(&run.clone().shell(&format!("exit {code}"))).code(), Some(code));
        }
    });
}

// tini 2, dumb-init 1, A50
#[test]
fn an_application_that_a_signal_kills_is_seen_as_such() {
    on_both_starts(|run| {
        for signal in [
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGINT,
            Signal::SIGUSR1,
            Signal::SIGKILL,
        ] {
            let run = run.clone().shell(&format!("ulimit -c 0; kill -{} $$", signal as i32));
            assert_eq!(status_of(&run).signal(), Some(signal as i32));
        }
    });
}

/// Starts `cat`, waits until it is running, sends the signal, and returns how it ended.
fn ended_by(run: &Run, signal: Signal) -> ExitStatus {
    let mut command = run.clone().shell("ulimit -c 0; echo here; exec cat").build();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut here = [0; 5];
    child.stdout.as_mut().expect("piped").read_exact(&mut here).expect("it says so");
    nix::sys::signal::kill(pid_of(&child), signal).expect("it is there");
    child.wait().expect("it ends")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

// dumb-init 2, B10, E5, E6
#[test]
fn a_signal_reaches_the_application_directly() {
    on_both_starts(|run| {
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGUSR2,
            Signal::SIGPIPE,
        ] {
            assert_eq!(ended_by(run, signal).signal(), Some(signal as i32));
        }
    });
}

// gosu: `docker top` shows one process
#[test]
fn the_application_is_the_process_that_was_started_and_has_no_children() {
    on_both_starts(|run| {
        // The shell's own `read` needs no child process.
        let script = "children=none; read -r children < /proc/$$/task/$$/children; echo $$ $PPID \
                      $(cut -d ' ' -f 5,6 /proc/$$/stat); readlink /proc/$$/exe; echo \
                      \"[$children]\"; ls /proc/$$/task | wc -l; pwd";
        let directory = directory();
        let here = directory.path().canonicalize().expect("a directory");
        let mut command = run.clone().shell(script).build();
        command.current_dir(&here).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().expect("it runs");
        let pid = child.id();
        let ended = Ended::of(child.wait_with_output().expect("it ends"));
        let text = ended.text();
        let lines: Vec<&str> = text.lines().collect();
        let session = getsid(None).expect("a session");
        assert_eq!(lines[0], format!("{pid} {} {} {session}", Pid::this(), getpgrp()));
        let shell = fs::canonicalize("/bin/sh").expect("a shell");
        assert_eq!(Path::new(lines[1]), shell);
        assert_eq!(lines[2..], ["[]", "1", here.to_str().expect("UTF-8")], "{text}");
    });
}

// dumb-init 5
#[test]
fn limits_umask_and_niceness_are_the_callers() {
    on_both_starts(|run| {
        let show = "umask; nice; cat /proc/self/limits";
        let hook = || {
            umask(Mode::from_bits_truncate(0o037));
            setrlimit(Resource::RLIMIT_CORE, 4096, 8192)?;
            setrlimit(Resource::RLIMIT_NOFILE, 200, 300)?;
            let hard = getrlimit(Resource::RLIMIT_STACK)?.1;
            setrlimit(Resource::RLIMIT_STACK, (4 << 20).min(hard), hard)
        };
        let nicer = || {
            let mut command = Command::new("nice");
            command.args(["-n", "3"]);
            command
        };
        let (mut through, mut direct) = (nicer(), nicer());
        direct.args(["sh", "-c", show]);
        add(&mut through, &run.clone().shell(show).build());
        before_exec(&mut through, hook);
        before_exec(&mut direct, hook);
        let (through, direct) = (printed(&mut through), printed(&mut direct));
        assert_eq!(through, direct);
        // Whoever runs the tests may have a nice value already; 19 is the maximum (setpriority(2)).
        let own: i32 = printed(&mut Command::new("nice")).trim().parse().expect("a number");
        assert!(through.starts_with(&format!("0037\n{}\n", (own + 3).min(19))), "{through}");
        let core = through.lines().find(|line| line.starts_with("Max core")).expect("its line");
        assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["4096", "8192"]);
    });
}

/// Returns the descriptors of the shell that lists its own, each as `number -> target`, without the
/// names of pipes.
fn descriptors(command: &mut Command) -> Vec<String> {
    let ended = Ended::of(command.output().expect("it runs"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = ended.text();
    let links = text.lines().filter_map(|line| line.split_once(" -> "));
    let mut found: Vec<String> = links
        .map(|(left, to)| {
            (left.rsplit(' ').next().unwrap_or_default(), to.split(':').next().unwrap_or_default())
        })
        .map(|(number, to)| format!("{number} -> {to}"))
        .collect();
    found.sort();
    found
}

const LIST: &str = "ls -l /proc/$$/fd";

// gosu: `ls -l /proc/self/fd`; catatonit #12
#[test]
fn open_descriptors_stay_and_none_is_added() {
    on_both_starts(|run| {
        let directory = directory();
        let file: OwnedFd =
            File::create(directory.path().join("inherited")).expect("a file").into();
        let inherited =
            format!("{} -> {}", file.as_raw_fd(), directory.path().join("inherited").display());
        let file = std::sync::Arc::new(file);
        let listed = |mut command: Command| {
            let file = file.clone();
            before_exec(&mut command, move || {
                fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
            });
            descriptors(command.stdin(Stdio::null()).stderr(Stdio::piped()))
        };
        let mut direct = Command::new("sh");
        direct.args(["-c", LIST]);
        let (through, direct) = (listed(run.clone().shell(LIST).build()), listed(direct));
        assert!(through.contains(&inherited), "{through:?}");
        assert_eq!(through, direct);
    });
}

#[test]
fn closed_standard_descriptors_become_dev_null() {
    on_both_starts(|run| {
        for (close, closed) in [
            ("<&-", &["0"][..]),
            (">&-", &["1"]),
            ("2>&-", &["2"]),
            ("<&- >&- 2>&-", &["0", "1", "2"]),
        ] {
            let directory = directory();
            let file = directory.path().join("list");
            let script = "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done | cat > \"$LIST\"";
            let mut command = from_shell(
                &run.clone().env("LIST", &file).shell(script),
                &format!("exec \"$0\" \"$@\" {close}"),
            );
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            assert_eq!(command.status().expect("it runs").code(), Some(0), "{close}");
            let text = fs::read_to_string(&file).expect("the list");
            assert_eq!(text.lines().count(), 3, "{text}");
            for (number, target) in ["0", "1", "2"].iter().zip(text.lines()) {
                assert_eq!(
                    target == "/dev/null",
                    closed.contains(number),
                    "{close}: {number} is {target}"
                );
            }
        }
    });
}

/// Returns a signal mask from `/proc/<pid>/status`.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("its line");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("hexadecimal")
}

fn bits(signals: &[Signal]) -> u64 {
    signals.iter().map(|signal| 1 << (*signal as i32 - 1)).sum()
}

// tini 4
#[test]
fn ignored_and_blocked_signals_stay_so_and_sigpipe_is_at_its_default() {
    const IGNORED: [Signal; 5] =
        [Signal::SIGTTOU, Signal::SIGSEGV, Signal::SIGINT, Signal::SIGHUP, Signal::SIGBUS];
    const BLOCKED: [Signal; 4] =
        [Signal::SIGTTIN, Signal::SIGILL, Signal::SIGTERM, Signal::SIGUSR1];
    on_both_starts(|run| {
        for (ignored, blocked) in
            [(&IGNORED[..], &BLOCKED[..]), (&[], &[]), (&[Signal::SIGPIPE], &[Signal::SIGPIPE])]
        {
            let status = |mut command: Command| {
                before_exec(&mut command, move || {
                    ignore(ignored)?;
                    let set: SigSet = blocked.iter().copied().collect();
                    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None)
                });
                printed(&mut command)
            };
            let mut direct = Command::new("cat");
            direct.arg("/proc/self/status");
            let direct = status(direct);
            let through = status(run.clone().command(["cat", "/proc/self/status"]).build());
            assert_eq!(mask(&direct, "SigIgn") & bits(ignored), bits(ignored), "{direct}");
            let sigpipe = bits(&[Signal::SIGPIPE]);
            assert_eq!(mask(&through, "SigIgn"), mask(&direct, "SigIgn") & !sigpipe, "{through}");
            assert_eq!(mask(&through, "SigBlk"), bits(blocked), "{through}");
            assert_eq!(mask(&through, "SigCgt"), 0, "{through}");
        }
    });
}

// catatonit #13, #15
#[test]
fn socket_activation_reaches_the_application() {
    on_both_starts(|run| {
        let run = run
            .clone()
            .env("LISTEN_FDS", "1")
            .shell("echo $$ $LISTEN_PID $LISTEN_FDS; echo from 3 >&3");
        let mut command = from_shell(&run, "LISTEN_PID=$$ exec \"$0\" \"$@\" 3>&1");
        let text = printed(&mut command);
        let (first, second) = text.split_once('\n').expect("two lines");
        let words: Vec<&str> = first.split(' ').collect();
        assert_eq!((words[0], words[2], second), (words[1], "1", "from 3"));
    });
}

// Peer case A48: the first `--` is ours, a second one the application's.
#[test]
fn arguments_reach_the_application_byte_for_byte() {
    let odd: [&[u8]; 12] = [
        b"",
        b"--",
        b"-x",
        b"--help",
        b"--addr=x",
        b"a\nb",
        b"\xff\xfe",
        b" ",
        b"$HOME `x` \"'\\",
        b"*",
        b"vault:a/b#c",
        b"",
    ];
    on_both_starts(|run| {
        let mut command = vec![OsStr::new("printf"), OsStr::new("[%s]\\0"), OsStr::new("--")];
        command.extend(odd.iter().map(|bytes| OsStr::from_bytes(bytes)));
        let ended = run.clone().command(command).end();
        let mut expected = b"[--]\0".to_vec();
        for argument in odd {
            expected.extend([b"[", argument, b"]\0"].concat());
        }
        assert_eq!((ended.code, ended.stdout), (Some(0), expected), "{}", ended.stderr);
    });
}

#[test]
fn its_own_name_is_as_it_was_typed() {
    on_both_starts(|run| {
        let directory = directory();
        std::os::unix::fs::symlink("/bin/sh", directory.path().join("app")).expect("a link");
        let full = directory.path().join("app");
        for (typed, shown) in
            [(OsStr::new("app"), "app"), (OsStr::new("./app"), "./app"), (full.as_os_str(), "")]
        {
            let script = "read -r line < /proc/$$/cmdline; printf '%s' \"$line\"";
            let run =
                run.clone().env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
            let run = run.command([
                typed,
                OsStr::new("-c"),
                OsStr::new("tr '\\0' '\\n' < /proc/$$/cmdline"),
                OsStr::new(script),
            ]);
            let text = printed(run.build().current_dir(directory.path()));
            let expected = if shown.is_empty() { full.to_str().expect("UTF-8") } else { shown };
            assert_eq!(text.lines().next(), Some(expected));
        }
    });
}

#[test]
fn the_command_is_searched_on_the_path_that_the_application_gets() {
    on_both_starts(|run| {
        let (first, second) = (directory(), directory());
        for (place, text) in [(&first, "first"), (&second, "second")] {
            executable(
                place.path(),
                "app",
                format!("#!/bin/sh\necho {text}; echo \"$PATH\"\n").as_bytes(),
            );
        }
        fs::create_dir(first.path().join("other")).expect("a directory");
        executable(second.path(), "other", b"#!/bin/sh\necho other\n");
        let (a, b) = (first.path().display().to_string(), second.path().display().to_string());
        let file = first.path().join("env");
        fs::write(&file, format!("PATH={b}:/bin\n")).expect("a file");
        let app = run.clone().command(["app"]);
        let line =
            |run: Run| printed(run.build().current_dir(&a)).lines().next().map(str::to_owned);
        let first_line = Some("first".to_owned());
        assert_eq!(line(app.clone().env("PATH", format!("/nowhere:{a}:{b}"))), first_line);
        // An empty element is the working directory.
        for path in ["", ":/nowhere", "/nowhere:", "/nowhere::/bin"] {
            assert_eq!(line(app.clone().env("PATH", path)), first_line, "{path:?}");
        }
        // A directory with that name does not end the search.
        assert_eq!(
            line(run.clone().command(["other"]).env("PATH", format!("{a}:{b}"))),
            Some("other".to_owned())
        );
        let from_file = app.clone().without("PATH").option("--env-file").option(&file);
        assert_eq!(line(from_file.clone()), Some("second".to_owned()));
        assert_eq!(line(from_file.clone().option("--clean-env")), Some("second".to_owned()));
        // The environment takes precedence over an env file.
        assert_eq!(line(from_file.env("PATH", &a)), first_line);
    });
}

#[test]
fn without_a_path_the_usual_places_are_searched_and_none_is_made() {
    on_both_starts(|run| {
        let environment = printed(&mut run.clone().without("PATH").build());
        assert!(!environment.contains("PATH="), "{environment}");
        assert_eq!(
            run.clone().without("PATH").command(["vault-exec-no-such"]).end().code,
            Some(127)
        );
    });
}

#[test]
fn a_path_that_is_fetched_is_searched_too() {
    let served = Served::http();
    let directory = directory();
    executable(directory.path(), "app", b"#!/bin/sh\necho found\n");
    let path = directory.path().to_str().expect("UTF-8");
    served.vault.operator().kv_put("secret", 2, "path", test_vault::json!({ "path": path }));
    let run = served.with_token().env("PATH", "vault:secret/path#path");
    assert_eq!(run.clone().command(["app"]).end().text(), "found\n");
    run.command(["no-such-app"]).env("X", "y").end().text();
    let ended =
        served.with_token().env("PATH", "vault:secret/path#path").command(["no-such-app"]).end();
    assert_eq!(ended.code, Some(127), "{}", ended.stderr);
}

/// Asserts that the command fails with this code, reports each of these parts, and that Vault was
/// not asked.
#[track_caller]
fn cannot_start(command: &[&OsStr], directory: &Path, code: i32, parts: &[&str]) {
    let served = Served::http();
    for run in [run(), served.with_approle()] {
        let mut built = run.command(command).build();
        let ended =
            Ended::of(built.current_dir(directory).stdin(Stdio::null()).output().expect("it runs"));
        assert_eq!(
            (ended.code, ended.text().as_str()),
            (Some(code), ""),
            "{command:?}: {}",
            ended.stderr
        );
        for part in parts {
            assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
        }
    }
    assert_eq!(served.vault.lines(), Vec::<String>::new(), "{command:?}");
}

// tini 7, dumb-init 4, A47, B8
#[test]
fn a_command_that_is_not_there_is_127_before_vault_is_asked() {
    let directory = directory();
    fs::write(directory.path().join("file"), "").expect("a file");
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling")).expect("a link");
    for name in
        ["vault-exec-no-such", "/doesnotexist", "./none", "file/app", "none/app", "./dangling", ""]
    {
        cannot_start(&[OsStr::new(name)], directory.path(), 127, &[name, "not found"]);
    }
    cannot_start(&[OsStr::from_bytes(b"./\xff\n")], directory.path(), 127, &["not found"]);
}

// tini 7
#[test]
fn a_command_that_cannot_run_is_126_before_vault_is_asked() {
    let directory = directory();
    let at = directory.path();
    fs::create_dir(at.join("folder")).expect("a directory");
    fs::write(at.join("plain"), "#!/bin/sh\n").expect("a file");
    executable(at, "no-interpreter", b"#!/no/such/interpreter -x\n");
    executable(at, "windows", b"#!/bin/sh\r\necho x\r\n");
    executable(at, "empty-interpreter", b"#! \necho x\n");
    executable(at, "folder-interpreter", b"#!/tmp\necho x\n");
    executable(at, "no-line", b"echo no line\n");
    executable(at, "empty", b"");
    std::os::unix::fs::symlink("loop", at.join("loop")).expect("a link");
    assert!(works(Command::new("mkfifo").args(["-m", "755"]).arg(at.join("fifo"))));
    for (name, says) in [
        ("./folder", "is a directory"),
        ("./plain", "chmod +x"),
        ("./no-interpreter", "/no/such/interpreter"),
        ("./windows", "/bin/sh"),
        ("./empty-interpreter", "#!"),
        ("./folder-interpreter", "/tmp"),
        ("./no-line", "#!"),
        ("./empty", "#!"),
        ("./loop", "symbolic link"),
        ("./fifo", "is not a file"),
    ] {
        cannot_start(&[OsStr::new(name)], at, 126, &[name, says]);
    }
}

#[test]
fn a_program_whose_loader_is_not_there_is_126_before_vault_is_asked() {
    let directory = directory();
    let shell = fs::read("/bin/sh").expect("a shell");
    let loader = [&b"/lib64/ld-linux"[..], b"/lib/ld-linux", b"/lib/ld-musl"]
        .into_iter()
        .find_map(|name| shell.windows(name.len()).position(|window| window == name));
    let Some(at) = loader else {
        return not_run(
            "process::exec::a_program_whose_loader_is_not_there",
            "/bin/sh is statically linked",
        );
    };
    let mut broken = shell;
    broken[at + 1..at + 4].copy_from_slice(b"xyz");
    executable(directory.path(), "app", &broken);
    cannot_start(&[OsStr::new("./app")], directory.path(), 126, &["./app", "/xyz", "loader"]);
}

#[test]
fn what_only_the_kernel_can_refuse_is_126() {
    let directory = directory();
    executable(directory.path(), "app", b"\x00\x01 no program of any machine \x00");
    on_both_starts(|run| {
        let mut built = run.clone().command(["./app"]).build();
        let ended = Ended::of(built.current_dir(directory.path()).output().expect("it runs"));
        assert_eq!(ended.code, Some(126), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("./app") && ended.stderr.contains("#! line"),
            "{}",
            ended.stderr
        );
        // Also if nobody reads the message: SIGPIPE is back at its default by then.
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        drop(reader);
        let status = built.stdout(Stdio::null()).stderr(writer).status().expect("it runs");
        assert_eq!(status.code(), Some(126), "{status}");
    });
}

#[test]
fn a_file_that_its_user_may_run_but_not_read_runs() {
    let directory = directory();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("its owner");
    let app = directory.path().join("app");
    assert!(works(Command::new("cp").args(["/bin/true"]).arg(&app)));
    fs::set_permissions(&app, std::os::unix::fs::PermissionsExt::from_mode(0o111))
        .expect("its owner");
    let ordinary = Ordinary::new();
    on_both_starts(|run| {
        let run = run.clone().command([&app]);
        let ended = Ended::of(ordinary.build(&run).output().expect("it runs"));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    });
}

#[test]
fn a_script_runs_through_its_interpreter() {
    on_both_starts(|run| {
        let directory = directory();
        executable(directory.path(), "app", b"#! /bin/sh -e\necho \"$0|$1|$2\"\n");
        executable(directory.path(), "by-env", b"#!/usr/bin/env -S sh -e\necho by env\n");
        let at = |run: Run| printed(run.build().current_dir(directory.path()));
        assert_eq!(at(run.clone().command(["./app", "a b", ""])), "./app|a b|");
        assert_eq!(at(run.clone().command(["./by-env"])), "by env");
    });
}

// A59, gosu
#[test]
fn stdin_and_stdout_are_the_applications_to_the_byte() {
    let input: Vec<u8> =
        (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    on_both_starts(|run| {
        let run = run.clone().options(["--log-level", "trace"]).command(["cat"]);
        let ended = run.end_with_input(&input);
        assert!(ended.code == Some(0) && ended.stdout == input);
    });
}

/// Runs under its own terminal, as `docker run -t` does, and collects what the terminal shows.
pub(crate) struct Terminal {
    child: Child,
    master: File,
}

impl Terminal {
    fn start(run: &Run) -> Terminal {
        // Its own messages would appear before the application's output.
        Terminal::of(run.clone().option("--log-level=warn").build())
    }

    pub(crate) fn of(mut command: Command) -> Terminal {
        let pty = openpty(None, None).expect("a terminal");
        // Nobody else may hold it: the session ends when it is closed.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("a descriptor");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        before_exec(&mut command, || {
            setsid()?;
            #[allow(unsafe_code, reason = "nix has no call for the controlling terminal")]
            // SAFETY: the request takes a number, and descriptor 0 is a terminal.
            let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) };
            nix::errno::Errno::result(result).map(drop)
        });
        let child = command.spawn().expect("it runs");
        Terminal { child, master: pty.master.into() }
    }

    pub(crate) fn type_in(&mut self, text: &[u8]) {
        self.master.write_all(text).expect("a terminal");
    }

    /// Reads until `text` has appeared.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let so_far = String::from_utf8_lossy(&shown).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let patience = PollTimeout::try_from(PATIENCE).expect("a timeout");
            assert_eq!(poll(&mut ready, patience), Ok(1), "no {text:?} in {so_far:?}");
            match self.master.read(&mut buffer) {
                Ok(length) if length > 0 => shown.extend(&buffer[..length]),
                _ => panic!("no {text:?} in {so_far:?}"),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ends(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // SIGHUP is what a terminal that goes away sends to the processes that it controls.
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let _ = kill(pid, Signal::SIGHUP).and_then(|()| kill(pid, Signal::SIGCONT));
    }
}

// tini 7, dumb-init 6
#[test]
fn under_a_terminal_job_control_and_ctrl_c_work() {
    on_both_starts(|run| {
        let mut terminal =
            Terminal::start(&run.clone().command(["bash", "-mc", "echo flags $-; exit 7"]));
        let shown = terminal.shows("flags ");
        let shown = if shown.contains('\n') { shown } else { shown + &terminal.shows("\n") };
        assert!(shown.split("flags ").nth(1).is_some_and(|flags| flags.contains('m')), "{shown}");
        assert!(!shown.contains("no job control"), "{shown}");
        assert_eq!(terminal.ends().code(), Some(7));

        let mut terminal = Terminal::start(
            &run.clone().shell("trap 'exit 130' INT; echo ready; while :; do sleep 0.05; done"),
        );
        terminal.shows("ready");
        terminal.type_in(b"\x03");
        assert_eq!(terminal.ends().code(), Some(130));

        let mut terminal = Terminal::start(&run.clone().command(["cat"]));
        terminal.type_in(b"hello\n");
        terminal.shows("hello\r\nhello");
        terminal.type_in(b"\x03");
        assert_eq!(terminal.ends().signal(), Some(2));

        let mut terminal = Terminal::start(&run.clone().command(["tac"]));
        terminal.type_in(b"one\ntwo\n\x04");
        terminal.shows("two\r\none\r\n");
        assert_eq!(terminal.ends().code(), Some(0));
    });
}

// tini 7: `exit 0` typed
#[test]
fn under_a_terminal_the_foreground_group_is_untouched() {
    on_both_starts(|run| {
        let mut terminal =
            Terminal::start(&run.clone().shell("cut -d ' ' -f 1,5,6,8 /proc/$$/stat; exec sh"));
        let shown = terminal.shows("\n");
        let pid = terminal.child.id();
        assert!(shown.contains(&format!("{pid} {pid} {pid} {pid}")), "{pid}: {shown}");
        terminal.type_in(b"exit 9\n");
        assert_eq!(terminal.ends().code(), Some(9));
    });
}

#[test]
fn the_application_can_be_dumped_as_if_started_directly_and_may_gain_privileges() {
    let ordinary = Ordinary::new();
    on_both_starts(|run| {
        let run = run.clone().command(["stat", "-c", "%u", "/proc/self/environ", "/proc/self/mem"]);
        let mut direct = Command::new("stat");
        direct.args(["-c", "%u", "/proc/self/environ", "/proc/self/mem"]);
        Ordinary::be(&mut direct);
        // Files in /proc of a process that is not dumpable belong to root.
        let (through, direct) = (printed(&mut ordinary.build(&run)), printed(&mut direct));
        assert_eq!(through, direct);
        assert!(!through.starts_with("0\n"), "{through}");
        let status = printed(
            &mut run.command(["grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status"]).build(),
        );
        let here = fs::read_to_string("/proc/self/status").expect("our own");
        let expected: Vec<&str> = here
            .lines()
            .filter(|line| line.starts_with("NoNewPrivs") || line.starts_with("Seccomp:"))
            .collect();
        assert_eq!(status.lines().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn it_can_start_itself() {
    on_both_starts(|run| {
        let own = binary();
        let command = [
            own.as_os_str(),
            OsStr::new("--"),
            own.as_os_str(),
            OsStr::new("sh"),
            OsStr::new("-c"),
            OsStr::new("exit 9"),
        ];
        assert_eq!(status_of(&run.clone().command(command)).code(), Some(9));
    });
}

#[test]
fn an_init_goes_before_it_and_behind_it() {
    let init = ["tini", "dumb-init", "catatonit"]
        .into_iter()
        .find(|name| works(Command::new(name).args(["--", "true"])));
    let Some(init) = init else {
        return not_run("process::exec::an_init_goes_before_it_and_behind_it", "no init");
    };
    on_both_starts(|run| {
        let inside = run.clone().command([init, "-s", "--", "sh", "-c", "exit 5"]);
        let inside = if init == "tini" {
            inside
        } else {
            run.clone().command([init, "--", "sh", "-c", "exit 5"])
        };
        assert_eq!(status_of(&inside).code(), Some(5));
        let built = run.clone().shell("exit 6").build();
        let mut outside = Command::new(init);
        outside.arg("--").arg(built.get_program()).args(built.get_args()).env_clear();
        outside.envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
        assert_eq!(
            outside.stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it runs").code(),
            Some(6)
        );
    });
}

// tini 7, A46, B8
#[test]
fn a_wrong_command_line_is_64_and_starts_nothing() {
    for options in [&["--no-such-option"][..], &["--addr"], &["--upcase=maybe", "x"], &["-x"]] {
        let mut command = run().build_of(&binary());
        let mut plain = Command::new(command.get_program());
        plain.args(options);
        command = plain;
        let ended = Ended::of(command.stdin(Stdio::null()).env_clear().output().expect("it runs"));
        assert_eq!(
            (ended.code, ended.text().as_str()),
            (Some(64), ""),
            "{options:?}: {}",
            ended.stderr
        );
    }
    let nothing: [&str; 0] = [];
    assert_eq!(run().command(nothing).end().code, Some(64));
    let mut bare = Command::new(binary());
    assert_eq!(bare.stdin(Stdio::null()).output().expect("it runs").status.code(), Some(64));
    let mut nameless = Command::new(binary());
    nameless.arg0("").args(["--", "sh", "-c", "exit 3"]);
    assert_eq!(nameless.output().expect("it runs").status.code(), Some(3));
}
