//! How service accounts of Kubernetes log in, on the server of our own because they do so on a real
//! one.

use test_vault::{JwtSigner, KubernetesApi, Target, Value, json, on_every_vault};

use crate::contract::userpass_and_ldap::Method;
use crate::contract::{TOKEN_REFUSED, assert_missing, assert_refused};

/// Kubernetes with the role `web`, for the account `app` in `default`.
struct Kubernetes {
    method: Method,
    api: KubernetesApi,
}

impl Kubernetes {
    fn new(target: &Target, settings: Value) -> Self {
        let (method, api) = (Method::new(target, "kubernetes"), KubernetesApi::start());
        method.operator.enable_kubernetes(&method.mount, &api);
        method.operator.kubernetes_role(&method.mount, "web", settings);
        Self { method, api }
    }

    fn login(&self, role: &str, jwt: &str) -> (u16, Value) {
        self.method.post("login", json!({ "role": role, "jwt": jwt }))
    }

    #[track_caller]
    fn assert_denied(&self, jwt: &str, text: &str) {
        assert_refused(&self.login("web", jwt), 403, text);
    }
}

#[test]
fn a_service_account_gives_a_token_with_the_roles_settings() {
    on_every_vault(|target| {
        let kubernetes =
            Kubernetes::new(target, json!({ "token_policies": ["web"], "token_ttl": "10m" }));
        let (status, answer) =
            kubernetes.login("web", &kubernetes.api.token("default", "app", json!({})));
        let auth = &answer["auth"];
        assert_eq!((status, &auth["policies"]), (200, &json!(["default", "web"])), "{answer}");
        assert_eq!(auth["lease_duration"], 600);
        let metadata = &auth["metadata"];
        assert_eq!(
            (&metadata["role"], &metadata["service_account_name"]),
            (&json!("web"), &json!("app"))
        );
        assert_eq!(
            (&metadata["service_account_namespace"], &metadata["service_account_secret_name"]),
            (&json!("default"), &json!(""))
        );
        assert!(
            metadata["service_account_uid"].as_str().is_some_and(|uid| uid.len() == 36),
            "{metadata}"
        );
        let name = kubernetes.method.display_name(&answer);
        assert_eq!(name, format!("{}-default-app", kubernetes.method.mount));
    });
}

#[test]
fn kubernetes_refuses_what_is_wrong_or_missing() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        let jwt = kubernetes.api.token("default", "app", json!({}));
        let post = |body| kubernetes.method.post("login", body);
        assert_refused(&post(json!({ "jwt": jwt })), 400, "missing role");
        assert_refused(&post(json!({ "role": "web" })), 400, "missing jwt");
        assert_refused(&kubernetes.login("", &jwt), 400, "missing role");
        assert_refused(&kubernetes.login("web", ""), 400, "missing jwt");
        assert_refused(&kubernetes.login("None", &jwt), 400, "invalid role name \"None\"");
        // The case of the role's name does not matter, but it stays.
        assert_eq!(kubernetes.login("WEB", &jwt).1["auth"]["metadata"]["role"], "WEB");
        let path = format!("auth/{}/login", kubernetes.method.mount);
        let get = kubernetes.method.http.request("GET", &path, None, None);
        assert_refused(&get, 405, "unsupported operation");
    });
}

#[test]
fn the_role_has_to_be_for_the_account() {
    on_every_vault(|target| {
        let kubernetes =
            Kubernetes::new(target, json!({ "bound_service_account_names": ["app", "job-*"] }));
        let token = |namespace, name| kubernetes.api.token(namespace, name, json!({}));
        kubernetes.assert_denied(&token("default", "other"), "service account name not authorized");
        kubernetes.assert_denied(&token("other", "app"), "namespace not authorized");
        kubernetes.assert_denied(&token("other", "other"), "service account name not authorized");
        assert_eq!(kubernetes.login("web", &token("default", "job-7")).0, 200);
        let all = json!({ "bound_service_account_names": ["*"], "bound_service_account_namespaces": ["*"] });
        kubernetes.method.operator.kubernetes_role(&kubernetes.method.mount, "web", all);
        assert_eq!(kubernetes.login("web", &token("other", "other")).0, 200);
    });
}

#[test]
fn a_token_that_the_cluster_refuses_is_denied() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        let good = kubernetes.api.token("default", "app", json!({}));
        assert_eq!(kubernetes.login("web", &good).0, 200);
        kubernetes.api.delete(&good);
        kubernetes.assert_denied(&good, TOKEN_REFUSED);
        let elsewhere = KubernetesApi::start().token("default", "app", json!({}));
        for bad in [elsewhere.as_str(), "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
            kubernetes.assert_denied(bad, TOKEN_REFUSED);
        }
        // Whose claims do not even name an account is not asked about.
        kubernetes.assert_denied(
            &JwtSigner::new().sign(json!({})),
            "service account name not authorized",
        );
    });
}

