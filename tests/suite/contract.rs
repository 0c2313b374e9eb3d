//! What Vault does. The server of our own has to do it because a real one does.

mod aws;
mod cert;
mod clouds;
mod jwt;
mod kubernetes;
mod leases;
mod namespaces;

mod pki;
mod transit;
mod userpass_and_ldap;

use test_vault::{Operator, Target, TestVault, Value, json, on_every_https_vault, on_every_vault};

use crate::support::application::AppRole;
use crate::support::launch::eventually;

/// What went wrong, as Vault says it; empty where it says nothing.
fn errors((_, answer): &(u16, Value)) -> Vec<&str> {
    answer["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[track_caller]
pub(crate) fn assert_refused(reply: &(u16, Value), status: u16, text: &str) {
    assert_eq!((reply.0, errors(reply)), (status, vec![text]), "{reply:?}");
}

/// The first reply that is a refusal: what is asked about ends soon.
#[track_caller]
fn once_refused(ask: impl Fn() -> (u16, Value)) -> (u16, Value) {
    eventually("the end of its time", || Some(ask()).filter(|reply| reply.0 >= 400))
}

/// Nothing there: no word about it either.
#[track_caller]
pub(crate) fn assert_missing(reply: &(u16, Value)) {
    assert_eq!((reply.0, &reply.1), (404, &json!({ "errors": [] })));
}

pub(crate) const TOKEN_REFUSED: &str = "permission denied";
pub(crate) const POLICY_REFUSED: &str = "1 error occurred:\n\t* permission denied\n\n";
const LOGIN_REFUSED: &str = "invalid role or secret ID";
const NOT_WRAPPED: &str = "wrapping token is not valid or does not exist";

/// A KV mount, and a token that may read `app/…` in it.
struct Kv {
    operator: Operator,
    http: Operator,
    mount: String,
    token: String,
}

impl Kv {
    fn new(target: &Target, version: u8) -> Self {
        let (operator, mount) = (target.operator(), target.unique("kv"));
        operator.enable_kv(&mount, version);
        let below = if version == 2 { "data/app/*" } else { "app/*" };
        operator
            .policy(&mount, &format!("path \"{mount}/{below}\" {{ capabilities = [\"read\"] }}"));
        let token = operator.create_token(json!({ "policies": [mount] }));
        Self { operator, http: target.http(), mount, token }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        self.http.request("GET", &format!("{}/{path}", self.mount), Some(&self.token), None)
    }
}

#[test]
fn approle_login_gives_a_token_with_the_roles_settings() {
    on_every_vault(|target| {
        let role = AppRole::new(
            target,
            json!({ "token_policies": ["web"], "token_ttl": "20m", "token_num_uses": 3 }),
        );
        let (status, answer) = role.login(&format!(" {}\n", role.secret_id));
        assert_eq!(status, 200);
        assert_eq!((&answer["data"], &answer["lease_duration"]), (&Value::Null, &json!(0)));
        let auth = &answer["auth"];
        assert_eq!(
            (&auth["lease_duration"], &auth["num_uses"], &auth["renewable"]),
            (&json!(1200), &json!(3), &json!(true))
        );
        assert_eq!(auth["policies"], json!(["default", "web"]));
        assert_eq!(auth["metadata"], json!({ "role_name": "app" }));
        assert_eq!((&auth["token_type"], &auth["orphan"]), (&json!("service"), &json!(true)));
    });
}

#[test]
fn the_envelope_has_the_keys_of_every_answer_in_their_order() {
    on_every_vault(|target| {
        let (_, answer) =
            AppRole::new(target, json!({})).login_with(json!({ "role_id": "x", "secret_id": "x" }));
        assert_eq!(answer.as_object().expect("an object").keys().collect::<Vec<_>>(), ["errors"]);
        let answer = target.http().read("auth/token/lookup-self");
        let keys: Vec<_> = answer.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            [
                "request_id",
                "lease_id",
                "renewable",
                "lease_duration",
                "data",
                "wrap_info",
                "warnings",
                "auth"
            ]
        );
    });
}

#[test]
fn approle_login_refuses_what_is_wrong_or_missing() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let role_id = &role.role_id;
        for (body, status, text) in [
            (json!({ "role_id": "nobody", "secret_id": "x" }), 400, LOGIN_REFUSED),
            (json!({ "role_id": role_id, "secret_id": "wrong" }), 400, LOGIN_REFUSED),
            (json!({ "role_id": role_id }), 400, "missing secret_id"),
            (json!({ "role_id": role_id, "secret_id": " " }), 400, "missing secret_id"),
            (json!({ "secret_id": "x" }), 500, "missing role_id"),
            (json!({ "role_id": "", "secret_id": "x" }), 500, "missing role_id"),
        ] {
            assert_refused(&role.login_with(body), status, text);
        }
    });
}

#[test]
fn a_secret_id_logs_in_as_often_as_its_role_says() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({ "secret_id_num_uses": 2 }));
        let secret_id = &role.secret_id;
        assert_eq!(role.login(secret_id).0, 200);
        assert_eq!(role.login(secret_id).0, 200);
        assert_refused(&role.login(secret_id), 400, LOGIN_REFUSED);
    });
}

