//! What is logged, what never is, and that no state of stderr stops a start.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::openpty;
use nix::unistd::{pipe, write};
use test_vault::{Fault, Value, json};

use crate::support::launch::{FETCHED, Served, on_both_starts};
use crate::support::{Ended, Run, STARTED, directory, run};

/// Asserts that a run starts the application with this stderr.
#[track_caller]
fn starts_with_stderr(run: &Run, stderr: impl Into<Stdio>) {
    let mut command = run.clone().option("--log-level=trace").marker().build();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    let output = command.spawn().expect("it runs").wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stdout),
        (Some(0), format!("{STARTED}\n").into_bytes())
    );
}

/// Runs a test on starts that succeed and have something to report at any level: a warning.
fn on_talking_starts(test: impl Fn(&Run)) {
    on_both_starts(|run| {
        let told = run.clone().option("--ignore-missing");
        test(&told.env("VAULT_SKIP_VERIFY", "true"));
    });
    test(&run().env("VAULT_ENABLED", "false").option("--secret=secret/app"));
}

fn flags(fd: impl AsFd) -> OFlag {
    OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).expect("a descriptor"))
}

/// Returns both ends of a full pipe.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().expect("a pipe");
    let before = flags(&writer);
    fcntl(&writer, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK)).expect("a pipe");
    while write(&writer, &[b'x'; 4096]).is_ok() {}
    while write(&writer, b"x").is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(before)).expect("a pipe");
    (reader, writer)
}

#[test]
fn a_full_pipe_that_nobody_reads_stops_no_start_and_keeps_its_flags() {
    on_talking_starts(|run| {
        let (reader, writer) = full_pipe();
        let before = flags(&writer);
        starts_with_stderr(run, writer.try_clone().expect("a descriptor"));
        assert_eq!(flags(&writer), before);
        assert!(!before.contains(OFlag::O_NONBLOCK));
        drop(writer);
        let mut content = Vec::new();
        File::from(reader).read_to_end(&mut content).expect("readable");
        assert!(content.iter().all(|&byte| byte == b'x'), "something was written");
    });
}

#[test]
fn a_failure_ends_the_process_also_where_nobody_reads_of_it() {
    let (_reader, writer) = full_pipe();
    let failing =
        run().env("A", "vault:secret/app#password").env("VAULT_ADDR", "nonsense").marker();
    assert_eq!(failing.build().stderr(writer).status().expect("it runs").code(), Some(78));
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    assert_eq!(failing.build().stderr(writer).status().expect("it runs").code(), Some(78));
    let full = OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    assert_eq!(failing.build().stderr(full).status().expect("it runs").code(), Some(78));
}

#[test]
fn a_pipe_that_nobody_reads_any_more_stops_no_start() {
    on_talking_starts(|run| {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        starts_with_stderr(run, writer);
    });
}

#[test]
fn a_device_without_space_and_a_descriptor_for_reading_stop_no_start() {
    on_talking_starts(|run| {
        starts_with_stderr(
            run,
            OpenOptions::new().write(true).open("/dev/full").expect("it is there"),
        );
        starts_with_stderr(run, File::open("/dev/null").expect("it is there"));
    });
}

