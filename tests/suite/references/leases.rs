//! Dynamic secrets: how many are made, and what becomes of their leases.

use std::time::{Duration, SystemTime};

use test_vault::{
    Fault, Postgres, Target, TestVault, Value, json, on_every_vault, on_every_vault_with_database,
};

use crate::references::texts_and_templates::tells_nothing_of;
use crate::support::application::{AppRole, as_role, as_root, reading, role, with_app};
use crate::support::{Ended, Run, run_at};

const PATIENCE: Duration = Duration::from_secs(10);

/// Database secrets with the role `app`, and a policy that lets them be read.
pub(crate) struct Database<'a> {
    target: &'a Target,
    pub(crate) mount: String,
}

impl<'a> Database<'a> {
    pub(crate) fn new(target: &'a Target, postgres: Option<&Postgres>) -> Self {
        let mount = target.unique("database");
        target.operator().enable_database(
            &mount,
            "app",
            json!({ "default_ttl": "1h", "max_ttl": "24h" }),
            postgres,
        );
        Self { target, mount }
    }

    pub(crate) fn policy(&self) -> String {
        reading(&format!("{}/creds", self.mount))
    }

    fn role(&self, settings: Value) -> AppRole {
        role(self.target, &self.policy(), settings)
    }

    fn reference(&self, key: &str) -> String {
        format!("vault:{}/creds/app#{key}", self.mount)
    }

    /// `USER` and `PASSWORD` of one database user.
    pub(crate) fn wanted(&self, run: Run) -> Run {
        run.env("USER", self.reference("username")).env("PASSWORD", self.reference("password"))
    }

    /// A run that logs in as this role, for such a user.
    fn run(&self, settings: Value) -> Run {
        self.wanted(as_role(self.target, &self.role(settings)))
    }

    /// The leases there are once there are as many, or after a while.
    #[track_caller]
    pub(crate) fn assert_leases(&self, count: usize) -> Vec<String> {
        let leases = self.target.operator().wait_for_leases(&self.mount, count, PATIENCE);
        assert_eq!(leases.len(), count, "{leases:?}");
        leases
    }

    /// How often a server of our own was asked for a user.
    fn reads(&self) -> Option<usize> {
        let start = format!("GET /v1/{}/creds/", self.mount);
        Some(self.target.own()?.lines().iter().filter(|line| line.starts_with(&start)).count())
    }
}

#[track_caller]
fn started(run: &Run) -> Ended {
    let ended = run.clone().marker().end();
    assert!(ended.started(), "{}", ended.stderr);
    ended
}

fn own() -> Target {
    TestVault::start().into()
}

// Peer cases A56, C39.
#[test]
fn user_name_and_password_come_from_one_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let run = database
            .run(json!({}))
            .env("AGAIN", format!("bao:/{}/creds/app#username", database.mount))
            .env(
                "TEXT",
                format!(
                    "<${{vault?:/{0}/creds/app#username:-x}}|${{bao:{0}/creds/app#password}}>",
                    database.mount
                ),
            )
            .env("ALL", format!("vault:{}/creds/app#${{ . | toJson }}", database.mount))
            .option("--secret")
            .option(format!("P_*={}/creds/app", database.mount));
        let environment = run.environment();
        let (user, password) = (&environment["USER"], &environment["PASSWORD"]);
        assert!(user.starts_with("v-") && user.contains("-app-"), "{user}");
        assert_eq!(
            (&environment["AGAIN"], &environment["P_username"], &environment["P_password"]),
            (user, user, password)
        );
        assert_eq!(environment["TEXT"], format!("<{user}|{password}>"));
        let all: Value = environment["ALL"].parse().expect("JSON");
        assert_eq!(all, json!({ "username": user, "password": password }));
        database.assert_leases(1);
        assert_eq!(database.reads().unwrap_or(1), 1);
    });
}

#[test]
fn the_application_is_let_into_the_database() {
    on_every_vault_with_database(|target, postgres| {
        let Some(postgres) = postgres else { return };
        let database = Database::new(target, Some(postgres));
        let url = postgres.connection_url();
        let field = |name: &str| {
            format!("${{{}}}", database.reference(&format!("${{.{name} | urlquery}}")))
        };
        let text = url
            .replace("{{username}}", &field("username"))
            .replace("{{password}}", &field("password"));
        let run = as_role(target, &database.role(json!({})))
            .env("URL", text)
            .env("USER", database.reference("username"));
        let ended =
            run.shell("echo \"$USER\"; psql --no-psqlrc -Atc 'SELECT current_user' \"$URL\"").end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let names: Vec<String> = ended.text().lines().map(str::to_owned).collect();
        assert!(names.len() == 2 && names[0] == names[1], "{names:?}");
        database.assert_leases(1);
    });
}

