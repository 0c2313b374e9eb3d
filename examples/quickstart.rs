//! Shows a whole start against the project's own Vault: what an operator sets up, and what the
//! container does then.
//!
//! `cargo run --example quickstart` starts a small application; `cargo run --example quickstart --
//! command …` starts that command. It ends with the application's exit code.

#![allow(clippy::print_stdout, reason = "it is there to show something")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use test_vault::{TestVault, json};

const PASSWORD: &str = "correct-horse-battery";
const POLICY: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;
/// The application, where the user names no other one.
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/app.py");

fn main() -> ExitCode {
    let vault = TestVault::builder().https().start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret_id_file = directory.path().join("secret-id");
    let role_id = set_up(&vault, &secret_id_file);
    let ended = start(&vault, &role_id, &secret_id_file);
    println!("\n# Vault was asked");
    for line in vault.lines() {
        println!("{line}");
    }
    println!("\n# the application ended with {}", code(ended));
    ExitCode::from(code(ended))
}

/// What an operator does once for an application. The server has the KV v2 mount `secret/` from the
/// start, as every development server has.
fn set_up(vault: &TestVault, secret_id_file: &Path) -> String {
    let operator = vault.operator();
    println!(
        "# 1. the operator writes a secret, and a policy that allows reading it and nothing else"
    );
    println!(
        "# (a server that is not for development needs: vault secrets enable -path=secret kv-v2)"
    );
    println!("vault kv put secret/app user=ada password={PASSWORD}");
    operator.kv_put("secret", 2, "app", json!({ "user": "ada", "password": PASSWORD }));
    println!("echo '{POLICY}' | vault policy write app -");
    operator.policy("app", POLICY);

    println!(
        "\n# 2. a role for the application: its tokens have that policy and live for a short time"
    );
    println!("vault auth enable approle");
    operator.enable_approle("approle");
    println!(
        "vault write auth/approle/role/app token_policies=app token_ttl=5m secret_id_ttl=1h \
         secret_id_num_uses=10"
    );
    let role = json!({ "token_policies": "app", "token_ttl": "5m", "secret_id_ttl": "1h", "secret_id_num_uses": 10 });
    operator.approle_role("approle", "app", role);

    println!(
        "\n# 3. the role id says which application it is, the secret id proves it and goes into a \
         file"
    );
    println!("vault read -field=role_id auth/approle/role/app/role-id");
    let role_id = operator.role_id("approle", "app");
    println!("  {role_id}");
    println!("vault write -force -field=secret_id auth/approle/role/app/secret-id > secret-id");
    let secret_id = operator.secret_id("approle", "app", json!({}));
    let beginning: String = secret_id.chars().take(4).collect();
    println!("  {beginning}…");
    fs::write(secret_id_file, secret_id).expect("a file for the secret id");
    role_id
}

/// What a container does at its start.
fn start(vault: &TestVault, role_id: &str, secret_id_file: &Path) -> ExitStatus {
    let ca = vault.tls().expect("an https server").ca();
    let settings: [(&str, OsString); 6] = [
        ("VAULT_ADDR", vault.addr().into()),
        ("VAULT_CACERT", ca.into()),
        ("VAULT_ROLE_ID", role_id.into()),
        ("VAULT_SECRET_ID_FILE", secret_id_file.into()),
        ("DB_USER", "vault:secret/app#user".into()),
        ("DB_PASSWORD", "vault:secret/app#password".into()),
    ];
    println!("\n# 4. the container starts");
    for (name, value) in &settings {
        println!("export {name}={}", value.to_string_lossy());
    }
    let application = application();
    let shown: Vec<String> =
        application.iter().map(|word| shown(&word.to_string_lossy())).collect();
    println!("vault-exec -- {}\n", shown.join(" "));
    let mut command = Command::new(binary());
    // Settings of whoever tries this are for another Vault.
    for (name, _) in env::vars_os().filter(|(name, _)| starts_with(name, &["VAULT_", "BAO_"])) {
        command.env_remove(name);
    }
    command.envs(settings).arg("--").args(application).status().expect("vault-exec runs")
}

/// The user's command, or a small application.
fn application() -> Vec<OsString> {
    let command: Vec<OsString> = env::args_os().skip(1).collect();
    if !command.is_empty() {
        return command;
    }
    let has_python =
        Command::new("python3").args(["-c", ""]).status().is_ok_and(|status| status.success());
    if has_python { vec!["python3".into(), APP.into()] } else { vec!["env".into()] }
}

/// A word as a shell would have to be given it.
fn shown(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn starts_with(name: &OsStr, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// The real binary, which cargo puts into the directory above that of the examples.
fn binary() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let directory = own.parent().and_then(Path::parent).expect("target/<profile>/examples");
    let binary = directory.join("vault-exec");
    build(directory);
    assert!(binary.is_file(), "{} is not there: run cargo build", binary.display());
    binary
}

/// Builds the binary for the profile that this program was built with: `cargo run --example` does
/// not, and one that is there already may be older than the source. The example is named too, for
/// the features of dependencies to be the same as those that it was built with: cargo would build
/// all of them again, and put another binary in the place of the first.
fn build(directory: &Path) {
    let Some(cargo) = env::var_os("CARGO") else { return };
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--bin",
        "vault-exec",
        "--example",
        "quickstart",
        "--profile",
        profile,
    ]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    // What cargo tells a program about its package would make build scripts run again that look at
    // it, as ring's does.
    for (name, _) in
        env::vars_os().filter(|(name, _)| starts_with(name, &["CARGO_PKG_", "CARGO_MANIFEST_"]))
    {
        command.env_remove(name);
    }
    let built = command.status().is_ok_and(|status| status.success());
    assert!(built, "cargo build failed");
}

/// As a shell has it: 128+n where signal n ended the application.
fn code(ended: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
