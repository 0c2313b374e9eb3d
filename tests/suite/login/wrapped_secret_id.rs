//! A secret id that comes wrapped: looked at, compared, unwrapped once, and what is said where
//! somebody was faster.

use std::fs;
use std::path::PathBuf;

use test_vault::{Fault, Target, TestVault, Value, json, on_every_https_vault, on_every_vault};

use crate::support::application::{AppRole, policy, reading, role, with_app};
use crate::support::launch::eventually;
use crate::support::{Ended, Run, directory, run, run_at};

/// What is said of a token that was used: both explanations.
const USED: [&str; 5] = [
    "SECURITY",
    "used already",
    "interception",
    "earlier start of this container",
    "new wrapping token",
];

/// A role on a mount of its own, and a run that reads a secret with it once it has a wrapped secret
/// id.
struct Scene<'a> {
    target: &'a Target,
    role: AppRole,
    run: Run,
}

impl Scene<'_> {
    fn new(target: &Target) -> Scene<'_> {
        let mount = with_app(target);
        let role = role(target, &reading(&mount), json!({}));
        let run = run_at(target)
            .env("VAULT_AUTH_MOUNT", &role.mount)
            .env("VAULT_ROLE_ID", &role.role_id)
            .env("VAULT_EXEC_TIMEOUT", "10s")
            .env("A", format!("vault:{mount}/data/app#user"));
        Scene { target, role, run }
    }

    /// A new secret id of the role, wrapped.
    fn token(&self) -> String {
        self.target.operator().wrapped_secret_id(&self.role.mount, "app", "5m")
    }

    /// The same in another namespace.
    fn token_of(&self, namespace: &str) -> String {
        let there = self.target.operator().within(namespace);
        there.wrapped_secret_id(&self.role.mount, "app", "5m")
    }

    /// The run with a wrapping token.
    fn with(&self, token: &str) -> Run {
        self.run.clone().env("VAULT_WRAPPED_SECRET_ID", token)
    }

    /// Whether a wrapping token still holds what it held.
    fn is_unspent(&self, token: &str) -> bool {
        let body = Some(json!({ "token": token }));
        self.target.operator().request("POST", "sys/wrapping/lookup", None, body).0 == 200
    }

    /// The requests to a server of our own.
    fn lines(&self) -> Vec<String> {
        self.target.own().map(|vault| vault.lines()).unwrap_or_default()
    }

    /// What was asked of a server of our own is exactly this; each line may end in `…`.
    #[track_caller]
    fn asked(&self, expected: &[&str]) {
        if self.target.own().is_none() {
            return;
        }
        let lines = self.lines();
        let is_like = |line: &String, expected: &&str| match expected.strip_suffix('…') {
            Some(start) => line.starts_with(start),
            None => line == expected,
        };
        assert!(
            lines.len() == expected.len()
                && lines.iter().zip(expected).all(|(line, expected)| is_like(line, expected)),
            "{lines:#?}"
        );
    }
}

const LOOKUP: &str = "POST /v1/sys/wrapping/lookup";
const UNWRAP: &str = "POST /v1/sys/wrapping/unwrap";
const LOGIN: &str = "POST /v1/auth/…";

/// Whatever a request makes, wrapped: the wrapping token.
fn wrapped(target: &Target, method: &str, path: &str, body: Option<Value>) -> String {
    let root = target.root_token();
    let headers = [("x-vault-token", root.as_str()), ("x-vault-wrap-ttl", "5m")];
    let (status, answer) = target.operator().request_with(method, path, &headers, body);
    assert_eq!(status, 200, "{path}: {answer}");
    answer["wrap_info"]["token"].as_str().expect("a wrapping token").to_owned()
}

#[track_caller]
fn shows_none(ended: &Ended, secrets: &[&str]) {
    for secret in secrets {
        assert!(secret.len() > 4 && !ended.stderr.contains(secret), "{}", ended.stderr);
    }
}

