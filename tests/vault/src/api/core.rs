//! One request from its token to its answer, in Vault's order of steps.

use uuid::Uuid;

use crate::api::envelope::{Answer, Failure, Outcome, Rendered};
use crate::api::leases::Leases;
use crate::api::lockout::Lockout;
use crate::api::mounts::Mounts;
use crate::api::namespaces::Namespaces;
use crate::api::policy::{Acl, Policies};
use crate::api::request::{Operation, Request};
use crate::api::sys;
use crate::api::tokens::{self, Grant, Token, Tokens};
use crate::api::wrapping::Wrapping;

const USED_UP: &str = "Secret cannot be returned; token had one use left, so leased credentials \
                       were immediately revoked.";

/// Whose texts the server uses if the two differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OpenBao, which a real server is compared with.
    #[default]
    OpenBao,
    /// HashiCorp Vault: `mount_type` in the envelope, "invalid token" beside "permission denied".
    /// Its free edition has no namespaces and ignores their header.
    Vault,
}

/// Everything that the server knows.
pub(crate) struct Core {
    pub(crate) flavour: Flavour,
    pub(crate) sealed: bool,
    pub(crate) unseal_key: String,
    pub(crate) root_token: String,
    pub(crate) namespaces: Namespaces,
    pub(crate) mounts: Mounts,
    pub(crate) policies: Policies,
    pub(crate) tokens: Tokens,
    pub(crate) leases: Leases,
    pub(crate) wrapping: Wrapping,
    lockout: Lockout,
}

impl Core {
    pub(crate) fn new(flavour: Flavour) -> Self {
        let mut tokens = Tokens::default();
        let policies = vec!["root".to_owned()];
        let (display_name, path) = ("root".to_owned(), "auth/token/root".to_owned());
        let root = tokens.issue(Grant { policies, display_name, path, ..Grant::default() });
        Self {
            flavour,
            sealed: false,
            unseal_key: Uuid::new_v4().simple().to_string(),
            root_token: root.id,
            namespaces: Namespaces::default(),
            mounts: Mounts::default(),
            policies: Policies::default(),
            tokens,
            leases: Leases::default(),
            wrapping: Wrapping::default(),
            lockout: Lockout::default(),
        }
    }

    pub(crate) fn handle(&mut self, request: &Request) -> Rendered {
        self.leases.drop_dead(&self.tokens);
        let outcome =
            self.placed(request).and_then(|request| Ok((self.dispatch(&request)?, request)));
        match outcome {
            Err(failure) => Rendered::failure(&failure),
            Ok((answer, request)) => self.finish(&request, answer),
        }
    }

    /// Returns the request in its namespace.
    fn placed(&self, request: &Request) -> Result<Request, Failure> {
        let header = if self.flavour == Flavour::Vault { "" } else { request.header.as_str() };
        if sys::is_about_server(&request.path) {
            return Ok(request.clone());
        }
        if sys::is_of_root(&request.path) && !header.is_empty() {
            return Err(Failure::bad_request("operation unavailable in namespaces"));
        }
        if self.sealed {
            return Ok(request.clone());
        }
        let placed = self.namespaces.resolve(header, &request.path);
        let (namespace, path) = placed.ok_or_else(|| Failure::new(404, "namespace not found"))?;
        if sys::is_of_root(&path) && !namespace.is_root() {
            return Err(Failure::bad_request("operation only available in root namespace"));
        }
        let at_home = request
            .token
            .as_ref()
            .and_then(|id| self.tokens.get(id))
            .filter(|_| tokens::is_self(&path));
        let namespace = at_home.map_or(namespace, |token| token.namespace().clone());
        Ok(Request { path, namespace, ..request.clone() })
    }

    fn finish(&mut self, request: &Request, answer: Answer) -> Rendered {
        let wrappable = answer.verbatim.is_none();
        let accessor = answer.accessor.clone();
        let kind =
            self.mounts.find(&request.namespace, &request.path).map_or("", |mount| &mount.kind);
        let rendered = Rendered::answer(answer, self.flavour, kind);
        match request.wrap_ttl.filter(|_| wrappable) {
            Some(ttl) => self.wrapping.wrap(request, ttl, rendered, accessor),
            None => rendered,
        }
    }

    fn dispatch(&mut self, request: &Request) -> Outcome {
        if let Some(outcome) = sys::even_sealed(self, request) {
            return outcome;
        }
        if self.sealed {
            return Err(Failure::new(503, "Vault is sealed"));
        }
        if let Some(outcome) = sys::without_token(self, request) {
            return outcome;
        }
        match self.mounts.engine(&request.namespace, &request.path) {
            Some((mount, engine)) if engine.is_login(&request.path[mount.len()..]) => {
                self.login(request)
            }
            _ => self.authenticated(request),
        }
    }

