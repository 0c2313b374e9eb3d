//! Every setting through each of its layers, and what is said of one that cannot be understood.

use std::fs;
use std::hash::{BuildHasher, RandomState};

use test_vault::{Flavour, Target, TestVault, json};

use crate::support::application::{as_role, kv, reading, role, with_app};
use crate::support::{Run, directory, run};

/// A setting of the specification's table.
struct Setting {
    /// Empty where there is none.
    option: &'static str,
    /// Without its prefix; aliases follow.
    variables: &'static [&'static str],
}

const fn setting(option: &'static str, variables: &'static [&'static str]) -> Setting {
    Setting { option, variables }
}

/// Checks that `right` counts wherever it is set, with `wrong` in every lower place at the same
/// time.
fn everywhere(run: &Run, setting: &Setting, right: &str, wrong: &str, check: impl Fn(&Run, &str)) {
    let directory = directory();
    let name = setting.variables[0];
    let file = |text: String| {
        // A name by which each text has a file of its own, without the text in it.
        let path = directory.path().join(format!("{:x}", RandomState::new().hash_one(&text)));
        fs::write(&path, text).expect("written");
        path
    };
    let with_file = |run: Run, path: std::path::PathBuf| run.option("--env-file").option(path);
    let wrong_file = || file(format!("VAULT_{name}={wrong}\nOTHER=x\n"));
    if !setting.option.is_empty() {
        let lower = with_file(run.clone().env(format!("BAO_{name}"), wrong), wrong_file());
        check(&lower.clone().option(format!("--{}={right}", setting.option)), "--name=value");
        check(&lower.option(format!("--{}", setting.option)).option(right), "--name value");
    }
    let lower = with_file(run.clone().env(format!("VAULT_{name}"), wrong), wrong_file());
    check(&lower.env(format!("BAO_{name}"), right), "BAO_");
    let lower = with_file(run.clone().env(format!("BAO_{name}"), " "), wrong_file());
    check(
        &lower.env(format!("VAULT_{name}"), right),
        "VAULT_, and an empty BAO_ that counts as none",
    );
    for alias in &setting.variables[1..] {
        check(&with_file(run.clone().env(format!("VAULT_{alias}"), right), wrong_file()), alias);
    }
    let in_file =
        |text: String| with_file(run.clone().env(format!("VAULT_{name}"), ""), file(text));
    check(&in_file(format!("VAULT_{name}={wrong}\nBAO_{name}={right}\n")), "BAO_ in an env file");
    check(&in_file(format!("VAULT_{name}={right}\n")), "VAULT_ in an env file");
    let earlier = with_file(run.clone(), wrong_file());
    check(&with_file(earlier, file(format!("VAULT_{name}={right}\n"))), "a later env file");
}

/// The variable A must have this value.
fn gives(value: &'static str) -> impl Fn(&Run, &str) {
    move |run, place| assert_eq!(run.value("A").as_deref(), Some(value), "{place}")
}

struct Fixture {
    target: Target,
    mount: String,
    run: Run,
}

impl Fixture {
    fn vault(&self) -> &TestVault {
        self.target.own().expect("own")
    }
}

/// A server with a secret, and a run that logs in with a role and reads it into A.
fn fixture() -> Fixture {
    let target = Target::from(TestVault::builder().flavour(Flavour::Vault).start());
    let mount = with_app(&target);
    let role = role(&target, &format!("{}\n{}", reading(&mount), reading("auth/token")), json!({}));
    let run = as_role(&target, &role).env("A", format!("vault:{mount}/app#user"));
    Fixture { target, mount, run }
}

const DEAD: &str = "http://127.0.0.1:1";

#[test]
fn the_address() {
    let Fixture { target, run, .. } = fixture();
    let run = run.without("VAULT_ADDR").env("VAULT_MAX_RETRIES", "0");
    everywhere(&run, &setting("addr", &["ADDR", "AGENT_ADDR"]), &target.addr(), DEAD, gives("ada"));
}

#[test]
fn the_address_of_an_agent_goes_before_that_of_a_server() {
    let Fixture { target, run, .. } = fixture();
    let run =
        run.env("VAULT_ADDR", DEAD).env("BAO_ADDR", DEAD).env("VAULT_AGENT_ADDR", target.addr());
    gives("ada")(&run, "VAULT_AGENT_ADDR");
    gives("ada")(
        &run.env("VAULT_AGENT_ADDR", DEAD).option("--addr").option(target.addr()),
        "--addr",
    );
}

#[test]
fn a_path_in_the_address_is_kept() {
    let vault = TestVault::builder().prefix("/behind/proxy").start();
    vault.operator().kv_put("secret", 2, "app", json!({"user": "ada"}));
    for slash in ["", "/"] {
        let run = run()
            .env("VAULT_ADDR", format!("{}{slash}", vault.addr()))
            .env("VAULT_TOKEN", vault.root_token());
        gives("ada")(&run.env("A", "vault:secret/app#user"), "a prefix");
    }
}

#[test]
fn the_namespace() {
    let fixture = fixture();
    let check = |run: &Run, place: &str| {
        fixture.vault().clear();
        gives("ada")(run, place);
        let requests = fixture.vault().requests();
        let namespaces: Vec<_> =
            requests.iter().map(|request| request.header("x-vault-namespace")).collect();
        assert!(
            namespaces.len() > 2 && namespaces.iter().all(|name| *name == Some("team/web")),
            "{place}: {namespaces:?}"
        );
    };
    everywhere(&fixture.run, &setting("namespace", &["NAMESPACE"]), "team/web", "other", check);
    fixture.run.env("VAULT_NAMESPACE", "a\nb").fails(78, &["VAULT_NAMESPACE", "characters"]);
}

#[test]
fn every_request_says_that_it_is_one_and_has_the_token_in_its_header_only() {
    let fixture = fixture();
    gives("ada")(&fixture.run, "");
    let requests = fixture.vault().requests();
    let token = requests.iter().find_map(|request| request.token()).expect("a token").to_owned();
    for request in &requests {
        assert_eq!(request.header("x-vault-request"), Some("true"));
        assert!(!request.line().contains(&token), "{}", request.line());
        assert_eq!(
            request.token().is_some(),
            !request.path.ends_with("/login"),
            "{}",
            request.line()
        );
        assert_eq!(
            request.header("user-agent"),
            Some(concat!("vault-exec/", env!("CARGO_PKG_VERSION")))
        );
        assert!(request.header("x-vault-wrap-ttl").is_none());
    }
}

#[test]
fn the_auth_method() {
    let Fixture { target, run, .. } = fixture();
    let run = run.env("VAULT_TOKEN", "wrong");
    everywhere(&run, &setting("auth-method", &["AUTH_METHOD"]), "AppRole", "token", gives("ada"));
    drop(target);
}

#[test]
fn the_auth_mount() {
    let fixture = fixture();
    fixture.target.operator().enable_approle("team/approle");
    let policy = crate::support::application::policy(&fixture.target, &reading(&fixture.mount));
    fixture.target.operator().approle_role(
        "team/approle",
        "app",
        json!({"token_policies": [policy]}),
    );
    let role_id = fixture.target.operator().role_id("team/approle", "app");
    let secret_id = fixture.target.operator().secret_id("team/approle", "app", json!({}));
    let run = fixture
        .run
        .without("VAULT_AUTH_MOUNT")
        .env("VAULT_ROLE_ID", role_id)
        .env("VAULT_SECRET_ID", secret_id);
    everywhere(
        &run,
        &setting("auth-mount", &["AUTH_MOUNT", "PATH"]),
        "team/approle/",
        "nowhere",
        gives("ada"),
    );
    run.env("VAULT_AUTH_MOUNT", "a/../b")
        .fails(78, &["VAULT_AUTH_MOUNT", "a segment that is . or .."]);
}

#[test]
fn the_credentials() {
    let Fixture { target, mount, run } = fixture();
    let directory = directory();
    let role = role(&target, &reading(&mount), json!({}));
    let run = run
        .env("VAULT_AUTH_MOUNT", &role.mount)
        .without("VAULT_ROLE_ID")
        .without("VAULT_SECRET_ID");
    let as_role = run.clone().env("VAULT_ROLE_ID", &role.role_id);
    everywhere(&as_role, &setting("", &["SECRET_ID"]), &role.secret_id, "wrong", gives("ada"));
    let as_role = run.clone().env("VAULT_SECRET_ID", &role.secret_id);
    everywhere(&as_role, &setting("", &["ROLE_ID"]), &role.role_id, "wrong", gives("ada"));
    everywhere(&run, &setting("", &["TOKEN"]), &target.root_token(), "wrong", gives("ada"));
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let setting = setting("", &["TOKEN_FILE", "TOKEN_PATH"]);
    let (right, wrong) = (file("right", &target.root_token()), file("wrong", "wrong"));
    everywhere(&run, &setting, &right, &wrong, gives("ada"));
}

#[test]
fn the_role_is_for_methods_that_have_one() {
    let fixture = fixture();
    gives("ada")(&fixture.run.option("--role=web"), "approle and token have none");
}

#[test]
fn the_imports() {
    let Fixture { target: _target, mount, run } = fixture();
    let run = run.without("A");
    let (right, wrong) = (format!("A={mount}/app#user"), format!("A={mount}/app#password"));
    everywhere(&run, &setting("secret", &["EXEC_SECRETS"]), &right, &wrong, gives("ada"));
}

#[test]
fn the_version_of_kv() {
    let fixture = fixture();
    let one = kv(&fixture.target, 1);
    fixture.target.operator().kv_put(&one, 1, "app", json!({"k": "one"}));
    let run = fixture
        .run
        .env("VAULT_AUTH_METHOD", "token")
        .env("VAULT_TOKEN", fixture.target.root_token());
    let run = run.env("A", format!("vault:{one}/app#k"));
    everywhere(&run, &setting("kv-version", &["EXEC_KV_VERSION"]), "1", "2", gives("one"));
}

#[test]
fn what_happens_to_a_name_in_conflict() {
    let Fixture { target: _target, mount, run } = fixture();
    let run = run.option("--secret").option(format!("A={mount}/app#password"));
    let setting = setting("on-conflict", &["EXEC_ON_CONFLICT"]);
    everywhere(&run, &setting, "overwrite", "keep", gives("s3cr3t"));
    everywhere(&run, &setting, "Keep", "error", gives("ada"));
}

#[test]
fn the_shape_of_imported_names() {
    let Fixture { target, mount, run } = fixture();
    target.operator().kv_put(&mount, 2, "odd", json!({"a.b": "x"}));
    let run = run.option("--secret").option(format!("{mount}/odd"));
    let name = |name: &'static str| {
        move |run: &Run, place: &str| assert_eq!(run.value(name).as_deref(), Some("x"), "{place}")
    };
    switch(&run, "upcase", "EXEC_UPCASE", name("A.B"));
    switch(&run, "sanitize", "EXEC_SANITIZE", name("a_b"));
}

