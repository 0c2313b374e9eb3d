//! How users log in with passwords, on the server of our own because they do so on a real one.

use test_vault::{Operator, Target, TestVault, Value, json, on_every_vault};

use crate::contract::{TOKEN_REFUSED, assert_missing, assert_refused};

/// An auth method at a mount of its own.
pub(crate) struct Method {
    pub(crate) operator: Operator,
    pub(crate) http: Operator,
    pub(crate) mount: String,
    root: String,
}

impl Method {
    pub(crate) fn new(target: &Target, name: &str) -> Self {
        let (operator, mount) = (target.operator(), target.unique(name));
        Self { operator, http: target.http(), mount, root: target.root_token() }
    }

    /// As one who has no token yet.
    pub(crate) fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("auth/{}/{path}", self.mount), None, Some(body))
    }

    /// As the one who sets it up.
    pub(crate) fn as_root(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.http.request(method, &format!("auth/{}/{path}", self.mount), Some(&self.root), body)
    }

    /// What a token that a login gave is named.
    pub(crate) fn display_name(&self, answer: &Value) -> String {
        let token = answer["auth"]["client_token"].as_str().expect("a token");
        let (_, lookup) = self.http.request("GET", "auth/token/lookup-self", Some(token), None);
        lookup["data"]["display_name"].as_str().expect("a name").to_owned()
    }
}

/// Userpass with the user `bob` and his password.
fn userpass(target: &Target) -> Method {
    let method = Method::new(target, "userpass");
    method.operator.enable_userpass(&method.mount);
    let settings = json!({ "password": "correct", "token_policies": ["web"], "token_ttl": "10m", "token_num_uses": 3 });
    method.operator.userpass_user(&method.mount, "Bob", settings);
    method
}

fn password(password: &str) -> Value {
    json!({ "password": password })
}

const WRONG: &str = "invalid username or password";

#[test]
fn a_password_gives_a_token_with_the_users_settings() {
    on_every_vault(|target| {
        let method = userpass(target);
        for name in ["bob", "BOB", "bo%62"] {
            let (status, answer) = method.post(&format!("login/{name}"), password("correct"));
            let auth = &answer["auth"];
            assert_eq!((status, &auth["metadata"]), (200, &json!({ "username": "bob" })));
            assert_eq!(auth["policies"], json!(["default", "web"]));
            assert_eq!((&auth["lease_duration"], &auth["num_uses"]), (&json!(600), &json!(3)));
            assert_eq!(method.display_name(&answer), format!("{}-bob", method.mount));
        }
    });
}

#[test]
fn userpass_refuses_what_is_wrong_or_missing() {
    on_every_vault(|target| {
        let method = userpass(target);
        assert_refused(&method.post("login/bob", password("wrong")), 400, WRONG);
        assert_refused(&method.post("login/nobody", password("correct")), 400, WRONG);
        assert_refused(&method.post("login/bob", password("")), 500, "missing password");
        assert_refused(&method.post("login/bob", json!({})), 500, "missing password");
        assert_refused(&method.post("login", password("correct")), 403, TOKEN_REFUSED);
        assert_refused(&method.post("login/a%20b", password("correct")), 404, "unsupported path");
        assert_refused(&method.post("login/a%2Fb", password("correct")), 404, "unsupported path");
        let get =
            method.http.request("GET", &format!("auth/{}/login/bob", method.mount), None, None);
        assert_refused(&get, 405, "unsupported operation");
    });
}

#[test]
fn five_wrong_passwords_lock_a_user_out_and_nobody_else() {
    on_every_vault(|target| {
        let method = userpass(target);
        method.operator.userpass_user(&method.mount, "eve", password("hers"));
        for _ in 0..5 {
            assert_refused(&method.post("login/bob", password("wrong")), 400, WRONG);
            assert_refused(&method.post("login/nobody", password("wrong")), 400, WRONG);
        }
        assert_refused(&method.post("login/bob", password("correct")), 403, TOKEN_REFUSED);
        assert_refused(&method.post("login/BOB", password("correct")), 403, TOKEN_REFUSED);
        assert_refused(&method.post("login/nobody", password("wrong")), 400, WRONG);
        assert_eq!(method.post("login/eve", password("hers")).0, 200);
    });
}

