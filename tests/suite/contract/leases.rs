//! What happens to secrets that end, on the server of our own because it does so on a real one.

use std::time::Duration;

use test_vault::{Operator, Postgres, Target, Value, json, on_every_vault_with_database};

use crate::contract::{POLICY_REFUSED, assert_missing, assert_refused};

const PATIENCE: Duration = Duration::from_secs(10);
const USED_UP: &str = "Secret cannot be returned; token had one use left, so leased credentials \
                       were immediately revoked.";

/// Database secrets with the role `app`, and a policy that may read them.
struct Database {
    operator: Operator,
    http: Operator,
    mount: String,
    root: String,
}

impl Database {
    fn new(target: &Target, settings: Value, postgres: Option<&Postgres>) -> Self {
        let (operator, mount) = (target.operator(), target.unique("database"));
        operator.enable_database(&mount, "app", settings, postgres);
        operator
            .policy(&mount, &format!("path \"{mount}/creds/*\" {{ capabilities = [\"read\"] }}"));
        Self { operator, http: target.http(), mount, root: target.root_token() }
    }

    /// A token that may read credentials, as the settings say.
    fn token(&self, mut settings: Value) -> String {
        settings["policies"] = json!([self.mount]);
        self.operator.create_token(settings)
    }

    fn creds(&self, token: &str) -> (u16, Value) {
        self.http.request("GET", &format!("{}/creds/app", self.mount), Some(token), None)
    }

    fn lease(&self, token: &str) -> String {
        self.creds(token).1["lease_id"].as_str().expect("a lease").to_owned()
    }

    fn ask(&self, action: &str, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("sys/leases/{action}"), Some(&self.root), Some(body))
    }

    #[track_caller]
    fn assert_no_leases(&self) {
        assert_eq!(self.operator.wait_for_leases(&self.mount, 0, PATIENCE), [""; 0]);
    }
}

fn hour() -> Value {
    json!({ "default_ttl": "1h", "max_ttl": "24h" })
}

fn seconds(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number of seconds"))
}

#[test]
fn each_read_of_credentials_makes_another_user_with_a_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let token = database.token(json!({}));
        let ((status, first), (_, second)) = (database.creds(&token), database.creds(&token));
        assert_eq!(
            (status, &first["lease_duration"], &first["renewable"]),
            (200, &json!(3600), &json!(true))
        );
        let keys: Vec<_> = first["data"].as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["password", "username"]);
        for key in ["password", "username"] {
            assert_ne!(first["data"][key], second["data"][key], "{key}");
        }
        assert!(
            first["data"]["username"].as_str().is_some_and(|name| name.starts_with("v-token-app-")),
            "{first}"
        );
        let mut leases =
            [&first["lease_id"], &second["lease_id"]].map(|id| id.as_str().expect("a lease"));
        leases.sort_unstable();
        assert!(
            leases.iter().all(|id| id.starts_with(&format!("{}/creds/app/", database.mount))),
            "{leases:?}"
        );
        assert_eq!(database.operator.leases(&database.mount), leases);
    });
}

#[test]
fn credentials_come_for_roles_that_are_known_and_allowed() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let get = |role: &str| {
            let path = format!("{}/creds/{role}", database.mount);
            database.http.request("GET", &path, Some(&database.root), None)
        };
        assert_refused(&get("none"), 400, "unknown role: none");
        database.operator.database_role(&database.mount, "lost", json!({ "db_name": "none" }));
        let text =
            "1 error occurred:\n\t* failed to find entry for connection with name: \"none\"\n\n";
        assert_refused(&get("lost"), 500, text);
        let path = format!("{}/creds/app", database.mount);
        let text = "1 error occurred:\n\t* unsupported operation\n\n";
        assert_refused(
            &database.http.request("POST", &path, Some(&database.root), Some(json!({}))),
            405,
            text,
        );
        let stranger = database.operator.create_token(json!({ "policies": ["default"] }));
        assert_refused(&database.creds(&stranger), 403, POLICY_REFUSED);
    });
}

#[test]
fn a_connection_says_which_roles_may_use_it() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let path = format!("{}/config/postgres", database.mount);
        database
            .operator
            .write(&path, json!({ "allowed_roles": ["other"], "verify_connection": false }));
        let reply = database.creds(&database.root);
        assert_refused(&reply, 500, "1 error occurred:\n\t* \"app\" is not an allowed role\n\n");
        assert_eq!(database.operator.leases(&database.mount), [""; 0]);
    });
}

