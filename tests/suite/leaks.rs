//! The suite as a proof that nothing leaks: with `VAULT_EXEC_LEAKS=1` every run logs at trace level, and its stderr is
//! searched for all credentials and values that the tests of this process know, and so is what servers were asked.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use test_vault::Value;
use test_vault::leaks::{Marks, are_sought, assert_none_asked, assert_none_in, mark};

use crate::launch::{FETCHED, Served, executable};
use crate::support::{Run, binary, directory};

/// What sets the level, in any layer but an env file.
const LEVEL: [&str; 3] = ["--log-level", "EXEC_LOG", "LOG_LEVEL"];
/// What the log says beyond the level that it has by default.
const BELOW_WARN: [&str; 3] = ["info", "debug", "trace"];

/// Variables without their prefix that have a credential, and with `_FILE` the name of a file that has one.
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
    let files = run.arguments().iter().chain(run.variables().get(OsStr::new("VAULT_EXEC_ENV_FILE")));
    let files: Vec<String> = files.filter_map(|file| content(Path::new(file))).collect();
    let lines = files.iter().flat_map(|text| text.lines());
    let pairs = lines.filter_map(|line| line.trim_start_matches("export ").split_once('='));
    let plain = |value: &str| value.split('#').next().unwrap_or_default().trim_matches(['"', '\'', ' ']).to_owned();
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
    let is_file = FILES.contains(&known) || known.strip_suffix("_FILE").is_some_and(|name| CREDENTIALS.contains(&name));
    let text = if is_file { content(Path::new(value)) } else { None };
    // The key of a certificate is in several lines.
    text.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('-')).for_each(|line| mark(name, line));
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

/// Fails where something leaks into what a run has said, or has leaked into what a server was asked.
pub(crate) fn search(what: &str, said: &[u8]) {
    assert_none_in(what, said);
    assert_none_asked();
}

/// What a run has said as if it had not been told to log everything: the lines of its log down to level `warn`.
pub(crate) fn quiet(stderr: &str) -> String {
    let is_more = |line: &str| {
        let of_text = line.strip_prefix("vault-exec: ").and_then(|rest| rest.split(": ").next());
        let of_json = line.strip_prefix("{\"level\":\"").and_then(|rest| rest.split('"').next());
        of_text.or(of_json).is_some_and(|level| BELOW_WARN.contains(&level))
    };
    stderr.split_inclusive('\n').filter(|line| !are_sought() || !is_more(line)).collect()
}

/// A value with all that one encoding or the other changes.
const VALUE: &str = "Zm/9+q\"r8Kx 3vLw7=TnB5&yHd2<PcJ4";

fn is_found(text: &str) -> bool {
    let mut marks = Marks::default();
    marks.add("value", VALUE);
    !marks.find(text.as_bytes()).is_empty()
}

#[test]
fn a_value_and_each_half_of_it_are_found_in_every_form() {
    let (first, second) = VALUE.split_at(VALUE.len() / 2);
    for value in [VALUE, first, second] {
        assert!(is_found(&format!("vault-exec: trace: {value}.")), "{value}");
        assert!(is_found(&Value::from(value).to_string()), "{value}");
        assert!(is_found(&percent_encoded(value)), "{value}");
        for before in ["", "a", "ab", "abc", "abcd"] {
            for behind in ["", "x", "xy"] {
                let whole = format!("{before}{value}{behind}");
                assert!(is_found(&STANDARD.encode(&whole)) && is_found(&URL_SAFE_NO_PAD.encode(&whole)), "{whole}");
            }
        }
    }
}

/// As in a path: every byte that is no letter and no digit.
fn percent_encoded(value: &str) -> String {
    let encode = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") };
    value.bytes().map(encode).collect()
}

#[test]
fn what_is_something_else_or_too_short_is_not_found() {
    assert!(!is_found("") && !is_found(&VALUE[..8]) && !is_found("vault-exec: trace: GET /v1/secret/data/app"));
    let mut marks = Marks::default();
    marks.add("short", "password");
    assert!(marks.find(b"a password").is_empty());
}

#[test]
fn a_start_at_trace_level_gets_what_it_wants() {
    let served = Served::http();
    assert_eq!(served.with_approle().value("PASSWORD").as_deref(), Some(FETCHED));
}

/// Puts a request on the connection of a shell; `$1` has a place in it.
const ASK: &str = r#"address=${VAULT_ADDR#http://}
exec 3<>/dev/tcp/${address/://}
printf "$1" "$VAULT_SECRET_ID" >&3
head -c 1 <&3 >/dev/null
exec 3>&-
"#;

/// What a start would do that leaks, as bash has it.
fn leaking() -> Vec<(&'static str, String)> {
    let asking = |request: &str| ASK.replace("$1", request);
    vec![
        ("a line of the log", "echo \"vault-exec: trace: $VAULT_SECRET_ID\" >&2".to_owned()),
        ("a half", "echo \"${VAULT_ROLE_ID:0:18}\" >&2".to_owned()),
        ("base64", "printf 'id:%s' \"$VAULT_SECRET_ID\" | base64 --wrap=0 >&2".to_owned()),
        ("a value", format!("echo {FETCHED} >&2")),
        ("a URL", asking("GET /v1/sys/health?x=%s HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")),
        ("a header", asking("GET /v1/sys/health HTTP/1.1\\r\\nhost: x\\r\\nreferer: %s\\r\\n\\r\\n")),
    ]
}

/// The control: without it nobody would know that the mode can find anything.
#[test]
fn each_kind_of_leak_makes_a_test_fail_in_this_mode_and_in_it_alone() {
    for (what, leak) in leaking() {
        let directory = directory();
        let script = format!("#!/bin/bash\n{leak}\nexec {} \"$@\"\n", binary().display());
        let program = executable(directory.path(), "vault-exec", script.as_bytes());
        let test = |mode: &str| {
            let mut tests = Command::new(std::env::current_exe().expect("the tests"));
            tests.args(["--exact", "leaks::a_start_at_trace_level_gets_what_it_wants"]);
            let output = tests.env("VAULT_EXEC_BINARY", &program).env("VAULT_EXEC_LEAKS", mode).output();
            output.expect("they run")
        };
        let (without, within) = (test("0"), test("1"));
        let shown = String::from_utf8_lossy(&within.stdout);
        assert!(without.status.success(), "{what}: {}", String::from_utf8_lossy(&without.stdout));
        assert!(!within.status.success() && shown.contains("a leak of"), "{what}: {shown}");
    }
}