#[test]
fn a_wrapped_secret_id_is_looked_up_unwrapped_and_used() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        assert_eq!(scene.with(&scene.token()).value("A").as_deref(), Some("ada"));
        scene.asked(&[LOOKUP, UNWRAP, LOGIN, "GET /v1/…", "POST /v1/auth/token/revoke-self"]);
        let run = scene.run.clone().env("BAO_WRAPPED_SECRET_ID", format!(" {}\n", scene.token()));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
    });
}

#[test]
fn over_https_too() {
    on_every_https_vault(|target| {
        let scene = Scene::new(target);
        assert_eq!(scene.with(&scene.token()).value("A").as_deref(), Some("ada"));
        scene.asked(&[LOOKUP, UNWRAP, LOGIN, "GET /v1/…", "POST /v1/auth/token/revoke-self"]);
    });
}

/// In the header a lookup would use the token up, and be refused by a policy.
#[test]
fn the_token_is_looked_up_in_the_body_and_unwrapped_from_the_header() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let token = scene.token();
    scene.with(&token).environment();
    let requests = target.own().expect("own").requests();
    let [lookup, unwrap, login, ..] = requests.as_slice() else { panic!("{:?}", scene.lines()) };
    assert_eq!((lookup.token(), lookup.json()), (None, json!({ "token": token })));
    assert_eq!((unwrap.token(), unwrap.body.as_slice()), (Some(token.as_str()), &b""[..]));
    assert_eq!((login.token(), &login.json()["role_id"]), (None, &json!(scene.role.role_id)));
    assert!(login.json()["secret_id"].is_string());
    assert!(
        requests.iter().all(|request| !request.path.contains(&token) && request.query.is_empty())
    );
}

fn write(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let file = directory.path().join(name);
    fs::write(&file, text).expect("written");
    file
}

#[test]
fn a_wrapping_token_in_a_file_is_trimmed_and_removed_after_the_login_where_that_is_wanted() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let directory = directory();
        let file = write(&directory, "token", &format!("{}\r\n", scene.token()));
        let run = scene.run.clone().env("VAULT_WRAPPED_SECRET_ID_FILE", &file);
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert!(file.exists());
        let run = run.option("--remove-credential-files");
        run.fails(77, &[&format!("{} (VAULT_WRAPPED_SECRET_ID_FILE)", file.display()), USED[1]]);
        assert!(file.exists(), "a refused login removes nothing");
        write(&directory, "token", &scene.token());
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        assert!(!file.exists());
    });
}

#[test]
fn the_role_is_compared_where_it_is_named() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        assert_eq!(
            scene.with(&scene.token()).option("--role=app").value("A").as_deref(),
            Some("ada")
        );
        let path = format!("auth/{}/role/app/secret-id", scene.role.mount);
        for role in ["other", "ap", "app/secret-id"] {
            let token = scene.token();
            let expected = format!(
                "expected the path auth/{}/role/{role}/secret-id, found {path}",
                scene.role.mount
            );
            let run = scene.with(&token).env("VAULT_ROLE", role);
            let ended =
                run.fails(77, &["SECURITY", "VAULT_WRAPPED_SECRET_ID", &expected, "VAULT_ROLE"]);
            assert!(scene.is_unspent(&token));
            shows_none(&ended, &[&token]);
        }
    });
}

/// The path of a wrapping token has the role as it was written there.
#[test]
fn the_case_of_a_role_does_not_matter_since_vault_ignores_it() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        for (made, role) in [("App", "app"), ("app", "App"), ("aPP", "APp")] {
            let path = format!("auth/{}/role/{made}/secret-id", scene.role.mount);
            let token = wrapped(target, "POST", &path, None);
            let run = scene.with(&token).env("VAULT_ROLE", role);
            assert_eq!(run.value("A").as_deref(), Some("ada"), "{made} {role}");
        }
    });
}

#[test]
fn a_secret_id_that_somebody_chose_will_do() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let path = format!("auth/{}/role/app/custom-secret-id", scene.role.mount);
        for role in [None, Some("app")] {
            let body = json!({ "secret_id": target.unique("custom") });
            let token = wrapped(target, "POST", &path, Some(body));
            let run = role.map_or_else(
                || scene.with(&token),
                |role| scene.with(&token).env("VAULT_ROLE", role),
            );
            assert_eq!(run.value("A").as_deref(), Some("ada"), "{role:?}");
        }
    });
}