#[test]
fn a_single_use_secret_id_logs_in_once_however_many_try() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({ "secret_id_num_uses": 1 }));
        let secret_id = &role.secret_id;
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..4).map(|_| scope.spawn(|| role.login(secret_id).0)).collect();
            tries.into_iter().map(|login| login.join().expect("a login")).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    });
}

#[test]
fn a_destroyed_secret_id_is_a_wrong_one() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let secret_id = &role.secret_id;
        let path = role.path("secret-id/destroy");
        role.operator.write(&path, json!({ "secret_id": secret_id }));
        assert_refused(&role.login(secret_id), 400, LOGIN_REFUSED);
    });
}

#[test]
fn a_custom_secret_id_is_what_the_operator_says() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let path = role.path("custom-secret-id");
        role.operator.write(&path, json!({ "secret_id": "chosen" }));
        assert_eq!(role.login("chosen").0, 200);
    });
}

#[test]
fn a_role_without_bound_secret_id_logs_in_with_its_role_id_alone() {
    on_every_vault(|target| {
        let settings = json!({ "bind_secret_id": false, "token_bound_cidrs": ["127.0.0.1/32"] });
        let role = AppRole::new(target, settings);
        assert_eq!(role.login_with(json!({ "role_id": role.role_id })).0, 200);
        let path = format!("auth/{}/role/open", role.mount);
        let root = target.root_token();
        let reply = role.operator.request(
            "POST",
            &path,
            Some(&root),
            Some(json!({ "bind_secret_id": false })),
        );
        let text =
            "1 error occurred:\n\t* at least one constraint should be enabled on the role\n\n";
        assert_refused(&reply, 500, text);
    });
}

#[test]
fn five_wrong_secret_ids_lock_the_role_for_the_right_one_too() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        for _ in 0..5 {
            assert_refused(&role.login("wrong"), 400, LOGIN_REFUSED);
        }
        assert_refused(&role.login(&role.secret_id), 403, TOKEN_REFUSED);
    });
}

#[test]
fn a_good_login_forgives_the_bad_ones_before_it() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        for _ in 0..2 {
            for _ in 0..4 {
                assert_refused(&role.login("wrong"), 400, LOGIN_REFUSED);
            }
            assert_eq!(role.login(&role.secret_id).0, 200);
        }
    });
}

#[test]
fn wrong_role_ids_lock_nobody() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        for _ in 0..6 {
            assert_refused(
                &role.login_with(json!({ "role_id": "x", "secret_id": "x" })),
                400,
                LOGIN_REFUSED,
            );
        }
    });
}

#[test]
fn a_login_where_nothing_is_mounted_is_refused_like_a_missing_token() {
    on_every_vault(|target| {
        let path = format!("auth/{}/login", target.unique("nothing"));
        let reply = target.http().request("POST", &path, None, Some(json!({ "role_id": "x" })));
        assert_refused(&reply, 403, TOKEN_REFUSED);
        let reply = target.http().request(
            "POST",
            &path,
            Some(&target.root_token()),
            Some(json!({ "role_id": "x" })),
        );
        assert_refused(
            &reply,
            404,
            &format!("no handler for route \"{path}\". route entry not found."),
        );
    });
}

#[test]
fn a_batch_token_can_neither_be_renewed_nor_revoked() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({ "token_type": "batch" }));
        let (_, answer) = role.login(&role.secret_id);
        let auth = &answer["auth"];
        assert_eq!(
            (&auth["token_type"], &auth["accessor"], &auth["renewable"]),
            (&json!("batch"), &json!(""), &json!(false))
        );
        let token = auth["client_token"].as_str();
        for (action, text) in [
            ("renew", "batch tokens cannot be renewed"),
            ("revoke", "batch tokens cannot be revoked"),
        ] {
            assert_refused(
                &role.http.request("POST", &format!("auth/token/{action}-self"), token, None),
                400,
                text,
            );
        }
    });
}

#[test]
fn every_request_takes_a_use_of_a_limited_token_even_a_refused_one() {
    on_every_vault(|target| {
        let http = target.http();
        let token = target
            .operator()
            .create_token(json!({ "policies": ["default"], "num_uses": 4, "ttl": "1h" }));
        let left = || {
            http.request("GET", "auth/token/lookup-self", Some(&token), None).1["data"]["num_uses"]
                .clone()
        };
        assert_eq!(left(), 3);
        assert_refused(
            &http.request("GET", "secret/data/app", Some(&token), None),
            403,
            POLICY_REFUSED,
        );
        http.request("GET", "sys/internal/ui/mounts", Some(&token), None);
        http.request("GET", "sys/internal/ui/mounts/cubbyhole/app", Some(&token), None);
        assert_eq!(left(), 1, "the questions about mounts take none");
        assert_eq!(left(), -1, "the last use");
        let reply = http.request("GET", "auth/token/lookup-self", Some(&token), None);
        assert_refused(&reply, 403, TOKEN_REFUSED);
    });
}