#[test]
fn each_distinct_request_makes_one_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        target.operator().database_role(&database.mount, "other", json!({ "default_ttl": "1h" }));
        let other = format!("{}/creds/other", database.mount);
        let run = database.run(json!({})).env("OTHER", format!("vault:{other}#username"));
        let environment = run.env("OTHERS", format!("${{bao:/{other}#password}}")).environment();
        assert_ne!(environment["OTHER"], environment["USER"]);
        database.assert_leases(2);
    });
}

#[test]
fn a_certificate_with_a_lease_is_made_once() {
    on_every_vault(|target| {
        let (operator, mount) = (target.operator(), target.unique("pki"));
        operator.enable_pki(&mount);
        let settings = json!({ "allow_any_name": true, "generate_lease": true, "ttl": "1h" });
        operator.pki_role(&mount, "leased", settings);
        let role = role(
            target,
            &format!("path \"{mount}/issue/*\" {{ capabilities = [\"update\"] }}"),
            json!({}),
        );
        let reference =
            |key: &str, body: &str| format!(">>vault:{mount}/issue/leased#{key}#{body}");
        let run = as_role(target, &role)
            .env("CERT", reference("certificate", r#"{"common_name":"app","ttl":"30m"}"#))
            .env(
                "KEY",
                format!(
                    "${{{}}}",
                    reference("private_key", r#"{"ttl": "30m", "common_name": "app"}"#)
                ),
            );
        let ended = started(&run.clone().option("--log-level=info"));
        let leases = operator.leases(&mount);
        assert_eq!(leases.len(), 1, "{leases:?}");
        assert!(ended.stderr.contains(&format!("lease {}: ", leases[0])), "{}", ended.stderr);
        assert!(ended.stderr.contains(" s, not renewable"), "{}", ended.stderr);
        let missing = run.clone().env("MISSING", reference("none", r#"{"common_name":"app"}"#));
        missing.fails(66, &["MISSING: ", "no key none"]);
        assert_eq!(operator.wait_for_leases(&mount, 1, PATIENCE), leases);
    });
}

#[test]
fn the_log_tells_of_a_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let run = database.run(json!({}));
        assert_eq!(started(&run).stderr, "");
        let before = database.assert_leases(1);
        let ended = started(&run.option("--log-level=info"));
        let leases = database.assert_leases(2);
        let lease = leases.iter().find(|lease| !before.contains(lease)).expect("a new one");
        let line = format!("info: lease {lease}: 3600 s, renewable");
        assert!(ended.stderr.contains(&line), "no {line} in: {}", ended.stderr);
        assert!(!ended.stderr.contains("not renewable"), "{}", ended.stderr);
    });
}

#[test]
fn a_lease_lives_on_unless_its_token_is_to_be_revoked() {
    on_every_vault_with_database(|target, postgres| {
        for (revoke, count) in [("auto", 1), ("false", 1), ("true", 0)] {
            let database = Database::new(target, postgres);
            let ended = started(&database.run(json!({})).option("--revoke").option(revoke));
            let warns = ended.stderr.contains("warn: the token is revoked as --revoke true says");
            assert_eq!(warns, revoke == "true", "{}", ended.stderr);
            assert_eq!(ended.stderr.is_empty(), revoke != "true", "{}", ended.stderr);
            let leases = database.assert_leases(count);
            for lease in leases {
                let answer =
                    target.operator().write("sys/leases/lookup", json!({ "lease_id": lease }));
                assert!(answer["data"]["ttl"].as_u64().is_some_and(|ttl| ttl > 3000), "{answer}");
            }
        }
    });
}

#[test]
fn a_start_that_fails_leaves_no_lease() {
    on_every_vault_with_database(|target, postgres| {
        let kv = with_app(target);
        let database = Database::new(target, postgres);
        let role = role(target, &format!("{}\n{}", database.policy(), reading(&kv)), json!({}));
        let run = database.wanted(as_role(target, &role)).option("--log-level=info");
        for (value, code) in [
            (format!("vault:{kv}/none#k"), 66),
            (database.reference("none"), 66),
            (database.reference("${.username | b64dec}"), 78),
            ("vault:secret/data/refused#k".to_owned(), 77),
        ] {
            let ended = run.clone().env("WRONG", &value).fails(code, &["WRONG: "]);
            assert!(ended.stderr.contains("info: lease "), "one was made: {}", ended.stderr);
            database.assert_leases(0);
        }
    });
}

#[test]
fn a_user_that_may_have_been_made_is_not_asked_for_again() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Reset,
        Fault::Truncate,
        Fault::bad_gateway(),
        Fault::answer(504, ""),
        Fault::internal_error(),
    ] {
        let target = own();
        let database = Database::new(&target, None);
        target.own().expect("own").fault_times(
            1,
            &*format!("GET /v1/{}/", database.mount),
            fault.clone(),
        );
        let run = database.run(json!({})).option("--ignore-missing");
        run.fails(69, &["PASSWORD, USER: ", "/creds/app", "it is not repeated"]);
        assert_eq!(database.reads(), Some(1), "{fault:?}");
        database.assert_leases(0);
    }
}