#[test]
fn a_mount_may_have_slashes() {
    on_every_vault(|target| {
        let mount = with_app(target);
        let auth = format!("{}/web", target.unique("teams"));
        let operator = target.operator();
        operator.enable_approle(&auth);
        operator.approle_role(
            &auth,
            "app",
            json!({ "token_policies": [policy(target, &reading(&mount))] }),
        );
        let run = run_at(target)
            .env("VAULT_AUTH_MOUNT", format!("/{auth}/"))
            .env("VAULT_ROLE_ID", operator.role_id(&auth, "app"))
            .env("VAULT_WRAPPED_SECRET_ID", operator.wrapped_secret_id(&auth, "app", "5m"))
            .env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
    });
}

#[test]
fn a_token_made_at_another_path_is_an_alarm_and_is_not_unwrapped() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let (operator, mount) = (target.operator(), &scene.role.mount);
        let kv = with_app(target);
        let other = role(target, &reading(&kv), json!({}));
        operator.approle_role(mount, "other", json!({}));
        let secret = scene.role.new_secret_id(json!({}));
        let inside = || Some(json!({ "secret_id": secret }));
        for (method, path, body) in [
            ("POST", "sys/wrapping/wrap".to_owned(), inside()),
            ("GET", format!("{kv}/data/app"), None),
            (
                "POST",
                format!("auth/{mount}/role/other/custom-secret-id"),
                Some(json!({ "secret_id": "chosen-by-hand" })),
            ),
            ("GET", format!("auth/{mount}/role/app/role-id"), None),
            ("POST", format!("auth/{}/role/app/secret-id", other.mount), None),
            ("POST", "auth/token/create".to_owned(), None),
            ("POST", format!("auth/{mount}/role/other/secret-id"), None),
        ] {
            let token = wrapped(target, method, &path, body);
            if let Some(vault) = target.own() {
                vault.clear();
            }
            let expected =
                format!("expected the path auth/{mount}/role/app/secret-id, found {path}");
            let run = scene.with(&token).env("VAULT_ROLE", "app").option("--log-level=trace");
            let ended = run
                .fails(77, &["SECURITY: the wrapping token of VAULT_WRAPPED_SECRET_ID", &expected]);
            assert!(scene.is_unspent(&token), "{path}");
            scene.asked(&[LOOKUP]);
            shows_none(&ended, &[&token, &secret, "s3cr3t", "chosen-by-hand"]);
        }
    });
}

#[test]
fn without_a_role_any_role_of_the_mount_will_do_and_nothing_else() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let mount = &scene.role.mount;
        let path = format!("auth/{mount}/role/app/role-id");
        let token = wrapped(target, "GET", &path, None);
        let expected =
            format!("expected the path auth/{mount}/role/<any role>/secret-id, found {path}");
        scene.with(&token).fails(77, &["SECURITY", &expected]);
        assert!(scene.is_unspent(&token));
        // The login finds out that it is of another role than the role id.
        target.operator().approle_role(mount, "other", json!({}));
        let other = target.operator().wrapped_secret_id(mount, "other", "5m");
        scene
            .with(&other)
            .fails(77, &["login at", "invalid role or secret ID", "lost with this start"]);
    });
}

#[test]
fn a_token_that_was_used_means_an_interception_or_an_earlier_start() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let token = scene.token();
        let run = scene.with(&token);
        assert!(run.clone().marker().end().started());
        if let Some(vault) = target.own() {
            vault.clear();
        }
        let not_wrapped = "looking up the wrapping token of VAULT_WRAPPED_SECRET_ID: status 400: \
                           wrapping token is not valid or does not exist";
        let accessor = format!("auth/{}/role/<role>/secret-id-accessor/destroy", scene.role.mount);
        let ended = run.fails(77, &[&[not_wrapped, &target.addr(), &accessor][..], &USED].concat());
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
        shows_none(&ended, &[&token]);
        scene.asked(&[LOOKUP]);
        run.option("--role=app").fails(77, &[&accessor.replace("<role>", "app")]);
        // Somebody else was faster.
        let token = scene.token();
        target.operator().request("POST", "sys/wrapping/unwrap", Some(&token), None);
        scene.with(&token).fails(77, &USED);
    });
}

