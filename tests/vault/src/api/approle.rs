//! AppRole.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::grant::{TokenSettings, lets_in, set};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

const WRONG: &str = "invalid role or secret ID";

struct SecretId {
    accessor: String,
    /// Zero means no limit.
    uses_left: u64,
    expires: Option<Instant>,
    metadata: Map<String, Value>,
}

impl SecretId {
    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }
}

#[allow(clippy::struct_field_names)] // A role_id is what Vault calls it.
struct Role {
    role_id: String,
    bind_secret_id: bool,
    secret_id_num_uses: u64,
    secret_id_ttl: Duration,
    /// Where logins may come from.
    bound_cidrs: Vec<String>,
    token: TokenSettings,
    secret_ids: HashMap<String, SecretId>,
}

impl Role {
    fn new() -> Self {
        Self {
            role_id: Uuid::new_v4().to_string(),
            bind_secret_id: true,
            secret_id_num_uses: 0,
            secret_id_ttl: Duration::ZERO,
            bound_cidrs: Vec::new(),
            token: TokenSettings::default(),
            secret_ids: HashMap::new(),
        }
    }

    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        set(&mut self.bind_secret_id, request.flag("bind_secret_id"));
        set(&mut self.secret_id_num_uses, request.number("secret_id_num_uses"));
        set(&mut self.secret_id_ttl, request.duration("secret_id_ttl"));
        set(&mut self.bound_cidrs, request.list("secret_id_bound_cidrs"));
        set(&mut self.role_id, request.text("role_id").map(str::to_owned));
        let token = self.token.configure(request);
        if !self.bind_secret_id && self.bound_cidrs.is_empty() && self.token.bound_cidrs.is_empty()
        {
            return Err(Failure::multierror(
                500,
                "at least one constraint should be enabled on the role",
            ));
        }
        token
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": false,
            "secret_id_bound_cidrs": if self.bound_cidrs.is_empty() { Value::Null } else { json!(self.bound_cidrs) },
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl.as_secs(),
        }))
    }

    /// Adds a secret_id. `num_uses` and `ttl` in the body can only lower what the role says.
    fn add_secret_id(&mut self, secret_id: String, request: &Request) -> Outcome {
        if !self.bind_secret_id {
            return Err(Failure::bad_request("bind_secret_id is not set on the role"));
        }
        let Some(uses) = lowered(self.secret_id_num_uses, request.number("num_uses"), 0) else {
            return Err(Failure::bad_request(
                "num_uses cannot be higher than the role's secret_id_num_uses",
            ));
        };
        let Some(ttl) = lowered(self.secret_id_ttl, request.duration("ttl"), Duration::ZERO) else {
            return Err(Failure::bad_request("ttl cannot be longer than the role's secret_id_ttl"));
        };
        let metadata = request
            .text("metadata")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let accessor = Uuid::new_v4().to_string();
        let expires = (!ttl.is_zero()).then(|| Instant::now() + ttl);
        let data = json!({
            "secret_id": secret_id,
            "secret_id_accessor": accessor,
            "secret_id_num_uses": uses,
            "secret_id_ttl": ttl.as_secs(),
        });
        let entry = SecretId { accessor: accessor.clone(), uses_left: uses, expires, metadata };
        self.secret_ids.insert(secret_id, entry);
        Ok(Answer { accessor: Some(accessor), ..Answer::data(data) })
    }

    /// Consumes one use of the secret_id, which ends with its last use, and returns its metadata.
    fn take(&mut self, secret_id: &str) -> Result<Map<String, Value>, Failure> {
        self.secret_ids.retain(|_, entry| !entry.has_expired());
        let entry =
            self.secret_ids.get_mut(secret_id).ok_or_else(|| Failure::bad_credentials(WRONG))?;
        let metadata = entry.metadata.clone();
        match entry.uses_left {
            0 => {}
            1 => drop(self.secret_ids.remove(secret_id)),
            _ => entry.uses_left -= 1,
        }
        Ok(metadata)
    }

    fn check_origin(&self) -> Result<(), Failure> {
        if lets_in(&self.bound_cidrs) {
            return Ok(());
        }
        // Including Go's formatting bug.
        let text = "source address \"127.0.0.1\" unauthorized by CIDR restrictions on the role: \
                    %!w(<nil>)";
        Err(Failure::bad_request(text))
    }
}

/// Roles with their secret_ids.
#[derive(Default)]
pub(crate) struct AppRole(BTreeMap<String, Role>);

