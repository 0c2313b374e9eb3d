//! `--print-policy`: the least that a role needs for a start, printed without asking Vault.

use test_vault::{Target, TestVault, json, on_every_vault, on_every_vault_with_database};

use crate::support::application::{as_role, as_root, kv, policy, reading, role};
use crate::support::{Ended, Run, directory, run};

/// Where the blocks for secrets end.
const OWN: &str = "\n# For vault-exec itself";

#[track_caller]
fn printed(run: &Run) -> String {
    let ended = run.clone().option("--print-policy").end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr, "", "everything is on stdout");
    ended.text()
}

/// The blocks of some HCL, each as it is printed.
fn blocks(hcl: &str) -> Vec<String> {
    hcl.split("\npath ")
        .skip(1)
        .map(|block| format!("path {}}}\n", block.split('}').next().unwrap_or("")))
        .collect()
}

/// The paths of some HCL's blocks.
fn paths(hcl: &str) -> Vec<String> {
    blocks(hcl).iter().map(|block| block.split('"').nth(1).unwrap_or_default().to_owned()).collect()
}

/// Fails to print a policy, with nothing on stdout.
#[track_caller]
fn refuses(run: &Run, parts: &[&str]) -> Ended {
    run.clone().option("--print-policy").fails(78, parts)
}

/// An application with secrets of every kind; what the printed policy may not do without, and the
/// variable of it.
struct Everything {
    run: Run,
    needs: Vec<(String, String)>,
    /// Where its secrets file is.
    _directory: tempfile::TempDir,
}

fn everything(target: &Target, dynamic: &str) -> Everything {
    let operator = target.operator();
    let (two, one) = (kv(target, 2), kv(target, 1));
    for (mount, version) in [(&two, 2), (&one, 1)] {
        for name in ["read", "pinned", "inline", "imported", "of-file"] {
            operator.kv_put(mount, version, name, json!({"k": "v", "other": "o"}));
        }
    }
    let (transit, pki) = (target.unique("transit"), target.unique("pki"));
    operator.enable_transit(&transit);
    operator.transit_key(&transit, "key");
    operator.enable_pki(&pki);
    operator.pki_role(&pki, "web", json!({"allow_any_name": true}));
    let directory = directory();
    let file = directory.path().join("secrets");
    std::fs::write(&file, format!("VERSION 2\nMOUNT {one}\nOF_FILE=of-file#k\n")).expect("written");
    let imported = format!("IMPORTED={two}/data/imported#k");
    let run = run()
        .env("READ", format!("vault:{two}/data/read#k"))
        .env("PINNED", format!("vault:{two}/data/pinned#k#1"))
        .env("ONE", format!("vault:{one}/read#k"))
        .env("INLINE", format!("a ${{vault:{two}/data/inline#k}} b"))
        .env(
            "WRITTEN",
            format!(
                r#">>vault:{pki}/issue/web#certificate#{{"common_name":"a.example","ttl":"1h"}}"#
            ),
        )
        .env("DECRYPTED", operator.encrypt(&transit, "key", "plain"))
        .env("VAULT_TRANSIT_KEY_ID", "key")
        .env("VAULT_TRANSIT_PATH", &transit)
        .env("LENT", format!("vault:{dynamic}#username"))
        .option("--kv-version=1")
        .option("--secret")
        .option(&imported)
        .option("--secrets-file")
        .option(&file);
    let needs = [
        (format!("{two}/data/read"), "READ"),
        (format!("{two}/data/pinned"), "PINNED"),
        (format!("{one}/read"), "ONE"),
        (format!("{two}/data/inline"), "INLINE"),
        (format!("{pki}/issue/web"), "WRITTEN"),
        (format!("{transit}/decrypt/key"), "DECRYPTED"),
        (dynamic.to_owned(), "LENT"),
        (format!("{two}/data/imported"), imported.as_str()),
        (format!("{one}/of-file"), "line 3"),
    ];
    let needs = needs.map(|(path, name)| (path, name.to_owned())).to_vec();
    Everything { run, needs, _directory: directory }
}

/// The same run with a login, by a role that may do nothing but what a policy of this name says.
fn with_login(target: &Target, run: &Run, policy: &str) -> Run {
    let settings = json!({"token_policies": [policy], "token_no_default_policy": true});
    let of_role = as_role(target, &role(target, &reading("nowhere"), settings));
    of_role.variables().iter().fold(run.clone(), |run, (name, value)| run.env(name, value))
}

