//! Sets a Vault up: a small client with the root token.

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
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::harness::client_ca::ClientCertificate;
use crate::harness::leaks;
use crate::harness::postgres::Postgres;
use crate::platforms::aws_keys::AwsKeys;
use crate::platforms::azure_metadata::AzureMetadata;
use crate::platforms::gcp_metadata::GcpMetadata;
use crate::platforms::kubernetes_api::KubernetesApi;
use crate::platforms::signer::JwtSigner;

/// A status and the body's JSON (null if there is no body, or if it is not JSON).
pub type Reply = (u16, Value);

/// Distinguishes its requests from those that a test looks at.
pub(crate) const USER_AGENT: &str = "operator";

/// How long a new mount may take until it can be used.
const UPGRADE: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum Transport {
    /// Calls our own server directly, bypassing HTTP.
    Direct(Arc<Api>),
    /// Uses HTTP like everyone else.
    Http { client: Client, addr: String },
}

/// Does what operators do. Everything except [`request`](Self::request) panics if the server
/// refuses.
pub struct Operator {
    transport: Transport,
    token: String,
    /// The prefix of every path: nothing, or a namespace with its slash.
    namespace: String,
}

impl Operator {
    pub(crate) fn direct(api: Arc<Api>) -> Self {
        let token = api.core().root_token.clone();
        Self { transport: Transport::Direct(api), token, namespace: String::new() }
    }

    /// Uses HTTP with a token, and trusts the CA in a PEM file.
    pub fn http(addr: &str, token: &str, ca: Option<&Path>) -> Self {
        Self::http_as(addr, token, ca, None)
    }

    /// The same, and presents a client certificate.
    pub fn http_as(
        addr: &str,
        token: &str,
        ca: Option<&Path>,
        client: Option<&ClientCertificate>,
    ) -> Self {
        let client = Client::builder()
            .tls_backend_preconfigured(trusting(ca, client))
            .no_proxy()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .timeout(Duration::from_secs(30))
            .build()
            .expect("an HTTP client");
        let transport = Transport::Http { client, addr: addr.to_owned() };
        Self { transport, token: token.to_owned(), namespace: String::new() }
    }