#[test]
fn a_revoked_token_is_an_unknown_one() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let token = role.token();
        let revoke =
            || role.http.request("POST", "auth/token/revoke-self", Some(&token), Some(json!({})));
        assert_eq!(revoke(), (204, Value::Null));
        assert_refused(&revoke(), 403, TOKEN_REFUSED);
    });
}

#[test]
fn revoking_a_token_revokes_what_was_made_with_it() {
    on_every_vault(|target| {
        let (operator, http) = (target.operator(), target.http());
        let parent = operator.create_token(json!({ "policies": ["root"], "ttl": "1h" }));
        let (_, answer) =
            http.request("POST", "auth/token/create", Some(&parent), Some(json!({ "ttl": "1h" })));
        let child = answer["auth"]["client_token"].as_str();
        assert_eq!(http.request("GET", "auth/token/lookup-self", child, None).0, 200);
        operator.write("auth/token/revoke", json!({ "token": parent }));
        assert_refused(
            &http.request("GET", "auth/token/lookup-self", child, None),
            403,
            TOKEN_REFUSED,
        );
    });
}

#[test]
fn a_token_without_the_default_policy_may_not_even_revoke_itself() {
    on_every_vault(|target| {
        let role = AppRole::new(
            target,
            json!({ "token_no_default_policy": true, "token_policies": ["none"] }),
        );
        let token = role.token();
        for (method, action) in
            [("POST", "revoke-self"), ("POST", "renew-self"), ("GET", "lookup-self")]
        {
            let reply =
                role.http.request(method, &format!("auth/token/{action}"), Some(&token), None);
            assert_refused(&reply, 403, POLICY_REFUSED);
        }
    });
}

#[test]
fn a_token_ends_with_its_time() {
    on_every_vault(|target| {
        let http = target.http();
        let token = target.operator().create_token(json!({ "policies": ["default"], "ttl": "1s" }));
        let lookup = || http.request("GET", "auth/token/lookup-self", Some(&token), None);
        assert_eq!(lookup().0, 200);
        assert_refused(&once_refused(lookup), 403, TOKEN_REFUSED);
    });
}

#[test]
fn lookup_self_tells_limited_tokens_from_the_root_token() {
    on_every_vault(|target| {
        let http = target.http();
        let root = &http.read("auth/token/lookup-self")["data"];
        assert_eq!(
            (&root["ttl"], &root["expire_time"], &root["policies"]),
            (&json!(0), &Value::Null, &json!(["root"]))
        );
        let token =
            target.operator().create_token(json!({ "policies": ["default"], "period": "1h" }));
        let (_, answer) = http.request("GET", "auth/token/lookup-self", Some(&token), None);
        let data = &answer["data"];
        assert_eq!(
            (&data["period"], &data["renewable"], &data["orphan"]),
            (&json!(3600), &json!(true), &json!(false))
        );
        assert!(data["expire_time"].is_string());
    });
}

#[test]
fn lookup_self_tells_all_about_a_token() {
    on_every_vault(|target| {
        let settings =
            json!({ "policies": ["web"], "ttl": "1h", "num_uses": 5, "meta": { "app": "web" } });
        let token = target.operator().create_token(settings);
        let (_, answer) =
            target.http().request("GET", "auth/token/lookup-self", Some(&token), None);
        let data = answer["data"].as_object().expect("an object");
        let keys: Vec<_> = data.keys().map(String::as_str).collect();
        let times = [
            "creation_time",
            "creation_ttl",
            "expire_time",
            "explicit_max_ttl",
            "issue_time",
            "ttl",
        ];
        let rest = [
            "accessor",
            "display_name",
            "entity_id",
            "id",
            "meta",
            "num_uses",
            "orphan",
            "path",
            "policies",
        ];
        let mut expected = [times.as_slice(), &rest, &["renewable", "type"]].concat();
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(
            (&data["id"], &data["creation_ttl"], &data["num_uses"]),
            (&json!(token), &json!(3600), &json!(4))
        );
        assert_eq!(
            (&data["path"], &data["type"]),
            (&json!("auth/token/create"), &json!("service"))
        );
        assert_eq!(
            (&data["policies"], &data["meta"]),
            (&json!(["default", "web"]), &json!({ "app": "web" }))
        );
    });
}

#[test]
fn no_token_and_a_wrong_one_are_refused_alike() {
    on_every_vault(|target| {
        for token in [None, Some("wrong")] {
            assert_refused(
                &target.http().request("GET", "secret/data/app", token, None),
                403,
                TOKEN_REFUSED,
            );
        }
    });
}

#[test]
fn kv_v1_gives_the_map_itself() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 1);
        kv.operator.kv_put(
            &kv.mount,
            1,
            "app/db",
            json!({ "user": "u", "big": 9_007_199_254_740_993_u64 }),
        );
        let (status, answer) = kv.get("app/db");
        assert_eq!(
            (status, &answer["data"]),
            (200, &json!({ "user": "u", "big": 9_007_199_254_740_993_u64 }))
        );
        assert_eq!(
            (&answer["lease_duration"], &answer["lease_id"]),
            (&json!(2_764_800), &json!(""))
        );
        assert_missing(&kv.get("app/none"));
        assert_refused(&kv.get("other"), 403, POLICY_REFUSED);
    });
}

