//! The static binary as the ENTRYPOINT of an image `FROM scratch`. Not part of `cargo test`: `.ci/container` starts a
//! daemon and runs this with `DOCKER_HOST` and `VAULT_EXEC_BINARY`.

use std::env;
use std::fs;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use test_vault::{Fault, Matcher, TestVault, json};

const IMAGE: &str = "vault-exec-test";
const DOCKERFILE: &str = "FROM scratch\n\
    COPY vault-exec /vault-exec\n\
    ENTRYPOINT [\"/vault-exec\", \"--\"]\n\
    CMD [\"/vault-exec\", \"--version\"]\n";
const PRINTED: &str = concat!("vault-exec ", env!("CARGO_PKG_VERSION"), "\n");
/// What Docker waits between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);

fn docker(arguments: &[&str]) -> Output {
    Command::new("docker").args(arguments).env("DOCKER_BUILDKIT", "0").output().expect("docker runs")
}

#[track_caller]
fn must(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn build() {
    let binary = env::var_os("VAULT_EXEC_BINARY").expect("VAULT_EXEC_BINARY is not set: run .ci/container");
    let context = tempfile::tempdir().expect("a directory");
    fs::copy(binary, context.path().join("vault-exec")).expect("the binary");
    fs::write(context.path().join("Dockerfile"), DOCKERFILE).expect("a Dockerfile");
    must(&["build", "--tag", IMAGE, context.path().to_str().expect("UTF-8")]);
}

/// `docker run` with the settings for a Vault on this machine, and a reference.
fn run<'a>(vault: &TestVault, options: &[&'a str], command: &[&'a str]) -> Vec<String> {
    let settings = [
        format!("VAULT_ADDR={}", vault.addr()),
        format!("VAULT_TOKEN={}", vault.root_token()),
        "A=vault:secret/app#password".to_owned(),
    ];
    let mut words: Vec<String> =
        ["run", "--network", "host"].into_iter().chain(options.iter().copied()).map(String::from).collect();
    words.extend(settings.into_iter().flat_map(|setting| ["--env".to_owned(), setting]));
    words.push(IMAGE.to_owned());
    words.extend(command.iter().map(ToString::to_string));
    words
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

#[test]
fn an_image_from_scratch_starts_stops_and_says_what_is_missing() {
    build();
    assert_eq!(must(&["run", "--rm", "--network", "none", IMAGE]), PRINTED);
    assert_eq!(docker(&["run", "--rm", "--network", "none", IMAGE, "/nothing"]).status.code(), Some(127));

    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    assert_eq!(must(&words(&run(&vault, &["--rm"], &[]))), PRINTED);
    assert!(vault.lines().iter().any(|line| line == "GET /v1/secret/data/app"), "{:?}", vault.lines());

    stops_while_it_waits(&vault);
}

/// As PID 1 it has to take the signal itself: the kernel drops one that PID 1 has no handler for.
fn stops_while_it_waits(vault: &TestVault) {
    vault.clear();
    vault.fault(Matcher::any(), Fault::Hang);
    let container = must(&words(&run(vault, &["--detach"], &[])));
    let container = container.trim();
    assert!(vault.wait_for(|requests| !requests.is_empty(), Duration::from_secs(20)), "nothing was asked");
    // The request is there; the client waits for its answer now.
    thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    must(&["stop", container]);
    let took = began.elapsed();
    let code = must(&["wait", container]);
    must(&["rm", container]);
    assert_eq!(code.trim(), "143");
    assert!(took < GRACE / 2, "{took:?}");
}
