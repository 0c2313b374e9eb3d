//! LDAP, with its own directory: names and passwords, in the field `directory` of the
//! configuration. A real server has no such field and ignores it. Without a directory nothing can
//! be reached, as with a real server.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::grant::{TokenSettings, set};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

const WRONG: &str = "ldap operation failed: failed to bind as user";

#[derive(Default)]
struct Config {
    url: Option<String>,
    directory: Option<Map<String, Value>>,
    token: TokenSettings,
}

/// The configuration, and which policies belong to which name.
#[derive(Default)]
pub(crate) struct Ldap {
    config: Config,
    users: BTreeMap<String, Vec<String>>,
}

impl Engine for Ldap {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{Delete, List, Read, Write};
        let path = request.path.as_str();
        match (path.split_once('/').unwrap_or((path, "")), request.operation) {
            (("login", name), Write) => self.login(&normal(name), request),
            (("login", _), _) => Err(Failure::new(405, "unsupported operation")),
            (("config", ""), Write) => self.configure(request),
            (("config", ""), Read) => {
                Ok(Answer::data(self.config.token.describe_in(json!({ "url": self.url() }))))
            }
            (("users", ""), List) if self.users.is_empty() => Err(Failure::not_found()),
            (("users", ""), List) => {
                Ok(Answer::data(json!({ "keys": self.users.keys().collect::<Vec<_>>() })))
            }
            (("users", name), Read) => self.describe(&normal(name)),
            (("users", name), Write) => {
                self.users.insert(normal(name), request.list("policies").unwrap_or_default());
                Ok(Answer::empty())
            }
            (("users", name), Delete) => {
                self.users.remove(&normal(name));
                Ok(Answer::empty())
            }
            _ => Err(Failure::unsupported_path()),
        }
    }

    fn is_login(&self, path: &str) -> bool {
        path.strip_prefix("login/").is_some_and(|name| !name.is_empty())
    }

    fn login_name(&self, request: &Request) -> Result<Option<String>, Failure> {
        Ok(request.path.strip_prefix("login/").map(normal))
    }
}

/// Normalizes a name: lower case, without surrounding spaces.
fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

impl Ldap {
    fn url(&self) -> &str {
        self.config.url.as_deref().unwrap_or("ldap://127.0.0.1")
    }

    fn configure(&mut self, request: &Request) -> Outcome {
        set(&mut self.config.url, request.text("url").map(|url| Some(url.to_owned())));
        set(
            &mut self.config.directory,
            request.body.get("directory").map(|names| names.as_object().cloned()),
        );
        self.config.token.configure(request).map(|()| Answer::empty())
    }

    fn describe(&self, name: &str) -> Outcome {
        let policies = self.users.get(name).ok_or_else(Failure::not_found)?;
        Ok(Answer::data(json!({ "groups": "", "policies": policies })))
    }

    fn login(&self, name: &str, request: &Request) -> Outcome {
        self.config.token.check_origin()?;
        let password = request.text("password").unwrap_or_default();
        if password.is_empty() {
            let text = "password cannot be of zero length when passwordless binds are being denied";
            return Err(Failure::bad_request(text));
        }
        let directory = self.config.directory.as_ref().ok_or_else(|| self.unreachable())?;
        if directory.get(name).and_then(Value::as_str) != Some(password) {
            return Err(Failure::bad_credentials(WRONG));
        }
        let mut token = self.config.token.clone();
        token.grant.policies.extend(self.users.get(name).into_iter().flatten().cloned());
        let answer = token.login(name, json!({ "username": name }))?;
        Ok(answer.warn(
            "no LDAP groups found in groupDN \"\"; only policies from locally-defined groups \
             available",
        ))
    }

    /// Returns Go's error for a port on which nobody listens.
    fn unreachable(&self) -> Failure {
        let url = self.url();
        let host = url.strip_prefix("ldap://").unwrap_or(url);
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:389") };
        Failure::multierror(
            400,
            &format!(
                "error connecting to host \"{url}\": LDAP Result Code 200 \"Network Error\": dial \
                 tcp {address}: connect: connection refused"
            ),
        )
    }
}