#[test]
fn kv_v1_takes_the_lease_from_a_ttl_key() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 1);
        kv.operator.kv_put(&kv.mount, 1, "app/db", json!({ "ttl": "1h" }));
        assert_eq!(kv.get("app/db").1["lease_duration"], 3600);
    });
}

#[test]
fn kv_v2_gives_data_with_metadata() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "user": "<u>" }));
        let (status, answer) = kv.get("data/app/db");
        assert_eq!((status, &answer["data"]["data"]), (200, &json!({ "user": "<u>" })));
        let metadata = &answer["data"]["metadata"];
        assert_eq!(
            (&metadata["version"], &metadata["deletion_time"], &metadata["destroyed"]),
            (&json!(1), &json!(""), &json!(false))
        );
        assert_eq!(
            (&metadata["custom_metadata"], &answer["lease_duration"]),
            (&Value::Null, &json!(0))
        );
        assert_missing(&kv.get("data/app/none"));
        assert_refused(&kv.get("data/other"), 403, POLICY_REFUSED);
    });
}

#[test]
fn kv_v2_reads_numbers_as_floats() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        let secret = r#"{"big":9007199254740993,"huge":1e30,"half":0.5,"tiny":1e-7,"one":1}"#;
        kv.operator.kv_put(&kv.mount, 2, "app/n", serde_json::from_str(secret).expect("JSON"));
        let read = kv.get("data/app/n").1["data"]["data"].to_string();
        assert_eq!(read, r#"{"big":9007199254740992,"half":0.5,"huge":1e+30,"one":1,"tiny":1e-7}"#);
    });
}

#[test]
fn kv_v2_keeps_versions() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        for number in 1..=3 {
            kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": number }));
        }
        for (query, expected) in
            [("", 3), ("?version=0", 3), ("?version=-1", 3), ("?version=1", 1), ("?version=2", 2)]
        {
            assert_eq!(
                kv.get(&format!("data/app/db{query}")).1["data"]["data"]["n"],
                expected,
                "{query}"
            );
        }
        assert_missing(&kv.get("data/app/db?version=4"));
        let text = "Field validation failed: error converting input for field \"version\": '' \
                    cannot parse value as 'int': strconv.ParseInt: invalid syntax";
        assert_refused(&kv.get("data/app/db?version=new"), 400, text);
    });
}

#[test]
fn kv_v2_drops_the_oldest_versions() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        for number in 1..=11 {
            kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": number }));
        }
        assert_missing(&kv.get("data/app/db?version=1"));
        assert_eq!(kv.get("data/app/db?version=2").0, 200);
    });
}

#[test]
fn kv_v2_shows_deleted_and_destroyed_versions_with_a_404() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 1 }));
        let change = |action: &str| {
            kv.operator.write(&format!("{}/{action}/app/db", kv.mount), json!({ "versions": [1] }))
        };
        for (action, status, destroyed) in [
            ("delete", 404, false),
            ("undelete", 200, false),
            ("delete", 404, false),
            ("destroy", 404, true),
        ] {
            change(action);
            let (found, answer) = kv.get("data/app/db");
            let data = &answer["data"];
            let shown = (found, data["data"].is_null(), &data["metadata"]["destroyed"]);
            assert_eq!(shown, (status, status == 404, &json!(destroyed)), "{action}");
        }
    });
}

#[test]
fn kv_v2_deletes_the_current_version() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 1 }));
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 2 }));
        kv.operator.delete(&format!("{}/data/app/db", kv.mount));
        let (status, answer) = kv.get("data/app/db");
        assert_eq!((status, &answer["data"]["data"]), (404, &Value::Null));
        assert!(
            answer["data"]["metadata"]["deletion_time"]
                .as_str()
                .is_some_and(|time| time.starts_with("20"))
        );
        assert_eq!(kv.get("data/app/db?version=1").0, 200);
    });
}

#[test]
fn a_version_that_will_be_deleted_is_still_there() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.write(
            &format!("{}/metadata/app/db", kv.mount),
            json!({ "delete_version_after": "1h" }),
        );
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 1 }));
        let (status, answer) = kv.get("data/app/db");
        assert_eq!(status, 200);
        assert_ne!(answer["data"]["metadata"]["deletion_time"], "");
    });
}

#[test]
fn kv_v2_warns_of_a_path_without_data() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        let root = target.root_token();
        for (path, beginning) in [
            ("app/db", "Invalid path for a versioned K/V secrets engine."),
            ("data", "Non-listing operations on the root of a K/V v2 mount are not supported."),
        ] {
            let (status, answer) =
                kv.http.request("GET", &format!("{}/{path}", kv.mount), Some(&root), None);
            assert_eq!((status, &answer["data"]), (404, &Value::Null), "{path}");
            assert!(
                answer["warnings"][0].as_str().is_some_and(|text| text.starts_with(beginning)),
                "{answer}"
            );
        }
    });
}

