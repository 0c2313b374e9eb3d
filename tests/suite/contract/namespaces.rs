//! What Vault does with namespaces.

use test_vault::{Target, Value, json, on_every_vault};

use crate::contract::{POLICY_REFUSED, TOKEN_REFUSED, assert_missing, assert_refused};
use crate::references::namespaces::{self, Tree, header};
use crate::support::application::reading;

const NOT_FOUND: &str = "namespace not found";

fn route(path: &str) -> String {
    format!("no handler for route \"{path}\". route entry not found.")
}

fn read(target: &Target, namespace: &str, path: &str, token: &str) -> (u16, Value) {
    target.http().request_with("GET", path, &header(namespace, token), None)
}

fn write(target: &Target, namespace: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    target.http().request_with("POST", path, &header(namespace, token), Some(body))
}

#[test]
fn namespaces_are_made_listed_and_deleted() {
    on_every_vault(|target| {
        let (team, root) = (target.unique("team"), target.root_token());
        let made = write(target, "", &format!("sys/namespaces/{team}"), &root, json!({}));
        assert_eq!((made.0, &made.1["data"]["path"]), (200, &json!(format!("{team}/"))));
        let again = write(target, "", &format!("sys/namespaces/{team}"), &root, json!({}));
        assert_eq!((again.0, &again.1["data"]["id"]), (200, &made.1["data"]["id"]));
        assert_eq!(
            write(target, &team, "sys/namespaces/web", &root, json!({})).1["data"]["path"],
            format!("{team}/web/")
        );
        for (namespace, path) in
            [(team.as_str(), "sys/namespaces"), ("", &format!("{team}/sys/namespaces"))]
        {
            let (status, listed) =
                target.http().request_with("LIST", path, &header(namespace, &root), None);
            assert_eq!((status, &listed["data"]["keys"]), (200, &json!(["web/"])));
            assert_eq!(listed["data"]["key_info"]["web/"]["path"], format!("{team}/web/"));
        }
        let delete = |namespace: &str, name: &str| {
            target.http().request_with(
                "DELETE",
                &format!("sys/namespaces/{name}"),
                &header(namespace, &root),
                None,
            )
        };
        assert_refused(
            &delete("", &team),
            400,
            "unable to delete namespace containing child namespaces",
        );
        assert_eq!(
            delete(&team, "nowhere").1["warnings"],
            json!(["requested namespace does not exist"])
        );
        assert_eq!(delete(&team, "web").0, 200);
        assert_missing(&read(target, &team, "sys/namespaces/nowhere", &root));
        for (name, text) in [
            ("a/b", "namespace name cannot contain /"),
            ("root", "\"root/\" is a reserved path and cannot be used as a namespace name"),
            ("secret", "new namespace conflicts with existing mount: secret/"),
        ] {
            assert_refused(
                &write(target, "", &format!("sys/namespaces/{name}"), &root, json!({})),
                400,
                text,
            );
        }
        let mount = format!("sys/mounts/{team}/kv");
        let text = format!("existing mount at {team}/");
        assert_refused(&write(target, "", &mount, &root, json!({"type": "kv"})), 400, &text);
    });
}