#[test]
fn a_closed_stderr_stops_no_start() {
    on_talking_starts(|run| {
        let built = run.clone().option("--log-level=trace").marker().build();
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 2>&-"])
            .arg(built.get_program())
            .args(built.get_args());
        command.env_clear().envs(built.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.output().expect("it runs");
        assert_eq!(
            (output.status.code(), output.stdout),
            (Some(0), format!("{STARTED}\n").into_bytes())
        );
        assert!(output.stderr.is_empty());
    });
}

#[test]
fn a_terminal_that_nobody_reads_stops_no_start() {
    for room in [0, 1, 10, 60, 300, 2000] {
        on_talking_starts(|run| {
            let pty = openpty(None, None).expect("a terminal");
            let before = flags(&pty.slave);
            fcntl(&pty.slave, FcntlArg::F_SETFL(before | OFlag::O_NONBLOCK)).expect("a terminal");
            while write(&pty.slave, &[b'x'; 1000]).is_ok() {}
            while write(&pty.slave, b"x").is_ok() {}
            if room > 0 {
                nix::unistd::read(&pty.master, &mut vec![0; room]).expect("it is full");
            }
            fcntl(&pty.slave, FcntlArg::F_SETFL(before)).expect("a terminal");
            starts_with_stderr(run, pty.slave.try_clone().expect("a descriptor"));
            assert_eq!(flags(&pty.slave), before);
        });
    }
}

#[test]
fn the_flags_of_every_descriptor_reach_the_application_unchanged() {
    on_both_starts(|run| {
        for wanted in [OFlag::empty(), OFlag::O_NONBLOCK, OFlag::O_APPEND] {
            let directory = directory();
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .open(directory.path().join("log"))
                .expect("a file");
            fcntl(&file, FcntlArg::F_SETFL(wanted)).expect("a file");
            let before = flags(&file);
            starts_with_stderr(run, file.try_clone().expect("a descriptor"));
            assert_eq!(flags(&file), before);
        }
    });
}

// A59
#[test]
fn stdout_has_only_what_the_application_writes() {
    let served = Served::http();
    for level in ["off", "error", "warn", "info", "debug", "trace"] {
        let ended = served.with_approle().option("--log-level").option(level).marker().end();
        assert_eq!(ended.text(), format!("{STARTED}\n"), "{level}");
        let failing =
            run().env("A", "vault:x#y").option("--log-level").option(level).marker().end();
        assert_eq!((failing.code, failing.text().as_str()), (Some(78), ""), "{level}");
        assert_eq!(failing.stderr.is_empty(), level == "off", "{level}: {}", failing.stderr);
    }
}

#[test]
fn a_level_shows_itself_and_those_above_it() {
    let served = Served::http();
    let run =
        served.with_approle().option("--ignore-missing").env("M", "vault:secret/none#x").marker();
    let levels = |run: &Run| -> Vec<String> {
        let ended = run.end();
        assert!(ended.started(), "{}", ended.stderr);
        let level = |line: &str| line.split(": ").nth(1).unwrap_or_default().to_owned();
        let mut levels: Vec<String> = ended.stderr.lines().map(level).collect();
        levels.sort();
        levels.dedup();
        levels
    };
    for (level, shown) in [
        ("error", &[][..]),
        ("warn", &["warn"]),
        ("debug", &["debug", "warn"]),
        ("trace", &["debug", "trace", "warn"]),
    ] {
        for run in [
            run.clone().option("--log-level").option(level),
            run.clone().env("VAULT_EXEC_LOG", level),
            run.clone().env("VAULT_LOG_LEVEL", level.to_ascii_uppercase()),
            run.clone().env("BAO_LOG_LEVEL", level),
        ] {
            let found: Vec<String> =
                levels(&run).into_iter().filter(|level| level != "info").collect();
            assert_eq!(found, shown, "{level}");
        }
    }
    assert_eq!(levels(&run), ["warn"]);
    run.clone().option("--log-level=loud").fails(78, &["--log-level"]);
    run.env("VAULT_LOG_LEVEL", "loud").fails(78, &["VAULT_LOG_LEVEL"]);
}

#[test]
fn in_json_every_line_is_an_object_with_level_and_message() {
    let served = Served::http();
    let good = served
        .with_approle()
        .option("--ignore-missing")
        .env("M", "vault:secret/none#x")
        .option("--log-level=trace")
        .marker();
    let bad =
        served.with_approle().env("VAULT_SECRET_ID", "wrong").option("--log-level=trace").marker();
    for (run, code) in [(good, 0), (bad, 77)] {
        for run in [
            run.clone().option("--log-format=json"),
            run.clone().env("VAULT_EXEC_LOG_FORMAT", "JSON"),
            run.env("VAULT_JSON_LOG", "true"),
        ] {
            let ended = run.end();
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
            assert!(ended.stderr.lines().count() > 1, "{}", ended.stderr);
            for line in ended.stderr.lines() {
                let object: Value = serde_json_of(line);
                assert!(
                    ["error", "warn", "info", "debug", "trace"]
                        .contains(&object["level"].as_str().expect("a level")),
                    "{line}"
                );
                assert!(
                    object["message"].as_str().is_some_and(|message| !message.is_empty()),
                    "{line}"
                );
            }
        }
    }
    run().option("--log-format=xml").fails(78, &["--log-format"]);
    run().env("VAULT_JSON_LOG", "maybe").fails(78, &["VAULT_JSON_LOG"]);
}

fn serde_json_of(line: &str) -> Value {
    line.parse().unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn rust_log_is_the_applications() {
    let served = Served::https();
    for filter in ["trace", "vault_exec=trace", "off"] {
        let run = served
            .with_approle()
            .env("RUST_LOG", filter)
            .env("RUST_LOG_STYLE", "always")
            .shell("echo $RUST_LOG");
        let ended = run.end();
        assert_eq!(
            (ended.text(), ended.stderr.as_str()),
            (format!("{filter}\n"), ""),
            "{}",
            ended.stderr
        );
    }
    let traced =
        served.with_approle().env("RUST_LOG", "trace").option("--log-level=trace").marker().end();
    assert!(
        traced.stderr.lines().all(|line| line.starts_with("vault-exec: ")),
        "{}",
        traced.stderr
    );
    for word in ["hyper", "rustls", "reqwest", "h2::", "X-Vault-Token", "x-vault-token"] {
        assert!(!traced.stderr.contains(word), "{word} in {}", traced.stderr);
    }
}

/// Asserts that nothing a start knows is shown.
#[track_caller]
fn assert_silent(ended: &Ended, secrets: &[&str]) {
    for secret in secrets {
        let half = &secret[secret.len() / 2..];
        for text in [secret, half] {
            assert!(
                !ended.stderr.contains(text) && !ended.text().contains(text),
                "{text} in {}",
                ended.stderr
            );
        }
    }
}

#[test]
fn no_credential_and_no_value_is_ever_shown() {
    for served in [Served::http(), Served::https()] {
        let operator = served.vault.operator();
        operator.kv_put(
            "secret",
            2,
            "shapes",
            json!({ "nul": format!("{FETCHED}\u{0}"), "a=b": FETCHED, "nested": { "x": FETCHED } }),
        );
        let secrets: Vec<String> = vec![
            served.role.role_id.clone(),
            served.role.secret_id.clone(),
            served.token.clone(),
            FETCHED.to_owned(),
        ];
        let approle = served.with_approle().options(["--log-level", "trace"]).marker();
        let token = served.with_token().options(["--log-level", "trace"]).marker();
        let check = |run: &Run, code: i32| {
            let ended = run.end();
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
            let requests = served.vault.requests();
            let tokens: Vec<&str> = requests.iter().filter_map(|request| request.token()).collect();
            let all: Vec<&str> = secrets.iter().map(String::as_str).chain(tokens).collect();
            assert_silent(&ended, &all);
        };
        for run in [&approle, &token] {
            check(run, 0);
            check(&run.clone().option("--log-format=json"), 0);
            check(&run.clone().option("--secret=secret/app").env("user", "x"), 78);
            check(&run.clone().env("X", "vault:secret/shapes#nul"), 78);
            check(&run.clone().option("--secret=secret/shapes"), 78);
            check(
                &run.clone().env("X", "vault:secret/app#none").env("Y", "vault:secret/none#x"),
                66,
            );
            check(&run.clone().env("X", "vault:sys/mounts#x"), 77);
            check(
                &run.clone()
                    .env("VAULT_TOKEN", &served.token)
                    .env("VAULT_ROLE_ID", &served.role.role_id),
                78,
            );
            check(
                &run.clone()
                    .env("VAULT_TOKEN_FILE", format!("/nowhere/{}", "x"))
                    .env("VAULT_TOKEN", &served.token),
                78,
            );
            for name in [
                "VAULT_MAX_RETRIES",
                "VAULT_EXEC_KV_VERSION",
                "VAULT_SKIP_VERIFY",
                "VAULT_ENABLED",
                "VAULT_REVOKE_TOKEN",
            ] {
                check(&run.clone().env(name, &served.role.secret_id), 78);
            }
            check(&run.clone().env("X", format!("vault:{}", served.role.secret_id)), 78);
        }
        // A server's message is quoted, and one of Vault's own messages quotes the secret id.
        let echo = Fault::error(
            400,
            &format!("invalid secret_id \"{}\" of {}", served.role.secret_id, served.role.role_id),
        );
        served.vault.fault_times(1, "/v1/auth/", echo);
        check(&approle, 77);
        served.vault.fault_times(
            1,
            "/v1/secret/",
            Fault::error(403, &format!("token {} is bad", served.token)),
        );
        check(&token, 77);
        served.vault.fault_times(1, "/v1/secret/", Fault::answer(200, format!("<html>{FETCHED}")));
        check(&token, 76);
        served.vault.fault_times(1, "/v1/secret/", Fault::wrong_shape());
        let ended = token.end();
        assert!(!ended.started());
        assert_silent(&ended, &secrets.iter().map(String::as_str).collect::<Vec<_>>());
        served.vault.fault("/v1/secret/", Fault::Close);
        check(&token.option("--timeout=2s"), 69);
    }
}

#[test]
fn a_refused_login_with_control_characters_forges_no_line() {
    let served = Served::http();
    served.vault.fault_times(
        1,
        "/v1/auth/",
        Fault::error(400, "x\nvault-exec: info: all is well\u{1b}[2J"),
    );
    let ended = served.with_approle().fails(77, &["all is well"]);
    assert!(
        !ended.stderr.contains("\nvault-exec: info") && !ended.stderr.contains('\u{1b}'),
        "{}",
        ended.stderr
    );
}

#[test]
fn no_file_is_written() {
    let served = Served::http();
    let directory = directory();
    let run = served
        .with_approle()
        .env("TMPDIR", directory.path())
        .env("HOME", directory.path())
        .env("XDG_RUNTIME_DIR", directory.path());
    let mut command = run.build();
    let output = command.current_dir(directory.path()).output().expect("it runs");
    assert!(output.status.success());
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}

/// Returns the lines that a start logs at a level.
fn lines(run: &Run, level: &str) -> Vec<String> {
    let ended = run.clone().option(format!("--log-level={level}")).marker().end();
    assert!(ended.started(), "{}", ended.stderr);
    ended.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn a_good_start_says_in_one_line_at_info_what_it_did() {
    let served = Served::http();
    assert_eq!(lines(&served.with_approle(), "warn"), Vec::<String>::new());
    let said = lines(&served.with_approle(), "info");
    let [line] = said.as_slice() else { panic!("{said:?}") };
    for part in [
        "info: logged in with approle at auth/approle as role app, policies ",
        "token for ",
        ", 1 requests for secrets, 0 leases, ",
    ] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    let said = lines(&served.with_token(), "info");
    assert!(
        matches!(said.as_slice(), [line] if line.contains("used the token that was given, 1 req")),
        "{said:?}"
    );
}

#[test]
fn each_request_is_told_at_debug_with_its_status_its_time_and_vaults_id() {
    let served = Served::http();
    let said = lines(&served.with_approle(), "debug");
    for what in ["login at auth/approle", "secret/data/app", "auth/token/revoke-self"] {
        let start = format!("vault-exec: debug: {what}: status 20");
        let line = said.iter().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no {what} in {said:?}"));
        assert!(line.contains(" in "), "{line}");
        assert_eq!(line.contains("request id "), !what.ends_with("revoke-self"), "{line}");
    }
    let name = concat!("vault-exec/", env!("CARGO_PKG_VERSION"));
    let requests = served.vault.requests();
    assert!(requests.iter().all(|request| request.header("user-agent") == Some(name)));
}

#[test]
fn nothing_that_a_server_says_makes_a_line_or_a_hint_of_its_own() {
    let served = Served::http();
    let forged = "x\nvault-exec: error: forged\u{202e}\u{9b}2J";
    served.vault.operator().kv_put("secret", 2, "app", json!({ "password": "p", forged: "v" }));
    let login = json!({
        "auth": { "client_token": served.token, "policies": [forged], "token_type": "service" },
        "warnings": [forged],
    });
    served.vault.fault("/v1/auth/approle/login", Fault::answer(200, login.to_string()));
    let run = served.with_approle().option("--revoke=false").option("--log-level=info");
    for run in [run.clone(), run.env("B", "vault:secret/app#none")] {
        let ended = run.clone().marker().end();
        let plain = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
        assert!(ended.stderr.chars().all(plain), "{:?}", ended.stderr);
        assert!(ended.stderr.contains("forged"), "{}", ended.stderr);
        for line in ended.stderr.lines() {
            assert!(!line.starts_with("vault-exec: error: forged"), "{}", ended.stderr);
        }
        let ended = run.option("--log-format=json").marker().end();
        for line in ended.stderr.lines() {
            let object: Value = line.parse().expect("an object a line");
            let is_error = object["level"] == "error";
            assert_eq!(object.get("hint").is_some(), is_error, "{line}");
            let time = object["time"].as_str().expect("a time");
            assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
        }
    }
}

#[test]
fn a_secret_with_very_many_keys_has_some_of_them_named_in_the_hint_of_a_missing_one() {
    let served = Served::http();
    let keys = (0..5000).map(|number| (format!("key-{number:04}"), json!("v")));
    served.vault.operator().kv_put("secret", 2, "app", Value::Object(keys.collect()));
    let run = served.with_approle();
    let ended = run.fails(66, &["no key password", "key-0000, ", " and 4980 more"]);
    assert!(ended.stderr.len() < 1000, "{}", ended.stderr.len());
}