#[test]
fn the_printed_policy_is_enough_and_no_block_of_it_too_much() {
    on_every_vault_with_database(|target, postgres| {
        let database = target.unique("database");
        target.operator().enable_database(&database, "app", json!({"default_ttl": "1h"}), postgres);
        let Everything { run, needs, _directory } =
            everything(target, &format!("{database}/creds/app"));
        let hcl = printed(&run);
        let (secrets, own) = hcl.split_once(OWN).expect("two parts");
        let mut found = paths(secrets);
        let mut wanted: Vec<String> = needs.iter().map(|(path, _)| path.clone()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);

        let name = policy(target, &hcl);
        let run = with_login(target, &run, &name).env("VAULT_EXEC_TIMEOUT", "20s");
        let environment = run.environment();
        for (variable, value) in [
            ("READ", "v"),
            ("PINNED", "v"),
            ("ONE", "v"),
            ("INLINE", "a v b"),
            ("IMPORTED", "v"),
            ("OF_FILE", "v"),
        ] {
            assert_eq!(environment.get(variable).map(String::as_str), Some(value), "{variable}");
        }
        assert_eq!(environment["DECRYPTED"], "plain");
        assert!(
            environment["WRITTEN"].starts_with("-----BEGIN CERTIFICATE"),
            "{}",
            environment["WRITTEN"]
        );

        for block in blocks(secrets) {
            let path = &paths(&format!("\n{block}"))[0];
            let (_, variable) = needs.iter().find(|(needed, _)| needed == path).expect("known");
            target.operator().policy(&name, &hcl.replace(&block, ""));
            let ended = run.fails(77, &[variable, path, "permission denied"]);
            let others = needs.iter().filter(|(other, _)| other != path);
            for (other, _) in others {
                assert!(
                    !ended.stderr.contains(&format!("{other} ")),
                    "{other} without {path}: {}",
                    ended.stderr
                );
            }
        }
        for block in blocks(own) {
            target.operator().policy(&name, &hcl.replace(&block, ""));
            assert!(run.clone().marker().end().started(), "without {block}");
        }
        target.operator().policy(&name, secrets);
        assert!(run.marker().end().started(), "without any of its own");
    });
}

#[test]
fn the_own_part_of_the_policy_revokes_the_token() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        target.operator().kv_put(&mount, 2, "app", json!({"k": "v"}));
        let run = run().env("A", format!("vault:{mount}/data/app#k"));
        let name = policy(target, &printed(&run));
        let ended = with_login(target, &run, &name).option("--revoke=true").marker().end();
        assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
        let without = printed(&run.option("--revoke=false"));
        let own = without.split_once(OWN).expect("two parts").1;
        assert_eq!(paths(own), ["auth/token/lookup-self"]);
    });
}

#[test]
fn a_policy_needs_no_server_no_address_no_credentials_and_no_command() {
    let vault = TestVault::start();
    let bare = run().env("A", "vault:secret/data/app#k").command::<&str>([]);
    let hcl = printed(&bare);
    assert_eq!(paths(hcl.split(OWN).next().unwrap_or_default()), ["secret/data/app"]);
    let full = bare
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_ROLE_ID", "r")
        .env("VAULT_SECRET_ID_FILE", "/nowhere")
        .command(["no-such-command"]);
    assert_eq!(printed(&full), hcl);
    assert_eq!(vault.connections(), 0);
    let nothing = printed(&run());
    assert_eq!(blocks(nothing.split(OWN).next().unwrap_or_default()), Vec::<String>::new());
}

#[test]
fn every_path_that_cannot_be_known_offline_is_named() {
    let vault = TestVault::start();
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("A", "vault:kv/a#k")
        .env("B", "x ${vault:database/creds/r#username} y")
        .env("C", "vault:kv/data/c#k")
        .env("VAULT_ENV_FROM_PATH", "kv/path")
        .option("--secret=kv/b");
    let ended =
        refuses(&run, &["kv/a: ", "database/creds/r: ", "kv/b: ", "kv/path: ", "--kv-version"]);
    assert!(!ended.stderr.contains("kv/data/c: "), "{}", ended.stderr);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn kv_version_2_puts_data_behind_the_first_segment() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        for name in ["app", "a/b"] {
            target.operator().kv_put(&mount, 2, name, json!({"k": "v"}));
        }
        let run = run()
            .env("A", format!("vault:{mount}/app#k"))
            .option("--kv-version=2")
            .option("--secret");
        let run = run.option(format!("B={mount}/a/b#k"));
        let hcl = printed(&run);
        let secrets = hcl.split(OWN).next().unwrap_or_default();
        assert_eq!(paths(secrets), [format!("{mount}/data/a/b"), format!("{mount}/data/app")]);
        let environment = with_login(target, &run, &policy(target, &hcl)).environment();
        assert_eq!((environment["A"].as_str(), environment["B"].as_str()), ("v", "v"));
    });
}

