//! What PKI does, on the server of our own because it does so on a real one.

use test_vault::{Operator, Target, Value, json, on_every_vault};

use crate::contract::{POLICY_REFUSED, assert_refused};

/// PKI with a root, and a role `web` for what is below example.com.
struct Pki {
    operator: Operator,
    http: Operator,
    mount: String,
    root: String,
}

impl Pki {
    fn new(target: &Target) -> Self {
        let (operator, mount) = (target.operator(), target.unique("pki"));
        operator.enable_pki(&mount);
        let settings =
            json!({ "allowed_domains": "example.com", "allow_subdomains": true, "ttl": "1h" });
        operator.pki_role(&mount, "web", settings);
        Self { operator, http: target.http(), mount, root: target.root_token() }
    }

    fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("{}/{path}", self.mount), Some(&self.root), Some(body))
    }

    fn issue(&self, body: Value) -> (u16, Value) {
        self.post("issue/web", body)
    }
}

fn is_pem(value: &Value, kind: &str) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.starts_with(&format!("-----BEGIN {kind}-----\n"))
        && text.ends_with(&format!("-----END {kind}-----"))
}

fn seconds(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number of seconds"))
}

#[test]
fn a_root_needs_no_name() {
    on_every_vault(|target| {
        let (operator, mount) = (target.operator(), target.unique("pki"));
        operator.write(&format!("sys/mounts/{mount}"), json!({ "type": "pki" }));
        let path = format!("{mount}/root/generate/internal");
        let settings = [json!({}), json!({ "common_name": "root" })];
        for body in settings {
            let answer = target.http().write(&path, body);
            let data = &answer["data"];
            let keys: Vec<_> = data.as_object().expect("an object").keys().collect();
            assert_eq!(
                keys,
                [
                    "certificate",
                    "expiration",
                    "issuer_id",
                    "issuer_name",
                    "issuing_ca",
                    "key_id",
                    "key_name",
                    "serial_number"
                ]
            );
            assert!(is_pem(&data["certificate"], "CERTIFICATE"), "{data}");
            assert_eq!(data["issuing_ca"], data["certificate"]);
        }
    });
}

#[test]
fn each_issue_makes_another_certificate_with_its_key() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let issue = || {
            let (status, answer) = pki.issue(json!({ "common_name": "app.example.com" }));
            assert_eq!(
                (status, &answer["lease_id"], &answer["lease_duration"]),
                (200, &json!(""), &json!(0))
            );
            answer["data"].clone()
        };
        let (first, second) = (issue(), issue());
        let keys: Vec<_> = first.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            [
                "ca_chain",
                "certificate",
                "expiration",
                "issuing_ca",
                "not_before",
                "private_key",
                "private_key_type",
                "serial_number"
            ]
        );
        for key in ["certificate", "private_key", "serial_number"] {
            assert_ne!(first[key], second[key], "{key}");
        }
        assert!(is_pem(&first["certificate"], "CERTIFICATE"), "{first}");
        assert!(
            first["private_key"].as_str().is_some_and(|key| key.contains("PRIVATE KEY-----\n")),
            "{first}"
        );
        assert_eq!(
            (&first["private_key_type"], &first["ca_chain"][0]),
            (&json!("ec"), &first["issuing_ca"])
        );
        assert_eq!(seconds(&first["expiration"]) - seconds(&first["not_before"]), 3630);
    });
}

#[test]
fn a_serial_number_is_pairs_of_digits() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let (_, answer) = pki.issue(json!({ "common_name": "app.example.com" }));
        let serial = answer["data"]["serial_number"].as_str().expect("a serial number");
        assert!(
            serial.split(':').all(|pair| pair.len() == 2 && u8::from_str_radix(pair, 16).is_ok()),
            "{serial}"
        );
    });
}

#[test]
fn a_role_says_which_names_are_allowed() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let good = "app.example.com";
        let refused = |kind: &str, name: &str| format!("{kind} {name} not allowed by this role");
        for (body, text) in [
            (
                json!({ "common_name": "app.example.org" }),
                refused("common name", "app.example.org"),
            ),
            (json!({ "common_name": "example.com" }), refused("common name", "example.com")),
            (
                json!({ "common_name": "not a host.example.com" }),
                refused("common name", "not a host.example.com"),
            ),
            (
                json!({ "common_name": good, "alt_names": "a.example.com,app.example.org" }),
                refused("subject alternate name", "app.example.org"),
            ),
            (
                json!({ "common_name": good, "ip_sans": "x" }),
                "the value \"x\" is not a valid IP address".to_owned(),
            ),
        ] {
            assert_refused(&pki.issue(body), 400, &text);
        }
        for name in [good, "a.b.example.com", "*.example.com", "localhost"] {
            assert_eq!(
                pki.issue(json!({ "common_name": name, "ip_sans": "127.0.0.1" })).0,
                200,
                "{name}"
            );
        }
    });
}

