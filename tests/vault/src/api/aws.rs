//! Vault's aws method, as far as logins with a signed GetCallerIdentity go.
//!
//! Source: <https://developer.hashicorp.com/vault/api-docs/auth/aws>. Vault forwards what it is
//! given to AWS; this server knows AWS's keys itself: `test-only/keys/<access key id>` with
//! `secret_access_key`, `session_token` and `arn`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::grant::{TokenSettings, set};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request, parse_form};
use crate::api::roles::{self, Roles};
use crate::platforms::aws_keys::AwsKeys;
use crate::platforms::caller_identity::{Authorization, Posted, caller};

const SERVER_ID: &str = "X-Vault-AWS-IAM-Server-ID";

/// The fields that all logins of this kind have.
const FIELDS: [&str; 4] =
    ["iam_http_request_method", "iam_request_url", "iam_request_body", "iam_request_headers"];

/// The AWS headers that are let through.
const ALLOWED: [&str; 9] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-target",
    "x-amz-user-agent",
];

/// Headers by their names in lower case.
type Headers = BTreeMap<String, String>;

#[derive(Clone, Default)]
struct Role {
    id: String,
    bound: Vec<String>,
    token: TokenSettings,
}

impl roles::Role for Role {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        if request.text("auth_type").is_some_and(|kind| kind != "iam") {
            return Err(Failure::bad_request("the server of the tests knows auth_type iam only"));
        }
        if self.id.is_empty() {
            self.id = Uuid::new_v4().to_string();
        }
        set(&mut self.bound, request.list("bound_iam_principal_arn"));
        self.token.configure(request)
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "auth_type": "iam",
            "bound_iam_principal_arn": self.bound,
            "role_id": self.id,
        }))
    }
}

impl Role {
    /// Returns whether the role accepts the principal: the principal without its session, or one
    /// that begins like an entry with a `*` at its end.
    fn lets_in(&self, keys: &AwsKeys, canonical: &str) -> bool {
        self.bound.is_empty()
            || self.bound.iter().any(|bound| match bound.strip_suffix('*') {
                Some(start) => canonical.starts_with(start),
                None => bound == canonical || *bound == keys.arn,
            })
    }
}

#[derive(Default)]
struct Config {
    server_id: String,
    sts_endpoint: String,
    sts_region: String,
    region_from_client: bool,
}

/// The client's configuration, roles, and the keys that AWS knows.
#[derive(Default)]
pub(crate) struct Aws {
    config: Config,
    roles: Roles<Role>,
    keys: BTreeMap<String, AwsKeys>,
}

impl Engine for Aws {
    fn handle(&mut self, request: &Request) -> Outcome {
        let segments: Vec<&str> = request.path.splitn(3, '/').collect();
        match (segments.as_slice(), request.operation) {
            (["login"], Operation::Write) => self.login(request),
            (["config", "client"], Operation::Write) => self.configure(request),
            (["role", name], _) => self.roles.handle(name, request),
            (["test-only", "keys", id], Operation::Write) => self.know(id, request),
            _ => Err(Failure::unsupported_path()),
        }
    }

    fn is_login(&self, path: &str) -> bool {
        path == "login"
    }

    fn exists(&self, path: &str) -> Option<bool> {
        self.roles.exist("role/", path)
    }
}

impl Aws {
    fn configure(&mut self, request: &Request) -> Outcome {
        let text = |key: &str| request.text(key).map(str::to_owned);
        set(&mut self.config.server_id, text("iam_server_id_header_value"));
        set(&mut self.config.sts_endpoint, text("sts_endpoint"));
        set(&mut self.config.sts_region, text("sts_region"));
        set(&mut self.config.region_from_client, request.flag("use_sts_region_from_client"));
        Ok(Answer::empty())
    }

    fn know(&mut self, id: &str, request: &Request) -> Outcome {
        let text = |key: &str| request.text(key).map(str::to_owned);
        let keys = AwsKeys {
            access_key_id: id.to_owned(),
            secret_access_key: text("secret_access_key").unwrap_or_default(),
            session_token: text("session_token"),
            arn: text("arn").unwrap_or_default(),
        };
        self.keys.insert(id.to_owned(), keys);
        Ok(Answer::empty())
    }

    fn login(&self, request: &Request) -> Outcome {
        let (url, body, headers) = decoded(request)?;
        if !self.config.server_id.is_empty() {
            check_server_id(&headers, &self.config.server_id).map_err(|text| {
                Failure::bad_request(format!("error validating {SERVER_ID} header: {text}"))
            })?;
        }
        if let Some(name) = headers
            .keys()
            .find(|name| name.starts_with("x-amz-") && !ALLOWED.contains(&name.as_str()))
        {
            return Err(Failure::bad_request(format!(
                "invalid request header: {}",
                go_header(name)
            )));
        }
        let posted = Posted { url: &url, headers: &headers, body: &body };
        let keys = caller(&posted, &self.region(&headers), &self.keys).map_err(|refused| {
            let (status, xml) = (refused.status, refused.xml());
            Failure::bad_request(format!(
                "error making upstream request: received error code {status} from STS: {xml}"
            ))
        })?;
        self.admit(keys, request.text("role").unwrap_or_default())
    }