    /// Returns the same operator, working in a namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        Self { transport: self.transport.clone(), token: self.token.clone(), namespace }
    }

    /// Creates a namespace.
    pub fn enable_namespace(&self, name: &str) {
        leaks::publish(&format!("{}{name}", self.namespace));
        self.write(&format!("sys/namespaces/{name}"), json!({}));
    }

    /// Sends one request with any token or none; `path` is the part after `/v1/`.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Reply {
        let headers: Vec<_> = token.map(|token| ("x-vault-token", token)).into_iter().collect();
        self.request_with(method, path, &headers, body)
    }

    /// Sends one request with any headers.
    pub fn request_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (path, headers) = (format!("{}{path}", self.namespace), header_map(headers));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (status, text) = match &self.transport {
            Transport::Direct(api) => {
                let rendered = api.call(&method, &path, &headers, body.as_bytes(), &[]);
                (rendered.status, rendered.body)
            }
            Transport::Http { client, addr } => {
                send(client, method, &format!("{addr}/v1/{path}"), headers, body)
            }
        };
        let answer = serde_json::from_str(&text).unwrap_or_default();
        leaks::answered(&path, &answer);
        (status, answer)
    }

    /// Sends a request as root that must succeed.
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

    /// `POST`s JSON and returns the answer.
    #[allow(clippy::needless_pass_by_value)] // What tests pass is a `json!` of their own.
    pub fn write(&self, path: &str, body: Value) -> Value {
        self.must("POST", path, Some(body))
    }

    /// `GET`s and returns the answer.
    pub fn read(&self, path: &str) -> Value {
        self.must("GET", path, None)
    }

    /// `DELETE`s.
    pub fn delete(&self, path: &str) {
        self.must("DELETE", path, None);
    }

    /// Enables a KV engine of version 1 or 2.
    pub fn enable_kv(&self, mount: &str, version: u8) {
        let options = json!({ "version": version.to_string() });
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "kv", "options": options }));
    }

    /// Writes a secret to a KV engine of version 1 or 2; if it exists, this adds another version.
    pub fn kv_put(&self, mount: &str, version: u8, path: &str, secret: Value) {
        leaks::mark_all("value", &secret);
        match version {
            1 => self.write(&format!("{mount}/{path}"), secret),
            _ => self.write(&format!("{mount}/data/{path}"), json!({ "data": secret })),
        };
    }

    /// Writes an ACL policy in HCL.
    pub fn policy(&self, name: &str, hcl: &str) {
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": hcl }));
    }

    fn enable_auth(&self, mount: &str, kind: &str) {
        self.write(&format!("sys/auth/{mount}"), json!({ "type": kind }));
    }

    /// Enables AppRole at a mount.
    pub fn enable_approle(&self, mount: &str) {
        self.enable_auth(mount, "approle");
    }

    /// Writes a role of AppRole.
    pub fn approle_role(&self, mount: &str, role: &str, settings: Value) {
        self.write(&format!("auth/{mount}/role/{role}"), settings);
    }

    /// Returns a role's role_id.
    pub fn role_id(&self, mount: &str, role: &str) -> String {
        text(&self.read(&format!("auth/{mount}/role/{role}/role-id")), "/data/role_id")
    }

    /// Creates a secret_id for a role.
    pub fn secret_id(&self, mount: &str, role: &str, settings: Value) -> String {
        text(
            &self.write(&format!("auth/{mount}/role/{role}/secret-id"), settings),
            "/data/secret_id",
        )
    }

    /// Creates a wrapped secret_id and returns the wrapping token.
    pub fn wrapped_secret_id(&self, mount: &str, role: &str, ttl: &str) -> String {
        let path = format!("auth/{mount}/role/{role}/secret-id");
        let headers = [("x-vault-token", self.token.as_str()), ("x-vault-wrap-ttl", ttl)];
        let (status, answer) = self.request_with("POST", &path, &headers, Some(json!({})));
        assert_eq!(status, 200, "POST {path}: {answer}");
        text(&answer, "/wrap_info/token")
    }

    /// Enables Vault's aws method at a mount, with settings for `config/client`, where AWS knows
    /// these keys. No real server has it.
    pub fn enable_aws(&self, mount: &str, client: Value, known: &[&AwsKeys]) {
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "aws" }));
        self.write(&format!("auth/{mount}/config/client"), client);
        self.aws_knows(mount, known);
    }

    /// Sets the keys that AWS knows, as far as the aws method at a mount can tell.
    pub fn aws_knows(&self, mount: &str, known: &[&AwsKeys]) {
        for keys in known {
            let body = json!({
                "secret_access_key": keys.secret_access_key,
                "session_token": keys.session_token,
                "arn": keys.arn,
            });
            self.write(&format!("auth/{mount}/test-only/keys/{}", keys.access_key_id), body);
        }
    }

    /// Writes a role of Vault's aws method.
    pub fn aws_role(&self, mount: &str, role: &str, settings: Value) {
        self.write(
            &format!("auth/{mount}/role/{role}"),
            merged(json!({ "auth_type": "iam" }), settings),
        );
    }

    /// Creates a token.
    pub fn create_token(&self, settings: Value) -> String {
        text(&self.write("auth/token/create", settings), "/auth/client_token")
    }

    /// Enables userpass at a mount.
    pub fn enable_userpass(&self, mount: &str) {
        self.enable_auth(mount, "userpass");
    }

    /// Writes a user of userpass; the settings contain the password.
    pub fn userpass_user(&self, mount: &str, name: &str, settings: Value) {
        self.write(&format!("auth/{mount}/users/{name}"), settings);
    }

    /// Enables LDAP at a mount, with a directory of names and their passwords, or with one that
    /// cannot be reached. Only our own server can be given a directory.
    pub fn enable_ldap(&self, mount: &str, directory: Option<&[(&str, &str)]>) {
        self.enable_auth(mount, "ldap");
        let names: Option<Map<String, Value>> = directory.map(|names| {
            names.iter().map(|&(name, password)| (name.to_owned(), password.into())).collect()
        });
        // Nothing listens on port 1.
        self.write(
            &format!("auth/{mount}/config"),
            json!({ "url": "ldap://127.0.0.1:1", "directory": names }),
        );
    }

    /// Sets what a user of the directory gets.
    pub fn ldap_user(&self, mount: &str, name: &str, settings: Value) {
        self.write(&format!("auth/{mount}/users/{name}"), settings);
    }

    /// Enables JWT at a mount, which trusts the signer.
    pub fn enable_jwt(&self, mount: &str, signer: &JwtSigner) {
        self.enable_auth(mount, "jwt");
        self.jwt_config(mount, signer, json!({}));
    }

    /// Configures what JWT at a mount trusts: the signer, and what the settings add.
    pub fn jwt_config(&self, mount: &str, signer: &JwtSigner, settings: Value) {
        let keys = json!({ "jwt_validation_pubkeys": [signer.public_key()] });
        self.write(&format!("auth/{mount}/config"), merged(keys, settings));
    }

    /// Writes a role of JWT, which is for the audience `vault` and names its users by `sub` unless
    /// the settings say otherwise.
    pub fn jwt_role(&self, mount: &str, role: &str, settings: Value) {
        let defaults =
            json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"] });
        self.write(&format!("auth/{mount}/role/{role}"), merged(defaults, settings));
    }

    /// Enables Kubernetes at a mount, which asks this cluster.
    pub fn enable_kubernetes(&self, mount: &str, api: &KubernetesApi) {
        self.enable_auth(mount, "kubernetes");
        // Without TLS the certificate is required but not used.
        let config = json!({
            "kubernetes_host": api.addr(), "disable_local_ca_jwt": true, "kubernetes_ca_cert": "no certificate",
        });
        self.write(&format!("auth/{mount}/config"), config);
    }

    /// Writes a role of Kubernetes, which is for the service account `app` in `default` unless the
    /// settings say otherwise.
    pub fn kubernetes_role(&self, mount: &str, role: &str, settings: Value) {
        let defaults = json!({ "bound_service_account_names": ["app"], "bound_service_account_namespaces": ["default"] });
        self.write(&format!("auth/{mount}/role/{role}"), merged(defaults, settings));
    }

    /// Enables certificates at a mount.
    pub fn enable_cert(&self, mount: &str) {
        self.enable_auth(mount, "cert");
    }

    /// Writes a role for the clients of a certificate: that of their CA, or their own.
    pub fn cert_role(&self, mount: &str, name: &str, certificate_pem: &str, settings: Value) {
        let certificate = json!({ "certificate": certificate_pem });
        self.write(&format!("auth/{mount}/certs/{name}"), merged(certificate, settings));
    }

    /// Enables GCP at a mount, which trusts this metadata server's key. Only our own server can be
    /// given one.
    pub fn enable_gcp(&self, mount: &str, metadata: &GcpMetadata) {
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "gcp" }));
        self.write(
            &format!("auth/{mount}/config"),
            json!({ "test_public_key": metadata.signer().public_key() }),
        );
    }

    /// Writes a role of GCP, of the type `gce` unless the settings say otherwise.
    pub fn gcp_role(&self, mount: &str, role: &str, settings: Value) {
        self.write(
            &format!("auth/{mount}/role/{role}"),
            merged(json!({ "type": "gce" }), settings),
        );
    }

    /// Enables Azure at a mount, for tokens of this resource that this metadata service signs. Only
    /// our own server can be given a key.
    pub fn enable_azure(&self, mount: &str, metadata: &AzureMetadata, resource: &str) {
        self.write(&format!("sys/auth/{mount}"), json!({ "type": "azure" }));
        self.azure_config(mount, metadata, resource);
    }

    /// Sets the resource and the signer of such a mount.
    pub fn azure_config(&self, mount: &str, metadata: &AzureMetadata, resource: &str) {
        let key = metadata.signer().public_key();
        let config = json!({ "tenant_id": AzureMetadata::TENANT, "resource": resource, "test_public_key": key });
        self.write(&format!("auth/{mount}/config"), config);
    }

    /// Writes a role of Azure, for the principal of the fixture unless the settings say otherwise.
    pub fn azure_role(&self, mount: &str, role: &str, settings: Value) {
        let defaults = json!({ "bound_service_principal_ids": [AzureMetadata::PRINCIPAL] });
        self.write(&format!("auth/{mount}/role/{role}"), merged(defaults, settings));
    }

    /// Enables transit at a mount.
    pub fn enable_transit(&self, mount: &str) {
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "transit" }));
    }

    /// Creates a key of transit.
    pub fn transit_key(&self, mount: &str, key: &str) {
        self.write(&format!("{mount}/keys/{key}"), json!({}));
    }

    /// Returns the ciphertext of a text.
    pub fn encrypt(&self, mount: &str, key: &str, plaintext: &str) -> String {
        let body = json!({ "plaintext": STANDARD.encode(plaintext) });
        text(&self.write(&format!("{mount}/encrypt/{key}"), body), "/data/ciphertext")
    }

    /// Enables PKI at a mount, with a CA that lasts longer than what it signs.
    pub fn enable_pki(&self, mount: &str) {
        let config = json!({ "max_lease_ttl": "87600h" });
        self.write(&format!("sys/mounts/{mount}"), json!({ "type": "pki", "config": config }));
        let root = json!({ "common_name": "test root", "ttl": "87600h", "key_type": "ec", "key_bits": 256 });
        self.write(&format!("{mount}/root/generate/internal"), root);
    }

    /// Writes a role of PKI, with a key type that is quick to generate unless the settings say
    /// otherwise.
    pub fn pki_role(&self, mount: &str, role: &str, settings: Value) {
        let settings = merged(json!({ "key_type": "ec", "key_bits": 256 }), settings);
        self.write(&format!("{mount}/roles/{role}"), settings);
    }

    /// Enables the database secrets engine with one role, whose settings may contain `default_ttl`
    /// and `max_ttl`. A real server needs a database for it; our own server does not use one.
    pub fn enable_database(
        &self,
        mount: &str,
        role: &str,
        settings: Value,
        postgres: Option<&Postgres>,
    ) {
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

    /// Writes another role of the database secrets engine.
    pub fn database_role(&self, mount: &str, role: &str, settings: Value) {
        let defaults = json!({
            "db_name": "postgres",
            "creation_statements": "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}'",
            "revocation_statements": "DROP ROLE IF EXISTS \"{{name}}\"",
        });
        self.write(&format!("{mount}/roles/{role}"), merged(defaults, settings));
    }

    /// Returns the ids of all leases below a path. On a real server the leases of a revoked token
    /// stay for a moment.
    pub fn leases(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.trim_end_matches('/');
        let (status, answer) =
            self.request("LIST", &format!("sys/leases/lookup/{prefix}"), Some(&self.token), None);
        assert!([200, 404].contains(&status), "LIST sys/leases/lookup/{prefix}: {status} {answer}");
        let keys =
            answer["data"]["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let below = |key: &str| match key.strip_suffix('/') {
            Some(folder) => self.leases(&format!("{prefix}/{folder}")),
            None => vec![format!("{prefix}/{key}")],
        };
        keys.flat_map(below).collect()
    }

    /// Waits until there are this many leases below a path, and returns those that there were at
    /// the end.
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

/// Returns whether this is what a new KV v2 mount answers for a moment on a real server.
fn is_upgrading((status, answer): &Reply) -> bool {
    let text = answer.pointer("/errors/0").and_then(Value::as_str).unwrap_or_default();
    *status == 400 && text.starts_with("Upgrading from non-versioned to versioned data")
}

/// Merges settings into the defaults.
pub(crate) fn merged(mut defaults: Value, settings: Value) -> Value {
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
        (
            name.parse::<hyper::header::HeaderName>().expect("a header's name"),
            value.parse().expect("a header's value"),
        )
    };
    headers.iter().map(pair).collect()
}

fn send(
    client: &Client,
    method: Method,
    url: &str,
    headers: HeaderMap,
    body: String,
) -> (u16, String) {
    let response = client.request(method, url).headers(headers).body(body).send();
    let response = response.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    (response.status().as_u16(), response.text().expect("an answer's body"))
}

fn trusting(ca: Option<&Path>, client: Option<&ClientCertificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        let pem = fs::read(ca).expect("the CA's file");
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.expect("a certificate")).expect("a CA's certificate");
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that ring knows")
        .with_root_certificates(roots);
    let mut config = match client {
        Some(client) => builder
            .with_client_auth_cert(client.chain(), client.private_key())
            .expect("a key that fits"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    config
}
