//! Imports: `--secret [NAME=]path[#key[#version]]`, `path##version`, `PREFIX_*=path`.

use std::collections::BTreeMap;

use test_vault::{Target, TestVault, json, on_every_vault};

use crate::support::application::{as_root, kv, reading, token, with_app};
use crate::support::{Run, directory, run_at};

/// What a run's imports add to its environment.
fn imported(run: &Run) -> BTreeMap<String, String> {
    let mut environment = run.environment();
    environment.remove("PATH").expect("PATH stays");
    environment
}

fn pairs(wanted: &[(&str, &str)]) -> BTreeMap<String, String> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A KV v2 mount whose secret `app` has two versions.
fn with_versions(target: &Target) -> String {
    let mount = with_app(target);
    target.operator().kv_put(
        &mount,
        2,
        "app",
        json!({"user": "grace", "password": "n3wer", "db": {"host": "h"}}),
    );
    mount
}

// Peer cases A12 to A15: the whole secret, of the latest or of one version.
#[test]
fn every_form_imports_what_it_says() {
    on_every_vault(|target| {
        let mount = with_versions(target);
        let whole: &[(&str, &str)] =
            &[("user", "grace"), ("password", "n3wer"), ("db", r#"{"host":"h"}"#)];
        let prefixed: &[(&str, &str)] =
            &[("P_user", "grace"), ("P_password", "n3wer"), ("P_db", r#"{"host":"h"}"#)];
        for (form, wanted) in [
            ("@/app", whole),
            ("/@/data/app", whole),
            ("*=@/app", whole),
            ("@/app##1", &[("user", "ada"), ("password", "s3cr3t")][..]),
            ("@/app#user", &[("user", "grace")]),
            ("@/app#user#1", &[("user", "ada")]),
            ("NAME=@/app#user", &[("NAME", "grace")]),
            ("NAME=@/app#user#1", &[("NAME", "ada")]),
            ("NAME=@/app#/db/host", &[("NAME", "h")]),
            ("P_*=@/app", prefixed),
            ("P_*=@/app##1", &[("P_user", "ada"), ("P_password", "s3cr3t")]),
            ("P_*=@/app#user", &[("P_user", "grace")]),
        ] {
            let run = as_root(target).option("--secret").option(form.replace('@', &mount));
            assert_eq!(imported(&run), pairs(wanted), "{form}");
        }
    });
}

#[test]
fn several_imports_come_from_options_a_variable_and_an_env_file() {
    on_every_vault(|target| {
        let mount = with_versions(target);
        let (user, old) = (format!("{mount}/app#user"), format!("OLD={mount}/app#user#1"));
        let wanted = pairs(&[("user", "grace"), ("OLD", "ada")]);
        let run =
            as_root(target).option(format!("--secret={user}")).option("--secret").option(&old);
        assert_eq!(imported(&run), wanted);
        let list = format!(" {user} ,, {old},");
        assert_eq!(imported(&as_root(target).env("VAULT_EXEC_SECRETS", &list)), wanted);
        assert_eq!(
            imported(
                &as_root(target).env("BAO_EXEC_SECRETS", &list).env("VAULT_EXEC_SECRETS", "a/../b")
            ),
            wanted
        );
        let directory = directory();
        let file = directory.path().join("app.env");
        std::fs::write(&file, format!("VAULT_EXEC_SECRETS={user},{old}\n")).expect("written");
        assert_eq!(imported(&as_root(target).option("--env-file").option(&file)), wanted);
        let run =
            as_root(target).env("VAULT_EXEC_SECRETS", "a/../b").option("--secret").option(&user);
        assert_eq!(
            imported(&run),
            pairs(&[("user", "grace")]),
            "an option replaces the variable's list"
        );
    });
}

#[test]
fn a_comma_is_part_of_a_path_in_an_option() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "a,b", json!({"k": "v"}));
        let run = as_root(target).option("--secret").option(format!("{mount}/a,b"));
        assert_eq!(imported(&run), pairs(&[("k", "v")]));
    });
}

// Peer cases C9 to C12, A58.
#[test]
fn a_name_that_is_there_already_is_an_error_unless_it_is_said_which_one_counts() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let import = format!("{mount}/app#user");
        let run =
            as_root(target).env("user", "of the environment").option("--secret").option(&import);
        let of = |run: Run| run.value("user");
        run.fails(78, &[&import, "user is there already", "--on-conflict"]);
        run.clone().option("--on-conflict=error").fails(78, &["user is there already"]);
        assert_eq!(
            of(run.clone().option("--on-conflict=keep")).as_deref(),
            Some("of the environment")
        );
        assert_eq!(of(run.clone().option("--on-conflict=overwrite")).as_deref(), Some("ada"));
        assert_eq!(
            of(run.env("VAULT_EXEC_ON_CONFLICT", "KEEP")).as_deref(),
            Some("of the environment")
        );
    });
}

#[test]
fn two_imports_with_the_same_name_are_in_conflict_too() {
    on_every_vault(|target| {
        let mount = with_versions(target);
        let run = as_root(target)
            .env("VAULT_EXEC_SECRETS", format!("{mount}/app#user#1,{mount}/app#user"));
        run.fails(78, &[&format!("VAULT_EXEC_SECRETS {mount}/app#user: user is there already")]);
        assert_eq!(run.clone().option("--on-conflict=keep").value("user").as_deref(), Some("ada"));
        assert_eq!(run.option("--on-conflict=overwrite").value("user").as_deref(), Some("grace"));
    });
}