#[test]
fn a_common_name_is_required_unless_the_role_says_otherwise() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let text = "the common_name field is required, or must be provided in a CSR with \
                    \"use_csr_common_name\" set to true, unless \"require_cn\" is set to false";
        for body in [json!({}), json!({ "common_name": "" })] {
            assert_refused(&pki.issue(body), 400, text);
        }
        pki.operator.pki_role(
            &pki.mount,
            "open",
            json!({ "allow_any_name": true, "require_cn": false }),
        );
        assert_eq!(pki.post("issue/open", json!({ "ttl": "1h" })).0, 200);
    });
}

#[test]
fn without_a_role_or_a_root_nothing_is_issued() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let body = || json!({ "common_name": "app.example.com" });
        assert_refused(&pki.post("issue/none", body()), 400, "unknown role: none");
        let text = "1 error occurred:\n\t* unsupported operation\n\n";
        let path = format!("{}/issue/web", pki.mount);
        assert_refused(&pki.http.request("GET", &path, Some(&pki.root), None), 405, text);
        let empty = target.unique("pki");
        pki.operator.write(&format!("sys/mounts/{empty}"), json!({ "type": "pki" }));
        pki.operator.pki_role(&empty, "web", json!({ "allow_any_name": true }));
        let reply =
            pki.http.request("POST", &format!("{empty}/issue/web"), Some(&pki.root), Some(body()));
        let text = "1 error occurred:\n\t* could not fetch the CA certificate (was one set?): no \
                    default issuer currently configured\n\n";
        assert_refused(&reply, 500, text);
    });
}

#[test]
fn no_certificate_outlives_its_issuer() {
    on_every_vault(|target| {
        let (operator, mount) = (target.operator(), target.unique("pki"));
        operator.write(&format!("sys/mounts/{mount}"), json!({ "type": "pki" }));
        operator.write(
            &format!("{mount}/root/generate/internal"),
            json!({ "key_type": "ec", "ttl": "1h" }),
        );
        operator.pki_role(&mount, "web", json!({ "allow_any_name": true }));
        let issue = |ttl: &str| {
            let body = Some(json!({ "common_name": "app", "ttl": ttl }));
            target.http().request(
                "POST",
                &format!("{mount}/issue/web"),
                Some(&target.root_token()),
                body,
            )
        };
        assert_eq!(issue("30m").0, 200);
        let (status, answer) = issue("2h");
        let text = answer["errors"][0].as_str().unwrap_or_default();
        assert_eq!(status, 400);
        assert!(
            text.starts_with("cannot satisfy request, as TTL would result in notAfter of 20"),
            "{text}"
        );
        assert!(
            text.contains("Z that is beyond the expiration of the CA certificate at 20"),
            "{text}"
        );
    });
}

#[test]
fn a_certificate_may_have_a_lease_that_nobody_renews() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let settings = json!({ "allow_any_name": true, "generate_lease": true, "ttl": "1h" });
        pki.operator.pki_role(&pki.mount, "leased", settings);
        let (status, answer) = pki.post("issue/leased", json!({ "common_name": "app" }));
        let lease = answer["lease_id"].as_str().expect("a lease");
        assert!(lease.starts_with(&format!("{}/issue/leased/", pki.mount)), "{lease}");
        assert_eq!((status, &answer["renewable"]), (200, &json!(false)));
        assert!((3590..=3600).contains(&seconds(&answer["lease_duration"])), "{answer}");
        let body = Some(json!({ "lease_id": lease }));
        let reply = pki.http.request("POST", "sys/leases/renew", Some(&pki.root), body);
        assert_refused(&reply, 400, "lease is not renewable");
        assert_eq!(pki.operator.leases(&pki.mount), [lease]);
    });
}

#[test]
fn to_issue_takes_an_update() {
    on_every_vault(|target| {
        let pki = Pki::new(target);
        let issue = |capability: &str| {
            let hcl =
                format!("path \"{}/issue/web\" {{ capabilities = [\"{capability}\"] }}", pki.mount);
            pki.operator.policy(&pki.mount, &hcl);
            let token = pki.operator.create_token(json!({ "policies": [pki.mount] }));
            let body = Some(json!({ "common_name": "app.example.com" }));
            pki.http.request("POST", &format!("{}/issue/web", pki.mount), Some(&token), body)
        };
        assert_eq!(issue("update").0, 200);
        assert_refused(&issue("create"), 403, POLICY_REFUSED);
        assert_refused(&issue("read"), 403, POLICY_REFUSED);
    });
}
