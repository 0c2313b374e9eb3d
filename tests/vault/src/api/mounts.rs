//! What is mounted where.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::approle::AppRole;
use crate::api::aws::Aws;
use crate::api::azure::Azure;
use crate::api::cert::Cert;
use crate::api::configured::Configured;
use crate::api::database::Database;
use crate::api::envelope::{Failure, Outcome};
use crate::api::gcp::Gcp;
use crate::api::jwt::Jwt;
use crate::api::kubernetes::Kubernetes;
use crate::api::kv1::KvV1;
use crate::api::kv2::KvV2;
use crate::api::ldap::Ldap;
use crate::api::namespaces::Namespace;
use crate::api::pki::Pki;
use crate::api::request::Request;
use crate::api::transit::Transit;
use crate::api::userpass::UserPass;

/// A secrets engine or an auth method. The paths that it sees are relative to its mount.
pub(crate) trait Engine: Send {
    fn handle(&mut self, request: &Request) -> Outcome;

    /// Returns whether a path is for callers who have no token yet.
    fn is_login(&self, _path: &str) -> bool {
        false
    }

    /// Returns the name that a failed login counts against.
    fn login_name(&self, _request: &Request) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    /// Returns whether something exists at a path, for engines that distinguish `create` from
    /// `update`.
    fn exists(&self, _path: &str) -> Option<bool> {
        None
    }
}

/// Returns the engine of a type, and whether it is an auth method.
pub(crate) fn engine(kind: &str, options: &Map<String, Value>) -> Option<Box<dyn Engine>> {
    let version = options.get("version").and_then(Value::as_str);
    Some(match (kind, version) {
        ("kv", Some("2")) => Box::new(KvV2::default()),
        ("kv", _) => Box::new(KvV1::default()),
        ("approle", _) => Box::new(AppRole::default()),
        ("cert", _) => Box::new(Cert::default()),
        ("aws", _) => Box::new(Aws::default()),
        ("database", _) => Box::new(Database::default()),
        ("jwt", _) => Box::new(Configured::<Jwt>::default()),
        ("kubernetes", _) => Box::new(Configured::<Kubernetes>::default()),
        ("ldap", _) => Box::new(Ldap::default()),
        ("azure", _) => Box::new(Configured::<Azure>::default()),
        ("gcp", _) => Box::new(Configured::<Gcp>::default()),
        ("pki", _) => Box::new(Pki::default()),
        ("transit", _) => Box::new(Transit::default()),
        ("userpass", _) => Box::new(UserPass::default()),
        _ => return None,
    })
}

/// One mount. `path` is relative to its namespace and ends in a slash, and that of an auth method
/// begins with `auth/`.
pub(crate) struct Mount {
    pub(crate) namespace: Namespace,
    pub(crate) path: String,
    pub(crate) kind: String,
    /// `None` for mounts that the core itself serves.
    pub(crate) engine: Option<Box<dyn Engine>>,
    description: String,
    options: Value,
    accessor: String,
    uuid: String,
}

impl Mount {
    /// Returns what the server reports about a mount.
    pub(crate) fn describe(&self) -> Value {
        json!({
            "accessor": self.accessor,
            "config": { "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 },
            "deprecation_status": "supported",
            "description": self.description,
            "external_entropy_access": false,
            "local": false,
            "options": self.options,
            "plugin_version": "",
            "running_plugin_version": "v2.6.2+builtin.bao",
            "running_sha256": "",
            "seal_wrap": false,
            "type": self.kind,
            "uuid": self.uuid,
        })
    }

    /// Returns the path from the root namespace.
    pub(crate) fn full_path(&self) -> String {
        format!("{}{}", self.namespace.path, self.path)
    }

    pub(crate) fn is_auth(&self) -> bool {
        self.path.starts_with("auth/")
    }
}

/// The mounts: within a namespace, none has a path that begins with another's.
pub(crate) struct Mounts(Vec<Mount>);

impl Default for Mounts {
    /// Returns the mounts of a new server in dev mode.
    fn default() -> Self {
        let mut mounts = Self(Vec::new());
        let root = Namespace::default();
        mounts.furnish(&root);
        let options = json!({ "version": "2" });
        mounts.insert(
            &root,
            "secret/",
            "kv",
            "key/value secret storage",
            options,
            Some(Box::new(KvV2::default())),
        );
        mounts
    }
}

impl Mounts {
    /// Adds the mounts that every namespace has.
    pub(crate) fn furnish(&mut self, namespace: &Namespace) {
        let prefix = if namespace.is_root() { "" } else { "ns_" };
        for (path, kind) in [
            ("auth/token/", "token"),
            ("cubbyhole/", "cubbyhole"),
            ("identity/", "identity"),
            ("sys/", "system"),
        ] {
            if self.of(namespace).all(|mount| mount.path != path) {
                self.insert(namespace, path, &format!("{prefix}{kind}"), "", Value::Null, None);
            }
        }
    }

