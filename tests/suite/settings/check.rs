//! `--check`: everything but the application, and nothing is left behind.

use std::time::Duration;

use test_vault::{Fault, Target, TestVault, json, on_every_vault, on_every_vault_with_database};

use crate::support::application::{as_role, as_root, kv, reading, role, token, with_app};
use crate::support::{Ended, Run, directory, run, run_at};

/// How long leases of a revoked token may stay.
const PATIENCE: Duration = Duration::from_secs(20);

/// A value that is found nowhere by accident.
const MARKED: &str = "marked-5c0de-of-the-check";

fn checked(run: &Run) -> Ended {
    run.clone().option("--check").marker().end()
}

/// The lines of a check that works, without the one of PATH.
#[track_caller]
fn lines(run: &Run) -> Vec<String> {
    let ended = checked(run);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
        .text()
        .lines()
        .filter(|line| *line != "PATH: the environment")
        .map(str::to_owned)
        .collect()
}

/// A database mount with a role `app` whose leases last an hour.
fn database(target: &Target, postgres: Option<&test_vault::Postgres>) -> String {
    let database = target.unique("database");
    target.operator().enable_database(&database, "app", json!({"default_ttl": "1h"}), postgres);
    database
}

fn no_leases(target: &Target, prefix: &str) {
    assert_eq!(target.operator().wait_for_leases(prefix, 0, PATIENCE), Vec::<String>::new());
}

#[test]
fn each_variable_has_a_line_with_its_source_and_never_its_value() {
    on_every_vault_with_database(|target, postgres| {
        let mount = with_app(target);
        let operator = target.operator();
        operator.kv_put(&mount, 2, "app", json!({"user": MARKED, "password": MARKED}));
        let transit = target.unique("transit");
        operator.enable_transit(&transit);
        operator.transit_key(&transit, "key");
        let database = database(target, postgres);
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(&file, format!("FROM_FILE={MARKED}\n")).expect("written");
        let run = as_root(target)
            .env("A", format!("vault:{mount}/app#user"))
            .env("OLD", format!("vault:{mount}/data/app#user#1"))
            .env("TEXT", format!("a ${{vault:{mount}/app#user}} b ${{vault:{mount}/app#password}}"))
            .env("DEFAULT", format!("vault:{mount}/none#k:-{MARKED}"))
            .env("LEFT_OUT", format!("vault?:{mount}/none#k"))
            .env("LENT", format!("vault:{database}/creds/app#username"))
            .env("CIPHER", operator.encrypt(&transit, "key", MARKED))
            .env("VAULT_TRANSIT_KEY_ID", "key")
            .env("VAULT_TRANSIT_PATH", &transit)
            .env("PLAIN", MARKED)
            .option("--env-file")
            .option(&file)
            .option("--secret")
            .option(format!("P_*={mount}/app"));
        let found = lines(&run);
        let line = |name: &str| {
            let mut all = found.iter().filter(|line| line.starts_with(&format!("{name}: ")));
            let line = all.next().unwrap_or_else(|| panic!("{name}: {found:#?}"));
            assert!(all.next().is_none(), "{name} comes twice");
            line.strip_prefix(&format!("{name}: ")).expect("it starts so").to_owned()
        };
        assert_eq!(line("A"), format!("{mount}/app#user, version 2"));
        assert_eq!(line("OLD"), format!("{mount}/data/app#user, version 1"));
        assert_eq!(
            line("TEXT"),
            format!("{mount}/app#user, version 2; {mount}/app#password, version 2")
        );
        assert_eq!(line("DEFAULT"), "the default of its reference");
        let lent = line("LENT");
        assert!(
            lent.starts_with(&format!(
                "{database}/creds/app#username, lease {database}/creds/app/"
            )),
            "{lent}"
        );
        assert!(lent.ends_with(", 3600 s, renewable"), "{lent}");
        assert_eq!(line("CIPHER"), "a ciphertext");
        assert_eq!(line("PLAIN"), "the environment");
        assert_eq!(line("FROM_FILE"), format!("env file {}", file.display()));
        assert_eq!(line("P_user"), format!("{mount}/app#user, version 2"));
        assert_eq!(line("P_password"), format!("{mount}/app#password, version 2"));
        assert_eq!(found.len(), 10, "{found:#?}");
        for level in ["error", "trace"] {
            let ended = checked(&run.clone().option("--log-level").option(level));
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(!ended.text().contains(MARKED) && !ended.stderr.contains(MARKED), "{ended:?}");
            assert!(!ended.stderr.contains(&target.root_token()), "{}", ended.stderr);
            assert!(!ended.started(), "it was started");
        }
        no_leases(target, &format!("{database}/creds"));
    });
}