#[test]
fn what_is_no_wrapping_token_any_more_or_never_was_is_an_alarm_too() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let expired = scene.role.wrapped_secret_id("1s");
        eventually("the end of the wrapping token", || {
            let body = json!({ "token": expired });
            let reply = target.operator().request("POST", "sys/wrapping/lookup", None, Some(body));
            (reply.0 != 200).then_some(())
        });
        for token in [
            &expired,
            "garbage",
            "hvs.CAESIJgarbage",
            "a.b.c",
            "eyJhbGciOiJFUzUxMiJ9.garbage.garbage",
        ] {
            let ended = scene.with(token).option("--log-level=trace").fails(77, &USED);
            shows_none(&ended, &[token]);
        }
    });
}

#[test]
fn an_ordinary_token_in_its_place_is_neither_spent_nor_shown() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let token =
            target.operator().create_token(json!({ "policies": ["default"], "num_uses": 1 }));
        let ended = scene.with(&token).option("--log-level=trace").fails(77, &USED);
        shows_none(&ended, &[&token]);
        let (status, _) =
            target.operator().request("GET", "auth/token/lookup-self", Some(&token), None);
        assert_eq!(status, 200, "its one use is left");
    });
}

/// Two starts at once: the lookup was good for both, and one of them comes too late.
#[test]
fn a_token_that_is_used_between_lookup_and_unwrap_is_the_same_alarm() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    vault.fault(
        "POST /v1/sys/wrapping/unwrap",
        Fault::error(400, "wrapping token is not valid or does not exist"),
    );
    let token = scene.token();
    let ended = scene
        .with(&token)
        .fails(77, &[&["unwrapping the secret id of VAULT_WRAPPED"][..], &USED].concat());
    shows_none(&ended, &[&token]);
    scene.asked(&[LOOKUP, UNWRAP]);
    // A policy cannot be in the way of a lookup, so what refuses it for another reason is not
    // Vault.
    vault.clear_faults();
    vault.fault("POST /v1/sys/wrapping/lookup", Fault::error(403, "forbidden by the gateway"));
    let ended = scene.with(&token).fails(77, &["forbidden by the gateway", "in between"]);
    assert!(!ended.stderr.contains("SECURITY"), "{}", ended.stderr);
}

#[test]
fn an_unwrap_whose_answer_is_lost_is_not_repeated() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    for fault in [Fault::LoseAnswer, Fault::Truncate, Fault::internal_error(), Fault::bad_gateway()]
    {
        vault.clear_faults();
        vault.clear();
        vault.fault(UNWRAP, fault);
        let run = scene.with(&scene.token());
        run.fails(
            69,
            &[
                "unwrapping the secret id of VAULT_WRAPPED_SECRET_ID",
                "not repeated",
                "may be used up",
            ],
        );
        scene.asked(&[LOOKUP, UNWRAP]);
    }
    vault.clear_faults();
    vault.clear();
    vault.fault_times(1, UNWRAP, Fault::LoseAnswer);
    let run = scene.with(&scene.token());
    run.fails(69, &["not repeated"]);
    run.fails(77, &USED);
    scene.asked(&[LOOKUP, UNWRAP, LOOKUP]);
}

#[test]
fn a_lookup_whose_answer_is_lost_is_repeated() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    vault.fault_times(1, LOOKUP, Fault::LoseAnswer);
    vault.fault_times(1, LOOKUP, Fault::internal_error());
    assert_eq!(scene.with(&scene.token()).value("A").as_deref(), Some("ada"));
    scene.asked(&[
        LOOKUP,
        LOOKUP,
        LOOKUP,
        UNWRAP,
        LOGIN,
        "GET /v1/…",
        "POST /v1/auth/token/revoke-self",
    ]);
}