#[test]
fn a_token_that_has_expired_is_told_so() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        let expired = kubernetes.api.token(
            "default",
            "app",
            json!({ "iat": 1_600_000_000, "exp": 1_600_003_600 }),
        );
        kubernetes.assert_denied(&expired, "invalid expiration time (exp) claim: token is expired");
    });
}

#[test]
fn a_role_with_an_audience_wants_it_in_the_token() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({ "audience": "vault" }));
        let token =
            |audience: Value| kubernetes.api.token("default", "app", json!({ "aud": audience }));
        assert_eq!(kubernetes.login("web", &token(json!(["vault"]))).0, 200);
        let text =
            "invalid audience (aud) claim: audience claim does not match any expected audience";
        kubernetes.assert_denied(&token(json!(["other"])), text);
        kubernetes.assert_denied(&kubernetes.api.token("default", "app", json!({})), text);
    });
}

#[test]
fn a_cluster_that_cannot_be_reached_denies() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        // Nothing listens on port 1.
        let config = json!({ "kubernetes_host": "http://127.0.0.1:1", "kubernetes_ca_cert": "x" });
        assert_eq!(kubernetes.method.as_root("POST", "config", Some(config)).0, 204);
        kubernetes.assert_denied(&kubernetes.api.token("default", "app", json!({})), TOKEN_REFUSED);
    });
}

#[test]
fn keys_of_the_configuration_are_looked_at_before_the_cluster_is_asked() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        let config = json!({
            "kubernetes_host": kubernetes.api.addr(), "kubernetes_ca_cert": "x",
            "pem_keys": [kubernetes.api.signer().public_key()],
        });
        assert_eq!(kubernetes.method.as_root("POST", "config", Some(config)).0, 204);
        assert_eq!(
            kubernetes.login("web", &kubernetes.api.token("default", "app", json!({}))).0,
            200
        );
        kubernetes.assert_denied(&JwtSigner::new().sign(json!({})), TOKEN_REFUSED);
    });
}

#[test]
fn kubernetes_that_is_not_configured_says_so_once_the_role_is_right() {
    on_every_vault(|target| {
        let method = Method::new(target, "kubernetes");
        method
            .operator
            .write(&format!("sys/auth/{}", method.mount), json!({ "type": "kubernetes" }));
        let login = || method.post("login", json!({ "role": "web", "jwt": "x" }));
        assert_refused(&login(), 400, "invalid role name \"web\"");
        method.operator.kubernetes_role(&method.mount, "web", json!({}));
        assert_refused(&login(), 500, "could not load backend configuration");
        assert_missing(&method.as_root("GET", "config", None));
    });
}

#[test]
fn kubernetes_wants_a_host_and_a_certificate() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({}));
        let (_, read) = kubernetes.method.as_root("GET", "config", None);
        assert_eq!(
            (&read["data"]["kubernetes_host"], &read["data"]["token_reviewer_jwt_set"]),
            (&json!(kubernetes.api.addr()), &json!(false))
        );
        let configure = |settings| kubernetes.method.as_root("POST", "config", Some(settings));
        assert_refused(&configure(json!({})), 400, "no host provided");
        let text = "kubernetes_ca_cert must be given when disable_local_ca_jwt is true";
        let settings =
            json!({ "kubernetes_host": "http://127.0.0.1:1", "disable_local_ca_jwt": true });
        assert_refused(&configure(settings), 400, text);
    });
}

#[test]
fn roles_of_kubernetes_are_for_somebody() {
    on_every_vault(|target| {
        let kubernetes = Kubernetes::new(target, json!({ "audience": "vault" }));
        let (_, read) = kubernetes.method.as_root("GET", "role/WEB", None);
        let data = &read["data"];
        assert_eq!(
            (&data["audience"], &data["bound_service_account_names"]),
            (&json!("vault"), &json!(["app"]))
        );
        assert_eq!(
            kubernetes.method.as_root("LIST", "role", None).1["data"],
            json!({ "keys": ["web"] })
        );
        assert_missing(&kubernetes.method.as_root("GET", "role/none", None));
        for (settings, text) in [
            (json!({}), "\"bound_service_account_names\" can not be empty"),
            (
                json!({ "bound_service_account_names": ["app"] }),
                "\"bound_service_account_namespaces\" can not be empty if \
                 \"bound_service_account_namespace_selector\" is not set",
            ),
            (
                json!({ "bound_service_account_names": ["*", "app"], "bound_service_account_namespaces": ["x"] }),
                "can not mix \"*\" with values",
            ),
        ] {
            assert_refused(
                &kubernetes.method.as_root("POST", "role/new", Some(settings)),
                400,
                text,
            );
        }
    });
}