#[test]
fn a_role_without_a_ttl_has_the_servers() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, json!({}), postgres);
        assert_eq!(database.creds(&database.token(json!({}))).1["lease_duration"], 2_764_800);
    });
}

#[test]
fn a_lease_is_looked_up_by_its_id() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let lease = database.lease(&database.token(json!({})));
        let (status, answer) = database.ask("lookup", json!({ "lease_id": lease }));
        let data = &answer["data"];
        let keys: Vec<_> = data.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            ["expire_time", "id", "issue_time", "last_renewal", "path", "renewable", "ttl"]
        );
        assert_eq!((status, &data["id"], &data["renewable"]), (200, &json!(lease), &json!(true)));
        assert_eq!(
            (&data["path"], &data["last_renewal"]),
            (&json!(format!("{}/creds/app", database.mount)), &Value::Null)
        );
        assert!((3590..=3600).contains(&seconds(&data["ttl"])), "{data}");
        assert_refused(
            &database.ask("lookup", json!({ "lease_id": "none" })),
            400,
            "invalid lease",
        );
    });
}

#[test]
fn what_is_done_to_leases_wants_an_id() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        for action in ["lookup", "renew", "revoke"] {
            for body in [json!({}), json!({ "lease_id": "" })] {
                assert_refused(&database.ask(action, body), 400, "lease_id must be specified");
            }
        }
        let text = "1 error occurred:\n\t* unsupported path\n\n";
        assert_refused(&database.ask("none", json!({})), 404, text);
    });
}

#[test]
fn a_renewed_lease_lasts_as_long_as_is_asked_within_its_limit() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let lease = database.lease(&database.token(json!({})));
        let renew = |increment: Value| {
            let (status, answer) =
                database.ask("renew", json!({ "lease_id": lease, "increment": increment }));
            let seen = (status, &answer["data"], &answer["lease_id"], &answer["renewable"]);
            assert_eq!(seen, (200, &Value::Null, &json!(lease), &json!(true)));
            answer
        };
        for (increment, duration) in [(json!(0), 3600), (json!(7200), 7200), (json!("10m"), 600)] {
            let answer = renew(increment);
            assert_eq!(
                (&answer["lease_duration"], &answer["warnings"]),
                (&json!(duration), &Value::Null)
            );
        }
        let answer = renew(json!("100h"));
        assert!((86_390..=86_400).contains(&seconds(&answer["lease_duration"])), "{answer}");
        assert!(
            answer["warnings"][0]
                .as_str()
                .is_some_and(|text| text.starts_with("TTL of \"100h\" exceeded")),
            "{answer}"
        );
        assert!(
            database.ask("lookup", json!({ "lease_id": lease })).1["data"]["last_renewal"]
                .is_string()
        );
        assert_refused(
            &database.ask("renew", json!({ "lease_id": "none" })),
            400,
            "lease not found",
        );
    });
}

#[test]
fn a_revoked_lease_is_an_unknown_one() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let token = database.token(json!({}));
        let (first, second) = (database.lease(&token), database.lease(&token));
        assert_eq!(
            database.ask("revoke", json!({ "lease_id": first, "sync": true })),
            (204, Value::Null)
        );
        assert_refused(&database.ask("lookup", json!({ "lease_id": first })), 400, "invalid lease");
        assert_refused(
            &database.ask("renew", json!({ "lease_id": first })),
            400,
            "lease not found",
        );
        assert_eq!(database.operator.leases(&database.mount), [second.as_str()]);
        assert_eq!(database.ask("revoke", json!({ "lease_id": second })), (204, Value::Null));
        database.assert_no_leases();
        let third = database.lease(&token);
        for lease in [third.as_str(), "none"] {
            let revoke =
                |sync: bool| database.ask("revoke", json!({ "lease_id": lease, "sync": sync }));
            assert_eq!((revoke(false), revoke(true)), ((202, Value::Null), (204, Value::Null)));
        }
        database.assert_no_leases();
    });
}

#[test]
fn leases_end_with_the_token_that_made_them() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let (token, other) = (database.token(json!({})), database.token(json!({})));
        let (_, kept) = ((database.lease(&token), database.lease(&token)), database.lease(&other));
        let revoked = database.http.request("POST", "auth/token/revoke-self", Some(&token), None);
        assert_eq!(revoked, (204, Value::Null));
        assert_eq!(
            database.operator.wait_for_leases(&database.mount, 1, PATIENCE),
            [kept.as_str()]
        );
        database.operator.write("auth/token/revoke", json!({ "token": other }));
        database.assert_no_leases();
    });
}