#[test]
fn a_check_needs_no_command_and_says_where_one_is_missing() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target).env("A", format!("vault:{mount}/app#user")).option("--check");
        let ended = run.clone().command::<&str>([]).end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(
            ended.text().contains(&format!("A: {mount}/app#user, version 1\n")),
            "{}",
            ended.text()
        );
        if let Some(own) = target.own() {
            own.clear();
        }
        let ended = run.command(["no-such-command-anywhere"]).end();
        assert_eq!((ended.code, ended.text().as_str()), (Some(127), ""), "{}", ended.stderr);
        if let Some(own) = target.own() {
            assert_eq!(own.connections(), 0, "{:?}", own.lines());
        }
    });
}

#[test]
fn a_check_fails_as_a_start_does() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target).option("--check");
        let reference = |rest: &str| format!("vault:{mount}/{rest}");
        run.clone()
            .env("OK", reference("app#user"))
            .env("A", reference("app#none"))
            .env("B", reference("none#k"))
            .env("C", reference("app#user#9"))
            .fails(66, &["A: ", "B: ", "C: "]);
        run.clone().env("A", "vault:nonsense").env("B", "vault:x").fails(78, &["A: ", "B: "]);
        let allowed = token(target, &reading(&format!("{mount}/data/app")));
        let refused = run_at(target).env("VAULT_TOKEN", allowed).option("--check");
        refused
            .env("A", format!("vault:{mount}/data/none#k"))
            .fails(77, &["A: ", "permission denied"]);
        let wrong = run_at(target).env("VAULT_TOKEN", "s.wrong").option("--check");
        wrong.env("A", reference("app#user")).fails(77, &["A: "]);
        run.clone()
            .env("user", "there")
            .option("--secret")
            .option(format!("{mount}/app#user"))
            .fails(78, &["user"]);
        let nowhere = run.env("A", reference("app#user")).env("VAULT_ADDR", "http://127.0.0.1:1");
        nowhere.env("VAULT_EXEC_TIMEOUT", "1s").fails(69, &["127.0.0.1:1"]);
    });
}

#[test]
fn its_own_login_is_revoked_with_its_leases_whatever_the_settings_say() {
    on_every_vault_with_database(|target, postgres| {
        let database = database(target, postgres);
        let run = as_role(target, &role(target, &reading(&database), json!({})))
            .env("A", format!("vault:{database}/creds/app#username"));
        for revoke in ["auto", "true", "false"] {
            let ended = checked(&run.clone().option("--revoke").option(revoke));
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(
                ended.text().contains(&format!("lease {database}/creds/app/")),
                "{}",
                ended.text()
            );
            no_leases(target, &format!("{database}/creds"));
        }
        if let Some(own) = target.own() {
            own.clear();
            checked(&run);
            let lines = own.lines();
            assert_eq!(
                lines.last().map(String::as_str),
                Some("POST /v1/auth/token/revoke-self"),
                "{lines:?}"
            );
        }
        // A check that fails leaves nothing behind either.
        let ended = run
            .env("B", format!("vault:{database}/creds/app#none"))
            .option("--check")
            .fails(66, &["B: "]);
        assert_eq!(ended.text(), "");
        no_leases(target, &format!("{database}/creds"));
    });
}

#[test]
fn a_given_token_stays_and_its_leases_go() {
    on_every_vault_with_database(|target, postgres| {
        let database = database(target, postgres);
        let prefix = format!("{database}/creds");
        let lent = |token: &str| {
            run_at(target)
                .env("VAULT_TOKEN", token)
                .env("A", format!("vault:{prefix}/app#username"))
        };
        let may = format!(
            "{}\npath \"sys/leases/revoke\" {{ capabilities = [\"update\"] }}",
            reading(&database)
        );
        for token in [target.root_token(), token(target, &may)] {
            for revoke in ["auto", "true"] {
                let run = lent(&token).option("--revoke").option(revoke);
                assert!(lines(&run)[0].starts_with("A: "), "{revoke}");
                no_leases(target, &prefix);
                let (status, _) =
                    target.operator().request("GET", "auth/token/lookup-self", Some(&token), None);
                assert_eq!(status, 200, "{revoke}: the token is still good");
            }
        }
        let ended = checked(&lent(&token(target, &reading(&database))));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let leases = target.operator().leases(&prefix);
        assert_eq!(leases.len(), 1, "{leases:?}");
        let warning = format!("lease {} of this check stays for 3600 s", leases[0]);
        assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
        target.operator().write("sys/leases/revoke", json!({"lease_id": leases[0]}));
    });
}

#[test]
fn a_token_that_is_too_good_is_pointed_out() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let with = |token: &str| {
            checked(
                &run_at(target)
                    .env("VAULT_TOKEN", token)
                    .env("A", format!("vault:{mount}/app#user")),
            )
        };
        let (root, forever) = ("root token", "never expires");
        let ended = with(&target.root_token());
        assert!(ended.stderr.contains(root) && ended.stderr.contains(forever), "{}", ended.stderr);
        let short = target.operator().create_token(json!({"policies": ["root"], "ttl": "1h"}));
        let ended = with(&short);
        assert!(ended.stderr.contains(root) && !ended.stderr.contains(forever), "{}", ended.stderr);
        let fine = token(target, &reading(&mount));
        assert_eq!(with(&fine).stderr, "");
        // A start says nothing of it.
        let start = as_root(target).env("A", format!("vault:{mount}/app#user")).marker().end();
        assert!(start.started() && start.stderr.is_empty(), "{}", start.stderr);
    });
}