#[test]
fn the_header_and_the_path_make_one_namespace_together() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        let root = target.root_token();
        let value = |namespace: &str, path: &str| {
            read(target, namespace, path, &root).1["data"]["data"]["k"].clone()
        };
        let (path, in_path) = ("kv/data/app", format!("{web}/kv/data/app"));
        for (namespace, path) in [
            (web.as_str(), path),
            (&format!("{web}/"), path),
            (&format!("/{web}"), path),
            (team, "web/kv/data/app"),
            ("", &in_path),
            ("/", &in_path),
            ("root", &in_path),
            ("root/", &in_path),
        ] {
            assert_eq!(value(namespace, path), json!(web), "{namespace} {path}");
        }
        for (namespace, path, text) in [
            ("nowhere", path, NOT_FOUND.to_owned()),
            (&format!("{team}/nowhere"), path, NOT_FOUND.to_owned()),
            (&format!("root/{team}"), path, NOT_FOUND.to_owned()),
            (&team.to_uppercase(), path, NOT_FOUND.to_owned()),
            ("", "nowhere/kv/data/app", route("nowhere/kv/data/app")),
            ("", &format!("{team}/nowhere/x"), route("nowhere/x")),
            (team, &format!("{team}/kv/data/app"), route(&format!("{team}/kv/data/app"))),
            (other, "web/kv/data/app", route("web/kv/data/app")),
            ("", &format!("root/{team}/kv/data/app"), route(&format!("root/{team}/kv/data/app"))),
        ] {
            assert_refused(&read(target, namespace, path, &root), 404, &text);
        }
        assert_refused(&read(target, "nowhere", path, "no-token"), 404, NOT_FOUND);
        assert_refused(&read(target, team, path, "no-token"), 403, TOKEN_REFUSED);
        for namespace in ["nowhere", team] {
            assert_refused(
                &read(target, namespace, "sys/health", ""),
                400,
                "operation unavailable in namespaces",
            );
            assert_eq!(read(target, namespace, "sys/seal-status", "").1["sealed"], json!(false));
        }
    });
}

#[test]
fn a_token_is_good_for_its_namespace_and_those_below_by_the_policies_of_its_own() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        let operator = target.operator().within(team);
        let hcl = "path \"kv/*\" { capabilities = [\"read\"] }\npath \"web/kv/*\" { capabilities \
                   = [\"read\"] }";
        operator.policy("app", hcl);
        target.operator().within(web).policy("app", "path \"kv/*\" { capabilities = [\"deny\"] }");
        let token = namespaces::token(target, team, "app");
        for (namespace, path, expected) in [
            (team.as_str(), "kv/data/app", team),
            (team, "web/kv/data/app", web),
            (web, "kv/data/app", web),
            ("", &format!("{web}/kv/data/app"), web),
        ] {
            let (status, answer) = read(target, namespace, path, &token);
            assert_eq!(
                (status, &answer["data"]["data"]["k"]),
                (200, &json!(expected)),
                "{namespace} {path}"
            );
        }
        for (namespace, path) in [("", "kv/data/app"), (other, "kv/data/app"), (team, "nope/x")] {
            assert_refused(&read(target, namespace, path, &token), 403, POLICY_REFUSED);
        }
        let of_root = crate::support::application::token(target, &reading(&format!("{web}/kv")));
        assert_eq!(read(target, web, "kv/data/app", &of_root).0, 200);
        assert_refused(&read(target, team, "kv/data/app", &of_root), 403, POLICY_REFUSED);
    });
}

#[test]
fn what_a_token_asks_about_itself_goes_to_its_own_namespace() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        for namespace in ["", team, web, other, "root"] {
            let token = namespaces::token(target, team, "default");
            let (status, answer) = read(target, namespace, "auth/token/lookup-self", &token);
            let data = &answer["data"];
            let found = (&data["namespace_path"], &data["path"]);
            assert_eq!(
                (status, found),
                (200, (&json!(format!("{team}/")), &json!("auth/token/create"))),
                "{namespace}"
            );
            assert_eq!(
                write(target, namespace, "auth/token/revoke-self", &token, json!({})).0,
                204,
                "{namespace}"
            );
            assert_refused(
                &read(target, team, "auth/token/lookup-self", &token),
                403,
                TOKEN_REFUSED,
            );
        }
        let token = namespaces::token(target, team, "default");
        assert_refused(
            &write(target, "nowhere", "auth/token/revoke-self", &token, json!({})),
            404,
            NOT_FOUND,
        );
    });
}

