//! The suite as a proof that nothing leaks: with `VAULT_EXEC_LEAKS=1` every run logs at trace
//! level, and its stderr is searched for all credentials and values that the tests of this process
//! know, and so is what servers were asked.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use test_vault::leaks::{are_sought, assert_none_asked, assert_none_in, mark};

use crate::support::Run;

/// What sets the level, in any layer but an env file.
const LEVEL: [&str; 3] = ["--log-level", "EXEC_LOG", "LOG_LEVEL"];
/// What the log says beyond the level that it has by default.
const BELOW_WARN: [&str; 3] = ["info", "debug", "trace"];

/// Variables without their prefix that have a credential, and with `_FILE` the name of a file that
/// has one.
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
/// Names of files that have one, beside those.
const FILES: [&str; 3] = ["TOKEN_PATH", "WEB_IDENTITY_TOKEN_FILE", "CLIENT_KEY"];

/// Whether a run says itself how much it logs: then it is left to it.
pub(crate) fn sets_level(run: &Run) -> bool {
    let is_level = |name: &str| LEVEL.contains(&name.split('=').next().unwrap_or_default());
    let is_there = || run.arguments().iter().any(|option| is_level(&option.to_string_lossy()));
    are_sought() && (is_there() || settings(run).iter().any(|(name, _)| is_level(bare(name))))
}

/// The variables of a run, and those of its env files.
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

/// The name of a variable without its owner.
fn bare(name: &str) -> &str {
    ["VAULT_", "BAO_", "AWS_"].iter().find_map(|owner| name.strip_prefix(owner)).unwrap_or(name)
}

/// Has a run log everything, and writes its credentials down.
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
    // The key of a certificate is in several lines.
    text.iter()
        .flat_map(|text| text.lines())
        .filter(|line| !line.starts_with('-'))
        .for_each(|line| mark(name, line));
}

/// What a file says, if it is one: a FIFO would be read in place of the start.
fn content(file: &Path) -> Option<String> {
    if file.is_file() { fs::read_to_string(file).ok() } else { None }
}

/// Whether its stdout is its own and not the application's.
pub(crate) fn prints_itself(run: &Run) -> bool {
    let prints = ["--check", "--print-policy", "--help", "--version"];
    run.arguments().iter().any(|option| prints.iter().any(|own| option == own))
}

/// Fails where something leaks into what a run has said, or has leaked into what a server was
/// asked.
pub(crate) fn search(what: &str, said: &[u8]) {
    assert_none_in(what, said);
    assert_none_asked();
}

/// What a run has said as if it had not been told to log everything: the lines of its log down to
/// level `warn`.
pub(crate) fn quiet(stderr: &str) -> String {
    let is_more = |line: &str| {
        let of_text = line.strip_prefix("vault-exec: ").and_then(|rest| rest.split(": ").next());
        let of_json = line.strip_prefix("{\"level\":\"").and_then(|rest| rest.split('"').next());
        of_text.or(of_json).is_some_and(|level| BELOW_WARN.contains(&level))
    };
    stderr.split_inclusive('\n').filter(|line| !are_sought() || !is_more(line)).collect()
}
