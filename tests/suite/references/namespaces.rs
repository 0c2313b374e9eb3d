//! Namespaces: of the login, of the secrets, and in front of a path.

use test_vault::{Fault, Target, TestVault, json, on_every_vault, on_every_vault_with_database};

use crate::support::application::{as_root, reading};
use crate::support::launch::PATIENCE;
use crate::support::{Run, run_at};

/// Three namespaces of a test's own, each with a KV v2 mount `kv` that has the secret `app`, `{"k":
/// <the namespace>}`.
pub(crate) struct Tree {
    pub(crate) team: String,
    /// Below `team`.
    pub(crate) web: String,
    pub(crate) other: String,
}

impl Tree {
    pub(crate) fn new(target: &Target) -> Tree {
        let (team, other) = (target.unique("team"), target.unique("other"));
        let web = format!("{team}/web");
        target.operator().enable_namespace(&team);
        target.operator().within(&team).enable_namespace("web");
        target.operator().enable_namespace(&other);
        for namespace in [&team, &web, &other] {
            let operator = target.operator().within(namespace);
            operator.enable_kv("kv", 2);
            operator.kv_put("kv", 2, "app", json!({ "k": namespace }));
        }
        Tree { team, web, other }
    }
}

/// The role id and a secret id of a role in a namespace that may do what `hcl` says.
pub(crate) fn role(target: &Target, namespace: &str, hcl: &str) -> (String, String) {
    let operator = target.operator().within(namespace);
    operator.policy("app", hcl);
    operator.enable_approle("approle");
    operator.approle_role("approle", "app", json!({"token_policies": ["app"]}));
    (operator.role_id("approle", "app"), operator.secret_id("approle", "app", json!({})))
}

/// A token of a namespace with a policy of it.
pub(crate) fn token(target: &Target, namespace: &str, policy: &str) -> String {
    target.operator().within(namespace).create_token(json!({"policies": [policy]}))
}

/// A run that logs in with a role of a namespace that may read whatever is in `kv` here and in
/// `web`.
fn login(target: &Target, namespace: &str) -> Run {
    let (role_id, secret_id) =
        role(target, namespace, &format!("{}\n{}", reading("kv"), reading("web/kv")));
    run_at(target).env("VAULT_ROLE_ID", role_id).env("VAULT_SECRET_ID", secret_id)
}

/// The headers of a request: neither an empty namespace nor an empty token is sent.
pub(crate) fn header<'a>(namespace: &'a str, token: &'a str) -> Vec<(&'static str, &'a str)> {
    let both = [("x-vault-namespace", namespace), ("x-vault-token", token)];
    both.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// Each request, and the namespace in its header.
fn asked(vault: &TestVault) -> Vec<(String, Option<String>)> {
    let asked = vault.requests().into_iter();
    asked
        .map(|request| (request.line(), request.header("x-vault-namespace").map(str::to_owned)))
        .collect()
}

/// On the server of the project, which requests were made, with the namespace in the header of
/// each.
#[track_caller]
fn assert_asked(target: &Target, wanted: &[(&str, Option<&str>)]) {
    if let Some(vault) = target.own() {
        let asked = asked(vault);
        let asked: Vec<_> =
            asked.iter().map(|(line, namespace)| (line.as_str(), namespace.as_deref())).collect();
        assert_eq!(asked, wanted);
    }
}

const LOGIN: &str = "POST /v1/auth/approle/login";
const MOUNTS: &str = "GET /v1/sys/internal/ui/mounts";
const READ: &str = "GET /v1/kv/data/app";
const REVOKE: &str = "POST /v1/auth/token/revoke-self";

#[test]
fn one_namespace_is_for_login_and_secrets() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team).env("A", "vault:kv/app#k");
        for name in ["VAULT_NAMESPACE", "BAO_NAMESPACE"] {
            for namespace in
                [tree.team.clone(), format!("{}/", tree.team), format!("/{}", tree.team)]
            {
                assert_eq!(run.clone().env(name, namespace).value("A").as_ref(), Some(&tree.team));
            }
        }
        if let Some(vault) = target.own() {
            vault.clear();
        }
        assert_eq!(run.env("VAULT_NAMESPACE", &tree.team).value("A").as_ref(), Some(&tree.team));
        let team = Some(tree.team.as_str());
        assert_asked(target, &[(LOGIN, team), (MOUNTS, team), (READ, team), (REVOKE, team)]);
    });
}

