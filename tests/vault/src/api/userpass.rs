//! Userpass.

use serde_json::{Value, json};

use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::grant::TokenSettings;
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};
use crate::api::roles::{Role, Roles, is_name};

const WRONG: &str = "invalid username or password";

#[derive(Clone, Default)]
struct User {
    password: String,
    token: TokenSettings,
}

impl Role for User {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        if let Some(password) = request.text("password") {
            password.clone_into(&mut self.password);
        }
        if self.password.is_empty() {
            return Err(no_password());
        }
        self.token.configure(request)
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({}))
    }
}

fn no_password() -> Failure {
    Failure::bad_request("must provide either password or password_hash")
}

#[derive(Default)]
pub(crate) struct UserPass(Roles<User>);

impl Engine for UserPass {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::Write;
        let segments: Vec<&str> = request.path.split('/').collect();
        match (segments.as_slice(), request.operation) {
            (["login", name], Write) if is_name(name) => self.login(&name.to_lowercase(), request),
            (["login", name], _) if is_name(name) => {
                Err(Failure::new(405, "unsupported operation"))
            }
            // A caller without a token gets it without the heading.
            (["login", ..], _) => Err(Failure::new(404, "unsupported path")),
            (["users", name], _) => self.0.handle(name, request),
            (["users", name, "password"], Write) => self.change_password(name, request),
            (["users", name, "policies"], Write) => {
                self.known(name)?.token.configure(request).map(|()| Answer::empty())
            }
            _ => Err(Failure::unsupported_path()),
        }
    }

    fn is_login(&self, path: &str) -> bool {
        path.strip_prefix("login/").is_some_and(|name| !name.is_empty())
    }

    fn login_name(&self, request: &Request) -> Result<Option<String>, Failure> {
        Ok(request.path.strip_prefix("login/").map(str::to_lowercase))
    }

    fn exists(&self, path: &str) -> Option<bool> {
        self.0.exist("users/", path)
    }
}

impl UserPass {
    fn login(&self, name: &str, request: &Request) -> Outcome {
        let password = request.text("password").unwrap_or_default();
        if password.is_empty() {
            return Err(Failure::new(500, "missing password"));
        }
        // A user who does not exist is not locked out.
        let user = self.0.get(name).ok_or_else(|| Failure::bad_request(WRONG))?;
        if user.password != password {
            return Err(Failure::bad_credentials(WRONG));
        }
        user.token.check_origin()?;
        user.token.login(name, json!({ "username": name }))
    }

    fn change_password(&mut self, name: &str, request: &Request) -> Outcome {
        let user = self.known(name)?;
        let password = request.text("password").filter(|password| !password.is_empty());
        password.ok_or_else(no_password)?.clone_into(&mut user.password);
        Ok(Answer::empty())
    }

    fn known(&mut self, name: &str) -> Result<&mut User, Failure> {
        self.0.get_mut(name).ok_or_else(|| Failure::multierror(500, "username does not exist"))
    }
}