#[test]
fn an_exact_rule_counts_before_a_wildcard_and_a_deny_before_everything() {
    on_every_vault(|target| {
        let (operator, http, mount) = (target.operator(), target.http(), target.unique("kv"));
        operator.enable_kv(&mount, 1);
        let rules = [
            ("*", "\"read\""),
            ("app/*", "\"list\""),
            ("app/db", "\"read\""),
            ("app/no", "\"deny\", \"read\""),
            ("+/team/*", "\"read\""),
            ("x/+/z", "\"create\""),
        ];
        let rule = |(path, caps): (&str, &str)| {
            format!("path \"{mount}/{path}\" {{\n  capabilities = [{caps}]\n}}\n")
        };
        operator.policy(&mount, &rules.map(rule).concat());
        let token = operator.create_token(json!({ "policies": [mount] }));
        let request = |method: &str, path: &str| {
            http.request(
                method,
                &format!("{mount}/{path}"),
                Some(&token),
                (method == "POST").then(|| json!({ "a": 1 })),
            )
            .0
        };
        for (method, path, status) in [
            ("GET", "other", 404),
            ("GET", "app/x", 403),
            ("GET", "app/db", 404),
            ("GET", "app/no", 403),
            ("GET", "app/team/x", 403),
            ("GET", "b/team/x", 404),
            ("LIST", "app", 404),
            ("LIST", "other", 403),
            ("POST", "app/db", 403),
            ("POST", "x/y/z", 204),
            ("POST", "x/y/z", 403),
            ("DELETE", "x/y/z", 403),
        ] {
            assert_eq!(request(method, path), status, "{method} {path}");
        }
    });
}

#[test]
fn a_policy_that_is_none_is_refused() {
    on_every_vault(|target| {
        let root = target.root_token();
        for policy in ["path \"x\" {", "path \"x\" { capabilities = [\"fly\"] }", ""] {
            let body = Some(json!({ "policy": policy }));
            let reply = target.http().request("POST", "sys/policies/acl/broken", Some(&root), body);
            assert_eq!(reply.0, 400, "{policy}: {reply:?}");
        }
    });
}

/// What a tool prints, whoever reads it.
const ANNOTATED: &str = r#"
# What the app reads.
path "MOUNT/a\"b" { # in a line of its own or behind
  capabilities = ["read"] // one more kind
}
/* and another
   path "MOUNT/other" { capabilities = ["read"] } */
path "MOUNT/a\\b" { capabilities = ["read"] }
path "MOUNT/hash#tag" { capabilities = ["read",] }
path "MOUNT/caf\u00e9" { capabilities = ["read"] }
path "MOUNT/\x61" { capabilities = ["read"] }
# The end."#;

#[test]
fn a_policy_may_have_comments_and_escapes() {
    on_every_vault(|target| {
        let (operator, http, mount) = (target.operator(), target.http(), target.unique("kv"));
        operator.enable_kv(&mount, 1);
        operator.policy(&mount, &ANNOTATED.replace("MOUNT", &mount));
        let token = operator.create_token(json!({ "policies": [mount] }));
        for (path, status) in [
            ("a%22b", 200),
            ("a%5Cb", 200),
            ("hash%23tag", 200),
            ("caf%C3%A9", 200),
            ("a", 200),
            ("other", 403),
        ] {
            operator.kv_put(&mount, 1, path, json!({ "a": "b" }));
            assert_eq!(
                http.request("GET", &format!("{mount}/{path}"), Some(&token), None).0,
                status,
                "{path}"
            );
        }
        operator.policy(&mount, "# nothing yet");
        assert_eq!(http.request("GET", &format!("{mount}/a"), Some(&token), None).0, 403);
    });
}

#[test]
fn a_policy_with_a_broken_text_or_comment_is_refused() {
    on_every_vault(|target| {
        for (policy, text) in [
            ("path \"a\\qb\" { capabilities = [\"read\"] }", "illegal char escape"),
            ("path \"a\nb\" { capabilities = [\"read\"] }", "literal not terminated"),
            ("path \"a { capabilities = [] }", "literal not terminated"),
            ("path \"a\" { capabilities = [] } /* b", "comment not terminated"),
        ] {
            let body = Some(json!({ "policy": policy }));
            let root = target.root_token();
            let (status, answer) =
                target.http().request("POST", "sys/policies/acl/broken", Some(&root), body);
            let error = answer["errors"][0].as_str().unwrap_or_default();
            assert!(
                status == 400 && error.starts_with("failed to parse policy: "),
                "{policy}: {answer}"
            );
            assert!(error.ends_with(text), "{policy}: {error}");
        }
    });
}

#[test]
fn the_mount_of_a_path_is_told_to_whoever_may_do_anything_in_it() {
    on_every_vault(|target| {
        for version in [1, 2] {
            let kv = Kv::new(target, version);
            let ask = |token| {
                let path = format!("sys/internal/ui/mounts/{}/app/db", kv.mount);
                kv.http.request("GET", &path, token, None)
            };
            let (status, answer) = ask(Some(&kv.token));
            let data = &answer["data"];
            assert_eq!(
                (status, &data["type"], &data["path"]),
                (200, &json!("kv"), &json!(format!("{}/", kv.mount)))
            );
            assert_eq!(data["options"], json!({ "version": version.to_string() }));
            assert_refused(&ask(None), 403, TOKEN_REFUSED);
            let stranger = kv.operator.create_token(json!({ "policies": ["default"] }));
            let text = format!(
                "preflight capability check returned 403, please ensure client's policies grant \
                 access to path \"{}/app/db/\"",
                kv.mount
            );
            assert_refused(&ask(Some(&stranger)), 403, &text);
        }
    });
}

