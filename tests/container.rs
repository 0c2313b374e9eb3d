//! The static binary as the ENTRYPOINT of an image `FROM scratch`. Not part of `cargo test`:
//! `.ci/container` starts a daemon and runs this with `DOCKER_HOST` and `VAULT_EXEC_BINARY`.

#[path = "suite/docs/shell.rs"]
mod shell;
#[path = "suite/process/signals_while_waiting.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod signals_while_waiting;
#[path = "suite/support/mod.rs"]
#[allow(dead_code, reason = "the suite uses all of it")]
mod support;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use test_vault::{Fault, KubernetesApi, Matcher, TestVault, json};

use shell::Shell;
use signals_while_waiting::{Waiting, all_end_at_once};
use support::Run;
use support::launch::{PATIENCE, eventually};

const IMAGE: &str = "vault-exec-test";
const DOCKERFILE: &str = "FROM scratch\nCOPY vault-exec application /\nENTRYPOINT \
                          [\"/vault-exec\", \"--\"]\nCMD [\"/vault-exec\", \"--version\"]\n";
/// The page of the documentation whose examples are typed into a shell.
const PAGE: &str = include_str!("../docs/docker.md");
/// The address of Vault in those examples.
const SHOWN_ADDRESS: &str = "http://127.0.0.1:8200";
const PRINTED: &str = concat!("vault-exec ", env!("CARGO_PKG_VERSION"), "\n");
/// What a stop may take longer than that of the application alone: Docker waits for ten seconds
/// between TERM and KILL.
const MARGIN: Duration = Duration::from_secs(2);
/// An application that ends with 42 when it is told to, as PID 1 too.
const APPLICATION: &str = "
#include <signal.h>
#include <unistd.h>
static void end(int signal) { (void)signal; _exit(42); }
int main(void) { signal(SIGTERM, end); return write(1, \"ready\\n\", 6) == 6 ? pause(), pause() : \
                           1; }
";

/// Docker, or what `CONTAINER_ENGINE` names, such as Podman: they have the same commands.
fn engine() -> Command {
    Command::new(env::var_os("CONTAINER_ENGINE").unwrap_or_else(|| "docker".into()))
}

fn docker(arguments: &[&str]) -> Output {
    engine().args(arguments).env("DOCKER_BUILDKIT", "0").output().expect("docker runs")
}

#[track_caller]
fn must(arguments: &[&str]) -> String {
    let output = docker(arguments);
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The image, with the binary and the application, built once.
fn build() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let binary = env::var_os("VAULT_EXEC_BINARY")
            .expect("VAULT_EXEC_BINARY is not set: run .ci/container");
        let context = tempfile::tempdir().expect("a directory");
        let at = |name: &str| context.path().join(name);
        fs::copy(binary, at("vault-exec")).expect("the binary");
        // As the images of the documentation have it: root's, and nobody else may read it.
        fs::set_permissions(at("vault-exec"), Permissions::from_mode(0o711)).expect("its owner");
        fs::write(at("Dockerfile"), DOCKERFILE).expect("a Dockerfile");
        fs::write(at("application.c"), APPLICATION).expect("a program");
        let mut compiler = Command::new("musl-gcc");
        let compiled = compiler
            .args(["-static", "-o"])
            .args([at("application"), at("application.c")])
            .output();
        assert!(compiled.expect("musl-gcc runs").status.success());
        must(&["build", "--tag", IMAGE, context.path().to_str().expect("UTF-8")]);
    });
}

/// `docker run` with the settings for a Vault on this machine, and a reference.
fn run<'a>(vault: &TestVault, options: &[&'a str], command: &[&'a str]) -> Vec<String> {
    let settings = [
        format!("VAULT_ADDR={}", vault.addr()),
        format!("VAULT_TOKEN={}", vault.root_token()),
        "A=vault:secret/app#password".to_owned(),
    ];
    let mut words: Vec<String> = ["run", "--network", "host"]
        .into_iter()
        .chain(options.iter().copied())
        .map(String::from)
        .collect();
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
    assert_eq!(
        docker(&["run", "--rm", "--network", "none", IMAGE, "/nothing"]).status.code(),
        Some(127)
    );

    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    assert_eq!(must(&words(&run(&vault, &["--rm"], &[]))), PRINTED);
    assert!(
        vault.lines().iter().any(|line| line == "GET /v1/secret/data/app"),
        "{:?}",
        vault.lines()
    );
}

/// The exit code of a container, and how long it took to stop it.
fn stopped(container: &str) -> (String, Duration) {
    let began = Instant::now();
    must(&["stop", container]);
    let took = began.elapsed();
    let code = must(&["wait", container]);
    must(&["rm", container]);
    (code.trim().to_owned(), took)
}