    /// Unmounts everything in a namespace.
    pub(crate) fn clear(&mut self, namespace: &Namespace) {
        self.0.retain(|mount| mount.namespace != *namespace);
    }

    fn insert(
        &mut self,
        namespace: &Namespace,
        path: &str,
        kind: &str,
        description: &str,
        options: Value,
        engine: Option<Box<dyn Engine>>,
    ) {
        let uuid = Uuid::new_v4().to_string();
        let auth = if path.starts_with("auth/") { "auth_" } else { "" };
        let accessor = format!("{auth}{kind}_{}", &uuid[..8]);
        let (path, kind, description) = (path.to_owned(), kind.to_owned(), description.to_owned());
        let namespace = namespace.clone();
        self.0.push(Mount { namespace, path, kind, engine, description, options, accessor, uuid });
        self.0.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// Handles `POST sys/mounts/<path>` and `POST sys/auth/<path>`; for the latter `path` includes
    /// `auth/`. It ends in a slash.
    pub(crate) fn enable(&mut self, path: &str, request: &Request) -> Result<(), Failure> {
        let mut options =
            request.body.get("options").and_then(Value::as_object).cloned().unwrap_or_default();
        let kind = request.text("type").unwrap_or_default();
        let kind = if kind == "kv-v2" {
            options.insert("version".to_owned(), "2".into());
            "kv"
        } else {
            kind
        };
        let namespace = &request.namespace;
        let mut others = self.of(namespace);
        if let Some(other) =
            others.find(|other| other.path.starts_with(path) || path.starts_with(&other.path))
        {
            let other = other.path.strip_prefix("auth/").unwrap_or(&other.path);
            return Err(Failure::bad_request(format!("path is already in use at {other}")));
        }
        let Some(engine) = engine(kind, &options) else {
            return Err(Failure::bad_request(format!("plugin not found in the catalog: {kind}")));
        };
        let description = request.text("description").unwrap_or_default();
        drop(others);
        self.insert(namespace, path, kind, description, Value::Object(options), Some(engine));
        Ok(())
    }

    pub(crate) fn disable(&mut self, namespace: &Namespace, path: &str) {
        self.0.retain(|mount| {
            mount.namespace != *namespace || mount.path != path || mount.engine.is_none()
        });
    }

    /// Returns the mount that a path is below.
    pub(crate) fn find(&self, namespace: &Namespace, path: &str) -> Option<&Mount> {
        self.of(namespace)
            .find(|mount| path.starts_with(&mount.path) || format!("{path}/") == mount.path)
    }

    /// Returns the engine that serves a path, with the path of its mount.
    pub(crate) fn engine(
        &mut self,
        namespace: &Namespace,
        path: &str,
    ) -> Option<(&str, &mut Box<dyn Engine>)> {
        let mut own = self.0.iter_mut().filter(|mount| mount.namespace == *namespace);
        let mount = own.find(|mount| path.starts_with(&mount.path))?;
        Some((&mount.path, mount.engine.as_mut()?))
    }

    pub(crate) fn of(&self, namespace: &Namespace) -> impl Iterator<Item = &Mount> {
        self.0.iter().filter(move |mount| mount.namespace == *namespace)
    }

    /// Returns the path of a secrets engine that is at a folder or in it.
    pub(crate) fn at_or_below(&self, namespace: &Namespace, folder: &str) -> Option<&str> {
        self.of(namespace).map(|mount| mount.path.as_str()).find(|path| path.starts_with(folder))
    }
}
