//! The token store and `auth/token/…`.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::clock::{self, DEFAULT_TTL};
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::namespaces::Namespace;
use crate::api::policy::Acl;
use crate::api::request::{Operation, Request};

/// Service tokens are stored, have an accessor and can be revoked; batch tokens are not stored,
/// have none and cannot be revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Service,
    Batch,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }
}

/// What a token is to be made from.
#[derive(Clone, Default)]
pub(crate) struct Grant {
    pub(crate) id: Option<String>,
    pub(crate) policies: Vec<String>,
    pub(crate) no_default_policy: bool,
    /// Zero means the default, except for a root token, which then never ends.
    pub(crate) ttl: Duration,
    pub(crate) explicit_max_ttl: Duration,
    pub(crate) period: Duration,
    /// Zero means no limit.
    pub(crate) num_uses: u64,
    pub(crate) kind: Kind,
    pub(crate) not_renewable: bool,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) display_name: String,
    pub(crate) path: String,
    pub(crate) parent: Option<String>,
    pub(crate) entity_id: String,
    /// The namespace that it belongs to.
    pub(crate) namespace: Namespace,
}

impl Grant {
    fn all_policies(&self) -> Vec<String> {
        let mut policies: Vec<String> =
            self.policies.iter().map(|name| name.to_lowercase()).collect();
        let root = policies.iter().any(|name| name == "root");
        if !root && !self.no_default_policy {
            policies.push("default".to_owned());
        }
        policies.sort();
        policies.dedup();
        policies
    }
}

/// An issued token.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) id: String,
    pub(crate) policies: Vec<String>,
    pub(crate) kind: Kind,
    pub(crate) accessor: String,
    grant: Grant,
    /// Zero means no limit, and -1 is what Vault shows while the last use is under way.
    uses_left: i64,
    created: SystemTime,
    ttl: Duration,
    expires: Option<Instant>,
}

impl Token {
    fn new(grant: Grant) -> Self {
        let policies = grant.all_policies();
        let root = policies.iter().any(|name| name == "root");
        let ttl = lifetime(&grant, root);
        let (prefix, accessor) = match grant.kind {
            Kind::Service => ("s.", new_accessor() + &grant.namespace.suffix()),
            Kind::Batch => ("b.", String::new()),
        };
        Self {
            id: grant.id.clone().unwrap_or_else(|| new_id(prefix)) + &grant.namespace.suffix(),
            policies,
            kind: grant.kind,
            accessor,
            uses_left: grant.num_uses.try_into().unwrap_or(i64::MAX),
            created: SystemTime::now(),
            ttl,
            expires: (!ttl.is_zero()).then(|| Instant::now() + ttl),
            grant,
        }
    }

    /// Returns the namespace that it belongs to.
    pub(crate) fn namespace(&self) -> &Namespace {
        &self.grant.namespace
    }

    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= Instant::now())
    }

    fn is_renewable(&self) -> bool {
        self.kind == Kind::Service && self.expires.is_some() && !self.grant.not_renewable
    }

    /// Returns how much longer it lasts; `None` if it never ends.
    fn left(&self) -> Option<Duration> {
        self.expires.map(|expires| expires.saturating_duration_since(Instant::now()))
    }

    /// Returns the limit for leases of a batch token: none of them outlives it, because nobody can
    /// revoke it earlier.
    pub(crate) fn lease_limit(&self) -> Option<Duration> {
        self.left().filter(|_| self.kind == Kind::Batch)
    }

    /// Returns how long it can be renewed at most, in whole seconds.
    fn max_ttl_left(&self) -> Duration {
        let age = self.created.elapsed().unwrap_or_default();
        Duration::from_secs(max_ttl(&self.grant).saturating_sub(age).as_secs())
    }

    /// Returns the `auth` object of a login, a creation or a renewal.
    fn auth(&self) -> Value {
        let metadata =
            if self.grant.metadata.is_empty() { Value::Null } else { json!(self.grant.metadata) };
        json!({
            "client_token": self.id,
            "accessor": self.accessor,
            "policies": self.policies,
            "token_policies": self.policies,
            "metadata": metadata,
            "lease_duration": self.ttl.as_secs(),
            "renewable": self.is_renewable(),
            "entity_id": self.grant.entity_id,
            "token_type": self.kind.name(),
            "orphan": self.grant.parent.is_none(),
            "mfa_requirement": null,
            "num_uses": self.grant.num_uses,
        })
    }

    /// Returns what a lookup shows.
    fn lookup(&self) -> Value {
        let left = self.left().unwrap_or_default();
        let mut data = json!({
            "accessor": self.accessor,
            "creation_time": clock::unix(self.created),
            "creation_ttl": self.ttl.as_secs(),
            "display_name": self.grant.display_name,
            "entity_id": self.grant.entity_id,
            "expire_time": self.expires.map(|_| clock::rfc3339(SystemTime::now() + left)),
            "explicit_max_ttl": self.grant.explicit_max_ttl.as_secs(),
            "id": self.id,
            "issue_time": clock::rfc3339(self.created),
            "meta": if self.grant.metadata.is_empty() { Value::Null } else { json!(self.grant.metadata) },
            "num_uses": self.uses_left,
            "orphan": self.grant.parent.is_none(),
            "path": self.grant.path,
            "policies": self.policies,
            "renewable": self.is_renewable(),
            "ttl": left.as_secs(),
            "type": self.kind.name(),
        });
        if !self.grant.namespace.path.is_empty() {
            data["namespace_path"] = self.grant.namespace.path.clone().into();
        }
        if !self.grant.period.is_zero() {
            data["period"] = self.grant.period.as_secs().into();
        }
        data
    }
}

