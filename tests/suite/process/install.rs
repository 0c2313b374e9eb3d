//! `--install`: the program copies itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::launch::{Ordinary, as_root};
use crate::support::{Ended, Run, binary, directory, run};

fn install(to: &Path) -> Run {
    run().command::<&str>([]).option("--install").option(to)
}

#[track_caller]
fn installs(run: &Run) {
    let ended = run.end();
    assert_eq!((ended.code, ended.text(), ended.stderr.as_str()), (Some(0), String::new(), ""));
}

#[track_caller]
fn fails(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!((ended.code, ended.text()), (Some(code), String::new()), "{}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in: {}", ended.stderr);
    }
}

/// Asserts that a copy is the program and that it starts.
fn is_the_program(copy: &Path) {
    assert!(fs::read(copy).expect("a copy") == fs::read(binary()).expect("the program"));
    let printed = Command::new(copy).arg("--version").output().expect("it starts");
    assert!(printed.status.success() && printed.stdout.starts_with(b"vault-exec "), "{printed:?}");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect()
}

#[test]
fn a_copy_is_made_at_a_path_or_in_a_directory_and_nothing_beside_it() {
    let place = directory();
    for to in [place.path().join("entry"), place.path().to_owned()] {
        installs(&install(&to));
    }
    let mut found = names(place.path());
    found.sort();
    assert_eq!(found, ["entry", "vault-exec"]);
    for name in &found {
        is_the_program(&place.path().join(name));
    }
}

/// All other settings are for starts, so wrong ones are no obstacle.
#[test]
fn no_other_setting_is_looked_at() {
    let place = directory();
    let odd = install(place.path()).env("VAULT_ADDR", "nonsense").env("A", "vault:nonsense");
    installs(&odd);
}

#[test]
fn its_mode_lets_everybody_start_it_and_only_root_read_roots() {
    let place = directory();
    let mode = |path: &Path| fs::metadata(path).expect("a copy").permissions().mode() & 0o7777;
    let copy = place.path().join("vault-exec");
    let root = fs::metadata(place.path()).expect("a directory").uid() == 0;
    installs(&install(place.path()));
    assert_eq!(mode(&copy), if root { 0o711 } else { 0o555 });
    as_root("process::install::its_mode_lets_everybody_start_it_and_only_root_read_roots", || {
        let ordinary = Ordinary::new();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
        let to = place.path().join("ordinary");
        let copied = ordinary.build(&install(&to)).status();
        assert!(copied.expect("it runs").success());
        assert_eq!(mode(&to), 0o555);
    });
}

#[test]
fn what_stands_there_is_replaced_even_while_it_runs() {
    let place = directory();
    let copy = place.path().join("vault-exec");
    fs::copy(binary(), &copy).expect("a copy");
    let before = fs::metadata(&copy).expect("a copy").ino();
    // The copy installs itself over itself, which writing to its own file could not do.
    let ended = Command::new(&copy).arg("--install").arg(&copy).output().expect("it runs");
    assert!(ended.status.success(), "{ended:?}");
    assert_ne!(fs::metadata(&copy).expect("a copy").ino(), before);
    is_the_program(&copy);

    let (file, link) = (place.path().join("file"), place.path().join("link"));
    fs::write(&file, "another one's").expect("a file");
    symlink(&file, &link).expect("a link");
    installs(&install(&link));
    assert_eq!(fs::read_to_string(&file).expect("a file"), "another one's");
    is_the_program(&link);
}

#[test]
fn what_cannot_be_written_is_named_with_the_remedy() {
    let place = directory();
    let file = place.path().join("file");
    fs::write(&file, "").expect("a file");
    for (to, parts) in [
        (place.path().join("not/there"), &["cannot write ", "not/there", "make it, or mount"][..]),
        (file.join("below"), &["cannot write ", "is no directory"]),
        (place.path().join("missing/"), &["is no directory", "slash"]),
        ("/proc/vault-exec".into(), &["cannot write /proc/vault-exec"]),
    ] {
        fails(&install(&to).end(), 78, parts);
    }
    as_root("process::install::what_cannot_be_written_is_named_with_the_remedy", || {
        let ordinary = Ordinary::new();
        let ended = ordinary.build(&install(place.path())).output();
        let said = String::from_utf8(ended.expect("it runs").stderr).expect("UTF-8");
        assert!(said.contains("must be able to write to") && said.contains("fsGroup"), "{said}");
    });
    assert_eq!(names(place.path()), ["file"]);
}

#[test]
fn it_starts_nothing_and_a_command_beside_it_is_a_mistake() {
    let place = directory();
    fails(&install(place.path()).marker().end(), 64, &["--install", "command"]);
    fails(&run().option("--install=").end(), 64, &["--install"]);
    fails(&install(place.path()).option("--check").end(), 64, &["--install"]);
    assert_eq!(names(place.path()), Vec::<String>::new());
}