/// Starts a container, waits until `is_there`, and stops it; the shortest of some tries counts.
fn stop(words: &[String], is_there: impl Fn(&str) -> bool, code: &str) -> Duration {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let tries = (0..3).map(|_| {
        let container = must(&words);
        let container = container.trim();
        eventually("the container", || is_there(container).then_some(()));
        let (ended, took) = stopped(container);
        assert_eq!(ended, code, "{words:?}");
        took
    });
    tries.min().expect("some tries")
}

/// As PID 1 it has to take the signal itself: the kernel drops one that PID 1 has no handler for.
#[test]
fn a_stop_takes_no_longer_than_that_of_the_application_alone() {
    build();
    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    let is_ready = |container: &str| must(&["logs", container]) == "ready\n";
    let words = ["run", "--detach", "--network", "host", "--entrypoint", "/application", IMAGE];
    let alone = stop(&words.map(str::to_owned), is_ready, "42");

    let running = stop(&run(&vault, &["--detach"], &["/application"]), is_ready, "42");
    assert!(
        vault.lines().iter().any(|line| line == "GET /v1/secret/data/app"),
        "{:?}",
        vault.lines()
    );
    vault.fault(Matcher::any(), Fault::Hang);
    let asked = |_: &str| {
        let has_come = vault.wait_for(|requests| !requests.is_empty(), PATIENCE);
        vault.clear();
        has_come
    };
    vault.clear();
    let waiting = stop(&run(&vault, &["--detach"], &["/application"]), asked, "143");
    assert!(
        running < alone + MARGIN && waiting < alone + MARGIN,
        "{alone:?} alone, {running:?}, {waiting:?}"
    );
}

/// A container in the place of a start on this machine. Its files are where they are here.
fn contained(name: &str, run: &Run, resolver: Option<&Path>) -> Command {
    let built = run.clone().command(["/vault-exec", "--version"]).build();
    let mut command = engine();
    command.args([
        "run",
        "--rm",
        "--network",
        "host",
        "--name",
        name,
        "--entrypoint",
        "/vault-exec",
    ]);
    let files = env::temp_dir();
    command.arg("--volume").arg(format!("{0}:{0}", files.display()));
    if let Some(file) = resolver {
        command.arg("--volume").arg(format!("{}:/etc/resolv.conf", file.display()));
    }
    for (name, value) in built.get_envs().filter_map(|(name, value)| Some((name, value?))) {
        command.arg("--env").arg(format!("{}={}", name.to_string_lossy(), value.to_string_lossy()));
    }
    command.arg(IMAGE).args(built.get_args());
    command
}

/// The process of a container as the machine numbers it.
fn process_of(container: &str) -> Pid {
    eventually("the container's process", || {
        let output = docker(&["inspect", "--format", "{{.State.Pid}}", container]);
        let pid = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        (pid > 0).then(|| Pid::from_raw(pid))
    })
}

#[test]
fn each_ending_signal_ends_each_wait_at_once() {
    build();
    let count = AtomicUsize::new(0);
    let name = || format!("{IMAGE}-{}-{}", std::process::id(), count.load(Ordering::Relaxed));
    let begin = |run: &Run, resolver: Option<&Path>| {
        count.fetch_add(1, Ordering::Relaxed);
        contained(&name(), run, resolver)
    };
    all_end_at_once("each_ending_signal_ends_each_wait_at_once", &begin, |_: &Waiting| {
        process_of(&name())
    });
}

/// An image in the place of that which the documentation begins with, as none is pulled.
fn base_image() {
    let context = tempfile::tempdir().expect("a directory");
    let programs = context.path().join("bin");
    fs::create_dir(&programs).expect("a directory");
    let installed = Command::new("busybox").args(["--install", "-s"]).arg(&programs).status();
    assert!(installed.expect("busybox runs").success());
    // All of them are links to the place where it is on this machine.
    let busybox = fs::read_link(programs.join("sh")).expect("a link");
    let place = context.path().join(busybox.strip_prefix("/").expect("an absolute path"));
    fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
    let _ = fs::remove_file(&place);
    fs::copy(&busybox, &place).expect("busybox");
    // Debian's has none.
    let printenv = support::launch::executable(
        &programs,
        "printenv",
        b"#!/bin/sh\nenv | sed -n \"s/^$1=//p\"\n",
    );
    assert!(printenv.exists());
    let text = "FROM scratch\nCOPY . /\nENV PATH=/usr/bin:/bin\nCMD [\"/bin/sh\"]\n";
    fs::write(context.path().join("Dockerfile"), text).expect("a Dockerfile");
    must(&["build", "--tag", "alpine:3", context.path().to_str().expect("UTF-8")]);
}

