//! Shows a whole start against the project's own Vault: what an operator sets up, and what the
//! container does then.
//!
//! `cargo run --package quickstart` starts a small application; `cargo run --package quickstart --
//! command …` starts that command, and ends with its exit code. With `--stay` in the place of a
//! command the server stays until the end of the input, and what is printed can be typed into
//! another terminal.

#![allow(clippy::print_stdout, reason = "it is there to show something")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use test_vault::{TestVault, json};

const PASSWORD: &str = "correct-horse-battery";
const POLICY: &str = r#"path "secret/data/app" { capabilities = ["read"] }"#;
/// The application, where the user names no other one.
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../app.py");
/// The root of the repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> ExitCode {
    let stays = env::args_os().skip(1).eq(["--stay"]);
    let vault = TestVault::builder();
    // A certificate would have to be taken into the container.
    let vault = if stays { vault.start() } else { vault.https().start() };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret_id_file = directory.path().join("secret-id");
    if stays {
        println!("# steps 1 to 3 are done; to do them again, type this first");
        println!("export VAULT_ADDR={} VAULT_TOKEN={}\n", vault.addr(), vault.root_token());
    }
    let role_id = set_up(&vault, &secret_id_file);
    let settings = settings(&vault, role_id, &secret_id_file);
    println!("\n# 4. the container starts");
    if stays {
        println!("unset VAULT_TOKEN");
    }
    for (name, value) in &settings {
        println!("export {name}={}", quoted(&value.to_string_lossy()));
    }
    let program = binary();
    if stays {
        println!("{} -- {}", program.display(), words(&application(&[])));
        println!("\n# The server stays until this program's input ends: Control-D.");
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        return ExitCode::SUCCESS;
    }
    let ended = start(&program, settings);
    println!("\n# Vault was asked");
    for line in vault.lines() {
        println!("#   {line}");
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
    println!("#   {role_id}");
    println!("vault write -force -field=secret_id auth/approle/role/app/secret-id > secret-id");
    let secret_id = operator.secret_id("approle", "app", json!({}));
    let beginning: String = secret_id.chars().take(4).collect();
    println!("#   {beginning}…");
    // It is this user's alone, as `umask 077` would have it.
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(secret_id_file);
    file.and_then(|mut file| file.write_all(secret_id.as_bytes())).expect("the secret id's file");
    role_id
}

/// What a container is started with.
fn settings(
    vault: &TestVault,
    role_id: String,
    secret_id_file: &Path,
) -> Vec<(&'static str, OsString)> {
    let ca = vault.tls().map(|tls| ("VAULT_CACERT", tls.ca().into()));
    let settings: [(&str, OsString); 5] = [
        ("VAULT_ADDR", vault.addr().into()),
        ("VAULT_ROLE_ID", role_id.into()),
        ("VAULT_SECRET_ID_FILE", secret_id_file.into()),
        ("DB_USER", "vault:secret/app#user".into()),
        ("DB_PASSWORD", "vault:secret/app#password".into()),
    ];
    settings.into_iter().chain(ca).collect()
}

/// What a container does at its start.
fn start(program: &Path, settings: Vec<(&str, OsString)>) -> ExitStatus {
    let application = application(&env::args_os().skip(1).collect::<Vec<_>>());
    println!("{} -- {}\n", program.display(), words(&application));
    let mut command = Command::new(program);
    // Settings of whoever tries this are for another Vault.
    for (name, _) in env::vars_os().filter(|(name, _)| starts_with(name, &["VAULT_", "BAO_"])) {
        command.env_remove(name);
    }
    command.envs(settings).arg("--").args(application).status().expect("vault-exec runs")
}

/// The user's command, or a small application.
fn application(command: &[OsString]) -> Vec<OsString> {
    if !command.is_empty() {
        return command.to_owned();
    }
    let has_python =
        Command::new("python3").args(["-c", ""]).status().is_ok_and(|status| status.success());
    let app = fs::canonicalize(APP).expect("the application of the example");
    if has_python { vec!["python3".into(), app.into()] } else { vec!["env".into()] }
}

/// A command as a shell would have to be given it.
fn words(command: &[OsString]) -> String {
    let words: Vec<String> = command.iter().map(|word| quoted(&word.to_string_lossy())).collect();
    words.join(" ")
}

/// A word as a shell would have to be given it.
fn quoted(word: &str) -> String {
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

/// The real binary, which cargo puts into the same directory.
fn binary() -> PathBuf {
    let own = env::current_exe().expect("the path of this program");
    let directory = own.parent().expect("target/<profile>");
    let binary = directory.join("vault-exec");
    build(directory);
    assert!(binary.is_file(), "{} is not there: run cargo build", binary.display());
    binary
}

/// Builds the binary for the profile that this program was built with: `cargo run` builds this
/// package alone, and a binary that is there already may be older than the source. This package is
/// named too, so that the features of dependencies stay the same: cargo would build all of them
/// again for others.
fn build(directory: &Path) {
    let Some(cargo) = env::var_os("CARGO") else { return };
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "quickstart", "--package", "vault-exec"]);
    command.args(["--bins", "--profile", profile]).current_dir(ROOT);
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