#[test]
fn leases_end_with_the_parent_of_the_token_that_made_them() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let parent = database.operator.create_token(json!({ "policies": ["root"], "ttl": "1h" }));
        let settings = Some(json!({ "policies": [database.mount] }));
        let (_, child) =
            database.http.request("POST", "auth/token/create", Some(&parent), settings);
        database.lease(child["auth"]["client_token"].as_str().expect("a token"));
        database.operator.write("auth/token/revoke", json!({ "token": parent }));
        database.assert_no_leases();
    });
}

#[test]
fn leases_end_when_their_token_or_their_time_does() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let (_, answer) = database.creds(&database.token(json!({ "ttl": "2s" })));
        assert_eq!(answer["lease_duration"], 3600, "longer than the token");
        database.operator.database_role(&database.mount, "app", json!({ "default_ttl": "2s" }));
        assert_eq!(database.creds(&database.root).1["lease_duration"], 2);
        database.assert_no_leases();
    });
}

#[test]
fn a_lease_of_a_batch_token_is_no_longer_than_the_token() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let (_, answer) = database.creds(&database.token(json!({ "type": "batch", "ttl": "10m" })));
        assert!((590..=600).contains(&seconds(&answer["lease_duration"])), "{answer}");
        assert_eq!(answer["renewable"], true);
    });
}

#[test]
fn a_leased_secret_is_not_handed_out_on_the_last_use_of_a_token() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let token = database.token(json!({ "num_uses": 2 }));
        assert_eq!(database.creds(&token).0, 200);
        assert_refused(&database.creds(&token), 400, USED_UP);
        database.assert_no_leases();
        let once = database.operator.create_token(json!({ "policies": ["root"], "num_uses": 1 }));
        database.operator.kv_put("secret", 2, &database.mount, json!({ "a": "b" }));
        let path = format!("secret/data/{}", database.mount);
        let (status, answer) = database.http.request("GET", &path, Some(&once), None);
        assert_eq!(
            (status, &answer["data"]["data"]["a"]),
            (200, &json!("b")),
            "what has no lease is"
        );
    });
}

#[test]
fn a_wrapped_secret_keeps_its_lease() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let headers = [("x-vault-token", database.root.as_str()), ("x-vault-wrap-ttl", "60")];
        let path = format!("{}/creds/app", database.mount);
        let (_, wrapped) = database.http.request_with("GET", &path, &headers, None);
        assert_eq!(
            (&wrapped["lease_id"], &wrapped["wrap_info"]["creation_path"]),
            (&json!(""), &json!(path))
        );
        let token = wrapped["wrap_info"]["token"].as_str();
        let (_, answer) = database.http.request("POST", "sys/wrapping/unwrap", token, None);
        assert_eq!(
            database.operator.leases(&database.mount),
            [answer["lease_id"].as_str().expect("a lease")]
        );
    });
}

#[test]
fn the_default_policy_looks_at_leases_and_renews_them_and_nothing_else() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let token = database.token(json!({}));
        let lease = database.lease(&token);
        let ask = |method: &str, action: &str| {
            let body = (method == "POST").then(|| json!({ "lease_id": lease }));
            database.http.request(method, &format!("sys/leases/{action}"), Some(&token), body)
        };
        assert_eq!((ask("POST", "lookup").0, ask("POST", "renew").0), (200, 200));
        assert_refused(&ask("POST", "revoke"), 403, POLICY_REFUSED);
        assert_refused(&ask("LIST", &format!("lookup/{}", database.mount)), 403, POLICY_REFUSED);
    });
}

#[test]
fn lists_of_leases_are_for_those_with_sudo() {
    on_every_vault_with_database(|target, postgres| {
        let database = Database::new(target, hour(), postgres);
        let lease = database.lease(&database.root);
        let list = |capabilities: Value| {
            let hcl = format!("path \"sys/leases/lookup/*\" {{ capabilities = {capabilities} }}");
            let name = target.unique("leases");
            database.operator.policy(&name, &hcl);
            let token = database.operator.create_token(json!({ "policies": [name] }));
            let path = format!("sys/leases/lookup/{}/creds/app", database.mount);
            database.http.request("LIST", &path, Some(&token), None)
        };
        assert_refused(&list(json!(["list"])), 403, POLICY_REFUSED);
        let (_, answer) = list(json!(["list", "sudo"]));
        assert_eq!(answer["data"]["keys"][0].as_str(), lease.rsplit('/').next());
        let none =
            database.http.request("LIST", "sys/leases/lookup/none", Some(&database.root), None);
        assert_missing(&none);
    });
}