#[test]
fn a_server_that_is_not_ready_is_asked_again_until_the_deadline() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    for path in [LOOKUP, UNWRAP, "POST /v1/auth/"] {
        vault.fault_times(1, path, Fault::sealed());
    }
    let token = scene.token();
    assert_eq!(scene.with(&token).value("A").as_deref(), Some("ada"));
    let all = [
        LOOKUP,
        LOOKUP,
        UNWRAP,
        UNWRAP,
        LOGIN,
        LOGIN,
        "GET /v1/…",
        "POST /v1/auth/token/revoke-self",
    ];
    scene.asked(&all);
    for (path, words) in [(LOOKUP, "looking up"), (UNWRAP, "unwrapping the secret id")] {
        vault.clear_faults();
        vault.fault(path, Fault::sealed());
        let token = scene.token();
        let ended = scene
            .with(&token)
            .env("VAULT_EXEC_TIMEOUT", "1s")
            .fails(69, &[words, "Vault is sealed", "tries"]);
        assert!(scene.is_unspent(&token));
        shows_none(&ended, &[&token]);
    }
}

#[test]
fn a_login_that_fails_after_the_unwrap_says_that_the_secret_id_is_lost() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    for (fault, code) in
        [(Fault::no_leader(), 69), (Fault::Hang, 69), (Fault::error(400, "no"), 77)]
    {
        vault.clear_faults();
        vault.clear();
        vault.fault("POST /v1/auth/", fault);
        let token = scene.token();
        let run = scene.with(&token).env("VAULT_EXEC_TIMEOUT", "1s").option("--log-level=trace");
        let ended = run.fails(
            code,
            &["login at auth/", "secret id is lost with this start", "new wrapping token"],
        );
        let requests = vault.requests();
        let login = requests.last().expect("a login").json();
        shows_none(
            &ended,
            &[&token, login["secret_id"].as_str().expect("a secret id"), &scene.role.role_id],
        );
    }
}

#[test]
fn what_the_server_says_of_the_unwrapped_secret_id_is_redacted() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    let secret = "7d1c3d6e-unwrapped-secret-id";
    vault.fault(UNWRAP, Fault::answer(200, json!({ "data": { "secret_id": secret } }).to_string()));
    vault.fault("POST /v1/auth/", Fault::error(400, &format!("invalid secret_id \"{secret}\"")));
    let ended = scene.with(&scene.token()).fails(77, &["invalid secret_id \"[redacted]\""]);
    shows_none(&ended, &[secret]);
}

#[test]
fn an_unwrapped_answer_without_a_secret_id_says_what_came() {
    let target = Target::from(TestVault::start());
    let scene = Scene::new(&target);
    let vault = target.own().expect("own");
    for (status, body, words) in [
        (
            200,
            json!({ "data": { "user": "ada", "pass": "s3cr3t" } }).to_string(),
            "no secret_id in it, but data with",
        ),
        (200, json!({ "data": { "secret_id": "" } }).to_string(), "no secret_id in it"),
        (200, json!({ "auth": { "client_token": "s3cr3t" } }).to_string(), "a login's token"),
        (204, String::new(), "but nothing"),
        (200, "<html>s3cr3t".to_owned(), "not JSON"),
    ] {
        vault.clear_faults();
        vault.clear();
        vault.fault(UNWRAP, Fault::answer(status, body));
        let place = "unwrapping the secret id of VAULT_WRAPPED_SECRET_ID";
        let ended =
            scene.with(&scene.token()).fails(76, &[place, words, &target.addr(), "used up"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
        scene.asked(&[LOOKUP, UNWRAP]);
    }
    vault.clear_faults();
    vault.fault(LOOKUP, Fault::answer(200, json!({ "data": {} }).to_string()));
    scene.with(&scene.token()).fails(76, &["looking up the wrapping token", "creation_path"]);
}

#[test]
fn no_credential_is_shown_at_any_level_of_the_log() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let token = scene.token();
        let ended = scene.with(&token).option("--log-level=trace").marker().end();
        assert!(
            ended.started() && ended.stderr.contains("sys/wrapping/unwrap"),
            "{}",
            ended.stderr
        );
        let mut secrets = vec![token, scene.role.role_id.clone()];
        for request in target.own().map(|vault| vault.requests()).unwrap_or_default() {
            secrets.extend(request.json()["secret_id"].as_str().map(str::to_owned));
            secrets.extend(request.token().map(str::to_owned));
        }
        assert_eq!(secrets.len() > 2, target.own().is_some());
        shows_none(&ended, &secrets.iter().map(String::as_str).collect::<Vec<_>>());
    });
}