/// A switch through all of its places, and the option without a value.
fn switch(run: &Run, option: &'static str, variable: &'static str, check: impl Fn(&Run, &str)) {
    for right in ["true", "YES", "1", "t"] {
        check(&run.clone().env(format!("VAULT_{variable}"), right), right);
    }
    let lower = run.clone().env(format!("VAULT_{variable}"), "no");
    check(&lower.clone().option(format!("--{option}")), "--name");
    check(&lower.option(format!("--{option}=Yes")), "--name=value");
    let variables: &'static [&'static str] = Box::leak(Box::new([variable]));
    everywhere(run, &setting("", variables), "true", "false", check);
}

#[test]
fn missing_secrets_that_are_ignored() {
    let Fixture { target: _target, mount, run } = fixture();
    let run = run.env("B", format!("vault:{mount}/none#k"));
    run.fails(66, &["B: "]);
    switch(&run, "ignore-missing", "IGNORE_MISSING_SECRETS", gives("ada"));
    let off =
        run.clone().env("VAULT_IGNORE_MISSING_SECRETS", "true").option("--ignore-missing=false");
    off.fails(66, &["B: "]);
}

#[test]
fn values_that_are_never_interpreted() {
    let Fixture { target: _target, run, .. } = fixture();
    let run = run.env("A", "vault:no reference");
    everywhere(
        &run,
        &setting("literal", &["EXEC_LITERAL"]),
        "X,A*",
        "B",
        gives("vault:no reference"),
    );
    gives("vault:no reference")(&run.option("--literal=B").option("--literal=A"), "repeated");
}