fn lifetime(grant: &Grant, root: bool) -> Duration {
    let wanted = if grant.period.is_zero() { grant.ttl } else { grant.period };
    let ttl = if wanted.is_zero() && !root { DEFAULT_TTL } else { wanted };
    ttl.min(max_ttl(grant))
}

fn max_ttl(grant: &Grant) -> Duration {
    if grant.explicit_max_ttl.is_zero() { DEFAULT_TTL } else { grant.explicit_max_ttl }
}

pub(crate) fn warn_if_capped(answer: Answer, asked: Duration, given: Duration) -> Answer {
    if asked <= given {
        return answer;
    }
    let (asked, given) = (clock::short(asked), clock::short(given));
    answer.warn(&format!(
        "TTL of \"{asked}\" exceeded the effective max_ttl of \"{given}\"; TTL value is capped \
         accordingly"
    ))
}

/// All tokens by id.
#[derive(Default)]
pub(crate) struct Tokens(HashMap<String, Token>);

impl Tokens {
    pub(crate) fn issue(&mut self, grant: Grant) -> Token {
        let token = Token::new(grant);
        self.0.insert(token.id.clone(), token.clone());
        token
    }

    /// Makes a token and returns the answer that contains it.
    pub(crate) fn hand_out(&mut self, grant: Grant) -> Answer {
        let asked = grant.ttl;
        let token = self.issue(grant);
        let accessor = Some(token.accessor.clone()).filter(|accessor| !accessor.is_empty());
        let answer = Answer { auth: Some(token.auth()), accessor, ..Answer::default() };
        warn_if_capped(answer, asked, token.ttl)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Token> {
        self.0.get(id).filter(|token| !token.has_expired())
    }

    /// Consumes one use of a limited token. The last one ends the token, although the request that
    /// consumes it is still served.
    pub(crate) fn take_use(&mut self, id: &str) {
        let Some(token) = self.0.get_mut(id) else { return };
        match token.uses_left {
            0 => {}
            1 => self.revoke(id),
            _ => token.uses_left -= 1,
        }
    }

    /// Revokes a token and everything made with it.
    pub(crate) fn revoke(&mut self, id: &str) {
        self.0.remove(id);
        let children = self.0.values().filter(|token| token.grant.parent.as_deref() == Some(id));
        for child in children.map(|token| token.id.clone()).collect::<Vec<_>>() {
            self.revoke(&child);
        }
    }

    /// Ends the tokens of a namespace.
    pub(crate) fn clear(&mut self, namespace: &Namespace) {
        self.0.retain(|_, token| token.namespace() != namespace);
    }

    fn with_accessor(&self, accessor: &str) -> Option<&Token> {
        self.0.values().find(|token| {
            token.accessor == accessor && !accessor.is_empty() && !token.has_expired()
        })
    }
}

/// Returns whether a path is about the calling token: such a request goes to the token's namespace,
/// whatever its header says.
pub(crate) fn is_self(path: &str) -> bool {
    matches!(path, "auth/token/lookup-self" | "auth/token/renew-self" | "auth/token/revoke-self")
}

/// Handles `auth/token/…` for `caller`, whose use has already been consumed.
pub(crate) fn handle(tokens: &mut Tokens, request: &Request, caller: &Token, acl: &Acl) -> Outcome {
    use Operation::{Read, Write};
    match (request.path.as_str(), request.operation) {
        ("lookup-self", Read | Write) => lookup_self(tokens, caller),
        ("lookup", Write) => lookup(tokens, request, caller),
        ("lookup-accessor", Write) => lookup_accessor(tokens, request),
        ("renew-self", Write) => renew(tokens, caller, request),
        ("revoke-self", Write) => revoke_self(tokens, caller),
        ("revoke", Write) => revoke(tokens, request),
        ("create", Write) => create(tokens, request, caller, acl, false),
        ("create-orphan", Write) => create(tokens, request, caller, acl, true),
        (
            "lookup-self" | "lookup" | "lookup-accessor" | "renew-self" | "revoke-self" | "revoke"
            | "create" | "create-orphan",
            _,
        ) => Err(Failure::unsupported_operation()),
        _ => Err(Failure::unsupported_path()),
    }
}

fn lookup_self(tokens: &Tokens, caller: &Token) -> Outcome {
    // A token on its last use is gone from the store, but lookups of itself still work.
    let mut token = tokens.get(&caller.id).unwrap_or(caller).clone();
    if tokens.get(&caller.id).is_none() {
        token.uses_left = -1;
    }
    Ok(Answer::data(token.lookup()))
}

fn lookup(tokens: &Tokens, request: &Request, caller: &Token) -> Outcome {
    let id = request.text("token").unwrap_or(&caller.id);
    tokens
        .get(id)
        .map(|token| Answer::data(token.lookup()))
        .ok_or_else(|| Failure::new(403, "bad token"))
}

fn lookup_accessor(tokens: &Tokens, request: &Request) -> Outcome {
    let accessor = request.text("accessor").unwrap_or_default();
    let token = tokens
        .with_accessor(accessor)
        .ok_or_else(|| Failure::multierror(400, "invalid accessor"))?;
    let mut data = token.lookup();
    data["id"] = "".into();
    Ok(Answer::data(data))
}

fn renew(tokens: &mut Tokens, caller: &Token, request: &Request) -> Outcome {
    if caller.kind == Kind::Batch {
        return Err(Failure::bad_request("batch tokens cannot be renewed"));
    }
    let Some(token) = tokens.0.get_mut(&caller.id).filter(|token| token.is_renewable()) else {
        return Err(Failure::bad_request("lease is not renewable"));
    };
    let asked = request.duration("increment").filter(|ttl| !ttl.is_zero()).unwrap_or(token.ttl);
    token.ttl = if token.grant.period.is_zero() {
        asked.min(token.max_ttl_left())
    } else {
        token.grant.period
    };
    token.expires = Some(Instant::now() + token.ttl);
    let answer = Answer { auth: Some(token.auth()), ..Answer::default() };
    let periodic = !token.grant.period.is_zero();
    Ok(if periodic { answer } else { warn_if_capped(answer, asked, token.ttl) })
}

fn revoke_self(tokens: &mut Tokens, caller: &Token) -> Outcome {
    if caller.kind == Kind::Batch {
        return Err(Failure::bad_request("batch tokens cannot be revoked"));
    }
    tokens.revoke(&caller.id);
    Ok(Answer::empty())
}

fn revoke(tokens: &mut Tokens, request: &Request) -> Outcome {
    let id = request.text("token").ok_or_else(|| Failure::bad_request("missing token ID"))?;
    tokens.revoke(id);
    Ok(Answer::empty())
}

fn create(
    tokens: &mut Tokens,
    request: &Request,
    caller: &Token,
    acl: &Acl,
    orphan: bool,
) -> Outcome {
    let powerful = acl.allows("sudo", &format!("{}auth/token/create", request.namespace.path));
    let grant = grant_from(request, caller, orphan || request.flag("no_parent") == Some(true));
    if !powerful && grant.parent.is_none() && !orphan {
        return Err(Failure::bad_request(
            "root or sudo privileges required to create orphan token",
        ));
    }
    if !powerful && !grant.policies.iter().all(|name| caller.policies.contains(name)) {
        return Err(Failure::bad_request("child policies must be subset of parent"));
    }
    if grant.kind == Kind::Batch && grant.num_uses > 0 {
        return Err(Failure::bad_request(r#"batch tokens cannot have "num_uses" set"#));
    }
    Ok(tokens.hand_out(grant))
}

fn grant_from(request: &Request, caller: &Token, orphan: bool) -> Grant {
    let name = request
        .text("display_name")
        .map_or_else(|| "token".to_owned(), |name| format!("token-{name}"));
    Grant {
        id: request.text("id").map(str::to_owned),
        policies: request
            .list("policies")
            .filter(|names| !names.is_empty())
            .unwrap_or(caller.policies.clone()),
        no_default_policy: request.flag("no_default_policy").unwrap_or(false),
        ttl: request.duration("ttl").unwrap_or_default(),
        explicit_max_ttl: request.duration("explicit_max_ttl").unwrap_or_default(),
        period: request.duration("period").unwrap_or_default(),
        num_uses: request.number("num_uses").unwrap_or(0),
        kind: if request.text("type") == Some("batch") { Kind::Batch } else { Kind::Service },
        not_renewable: request.flag("renewable") == Some(false),
        metadata: request.body.get("meta").and_then(Value::as_object).cloned().unwrap_or_default(),
        display_name: name,
        path: "auth/token/create".to_owned(),
        parent: (!orphan).then(|| caller.id.clone()),
        entity_id: String::new(),
        namespace: request.namespace.clone(),
    }
}

/// Returns a new token's id.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", &Uuid::new_v4().simple().to_string()[..24])
}

/// Returns a new token's accessor.
pub(crate) fn new_accessor() -> String {
    Uuid::new_v4().simple().to_string()[..24].to_owned()
}
