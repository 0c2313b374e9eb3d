//! `--secrets-file`: vaultenv's files, as they are.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use test_vault::{Fault, Matcher, Target, TestVault, json, on_every_vault};

use crate::support::application::{as_root, kv, reading, token};
use crate::support::{Ended, Run, STARTED, added, directory, pairs, run, run_at};

/// A secrets file that is there as long as this is.
struct File {
    directory: tempfile::TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.directory.path().join("app.secrets")
    }

    /// A run with it.
    fn of(&self, run: &Run) -> Run {
        run.clone().option("--secrets-file").option(self.path())
    }
}

fn file(text: impl AsRef<[u8]>) -> File {
    let file = File { directory: directory() };
    std::fs::write(file.path(), text).expect("written");
    file
}

/// What vaultenv's own tests have.
fn put(target: &Target, mount: &str, version: u8, prefix: &str) {
    let operator = target.operator();
    operator.kv_put(
        mount,
        version,
        &format!("{prefix}testing"),
        json!({"key": "testing42", "otherkey": "testing8"}),
    );
    operator.kv_put(
        mount,
        version,
        &format!("{prefix}testing2"),
        json!({"foo": "val1", "bar": "val2"}),
    );
}

/// A server of our own whose mount `secret` is of this version, as vaultenv's tests want it.
fn own(version: u8) -> Target {
    let vault = TestVault::start();
    if version == 1 {
        vault.operator().delete("sys/mounts/secret");
        vault.operator().enable_kv("secret", 1);
    }
    let target = vault.into();
    put(&target, "secret", version, "");
    target
}

const VERSION_1: &str = "testing#key\ntesting#otherkey\ntesting2#foo\ntesting2#bar\n";
const OF_VERSION_1: [(&str, &str); 4] = [
    ("TESTING_KEY", "testing42"),
    ("TESTING_OTHERKEY", "testing8"),
    ("TESTING2_FOO", "val1"),
    ("TESTING2_BAR", "val2"),
];
const VERSION_2: &str = "VERSION 2\nMOUNT secret\ntesting#key\ntesting#otherkey\nMOUNT \
                         secret\ntesting2#foo\ntesting2#bar\n";

// Peer cases C1, C2, C3, C4, C5.
#[test]
fn the_same_file_works_on_kv_of_both_versions() {
    for version in [1, 2] {
        let target = own(version);
        let of = |text: &str| added(&file(text).of(&as_root(&target)));
        assert_eq!(of("testing#key\n"), pairs(&[("TESTING_KEY", "testing42")]), "C1 on {version}");
        assert_eq!(of(VERSION_1), pairs(&OF_VERSION_1), "C2 on {version}");
        let named = "TEST_TEST=testing#key\nTEST__TEST=testing#key\n_TEST__TEST=testing#key\n";
        let wanted =
            [("TEST_TEST", "testing42"), ("TEST__TEST", "testing42"), ("_TEST__TEST", "testing42")];
        assert_eq!(of(named), pairs(&wanted), "C3 on {version}");
        let wanted = OF_VERSION_1.map(|(name, value)| (format!("SECRET_{name}"), value.to_owned()));
        assert_eq!(of(VERSION_2), wanted.into(), "C4 on {version}");
    }
}

// Peer cases C4, C5.
#[test]
fn the_mounts_of_a_file_can_be_any_and_of_either_version() {
    on_every_vault(|target| {
        let mounts = [(kv(target, 1), 1), (kv(target, 2), 2)];
        let deep = format!("{}/deep/kv", target.unique("team"));
        target.operator().enable_kv(&deep, 2);
        let mut text = "VERSION 2\n".to_owned();
        let mut wanted = BTreeMap::new();
        for (mount, version) in mounts.iter().chain([&(deep, 2)]) {
            put(target, mount, *version, "a/");
            let named = format!("X_{}", wanted.len());
            text.extend(["MOUNT ", mount, "\na/testing#key\n\n", &named, "=a/testing2#foo\n"]);
            wanted.insert(named, "val1".to_owned());
            let name = mount.to_uppercase().replace(['-', '/'], "_");
            wanted.insert(format!("{name}_A_TESTING_KEY"), "testing42".to_owned());
        }
        assert_eq!(added(&file(text).of(&as_root(target))), wanted);
    });
}

