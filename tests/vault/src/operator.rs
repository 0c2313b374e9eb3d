//! The one who sets a Vault up: a small client with the root token.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{HeaderMap, Method};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::service::Service;

/// A status and the body's JSON (null where there is no body, or none that is JSON).
pub type Reply = (u16, Value);

/// How long a new mount may take until it can be used.
const UPGRADE: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Transport {
    /// Into the server of our own, past HTTP.
    Direct(Arc<Service>),
    /// As everyone else.
    Http { client: Client, addr: String },
}

/// Does what operators do. Everything but [`request`](Self::request) panics where the server refuses.
pub struct Operator {
    transport: Transport,
    token: String,
    /// What goes in front of every path: nothing, or a namespace with its slash.
    namespace: String,
}

impl Operator {
    pub(crate) fn direct(service: Arc<Service>) -> Self {
        let token = service.core().root_token.clone();
        Self { transport: Transport::Direct(service), token, namespace: String::new() }
    }

    /// Over HTTP with a token, trusting the CA of a PEM file.
    pub fn http(addr: &str, token: &str, ca: Option<&Path>) -> Self {
        let client = Client::builder()
            .tls_backend_preconfigured(trusting(ca))
            .no_proxy()
            .redirect(Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("an HTTP client");
        let transport = Transport::Http { client, addr: addr.to_owned() };
        Self { transport, token: token.to_owned(), namespace: String::new() }
    }

    /// The same one, who does everything in a namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Self { transport: self.transport.clone(), token: self.token.clone(), namespace }
    }

    /// A namespace.
    pub fn enable_namespace(&self, name: &str) {
        self.write(&format!("sys/namespaces/{name}"), json!({}));
    }

    /// One request with any token or none; `path` is what follows `/v1/`.
    pub fn request(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Reply {
        let headers: Vec<_> = token.map(|token| ("x-vault-token", token)).into_iter().collect();
        self.request_with(method, path, &headers, body)
    }

    /// One request with any headers.
    pub fn request_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (path, headers) = (format!("{}{path}", self.namespace), header_map(headers));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (status, text) = match &self.transport {
            Transport::Direct(service) => {
                let rendered = service.call(&method, &path, &headers, body.as_bytes());
                (rendered.status, rendered.body)
            }
            Transport::Http { client, addr } => send(client, method, &format!("{addr}/v1/{path}"), headers, body),
        };
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// As root, and it has to work.
    #[allow(clippy::needless_pass_by_value, reason = "a JSON literal reads best as it is")]
    pub fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let deadline = Instant::now() + UPGRADE;
        let (status, answer) = loop {
            let reply = self.request(method, path, Some(&self.token), body.clone());
            if !is_upgrading(&reply) || Instant::now() > deadline {
                break reply;
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    pub(crate) fn succeeds(&self, path: &str) -> bool {
        self.request("GET", path, Some(&self.token), None).0 == 200
    }

    /// `POST`s JSON and gives the answer.
    #[allow(clippy::needless_pass_by_value)] // What tests pass is a `json!` of their own.
    pub fn write(&self, path: &str, body: Value) -> Value {
        self.must("POST", path, Some(body))
    }

    /// `GET`s and gives the answer.
    pub fn read(&self, path: &str) -> Value {
        self.must("GET", path, None)
    }

    /// `DELETE`s.
    pub fn delete(&self, path: &str) {
        self.must("DELETE", path, None);
    }

    /// A KV engine of version 1 or 2.
    pub fn enable_kv(&self, mount: &str, version: u8) {
        let options = json!({ "version": version.to_string() });
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "kv", "options": options }));
    }

    /// A secret in a KV engine of version 1 or 2; another version of it, if there is one.
    pub fn kv_put(&self, mount: &str, version: u8, path: &str, secret: Value) {
        match version {
            1 => self.write(&format!("{mount}/{path}"), secret),
            _ => self.write(&format!("{mount}/data/{path}"), json!({ "data": secret })),
        };
    }

    /// An ACL policy in HCL.
    pub fn policy(&self, name: &str, hcl: &str) {
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": hcl }));
    }