/// What was printed, without what Docker says of its own builder.
fn without_deprecation(printed: &str) -> Vec<&str> {
    let mut is_said = false;
    let mut lines = printed.lines().collect::<Vec<_>>();
    lines.retain(|line| {
        is_said = line.starts_with("DEPRECATED: ") || is_said && line.starts_with("   ");
        !is_said && !line.is_empty()
    });
    lines
}

/// Its fenced blocks: what stands behind the fence, and the text.
fn blocks_of(page: &str) -> Vec<(&str, String)> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').expect("a line of its own"))
        .map(|(info, text)| (info, format!("{text}\n")))
        .collect()
}

#[test]
fn the_page_about_docker_shows_what_happens() {
    base_image();
    let vault = TestVault::start();
    let operator = vault.operator();
    operator.kv_put("secret", 2, "app", json!({ "user": "ada", "password": "correct-horse" }));
    operator.policy("app", "path \"secret/data/app\" { capabilities = [\"read\"] }");
    operator.enable_approle("approle");
    operator.approle_role("approle", "app", json!({ "token_policies": "app" }));
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::copy(env::var_os("VAULT_EXEC_BINARY").expect("a binary"), at("vault-exec")).expect("it");
    fs::write(at("role-id"), operator.role_id("approle", "app")).expect("a file");
    fs::write(at("secret-id"), operator.secret_id("approle", "app", json!({}))).expect("a file");
    fs::set_permissions(at("secret-id"), fs::Permissions::from_mode(0o400)).expect("its owner");

    let mut command = Command::new("sh");
    command.current_dir(directory.path()).env("DOCKER_BUILDKIT", "0");
    let mut shell = Shell::open(command);
    let mut examples = 0;
    for (info, text) in blocks_of(PAGE) {
        match info.split_once(' ') {
            Some(("console", "docker")) => {
                let text = text.replace(SHOWN_ADDRESS, &vault.addr());
                let commands: Vec<&str> =
                    text.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
                let expected: Vec<&str> =
                    text.lines().filter(|line| !line.starts_with("$ ")).collect();
                let printed = shell.type_in(&commands.join("\n"));
                assert_eq!(without_deprecation(&printed), expected, "{commands:#?}");
                examples += 1;
            }
            Some((_, name)) => fs::write(at(name), text).expect("a file"),
            None => {}
        }
    }
    assert!(examples > 8, "{examples}");
}

/// The tasks of a service read the secret id as the user that the example gives it to, and those
/// that an update starts do so as well.
#[test]
fn the_stack_for_swarm_starts_its_tasks() {
    const SWARM: &str = include_str!("../examples/swarm.yaml");
    build();
    let vault = TestVault::start();
    let operator = vault.operator();
    operator.kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    operator.policy("app", "path \"secret/data/app\" { capabilities = [\"read\"] }");
    operator.enable_approle("approle");
    operator.approle_role("approle", "app", json!({ "token_policies": "app" }));
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(at("secret-id"), operator.secret_id("approle", "app", json!({}))).expect("a file");
    // The stack's own network would need rules of a firewall, which this daemon may not make.
    let stack = SWARM
        .replace("https://vault.example.com:8200", &vault.addr())
        .replace("7a1c1e5c-2f0e-4b1b-9d52-5f8f0a4b7d11", &operator.role_id("approle", "app"))
        .replace("image: my-application", &format!("image: {IMAGE}\n    command: [/application]"))
        + "networks:\n  default:\n    external: true\n    name: host\n";
    fs::write(at("stack.yaml"), stack).expect("a file");

    must(&["swarm", "init", "--advertise-addr", "127.0.0.1"]);
    must(&["secret", "create", "app-secret-id", &at("secret-id")]);
    must(&[
        "stack",
        "deploy",
        "--resolve-image",
        "never",
        "--compose-file",
        &at("stack.yaml"),
        "app",
    ]);
    let logins =
        || vault.lines().iter().filter(|line| *line == "POST /v1/auth/approle/login").count();
    let ready = |count| {
        eventually("the tasks", || {
            let said = must(&["service", "logs", "app_app"]);
            (said.matches("ready").count() >= count && logins() == count).then_some(())
        });
    };
    ready(2);
    must(&["service", "update", "--force", "--detach", "app_app"]);
    ready(4);
    must(&["swarm", "leave", "--force"]);
}

/// `./release` makes it; whoever runs this alone may not have it.
#[test]
fn the_image_of_a_release_is_loaded_and_runs() {
    let version = env!("CARGO_PKG_VERSION");
    let archive = format!("{}/dist/vault-exec-{version}-image.tar", env!("CARGO_MANIFEST_DIR"));
    if !Path::new(&archive).exists() {
        return support::launch::not_run("the_image_of_a_release_is_loaded_and_runs", archive);
    }
    must(&["load", "--input", &archive]);
    let image = format!("vault-exec:{version}-amd64");
    assert_eq!(must(&["run", "--rm", "--network", "none", &image, "--version"]), PRINTED);
}

