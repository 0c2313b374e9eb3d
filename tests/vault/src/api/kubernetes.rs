//! Kubernetes: asks the cluster whether a service account's token is valid.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::api::configured::{self, Method};
use crate::api::envelope::{Failure, Outcome};
use crate::api::glob;
use crate::api::grant::{TokenSettings, set};
use crate::api::jws::{self, Claims, Expected, Jws};
use crate::api::request::Request;
use crate::api::roles::{Role, Roles};

#[derive(Default)]
pub(crate) struct Config {
    host: String,
    ca_cert: String,
    reviewer_jwt: String,
    issuer: String,
    no_issuer_check: bool,
    no_local_files: bool,
    pems: Vec<String>,
    keys: Vec<Vec<u8>>,
}

impl configured::Config for Config {
    fn from(request: &Request) -> Result<Self, Failure> {
        let text = |key: &str| request.text(key).unwrap_or_default().to_owned();
        let (host, ca_cert) = (text("kubernetes_host"), text("kubernetes_ca_cert"));
        let no_local_files = request.flag("disable_local_ca_jwt").unwrap_or(false);
        if host.is_empty() {
            return Err(Failure::bad_request("no host provided"));
        }
        if ca_cert.is_empty() {
            // A server outside a cluster does not have this file either.
            let file = "open /var/run/secrets/kubernetes.io/serviceaccount/ca.crt: no such file \
                        or directory";
            let field = "kubernetes_ca_cert must be given when disable_local_ca_jwt is true";
            return Err(Failure::bad_request(if no_local_files { field } else { file }));
        }
        let pems = request.list("pem_keys").unwrap_or_default();
        let keys: Option<_> = pems.iter().map(|pem| jws::public_key(pem)).collect();
        let keys = keys
            .ok_or_else(|| Failure::bad_request("data does not contain any valid public keys"))?;
        let (reviewer_jwt, issuer) = (text("token_reviewer_jwt"), text("issuer"));
        let no_issuer_check = request.flag("disable_iss_validation").unwrap_or(true);
        Ok(Self {
            host,
            ca_cert,
            reviewer_jwt,
            issuer,
            no_issuer_check,
            no_local_files,
            pems,
            keys,
        })
    }

    fn describe(&self) -> Value {
        json!({
            "disable_iss_validation": self.no_issuer_check, "disable_local_ca_jwt": self.no_local_files,
            "issuer": self.issuer, "kubernetes_ca_cert": self.ca_cert, "kubernetes_host": self.host,
            "pem_keys": self.pems, "token_reviewer_jwt_set": !self.reviewer_jwt.is_empty(),
        })
    }
}

impl Config {
    /// Returns the claims of a token. Without keys only the cluster checks the signature.
    fn claims(&self, token: &str) -> Option<Claims> {
        if self.keys.is_empty() {
            return Jws::parse(token).ok().filter(Jws::is_signed).map(|jws| jws.claims);
        }
        jws::verified(token, &self.keys).ok()
    }