impl Engine for AppRole {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{List, Read, Write};
        let segments: Vec<&str> = request.path.trim_end_matches('/').split('/').collect();
        match (segments.as_slice(), request.operation) {
            (["login"], Write) => self.login(request),
            (["login"], _) => Err(Failure::new(405, "unsupported operation")),
            (["role"], List) if self.0.is_empty() => Err(Failure::not_found()),
            (["role"], List) => {
                Ok(Answer::data(json!({ "keys": self.0.keys().collect::<Vec<_>>() })))
            }
            (["role", name], _) => self.role(name, request),
            (["role", name, "role-id"], Read) => {
                Ok(Answer::data(json!({ "role_id": self.known(name)?.role_id })))
            }
            (["role", name, "role-id"], Write) => self.set_role_id(name, request),
            (["role", name, "secret-id"], List) => self.accessors(name),
            (["role", name, "secret-id"], Write) => {
                self.writable(name)?.add_secret_id(Uuid::new_v4().to_string(), request)
            }
            (["role", name, "custom-secret-id"], Write) => self.custom_secret_id(name, request),
            (["role", name, "secret-id", "destroy"], Write) => self.destroy(name, request),
            _ => Err(Failure::unsupported_path()),
        }
    }

    fn is_login(&self, path: &str) -> bool {
        path == "login"
    }

    fn login_name(&self, request: &Request) -> Result<Option<String>, Failure> {
        match request.text("role_id").unwrap_or_default().trim() {
            // The lookup of the name that may be locked out fails before AppRole is asked, hence
            // the status.
            "" => Err(Failure::new(500, "missing role_id")),
            role_id => Ok(Some(role_id.to_owned())),
        }
    }

    fn exists(&self, path: &str) -> Option<bool> {
        let name = path.strip_prefix("role/").filter(|name| !name.contains('/'))?;
        Some(self.0.contains_key(&key(name)))
    }
}

impl AppRole {
    fn login(&mut self, request: &Request) -> Outcome {
        let role_id = request.text("role_id").unwrap_or_default().trim();
        let found = self.0.iter_mut().find(|(_, role)| role.role_id == role_id);
        // A role_id that does not exist locks nothing out.
        let (name, role) = found.ok_or_else(|| Failure::bad_request(WRONG))?;
        let mut metadata = Map::new();
        if role.bind_secret_id {
            let secret_id = request.text("secret_id").unwrap_or_default().trim();
            if secret_id.is_empty() {
                return Err(Failure::bad_request("missing secret_id"));
            }
            metadata = role.take(secret_id)?;
        }
        role.check_origin()?;
        metadata.insert("role_name".to_owned(), name.clone().into());
        role.token.login("", Value::Object(metadata))
    }

    fn role(&mut self, name: &str, request: &Request) -> Outcome {
        match request.operation {
            Operation::Write => {
                let mut role = self.0.remove(&key(name)).unwrap_or_else(Role::new);
                let outcome = role.configure(request);
                self.0.insert(key(name), role);
                outcome.map(|()| Answer::empty())
            }
            Operation::Read => Ok(Answer::data(self.known(name)?.describe())),
            Operation::Delete => {
                self.0.remove(&key(name));
                Ok(Answer::empty())
            }
            Operation::List => Err(Failure::unsupported_operation()),
        }
    }

    fn known(&self, name: &str) -> Result<&Role, Failure> {
        self.0.get(&key(name)).ok_or_else(Failure::not_found)
    }

    fn writable(&mut self, name: &str) -> Result<&mut Role, Failure> {
        self.0
            .get_mut(&key(name))
            .ok_or_else(|| Failure::new(404, format!("role \"{name}\" does not exist")))
    }

    fn set_role_id(&mut self, name: &str, request: &Request) -> Outcome {
        let role_id = request
            .text("role_id")
            .ok_or_else(|| Failure::bad_request("missing role_id"))?
            .to_owned();
        self.writable(name)?.role_id = role_id;
        Ok(Answer::empty())
    }

    fn accessors(&self, name: &str) -> Outcome {
        let accessors: Vec<_> =
            self.known(name)?.secret_ids.values().map(|entry| &entry.accessor).collect();
        if accessors.is_empty() {
            Err(Failure::not_found())
        } else {
            Ok(Answer::data(json!({ "keys": accessors })))
        }
    }

    fn custom_secret_id(&mut self, name: &str, request: &Request) -> Outcome {
        let secret_id = request.text("secret_id").filter(|text| !text.is_empty());
        let secret_id = secret_id.ok_or_else(|| Failure::bad_request("missing secret_id"))?;
        let role = self.writable(name)?;
        if role.secret_ids.contains_key(secret_id) {
            return Err(Failure::multierror(
                500,
                "failed to store secret_id: SecretID is already registered",
            ));
        }
        role.add_secret_id(secret_id.to_owned(), request)
    }

    fn destroy(&mut self, name: &str, request: &Request) -> Outcome {
        let secret_id = request.text("secret_id").unwrap_or_default().to_owned();
        self.writable(name)?.secret_ids.remove(&secret_id);
        Ok(Answer::empty())
    }
}

/// Returns the key of a role: its name in lower case.
fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Returns the requested value, if it is no more than the role allows.
fn lowered<T: PartialOrd + Copy>(of_role: T, asked: Option<T>, unlimited: T) -> Option<T> {
    match asked {
        None => Some(of_role),
        Some(asked) if of_role == unlimited || (asked != unlimited && asked <= of_role) => {
            Some(asked)
        }
        Some(_) => None,
    }
}
