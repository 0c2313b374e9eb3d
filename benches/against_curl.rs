//! `cargo bench`: the time of a whole start, beside `curl` making the same two requests over one connection.
//!
//! `VAULT_EXEC_BINARY` names another binary than the one that cargo builds. Takes hyperfine for the timing where it is
//! there.

#![allow(clippy::print_stdout, reason = "it is there to show something")]

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use test_vault::{Fault, TestVault, json};

const RUNS: usize = 200;
const WARM_UP: usize = 10;
const SECRETS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let vaults = [TestVault::start(), TestVault::builder().https().start()];
    let rivals = vaults.each_ref().map(rivals);
    for vault in &vaults {
        println!("{:5}  peak memory of a start with {SECRETS} secrets: {} kB", vault.scheme(), peak(vault));
    }
    println!("medians of {RUNS} runs, login by AppRole and one read:");
    for (vault, rivals) in vaults.iter().zip(&rivals) {
        let medians = with_hyperfine(rivals).unwrap_or_else(|| in_turn(rivals));
        let [ours, curls] = medians.map(|seconds| seconds * 1000.0);
        println!("{:5}  vault-exec {ours:.2} ms  curl {curls:.2} ms  ratio {:.2}", vault.scheme(), ours / curls);
    }
}

/// A command with its environment.
struct Rival {
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Rival {
    fn run(&self) {
        let (program, arguments) = self.words.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let status = command.stdout(Stdio::null()).status().expect("it starts");
        assert!(status.success(), "{} ended with {status}", self.words[0]);
    }
}

fn binary() -> PathBuf {
    env::var_os("VAULT_EXEC_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_vault-exec").into()).into()
}

/// The most memory that a start has had when it is about to become the application, in kB: read from the kernel while the
/// revocation of the token, which comes last, gets no answer. What `getrusage` tells counts the parent's memory too.
fn peak(vault: &TestVault) -> String {
    let operator = vault.operator();
    let token = operator.create_token(json!({ "policies": ["root"] }));
    let mut command = Command::new(binary());
    command.args(["--revoke=true", "--", "/bin/true"]).env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", token);
    command.envs(vault.tls().map(|files| ("VAULT_CACERT", files.ca())));
    for number in 0..SECRETS {
        operator.kv_put("secret", 2, &number.to_string(), json!({ "password": "s3cret" }));
        command.env(format!("SECRET_{number}"), format!("vault:secret/data/{number}#password"));
    }
    vault.fault("POST /v1/auth/token/revoke-self", Fault::Hang);
    let mut start = command.spawn().expect("it starts");
    assert!(vault.wait_for(|requests| requests.iter().any(|request| request.path.ends_with("/revoke-self")), PATIENCE));
    let status = std::fs::read_to_string(format!("/proc/{}/status", start.id())).expect("it waits");
    vault.clear_faults();
    start.kill().and_then(|()| start.wait()).expect("it ends");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells the peak");
    peak.trim().trim_end_matches(" kB").to_owned()
}

/// vault-exec and curl, making the same two requests.
fn rivals(vault: &TestVault) -> [Rival; 2] {
    let operator = vault.operator();
    operator.kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    operator.policy("app", r#"path "secret/data/app" { capabilities = ["read"] }"#);
    operator.enable_approle("approle");
    operator.approle_role("approle", "app", json!({ "token_policies": "app" }));
    let (role_id, secret_id) = (operator.role_id("approle", "app"), operator.secret_id("approle", "app", json!({})));
    let addr = vault.addr();
    let ca = vault.tls().map(|files| files.ca().display().to_string());

    let login = json!({ "role_id": role_id, "secret_id": secret_id }).to_string();
    let token = format!("X-Vault-Token: {}", vault.root_token());
    let common = |curl: &mut Vec<String>| {
        curl.extend(["--silent", "--fail", "--output", "/dev/null"].map(String::from));
        curl.extend(ca.iter().flat_map(|ca| ["--cacert".to_owned(), ca.clone()]));
    };
    let mut curl = vec!["curl".to_owned()];
    common(&mut curl);
    curl.extend(["--data".to_owned(), login, format!("{addr}/v1/auth/approle/login"), "--next".to_owned()]);
    common(&mut curl);
    curl.extend(["--header".to_owned(), token, format!("{addr}/v1/secret/data/app")]);

    let mut environment = vec![
        ("VAULT_ADDR", addr),
        ("VAULT_ROLE_ID", role_id),
        ("VAULT_SECRET_ID", secret_id),
        ("A", "vault:secret/data/app#password".to_owned()),
    ];
    environment.extend(ca.map(|ca| ("VAULT_CACERT", ca)));
    let ours = [binary().display().to_string().as_str(), "--revoke", "false", "--", "/bin/true"].map(String::from);
    [Rival { words: ours.to_vec(), environment }, Rival { words: curl, environment: Vec::new() }]
}

fn in_turn(rivals: &[Rival; 2]) -> [f64; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for run in 0..WARM_UP + RUNS {
        for (rival, times) in rivals.iter().zip(&mut times) {
            let began = Instant::now();
            rival.run();
            if run >= WARM_UP {
                times.push(began.elapsed().as_secs_f64());
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// The medians that hyperfine finds, if it is there.
fn with_hyperfine(rivals: &[Rival; 2]) -> Option<[f64; 2]> {
    let directory = tempfile::tempdir().expect("a directory");
    let results = directory.path().join("results.json");
    let mut command = Command::new("hyperfine");
    command.args(["--shell=none", "--style=none", "--warmup", &WARM_UP.to_string(), "--runs", &RUNS.to_string()]);
    command.arg("--export-json").arg(&results).stdout(Stdio::null()).stderr(Stdio::null());
    for rival in rivals {
        command.envs(rival.environment.iter().map(|(name, value)| (name, value)));
        command.arg(rival.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    }
    if !command.status().is_ok_and(|status| status.success()) {
        return None;
    }
    let results: Value = std::fs::read_to_string(results).ok()?.parse().ok()?;
    let median = |rival: usize| results["results"][rival]["median"].as_f64();
    Some([median(0)?, median(1)?])
}

fn quoted(word: &str) -> String {
    format!("'{word}'")
}