#[test]
fn a_reference_and_an_import_with_the_same_name_are_in_conflict_too() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run =
            as_root(target).env("user", format!("vault:{mount}/app#password")).option("--secret");
        let run = run.option(format!("{mount}/app#user"));
        run.fails(78, &["user is there already"]);
        assert_eq!(
            run.clone().option("--on-conflict=overwrite").value("user").as_deref(),
            Some("ada")
        );
        assert_eq!(run.option("--on-conflict=keep").value("user").as_deref(), Some("s3cr3t"));
    });
}

#[test]
fn all_conflicts_are_named() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target)
            .env("user", "x")
            .env("password", "y")
            .option("--secret")
            .option(format!("{mount}/app"));
        run.fails(78, &["user is there already", "password is there already"]);
    });
}

#[test]
fn imported_names_take_the_shape_that_is_asked_for() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "app", json!({"db.host-name": "h", "b%c": "g"}));
        let run = as_root(target).option("--secret").option(format!("p_*={mount}/app"));
        run.fails(78, &["the key \"p_b%c\" is no name of a variable", "--sanitize"]);
        let shaped = run.clone().option("--upcase").option("--sanitize");
        assert_eq!(imported(&shaped), pairs(&[("P_DB_HOST_NAME", "h"), ("P_B_C", "g")]));
        let named = as_root(target)
            .option("--upcase")
            .option("--secret")
            .option(format!("lower={mount}/app#db.host-name"));
        assert_eq!(imported(&named), pairs(&[("lower", "h")]), "a name that the user gave stays");
    });
}

#[test]
fn a_key_that_is_no_name_of_a_variable_is_named() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let run = as_root(target).option("--secret").option(format!("{mount}/app"));
        for (key, shown) in [
            ("a=b", "a=b"),
            ("a b", "a b"),
            ("grün", "grün"),
            ("a\nB=c", "a\\nB=c"),
            ("a%%", "a%%"),
            ("1", "1"),
            ("-", "-"),
        ] {
            target.operator().kv_put(&mount, 2, "app", json!({ (key): "v" }));
            run.fails(78, &[&format!("{mount}/app"), shown, "--sanitize", "a prefix"]);
        }
        target.operator().kv_put(&mount, 2, "app", json!({"a=b": "v", "db.host-name": "h"}));
        let sanitized = run.option("--sanitize");
        assert_eq!(imported(&sanitized), pairs(&[("a_b", "v"), ("db_host_name", "h")]));
    });
}

#[test]
fn names_that_steer_a_process_are_skipped_with_a_warning_each() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        let names = [
            "PATH",
            "IFS",
            "BASH_ENV",
            "BASH_FUNC_cd%%",
            "LD_PRELOAD",
            "NODE_OPTIONS",
            "https_proxy",
            "VAULT_ADDR",
            "BAO_TOKEN",
        ];
        let mut secret = json!({"user": "ada"});
        for name in names {
            secret[name] = json!("evil");
        }
        target.operator().kv_put(&mount, 2, "app", secret);
        for on_conflict in ["error", "keep", "overwrite"] {
            let run = as_root(target).option("--secret").option(format!("{mount}/app"));
            let run = run.option("--on-conflict").option(on_conflict);
            let ended = run.clone().end();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(
                !ended.text().contains("evil") && ended.text().contains("user=ada"),
                "{}",
                ended.text()
            );
            for name in names {
                assert!(
                    ended.stderr.contains(&format!("{name} is not imported")),
                    "{name}: {}",
                    ended.stderr
                );
            }
        }
        let run = as_root(target).option("--secret").option(format!("LD_PRELOAD={mount}/app#user"));
        assert!(!run.environment().contains_key("LD_PRELOAD"));
    });
}

// Peer cases A16, C34.
#[test]
fn what_an_import_misses_is_named_with_the_import() {
    on_every_vault(|target| {
        let mount = with_app(target);
        for (import, words) in [
            ("@/none", "no secret there"),
            ("@/app#none", "no key none"),
            ("NAME=@/app#/none/x", "no key /none/x"),
            ("@/app##9", "no version 9"),
        ] {
            let import = import.replace('@', &mount);
            let run = as_root(target).option("--secret").option(&import);
            run.fails(66, &[&format!("--secret {import}: "), words]);
            let ended = run.option("--ignore-missing").marker().end();
            assert!(
                ended.started() && ended.stderr.contains(&import) && ended.stderr.contains(words),
                "{ended:?}"
            );
        }
    });
}

#[test]
fn a_refused_import_is_an_error_also_where_missing_ones_are_ignored() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let token = token(target, &reading(&format!("{mount}/data/other")));
        let run =
            run_at(target).env("VAULT_TOKEN", token).option("--ignore-missing").option("--secret");
        run.option(format!("{mount}/app"))
            .fails(77, &[&format!("--secret {mount}/app: "), "permission denied"]);
    });
}

#[test]
fn a_malformed_import_is_an_error_before_anything_is_asked() {
    let vault = TestVault::start();
    let run = crate::support::run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", vault.root_token());
    for (import, words) in [
        ("#k", "a path with nothing in it"),
        ("secret/app#", "no key behind the #"),
        ("secret/app##latest", "a number from 1"),
        ("secret/app#k#-2", "a number from 1"),
        ("NAME=secret/app", "NAME=path#key"),
        ("//", "a path with nothing in it"),
        ("secret/../app", "a segment that is . or .."),
    ] {
        run.clone().option("--secret").option(import).fails(78, &["--secret", import, words]);
        run.clone()
            .env("VAULT_EXEC_SECRETS", import)
            .fails(78, &["VAULT_EXEC_SECRETS", import, words]);
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_value_that_looks_like_a_reference_is_not_followed() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "app", json!({"k": "vault:secret/other#key"}));
        let run = as_root(target).option("--secret").option(format!("{mount}/app"));
        assert_eq!(imported(&run), pairs(&[("k", "vault:secret/other#key")]));
    });
}