// Peer case C2, on a server whose mount of that name is shared.
#[test]
fn a_file_without_mounts_reads_below_secret() {
    on_every_vault(|target| {
        let name = target.unique("testing");
        target.operator().kv_put("secret", 2, &name, json!({"k": "v"}));
        let file = file(format!("A={name}#k\n{name}#k"));
        let wanted = format!("{}_K", name.to_uppercase().replace('-', "_"));
        assert_eq!(added(&file.of(&as_root(target))), pairs(&[("A", "v"), (&wanted, "v")]));
    });
}

#[test]
fn a_data_segment_is_the_apis_directly_below_the_mount_and_the_secrets_further_down() {
    on_every_vault(|target| {
        for version in [1, 2] {
            let mount = kv(target, version);
            let first = if version == 2 { "x" } else { "data/x" };
            target.operator().kv_put(&mount, version, "config/data/x", json!({"k": "deep"}));
            target.operator().kv_put(&mount, version, first, json!({"k": "first"}));
            let file = file(format!("VERSION 2\nMOUNT {mount}\nA=config/data/x#k\nB=data/x#k\n"));
            let wanted = pairs(&[("A", "deep"), ("B", "first")]);
            assert_eq!(added(&file.of(&as_root(target))), wanted, "version {version}");
            let told = file.of(&as_root(target)).option(format!("--kv-version={version}"));
            assert_eq!(added(&told), wanted, "version {version}, told");
        }
    });
}

#[test]
fn with_a_version_that_is_told_nothing_is_found_out() {
    for (version, path) in [(1, "/v1/secret/testing"), (2, "/v1/secret/data/testing")] {
        let target = own(version);
        let file = file("testing#key\n");
        let run = file.of(&as_root(&target)).env("VAULT_EXEC_KV_VERSION", version.to_string());
        assert_eq!(added(&run), pairs(&[("TESTING_KEY", "testing42")]));
        assert_eq!(target.own().expect("own").lines(), [format!("GET {path}")]);
    }
}

#[test]
fn the_file_is_named_by_an_option_a_variable_or_an_env_file() {
    let target = own(2);
    let (right, wrong) = (file("A=testing#key\n"), file("nonsense\n"));
    let run = as_root(&target);
    let wanted = pairs(&[("A", "testing42")]);
    assert_eq!(added(&run.clone().env("VAULT_EXEC_SECRETS_FILE", right.path())), wanted);
    assert_eq!(added(&right.of(&run.clone().env("VAULT_EXEC_SECRETS_FILE", wrong.path()))), wanted);
    let both = run
        .clone()
        .env("BAO_EXEC_SECRETS_FILE", right.path())
        .env("VAULT_EXEC_SECRETS_FILE", wrong.path());
    assert_eq!(added(&both), wanted);
    let directory = directory();
    let env_file = directory.path().join("app.env");
    std::fs::write(&env_file, format!("VAULT_EXEC_SECRETS_FILE={}\n", right.path().display()))
        .expect("written");
    assert_eq!(added(&run.option("--env-file").option(env_file)), wanted);
}

// Peer cases C9, C10, C11, C12.
#[test]
fn a_name_that_is_there_already_is_dealt_with_as_it_is_said() {
    for version in [1, 2] {
        let target = own(version);
        let file = file(VERSION_1);
        let run = file.of(&as_root(&target)).env("TESTING_KEY", "testing666");
        run.fails(78, &["app.secrets, line 1: TESTING_KEY is there already", "--on-conflict"]);
        run.clone().option("--on-conflict=error").fails(78, &["TESTING_KEY"]);
        assert_eq!(
            run.clone().option("--on-conflict=keep").value("TESTING_KEY").as_deref(),
            Some("testing666")
        );
        let environment = run.option("--on-conflict=overwrite").environment();
        assert_eq!(
            (environment["TESTING_KEY"].as_str(), environment["TESTING2_BAR"].as_str()),
            ("testing42", "val2")
        );
    }
    let target = own(2);
    let file = file("A=testing#key\nA=testing#otherkey\n");
    let twice = file.of(&as_root(&target));
    twice.fails(78, &["line 2: A is there already"]);
    assert_eq!(twice.option("--on-conflict=overwrite").value("A").as_deref(), Some("testing8"));
}

