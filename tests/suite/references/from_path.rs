//! `VAULT_ENV_FROM_PATH`, as vault-env has it: whole secrets, of the latest version or of a pinned
//! one.

use test_vault::{Target, TestVault, json, on_every_vault};

use crate::support::application::{as_root, kv, reading, token};
use crate::support::{Run, added, directory, pairs, run, run_at};

/// The server of vault-env's own tests.
fn accounts(target: &Target) -> String {
    let mount = kv(target, 2);
    let operator = target.operator();
    operator.kv_put(&mount, 2, "account1", json!({"password": "secret", "password2": "secret1"}));
    operator.kv_put(&mount, 2, "account1", json!({"password": "secret", "password2": "secret2"}));
    operator.kv_put(&mount, 2, "account2", json!({"password3": "secret"}));
    operator.kv_put(&mount, 2, "account2", json!({"password3": "secret3", "password4": "secret4"}));
    mount
}

fn from(target: &Target, mount: &str, paths: &str) -> Run {
    as_root(target).env("VAULT_ENV_FROM_PATH", paths.replace('@', mount))
}

// Peer cases A12, A13, A14, A15.
#[test]
fn whole_secrets_are_added_of_the_latest_version_or_of_the_one_that_is_named() {
    on_every_vault(|target| {
        let mount = accounts(target);
        let latest = [("password", "secret"), ("password2", "secret2")];
        let pinned = [("password", "secret"), ("password2", "secret1")];
        let second = [("password3", "secret3"), ("password4", "secret4")];
        for (case, paths, wanted) in [
            ("A12", "@/data/account1", &[&latest[..]][..]),
            ("A13", "@/data/account1#1", &[&pinned]),
            ("A14", "@/data/account1,@/data/account2", &[&latest, &second]),
            ("A15", "@/data/account1#1,@/data/account2", &[&pinned, &second]),
            ("without data", "@/account1#1, @/account2 ,", &[&pinned, &second]),
        ] {
            assert_eq!(added(&from(target, &mount, paths)), pairs(&wanted.concat()), "{case}");
        }
    });
}

#[test]
fn a_secret_of_kv_version_1_is_added_too() {
    on_every_vault(|target| {
        let mount = kv(target, 1);
        target.operator().kv_put(&mount, 1, "app", json!({"a": "1", "b": 2}));
        assert_eq!(added(&from(target, &mount, "@/app")), pairs(&[("a", "1"), ("b", "2")]));
        from(target, &mount, "@/app#1")
            .fails(78, &[&format!("VAULT_ENV_FROM_PATH {mount}/app#1: ")]);
    });
}

// Peer case A16.
#[test]
fn a_path_that_is_not_there_is_named_and_nothing_is_started() {
    on_every_vault(|target| {
        let mount = accounts(target);
        let run = from(target, &mount, "@/data/doesnotexist,@/data/account1,@/data/account2#9");
        run.fails(
            66,
            &[
                &format!("VAULT_ENV_FROM_PATH {mount}/data/doesnotexist: "),
                "no secret there",
                &format!("VAULT_ENV_FROM_PATH {mount}/data/account2#9: "),
            ],
        );
        let run = run.env("VAULT_IGNORE_MISSING_SECRETS", "true");
        assert_eq!(added(&run), pairs(&[("password", "secret"), ("password2", "secret2")]));
        let allowed = token(target, &reading(&format!("{mount}/data/account1")));
        let refused = run.env("VAULT_TOKEN", allowed);
        refused.fails(77, &["VAULT_ENV_FROM_PATH", "permission denied"]);
    });
}

// Peer case A58.
#[test]
fn a_name_that_the_environment_has_too_comes_once_as_it_is_said() {
    on_every_vault(|target| {
        let mount = accounts(target);
        let run = from(target, &mount, "@/data/account1").env("password", "of the environment");
        run.fails(78, &["VAULT_ENV_FROM_PATH", "password is there already", "--on-conflict"]);
        let of = |choice: &str| run.clone().env("VAULT_EXEC_ON_CONFLICT", choice).value("password");
        assert_eq!(of("keep").as_deref(), Some("of the environment"));
        assert_eq!(of("overwrite").as_deref(), Some("secret"));
    });
}

