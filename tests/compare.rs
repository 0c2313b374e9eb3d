//! vault-env and envconsul beside vault-exec, with the same values on one real server. Not part of
//! `cargo test`: it takes `bao` or `vault`, and `vault-env` and `envconsul`, on the `PATH`.
//!
//!     cargo test --test compare
//!
//! `compare/values.txt` has a value a line, as a JSON string, with what the two make of it before
//! it: `=` is the same, and a word the reason for a difference, which `REASONS` knows and the
//! documentation tells.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::{Command, Output};

use test_vault::{RealVault, json};

/// Words of `compare/values.txt`, and how `docs/migrating/vault-env.md` begins to tell them.
const REASONS: [(&str, &str); 15] = [
    ("json", "Lists and objects are JSON text"),
    ("v1", "A secret of KV v1 may have fields called `data` and `metadata`"),
    ("version", "A version is a number from 1"),
    ("short", "A path may lack `data/`"),
    ("url", "`vault://…` is text"),
    ("dots", "`.` and `..` in a path are errors"),
    ("around", "A reference in quotes, behind a blank or in capitals is an error"),
    ("more", "`bao:`, `vault?:` and `:-default` mean something"),
    ("broken", "What begins as a reference and is none is an error"),
    ("braces", "Inline, a `}` behind a reference is text, and a template may have text around it"),
    ("missing", "a missing field is missing instead of `<no value>`"),
    ("base64", "what is no base64 is an error instead of a message as the value"),
    ("functions", "Templates have the [functions](../references.md) that work on text"),
    ("text", "Numbers and booleans are taken where a function takes text"),
    ("wrapped", "An answer without `data` in it, such as that of `sys/health`, is an error"),
];

const SECRET: &str = r#"{"user":"ada","password":"p@s s/\"\\<&>%","port":5432,"debug":false,
    "note":null,"empty":"","list":["x","y"],"obj":{"a":1,"b":{"c":"deep"}},"dotted.key":"dot",
    "dash-key":"dash","sp ace":" s ","/slash":"sl","float":1.50,"neg":-3,"zero":0,
    "big":123456789012345678901234567890,"exp":1e+5,"uni":"ä ß Straße ǆ 漢",
    "multi":" l1\n\tl2 \n","json":"{\"k\":\"v\",\"n\":1.50}","url":"https://h/?a=b&c=<d>/",
    "b64":"aGVsbG8="}"#;

/// What a program makes of a value.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Value(Vec<u8>),
    Absent,
    Error,
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The server with everything that the values name, if the programs are there.
fn server(program: &str) -> Option<&'static RealVault> {
    let real = RealVault::http().filter(|_| on_path(program));
    if real.is_none() {
        eprintln!("not run: a server and {program} are not both on the PATH");
    }
    real
}

fn prepare(real: &RealVault) -> BTreeMap<&'static str, String> {
    let operator = real.operator();
    operator.enable_kv("kv1", 1);
    operator.enable_transit("transit");
    operator.transit_key("transit", "app");
    let secret: serde_json::Value = SECRET.parse().expect("JSON");
    operator.kv_put("kv1", 1, "app", secret.clone());
    operator.kv_put("kv1", 1, "data/app", json!({"k": "one"}));
    operator.kv_put("kv1", 1, "looks", json!({"data": "x", "metadata": "y"}));
    let looks = json!({"data": {"k": "inner"}, "metadata": {"version": 1}});
    operator.kv_put("kv1", 1, "looksv2", looks);
    operator.kv_put("secret", 2, "app", json!({"user": "old"}));
    operator.kv_put("secret", 2, "app", secret);
    for (path, data) in [
        ("team/data/app", json!({"k": "own"})),
        ("with%20space", json!({"k": "blank"})),
        ("with%2520space", json!({"k": "percent"})),
        ("pct%25", json!({"k": "at the end"})),
        ("%C3%BC", json!({"k": "umlaut"})),
        ("empty", json!({})),
        ("del", json!({"k": "v"})),
        ("destroyed", json!({"k": "v"})),
    ] {
        operator.kv_put("secret", 2, path, data);
    }
    operator.write("secret/delete/del", json!({"versions": [1]}));
    operator.write("secret/destroy/destroyed", json!({"versions": [1]}));
    let ciphertext = operator.encrypt("transit", "app", "plain text");
    let (start, end) = ciphertext.split_at(ciphertext.len() - 6);
    let other = if end.starts_with('A') { "B" } else { "A" };
    let broken = format!("{start}{other}{}", &end[1..]);
    let odd = operator.encrypt("transit", "app", "}\"#");
    [("@C@", ciphertext), ("@D@", odd), ("@B@", broken)].into()
}