#[test]
fn an_environment_that_begins_empty() {
    let Fixture { target: _target, run, .. } = fixture();
    let run = run.env("INHERITED", "x");
    switch(&run, "clean-env", "EXEC_CLEAN_ENV", |run, place| {
        let environment = run.environment();
        assert!(
            !environment.contains_key("INHERITED") && environment.contains_key("PATH"),
            "{place}"
        );
        assert_eq!(environment.get("A").map(String::as_str), Some("ada"), "{place}");
    });
}

#[test]
fn variables_that_are_kept() {
    let Fixture { target, run, .. } = fixture();
    let check = |run: &Run, place: &str| {
        let environment = run.environment();
        assert_eq!(environment.get("VAULT_ADDR"), Some(&target.addr()), "{place}");
        assert!(!environment.contains_key("VAULT_ROLE_ID"), "{place}");
    };
    everywhere(
        &run,
        &setting("keep", &["EXEC_KEEP", "ENV_PASSTHROUGH"]),
        "VAULT_AD*",
        "VAULT_ROLE_ID",
        check,
    );
}

#[test]
fn the_revocation() {
    let fixture = fixture();
    let check = |run: &Run, place: &str| {
        fixture.vault().clear();
        gives("ada")(run, place);
        let lines = fixture.vault().lines();
        assert!(!lines.iter().any(|line| line.contains("revoke")), "{place}: {lines:?}");
    };
    everywhere(&fixture.run, &setting("revoke", &["REVOKE_TOKEN"]), "False", "auto", check);
}

