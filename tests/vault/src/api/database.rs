//! The database secrets engine without a database: each read makes up another user.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::json;
use uuid::Uuid;

use crate::api::clock::{self, DEFAULT_TTL};
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::kv1::keys_below;
use crate::api::leases::Terms;
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

struct Role {
    connection: String,
    default_ttl: Duration,
    max_ttl: Duration,
}

impl Role {
    fn new(request: &Request) -> Self {
        let duration =
            |key| request.duration(key).filter(|ttl| !ttl.is_zero()).unwrap_or(DEFAULT_TTL);
        Self {
            connection: request.text("db_name").unwrap_or_default().to_owned(),
            default_ttl: duration("default_ttl"),
            max_ttl: duration("max_ttl"),
        }
    }

    fn terms(&self) -> Terms {
        Terms { ttl: self.default_ttl, max_ttl: self.max_ttl, renewable: true }
    }
}

/// The roles, and for each connection those that may use it.
#[derive(Default)]
pub(crate) struct Database {
    allowed: BTreeMap<String, Vec<String>>,
    roles: BTreeMap<String, Role>,
}

impl Engine for Database {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{Delete, List, Read, Write};
        let (area, name) = request.path.split_once('/').unwrap_or((&request.path, ""));
        match (area, request.operation) {
            ("creds", Read) => self.creds(name),
            ("config", Write) => {
                self.allowed
                    .insert(name.to_owned(), request.list("allowed_roles").unwrap_or_default());
                Ok(Answer::empty())
            }
            ("roles", Write) => {
                self.roles.insert(name.to_owned(), Role::new(request));
                Ok(Answer::empty())
            }
            ("roles", Delete) => {
                self.roles.remove(name);
                Ok(Answer::empty())
            }
            ("roles", List) => keys_below(name, self.roles.keys()),
            ("creds" | "config" | "roles", _) => Err(Failure::unsupported_operation()),
            _ => Err(Failure::unsupported_path()),
        }
    }
}

impl Database {
    fn creds(&self, name: &str) -> Outcome {
        let unknown = || Failure::bad_request(format!("unknown role: {name}"));
        let role = self.roles.get(name).ok_or_else(unknown)?;
        self.check(name, &role.connection)?;
        let (username, password) = (username(name), random(20));
        Ok(Answer::leased(json!({ "username": username, "password": password }), role.terms()))
    }

    fn check(&self, role: &str, connection: &str) -> Result<(), Failure> {
        let text = match self.allowed.get(connection) {
            Some(allowed) if allowed.iter().any(|name| name == "*" || name == role) => {
                return Ok(());
            }
            Some(_) => format!("{role:?} is not an allowed role"),
            None => format!("failed to find entry for connection with name: {connection:?}"),
        };
        Err(Failure::multierror(500, &text))
    }
}

fn username(role: &str) -> String {
    let role: String = role.chars().take(8).collect();
    format!("v-token-{role}-{}-{}", random(20), clock::unix(SystemTime::now()))
}

fn random(length: usize) -> String {
    Uuid::new_v4().simple().to_string()[..length].to_owned()
}
