//! Runs the binary and reports the result.

pub(crate) mod application;
pub(crate) mod auth_mount;
pub(crate) mod aws_account;
pub(crate) mod controls;
pub(crate) mod launch;
pub(crate) mod leaks;
pub(crate) mod main_job;
pub(crate) mod metadata_server;
pub(crate) mod own_network;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use test_vault::Target;

/// Returns the binary under test. `VAULT_EXEC_BINARY` names a different one, such as the static
/// build.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("VAULT_EXEC_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_vault-exec").into())
        .into()
}

/// What every successful start prints when it runs [`Run::marker`].
pub(crate) const STARTED: &str = "the application runs";

/// One run of the binary, with nothing in its environment but PATH and what the test sets.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    environment: BTreeMap<OsString, OsString>,
    options: Vec<OsString>,
    command: Vec<OsString>,
}

/// Returns a run without options whose command prints its environment.
pub(crate) fn run() -> Run {
    let path = std::env::var_os("PATH").expect("a PATH");
    Run {
        environment: [("PATH".into(), path)].into(),
        options: Vec::new(),
        command: vec!["env".into(), "-0".into()],
    }
}

/// Returns a run with the address and the CA of a Vault.
pub(crate) fn run_at(target: &Target) -> Run {
    let run = run().env("VAULT_ADDR", target.addr());
    match target.ca_file() {
        Some(file) => run.env("VAULT_CACERT", file),
        None => run,
    }
}

impl Run {
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Run {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Run {
        self.environment.remove(OsStr::new(name));
        self
    }

    pub(crate) fn option(mut self, option: impl Into<OsString>) -> Run {
        self.options.push(option.into());
        self
    }

    pub(crate) fn options<T: Into<OsString>>(self, options: impl IntoIterator<Item = T>) -> Run {
        options.into_iter().fold(self, Run::option)
    }

    pub(crate) fn command<T: Into<OsString>>(
        mut self,
        command: impl IntoIterator<Item = T>,
    ) -> Run {
        self.command = command.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn shell(self, script: &str) -> Run {
        self.command(["sh", "-c", script])
    }

    /// Uses a command that prints [`STARTED`]: if that is not on stdout, the application was not
    /// started.
    pub(crate) fn marker(self) -> Run {
        self.shell(&format!("echo {STARTED}"))
    }

    /// Returns the environment that it is started in, for tests that start it in a different way.
    pub(crate) fn variables(&self) -> &BTreeMap<OsString, OsString> {
        &self.environment
    }

    /// Returns the arguments before the command.
    pub(crate) fn arguments(&self) -> &[OsString] {
        &self.options
    }

    /// Returns the command, for tests that do more than run it, such as with signals or
    /// descriptors.
    pub(crate) fn build(&self) -> Command {
        self.build_of(&binary())
    }

    /// Returns the command with another program in place of the binary.
    pub(crate) fn build_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(&self.environment)
            .args(&self.options)
            .arg("--")
            .args(&self.command);
        leaks::watch(self, &mut command);
        command
    }

    pub(crate) fn spawn(&self) -> Child {
        self.build()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs")
    }

    pub(crate) fn end(&self) -> Ended {
        self.ended(self.spawn().wait_with_output().expect("it ends"))
    }

    fn ended(&self, output: Output) -> Ended {
        if leaks::prints_itself(self) {
            leaks::search("stdout", &output.stdout);
        }
        let as_said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended = Ended::of(output);
        if leaks::sets_level(self) { Ended { stderr: as_said, ..ended } } else { ended }
    }

    pub(crate) fn end_with_input(&self, input: &[u8]) -> Ended {
        let mut command = self.build();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        // In its own thread: the output has to be read meanwhile, because a pipe holds little.
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input).expect("it reads"));
            self.ended(child.wait_with_output().expect("it ends"))
        })
    }

    /// Returns the environment that the application got. Fails if the start failed.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let ended = self.clone().command(["env", "-0"]).end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let text = String::from_utf8(ended.stdout).expect("UTF-8");
        let entries: Vec<&str> = text.split_terminator('\0').collect();
        let map: BTreeMap<String, String> = entries
            .iter()
            .map(|entry| entry.split_once('=').expect("NAME=value"))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        assert_eq!(map.len(), entries.len(), "a name came twice: {entries:?}");
        map
    }

    /// Returns the value of one of the application's variables.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.environment().remove(name)
    }

    /// Asserts that the start fails with `code`, prints each of `parts` on stderr, and does not
    /// start the application.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) -> Ended {
        let ended = self.clone().marker().end();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert_eq!(ended.text(), "", "the application was started");
        for part in parts {
            assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
        }
        ended
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Ended {
        leaks::search("stderr", &output.stderr);
        let stderr = leaks::quiet(&String::from_utf8_lossy(&output.stderr));
        Ended { code: output.status.code(), stdout: output.stdout, stderr }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn started(&self) -> bool {
        self.text().contains(STARTED)
    }
}

/// Returns what the application got besides PATH.
#[track_caller]
pub(crate) fn added(run: &Run) -> BTreeMap<String, String> {
    let mut environment = run.environment();
    environment.remove("PATH");
    environment
}

/// Returns names and values in the form of [`added`].
pub(crate) fn pairs(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Does something once a run has reported that it tries again, which must be the first thing that
/// it reports, and waits for its end.
pub(crate) fn once_it_tries_again(mut child: Child, then: impl FnOnce()) -> Ended {
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    while leaks::quiet(&said).is_empty() {
        assert!(
            stderr.read_line(&mut said).expect("a line") > 0,
            "it ended without a word: {said}"
        );
    }
    assert!(said.contains("trying again"), "{said}");
    then();
    stderr.read_to_string(&mut said).expect("UTF-8");
    leaks::search("stderr", said.as_bytes());
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    Ended { stderr: leaks::quiet(&said), ..ended }
}

/// Tries with more and more time until it is enough: on a busy machine a short deadline may be over
/// before a start has reached what it is supposed to wait for.
pub(crate) fn with_enough_time<T>(
    attempt: impl Fn(Duration) -> T,
    is_enough: impl Fn(&T) -> bool,
) -> T {
    let few = [2, 8].map(Duration::from_secs);
    let found = few.into_iter().map(&attempt).find(is_enough);
    found.unwrap_or_else(|| attempt(Duration::from_secs(32)))
}

/// Checks every case, many at once: most of them wait.
pub(crate) fn all_at_once<T: Send>(cases: impl IntoIterator<Item = T>, look: impl Fn(T) + Sync) {
    const MOST: usize = 24;
    let cases = Mutex::new(cases.into_iter().collect::<Vec<T>>().into_iter());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..MOST {
            scope.spawn(|| {
                while let Some(case) = next() {
                    look(case);
                }
            });
        }
    });
}

/// Makes a directory for a test, which is removed when it is dropped.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}
