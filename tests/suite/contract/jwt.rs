//! How JWTs log in, on the server of our own because they do so on a real one.

use test_vault::{JwtSigner, Target, Value, json, on_every_vault};

use crate::contract::userpass_and_ldap::Method;
use crate::contract::{assert_missing, assert_refused};

/// JWT with the role `web`, for the audience `vault`.
struct Jwt {
    method: Method,
    signer: JwtSigner,
}

impl Jwt {
    fn new(target: &Target, settings: Value) -> Self {
        let (method, signer) = (Method::new(target, "jwt"), JwtSigner::new());
        method.operator.enable_jwt(&method.mount, &signer);
        method.operator.jwt_role(&method.mount, "web", settings);
        Self { method, signer }
    }

    fn configure(&self, settings: Value) {
        self.method.operator.jwt_config(&self.method.mount, &self.signer, settings);
    }

    /// Claims that let in where nothing else is said, and those that are to be looked at.
    fn claims(&self, more: Value) -> String {
        let mut claims = json!({ "sub": "ci-7", "aud": ["vault"] });
        claims
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        self.signer.sign(claims)
    }

    fn login(&self, role: &str, jwt: &str) -> (u16, Value) {
        self.method.post("login", json!({ "role": role, "jwt": jwt }))
    }

    #[track_caller]
    fn assert_token_refused(&self, jwt: &str, text: &str) {
        assert_refused(&self.login("web", jwt), 400, &format!("error validating token: {text}"));
    }
}

const UNSIGNED: &str =
    "error verifying token signature: no known key successfully validated the token signature";

#[test]
fn a_jwt_gives_a_token_with_the_roles_settings() {
    on_every_vault(|target| {
        let jwt = Jwt::new(
            target,
            json!({ "token_policies": ["web"], "token_ttl": "10m", "token_num_uses": 3 }),
        );
        for role in ["web", "WEB"] {
            let (status, answer) = jwt.login(role, &jwt.claims(json!({})));
            let auth = &answer["auth"];
            assert_eq!((status, &auth["metadata"]), (200, &json!({ "role": "web" })), "{answer}");
            assert_eq!(auth["policies"], json!(["default", "web"]));
            assert_eq!((&auth["lease_duration"], &auth["num_uses"]), (&json!(600), &json!(3)));
            assert_eq!(jwt.method.display_name(&answer), format!("{}-ci-7", jwt.method.mount));
        }
    });
}

#[test]
fn a_login_without_a_role_takes_the_default_one() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({}));
        let body = || json!({ "jwt": jwt.claims(json!({})) });
        assert_refused(&jwt.method.post("login", body()), 400, "missing role");
        assert_refused(&jwt.login("", "x"), 400, "missing role");
        jwt.configure(json!({ "default_role": "web" }));
        assert_eq!(jwt.method.post("login", body()).0, 200);
    });
}

#[test]
fn jwt_refuses_what_is_wrong_or_missing() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({}));
        let oidc = json!({ "role_type": "oidc", "allowed_redirect_uris": ["http://localhost"] });
        jwt.method.operator.jwt_role(&jwt.method.mount, "oidc", oidc);
        assert_refused(&jwt.login("None", "x"), 400, "role \"none\" could not be found");
        assert_refused(&jwt.login("oidc", "x"), 400, "role with oidc role_type is not allowed");
        assert_refused(&jwt.login("web", ""), 400, "missing token");
        assert_refused(&jwt.method.post("login", json!({ "role": "web" })), 400, "missing token");
        let get =
            jwt.method.http.request("GET", &format!("auth/{}/login", jwt.method.mount), None, None);
        assert_refused(&get, 405, "unsupported operation");
    });
}

#[test]
fn jwt_that_is_not_configured_says_so_before_anything_else() {
    on_every_vault(|target| {
        let method = Method::new(target, "jwt");
        method.operator.write(&format!("sys/auth/{}", method.mount), json!({ "type": "jwt" }));
        assert_refused(&method.post("login", json!({})), 400, "could not load configuration");
        assert_missing(&method.as_root("GET", "config", None));
    });
}