#[test]
fn a_user_that_was_not_made_is_asked_for_again() {
    for fault in [
        Fault::rate_limited(None),
        Fault::rate_limited(Some("1")),
        Fault::sealed(),
        Fault::lagging(),
    ] {
        let target = own();
        let database = Database::new(&target, None);
        target.own().expect("own").fault_times(
            1,
            &*format!("GET /v1/{}/", database.mount),
            fault.clone(),
        );
        started(&database.run(json!({})));
        assert_eq!(database.reads(), Some(2), "{fault:?}");
        database.assert_leases(1);
    }
}

#[test]
fn a_version_of_a_dynamic_secret_is_an_error_and_makes_none() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let run = as_role(target, &database.role(json!({}))).option("--revoke=false");
        for value in [
            database.reference("username#1"),
            format!("<${{{}:-d}}>", database.reference("username#2")),
        ] {
            run.clone()
                .env("X", value)
                .fails(78, &["X: ", "/creds/app", "no versions", "leave #version out"]);
        }
        let import = format!("{}/creds/app##1", database.mount);
        run.option("--secret").option(import).fails(78, &["no versions"]);
        assert_eq!(target.operator().leases(&database.mount), [""; 0]);
        assert_eq!(database.reads().unwrap_or_default(), 0);
    });
}

/// The last use of a token hands out nothing that hangs on it.
#[test]
fn a_token_whose_last_use_is_a_lease_is_an_error_that_names_its_uses() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let run = database.run(json!({ "token_num_uses": 1 }));
        run.fails(
            78,
            &["the login's token is good for 1 requests", "dynamic secrets", "token_num_uses"],
        );
        database.assert_leases(0);
        let given = target.operator().create_token(json!({ "policies": ["root"], "num_uses": 1 }));
        let run = database.wanted(run_at(target).env("VAULT_TOKEN", given));
        run.fails(77, &["PASSWORD, USER: ", "token had one use left", "give the token more uses"]);
        database.assert_leases(0);
        assert_eq!(started(&database.run(json!({ "token_num_uses": 2 }))).stderr, "");
        database.assert_leases(1);
    });
}

#[test]
fn a_token_that_is_used_up_is_an_error_whichever_request_comes_last() {
    on_every_vault_with_database(|target, postgres| {
        let kv = with_app(target);
        let database = Database::new(target, postgres);
        let hcl = format!("{}\n{}", database.policy(), reading(&kv));
        for name in ["A", "Z"] {
            let role = role(target, &hcl, json!({ "token_num_uses": 2 }));
            let run = database
                .wanted(as_role(target, &role))
                .env(name, format!("vault:{kv}/data/app#user"));
            run.fails(
                78,
                &["the login's token is good for 2 requests", "dynamic secrets", "token_num_uses"],
            );
            database.assert_leases(0);
        }
        let role = role(target, &hcl, json!({ "token_num_uses": 3 }));
        started(
            &database.wanted(as_role(target, &role)).env("A", format!("vault:{kv}/data/app#user")),
        );
        database.assert_leases(1);
    });
}