#[test]
fn a_login_may_be_above_the_secrets() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run =
            login(target, &tree.team).env("A", "vault:kv/app#k").env("VAULT_NAMESPACE", &tree.web);
        for name in ["VAULT_AUTH_NAMESPACE", "BAO_AUTH_NAMESPACE"] {
            for namespace in [format!("/{}/", tree.team), tree.team.clone()] {
                if let Some(vault) = target.own() {
                    vault.clear();
                }
                assert_eq!(run.clone().env(name, namespace).value("A").as_ref(), Some(&tree.web));
                let (team, web) = (Some(tree.team.as_str()), Some(tree.web.as_str()));
                assert_asked(target, &[(LOGIN, team), (MOUNTS, web), (READ, web), (REVOKE, team)]);
            }
        }
    });
}

#[test]
fn a_login_may_be_in_the_root_namespace_by_each_of_its_names() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let role = crate::support::application::role(
            target,
            &reading(&format!("{}/kv", tree.web)),
            json!({}),
        );
        let run = crate::support::application::as_role(target, &role)
            .env("A", "vault:kv/app#k")
            .env("VAULT_NAMESPACE", &tree.web);
        for root in ["/", "root", "root/"] {
            if let Some(vault) = target.own() {
                vault.clear();
            }
            assert_eq!(
                run.clone().env("VAULT_AUTH_NAMESPACE", root).value("A").as_ref(),
                Some(&tree.web),
                "{root}"
            );
            let login = format!("POST /v1/auth/{}/login", role.mount);
            let web = Some(tree.web.as_str());
            assert_asked(target, &[(&login, None), (MOUNTS, web), (READ, web), (REVOKE, None)]);
        }
        run.fails(77, &["login at"]);
    });
}

#[test]
fn a_login_alone_may_have_a_namespace() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team).env("VAULT_AUTH_NAMESPACE", &tree.team);
        let path = format!("{}/kv/data/app", tree.web);
        assert_eq!(run.env("A", format!("vault:{path}#k")).value("A").as_ref(), Some(&tree.web));
        let team = Some(tree.team.as_str());
        // The data in it may be one of a secret's own path.
        let mount = format!("{MOUNTS}/{path}");
        let read = format!("GET /v1/{path}");
        let asked = [(LOGIN, team), (MOUNTS, None), (&mount, None), (&read, None), (REVOKE, team)];
        assert_asked(target, &asked);
    });
}

#[test]
fn a_wrapped_secret_id_is_taken_out_in_the_namespace_of_the_login() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run =
            login(target, &tree.team).without("VAULT_SECRET_ID").env("A", "vault:kv/data/app#k");
        let token = target.operator().within(&tree.team).wrapped_secret_id("approle", "app", "5m");
        let run = run.env("VAULT_WRAPPED_SECRET_ID", token);
        let run = run.env("VAULT_NAMESPACE", &tree.web).env("VAULT_AUTH_NAMESPACE", &tree.team);
        assert_eq!(run.value("A").as_ref(), Some(&tree.web));
        let (team, web) = (Some(tree.team.as_str()), Some(tree.web.as_str()));
        let (lookup, unwrap) = ("POST /v1/sys/wrapping/lookup", "POST /v1/sys/wrapping/unwrap");
        assert_asked(
            target,
            &[(lookup, team), (unwrap, team), (LOGIN, team), (READ, web), (REVOKE, team)],
        );
        run.fails(77, &["SECURITY"]);
    });
}

