//! The leases of secrets that expire, and `sys/leases/…`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::api::clock;
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::kv1::keys_below;
use crate::api::namespaces::Namespace;
use crate::api::request::{Operation, Request};
use crate::api::tokens::{Token, Tokens, new_accessor, warn_if_capped};

/// What an engine wants the lease of its secret to be.
pub(crate) struct Terms {
    pub(crate) ttl: Duration,
    /// How long it can last with renewals.
    pub(crate) max_ttl: Duration,
    pub(crate) renewable: bool,
}

struct Lease {
    path: String,
    namespace: Namespace,
    token: String,
    terms: Terms,
    issued: SystemTime,
    renewed: Option<SystemTime>,
    expires: Instant,
}

impl Lease {
    /// Returns how long it can be renewed at most, in whole seconds.
    fn max_ttl_left(&self) -> Duration {
        let age = self.issued.elapsed().unwrap_or_default();
        Duration::from_secs(self.terms.max_ttl.saturating_sub(age).as_secs())
    }

    fn renew(&mut self, ttl: Duration) {
        self.renewed = Some(SystemTime::now());
        self.expires = Instant::now() + ttl;
    }
}

/// All leases by id.
#[derive(Default)]
pub(crate) struct Leases(BTreeMap<String, Lease>);

impl Leases {
    /// Drops leases that have ended, either at their own time or with the token that they were made
    /// with.
    pub(crate) fn drop_dead(&mut self, tokens: &Tokens) {
        self.0.retain(|_, lease| {
            lease.expires > Instant::now() && tokens.get(&lease.token).is_some()
        });
    }

    /// Adds a lease to the answer to a request for `path`.
    pub(crate) fn grant(
        &mut self,
        request: &Request,
        token: &Token,
        mut terms: Terms,
        answer: Answer,
    ) -> Answer {
        let limit = token.lease_limit().unwrap_or(terms.max_ttl).min(terms.max_ttl);
        (terms.ttl, terms.max_ttl) = (terms.ttl.min(limit), limit);
        let lease_id = format!("{}/{}{}", request.path, new_accessor(), request.namespace.suffix());
        let answer = Answer {
            lease_id: lease_id.clone(),
            renewable: terms.renewable,
            lease_duration: terms.ttl.as_secs(),
            ..answer
        };
        let (path, token, expires) =
            (request.path.clone(), token.id.clone(), Instant::now() + terms.ttl);
        let namespace = request.namespace.clone();
        self.0.insert(
            lease_id,
            Lease {
                path,
                namespace,
                token,
                terms,
                issued: SystemTime::now(),
                renewed: None,
                expires,
            },
        );
        answer
    }

    fn of(&self, namespace: &Namespace) -> impl Iterator<Item = &String> {
        self.0.iter().filter(move |(_, lease)| lease.namespace == *namespace).map(|(id, _)| id)
    }

    fn lookup(&self, id: &str) -> Outcome {
        let lease = self.0.get(id).ok_or_else(|| Failure::bad_request("invalid lease"))?;
        let left = lease.expires.saturating_duration_since(Instant::now());
        Ok(Answer::data(json!({
            "expire_time": clock::rfc3339(SystemTime::now() + left),
            "id": id,
            "issue_time": clock::rfc3339(lease.issued),
            "last_renewal": lease.renewed.map(clock::rfc3339),
            "path": lease.path,
            "renewable": lease.terms.renewable,
            "ttl": left.as_secs(),
        })))
    }

    fn renew(&mut self, id: &str, request: &Request) -> Outcome {
        let lease = self.0.get_mut(id).ok_or_else(|| Failure::bad_request("lease not found"))?;
        if !lease.terms.renewable {
            return Err(Failure::bad_request("lease is not renewable"));
        }
        let asked =
            request.duration("increment").filter(|ttl| !ttl.is_zero()).unwrap_or(lease.terms.ttl);
        let given = asked.min(lease.max_ttl_left());
        lease.renew(given);
        let (lease_id, lease_duration) = (id.to_owned(), given.as_secs());
        let answer = Answer { lease_id, renewable: true, lease_duration, ..Answer::default() };
        Ok(warn_if_capped(answer, asked, given))
    }

    /// Revokes a lease, whether or not it exists. A caller who does not want to wait is told that
    /// it will be revoked.
    fn revoke(&mut self, id: &str, request: &Request) -> Outcome {
        self.0.remove(id);
        let status = if request.flag("sync") == Some(false) { 202 } else { 204 };
        Ok(Answer::empty().with_status(status))
    }
}

/// Handles `sys/leases/…`: `at` is the rest of the path, and may end in the id that is otherwise in
/// the body.
pub(crate) fn handle(leases: &mut Leases, request: &Request, at: &str) -> Outcome {
    let (action, below) = at.split_once('/').unwrap_or((at, ""));
    match (action, request.operation) {
        ("lookup", Operation::List) => keys_below(below, leases.of(&request.namespace)),
        ("lookup", Operation::Write) => leases.lookup(wanted(request, below)?),
        ("renew", Operation::Write) => leases.renew(wanted(request, below)?, request),
        ("revoke", Operation::Write) => leases.revoke(wanted(request, below)?, request),
        ("lookup" | "renew" | "revoke", _) => Err(Failure::unsupported_operation()),
        _ => Err(Failure::unsupported_path()),
    }
}

fn wanted<'a>(request: &'a Request, below: &'a str) -> Result<&'a str, Failure> {
    let id = if below.is_empty() { request.text("lease_id") } else { Some(below) };
    id.filter(|id| !id.is_empty()).ok_or_else(|| Failure::bad_request("lease_id must be specified"))
}