    /// Returns the region of the endpoint that Vault asks.
    fn region(&self, headers: &Headers) -> String {
        let client = headers.get("authorization").and_then(|text| Authorization::parse(text));
        let endpoint = self.config.sts_endpoint.strip_prefix("https://sts.").unwrap_or_default();
        match (client, endpoint.split_once(".amazonaws.com")) {
            (Some(client), _) if self.config.region_from_client => client.region.to_owned(),
            _ if !self.config.sts_region.is_empty() => self.config.sts_region.clone(),
            (_, Some((region, _))) => region.to_owned(),
            _ => "us-east-1".to_owned(),
        }
    }

    fn admit(&self, keys: &AwsKeys, role: &str) -> Outcome {
        let parts: Vec<&str> = keys.arn.split([':', '/']).collect();
        let [_, partition, _, _, account, kind, name, ..] = parts[..] else {
            let text = format!("error parsing arn {:?}: unrecognized arn", keys.arn);
            return Err(Failure::bad_request(text));
        };
        let role_name = if role.is_empty() { name } else { role };
        let role = self.roles.get(role_name);
        let role = role
            .ok_or_else(|| Failure::bad_request(format!("entry for role {role_name} not found")))?;
        let kind = if kind == "assumed-role" { "role" } else { kind };
        if !role.lets_in(keys, &format!("arn:{partition}:iam::{account}:{kind}/{name}")) {
            let text =
                format!("IAM Principal {:?} does not belong to the role {role_name:?}", keys.arn);
            return Err(Failure::bad_request(text));
        }
        let metadata = json!({ "account_id": account, "auth_type": "iam", "role_id": role.id });
        role.token.login(name, metadata)
    }
}

/// Returns the URL, body and headers of the request to AWS, if it is a GetCallerIdentity.
fn decoded(request: &Request) -> Result<(String, Vec<u8>, Headers), Failure> {
    match FIELDS.iter().filter(|name| request.body.contains_key(**name)).count() {
        0 => return Err(Failure::bad_request("didn't supply required authentication values")),
        4 => {}
        _ => {
            let text = "supplied some of the auth values for the iam auth type but not all";
            return Err(Failure::bad_request(text));
        }
    }
    if request.text(FIELDS[0]) != Some("POST") {
        return Err(Failure::bad_request(
            "invalid iam_http_request_method; currently only 'POST' is supported",
        ));
    }
    let url = String::from_utf8_lossy(&base64_field(request, FIELDS[1])?).into_owned();
    if url.parse::<Uri>().is_err() {
        return Err(Failure::bad_request("error parsing iam_request_url"));
    }
    let body = base64_field(request, FIELDS[2])?;
    if !is_get_caller_identity(&body) {
        return Err(Failure::bad_request("iam request body is invalid"));
    }
    let headers = headers(&request.body[FIELDS[3]])
        .ok_or_else(|| Failure::bad_request("missing iam_request_headers"))?;
    Ok((url, body, headers))
}

fn base64_field(request: &Request, name: &str) -> Result<Vec<u8>, Failure> {
    let text = request.text(name).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Failure::bad_request(format!("missing {name}")))?;
    STANDARD
        .decode(text)
        .map_err(|_| Failure::bad_request(format!("failed to base64 decode {name}")))
}

fn is_get_caller_identity(body: &[u8]) -> bool {
    let form = parse_form(&String::from_utf8_lossy(body));
    form.get("Action").is_some_and(|action| action == "GetCallerIdentity")
        && form.keys().all(|name| name == "Action" || name == "Version")
}

/// Parses an object, JSON of one, or base64 of that; each name has a text or a list of texts.
fn headers(value: &Value) -> Option<Headers> {
    let object = match value {
        Value::Object(object) => object.clone(),
        Value::String(text) => serde_json::from_str::<Map<_, _>>(text)
            .ok()
            .or_else(|| serde_json::from_slice(&STANDARD.decode(text).ok()?).ok())?,
        _ => return None,
    };
    let joined = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    let headers = object.iter().map(|(name, value)| (name.to_lowercase(), joined(value))).collect();
    Some(headers).filter(|headers: &Headers| !headers.is_empty())
}

fn check_server_id(headers: &Headers, expected: &str) -> Result<(), String> {
    let name = SERVER_ID.to_lowercase();
    let given = headers.get(&name).filter(|given| !given.is_empty());
    let given = given.ok_or_else(|| format!("missing header {SERVER_ID:?}"))?;
    if given != expected {
        return Err(format!("expected {expected:?} but got {given:?}"));
    }
    let authorization = headers.get("authorization").ok_or("missing Authorization header")?;
    let signed = Authorization::parse(authorization)
        .is_some_and(|authorization| authorization.covers(&name));
    if signed { Ok(()) } else { Err("vault header wasn't signed".to_owned()) }
}

/// Returns a header's name as Go writes it.
fn go_header(name: &str) -> String {
    let words = name.split('-').map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..]));
    words.collect::<Vec<_>>().join("-")
}