#[test]
fn the_token_of_the_login_is_gone_when_the_application_starts() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let token = token(target, &tree.team, "default");
        let own = "path \"auth/token/*\" { capabilities = [\"read\", \"update\"] }";
        target
            .operator()
            .within(&tree.team)
            .policy("default", &format!("{}\n{own}", reading("web/kv")));
        let run = run_at(target)
            .env("VAULT_TOKEN", &token)
            .env("A", "vault:kv/data/app#k")
            .option("--revoke=true");
        let run = run.env("VAULT_NAMESPACE", &tree.web).env("VAULT_AUTH_NAMESPACE", &tree.team);
        assert_eq!(run.value("A").as_ref(), Some(&tree.web));
        let lookup = target.http().request_with(
            "GET",
            "auth/token/lookup-self",
            &header(&tree.team, &token),
            None,
        );
        assert_eq!(lookup.0, 403, "{lookup:?}");
    });
}

#[test]
fn a_check_looks_the_token_up_in_the_namespace_of_the_login() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = as_root(target).env("A", "vault:kv/data/app#k").option("--check");
        let ended =
            run.env("VAULT_NAMESPACE", &tree.web).env("VAULT_AUTH_NAMESPACE", &tree.team).end();
        assert!(ended.code == Some(0) && ended.stderr.contains("root token"), "{}", ended.stderr);
        let (team, web) = (Some(tree.team.as_str()), Some(tree.web.as_str()));
        assert_asked(target, &[("GET /v1/auth/token/lookup-self", team), (READ, web)]);
    });
}

#[test]
fn the_application_is_handed_the_namespace_of_the_secrets() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team)
            .env("VAULT_TOKEN", "vault:login")
            .env("A", "vault:kv/data/app#k");
        let run = run.env("VAULT_NAMESPACE", &tree.web).env("VAULT_AUTH_NAMESPACE", &tree.team);
        let environment = run.environment();
        assert_eq!((&environment["A"], &environment["VAULT_NAMESPACE"]), (&tree.web, &tree.web));
        assert!(!environment.contains_key("VAULT_AUTH_NAMESPACE"));
        let token = &environment["VAULT_TOKEN"];
        let read =
            target.http().request_with("GET", "kv/data/app", &header(&tree.web, token), None);
        assert_eq!(read.0, 200, "the token is still there");
    });
}

#[test]
fn a_namespace_may_stand_in_front_of_a_path() {
    on_every_vault(|target| {
        let Tree { team, web, .. } = &Tree::new(target);
        let operator = target.operator().within(web);
        operator.enable_kv("one", 1);
        operator.kv_put("one", 1, "app", json!({"k": "version 1"}));
        operator.kv_put("kv", 2, "more", json!({"k": "more"}));
        operator.enable_transit("transit");
        operator.transit_key("transit", "key");
        operator.enable_pki("pki");
        operator.pki_role("pki", "web", json!({"allow_any_name": true}));
        for (namespace, front) in
            [("", format!("{web}/")), (team, "web/".to_owned()), (web, String::new())]
        {
            let run = as_root(target)
                .env("A", format!("vault:{front}kv/app#k"))
                .env("B", format!("vault:{front}kv/data/app#k"))
                .env("C", format!("vault:{front}one/app#k"))
                .env("D", format!("x ${{vault:{front}kv/more#k}}"))
                .env("E", operator.encrypt("transit", "key", "plain"))
                .env(
                    "F",
                    format!(r#">>vault:{front}pki/issue/web#certificate#{{"common_name":"a.example","ttl":"1h"}}"#),
                )
                .env("VAULT_TRANSIT_KEY_ID", "key")
                .env("VAULT_TRANSIT_PATH", format!("{front}transit"))
                .option("--secret")
                .option(format!("G={front}kv/app#k"));
            let run =
                if namespace.is_empty() { run } else { run.env("VAULT_NAMESPACE", namespace) };
            let environment = run.environment();
            for (name, value) in
                [("A", web.as_str()), ("B", web), ("C", "version 1"), ("D", "x more"), ("G", web)]
            {
                assert_eq!(
                    environment.get(name).map(String::as_str),
                    Some(value),
                    "{name} in {namespace:?}"
                );
            }
            assert_eq!(environment["E"], "plain");
            assert!(environment["F"].starts_with("-----BEGIN CERTIFICATE"), "{}", environment["F"]);
            if let Some(vault) = target.own() {
                let lines = vault.lines();
                let of_mounts = lines.iter().filter(|line| line.contains("/ui/mounts/")).count();
                assert_eq!(
                    of_mounts,
                    if front.is_empty() { 0 } else { 2 },
                    "once for each mount: {lines:?}"
                );
                vault.clear();
            }
        }
    });
}

/// A server tells a mount behind two namespaces to root tokens only, but for questions in the root
/// namespace.
#[test]
fn a_namespace_in_front_of_a_path_goes_below_that_of_the_secrets_for_every_token() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team).env("VAULT_NAMESPACE", &tree.team);
        let run = run
            .env("A", "vault:web/kv/app#k")
            .env("B", "vault:web/kv/app#k:-x")
            .env("C", "vault:kv/app#k");
        let environment = run.environment();
        assert_eq!(
            ["A", "B", "C"].map(|name| &environment[name]),
            [&tree.web, &tree.web, &tree.team]
        );
        let unseen = run.env("D", "vault:web/nope/app#k");
        unseen.fails(77, &["D: web/nope/app: ", "the token cannot see what is mounted there"]);
    });
}