#[test]
fn a_name_that_steers_is_skipped_with_a_warning() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        put(target, &mount, 2, "");
        let names = ["PATH", "LD_PRELOAD", "VAULT_ADDR", "BASH_ENV"];
        let lines = names.map(|name| format!("{name}=testing#key\n")).concat();
        let file = file(format!("VERSION 2\nMOUNT {mount}\n{lines}FINE=testing#key\n"));
        let ended = file.of(&as_root(target)).option("--on-conflict=overwrite").end();
        assert_eq!(ended.text().matches("testing42").count(), 1, "{}", ended.text());
        for name in names {
            assert!(
                ended.stderr.contains(&format!("{name} is not imported")),
                "{name}: {}",
                ended.stderr
            );
        }
    });
}

// Peer cases C34, C36.
#[test]
fn what_is_missing_is_named_with_its_line_and_asked_for_once() {
    on_every_vault(|target| {
        for version in [1, 2] {
            let mount = kv(target, version);
            put(target, &mount, version, "");
            let file =
                file(format!("VERSION 2\nMOUNT {mount}\ntesting#key\ntesting#none\n\nnone#k\n"));
            if let Some(own) = target.own() {
                own.clear();
            }
            let run = file.of(&as_root(target));
            let ended =
                run.fails(66, &["app.secrets, line 4: ", "no key none", "app.secrets, line 6: "]);
            assert!(!ended.stderr.contains("line 3"), "{}", ended.stderr);
            if let Some(own) = target.own() {
                let asked = own.lines().into_iter().filter(|line| line.ends_with("/none")).count();
                assert_eq!(asked, 1, "{:?}", own.lines());
            }
            let ended = run.option("--ignore-missing").marker().end();
            assert!(
                ended.started()
                    && ended.stderr.contains("line 4")
                    && ended.stderr.contains("line 6"),
                "{ended:?}"
            );
        }
    });
}

// Peer case C37.
#[test]
fn a_refusal_is_an_error_that_is_not_repeated() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        put(target, &mount, 2, "");
        let token = token(target, &reading(&format!("{mount}/data/testing")));
        let file = file(format!("VERSION 2\nMOUNT {mount}\ntesting2#foo\n"));
        let run = file.of(&run_at(target).env("VAULT_TOKEN", token)).option("--ignore-missing");
        run.fails(77, &["app.secrets, line 3: ", "permission denied"]);
        if let Some(own) = target.own() {
            let asked = own.lines().into_iter().filter(|line| line.ends_with("testing2")).count();
            assert_eq!(asked, 1, "{:?}", own.lines());
        }
    });
}

// Peer case C35: the specification has a text for numbers.
#[test]
fn a_value_that_is_no_text_has_one() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "app", json!({"number": 8080}));
        let file = file(format!("VERSION 2\nMOUNT {mount}\nA=app#number\n"));
        assert_eq!(added(&file.of(&as_root(target))), pairs(&[("A", "8080")]));
    });
}

