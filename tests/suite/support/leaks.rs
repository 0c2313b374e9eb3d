//! Runs the suite as a proof that nothing leaks: with `VAULT_EXEC_LEAKS=1` every run logs at trace
//! level. Its stderr and the requests to servers are searched for all credentials and values that
//! the tests of this process know.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use test_vault::leaks::{are_sought, assert_none_asked, assert_none_in, mark};

use crate::support::Run;

/// The settings for the level, in any layer but an env file.
const LEVEL: [&str; 3] = ["--log-level", "EXEC_LOG", "LOG_LEVEL"];
/// The levels that are logged beyond the default.
const BELOW_WARN: [&str; 3] = ["info", "debug", "trace"];

/// Variables, without their prefix, that contain a credential; with `_FILE` they name a file that
/// contains one.
const CREDENTIALS: [&str; 9] = [
    "TOKEN",
    "ROLE_ID",
    "SECRET_ID",
    "WRAPPED_SECRET_ID",
    "JWT",
    "PASSWORD",
    "SECRET_ACCESS_KEY",
    "SESSION_TOKEN",
    "CONTAINER_AUTHORIZATION_TOKEN",
];
/// More variables that name a file with a credential.
const FILES: [&str; 3] = ["TOKEN_PATH", "WEB_IDENTITY_TOKEN_FILE", "CLIENT_KEY"];

/// Returns whether a run sets its own log level, which is then left as it is.
pub(crate) fn sets_level(run: &Run) -> bool {
    let is_level = |name: &str| LEVEL.contains(&name.split('=').next().unwrap_or_default());
    let is_there = || run.arguments().iter().any(|option| is_level(&option.to_string_lossy()));
    are_sought() && (is_there() || settings(run).iter().any(|(name, _)| is_level(bare(name))))
}

/// Returns the variables of a run, including those of its env files.
fn settings(run: &Run) -> Vec<(String, String)> {
    let variables = run.variables().iter().map(|(name, value)| (lossy(name), lossy(value)));
    let files =
        run.arguments().iter().chain(run.variables().get(OsStr::new("VAULT_EXEC_ENV_FILE")));
    let files: Vec<String> = files.filter_map(|file| content(Path::new(file))).collect();
    let lines = files.iter().flat_map(|text| text.lines());
    let pairs = lines.filter_map(|line| line.trim_start_matches("export ").split_once('='));
    let plain = |value: &str| {
        value.split('#').next().unwrap_or_default().trim_matches(['"', '\'', ' ']).to_owned()
    };
    variables.chain(pairs.map(|(name, value)| (name.to_owned(), plain(value)))).collect()
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// Returns the name of a variable without its prefix.
fn bare(name: &str) -> &str {
    ["VAULT_", "BAO_", "AWS_"].iter().find_map(|owner| name.strip_prefix(owner)).unwrap_or(name)
}

/// Makes a run log everything, and records its credentials.
pub(crate) fn watch(run: &Run, command: &mut Command) {
    if !are_sought() {
        return;
    }
    if !sets_level(run) {
        command.env("VAULT_EXEC_LOG", "trace");
    }
    for (name, value) in settings(run) {
        mark_setting(&name, &value);
    }
}

fn mark_setting(name: &str, value: &str) {
    let known = bare(name);
    if CREDENTIALS.contains(&known) {
        mark(name, value);
    }
    let is_file = FILES.contains(&known)
        || known.strip_suffix("_FILE").is_some_and(|name| CREDENTIALS.contains(&name));
    let text = if is_file { content(Path::new(value)) } else { None };
    // The key of a certificate spans several lines.
    text.iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.starts_with('-'))
        .for_each(|line| mark(name, line));
}

/// Returns the content of a regular file: a FIFO would be read in place of the start.
fn content(file: &Path) -> Option<String> {
    if file.is_file() { fs::read_to_string(file).ok() } else { None }
}

/// Returns whether its stdout is its own and not the application's.
pub(crate) fn prints_itself(run: &Run) -> bool {
    let prints = ["--check", "--print-policy", "--help", "--version"];
    run.arguments().iter().any(|option| prints.iter().any(|own| option == own))
}

/// Fails if something leaks into a run's output, or has leaked into a request to a server.
pub(crate) fn search(what: &str, said: &[u8]) {
    assert_none_in(what, said);
    assert_none_asked();
}

/// Returns a run's output as if it had not been told to log everything: only the log lines of level
/// `warn` and above.
pub(crate) fn quiet(stderr: &str) -> String {
    let is_more = |line: &str| {
        let of_text = line.strip_prefix("vault-exec: ").and_then(|rest| rest.split(": ").next());
        let of_json = line.strip_prefix("{\"level\":\"").and_then(|rest| rest.split('"').next());
        of_text.or(of_json).is_some_and(|level| BELOW_WARN.contains(&level))
    };
    stderr.split_inclusive('\n').filter(|line| !are_sought() || !is_more(line)).collect()
}
