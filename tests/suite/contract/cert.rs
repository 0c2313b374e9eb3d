//! How client certificates log in, on the server of our own because they do so on a real one.

use test_vault::{
    ClientCa, ClientCertificate, Operator, Target, Value, json, on_every_https_vault,
};

use crate::contract::assert_refused;
use crate::contract::userpass_and_ldap::Method;

/// Logs in with a client certificate, or without.
fn login(
    target: &Target,
    method: &Method,
    client: Option<&ClientCertificate>,
    body: Value,
) -> (u16, Value) {
    let http = Operator::http_as(&target.addr(), "", target.ca_file(), client);
    http.request("POST", &format!("auth/{}/login", method.mount), None, Some(body))
}

/// Certificates with the role `web` for those of a CA.
fn cert(target: &Target, ca: &ClientCa, settings: Value) -> Method {
    let method = Method::new(target, "cert");
    method.operator.enable_cert(&method.mount);
    method.operator.cert_role(&method.mount, "web", &ca.pem(), settings);
    method
}

const UNKNOWN: &str = "invalid certificate or no client certificate supplied";

#[test]
fn a_client_certificate_gives_a_token_with_the_roles_settings() {
    on_every_https_vault(|target| {
        let ca = ClientCa::new();
        let client = ca.issue("app.example");
        let method = cert(target, &ca, json!({ "token_policies": ["web"], "token_ttl": "10m" }));
        for body in [json!({}), json!({ "name": "web" })] {
            let (status, answer) = login(target, &method, Some(&client), body);
            let auth = &answer["auth"];
            assert_eq!((status, &auth["policies"]), (200, &json!(["default", "web"])), "{answer}");
            let metadata = &auth["metadata"];
            assert_eq!(
                (&metadata["cert_name"], &metadata["common_name"]),
                (&json!("web"), &json!("app.example"))
            );
            assert!(
                metadata["serial_number"]
                    .as_str()
                    .is_some_and(|serial| serial.parse::<f64>().is_ok())
            );
            let keys: Vec<_> = metadata.as_object().expect("an object").keys().cloned().collect();
            assert_eq!(
                keys,
                ["authority_key_id", "cert_name", "common_name", "serial_number", "subject_key_id"]
            );
            assert_eq!(method.display_name(&answer), format!("{}-web", method.mount));
        }
    });
}

#[test]
fn a_client_without_the_right_certificate_is_refused() {
    on_every_https_vault(|target| {
        let ca = ClientCa::new();
        let client = ca.issue("app.example");
        let method = cert(target, &ca, json!({ "allowed_common_names": ["app.*"] }));
        let refused = |client: Option<&ClientCertificate>, body, text| {
            assert_refused(&login(target, &method, client, body), 400, text);
        };
        refused(None, json!({}), "no client certificate found");
        refused(Some(&ClientCa::new().issue("app.example")), json!({}), UNKNOWN);
        refused(Some(&client), json!({ "name": "none" }), UNKNOWN);
        let text = "no chain matching all constraints could be found for this login certificate";
        refused(Some(&ca.issue("other.example")), json!({}), text);
        assert_eq!(login(target, &method, Some(&client), json!({})).0, 200);
    });
}

#[test]
fn a_role_may_stand_for_one_certificate() {
    on_every_https_vault(|target| {
        let ca = ClientCa::new();
        let (client, other) = (ca.issue("app.example"), ca.issue("app.example"));
        let method = Method::new(target, "cert");
        method.operator.enable_cert(&method.mount);
        method.operator.cert_role(&method.mount, "web", &client.pem(), json!({}));
        assert_eq!(login(target, &method, Some(&client), json!({})).0, 200);
        assert_refused(&login(target, &method, Some(&other), json!({})), 400, UNKNOWN);
        let bad = method.as_root("POST", "certs/bad", Some(json!({ "certificate": "x" })));
        assert_refused(&bad, 400, "failed to parse certificate");
    });
}
