//! The environment that the application gets: what is passed, stripped, added, and refused.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::execve;
use test_vault::json;

use crate::support::launch::{FETCHED, Served, before_exec, executable, on_both_starts};
use crate::support::{self, Ended, Run, binary, directory, run, run_at};

/// The names of an environment without PATH.
fn names(environment: &BTreeMap<String, String>) -> Vec<&str> {
    environment.keys().map(String::as_str).filter(|name| *name != "PATH").collect()
}

/// Starts the binary with these entries as its whole environment, in this order, whatever they are.
#[track_caller]
fn entries_from(entries: &[&[u8]]) -> Vec<Vec<u8>> {
    let text = |bytes: &[u8]| CString::new(bytes).expect("no NUL");
    let program = text(binary().as_os_str().as_bytes());
    let arguments = [program.clone(), text(b"--"), text(b"cat"), text(b"/proc/self/environ")];
    let entries: Vec<CString> = entries.iter().map(|entry| text(entry)).collect();
    let mut command = Command::new("true");
    before_exec(&mut command, move || {
        execve(&program, &arguments, &entries).map(|never| match never {})
    });
    let ended = Ended::of(command.stdin(Stdio::null()).output().expect("it runs"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
        .stdout
        .split(|&byte| byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

// A8, G5
#[test]
fn each_name_comes_once_and_inherited_ones_in_their_order() {
    let path = format!("PATH={}", std::env::var("PATH").expect("a PATH"));
    let entries = entries_from(&[
        b"Z=1",
        path.as_bytes(),
        b"A=first",
        b"M=",
        b"A=second",
        b"VAULT_ADDR=http://x",
        b"B=a=b",
        b"Z=2",
        b"BAO_TOKEN=t",
        b"VAULT_ADDR=http://y",
        b"C=\xff\xfe",
        b"\xff=x",
        b"D=line\nbreak",
        b"a.b-c=1",
    ]);
    let expected: [&[u8]; 9] = [
        b"Z=1",
        path.as_bytes(),
        b"A=first",
        b"M=",
        b"B=a=b",
        b"C=\xff\xfe",
        b"\xff=x",
        b"D=line\nbreak",
        b"a.b-c=1",
    ];
    assert_eq!(entries, expected);
}

#[test]
fn a_credential_that_is_given_twice_is_gone_twice_and_the_first_counts() {
    let served = Served::http();
    let path = format!("PATH={}", std::env::var("PATH").expect("a PATH"));
    let (addr, token) =
        (format!("VAULT_ADDR={}", served.vault.addr()), format!("VAULT_TOKEN={}", served.token));
    let entries = entries_from(&[
        path.as_bytes(),
        addr.as_bytes(),
        token.as_bytes(),
        b"VAULT_TOKEN=another",
        b"P=vault:secret/app#user",
        b"P=plain",
    ]);
    assert_eq!(entries, [path.as_bytes(), b"P=ada"]);
}

// A11, C13
#[test]
fn what_is_no_reference_passes_untouched() {
    on_both_starts(|run| {
        let plain = [
            ("EMPTY", ""),
            ("SPACES", "  a  "),
            ("URL", "vault://secret/app"),
            ("OTHER_URL", "bao://x#y"),
            ("TEXT", "a vault:b#c"),
            ("PREFIXED", "prefix-vault:secret/data/a#k"),
            ("DOLLAR", "$HOME ${HOME} $(x)"),
            ("NOT", "notvault:foo#bar"),
            ("VAULT", "x"),
            ("vault_token", "lower case"),
            ("MY_VAULT_TOKEN", "y"),
            ("BAOBAB", "tree"),
        ];
        let run = plain.iter().fold(run.clone(), |run, (name, value)| run.env(*name, *value));
        let environment = run.environment();
        for (name, value) in plain {
            assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
        }
    });
}

// A41, C16, C17
#[test]
fn what_is_ours_is_stripped_and_what_is_named_is_kept() {
    let ours = |run: Run| {
        run.env("VAULT_PORT", "tcp://10.0.0.1:8200")
            .env("VAULT_SERVICE_HOST", "x")
            .env("BAO_SOMETHING", "y")
            .env("A", "1")
    };
    on_both_starts(|run| {
        let run = ours(run.clone());
        let environment = run.environment();
        assert!(
            !environment.keys().any(|name| name.starts_with("VAULT_") || name.starts_with("BAO_")),
            "{environment:?}"
        );
        assert_eq!(environment.get("A").map(String::as_str), Some("1"));
        for (run, kept) in [
            (run.clone().option("--keep").option("VAULT_PORT"), &["VAULT_PORT"][..]),
            (
                run.clone().option("--keep=VAULT_SERVICE_*,BAO_SOMETHING"),
                &["BAO_SOMETHING", "VAULT_SERVICE_HOST"],
            ),
            (
                run.clone().options(["--keep", "VAULT_PORT", "--keep", "BAO_*"]),
                &["BAO_SOMETHING", "VAULT_PORT"],
            ),
            (run.clone().env("VAULT_EXEC_KEEP", "VAULT_PORT"), &["VAULT_PORT"]),
            // A42: white space around the names.
            (
                run.clone().env("VAULT_ENV_PASSTHROUGH", "VAULT_PORT, BAO_SOMETHING"),
                &["BAO_SOMETHING", "VAULT_PORT"],
            ),
            (
                run.clone()
                    .env("VAULT_EXEC_KEEP", "BAO_*")
                    .env("VAULT_ENV_PASSTHROUGH", "VAULT_PORT"),
                &["BAO_SOMETHING"],
            ),
            (run.clone().option("--keep=VAULT_POR,AULT_PORT"), &[]),
        ] {
            let environment = run.environment();
            let found: Vec<&str> = names(&environment)
                .into_iter()
                .filter(|name| name.contains("T_") || name.contains("O_"))
                .collect();
            assert_eq!(found, kept, "{run:?}");
        }
    });
}

#[test]
fn a_credential_that_is_kept_by_name_is_passed() {
    let served = Served::http();
    let environment = served.with_token().option("--keep=VAULT_TOKEN,VAULT_ADDR").environment();
    assert_eq!(environment.get("VAULT_TOKEN"), Some(&served.token));
    assert_eq!(environment.get("VAULT_ADDR"), Some(&served.vault.addr()));
}

#[test]
fn a_reference_of_the_applications_own_stays_whatever_its_name() {
    let served = Served::http();
    let run = served
        .with_approle()
        .env("VAULT_DB_PASSWORD", "vault:secret/app#password")
        .env("BAO_USER", "bao:secret/app#user");
    let environment = run.environment();
    assert_eq!(environment.get("VAULT_DB_PASSWORD").map(String::as_str), Some(FETCHED));
    assert_eq!(environment.get("BAO_USER").map(String::as_str), Some("ada"));
    assert_eq!(names(&environment), ["BAO_USER", "PASSWORD", "VAULT_DB_PASSWORD"]);
}

// C14, D9
#[test]
fn a_clean_environment_has_what_was_fetched_what_env_files_say_and_what_is_kept() {
    let served = Served::http();
    let directory = directory();
    let file = write(directory.path(), "app.env", "FROM_FILE=1\nVAULT_FROM_FILE=2\nA=file\n");
    let run = served
        .with_approle()
        .env("A", "1")
        .env("HOME", "/root")
        .env("VAULT_X", "x")
        .env("LANG", "C");
    let clean = run
        .env("VAULT_EXEC_ENV_FILE", &file)
        .option("--clean-env")
        .option("--secret=FETCHED_*=secret/app");
    assert_eq!(
        names(&clean.environment()),
        ["FETCHED_password", "FETCHED_user", "FROM_FILE", "PASSWORD"]
    );
    let kept = clean.option("--keep=HOME,VAULT_X,L*");
    assert_eq!(
        names(&kept.environment()),
        ["FETCHED_password", "FETCHED_user", "FROM_FILE", "HOME", "LANG", "PASSWORD", "VAULT_X"]
    );
    let off = support::run().env("A", "1").env("VAULT_EXEC_CLEAN_ENV", "no");
    assert_eq!(names(&off.environment()), ["A"]);
    let on = support::run().env("A", "1").env("BAO_EXEC_CLEAN_ENV", "YES");
    assert_eq!(on.environment().keys().collect::<Vec<_>>(), ["PATH"]);
}

#[test]
fn what_is_literal_is_never_interpreted() {
    let set = [
        ("A", "vault:secret/app#password"),
        ("B_1", "vault:nonsense"),
        ("B_2", ">>vault:x"),
        ("C", "a${vault:a}"),
    ];
    let run = set.iter().fold(run(), |run, (name, value)| run.env(*name, *value));
    for run in [
        run.clone().option("--literal=A,B_*,C"),
        run.clone().env("VAULT_EXEC_LITERAL", "A , B_*, C"),
        run.clone().options(["--literal", "A", "--literal", "B_*", "--literal", "C"]),
    ] {
        let environment = run.environment();
        for (name, value) in set {
            assert_eq!(environment.get(name).map(String::as_str), Some(value));
        }
    }
    run.option("--literal=A").fails(78, &["B_1", "B_2", "C"]);
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    fs::write(&file, text).expect("a file");
    file
}

#[test]
fn env_files_are_layers_below_the_environment_a_later_one_above_an_earlier_one() {
    let served = Served::http();
    let directory = directory();
    let base = format!(
        "VAULT_ADDR=http://127.0.0.1:1\r\nA=base\r\nB=base\r\nC=base\r\nexport Q=\"a \\\"b\\\" \
         \\$c\\n\" # quoted\r\nS='$x # y'\r\nU=$HOME\r\n# \
         comment\r\n\r\nP=vault:secret/app#password\r\nVAULT_TOKEN={}\r\n",
        served.token
    );
    let one = write(directory.path(), "base.env", &base);
    let two = write(
        directory.path(),
        "production.env",
        &format!("VAULT_ADDR={}\nB=two\nC=two\n", served.vault.addr()),
    );
    let run = run().env("C", "environment");
    let options = run.clone().option("--env-file").option(&one).option("--env-file").option(&two);
    let variable = run.env("VAULT_EXEC_ENV_FILE", format!("{},{}", one.display(), two.display()));
    for run in [options, variable] {
        let environment = run.environment();
        let expected = [
            ("A", "base"),
            ("B", "two"),
            ("C", "environment"),
            ("P", FETCHED),
            ("Q", "a \"b\" $c\n"),
            ("S", "$x # y"),
            ("U", "$HOME"),
        ];
        assert_eq!(names(&environment), expected.map(|(name, _)| name));
        for (name, value) in expected {
            assert_eq!(environment.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}

#[test]
fn a_malformed_env_file_is_78_with_the_lines_number_and_no_value() {
    let directory = directory();
    for (text, line) in [
        ("A=1\nS3CRET\n", 2),
        ("\n\n1X=S3CRET\n", 3),
        ("A='S3CRET\n", 1),
        ("A=\"\\S3CRET\"", 1),
        ("A='a'S3CRET", 1),
        ("A=S3\0CRET", 1),
    ] {
        let file = write(directory.path(), "bad.env", text);
        let ended = run()
            .option("--env-file")
            .option(&file)
            .fails(78, &["bad.env", &format!("line {line}")]);
        assert!(!ended.stderr.contains("S3"), "{}", ended.stderr);
    }
    let (one, two) = (write(directory.path(), "1.env", "x"), write(directory.path(), "2.env", "y"));
    run()
        .option("--env-file")
        .option(one)
        .option("--env-file")
        .option(two)
        .fails(78, &["1.env", "2.env"]);
    run()
        .option("--env-file")
        .option(directory.path().join("none"))
        .fails(78, &["none", "cannot be read"]);
    run().option("--env-file").option(directory.path()).fails(78, &["a directory, and not a file"]);
    let nested = write(directory.path(), "nested.env", "VAULT_EXEC_ENV_FILE=x");
    run().option("--env-file").option(nested).fails(78, &["nested.env"]);
}

#[test]
fn a_value_with_a_nul_byte_is_78_and_names_the_variable() {
    let served = Served::http();
    served.vault.operator().kv_put(
        "secret",
        2,
        "nul",
        json!({ "key": "S3C\u{0}RET", "fine": "x" }),
    );
    let run = served
        .with_approle()
        .env("BROKEN", "vault:secret/nul#key")
        .env("FINE", "vault:secret/nul#fine");
    let ended = run.fails(78, &["BROKEN", "NUL"]);
    assert!(!ended.stderr.contains("S3C") && !ended.stderr.contains("FINE"), "{}", ended.stderr);
    let ended = served.with_approle().option("--secret=secret/nul").fails(78, &["key", "NUL"]);
    assert!(!ended.stderr.contains("S3C"), "{}", ended.stderr);
}

// vault-k8s #197
#[test]
fn the_largest_value_that_the_kernel_takes_is_passed_and_one_byte_more_is_78() {
    let page =
        nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("known").expect("known");
    let largest = 32 * usize::try_from(page).expect("positive") - "LARGE=".len() - 1;
    let served = Served::http();
    let operator = served.vault.operator();
    operator.kv_put(
        "secret",
        2,
        "large",
        json!({ "fits": "x".repeat(largest), "not": "x".repeat(largest + 1) }),
    );
    let run = served.with_approle().shell("echo ${#LARGE}");
    let ended = run.clone().env("LARGE", "vault:secret/large#fits").end();
    assert_eq!((ended.code, ended.text()), (Some(0), format!("{largest}\n")), "{}", ended.stderr);
    let ended =
        run.env("LARGE", "vault:secret/large#not").fails(78, &["LARGE", &largest.to_string()]);
    assert!(ended.stderr.len() < 1000, "{}", ended.stderr);
}

#[test]
fn more_than_the_kernel_takes_altogether_is_78_and_as_much_as_it_takes_is_passed() {
    let served = Served::http();
    let secret: BTreeMap<String, String> =
        (0..12).map(|number| (format!("K{number}"), "x".repeat(60_000))).collect();
    served.vault.operator().kv_put("secret", 2, "many", json!(secret));
    let limited = |kilobytes: u64, run: &Run| {
        let mut command = run.build();
        before_exec(&mut command, move || {
            let hard = getrlimit(Resource::RLIMIT_STACK)?.1;
            setrlimit(Resource::RLIMIT_STACK, kilobytes << 10, hard)
        });
        Ended::of(command.stdin(Stdio::null()).output().expect("it runs"))
    };
    let run = served.with_approle().option("--secret=secret/many").marker();
    let ended = limited(1024, &run);
    assert_eq!((ended.code, ended.started()), (Some(78), false), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("ulimit -s") && ended.stderr.contains("largest variable is K"),
        "{}",
        ended.stderr
    );
    let ended = limited(8192, &run);
    assert_eq!((ended.code, ended.started()), (Some(0), true), "{}", ended.stderr);
    // Near the limit it is either passed or refused with our own words, never left to the kernel.
    let directory = directory();
    let program = executable(directory.path(), "app", &fs::read("/bin/true").expect("readable"));
    let (mut passed, mut refused) = (0, 0);
    let path = std::env::var("PATH").expect("a PATH").len();
    for length in (0..1500).step_by(20) {
        let (large, rest) = ("x".repeat(110_000), "x".repeat(41_800 - path - 700 + length));
        let file =
            write(directory.path(), "large.env", &format!("A={large}\nB={large}\nC={rest}\n"));
        let ended =
            limited(1024, &support::run().command([&program]).option("--env-file").option(file));
        match ended.code {
            Some(0) => passed += 1,
            Some(78) => refused += 1,
            code => panic!("{length}: {code:?} {}", ended.stderr),
        }
    }
    assert!(passed > 0 && refused > 0, "{passed} passed, {refused} refused");
}

// C9, C10, C11, C12, A58
#[test]
fn an_import_in_conflict_is_an_error_or_kept_or_overwritten() {
    let served = Served::http();
    let run = served
        .with_approle()
        .option("--secret=secret/app")
        .env("user", "environment")
        .env("PASSWORD", "x");
    run.clone().fails(78, &["secret/app", "user", "--on-conflict"]);
    run.clone().option("--on-conflict=error").fails(78, &["user"]);
    let value = |run: Run| run.value("user").expect("it is there");
    assert_eq!(value(run.clone().option("--on-conflict=keep")), "environment");
    assert_eq!(value(run.clone().env("VAULT_EXEC_ON_CONFLICT", "OVERWRITE")), "ada");
    run.option("--on-conflict=maybe").fails(78, &["--on-conflict"]);
    let twice =
        served.with_approle().options(["--secret=secret/app", "--secret=user=secret/app#password"]);
    twice.fails(78, &["user"]);
    assert_eq!(value(twice.clone().option("--on-conflict=keep")), "ada");
    assert_eq!(value(twice.option("--on-conflict=overwrite")), FETCHED);
}

#[test]
fn imported_names_are_shaped_as_the_settings_say() {
    let served = Served::http();
    served.vault.operator().kv_put(
        "secret",
        2,
        "odd",
        json!({ "db.user-name": "1", "plain": "2" }),
    );
    let run = served.with_approle().env("PASSWORD", "x");
    let found =
        |run: Run| names(&run.environment()).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let import = run.clone().option("--secret=secret/odd");
    assert_eq!(found(import.clone()), ["PASSWORD", "db.user-name", "plain"]);
    assert_eq!(found(import.clone().option("--upcase")), ["DB.USER-NAME", "PASSWORD", "PLAIN"]);
    assert_eq!(found(import.clone().option("--sanitize")), ["PASSWORD", "db_user_name", "plain"]);
    let both = import.env("VAULT_EXEC_UPCASE", "t").env("BAO_EXEC_SANITIZE", "1");
    assert_eq!(found(both), ["DB_USER_NAME", "PASSWORD", "PLAIN"]);
    assert_eq!(
        found(run.clone().option("--secret=APP_*=secret/odd#plain")),
        ["APP_plain", "PASSWORD"]
    );
    assert_eq!(
        found(run.clone().option("--secret").option("APP_*=secret/odd")),
        ["APP_db.user-name", "APP_plain", "PASSWORD"]
    );
    let list = run.env("VAULT_EXEC_SECRETS", "X=secret/odd#plain, Y=secret/app#user");
    assert_eq!(found(list), ["PASSWORD", "X", "Y"]);
}

#[test]
fn names_that_steer_a_process_are_skipped_with_a_warning() {
    let steering = [
        "PATH",
        "IFS",
        "ENV",
        "BASH_ENV",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "GLIBC_TUNABLES",
        "VAULT_TOKEN",
        "BAO_ADDR",
    ];
    let served = Served::http();
    let secret: BTreeMap<&str, &str> =
        steering.into_iter().map(|name| (name, "S3CRET")).chain([("fine", "1")]).collect();
    served.vault.operator().kv_put("secret", 2, "steering", json!(secret));
    let run =
        served.with_approle().option("--secret=secret/steering").option("--on-conflict=overwrite");
    let environment = run.environment();
    assert_eq!(names(&environment), ["PASSWORD", "fine"]);
    assert_ne!(environment.get("PATH").map(String::as_str), Some("S3CRET"));
    let ended = run.clone().marker().end();
    for name in steering {
        assert!(
            ended.stderr.contains(&format!("{name} is not imported")),
            "{name}: {}",
            ended.stderr
        );
    }
    assert!(!ended.stderr.contains("S3CRET"), "{}", ended.stderr);
    let lower = json!({ "path": "S3CRET", "ld_preload": "S3CRET" });
    served.vault.operator().kv_put("secret", 2, "lower", lower);
    let shaped = served.with_approle().options([
        "--secret=secret/lower",
        "--upcase",
        "--on-conflict=overwrite",
    ]);
    assert_eq!(names(&shaped.environment()), ["PASSWORD"]);
}

#[test]
fn without_vault_defaults_are_taken_imports_skipped_and_the_rest_is_as_usual() {
    let served = Served::http();
    let run = served
        .with_approle()
        .env("PASSWORD", "plain")
        .env("VAULT_ENABLED", "false")
        .env("VAULT_X", "x");
    let run = run
        .env("D", "vault:secret/app#user:-default")
        .env("E", "vault:secret/app#user:-")
        .env("N", "1");
    let environment = run.clone().option("--secret=secret/app").environment();
    assert_eq!(names(&environment), ["D", "E", "N", "PASSWORD"]);
    assert_eq!((environment["D"].as_str(), environment["E"].as_str()), ("default", ""));
    let ended = run.clone().option("--secret=secret/app").marker().end();
    assert!(ended.started() && ended.stderr.contains("VAULT_ENABLED"), "{}", ended.stderr);
    run.clone()
        .env("F", "vault:secret/app#user")
        .env("G", "vault?:secret/app#user")
        .fails(78, &["F", "G"]);
    for text in ["0", "F", "no", "False"] {
        assert_eq!(
            run.clone().env("VAULT_ENABLED", text).value("D").as_deref(),
            Some("default"),
            "{text}"
        );
    }
    run.env("VAULT_ENABLED", "maybe").fails(78, &["VAULT_ENABLED"]);
    assert_eq!(served.vault.lines(), Vec::<String>::new());
}

// G3
#[test]
fn with_nothing_to_fetch_there_is_no_login_and_no_address_is_needed() {
    let served = Served::http();
    let run = served.with_approle().env("PASSWORD", "plain").env("A", "1");
    assert_eq!(names(&run.environment()), ["A", "PASSWORD"]);
    assert_eq!(names(&run.clone().without("VAULT_ADDR").environment()), ["A", "PASSWORD"]);
    assert_eq!(
        names(&run.without("VAULT_ROLE_ID").env("VAULT_TOKEN", "t").environment()),
        ["A", "PASSWORD"]
    );
    assert_eq!((served.vault.lines(), served.vault.connections()), (Vec::<String>::new(), 0));
    served.with_approle().without("VAULT_ADDR").fails(78, &["VAULT_ADDR"]);
}

#[test]
fn values_and_names_that_are_no_utf8_pass_while_something_is_fetched() {
    on_both_starts(|run| {
        let odd = OsStr::from_bytes(b"\xff\xfe=\xc3");
        let ended = run.clone().env("ODD", odd).env(OsStr::from_bytes(b"N\xff"), "x").end();
        let entries: Vec<&[u8]> = ended.stdout.split(|&byte| byte == 0).collect();
        assert!(
            entries.contains(&&b"ODD=\xff\xfe=\xc3"[..]) && entries.contains(&&b"N\xff=x"[..]),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn every_kind_of_value_reaches_the_application_as_text() {
    // A31, A36 over the real thing: numbers keep their spelling, null is empty, objects are compact
    // JSON.
    test_vault::on_every_vault(|target| {
        let operator = target.operator();
        let mount = target.unique("kv");
        operator.enable_kv(&mount, 2);
        operator.kv_put(
            &mount,
            2,
            "app",
            json!({ "n": 8080, "t": true, "z": null, "o": { "a": [1, "x"] }, "s": "ä\n\"$x" }),
        );
        let run = run_at(target).env("VAULT_TOKEN", target.root_token());
        let run = ["n", "t", "z", "o", "s"]
            .iter()
            .fold(run, |run, key| run.env(*key, format!("vault:{mount}/app#{key}")));
        let environment = run.environment();
        let values: Vec<&str> =
            ["n", "t", "z", "o", "s"].iter().map(|key| environment[*key].as_str()).collect();
        assert_eq!(values, ["8080", "true", "", "{\"a\":[1,\"x\"]}", "ä\n\"$x"]);
    });
}