#[test]
fn a_signature_has_to_be_that_of_a_known_key() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({}));
        let good = jwt.claims(json!({}));
        jwt.assert_token_refused(
            &JwtSigner::new().sign(json!({ "sub": "ci-7", "aud": "vault" })),
            UNSIGNED,
        );
        jwt.assert_token_refused(
            &format!("{}.AAAA", good.rsplit_once('.').expect("three parts").0),
            UNSIGNED,
        );
        // `{"alg":"none"}`
        jwt.assert_token_refused("eyJhbGciOiJub25lIn0.e30.", UNSIGNED);
        let parts = "error verifying token signature: go-jose/go-jose: compact JWS format must \
                     have three parts";
        jwt.assert_token_refused("y", parts);
        jwt.assert_token_refused(&format!("{good}.x"), parts);
        jwt.assert_token_refused(
            "a.b.c",
            "error verifying token signature: illegal base64 data at input byte 0",
        );
        // Whitespace does not belong to it.
        let with_line_feed = jwt.login("web", &format!("{good}\n"));
        assert_eq!(with_line_feed.0, 200, "{with_line_feed:?}");
    });
}

#[test]
fn the_times_of_a_jwt_are_looked_at_with_a_minute_of_grace() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({}));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let expired = "invalid expiration time (exp) claim: token is expired";
        let early = "invalid not before (nbf) claim: token not yet valid";
        jwt.assert_token_refused(&jwt.claims(json!({ "exp": now - 120 })), expired);
        jwt.assert_token_refused(&jwt.claims(json!({ "iat": now - 600, "exp": null })), expired);
        jwt.assert_token_refused(&jwt.claims(json!({ "nbf": now + 600 })), early);
        jwt.assert_token_refused(&jwt.claims(json!({ "iat": now + 600 })), early);
        let future = "invalid issued at (iat) claim: token issued in the future";
        jwt.assert_token_refused(&jwt.claims(json!({ "iat": now + 600, "nbf": now })), future);
        let timeless =
            "no issued at (iat), not before (nbf), or expiration time (exp) claims in token";
        jwt.assert_token_refused(&jwt.claims(json!({ "iat": null, "exp": null })), timeless);
        for good in [json!({ "exp": now - 20 }), json!({ "nbf": now + 20 }), json!({ "exp": null })]
        {
            assert_eq!(jwt.login("web", &jwt.claims(good)).0, 200);
        }
    });
}

#[test]
fn issuer_subject_and_audience_have_to_be_those_that_are_bound() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({ "bound_subject": "ci-7" }));
        jwt.configure(json!({ "bound_issuer": "https://ci.example" }));
        let issued = |claims: Value| {
            let mut all = json!({ "iss": "https://ci.example" });
            all.as_object_mut()
                .expect("an object")
                .extend(claims.as_object().expect("an object").clone());
            jwt.claims(all)
        };
        assert_eq!(jwt.login("web", &issued(json!({}))).0, 200);
        assert_eq!(jwt.login("web", &issued(json!({ "aud": "vault" }))).0, 200);
        jwt.assert_token_refused(&jwt.claims(json!({})), "invalid issuer (iss) claim");
        jwt.assert_token_refused(&issued(json!({ "sub": "other" })), "invalid subject (sub) claim");
        let text =
            "invalid audience (aud) claim: audience claim does not match any expected audience";
        for audience in [json!("other"), json!(["other", "another"]), json!([]), Value::Null] {
            jwt.assert_token_refused(&issued(json!({ "aud": audience })), text);
        }
    });
}

#[test]
fn an_audience_is_refused_by_a_role_that_is_bound_to_none() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({ "bound_audiences": [], "bound_subject": "ci-7" }));
        let text = "audience claim found in JWT but no audiences bound to the role";
        assert_refused(&jwt.login("web", &jwt.claims(json!({}))), 400, text);
        assert_eq!(jwt.login("web", &jwt.claims(json!({ "aud": null }))).0, 200);
    });
}