#[test]
fn a_mount_that_is_not_there_cannot_be_told_from_one_that_is_hidden() {
    on_every_vault(|target| {
        let name = target.unique("nothing");
        let path = format!("sys/internal/ui/mounts/{name}/app");
        let reply = target.http().request("GET", &path, Some(&target.root_token()), None);
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant \
             access to path \"{name}/app/\""
        );
        assert_refused(&reply, 403, &text);
    });
}

#[test]
fn the_list_of_mounts_shows_what_the_token_can_see() {
    on_every_vault(|target| {
        let (kv, hidden) = (Kv::new(target, 2), Kv::new(target, 1));
        let ask = |token| kv.http.request("GET", "sys/internal/ui/mounts", token, None);
        let (status, answer) = ask(Some(&kv.token));
        let secret = &answer["data"]["secret"];
        assert_eq!(
            (status, &secret[format!("{}/", kv.mount)]["options"]["version"]),
            (200, &json!("2"))
        );
        assert_eq!(secret.get(format!("{}/", hidden.mount)), None);
        assert_eq!(secret.get("secret/"), None);
        for own in ["cubbyhole/", "identity/", "sys/"] {
            assert!(secret.get(own).is_some(), "{own} in {secret}");
        }
        assert_eq!(ask(None).1["data"], json!({ "auth": {}, "secret": {} }));
        assert_refused(&ask(Some("wrong")), 403, TOKEN_REFUSED);
    });
}

#[test]
fn a_mount_may_have_slashes_and_no_other_below_it() {
    on_every_vault(|target| {
        let (operator, http) = (target.operator(), target.http());
        let mount = format!("{}/kv", target.unique("team"));
        operator.enable_kv(&mount, 2);
        operator.kv_put(&mount, 2, "app", json!({ "a": "b" }));
        assert_eq!(http.read(&format!("{mount}/data/app"))["data"]["data"]["a"], "b");
        assert_eq!(
            http.read(&format!("sys/internal/ui/mounts/{mount}/app"))["data"]["path"],
            format!("{mount}/")
        );
        let body = Some(json!({ "type": "kv" }));
        let reply = http.request(
            "POST",
            &format!("sys/mounts/{mount}/sub"),
            Some(&target.root_token()),
            body,
        );
        assert_refused(&reply, 400, &format!("path is already in use at {mount}/"));
    });
}

#[test]
fn a_wrapped_secret_id_is_looked_at_freely_and_unwrapped_once() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let wrapping = role.wrapped_secret_id("5m");
        let lookup = || role.http.request("GET", "sys/wrapping/lookup", Some(&wrapping), None);
        for _ in 0..2 {
            let (status, answer) = lookup();
            let data = &answer["data"];
            let path = role.path("secret-id");
            assert_eq!(
                (status, &data["creation_path"], &data["creation_ttl"]),
                (200, &json!(path), &json!(300))
            );
        }
        let unwrap = || role.http.request("POST", "sys/wrapping/unwrap", Some(&wrapping), None);
        let (status, answer) = unwrap();
        assert_eq!((status, &answer["wrap_info"]), (200, &Value::Null));
        assert_eq!(role.login(answer["data"]["secret_id"].as_str().expect("a secret_id")).0, 200);
        assert_refused(&unwrap(), 400, NOT_WRAPPED);
        assert_refused(&lookup(), 400, NOT_WRAPPED);
    });
}

#[test]
fn a_wrapped_answer_names_where_it_came_from_and_holds_no_data() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let (path, root) = (role.path("secret-id"), target.root_token());
        let headers = [("x-vault-token", root.as_str()), ("x-vault-wrap-ttl", "60s")];
        let (_, answer) = role.http.request_with("POST", &path, &headers, None);
        let info = &answer["wrap_info"];
        assert_eq!(
            (&info["ttl"], &info["creation_path"], &answer["data"]),
            (&json!(60), &json!(path), &Value::Null)
        );
        assert!(info["wrapped_accessor"].is_string(), "{info}");
        assert_eq!(answer["request_id"], "");
    });
}

#[test]
fn a_wrapping_token_in_the_body_wants_a_token_of_ones_own() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let wrapping = role.wrapped_secret_id("60");
        let ask = |action: &str, token: Option<&str>| {
            let body = Some(json!({ "token": wrapping }));
            role.http.request("POST", &format!("sys/wrapping/{action}"), token, body)
        };
        assert_eq!(ask("lookup", None).0, 200);
        assert_refused(&ask("unwrap", None), 403, TOKEN_REFUSED);
        let own = role.operator.create_token(json!({ "policies": ["default"] }));
        assert!(ask("unwrap", Some(&own)).1["data"]["secret_id"].is_string());
        assert_refused(&ask("unwrap", Some(&own)), 400, NOT_WRAPPED);
    });
}

