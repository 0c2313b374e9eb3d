//! The static binaries start in a directory with nothing else in it. Not part of `cargo test`:
//! `.ci/static` builds them and runs this.
//!
//! `VAULT_EXEC_BINARY` is the one for this machine. `VAULT_EXEC_FOREIGN` is one for another
//! architecture, if it is set, and `VAULT_EXEC_EMULATOR` the static program that runs it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use test_vault::{TestVault, json};

/// What the application prints: it is the binary itself, the only program that there is.
const PRINTED: &str = concat!("vault-exec ", env!("CARGO_PKG_VERSION"), "\n");

/// A directory with only what a start needs, to be used as the root of the file system.
struct Root {
    directory: TempDir,
    /// The words that run the binary under test.
    program: Vec<&'static str>,
}

impl Root {
    fn native() -> Root {
        let directory = tempfile::tempdir().expect("a directory");
        copy(&required("VAULT_EXEC_BINARY"), &directory.path().join("vault-exec"));
        fs::copy(directory.path().join("vault-exec"), directory.path().join("app"))
            .expect("a second copy");
        Root { directory, program: vec!["/vault-exec"] }
    }

    /// With the emulator beside it. What it starts is for this machine: an emulated `execve` is the
    /// kernel's own.
    fn foreign() -> Option<Root> {
        let foreign = env::var_os("VAULT_EXEC_FOREIGN")?;
        let Root { directory, .. } = Root::native();
        copy(Path::new(&foreign), &directory.path().join("vault-exec"));
        copy(&required("VAULT_EXEC_EMULATOR"), &directory.path().join("emulator"));
        Some(Root { directory, program: vec!["/emulator", "/vault-exec"] })
    }

    fn put(&self, file: &Path, name: &str) {
        fs::copy(file, self.directory.path().join(name)).expect("a file to copy");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // Who is not root may change the root directory in a user namespace of their own.
        let mut command = if nix::unistd::geteuid().is_root() {
            Command::new("chroot")
        } else {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "chroot"]);
            command
        };
        command.arg(self.directory.path()).args(&self.program).args(arguments).env_clear();
        // For `chroot` to be found; there is nothing to be found in the new root.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }
}

fn required(name: &str) -> PathBuf {
    env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run .ci/static")).into()
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

#[track_caller]
fn assert_printed(output: &Output) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {stderr}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stdout), PRINTED, "{stderr}");
}

fn starts(root: &Root) {
    assert_printed(&root.command(&["--version"]).output().expect("chroot"));
    assert_printed(&root.command(&["--", "/app", "--version"]).output().expect("chroot"));
    let missing = root.command(&["--", "/nothing"]).output().expect("chroot");
    assert_eq!(missing.status.code(), Some(127));
    for vault in [TestVault::start(), TestVault::builder().https().start()] {
        fetches(root, &vault);
    }
}

/// A secret that is there starts the application, and one that is not does not.
fn fetches(root: &Root, vault: &TestVault) {
    vault.operator().kv_put("secret", 2, "app", json!({ "timeout": "7s" }));
    let address = vault.addr();
    let mut command = root.command(&["--", "/app", "--version"]);
    command
        .env("VAULT_ADDR", &address)
        .env("VAULT_TOKEN", vault.root_token())
        .env("A", "vault:secret/app#timeout");
    if let Some(files) = vault.tls() {
        root.put(&files.ca(), "ca.pem");
        command.env("VAULT_CACERT", "/ca.pem");
    }
    assert_printed(&command.output().expect("chroot"));
    assert!(
        vault.lines().iter().any(|line| line == "GET /v1/secret/data/app"),
        "{:?}",
        vault.lines()
    );
    command.env("A", "vault:secret/app#other");
    let failed = command.output().expect("chroot");
    assert_eq!(failed.status.code(), Some(66), "{}", String::from_utf8_lossy(&failed.stderr));
}

/// No interpreter and no library: `PT_INTERP` and `DT_NEEDED` are what would make the kernel or the
/// loader look for a file.
fn is_static(file: &OsStr) {
    let read = |what: &str| {
        let output =
            Command::new("readelf").arg("-W").arg(what).arg(file).output().expect("readelf");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (headers, dynamic) = (read("-l"), read("-d"));
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
    assert!(!dynamic.contains("NEEDED"), "{dynamic}");
}

#[test]
fn the_binary_starts_in_an_empty_root_directory() {
    is_static(required("VAULT_EXEC_BINARY").as_os_str());
    starts(&Root::native());
}

/// The static build has no stack unwinder, for which this one asks.
#[test]
fn a_bug_ends_the_static_program_with_70_and_its_place() {
    let program = required("VAULT_EXEC_BINARY").with_file_name("static_control_bug");
    let output = Command::new(program)
        .env_clear()
        .env("RUST_BACKTRACE", "full")
        .output()
        .expect("control_bug");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{stderr}");
    assert!(stderr.contains("error: a bug of vault-exec at tests/controls/bug.rs:"), "{stderr}");
    assert!(!stderr.contains("s3cret") && output.stdout.is_empty(), "{stderr}");
}

#[test]
fn the_binary_of_another_architecture_starts_there_too() {
    let Some(root) = Root::foreign() else {
        assert!(env::var_os("CI_REQUIRE_ALL").is_none(), "VAULT_EXEC_FOREIGN is not set");
        println!("not run: VAULT_EXEC_FOREIGN is not set");
        return;
    };
    is_static(&env::var_os("VAULT_EXEC_FOREIGN").expect("set"));
    starts(&root);
}