#[test]
fn claims_have_to_be_those_that_are_bound_and_may_become_metadata() {
    on_every_vault(|target| {
        let settings = json!({ "bound_claims": { "env": ["prod", "test"] }, "claim_mappings": { "team": "owner" } });
        let jwt = Jwt::new(target, settings);
        let (_, answer) = jwt.login("web", &jwt.claims(json!({ "env": "prod", "team": "web" })));
        assert_eq!(answer["auth"]["metadata"], json!({ "role": "web", "owner": "web" }));
        let refused = |claims: Value, text: &str| {
            assert_refused(&jwt.login("web", &jwt.claims(claims)), 400, text);
        };
        refused(json!({}), "error validating claims: claim \"env\" is missing");
        let text = "error validating claims: claim \"env\" does not match any associated bound \
                    claim values";
        refused(json!({ "env": "dev" }), text);
        refused(json!({ "env": ["dev"] }), text);
        refused(json!({ "env": "prod", "team": 5 }), "error converting claim 'team' to string");
        refused(json!({ "sub": null }), "claim \"sub\" not found in token");
    });
}

#[test]
fn bound_claims_may_be_patterns() {
    on_every_vault(|target| {
        let jwt = Jwt::new(
            target,
            json!({ "bound_claims": { "ref": "v*.0" }, "bound_claims_type": "glob" }),
        );
        assert_eq!(jwt.login("web", &jwt.claims(json!({ "ref": "v1.0" }))).0, 200);
        let text = "error validating claims: claim \"ref\" does not match any associated bound \
                    claim values";
        assert_refused(&jwt.login("web", &jwt.claims(json!({ "ref": "v1.1" }))), 400, text);
    });
}

#[test]
fn roles_of_jwt_are_bound_to_something() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({ "token_policies": ["web"] }));
        let (_, read) = jwt.method.as_root("GET", "role/WEB", None);
        let data = &read["data"];
        assert_eq!(
            (&data["role_type"], &data["bound_audiences"]),
            (&json!("jwt"), &json!(["vault"]))
        );
        assert_eq!(
            (&data["bound_claims"], &data["token_policies"]),
            (&Value::Null, &json!(["web"]))
        );
        assert_eq!(jwt.method.as_root("LIST", "role", None).1["data"], json!({ "keys": ["web"] }));
        assert_missing(&jwt.method.as_root("GET", "role/none", None));
        for (settings, text) in [
            (json!({ "role_type": "jwt" }), "a user claim must be defined on the role"),
            (
                json!({ "role_type": "jwt", "user_claim": "sub" }),
                "must have at least one bound constraint when creating/updating a role",
            ),
            (
                json!({ "user_claim": "sub" }),
                "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.",
            ),
            (json!({ "role_type": "x" }), "invalid 'role_type': x"),
        ] {
            assert_refused(&jwt.method.as_root("POST", "role/new", Some(settings)), 400, text);
        }
    });
}

#[test]
fn jwt_believes_keys_that_can_be_read() {
    on_every_vault(|target| {
        let jwt = Jwt::new(target, json!({}));
        let (_, read) = jwt.method.as_root("GET", "config", None);
        assert_eq!(read["data"]["jwt_validation_pubkeys"], json!([jwt.signer.public_key().trim()]));
        let configure = |settings| jwt.method.as_root("POST", "config", Some(settings));
        let text = "error parsing public key: data does not contain any valid public keys";
        assert_refused(&configure(json!({ "jwt_validation_pubkeys": ["x"] })), 400, text);
        let text = "exactly one of 'jwt_validation_pubkeys', 'jwks_url', 'jwks_pairs', \
                    'oidc_discovery_url', or 'provider_config' must be set";
        assert_refused(&configure(json!({})), 400, text);
    });
}