    /// AppRole at a mount.
    pub fn enable_approle(&self, mount: &str) {
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "approle" }));
    }

    /// A role of AppRole.
    pub fn approle_role(&self, mount: &str, role: &str, settings: Value) {
        self.write(&format!("auth/{mount}/role/{role}"), settings);
    }

    /// A role's role_id.
    pub fn role_id(&self, mount: &str, role: &str) -> String {
        text(&self.read(&format!("auth/{mount}/role/{role}/role-id")), "/data/role_id")
    }

    /// A new secret_id for a role.
    pub fn secret_id(&self, mount: &str, role: &str, settings: Value) -> String {
        text(&self.write(&format!("auth/{mount}/role/{role}/secret-id"), settings), "/data/secret_id")
    }

    /// A new secret_id, wrapped: the wrapping token.
    pub fn wrapped_secret_id(&self, mount: &str, role: &str, ttl: &str) -> String {
        let path = format!("auth/{mount}/role/{role}/secret-id");
        let headers = [("x-vault-token", self.token.as_str()), ("x-vault-wrap-ttl", ttl)];
        let (status, answer) = self.request_with("POST", &path, &headers, Some(json!({})));
        assert_eq!(status, 200, "POST {path}: {answer}");
        text(&answer, "/wrap_info/token")
    }

    /// A new token.
    pub fn create_token(&self, settings: Value) -> String {
        text(&self.write("auth/token/create", settings), "/auth/client_token")
    }

    /// Transit at a mount.
    pub fn enable_transit(&self, mount: &str) {
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "transit" }));
    }

    /// A key of transit.
    pub fn transit_key(&self, mount: &str, key: &str) {
        self.write(&format!("{mount}/keys/{key}"), json!({}));
    }

    /// The ciphertext of a text.
    pub fn encrypt(&self, mount: &str, key: &str, plaintext: &str) -> String {
        let body = json!({ "plaintext": STANDARD.encode(plaintext) });
        text(&self.write(&format!("{mount}/encrypt/{key}"), body), "/data/ciphertext")
    }

    /// PKI at a mount, with a CA that lasts longer than what it signs.
    pub fn enable_pki(&self, mount: &str) {
        let config = json!({ "max_lease_ttl": "87600h" });
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "pki", "config": config }));
        let root = json!({ "common_name": "test root", "ttl": "87600h", "key_type": "ec", "key_bits": 256 });
        self.write(&format!("{mount}/root/generate/internal"), root);
    }

    /// A role of PKI, whose keys are quickly made unless the settings say otherwise.
    pub fn pki_role(&self, mount: &str, role: &str, settings: Value) {
        let settings = merged(json!({ "key_type": "ec", "key_bits": 256 }), settings);
        self.write(&format!("{mount}/roles/{role}"), settings);
    }

    /// The database secrets engine with one role, whose settings may say `default_ttl` and `max_ttl`. A real server wants a database for
    /// it, and a server of our own does not look at it.
    pub fn enable_database(&self, mount: &str, role: &str, settings: Value, postgres: Option<&Postgres>) {
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "database" }));
        let connection = json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": postgres.map_or_else(|| "postgresql://localhost/postgres".to_owned(), Postgres::connection_url),
            "username": postgres.map_or("", Postgres::username),
            "password": postgres.map_or("", Postgres::password),
        });
        self.write(&format!("{mount}/config/postgres"), connection);
        self.database_role(mount, role, settings);
    }

    /// Another role of the database secrets engine.
    pub fn database_role(&self, mount: &str, role: &str, settings: Value) {
        let defaults = json!({
            "db_name": "postgres",
            "creation_statements": "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}'",
            "revocation_statements": "DROP ROLE IF EXISTS \"{{name}}\"",
        });
        self.write(&format!("{mount}/roles/{role}"), merged(defaults, settings));
    }

    /// The ids of all leases below a path. On a real server those of a token that was revoked stay for a moment.
    pub fn leases(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.trim_end_matches('/');
        let (status, answer) = self.request("LIST", &format!("sys/leases/lookup/{prefix}"), Some(&self.token), None);
        assert!([200, 404].contains(&status), "LIST sys/leases/lookup/{prefix}: {status} {answer}");
        let keys = answer["data"]["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let below = |key: &str| match key.strip_suffix('/') {
            Some(folder) => self.leases(&format!("{prefix}/{folder}")),
            None => vec![format!("{prefix}/{key}")],
        };
        keys.flat_map(below).collect()
    }

    /// Waits until there are as many leases below a path, and gives those that there were at the end.
    pub fn wait_for_leases(&self, prefix: &str, count: usize, timeout: Duration) -> Vec<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let leases = self.leases(prefix);
            if leases.len() == count || Instant::now() > deadline {
                return leases;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A new mount of KV v2 says so for a moment on a real server.
fn is_upgrading((status, answer): &Reply) -> bool {
    let text = answer.pointer("/errors/0").and_then(Value::as_str).unwrap_or_default();
    *status == 400 && text.starts_with("Upgrading from non-versioned to versioned data")
}

/// Settings over what goes without saying.
fn merged(mut defaults: Value, settings: Value) -> Value {
    let (Value::Object(all), Value::Object(settings)) = (&mut defaults, settings) else {
        panic!("settings are objects")
    };
    all.extend(settings);
    defaults
}

fn text(answer: &Value, pointer: &str) -> String {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {answer}")).to_owned()
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<hyper::header::HeaderName>().expect("a header's name"), value.parse().expect("a header's value"))
    };
    headers.iter().map(pair).collect()
}

fn send(client: &Client, method: Method, url: &str, headers: HeaderMap, body: String) -> (u16, String) {
    let response = client.request(method, url).headers(headers).body(body).send();
    let response = response.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    (response.status().as_u16(), response.text().expect("an answer's body"))
}

fn trusting(ca: Option<&Path>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        let pem = fs::read(ca).expect("the CA's file");
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("a certificate")).expect("a CA's certificate");
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that ring knows")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    config
}
