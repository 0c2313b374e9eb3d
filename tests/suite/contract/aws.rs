//! The aws method of the server of our own: what it takes and refuses. No real server at hand has
//! it; the signatures are checked with the crate of AWS.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use test_vault::{AwsKeys, Operator, TestVault, Value, json};
use vault_exec::door::cloud::sigv4::{Credentials, Request, Scope, sign};
use vault_exec::door::secret::Secret;

const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// A login that can be changed before it is sent.
struct Login<'a> {
    keys: &'a AwsKeys,
    host: &'a str,
    region: &'a str,
    server_id: Option<&'a str>,
    time: SystemTime,
    body: &'a str,
}

impl<'a> Login<'a> {
    fn new(keys: &'a AwsKeys) -> Self {
        let time = SystemTime::now();
        Self {
            keys,
            host: "sts.amazonaws.com",
            region: "us-east-1",
            server_id: None,
            time,
            body: BODY,
        }
    }

    fn json(&self) -> Value {
        let mut given = vec![
            ("Host", self.host),
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ];
        given.extend(self.server_id.map(|id| ("X-Vault-AWS-IAM-Server-ID", id)));
        let request = Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &given,
            body: self.body.as_bytes(),
        };
        let credentials = Credentials {
            access_key_id: Secret::from(self.keys.access_key_id.as_str()),
            secret_access_key: Secret::from(self.keys.secret_access_key.as_str()),
            session_token: self.keys.session_token.as_deref().map(Secret::from),
        };
        let added =
            sign(&request, &credentials, Scope { region: self.region, service: "sts" }, self.time)
                .expect("a date");
        let added = added.iter().map(|(name, value)| (*name, value.expose_text().expect("text")));
        let headers: Value = given
            .into_iter()
            .chain(added)
            .map(|(name, value)| (name.to_owned(), json!([value])))
            .collect();
        json!({
            "role": "app",
            "iam_http_request_method": "POST",
            "iam_request_url": STANDARD.encode(format!("https://{}/", self.host)),
            "iam_request_body": STANDARD.encode(self.body),
            "iam_request_headers": STANDARD.encode(headers.to_string()),
        })
    }

    fn send(&self, operator: &Operator) -> (u16, Value) {
        operator.request("POST", "auth/aws/login", None, Some(self.json()))
    }
}

fn server(client: Value, keys: &AwsKeys) -> TestVault {
    let vault = TestVault::start();
    vault.operator().enable_aws("aws", client, &[keys]);
    let bound = "arn:aws:iam::123456789012:role/app";
    vault.operator().aws_role(
        "aws",
        "app",
        json!({ "bound_iam_principal_arn": bound, "token_policies": "app" }),
    );
    vault
}

/// The refusal has this in it.
fn refuses(vault: &TestVault, login: &Login<'_>, expected: &str) {
    let (status, answer) = login.send(&vault.operator());
    let text = answer["errors"][0].as_str().unwrap_or_default();
    assert!(status == 400 && text.contains(expected), "{expected}: {status} {answer}");
}

#[test]
fn a_signed_request_logs_in() {
    let keys = AwsKeys::of_role("app", "i-0123456789abcdef0");
    let vault = server(json!({}), &keys);
    let (status, answer) = Login::new(&keys).send(&vault.operator());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["auth"]["token_policies"], json!(["app", "default"]), "{answer}");
    assert_eq!(answer["auth"]["metadata"]["account_id"], "123456789012", "{answer}");
}

#[test]
fn headers_may_be_plain_json_too() {
    let keys = AwsKeys::of_role("app", "session");
    let vault = server(json!({}), &keys);
    let mut login = Login::new(&keys).json();
    let encoded = login["iam_request_headers"].as_str().expect("text").to_owned();
    login["iam_request_headers"] =
        serde_json::from_slice(&STANDARD.decode(encoded).expect("Base64")).expect("JSON");
    let (status, answer) = vault.operator().request("POST", "auth/aws/login", None, Some(login));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_key_or_token_that_is_not_known_is_refused() {
    let keys = AwsKeys::of_role("app", "session");
    let vault = server(json!({}), &keys);
    let secret_access_key = AwsKeys::of_role("app", "session").secret_access_key;
    refuses(
        &vault,
        &Login::new(&AwsKeys { secret_access_key, ..keys.clone() }),
        "<Code>SignatureDoesNotMatch</Code>",
    );
    refuses(&vault, &Login::new(&AwsKeys::of_user("other")), "<Code>InvalidClientTokenId</Code>");
    refuses(
        &vault,
        &Login::new(&AwsKeys { session_token: None, ..keys }),
        "<Code>InvalidClientTokenId</Code>",
    );
}

#[test]
fn a_signature_is_good_for_one_region_and_a_while() {
    let keys = AwsKeys::of_role("app", "session");
    let vault = server(json!({}), &keys);
    let login =
        Login { region: "eu-west-1", host: "sts.eu-west-1.amazonaws.com", ..Login::new(&keys) };
    refuses(&vault, &login, "received error code 403 from STS: <ErrorResponse");
    refuses(&vault, &login, "Credential should be scoped to a valid region");
    let time = SystemTime::now() - Duration::from_hours(1);
    refuses(&vault, &Login { time, ..Login::new(&keys) }, "Signature expired");
    for client in [
        json!({ "use_sts_region_from_client": true }),
        json!({ "sts_endpoint": "https://sts.eu-west-1.amazonaws.com", "sts_region": "eu-west-1" }),
    ] {
        let (status, answer) = login.send(&server(client, &keys).operator());
        assert_eq!(status, 200, "{answer}");
    }
}

#[test]
fn the_server_id_has_to_be_there_and_right() {
    let keys = AwsKeys::of_role("app", "session");
    let vault = server(json!({ "iam_server_id_header_value": "vault.example.com" }), &keys);
    let login = |server_id| Login { server_id, ..Login::new(&keys) };
    let missing = "error validating X-Vault-AWS-IAM-Server-ID header: missing header \
                   \"X-Vault-AWS-IAM-Server-ID\"";
    refuses(&vault, &login(None), missing);
    refuses(&vault, &login(Some("other")), "expected \"vault.example.com\" but got \"other\"");
    let (status, answer) = login(Some("vault.example.com")).send(&vault.operator());
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn what_is_no_get_caller_identity_or_no_role_is_refused() {
    let keys = AwsKeys::of_role("other", "session");
    let vault = server(json!({}), &keys);
    refuses(
        &vault,
        &Login { body: "Action=GetSessionToken", ..Login::new(&keys) },
        "iam request body is invalid",
    );
    refuses(&vault, &Login::new(&keys), "does not belong to the role \"app\"");
    let mut login = Login::new(&keys).json();
    login["role"] = "none".into();
    let (_, answer) = vault.operator().request("POST", "auth/aws/login", None, Some(login));
    assert_eq!(answer["errors"][0], "entry for role none not found", "{answer}");
}
