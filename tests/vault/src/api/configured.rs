//! Auth methods of the usual kind: one configuration, roles by name, and a login that names its
//! role.

use serde_json::Value;

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};
use crate::api::roles::{Role, Roles};

/// The content of `config`.
pub(crate) trait Config: Send + Sized {
    fn from(request: &Request) -> Result<Self, Failure>;

    fn describe(&self) -> Value;
}

/// What is specific to the method.
pub(crate) trait Method {
    type Config: Config;
    type Role: Role + Send;

    fn login(
        config: Option<&Self::Config>,
        roles: &Roles<Self::Role>,
        request: &Request,
    ) -> Outcome;
}

/// A method with its configuration and roles.
pub(crate) struct Configured<M: Method> {
    config: Option<M::Config>,
    roles: Roles<M::Role>,
}

impl<M: Method> Default for Configured<M> {
    fn default() -> Self {
        Self { config: None, roles: Roles::default() }
    }
}

impl<M: Method> Engine for Configured<M> {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{Read, Write};
        match (request.path.split_once('/').unwrap_or((&request.path, "")), request.operation) {
            (("login", ""), Write) => M::login(self.config.as_ref(), &self.roles, request),
            (("login", ""), _) => Err(Failure::new(405, "unsupported operation")),
            (("config", ""), Read) => self
                .config
                .as_ref()
                .map(|config| Answer::data(config.describe()))
                .ok_or_else(Failure::not_found),
            (("config", ""), Write) => {
                self.config = Some(<M::Config as Config>::from(request)?);
                Ok(Answer::empty())
            }
            (("role", name), _) => self.roles.handle(name, request),
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