    /// Returns the cluster's answer about a token, if it gives one.
    fn review(&self, token: &str, audiences: &[String]) -> io::Result<Value> {
        let host = self.host.trim_start_matches("http://").trim_end_matches('/');
        let bearer = if self.reviewer_jwt.is_empty() { token } else { &self.reviewer_jwt };
        let body = json!({ "spec": { "token": token, "audiences": audiences } }).to_string();
        let mut stream = TcpStream::connect(host)?;
        write!(
            stream,
            "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\nHost: \
             {host}\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\nContent-Length: \
             {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        Ok(serde_json::from_str::<Value>(body)?["status"].take())
    }
}

/// The account that a token says it belongs to.
struct Account {
    namespace: String,
    name: String,
    uid: String,
}

impl Account {
    /// Reads the account from the claims. Old tokens have claims with other names, which no test
    /// uses.
    fn of(claims: &Claims) -> Self {
        let own = claims.get("kubernetes.io").cloned().unwrap_or_default();
        let text = |pointer: &str| {
            own.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Self {
            namespace: text("/namespace"),
            name: text("/serviceaccount/name"),
            uid: text("/serviceaccount/uid"),
        }
    }

    fn is_in(&self, status: &Value) -> bool {
        let user = format!("system:serviceaccount:{}:{}", self.namespace, self.name);
        status["authenticated"] == true
            && status["user"]["username"] == user
            && status["user"]["uid"] == self.uid
    }
}

#[derive(Clone, Default)]
pub(crate) struct KubernetesRole {
    names: Vec<String>,
    namespaces: Vec<String>,
    audience: String,
    token: TokenSettings,
}

impl Role for KubernetesRole {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        self.token.configure(request)?;
        set(&mut self.names, request.list("bound_service_account_names"));
        set(&mut self.namespaces, request.list("bound_service_account_namespaces"));
        set(&mut self.audience, request.text("audience").map(str::to_owned));
        let is_mixed = |list: &[String]| list.len() > 1 && list.iter().any(|item| item == "*");
        Err(Failure::bad_request(if self.names.is_empty() {
            "\"bound_service_account_names\" can not be empty"
        } else if self.namespaces.is_empty() {
            "\"bound_service_account_namespaces\" can not be empty if \
             \"bound_service_account_namespace_selector\" is not set"
        } else if is_mixed(&self.names) || is_mixed(&self.namespaces) {
            "can not mix \"*\" with values"
        } else {
            return Ok(());
        }))
    }

    fn describe(&self) -> Value {
        let mut data = json!({
            "alias_name_source": "serviceaccount_uid", "bound_service_account_names": self.names,
            "bound_service_account_namespace_selector": "", "bound_service_account_namespaces": self.namespaces,
        });
        if !self.audience.is_empty() {
            data["audience"] = self.audience.clone().into();
        }
        self.token.describe_in(data)
    }
}

pub(crate) struct Kubernetes;

impl Method for Kubernetes {
    type Config = Config;
    type Role = KubernetesRole;

    fn login(config: Option<&Config>, roles: &Roles<KubernetesRole>, request: &Request) -> Outcome {
        let field = |key: &str| {
            let text = request.text(key).filter(|text| !text.is_empty());
            text.ok_or_else(|| Failure::bad_request(format!("missing {key}")))
        };
        let (name, token) = (field("role")?, field("jwt")?);
        let no_role = || Failure::bad_request(format!("invalid role name \"{name}\""));
        let role = roles.get(name).ok_or_else(no_role)?;
        role.token.check_origin()?;
        let config =
            config.ok_or_else(|| Failure::new(500, "could not load backend configuration"))?;
        let claims = config.claims(token).ok_or_else(Failure::denied)?;
        let account = validated(config, role, &claims).map_err(|text| Failure::new(403, text))?;
        if account.uid.is_empty() {
            return Err(Failure::new(500, "could not parse UID from claims"));
        }
        let wanted = if role.audience.is_empty() {
            jws::audiences(&claims)
        } else {
            vec![role.audience.clone()]
        };
        let status = config.review(token, &wanted).map_err(|_| Failure::denied())?;
        if !account.is_in(&status) {
            return Err(Failure::denied());
        }
        let metadata = json!({
            "role": name,
            "service_account_name": account.name,
            "service_account_namespace": account.namespace,
            "service_account_secret_name": "",
            "service_account_uid": account.uid,
        });
        role.token.login(&format!("{}-{}", account.namespace, account.name), metadata)
    }
}

/// Checks that the role is for the account, before the cluster is asked about it.
fn validated(config: &Config, role: &KubernetesRole, claims: &Claims) -> Result<Account, String> {
    let issuer = if config.no_issuer_check { "" } else { &config.issuer };
    let audiences =
        if role.audience.is_empty() { &[][..] } else { std::slice::from_ref(&role.audience) };
    Expected { issuer, subject: "", audiences, may_lack_times: true }.check(claims)?;
    let account = Account::of(claims);
    if !glob::matches_any(&role.names, &account.name) {
        return Err("service account name not authorized".to_owned());
    }
    if !glob::matches_any(&role.namespaces, &account.namespace) {
        return Err("namespace not authorized".to_owned());
    }
    Ok(account)
}