#[test]
fn a_login_is_one_of_its_namespace() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        let (role_id, secret_id) = namespaces::role(target, team, &reading("kv"));
        let body = json!({"role_id": role_id, "secret_id": secret_id});
        let login = |namespace: &str, path: &str| write(target, namespace, path, "", body.clone());
        let (path, in_path) = ("auth/approle/login", format!("{team}/auth/approle/login"));
        for (namespace, path) in [(team.as_str(), path), ("", &in_path)] {
            let (status, answer) = login(namespace, path);
            let token = answer["auth"]["client_token"].as_str().expect("a token").to_owned();
            assert!(
                status == 200 && token.matches('.').count() == 2,
                "its namespace stands behind the token"
            );
            let looked_up = read(target, team, "auth/token/lookup-self", &token).1;
            assert_eq!(looked_up["data"]["path"], "auth/approle/login");
            assert_eq!(looked_up["data"]["display_name"], format!("{team}-auth-approle"));
        }
        for (namespace, path) in
            [(web.as_str(), path), (other, path), ("", &format!("{other}/{path}"))]
        {
            assert_refused(&login(namespace, path), 403, TOKEN_REFUSED);
        }
    });
}

#[test]
fn a_wrapping_token_is_good_everywhere_and_knows_its_path_in_its_namespace() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        namespaces::role(target, team, &reading("kv"));
        let wrapped = || target.operator().within(team).wrapped_secret_id("approle", "app", "5m");
        for namespace in ["", team, web, other] {
            let token = wrapped();
            let looked_up =
                write(target, namespace, "sys/wrapping/lookup", "", json!({ "token": token }));
            let path = &looked_up.1["data"]["creation_path"];
            assert_eq!(
                (looked_up.0, path),
                (200, &json!("auth/approle/role/app/secret-id")),
                "{namespace}"
            );
            let unwrapped = write(target, namespace, "sys/wrapping/unwrap", &token, json!({}));
            assert!(
                unwrapped.0 == 200 && unwrapped.1["data"]["secret_id"].is_string(),
                "{namespace} {unwrapped:?}"
            );
        }
        assert_refused(
            &write(target, "nowhere", "sys/wrapping/lookup", "", json!({"token": wrapped()})),
            404,
            NOT_FOUND,
        );
    });
}

#[test]
fn the_mounts_are_those_of_the_namespace() {
    on_every_vault(|target| {
        let Tree { team, web, other } = &Tree::new(target);
        let operator = target.operator().within(team);
        let hcl = "path \"kv/*\" { capabilities = [\"read\"] }\npath \"web/kv/*\" { capabilities \
                   = [\"read\"] }";
        operator.policy("app", hcl);
        let (token, root) = (namespaces::token(target, team, "app"), target.root_token());
        let listed = |namespace: &str| {
            let answer = read(target, namespace, "sys/internal/ui/mounts", &token).1;
            answer["data"]["secret"].as_object().expect("mounts").contains_key("kv/")
        };
        assert_eq!([team.as_str(), web, other, ""].map(listed), [true, true, false, false]);
        let mount = |namespace: &str, path: &str, token: &str| {
            let (status, answer) =
                read(target, namespace, &format!("sys/internal/ui/mounts/{path}"), token);
            (status, answer["data"]["path"].as_str().unwrap_or_default().to_owned())
        };
        let whole = format!("{web}/kv/");
        assert_eq!(mount(web, "kv/app", &token), (200, "kv/".to_owned()));
        assert_eq!(mount("", &format!("{web}/kv/app"), &token), (200, whole.clone()));
        assert_eq!(mount("", &format!("{web}/kv"), &token), (200, whole.clone()));
        assert_eq!(mount(team, "web/kv/app", &root), (200, whole), "from the root namespace on");
        for (namespace, path) in [
            (team.as_str(), "web/kv/app"),
            (team, &format!("{web}/kv/app")),
            (other, "kv/app"),
            ("", "nope/x"),
        ] {
            let text = format!(
                "preflight capability check returned 403, please ensure client's policies grant \
                 access to path \"{path}/\""
            );
            let refused =
                read(target, namespace, &format!("sys/internal/ui/mounts/{path}"), &token);
            assert_refused(&refused, 403, &text);
        }
    });
}