// Peer case C38: an answer that is no JSON is not Vault's here, and is not asked for again.
#[test]
fn a_server_that_is_not_ready_is_asked_again() {
    for (fault, code) in [
        (Fault::internal_error(), None),
        (Fault::sealed(), None),
        (Fault::invalid_json(), Some(76)),
    ] {
        let target = own(2);
        target.own().expect("own").fault_times(1, "GET /v1/secret/data/testing", fault.clone());
        let file = file("A=testing#key\n");
        let run = file.of(&as_root(&target)).env("VAULT_EXEC_TIMEOUT", "20s");
        match code {
            None => assert_eq!(added(&run), pairs(&[("A", "testing42")]), "{fault:?}"),
            Some(code) => drop(run.fails(code, &["secret/data/testing"])),
        }
    }
    let target = own(2);
    target.own().expect("own").fault("GET /v1/secret/data/testing", Fault::sealed());
    let file = file("A=testing#key\n");
    let run = file.of(&as_root(&target)).option("--max-retries=2");
    run.fails(69, &["secret/data/testing"]);
    let asked = target
        .own()
        .expect("own")
        .lines()
        .into_iter()
        .filter(|line| line.ends_with("testing"))
        .count();
    assert_eq!(asked, 3);
}

// Peer case C31.
#[test]
fn a_server_that_comes_late_is_waited_for() {
    for (text, version) in [(VERSION_1, 1), (VERSION_1, 2), (VERSION_2, 1), (VERSION_2, 2)] {
        let file = file(text);
        let target = own(version);
        let vault = target.own().expect("own");
        vault.fault(Matcher::any(), Fault::sealed());
        let run = file
            .of(&as_root(&target))
            .shell(&format!("echo {STARTED} ${{TESTING_KEY}}${{SECRET_TESTING_KEY}}"));
        let mut child = run
            .option("--log-level=warn")
            .build()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut first = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        stderr.read_line(&mut first).expect("a line");
        assert!(first.contains("sealed"), "{first}");
        vault.clear_faults();
        let ended = Ended::of(child.wait_with_output().expect("it ends"));
        assert_eq!(ended.text().trim(), format!("{STARTED} testing42"), "{first}");
    }
}

// Peer case C39.
#[test]
fn keys_of_one_path_come_with_one_request() {
    for version in [1, 2] {
        let target = own(version);
        let file = file(VERSION_1);
        let run = file.of(&as_root(&target)).env("TWICE", "vault:secret/testing#key");
        assert_eq!(run.environment()["TWICE"], "testing42");
        let mut lines = target.own().expect("own").lines();
        lines.sort();
        let data = if version == 2 { "data/" } else { "" };
        let wanted = [
            format!("GET /v1/secret/{data}testing"),
            format!("GET /v1/secret/{data}testing2"),
            "GET /v1/sys/internal/ui/mounts".to_owned(),
        ];
        assert_eq!(lines, wanted);
    }
}

#[test]
fn every_malformed_line_is_named_before_anything_is_asked() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    for (text, lines) in [
        (&b"testing#key\nfoo#bar/baz#quix\nFOO=foo=bar/baz#quix\n1A=a#b\n"[..], &[2, 3, 4][..]),
        (b"VERSION 1\n", &[1]),
        (b"VERSION 2\nMOUNT\nsecret\n", &[2]),
        (b"VERSION 2\ntesting#key\n", &[2]),
        (b"a\xff#b\na/../b#c\n", &[1, 2]),
        (b"MOUNT secret\na#b\n", &[1]),
    ] {
        let file = file(text);
        let ended = file.of(&run).fails(78, &[]);
        for line in lines {
            let place = format!("{}: line {line}: ", file.path().display());
            assert!(ended.stderr.contains(&place), "no {place} in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("quix"), "{}", ended.stderr);
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_setting() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    let directory = directory();
    let missing = directory.path().join("none");
    let name = missing.display().to_string();
    run.clone()
        .option("--secrets-file")
        .option(&missing)
        .fails(78, &[&name, "--secrets-file", "cannot be read"]);
    run.clone()
        .env("VAULT_EXEC_SECRETS_FILE", &missing)
        .fails(78, &[&name, "VAULT_EXEC_SECRETS_FILE"]);
    run.option("--secrets-file").option(directory.path()).fails(78, &["a directory"]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn an_empty_file_fetches_nothing() {
    for text in ["", "\n \n", "VERSION 2\n", "VERSION 2\nMOUNT a\n\nMOUNT b\n"] {
        assert_eq!(added(&file(text).of(&run())), pairs(&[]), "{text:?}");
    }
}