#[test]
fn the_deadline() {
    let Fixture { target: _target, run, .. } = fixture();
    let run = run.without("VAULT_ADDR").option("--addr").option(DEAD);
    let setting = setting("timeout", &["EXEC_TIMEOUT", "CLIENT_TIMEOUT"]);
    for right in ["100ms", "0m0s100ms"] {
        everywhere(&run, &setting, right, "50s", |run, place| {
            let began = std::time::Instant::now();
            run.fails(69, &["login at"]);
            assert!(began.elapsed().as_secs() < 20, "{place}");
        });
    }
}

#[test]
fn the_limit_of_repetitions() {
    let Fixture { target: _target, run, .. } = fixture();
    let run = run.without("VAULT_ADDR").option("--addr").option(DEAD);
    let setting = setting("max-retries", &["MAX_RETRIES"]);
    everywhere(&run, &setting, "0", "1", |run, place| {
        let ended = run.fails(69, &["login at"]);
        assert!(ended.stderr.contains("1 try"), "{place}: {}", ended.stderr);
    });
}

#[test]
fn the_removal_of_credential_files() {
    let Fixture { target, run, .. } = fixture();
    let directory = directory();
    let token = directory.path().join("token");
    let run =
        run.without("VAULT_ROLE_ID").without("VAULT_SECRET_ID").env("VAULT_TOKEN_FILE", &token);
    fs::write(&token, target.root_token()).expect("written");
    gives("ada")(&run, "not by default");
    assert!(token.exists());
    switch(&run, "remove-credential-files", "EXEC_REMOVE_CREDENTIAL_FILES", |run, place| {
        fs::write(&token, target.root_token()).expect("written");
        gives("ada")(run, place);
        assert!(!token.exists(), "{place}");
    });
}

#[test]
fn the_log() {
    let Fixture { target: _target, run, .. } = fixture();
    let run = run.env("VAULT_EXEC_LITERAL", "").env("VAULT_SKIP_VERIFY", "true");
    let ends = |run: &Run| run.clone().marker().end();
    everywhere(
        &run,
        &setting("log-level", &["EXEC_LOG", "LOG_LEVEL"]),
        "DEBUG",
        "error",
        |run, place| {
            assert!(ends(run).stderr.contains("debug: auth method approle"), "{place}");
        },
    );
    everywhere(&run, &setting("log-format", &["EXEC_LOG_FORMAT"]), "json", "text", |run, place| {
        assert!(ends(run).stderr.starts_with('{'), "{place}");
    });
    everywhere(&run, &setting("", &["JSON_LOG"]), "true", "false", |run, place| {
        assert!(ends(run).stderr.starts_with('{'), "{place}");
    });
}