#[test]
fn it_goes_together_with_imports_and_references() {
    on_every_vault(|target| {
        let mount = accounts(target);
        let run = from(target, &mount, "@/data/account1")
            .env("OWN", format!("vault:{mount}/account1#password"))
            .option("--secret")
            .option(format!("X_*={mount}/account1"))
            .option("--secret")
            .option(format!("{mount}/account2#password3"));
        let wanted = pairs(&[
            ("OWN", "secret"),
            ("X_password", "secret"),
            ("X_password2", "secret2"),
            ("password", "secret"),
            ("password2", "secret2"),
            ("password3", "secret3"),
        ]);
        if let Some(own) = target.own() {
            own.clear();
        }
        assert_eq!(added(&run), wanted);
        if let Some(own) = target.own() {
            let reads = own.lines().into_iter().filter(|line| line.contains("account1")).count();
            assert_eq!(reads, 1, "{:?}", own.lines());
        }
        // First vault-env's, then our own.
        let twice = from(target, &mount, "@/account1#1")
            .option("--secret")
            .option(format!("{mount}/account1"));
        twice.fails(78, &["--secret", "password2 is there already"]);
        assert_eq!(
            twice.clone().option("--on-conflict=keep").value("password2").as_deref(),
            Some("secret1")
        );
        assert_eq!(
            twice.option("--on-conflict=overwrite").value("password2").as_deref(),
            Some("secret2")
        );
    });
}

#[test]
fn it_may_stand_in_an_env_file_and_the_environment_goes_before_it() {
    on_every_vault(|target| {
        let mount = accounts(target);
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(&file, format!("VAULT_ENV_FROM_PATH={mount}/account2\n")).expect("written");
        let run = as_root(target).option("--env-file").option(&file);
        assert_eq!(added(&run), pairs(&[("password3", "secret3"), ("password4", "secret4")]));
        let run = run.env("BAO_ENV_FROM_PATH", format!("{mount}/account1"));
        assert_eq!(added(&run), pairs(&[("password", "secret"), ("password2", "secret2")]));
    });
}

#[test]
fn every_malformed_item_is_named_before_anything_is_asked() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    let items = ["a/../b", "a/b#-2", "a/b#latest", "a/b#k#1", "#1", "/", "a\\b"];
    for item in items {
        run.clone().env("VAULT_ENV_FROM_PATH", item).fails(78, &["VAULT_ENV_FROM_PATH", item]);
    }
    run.env("VAULT_ENV_FROM_PATH", items.join(",")).fails(78, &items);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn names_that_steer_are_skipped_with_a_warning() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let secret = json!({"PATH": "evil", "LD_PRELOAD": "evil", "VAULT_TOKEN": "evil", "BAO_ADDR": "evil", "k": "v"});
        target.operator().kv_put(&mount, 2, "app", secret);
        let ended = from(target, &mount, "@/app").end();
        assert!(!ended.text().contains("evil") && ended.text().contains("k=v"), "{}", ended.text());
        for name in ["PATH", "LD_PRELOAD", "VAULT_TOKEN", "BAO_ADDR"] {
            assert!(
                ended.stderr.contains(&format!("{name} is not imported")),
                "{name}: {}",
                ended.stderr
            );
        }
    });
}

#[test]
fn without_vault_nothing_is_imported() {
    let ended =
        run().env("VAULT_ENV_FROM_PATH", "secret/app").env("VAULT_ENABLED", "false").marker().end();
    assert!(ended.started() && ended.stderr.contains("nothing is imported"), "{ended:?}");
    let token = run_at(&TestVault::start().into()).env("VAULT_ENV_FROM_PATH", "secret/app");
    token.fails(78, &["no credentials"]);
}