fn outcome(real: &RealVault, program: &Path, value: &str) -> Outcome {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(["printenv", "X"])
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("VAULT_ADDR", real.addr())
        .env("VAULT_TOKEN", real.root_token())
        .env("VAULT_LOG_LEVEL", "error")
        .env("VAULT_TRANSIT_KEY_ID", "app")
        .env("VAULT_TRANSIT_PATH", "transit")
        .env("VAULT_TRANSIT_BATCH_SIZE", "25")
        .env("X", value)
        .output()
        .expect("the program runs");
    let stderr = String::from_utf8_lossy(&stderr);
    let has_failed = stderr.contains("level=ERROR") || stderr.contains("vault-exec: error");
    match status.code() {
        _ if has_failed => Outcome::Error,
        Some(0) => Outcome::Value(stdout),
        Some(1) if stdout.is_empty() => Outcome::Absent,
        _ => Outcome::Error,
    }
}

/// vault-env gives a variable with a ciphertext to the application twice.
fn is_same(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Outcome::Value(one), Outcome::Value(other)) => one == other || *one == other.repeat(2),
        _ => one == other,
    }
}

#[test]
fn every_value_is_what_vault_env_makes_of_it_or_documented() {
    let Some(real) = server("vault-env") else { return };
    let replacements = prepare(real);
    let table = include_str!("compare/values.txt");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for line in table.lines().filter(|line| !line.is_empty()) {
        let (reason, value) = line.split_once(' ').expect("a reason and a value");
        let mut value: String = serde_json::from_str(value).expect(line);
        for (name, with) in &replacements {
            value = value.replace(name, with);
        }
        let theirs = outcome(real, Path::new("vault-env"), &value);
        let ours = outcome(real, Path::new(env!("CARGO_BIN_EXE_vault-exec")), &value);
        seen += 1;
        if is_same(&theirs, &ours) != (reason == "=") {
            wrong.push(format!("{line}\n  vault-env:  {theirs:?}\n  vault-exec: {ours:?}"));
        }
        assert!(reason == "=" || REASONS.iter().any(|(known, _)| *known == reason), "{line}");
    }
    assert!(seen >= 300 && wrong.is_empty(), "{seen} values\n{}", wrong.join("\n"));
}

#[test]
fn every_reason_for_a_difference_is_documented_and_has_a_value() {
    let page = include_str!("../docs/migrating/vault-env.md");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for (reason, words) in REASONS {
        assert!(page.contains(words), "{words}");
        let table = include_str!("compare/values.txt");
        assert!(table.lines().any(|line| line.starts_with(&format!("{reason} "))), "{reason}");
    }
}

/// The variables that a command gets beside the few that it has anyway.
fn variables(command: &mut Command) -> BTreeMap<String, String> {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let own = ["PATH", "_", "PWD", "HOME"];
    pairs
        .filter(|(name, _)| !own.contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn imported_names_are_those_of_envconsul() {
    let Some(real) = server("envconsul") else { return };
    let operator = real.operator();
    operator.enable_kv("names", 1);
    let secret =
        json!({"user": "ada", "db-host": "h", "db.port": "5432", "UPPER": "u", "a_b1": "x"});
    operator.kv_put("names", 1, "app", secret);
    for (theirs, ours) in [
        (&["-no-prefix"][..], &["--secret=names/app"][..]),
        (&["-no-prefix", "-upcase"], &["--secret=names/app", "--upcase"]),
        (&["-no-prefix", "-sanitize"], &["--secret=names/app", "--sanitize"]),
        (
            &["-no-prefix", "-sanitize", "-upcase"],
            &["--secret=names/app", "--sanitize", "--upcase"],
        ),
        (&["-sanitize"], &["--secret=names_app_*=names/app", "--sanitize"]),
        (&["-sanitize", "-upcase"], &["--secret=names_app_*=names/app", "--sanitize", "--upcase"]),
    ] {
        let path = env::var_os("PATH").unwrap_or_default();
        let expected = variables(
            Command::new("timeout")
                .args(["20", "envconsul", "-once", "-pristine", "-vault-renew-token=false"])
                .args(["-secret", "names/app", "-log-level=err"])
                .arg(format!("-vault-addr={}", real.addr()))
                .arg(format!("-vault-token={}", real.root_token()))
                .args(theirs)
                // Of more than one word it makes a shell's command, and a shell drops odd names.
                .arg("env")
                .env_clear()
                .env("PATH", &path),
        );
        let found = variables(
            Command::new(env!("CARGO_BIN_EXE_vault-exec"))
                .args(ours)
                .args(["--", "env"])
                .env_clear()
                .env("PATH", &path)
                .env("VAULT_ADDR", real.addr())
                .env("VAULT_TOKEN", real.root_token()),
        );
        assert_eq!(found, expected, "{theirs:?}");
    }
}