/// What keeps tenants out of the root namespace need not answer as Vault does.
#[test]
fn an_answer_of_the_root_namespace_that_is_not_vaults_costs_no_start() {
    let target = Target::from(TestVault::start());
    let tree = Tree::new(&target);
    let vault = target.own().expect("own");
    let page = Fault::Answer { status: 403, headers: Vec::new(), body: b"<html>".to_vec() };
    vault.fault(&*format!("/v1/sys/internal/ui/mounts/{}/", tree.team), page);
    let run = login(&target, &tree.team).env("VAULT_NAMESPACE", &tree.team);
    let run = run.env("A", "vault:web/kv/app#k").env("B", "vault:kv/app#k");
    run.clone().fails(66, &["A: web/kv/app: ", "write data/ after the mount"]);
    assert_eq!(run.env("A", "vault:web/kv/data/app#k").value("A").as_ref(), Some(&tree.web));
}

#[test]
fn a_namespace_that_there_is_not_is_named_by_its_setting() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team).env("A", "vault:kv/app#k");
        let nowhere = target.unique("nowhere");
        let both = run.clone().env("VAULT_NAMESPACE", &nowhere);
        both.fails(78, &["login at", "namespace not found", "is VAULT_NAMESPACE right?"]);
        let login =
            run.clone().env("VAULT_NAMESPACE", &tree.team).env("VAULT_AUTH_NAMESPACE", &nowhere);
        login.fails(78, &["login at", "namespace not found", "is VAULT_AUTH_NAMESPACE right?"]);
        let secrets = run.env("VAULT_NAMESPACE", &nowhere).env("VAULT_AUTH_NAMESPACE", &tree.team);
        for path in ["kv/app", "kv/data/app"] {
            let run =
                secrets.clone().env("A", format!("vault?:{path}#k:-x")).option("--ignore-missing");
            run.fails(78, &["namespace not found", "is VAULT_NAMESPACE right?"]);
        }
        let token = run_at(target)
            .env("VAULT_TOKEN", target.root_token())
            .env("A", format!("vault:{nowhere}/kv/app#k"));
        token.fails(66, &["A: ", &nowhere, "no handler"]);
    });
}

#[test]
fn a_namespace_that_no_header_can_have_is_named_by_its_setting() {
    let run = crate::support::run()
        .env("VAULT_ADDR", "http://127.0.0.1:1")
        .env("VAULT_TOKEN", "t")
        .env("A", "vault:a#b");
    run.clone()
        .env("VAULT_NAMESPACE", "a\nb")
        .fails(78, &["VAULT_NAMESPACE: characters that no namespace has"]);
    let login = run.env("VAULT_NAMESPACE", "a").env("VAULT_AUTH_NAMESPACE", "a\u{7f}b");
    login.fails(78, &["VAULT_AUTH_NAMESPACE: characters that no namespace has"]);
}