#[test]
fn a_token_that_nothing_is_said_of_is_checked_nevertheless() {
    for fault in [Fault::Hang, Fault::internal_error(), Fault::error(403, "permission denied")] {
        let target: Target = TestVault::start().into();
        let mount = with_app(&target);
        target.own().expect("own").fault("GET /v1/auth/token/lookup-self", fault.clone());
        let run = as_root(&target)
            .env("A", format!("vault:{mount}/app#user"))
            .env("VAULT_EXEC_TIMEOUT", "15s");
        assert_eq!(lines(&run), [format!("A: {mount}/app#user, version 1")], "{fault:?}");
    }
}

#[test]
fn credential_files_stay() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let directory = directory();
        let file = directory.path().join("token");
        std::fs::write(&file, target.root_token()).expect("written");
        let run = run_at(target)
            .env("VAULT_TOKEN_FILE", &file)
            .env("A", format!("vault:{mount}/app#user"))
            .option("--remove-credential-files");
        assert_eq!(checked(&run).code, Some(0));
        assert!(file.exists());
        assert!(run.marker().end().started());
        assert!(!file.exists(), "a start removes it");
    });
}

#[test]
fn a_value_that_no_environment_holds_is_an_error_of_a_check_too() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(
            &mount,
            2,
            "app",
            json!({"large": "x".repeat(140_000), "nul": "a\u{0}b"}),
        );
        let run = as_root(target).option("--check");
        run.clone().env("LARGE", format!("vault:{mount}/app#large")).fails(78, &["LARGE"]);
        run.env("NUL", format!("vault:{mount}/app#nul")).fails(78, &["NUL"]);
    });
}

#[test]
fn without_vault_the_defaults_are_shown() {
    let vault = TestVault::start();
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_ENABLED", "false")
        .env("A", format!("vault:secret/app#k:-{MARKED}"))
        .env("B", "plain")
        .option("--secret=secret/app");
    assert_eq!(lines(&run), ["A: the default of its reference", "B: the environment"]);
    assert!(checked(&run).stderr.contains("nothing is imported"));
    run.env("C", "vault:secret/app#k").option("--check").fails(78, &["C: "]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn the_token_of_the_login_and_what_comes_with_it_are_shown() {
    on_every_vault(|target| {
        let run = as_role(target, &role(target, &reading("nowhere"), json!({})))
            .env("VAULT_TOKEN", "vault:login");
        let found = lines(&run);
        assert_eq!(
            found,
            [
                "VAULT_ADDR: a setting, for the token of the login",
                "VAULT_TOKEN: the token of the login"
            ]
        );
    });
}

#[test]
fn a_name_with_odd_characters_stays_in_its_line() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target)
            .env("a\nb: c\u{1b}[31m", "x")
            .env("ä.b-c", format!("vault:{mount}/app#user"))
            .command(["sh", "-c", "exit 9"]);
        let mut found = lines(&run);
        found.sort();
        let odd = "a\\nb: c\\u{1b}[31m: the environment".to_owned();
        assert_eq!(found, [odd, format!("ä.b-c: {mount}/app#user, version 1")]);
    });
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    for option in ["--check", "--print-policy", "--help"] {
        let full =
            std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
        let output = run().option(option).build().stdout(full).output().expect("it runs");
        assert_eq!(output.status.code(), Some(78), "{option}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("stdout cannot be written"),
            "{option}"
        );
    }
}

#[test]
fn no_name_of_a_key_or_a_lease_forges_a_line_or_controls_a_terminal() {
    let target: Target = TestVault::start().into();
    let forged = "x\nDB_PASSWORD: the environment\u{1b}]0;t\u{7}\u{202e}\u{9b}2J";
    let mount = kv(&target, 2);
    target.operator().kv_put(&mount, 2, "app", json!({ forged: "v" }));
    let leased = json!({
        "lease_id": format!("database/creds/app/{forged}"), "lease_duration": 60,
        "renewable": true, "data": { "user": "u" },
    });
    target.own().expect("own").fault("/v1/leased/", Fault::answer(200, leased.to_string()));
    let run = as_root(&target)
        .env("B", "vault:leased/data/app#user")
        .option("--sanitize")
        .option("--secret")
        .option(format!("P_*={mount}/data/app"));
    let ended = checked(&run);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let text = ended.text();
    for said in [&text, &ended.stderr] {
        let plain = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
        assert!(said.chars().all(plain), "{said:?}");
    }
    assert!(!text.lines().any(|line| line.starts_with("DB_PASSWORD")), "{text}");
    assert!(text.contains("lease database/creds/app/x\\nDB_PASSWORD"), "{text}");
}