/// The image of `examples/bank-vaults`, and one of an application; the shell is this machine's.
fn build_webhook() -> Option<(&'static str, &'static str)> {
    const NAMES: (&str, &str) = ("vault-exec-webhook-test", "vault-exec-webhooked-test");
    let shell = Path::new("/bin/busybox");
    let binary = env::var_os("VAULT_EXEC_BINARY").expect("VAULT_EXEC_BINARY: run .ci/container");
    if !shell.exists() {
        eprintln!("not run: there is no busybox");
        return None;
    }
    let context = tempfile::tempdir().expect("a directory");
    let at = |name: &str| context.path().join(name);
    fs::copy(binary, at("vault-exec")).expect("the binary");
    fs::set_permissions(at("vault-exec"), Permissions::from_mode(0o755)).expect("its mode");
    fs::create_dir(at("bin")).expect("a directory");
    for name in ["sh", "cp"] {
        fs::copy(shell, at("bin").join(name)).expect("busybox");
    }
    let example = fs::read_to_string("examples/bank-vaults/Dockerfile").expect("the example");
    assert!(example.contains("vault-exec /usr/local/bin/vault-env\n"), "{example}");
    let webhook = "FROM scratch\nCOPY bin /bin\nCOPY vault-exec /usr/local/bin/vault-env\n";
    let context_path = context.path().to_str().expect("UTF-8").to_owned();
    for (name, dockerfile) in [(NAMES.0, webhook), (NAMES.1, "FROM scratch\nCOPY bin /bin\n")] {
        fs::write(at("Dockerfile"), dockerfile).expect("a Dockerfile");
        must(&["build", "--tag", name, &context_path]);
    }
    Some(NAMES)
}

/// As `pkg/webhook/pod.go` of bank-vaults/vault-secrets-webhook makes a pod: an init container
/// copies the binary, which then stands before the command of the container.
#[test]
fn a_container_that_the_webhook_of_bank_vaults_has_changed_starts() {
    let Some((webhook, application)) = build_webhook() else { return };
    let vault = TestVault::start();
    let operator = vault.operator();
    operator.kv_put("secret", 2, "app", json!({ "password": "s3cret" }));
    let api = KubernetesApi::start();
    operator.enable_kubernetes("kubernetes", &api);
    let role = json!({
        "bound_service_account_names": ["app"],
        "bound_service_account_namespaces": ["default"],
        "token_policies": ["root"],
    });
    operator.kubernetes_role("kubernetes", "app", role);
    let account = tempfile::tempdir().expect("a directory");
    fs::write(account.path().join("token"), api.token("default", "app", json!({})))
        .expect("a token");
    fs::set_permissions(account.path(), Permissions::from_mode(0o755)).expect("its mode");
    let shared = tempfile::tempdir().expect("a directory");
    fs::set_permissions(shared.path(), Permissions::from_mode(0o777)).expect("its mode");
    let vault_volume = format!("{}:/vault", shared.path().display());
    let copy = "cp /usr/local/bin/vault-env /vault/";
    let user = ["--user", "1000", "--read-only", "--cap-drop", "ALL", "--rm", "--network", "host"];
    let run = |options: &[&str], words: &[&str]| {
        let all = [&["run"][..], &user, &["--volume", &vault_volume], options, words].concat();
        must(&all)
    };
    run(&[], &[webhook, "sh", "-c", copy]);
    let account_volume =
        format!("{}:/var/run/secrets/kubernetes.io/serviceaccount:ro", account.path().display());
    let address = format!("VAULT_ADDR={}", vault.addr());
    let mut options = vec!["--volume", &account_volume, "--entrypoint", "/vault/vault-env"];
    for setting in [
        &address,
        "VAULT_SKIP_VERIFY=false",
        "VAULT_AUTH_METHOD=jwt",
        "VAULT_PATH=kubernetes",
        "VAULT_ROLE=app",
        "VAULT_IGNORE_MISSING_SECRETS=false",
        "VAULT_ENV_PASSTHROUGH=",
        "VAULT_JSON_LOG=false",
        "VAULT_CLIENT_TIMEOUT=10s",
        "A=vault:secret/data/app#password",
        "B=My secret is ${vault:secret/data/app#${.password | upper}}",
    ] {
        options.extend(["--env", setting]);
    }
    let shown = run(&options, &[application, "sh", "-c", "echo $A; echo $B; echo [$VAULT_ROLE]"]);
    assert_eq!(shown, "s3cret\nMy secret is S3CRET\n[]\n");
    // A probe runs the binary again.
    assert_eq!(run(&options, &[application, "sh", "-c", "echo $A"]), "s3cret\n");
    let logins = vault.lines().into_iter().filter(|line| line.ends_with("/login")).count();
    assert_eq!(logins, 2);
}