#[test]
fn a_token_of_another_namespace_is_refused_with_the_reason() {
    on_every_vault(|target| {
        let tree = Tree::new(target);
        let run = login(target, &tree.team);
        let elsewhere = "a token is good for its own namespace and those below it";
        for path in ["kv/app", "kv/data/app"] {
            let run = run
                .clone()
                .env("A", format!("vault:{path}#k"))
                .env("VAULT_AUTH_NAMESPACE", &tree.team);
            run.clone().fails(77, &["A: ", elsewhere]);
            run.clone().env("VAULT_NAMESPACE", &tree.other).fails(77, &["A: ", elsewhere]);
            let below = run
                .clone()
                .env("VAULT_NAMESPACE", &tree.web)
                .env("B", "vault:nope/data/app#k")
                .fails(77, &["B: "]);
            assert!(!below.stderr.contains(elsewhere), "{}", below.stderr);
            let in_path =
                run.env("C", format!("vault:{}/nope/data/app#k", tree.team)).fails(77, &["C: "]);
            let line = in_path.stderr.lines().skip_while(|line| !line.contains("C: ")).nth(1);
            assert!(
                line.is_some_and(|hint| hint.contains("no policy of the token allows it")),
                "{}",
                in_path.stderr
            );
        }
    });
}

#[test]
fn the_printed_policy_is_for_the_namespace_of_the_login() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        for (login, secrets, path, place) in [
            (team.as_str(), team.as_str(), "kv/data/app", team.as_str()),
            (team, web, "kv/data/app", team),
            (team, team, "web/kv/data/app", team),
            ("", web, "kv/data/app", ""),
            ("", "", &format!("{web}/kv/data/app"), ""),
            (team, "", &format!("{web}/kv/data/app"), team),
            (team, other, "kv/data/app", other),
        ] {
            let tree = Tree::new(target);
            let own = |namespace: &str| {
                namespace.replace(team.as_str(), &tree.team).replace(other.as_str(), &tree.other)
            };
            let run = crate::support::run().env("A", format!("vault:{}#k", own(path)));
            let run = run
                .env("VAULT_NAMESPACE", own(secrets))
                .env("VAULT_AUTH_NAMESPACE", own(login) + "/");
            let printed = run.clone().option("--print-policy").end();
            assert_eq!(printed.code, Some(0), "{}", printed.stderr);
            let hcl = printed.text();
            assert_eq!(hcl.contains("of no use to a login in"), place != login, "{hcl}");
            let place = own(place);
            let (policy, operator) = (target.unique("policy"), target.operator().within(&place));
            operator.policy(&policy, &hcl);
            let token =
                operator.create_token(json!({"policies": [policy], "no_default_policy": true}));
            let run = run
                .env("VAULT_ADDR", target.addr())
                .env("VAULT_TOKEN", token)
                .option("--revoke=true");
            let ended = run.clone().marker().end();
            assert!(
                ended.started() && ended.stderr.is_empty(),
                "{login} {secrets} {path}: {}",
                ended.stderr
            );
        }
    });
}

#[test]
fn dynamic_secrets_come_from_a_namespace_and_a_check_leaves_none_of_them() {
    on_every_vault_with_database(|target, postgres| {
        let Tree { team, web, .. } = &Tree::new(target);
        let operator = target.operator().within(web);
        operator.enable_database("database", "app", json!({"default_ttl": "1h"}), postgres);
        for (namespace, path) in
            [("", format!("{web}/database/creds/app")), (team, "web/database/creds/app".to_owned())]
        {
            let run = as_root(target)
                .env("A", format!("vault:{path}#username"))
                .env("VAULT_NAMESPACE", namespace);
            assert!(run.value("A").is_some_and(|name| !name.is_empty()));
            let leases = operator.leases("database");
            assert_eq!(leases.len(), 1, "{leases:?}");
            let checked = run.clone().option("--check").end();
            assert!(
                checked.code == Some(0) && !checked.stderr.contains("stays"),
                "{}",
                checked.stderr
            );
            assert_eq!(
                operator.wait_for_leases("database", 1, PATIENCE),
                leases,
                "that of the start alone"
            );
            operator.write("sys/leases/revoke", json!({"lease_id": leases[0], "sync": true}));
        }
    });
}