#[test]
fn what_is_no_wrapping_token_cannot_be_unwrapped() {
    on_every_vault(|target| {
        let (http, root) = (target.http(), target.root_token());
        let empty = "error validating wrapping token: token is empty";
        for (token, status, text) in [
            (Some(root.as_str()), 400, NOT_WRAPPED),
            (Some("x"), 400, NOT_WRAPPED),
            (None, 403, empty),
        ] {
            assert_refused(&http.request("POST", "sys/wrapping/unwrap", token, None), status, text);
            assert_refused(&http.request("GET", "sys/wrapping/lookup", token, None), status, text);
        }
    });
}

#[test]
fn a_wrapping_token_used_for_something_else_is_used_up() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let wrapping = role.wrapped_secret_id("60");
        let read = || role.http.request("GET", "secret/data/app", Some(&wrapping), None);
        assert_refused(&read(), 403, POLICY_REFUSED);
        assert_refused(
            &role.http.request("POST", "sys/wrapping/unwrap", Some(&wrapping), None),
            400,
            NOT_WRAPPED,
        );
    });
}

#[test]
fn anything_can_be_wrapped_at_a_path_that_tells() {
    on_every_vault(|target| {
        let (http, root) = (target.http(), target.root_token());
        let path = "sys/wrapping/wrap";
        let needs = "endpoint requires response wrapping to be used";
        assert_refused(
            &http.request("POST", path, Some(&root), Some(json!({ "a": "b" }))),
            400,
            needs,
        );
        let headers = [("x-vault-token", root.as_str()), ("x-vault-wrap-ttl", "60s")];
        let (_, answer) = http.request_with("POST", path, &headers, Some(json!({ "a": "b" })));
        let token = answer["wrap_info"]["token"].as_str().expect("a wrapping token");
        let found = http.write("sys/wrapping/lookup", json!({ "token": token }));
        assert_eq!(found["data"]["creation_path"], path);
        let (_, answer) = http.request("POST", "sys/wrapping/unwrap", Some(token), None);
        assert_eq!(answer["data"], json!({ "a": "b" }));
    });
}

#[test]
fn a_wrapping_token_ends_with_its_time() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let wrapping = role.wrapped_secret_id("1s");
        let body = json!({ "token": wrapping });
        once_refused(|| role.http.request("POST", "sys/wrapping/lookup", None, Some(body.clone())));
        assert_refused(
            &role.http.request("POST", "sys/wrapping/unwrap", Some(&wrapping), None),
            400,
            NOT_WRAPPED,
        );
    });
}

#[test]
fn anyone_can_wrap_what_they_like_and_the_path_tells() {
    on_every_vault(|target| {
        let (http, root) = (target.http(), target.root_token());
        let (path, body) = ("sys/wrapping/wrap", || Some(json!({ "secret_id": "mine" })));
        let text = "endpoint requires response wrapping to be used";
        assert_refused(&http.request("POST", path, Some(&root), body()), 400, text);
        let headers = [("x-vault-token", root.as_str()), ("x-vault-wrap-ttl", "60")];
        let (_, answer) = http.request_with("POST", path, &headers, body());
        assert_eq!(answer["wrap_info"]["creation_path"], path);
        let (_, answer) = http.request(
            "POST",
            "sys/wrapping/unwrap",
            answer["wrap_info"]["token"].as_str(),
            None,
        );
        assert_eq!(answer["data"], json!({ "secret_id": "mine" }));
    });
}

#[test]
fn what_is_wrapped_again_keeps_its_path_and_its_time() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({}));
        let first = role.wrapped_secret_id("60");
        let rewrap = || {
            let body = Some(json!({ "token": first }));
            role.http.request("POST", "sys/wrapping/rewrap", Some(&target.root_token()), body)
        };
        let (_, answer) = rewrap();
        let info = &answer["wrap_info"];
        let path = role.path("secret-id");
        assert_eq!((&info["creation_path"], &info["ttl"]), (&json!(path), &json!(60)));
        assert_refused(&rewrap(), 400, NOT_WRAPPED);
        let (_, answer) =
            role.http.request("POST", "sys/wrapping/unwrap", info["token"].as_str(), None);
        assert!(answer["data"]["secret_id"].is_string(), "{answer}");
    });
}

#[test]
fn a_renewed_token_lasts_as_long_as_is_asked_within_its_limit() {
    on_every_vault(|target| {
        let http = target.http();
        let renew = |settings: Value| {
            let token = target.operator().create_token(settings);
            let body = Some(json!({ "increment": "2h" }));
            http.request("POST", "auth/token/renew-self", Some(&token), body)
        };
        let policies = ["default"];
        let (_, answer) = renew(json!({ "policies": policies, "ttl": "1h" }));
        assert_eq!(
            (&answer["auth"]["lease_duration"], &answer["warnings"]),
            (&json!(7200), &Value::Null)
        );
        let (_, answer) = renew(json!({ "policies": policies, "period": "1h" }));
        assert_eq!(
            (&answer["auth"]["lease_duration"], &answer["warnings"]),
            (&json!(3600), &Value::Null)
        );
        let (_, answer) =
            renew(json!({ "policies": policies, "ttl": "10m", "explicit_max_ttl": "30m" }));
        assert!(
            answer["auth"]["lease_duration"]
                .as_u64()
                .is_some_and(|ttl| (1790..=1800).contains(&ttl)),
            "{answer}"
        );
        assert!(
            answer["warnings"][0].as_str().is_some_and(|text| text.contains("capped")),
            "{answer}"
        );
        let fixed = renew(json!({ "policies": policies, "ttl": "1h", "renewable": false }));
        assert_refused(&fixed, 400, "lease is not renewable");
    });
}

