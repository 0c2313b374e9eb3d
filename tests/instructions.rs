//! How many instructions a start takes: what tells of work that need not be there, on a busy
//! machine too. Not part of `cargo test`: `.ci/static` runs it with `VAULT_EXEC_BINARY`, the static
//! binary. Needs valgrind.

use std::env;
use std::process::Command;

use test_vault::{TestVault, json};

/// What the counts may differ by, in percent: another compiler, other random numbers.
const MARGIN: u64 = 4;
const SECRETS: usize = 50;

/// A start, and the instructions that it took when it was last looked at, in thousands.
struct Start {
    name: &'static str,
    expected: u64,
    scheme: Option<&'static str>,
    secrets: usize,
}

const STARTS: [Start; 5] = [
    Start { name: "nothing to fetch", expected: 418, scheme: None, secrets: 0 },
    Start { name: "one secret over http", expected: 1_741, scheme: Some("http"), secrets: 1 },
    Start {
        name: "fifty secrets over http",
        expected: 15_711,
        scheme: Some("http"),
        secrets: SECRETS,
    },
    Start { name: "one secret over https", expected: 5_076, scheme: Some("https"), secrets: 1 },
    Start {
        name: "fifty secrets over https",
        expected: 19_846,
        scheme: Some("https"),
        secrets: SECRETS,
    },
];

/// A Vault with secrets, and the settings of a start that logs in to it.
fn settings(vault: &TestVault) -> Vec<(&'static str, String)> {
    let operator = vault.operator();
    for secret in 0..SECRETS {
        operator.kv_put("secret", 2, &format!("s{secret}"), json!({ "k": "v" }));
    }
    operator.policy("app", "path \"secret/data/*\" { capabilities = [\"read\"] }");
    operator.enable_approle("approle");
    operator.approle_role("approle", "app", json!({ "token_policies": "app" }));
    let mut settings = vec![
        ("VAULT_ADDR", vault.addr()),
        ("VAULT_ROLE_ID", operator.role_id("approle", "app")),
        ("VAULT_SECRET_ID", operator.secret_id("approle", "app", json!({}))),
    ];
    settings.extend(vault.tls().map(|files| ("VAULT_CACERT", files.ca().display().to_string())));
    settings
}

/// The instructions of a start that does everything but exec: valgrind's count would end with that.
fn counted(start: &Start, settings: &[(&'static str, String)]) -> u64 {
    let binary =
        env::var_os("VAULT_EXEC_BINARY").expect("VAULT_EXEC_BINARY is not set: run .ci/static");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(binary).arg("--check");
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    for secret in 0..start.secrets {
        command.env(format!("S{secret}"), format!("vault:secret/data/s{secret}#k"));
    }
    let output = command.output().expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", start.name);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).expect("a count");
    collected.1.trim().parse::<u64>().expect("a number") / 1000
}

#[test]
fn starts_take_as_many_instructions_as_they_did() {
    let vaults = [TestVault::start(), TestVault::builder().https().start()];
    let all = vaults.each_ref().map(|vault| (vault.scheme(), settings(vault)));
    let mut wrong = Vec::new();
    for start in &STARTS {
        let of_scheme = all.iter().find(|(scheme, _)| Some(*scheme) == start.scheme);
        let found = counted(start, of_scheme.map_or(&[], |(_, settings)| settings));
        println!("{}: {found} thousand instructions", start.name);
        if found.abs_diff(start.expected) * 100 > start.expected * MARGIN {
            wrong.push(format!("{}: {found}, not {}", start.name, start.expected));
        }
    }
    assert!(
        wrong.is_empty(),
        "in thousands: {wrong:#?}\nwhere that is right, correct the numbers in this file"
    );
}