#[test]
fn users_are_written_and_read_without_their_passwords() {
    on_every_vault(|target| {
        let method = userpass(target);
        let (_, answer) = method.as_root("GET", "users/BOB", None);
        assert_eq!(
            (&answer["data"]["token_policies"], &answer["data"]["token_ttl"]),
            (&json!(["web"]), &json!(600))
        );
        assert_eq!(answer["data"].get("password"), None);
        assert_eq!(method.as_root("LIST", "users", None).1["data"], json!({ "keys": ["bob"] }));
        assert_missing(&method.as_root("GET", "users/none", None));
        let text = "must provide either password or password_hash";
        assert_refused(
            &method.as_root("POST", "users/new", Some(json!({ "token_policies": "x" }))),
            400,
            text,
        );
        assert_refused(&method.as_root("POST", "users/bob/password", Some(json!({}))), 400, text);
        let text = "1 error occurred:\n\t* username does not exist\n\n";
        assert_refused(
            &method.as_root("POST", "users/none/password", Some(password("x"))),
            500,
            text,
        );
        let text = "1 error occurred:\n\t* unsupported path\n\n";
        assert_refused(&method.as_root("POST", "users/a@b", Some(password("x"))), 404, text);
        assert_eq!(method.as_root("DELETE", "users/bob", None).0, 204);
        assert_missing(&method.as_root("LIST", "users", None));
    });
}

#[test]
fn a_password_that_was_changed_is_the_only_one() {
    on_every_vault(|target| {
        let method = userpass(target);
        assert_eq!(method.as_root("POST", "users/bob/password", Some(password("new"))).0, 204);
        assert_refused(&method.post("login/bob", password("correct")), 400, WRONG);
        assert_eq!(method.post("login/bob", password("new")).0, 200);
    });
}

#[test]
fn ldap_wants_a_password_and_a_directory_that_can_be_reached() {
    on_every_vault(|target| {
        let method = Method::new(target, "ldap");
        method.operator.enable_ldap(&method.mount, None);
        let text = "1 error occurred:\n\t* error connecting to host \"ldap://127.0.0.1:1\": LDAP \
                    Result Code 200 \"Network Error\": dial tcp 127.0.0.1:1: connect: connection \
                    refused\n\n";
        for name in ["bob", "a%2Fb", "bob%40example.com", "a%20b"] {
            assert_refused(&method.post(&format!("login/{name}"), password("x")), 400, text);
        }
        let text = "password cannot be of zero length when passwordless binds are being denied";
        assert_refused(&method.post("login/bob", json!({})), 400, text);
    });
}

#[test]
fn ldap_keeps_the_policies_of_names() {
    on_every_vault(|target| {
        let method = Method::new(target, "ldap");
        method.operator.enable_ldap(&method.mount, None);
        assert_missing(&method.as_root("LIST", "users", None));
        method.operator.ldap_user(&method.mount, "Bob", json!({ "policies": "web,db" }));
        let (_, answer) = method.as_root("GET", "users/bob", None);
        assert_eq!(answer["data"]["groups"], "");
        let policies: Vec<_> =
            answer["data"]["policies"].as_array().expect("policies").iter().collect();
        assert_eq!((policies.len(), policies.contains(&&json!("web"))), (2, true));
        assert_eq!(method.as_root("LIST", "users", None).1["data"], json!({ "keys": ["bob"] }));
        assert_missing(&method.as_root("GET", "users/none", None));
    });
}

/// Only a server of our own has a directory without a server of its own.
#[test]
fn ldap_gives_a_token_with_the_policies_of_the_name() {
    let target = TestVault::start().into();
    let method = Method::new(&target, "ldap");
    method.operator.enable_ldap(&method.mount, Some(&[("bob", "correct"), ("a/b", "correct")]));
    method.operator.ldap_user(&method.mount, "bob", json!({ "policies": "web" }));
    let (status, answer) = method.post("login/%20Bob", password("correct"));
    assert_eq!((status, &answer["auth"]["metadata"]), (200, &json!({ "username": "bob" })));
    assert_eq!(answer["auth"]["policies"], json!(["default", "web"]));
    assert_eq!(method.post("login/a%2Fb", password("correct")).0, 200);
    for _ in 0..5 {
        let text = "ldap operation failed: failed to bind as user";
        assert_refused(&method.post("login/bob", password("wrong")), 400, text);
    }
    assert_refused(&method.post("login/bob", password("correct")), 403, TOKEN_REFUSED);
}