#[test]
fn a_ttl_beyond_the_limit_is_capped_with_a_warning() {
    on_every_vault(|target| {
        let role = AppRole::new(target, json!({ "token_ttl": "800h" }));
        let (status, answer) = role.login(&role.secret_id);
        assert_eq!((status, &answer["auth"]["lease_duration"]), (200, &json!(2_764_800)));
        let text = "TTL of \"800h\" exceeded the effective max_ttl of \"768h\"; TTL value is \
                    capped accordingly";
        assert_eq!(answer["warnings"], json!([text]));
    });
}

#[test]
fn lists_show_names_and_folders() {
    on_every_vault(|target| {
        for (version, list) in [(1, "app"), (2, "metadata/app")] {
            let kv = Kv::new(target, version);
            kv.operator.kv_put(&kv.mount, version, "app/a", json!({ "n": 1 }));
            kv.operator.kv_put(&kv.mount, version, "app/b/c", json!({ "n": 1 }));
            let answer = kv.http.read(&format!("{}/{list}?list=true", kv.mount));
            assert_eq!(answer["data"], json!({ "keys": ["a", "b/"] }));
        }
    });
}

#[test]
fn kv_v2_trips_over_a_slash_at_the_end() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 1 }));
        let text = "1 error occurred:\n\t* could not find version data\n\n";
        assert_refused(&kv.get("data/app/db/"), 500, text);
        let (path, root) = (format!("{}/data/app/db/", kv.mount), target.root_token());
        let reply = kv.http.request("POST", &path, Some(&root), Some(json!({ "data": {} })));
        assert_refused(&reply, 400, "cannot write to a path ending in '/'");
    });
}

#[test]
fn a_path_that_cannot_be_printed_is_refused_without_a_word() {
    on_every_vault(|target| {
        let reply =
            target.http().request("GET", "secret/data/a%0ab", Some(&target.root_token()), None);
        assert_eq!(reply, (400, Value::Null));
    });
}

#[test]
fn a_path_with_an_empty_segment_is_redirected_to_one_without() {
    on_every_vault(|target| {
        let kv = Kv::new(target, 2);
        kv.operator.kv_put(&kv.mount, 2, "app/db", json!({ "n": 1 }));
        assert_eq!(kv.get("data//app/db?version=1").0, 307);
    });
}

/// On a server of our own only: a real one clears up about once a minute.
#[test]
fn a_secret_id_ends_with_its_time() {
    let target = Target::from(TestVault::start());
    let role = AppRole::new(&target, json!({ "secret_id_ttl": "1s" }));
    let secret_id = &role.secret_id;
    assert_eq!(role.login(secret_id).0, 200);
    assert_refused(&once_refused(|| role.login(secret_id)), 400, LOGIN_REFUSED);
}

#[test]
fn health_and_seal_status_are_no_secret() {
    on_every_vault(|target| {
        for path in ["sys/health", "sys/seal-status"] {
            let (status, answer) = target.http().request("GET", path, None, None);
            let seen =
                (status, &answer["initialized"], &answer["sealed"], answer["version"].is_string());
            assert_eq!(seen, (200, &json!(true), &json!(false), true), "{path}");
        }
    });
}

#[test]
fn https_is_the_same() {
    on_every_https_vault(|target| {
        assert!(target.addr().starts_with("https://"));
        let role = AppRole::new(target, json!({}));
        assert_eq!(role.login(&role.secret_id).0, 200);
    });
}

/// On a server of our own only: the real one is shared.
#[test]
fn a_sealed_server_says_so_and_can_be_unsealed_by_anyone_with_the_key() {
    let target = Target::from(TestVault::start());
    let (http, root, vault) = (target.http(), target.root_token(), target.own().expect("our own"));
    let ask =
        |method: &str, path: &str, body: Value| http.request(method, path, Some(&root), Some(body));
    assert_eq!(ask("POST", "sys/seal", json!({})).0, 204);
    for (method, path) in [
        ("GET", "secret/data/app"),
        ("POST", "auth/approle/login"),
        ("GET", "sys/internal/ui/mounts"),
    ] {
        assert_refused(&ask(method, path, json!({})), 503, "Vault is sealed");
    }
    assert_eq!(ask("GET", "sys/health", json!({})).0, 503);
    assert_eq!(ask("GET", "sys/seal-status", json!({})).1["sealed"], true);
    assert_eq!(ask("POST", "sys/unseal", json!({ "key": "wrong" })).0, 400);
    assert_eq!(ask("POST", "sys/unseal", json!({ "key": vault.unseal_key() })).1["sealed"], false);
    assert_missing(&ask("GET", "secret/data/app", json!({})));
}