/// A real server, asked for both at once, can keep the lease of a token that is gone.
#[test]
fn a_lease_is_never_made_while_the_last_use_of_its_token_is_under_way() {
    let target = own();
    let kv = with_app(&target);
    let database = Database::new(&target, None);
    let vault = target.own().expect("own");
    let role = role(
        &target,
        &format!("{}\n{}", database.policy(), reading(&kv)),
        json!({ "token_num_uses": 2 }),
    );
    let run =
        database.wanted(as_role(&target, &role)).env("Z", format!("vault:{kv}/data/app#user"));
    vault.fault(&*format!("GET /v1/{}/", database.mount), Fault::Delay(Duration::from_secs(1)));
    let child = run.marker().spawn();
    assert!(vault.wait_for(
        |requests| requests.iter().any(|request| request.path.starts_with(&format!("/v1/{kv}/"))),
        PATIENCE
    ));
    let requests = vault.requests();
    let lease =
        requests.iter().find(|request| request.path.contains("/creds/")).expect("asked for");
    assert_eq!(lease.status, Some(200), "answered before the next one was asked");
    assert_eq!(Ended::of(child.wait_with_output().expect("it ends")).code, Some(78));
}

#[test]
fn a_version_that_is_found_out_too_late_leaves_no_lease() {
    let target = own();
    let database = Database::new(&target, None);
    target.own().expect("own").fault("/v1/sys/internal/", Fault::error(403, "permission denied"));
    let run =
        as_role(&target, &database.role(json!({}))).env("X", database.reference("username#1"));
    run.fails(78, &["X: ", "/creds/app", "no versions"]);
    assert_eq!(database.reads(), Some(1));
    database.assert_leases(0);
}

#[test]
fn a_batch_token_keeps_its_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        for revoke in ["auto", "true"] {
            let run = database.run(json!({ "token_type": "batch", "token_ttl": "2h" }));
            let ended = started(&run.option("--revoke").option(revoke));
            assert_eq!(ended.stderr, "");
        }
        database.assert_leases(2);
    });
}

#[test]
fn a_lease_that_its_token_ends_is_warned_of_with_the_time() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let ended = started(&database.run(json!({ "token_ttl": "600s" })));
        let lease = &database.assert_leases(1)[0];
        let rest = ended.stderr.split(&format!("warn: lease {lease} ends at ")).nth(1);
        let rest = rest.unwrap_or_else(|| panic!("no warning: {}", ended.stderr));
        assert!(
            rest.contains("with the token that it was made with, in 600 s, not in 3600 s"),
            "{}",
            ended.stderr
        );
        let end =
            humantime::parse_rfc3339(rest.split(' ').next().expect("a time")).expect("RFC 3339");
        let left = end.duration_since(SystemTime::now()).expect("to come").as_secs();
        assert!((560..=600).contains(&left), "{left}");
        let longer = started(&database.run(json!({ "token_ttl": "2h" })));
        assert_eq!(longer.stderr, "");
    });
}

#[test]
fn a_given_token_keeps_its_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let token = crate::support::application::token(target, &database.policy());
        let run = database.wanted(run_at(target).env("VAULT_TOKEN", token));
        assert_eq!(started(&run).stderr, "");
        database.assert_leases(1);
        let ended = started(&run.option("--revoke=true"));
        assert!(ended.stderr.contains("warn: the token is revoked"), "{}", ended.stderr);
        database.assert_leases(0);
    });
}

#[test]
fn a_role_of_the_database_that_there_is_not_is_told_in_vaults_words() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let value = format!("vault?:{}/creds/none#username:-d", database.mount);
        let run = as_root(target).env("X", value).option("--ignore-missing");
        run.fails(77, &["X: ", "/creds/none", "unknown role: none"]);
    });
}

#[test]
fn no_message_shows_a_dynamic_secret() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, postgres);
        let directory = crate::support::directory();
        let file = directory.path().join("seen");
        let run = database.run(json!({})).env("FILE", &file).option("--log-level=trace");
        let ended = run.clone().shell("printf '%s\\n' \"$USER\" \"$PASSWORD\" > \"$FILE\"").end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let seen = std::fs::read_to_string(file).expect("written");
        let values: Vec<&str> = seen.lines().collect();
        assert!(values.len() == 2 && values.iter().all(|value| value.len() > 10));
        assert!(values.iter().all(|value| !ended.stderr.contains(value)), "{}", ended.stderr);
        let role = database.role(json!({}));
        let run = database.wanted(as_role(target, &role)).env("WRONG", database.reference("none"));
        assert_eq!(tells_nothing_of(&run, &[&role.secret_id]).code, Some(66));
    });
}