    fn login(&mut self, request: &Request) -> Outcome {
        let (mount, engine) =
            self.mounts.engine(&request.namespace, &request.path).ok_or_else(Failure::denied)?;
        let mount = mount.to_owned();
        let locked = format!("{}{mount}", request.namespace.path);
        let request = request.below(&mount);
        let name = engine.login_name(&request)?;
        if name.as_ref().is_some_and(|name| self.lockout.is_locked(&locked, name)) {
            return Err(Failure::denied());
        }
        let outcome = engine.handle(&request);
        self.count_login(&locked, name, &outcome);
        let answer = outcome?;
        match answer.grant {
            Some(grant) => {
                let display_name = display_name(&locked, &grant.display_name);
                let path = format!("{mount}{}", request.path);
                Ok(self.tokens.hand_out(Grant {
                    display_name,
                    path,
                    namespace: request.namespace,
                    ..grant
                }))
            }
            None => Ok(answer),
        }
    }

    fn count_login(&mut self, mount: &str, name: Option<String>, outcome: &Outcome) {
        match (name, outcome) {
            (Some(name), Ok(_)) => self.lockout.succeeded(mount, &name),
            (Some(name), Err(failure)) if failure.bad_credentials => {
                self.lockout.failed(mount, &name);
            }
            _ => {}
        }
    }

    /// Handles a request with a token. Even a refused request consumes a use of its token, and a
    /// wrapping token has only one, whatever the request is.
    pub(crate) fn authenticated(&mut self, request: &Request) -> Outcome {
        if request.token.as_ref().is_some_and(|token| self.wrapping.spend(token)) {
            return Err(Failure::multierror(403, "permission denied"));
        }
        let caller = self.caller(request)?.clone();
        self.tokens.take_use(&caller.id);
        let acl = self.policies.acl(&caller);
        if !self.allowed(request, &acl) {
            return Err(Failure::multierror(403, "permission denied"));
        }
        if request.operation == Operation::Write && request.path.ends_with('/') {
            return Err(Failure::bad_request("cannot write to a path ending in '/'"));
        }
        self.route(request, &caller, &acl)
    }

    /// Returns the token that a request comes with, if it is valid.
    pub(crate) fn caller(&self, request: &Request) -> Result<&Token, Failure> {
        let bad_token = match (self.flavour, &request.token) {
            (Flavour::Vault, Some(_)) => {
                "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
            }
            _ => "permission denied",
        };
        let token = request.token.as_ref().and_then(|id| self.tokens.get(id));
        token.ok_or_else(|| Failure::new(403, bad_token))
    }

    fn allowed(&mut self, request: &Request, acl: &Acl) -> bool {
        let path = &request.full_path();
        let sudo = !sys::needs_sudo(&request.path) || acl.allows("sudo", path);
        sudo && match request.operation {
            Operation::Read => acl.allows("read", path),
            Operation::List => acl.allows_list(path),
            Operation::Delete => acl.allows("delete", path),
            Operation::Write if self.creates(request) => acl.allows("create", path),
            Operation::Write => acl.allows("update", path),
        }
    }

    fn creates(&mut self, Request { namespace, path, .. }: &Request) -> bool {
        let found = self.mounts.engine(namespace, path);
        found.is_some_and(|(mount, engine)| engine.exists(&path[mount.len()..]) == Some(false))
    }

    fn route(&mut self, request: &Request, caller: &Token, acl: &Acl) -> Outcome {
        if request.path.starts_with("auth/token/") {
            return tokens::handle(&mut self.tokens, &request.below("auth/token/"), caller, acl);
        }
        if request.path.starts_with("sys/") {
            return sys::handle(self, &request.below("sys/"));
        }
        let Some((mount, engine)) = self.mounts.engine(&request.namespace, &request.path) else {
            let text = format!("no handler for route \"{}\". route entry not found.", request.path);
            return Err(Failure::new(404, text));
        };
        let answer = engine.handle(&request.below(mount))?;
        self.lease(request, caller, answer)
    }

    /// Makes the lease of an answer. Leases end with their token, and a token that this very
    /// request has used up cannot have any.
    fn lease(&mut self, request: &Request, caller: &Token, mut answer: Answer) -> Outcome {
        let Some(terms) = answer.terms.take() else { return Ok(answer) };
        let token = self.tokens.get(&caller.id).ok_or_else(|| Failure::bad_request(USED_UP))?;
        Ok(self.leases.grant(request, token, terms, answer))
    }
}

/// Returns a token's name: that of its mount, and of who logged in if the auth method knows a name.
fn display_name(mount: &str, name: &str) -> String {
    let mount =
        mount.strip_prefix("auth/").unwrap_or(mount).trim_end_matches('/').replace('/', "-");
    if name.is_empty() { mount } else { format!("{mount}-{name}") }
}
