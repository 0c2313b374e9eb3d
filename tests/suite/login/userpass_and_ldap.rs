//! The auth methods with a user and a password: `userpass` and `ldap`.

use std::fs;

use test_vault::{Fault, Target, TestVault, json, on_every_vault};

use crate::support::auth_mount::{WayIn, assert_says_nothing_of};
use crate::support::{Run, directory};

const PASSWORD: &str = "correct horse \"battery\" \\ staple ü";

fn userpass<'a>(target: &'a Target, user: &str) -> WayIn<'a> {
    let way = WayIn::new(target, "userpass");
    target.operator().enable_userpass(&way.mount);
    target.operator().userpass_user(&way.mount, user, way.role(json!({ "password": PASSWORD })));
    way
}

/// LDAP with a directory of the test server's own.
fn ldap<'a>(target: &'a Target, user: &str) -> WayIn<'a> {
    let way = WayIn::new(target, "ldap");
    let operator = target.operator();
    operator.enable_ldap(&way.mount, Some(&[(user, PASSWORD)]));
    operator.write(
        &format!("auth/{}/config", way.mount),
        way.role(json!({ "url": "ldap://127.0.0.1:1", "directory": { user: PASSWORD } })),
    );
    way
}

fn as_user(way: &WayIn<'_>, user: &str) -> Run {
    way.run().env("VAULT_USERNAME", user).env("VAULT_PASSWORD", PASSWORD)
}

#[test]
fn a_user_logs_in_with_a_password() {
    on_every_vault(|target| {
        let way = userpass(target, "ada");
        way.assert_in(&as_user(&way, "ada"));
        way.assert_in(&as_user(&way, "ADA"));
        let directory = directory();
        let file = directory.path().join("password");
        fs::write(&file, format!("{PASSWORD}\r\n\n")).expect("a file");
        let run = as_user(&way, "ada").without("VAULT_PASSWORD").env("VAULT_PASSWORD_FILE", &file);
        way.assert_in(&run);
        way.assert_in(&run.option("--remove-credential-files=true"));
        assert!(!file.exists());
    });
}

#[test]
fn the_login_has_the_name_in_its_path_and_the_password_in_its_body() {
    let target = Target::from(TestVault::start());
    let way = userpass(&target, "ada.b-c");
    way.assert_in(&as_user(&way, "ada.b-c"));
    way.assert_login("/ada.b-c", &json!({ "password": PASSWORD }));
}

#[test]
fn a_password_keeps_its_blanks_and_loses_its_line_breaks() {
    let target = Target::from(TestVault::start());
    let way = userpass(&target, "ada");
    let spaced = " \tsp ace ";
    let user = way.role(json!({ "password": spaced }));
    target.operator().userpass_user(&way.mount, "ada", user);
    let run = as_user(&way, "ada");
    way.assert_in(&run.clone().env("VAULT_PASSWORD", spaced));
    way.assert_in(&run.clone().env("VAULT_PASSWORD", format!("{spaced}\n")));
    let directory = directory();
    let file = directory.path().join("password");
    fs::write(&file, format!("{spaced}\r\n")).expect("a file");
    way.assert_in(&run.without("VAULT_PASSWORD").env("VAULT_PASSWORD_FILE", &file));
}

#[test]
fn a_name_may_have_every_sign() {
    let target = Target::from(TestVault::start());
    for (name, below) in [
        ("ada/lovelace", "/ada%2Flovelace"),
        ("ada@example.com", "/ada%40example.com"),
        ("cn=ada, ou=x y?&#", "/cn%3Dada%2C%20ou%3Dx%20y%3F%26%23"),
        ("a%2fb", "/a%252fb"),
        ("ü", "/%C3%BC"),
        ("...", "/..."),
        ("../../sys/seal", "/..%2F..%2Fsys%2Fseal"),
    ] {
        let way = ldap(&target, name);
        way.assert_in(&as_user(&way, name));
        way.assert_login(below, &json!({ "password": PASSWORD }));
        target.own().expect("ours").clear();
    }
    let way = ldap(&target, "ada");
    for name in [".", "..", "a\nb", "a\u{7f}"] {
        as_user(&way, name).fails(78, &["VAULT_USERNAME"]);
    }
    assert_eq!(way.logins().len(), 0);
}

#[test]
fn a_wrong_user_or_password_is_refused_and_the_fifth_locks_the_user() {
    on_every_vault(|target| {
        let way = userpass(target, "ada");
        let wrong = "invalid username or password";
        way.assert_refused(&as_user(&way, "nobody"), wrong);
        let run = as_user(&way, "ada").env("VAULT_PASSWORD", "hunter2-hunter2-hunter2");
        assert_says_nothing_of(&run, "hunter2-hunter2-hunter2");
        for _ in 0..4 {
            let ended = way.assert_refused(&run, wrong);
            assert!(ended.stderr.contains("15 minutes"), "{}", ended.stderr);
        }
        way.assert_refused(&as_user(&way, "ada"), "permission denied");
    });
}

#[test]
fn a_directory_that_refuses_or_is_away_or_unknown_is_told_apart() {
    let target = Target::from(TestVault::start());
    let way = ldap(&target, "ada");
    let run = as_user(&way, "ada").env("VAULT_PASSWORD", "hunter2-hunter2-hunter2");
    way.assert_refused(&run, "failed to bind as user");
    assert_says_nothing_of(&run, "hunter2-hunter2-hunter2");
    on_every_vault(|target| {
        let way = WayIn::new(target, "ldap");
        target.operator().enable_ldap(&way.mount, None);
        let ended = way.assert_refused(&as_user(&way, "ada"), "connect");
        assert!(ended.stderr.contains("directory"), "{}", ended.stderr);
    });
    // As Vault says it; OpenBao has an address for everybody.
    let text = json!({ "errors": ["auth method not configured"] }).to_string();
    target
        .own()
        .expect("ours")
        .fault(format!("/v1/auth/{}/login", way.mount).as_str(), Fault::answer(400, text));
    way.assert_refused(&as_user(&way, "ada"), "auth method not configured");
}

#[test]
fn a_login_that_is_not_answered_is_not_repeated() {
    let target = Target::from(TestVault::start());
    let way = userpass(&target, "ada");
    let vault = target.own().expect("ours");
    vault.fault(format!("/v1/auth/{}/login", way.mount).as_str(), Fault::LoseAnswer);
    as_user(&way, "ada").fails(69, &["not repeated"]);
    assert_eq!(way.logins().len(), 1);
}

#[test]
fn both_forms_of_a_password_are_one_too_many() {
    let target = Target::from(TestVault::start());
    let way = userpass(&target, "ada");
    let run = as_user(&way, "ada").env("VAULT_PASSWORD_FILE", "/etc/hostname");
    run.fails(78, &["VAULT_PASSWORD and VAULT_PASSWORD_FILE are both set"]);
    let missing =
        as_user(&way, "ada").without("VAULT_PASSWORD").env("VAULT_PASSWORD_FILE", "/nowhere");
    missing.fails(78, &["/nowhere (VAULT_PASSWORD_FILE)", "cannot be read"]);
    assert_eq!(target.own().expect("ours").connections(), 0);
}