#[test]
fn the_mounts_of_a_secrets_file_count_whatever_their_length() {
    on_every_vault(|target| {
        let mount = format!("{}/kv", target.unique("team"));
        target.operator().enable_kv(&mount, 2);
        target.operator().kv_put(&mount, 2, "app/data/x", json!({"k": "v"}));
        let directory = directory();
        let file = directory.path().join("secrets");
        std::fs::write(&file, format!("VERSION 2\nMOUNT {mount}\nA=app/data/x#k\n"))
            .expect("written");
        let run = run().option("--secrets-file").option(&file);
        refuses(&run, &[&format!("{mount}/app/data/x: "), "--kv-version"]);
        let run = run.option("--kv-version=2");
        let hcl = printed(&run);
        assert_eq!(
            paths(hcl.split(OWN).next().unwrap_or_default()),
            [format!("{mount}/data/app/data/x")]
        );
        assert_eq!(
            with_login(target, &run, &policy(target, &hcl)).value("A").as_deref(),
            Some("v")
        );
    });
}

#[test]
fn a_path_that_a_policy_takes_for_a_pattern_is_refused() {
    for path in ["kv/data/all*", "kv/data/+/x", "kv/+/data/x", "kv/data/{{identity.entity.id}}"] {
        refuses(&run().env("A", format!("vault:{path}#k")), &[path, "pattern"]);
        refuses(&run().option("--secret").option(path), &[path, "pattern"]);
    }
    let both = run()
        .env("A", "vault:kv/data/a*#k")
        .env("B", "vault:kv/data/b*#k")
        .env("C", "vault:kv/c#k");
    refuses(&both, &["kv/data/a*", "kv/data/b*", "kv/c: "]);
    let ended = refuses(&run().env("A", "vault:nonsense").env("B", "vault:kv/data/x#k"), &["A: "]);
    assert!(!ended.stderr.contains("B: "), "{}", ended.stderr);
}

#[test]
fn odd_characters_of_a_path_survive_and_allow_no_other_path() {
    on_every_vault(|target| {
        let mount = kv(target, 2);
        for name in ["quo\"te", "a*b", "a+b", "ü ber", "50%", "$HOME", "a'b"] {
            target.operator().must(
                "POST",
                &format!("{mount}/data/{}", encoded(name)),
                Some(json!({"data": {"k": name}})),
            );
            let run = run().env("A", format!("vault:{mount}/data/{name}#k"));
            let hcl = printed(&run);
            let run = with_login(target, &run, &policy(target, &hcl));
            assert_eq!(run.value("A").as_deref(), Some(name), "{hcl}");
            run.env("B", format!("vault:{mount}/data/other#k")).fails(77, &["B: "]);
        }
    });
}

fn encoded(name: &str) -> String {
    let bytes: Vec<String> = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    bytes.concat()
}

#[test]
fn references_imports_and_env_files_share_the_blocks() {
    let directory = directory();
    let file = directory.path().join("app.env");
    std::fs::write(&file, "B=vault:kv/data/a#other\nVAULT_EXEC_SECRETS=kv/data/b\n")
        .expect("written");
    let run = run()
        .env("A", "vault:kv/data/a#k#3")
        .env("VAULT_ENV_FROM_PATH", "kv/data/b#2,kv/data/c")
        .env("VAULT_NAMESPACE", "team/a")
        .option("--env-file")
        .option(&file);
    let hcl = printed(&run);
    let secrets = hcl.split(OWN).next().unwrap_or_default();
    assert_eq!(paths(secrets), ["kv/data/a", "kv/data/b", "kv/data/c"]);
    assert!(secrets.contains("# To be written in the namespace team/a"), "{secrets}");
    let disabled = printed(
        &crate::support::run().env("A", "vault:kv/data/a#k:-x").env("VAULT_ENABLED", "false"),
    );
    assert_eq!(blocks(disabled.split(OWN).next().unwrap_or_default()), Vec::<String>::new());
}

#[test]
fn a_policy_is_printed_for_root_as_for_everybody() {
    on_every_vault(|target| {
        let run = as_root(target).env("A", "vault:kv/data/a#k");
        assert_eq!(
            printed(&run),
            printed(&run.clone().without("VAULT_TOKEN").without("VAULT_ADDR"))
        );
    });
}

#[test]
fn a_supervisor_renews_too() {
    let run = run().env("A", "vault:secret/data/app#k");
    let renewals = ["auth/token/renew-self", "sys/leases/renew"];
    let (without, with) = (printed(&run), printed(&run.option("--supervise")));
    for path in renewals {
        assert!(!paths(&without).iter().any(|found| found == path), "{without}");
        assert!(paths(&with).iter().any(|found| found == path), "{with}");
    }
}