#[test]
fn a_wrapped_and_a_plain_secret_id_are_an_error_that_names_both() {
    let vault = TestVault::start();
    let run = run()
        .env("VAULT_ADDR", vault.addr())
        .env("VAULT_ROLE_ID", "r")
        .env("A", "vault:secret/data/a#k");
    for (plain, wrapped) in [
        ("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID"),
        ("BAO_SECRET_ID_FILE", "VAULT_WRAPPED_SECRET_ID"),
        ("VAULT_SECRET_ID", "VAULT_WRAPPED_SECRET_ID_FILE"),
    ] {
        let run = run.clone().env(plain, "s3cr3t-1").env(wrapped, "s3cr3t-2");
        let ended = run.fails(78, &[&format!("{plain} and {wrapped} are both set"), "unset one"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
    }
    assert_eq!(vault.connections(), 0);
}

#[test]
fn what_can_be_seen_before_anything_is_asked() {
    let vault = TestVault::start();
    let run = run().env("VAULT_ADDR", vault.addr()).env("A", "vault:secret/data/a#k");
    run.clone()
        .env("VAULT_WRAPPED_SECRET_ID", "w")
        .fails(78, &["approle", "no role id", "VAULT_ROLE_ID"]);
    let run = run.env("VAULT_ROLE_ID", "r");
    run.clone()
        .env("VAULT_WRAPPED_SECRET_ID_FILE", "/none")
        .fails(78, &["/none (VAULT_WRAPPED_SECRET_ID_FILE)"]);
    run.clone()
        .env("VAULT_WRAPPED_SECRET_ID", "w")
        .env("VAULT_WRAPPED_SECRET_ID_FILE", "/none")
        .fails(78, &["VAULT_WRAPPED_SECRET_ID and VAULT_WRAPPED_SECRET_ID_FILE are both set"]);
    for value in ["two words", "line\nbreak", "ümlaut"] {
        let ended = run
            .clone()
            .env("VAULT_WRAPPED_SECRET_ID", value)
            .fails(78, &["VAULT_WRAPPED_SECRET_ID: the token"]);
        assert!(!ended.stderr.contains(value), "{}", ended.stderr);
    }
    let both = run.env("VAULT_WRAPPED_SECRET_ID", "w").env("VAULT_TOKEN", "t");
    both.fails(78, &["VAULT_TOKEN", "VAULT_WRAPPED_SECRET_ID", "VAULT_AUTH_METHOD"]);
    assert_eq!(vault.connections(), 0);
}

/// A tenant who can put a token of their own in the place of ours would burn logins of our role.
#[test]
fn a_token_of_another_namespace_is_not_unwrapped() {
    on_every_vault(|target| {
        let scene = Scene::new(target);
        let tenant = format!("tenant-{}", scene.role.mount);
        target.operator().enable_namespace(&tenant);
        let there = target.operator().within(&tenant);
        there.write(&format!("sys/auth/{}", scene.role.mount), json!({ "type": "approle" }));
        there.write(&format!("auth/{}/role/app", scene.role.mount), json!({}));
        let token = scene.token_of(&tenant);
        let words = ["SECURITY", "expected the root namespace, found another one", "not unwrapped"];
        scene.with(&token).fails(77, &words);
        assert!(scene.is_unspent(&token));
        let ours = scene.token();
        let words = [&*format!("expected {tenant}, found the root namespace"), "VAULT_NAMESPACE"];
        scene.with(&ours).env("VAULT_NAMESPACE", &tenant).fails(77, &words);
        assert!(scene.is_unspent(&ours));
    });
}
