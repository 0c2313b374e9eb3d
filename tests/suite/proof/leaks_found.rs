//! What the search for leaks finds, and that a test of the suite fails if something leaks.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use test_vault::Value;
use test_vault::leaks::Marks;

use crate::support::launch::{FETCHED, Served, executable};
use crate::support::{binary, directory};

/// A value with everything that one encoding or another changes.
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
                assert!(
                    is_found(&STANDARD.encode(&whole)) && is_found(&URL_SAFE_NO_PAD.encode(&whole)),
                    "{whole}"
                );
            }
        }
    }
}

/// Encodes as in a path: every byte that is neither a letter nor a digit.
fn percent_encoded(value: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }
    };
    value.bytes().map(encode).collect()
}

#[test]
fn what_is_something_else_or_too_short_is_not_found() {
    assert!(
        !is_found("")
            && !is_found(&VALUE[..8])
            && !is_found("vault-exec: trace: GET /v1/secret/data/app")
    );
    let mut marks = Marks::default();
    marks.add("short", "password");
    assert!(marks.find(b"a password").is_empty());
}

#[test]
fn a_start_at_trace_level_gets_what_it_wants() {
    let served = Served::http();
    assert_eq!(served.with_approle().value("PASSWORD").as_deref(), Some(FETCHED));
}

/// Sends a request over a shell's connection; `$1` is inserted into it.
const ASK: &str = r#"address=${VAULT_ADDR#http://}
exec 3<>/dev/tcp/${address/://}
printf "$1" "$VAULT_SECRET_ID" >&3
head -c 1 <&3 >/dev/null
exec 3>&-
"#;

/// Returns what a leaking start would do, in bash.
fn leaking() -> Vec<(&'static str, String)> {
    let asking = |request: &str| ASK.replace("$1", request);
    vec![
        ("a line of the log", "echo \"vault-exec: trace: $VAULT_SECRET_ID\" >&2".to_owned()),
        ("a half", "echo \"${VAULT_ROLE_ID:0:18}\" >&2".to_owned()),
        ("base64", "printf 'id:%s' \"$VAULT_SECRET_ID\" | base64 --wrap=0 >&2".to_owned()),
        ("a value", format!("echo {FETCHED} >&2")),
        ("a URL", asking("GET /v1/sys/health?x=%s HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n")),
        (
            "a header",
            asking("GET /v1/sys/health HTTP/1.1\\r\\nhost: x\\r\\nreferer: %s\\r\\n\\r\\n"),
        ),
    ]
}

/// The control: without it nobody would know that this mode can find anything.
#[test]
fn each_kind_of_leak_makes_a_test_fail_in_this_mode_and_in_it_alone() {
    for (what, leak) in leaking() {
        let directory = directory();
        let script = format!("#!/bin/bash\n{leak}\nexec {} \"$@\"\n", binary().display());
        let program = executable(directory.path(), "vault-exec", script.as_bytes());
        let test = |mode: &str| {
            let mut tests = Command::new(std::env::current_exe().expect("the tests"));
            tests
                .args(["--exact", "proof::leaks_found::a_start_at_trace_level_gets_what_it_wants"]);
            let output =
                tests.env("VAULT_EXEC_BINARY", &program).env("VAULT_EXEC_LEAKS", mode).output();
            output.expect("they run")
        };
        let (without, within) = (test("0"), test("1"));
        let shown = String::from_utf8_lossy(&within.stdout);
        assert!(without.status.success(), "{what}: {}", String::from_utf8_lossy(&without.stdout));
        assert!(!within.status.success() && shown.contains("a leak of"), "{what}: {shown}");
    }
}
