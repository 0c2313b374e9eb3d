//! Control programs, which a test's findings are compared with: our program without one part, or
//! with a bug.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ended, binary};

/// Returns a program that lacks a part of the wiping. `cargo test` builds the examples too; `cargo
/// test --test suite` does not.
pub(crate) fn control(name: &str) -> PathBuf {
    // .ci/static puts what it builds beside the static binary.
    let beside = binary().with_file_name(format!("static_{name}"));
    if beside.exists() {
        return beside;
    }
    let profile = Path::new(env!("CARGO_BIN_EXE_vault-exec")).parent().expect("a directory");
    let program = profile.join("examples").join(name);
    if !program.exists() {
        build(name, profile);
    }
    program
}

fn build(name: &str, profile: &Path) {
    let name_of =
        |path: &Path| path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
    let above = profile.parent().expect("a directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--example", name]);
    let kind = name_of(profile);
    cargo.arg("--profile").arg(if kind == "debug" { "dev" } else { &kind });
    // `--target` adds a directory with the target's name in between.
    let is_target = name_of(above).starts_with(&format!("{}-", std::env::consts::ARCH));
    let target_directory = if is_target { above.parent().expect("a directory") } else { above };
    if is_target {
        cargo.arg("--target").arg(name_of(above));
    }
    let output = cargo.arg("--target-dir").arg(target_directory).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_bug_ends_it_with_70_and_its_place_and_shows_no_value() {
    let output = Command::new(control("control_bug")).env_clear().output().expect("it runs");
    let ended = Ended::of(output);
    assert_eq!(ended.code, Some(70), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("error: a bug of vault-exec at tests/controls/bug.rs:"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("s3cret") && ended.stdout.is_empty(), "{}", ended.stderr);
}