#[test]
fn without_vault_defaults_are_taken_and_imports_skipped() {
    let vault = TestVault::start();
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("A", "vault:secret/app#k:-a default")
        .env("VAULT_X", "x");
    let run = run.option("--secret=secret/app");
    everywhere(&run, &setting("", &["ENABLED"]), "f", "true", |run, place| {
        let ended = run.clone().shell("echo $A; env | grep -c VAULT_").end();
        assert_eq!(ended.text(), "a default\n0\n", "{place}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("VAULT_ENABLED is false: nothing is imported"),
            "{place}: {}",
            ended.stderr
        );
    });
    run.env("VAULT_ENABLED", "no")
        .env("B", "vault?:secret/app#k")
        .fails(78, &["B: ", "without a default", "VAULT_ENABLED"]);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn tls_settings_are_taken_from_every_layer() {
    let vault = TestVault::builder().client_certificate().start();
    vault.operator().kv_put("secret", 2, "app", json!({"user": "ada"}));
    let files = vault.tls().expect("https");
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (ca, certificate, key) =
        (path(files.ca()), path(files.client_cert()), path(files.client_key()));
    let all = [
        ("CACERT", &*ca),
        ("CLIENT_CERT", &certificate),
        ("CLIENT_KEY", &key),
        ("TLS_SERVER_NAME", "localhost"),
    ];
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_TOKEN", vault.root_token())
        .env("VAULT_EXEC_TIMEOUT", "5s");
    let run = run.env("A", "vault:secret/data/app#user");
    let run = all.iter().fold(run, |run, (name, value)| run.env(format!("VAULT_{name}"), *value));
    let wrong = path(files.directory().join("none"));
    for (name, right) in all {
        let others = run.clone().without(&format!("VAULT_{name}"));
        let variables: &'static [&'static str] = Box::leak(Box::new([name]));
        let wrong = if name == "TLS_SERVER_NAME" { "elsewhere.example" } else { &wrong };
        everywhere(&others, &setting("", variables), right, wrong, gives("ada"));
    }
    let insecure = run.without("VAULT_CACERT").env("VAULT_TLS_SERVER_NAME", "elsewhere.example");
    everywhere(&insecure, &setting("", &["SKIP_VERIFY"]), "1", "0", gives("ada"));
}

#[test]
fn an_authority_as_text_may_stand_in_an_env_file() {
    let vault = TestVault::builder().https().start();
    vault.operator().kv_put("secret", 2, "app", json!({"user": "ada"}));
    let directory = directory();
    let file = directory.path().join("app.env");
    let pem = fs::read_to_string(vault.tls().expect("https").ca()).expect("PEM");
    fs::write(&file, format!("VAULT_CACERT_BYTES=\"{pem}\"\n")).expect("written");
    let run = run().env("VAULT_ADDR", vault.addr()).env("VAULT_TOKEN", vault.root_token());
    gives("ada")(
        &run.env("A", "vault:secret/data/app#user").option("--env-file").option(&file),
        "",
    );
}

#[test]
fn env_files_are_named_by_option_or_variable_and_set_the_applications_variables_too() {
    let directory = directory();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (one, two) = (
        file("one.env", "A=one\nB=one\nVAULT_X=x\n"),
        file("two.env", "export B='two'\r\nC=\"t\\two\" # c\n"),
    );
    for run in [
        run().option("--env-file").option(&one).option(format!("--env-file={two}")),
        run().env("VAULT_EXEC_ENV_FILE", format!("{one}, {two}")),
        run().env("BAO_EXEC_ENV_FILE", format!("{one},{two}")).env("VAULT_EXEC_ENV_FILE", "/none"),
        run()
            .env("VAULT_EXEC_ENV_FILE", "/none")
            .option("--env-file")
            .option(&one)
            .option("--env-file")
            .option(&two),
    ] {
        let environment = run.env("C", "of the environment").environment();
        let get = |name: &str| environment.get(name).map(String::as_str);
        assert_eq!(
            (get("A"), get("B"), get("C")),
            (Some("one"), Some("two"), Some("of the environment"))
        );
        assert_eq!(get("VAULT_X"), None);
    }
}

#[test]
fn an_env_file_that_cannot_be_used_is_named_with_the_line() {
    let directory = directory();
    let path = directory.path().join("app.env");
    let name = path.display().to_string();
    let run = run().option("--env-file").option(&path);
    run.fails(78, &[&name, "--env-file", "No such file"]);
    for (text, words) in [
        ("A=1\ns3cret\n", "line 2: no `=`"),
        ("A=1\n\nB='s3cret\n", "line 3: a quote is not closed"),
        ("1A=s3cret", "line 1: what stands before `=`"),
        ("VAULT_EXEC_ENV_FILE=other", "an env file names another one"),
    ] {
        fs::write(&path, text).expect("written");
        let ended = run.fails(78, &[&name, words]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
    fs::write(&path, "A=vault:x").expect("written");
    run.fails(78, &["A: ", "without a key"]);
}

#[test]
fn names_that_only_look_like_ours_are_no_errors_and_official_ones_without_a_use_are_ignored() {
    let fixture = fixture();
    let run = fixture
        .run
        .clone()
        .env("VAULT_PORT", "tcp://10.0.0.1:8200")
        .env("VAULT_SERVICE_HOST", "10.0.0.1")
        .env("VAULT_PORT_8200_TCP", "tcp://10.0.0.1:8200")
        .env("VAULT_WRAP_TTL", "60s")
        .env("VAULT_RATE_LIMIT", "x")
        .env("VAULT_MFA", "x")
        .env("VAULT_HEADERS", "x")
        .env("VAULT_FORMAT", "json")
        .env("BAO_ANYTHING", "x")
        .env("VAULT_", "x");
    let ended = run.clone().marker().end();
    assert!(ended.started() && ended.stderr.is_empty(), "{}", ended.stderr);
    assert!(
        run.environment()
            .keys()
            .all(|name| !name.starts_with("VAULT_") && !name.starts_with("BAO_"))
    );
    let header = fixture
        .vault()
        .requests()
        .iter()
        .any(|request| request.header("x-vault-wrap-ttl").is_some());
    assert!(!header);
}

#[test]
fn a_setting_that_cannot_be_understood_is_named_with_what_it_should_be_and_never_shown() {
    for (option, variable, wrong, words) in [
        ("", "VAULT_ENABLED", "maybe", "true or false"),
        ("addr", "VAULT_ADDR", "vault.local:8200", "neither http://, https:// nor unix://"),
        ("addr", "VAULT_ADDR", "/just/a/path", "neither http://, https:// nor unix://"),
        ("addr", "VAULT_ADDR", "ftp://vault", "neither http://, https:// nor unix://"),
        ("addr", "VAULT_ADDR", "http://ada:pass@vault", "a user name or password"),
        ("addr", "VAULT_ADDR", "http://vault?x=1", "`?` or `#`"),
        ("addr", "VAULT_ADDR", "http://vault:99999", "port"),
        ("kv-version", "VAULT_EXEC_KV_VERSION", "3", "1 or 2"),
        ("on-conflict", "VAULT_EXEC_ON_CONFLICT", "maybe", "error, keep or overwrite"),
        ("", "VAULT_EXEC_UPCASE", "on", "true or false"),
        ("", "VAULT_EXEC_SANITIZE", "2", "true or false"),
        ("", "VAULT_IGNORE_MISSING_SECRETS", "y", "true or false"),
        ("", "VAULT_EXEC_CLEAN_ENV", "maybe", "true or false"),
        ("revoke", "VAULT_REVOKE_TOKEN", "maybe", "auto, true or false"),
        ("timeout", "VAULT_EXEC_TIMEOUT", "soon", "30s, 500ms or 1m30s"),
        ("timeout", "VAULT_EXEC_TIMEOUT", "0", "above zero"),
        ("timeout", "VAULT_CLIENT_TIMEOUT", "-5s", "30s, 500ms or 1m30s"),
        ("max-retries", "VAULT_MAX_RETRIES", "-1", "a whole number from 0"),
        ("", "VAULT_EXEC_REMOVE_CREDENTIAL_FILES", "maybe", "true or false"),
        ("", "VAULT_SKIP_VERIFY", "maybe", "true or false"),
        ("log-level", "VAULT_EXEC_LOG", "loud", "off, error, warn"),
        ("log-format", "VAULT_EXEC_LOG_FORMAT", "xml", "text or json"),
        ("", "VAULT_JSON_LOG", "maybe", "true or false"),
    ] {
        let ended = run().env(variable, wrong).fails(78, &[variable, words]);
        assert!(!ended.stderr.contains(wrong) || wrong.len() < 3, "{wrong}: {}", ended.stderr);
        let bao = variable.replace("VAULT_", "BAO_");
        run().env(&bao, wrong).fails(78, &[&bao, words]);
        if !option.is_empty() {
            let option = format!("--{option}");
            run().option(&option).option(wrong).fails(78, &[&option, words]);
            run().option(format!("{option}={wrong}")).fails(78, &[&option, words]);
        }
    }
}

#[test]
fn all_settings_that_cannot_be_understood_are_named_at_once() {
    let run = run()
        .env("VAULT_EXEC_UPCASE", "x")
        .env("BAO_MAX_RETRIES", "x")
        .option("--timeout=x")
        .option("--secret=a/../b");
    run.fails(78, &["VAULT_EXEC_UPCASE", "BAO_MAX_RETRIES", "--timeout", "--secret"]);
}

#[test]
fn a_setting_in_an_env_file_is_named_with_the_file() {
    let directory = directory();
    let path = directory.path().join("app.env");
    fs::write(&path, "VAULT_MAX_RETRIES=x\n").expect("written");
    let name = format!("VAULT_MAX_RETRIES in {}", path.display());
    run().option("--env-file").option(&path).fails(78, &[&name, "a whole number"]);
}
