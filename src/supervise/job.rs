//! What a child does for the supervisor: every request to Vault.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};

use crate::error::{Code, Error, Errors};
use crate::fetch;
use crate::grammar::reference::Ask;
use crate::http::deadline::Deadline;
use crate::http::runtime;
use crate::intern::{Id, Interned};
use crate::job::Job;
use crate::plan::{Plan, Request as Wanted};
use crate::revoke::LIMIT;
use crate::round::{self, Round};
use crate::secret::Secret;
use crate::supervise::report::{Mark, Report, Token};
use crate::supervise::state::{Granted, Outcome, What};
use crate::vault::answer::{Answer, Meaning};
use crate::vault::client::{Client, Repeat, Request, Space};
use crate::vault::document::{Document, Found};
use crate::vault::session::Session;
use crate::vault::stay::Stay;

/// The time for each renewal request, which is tried once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A key that nobody else has: it makes the digest of a secret worthless to whoever reads it.
pub(crate) type Key = hmac::Key;

/// Returns what a start holds that has to be looked after. If there is nothing, its token is
/// revoked as without supervision.
///
/// # Errors
/// 78 for a token with a limited number of uses: each renewal would consume one.
pub(crate) async fn granted(job: &Job, round: &Round, key: &Key) -> Result<Option<Report>, Error> {
    let Some(stay) = round.stay() else { return Ok(None) };
    let session = &stay.session;
    let found = |id| round.outcomes.of(id).ok().and_then(|answer| answer.as_ref().ok());
    let (unleased, rotation) = ends(&job.plan, found);
    let leased = stay.leases().into_iter().map(|lease| Granted {
        what: What::Lease(lease.id),
        ttl: lease.ttl,
        renewable: lease.renewable,
    });
    let mut granted: Vec<Granted> = leased.collect();
    let looks = job.settings.supervise.as_ref().is_some_and(|settings| settings.refresh.is_some());
    let marks = marks(&job.plan, found, looks, key);
    let needs_token = !granted.is_empty() || job.settings.hand_on.is_some() || !marks.is_empty();
    granted.extend(unleased);
    if !needs_token && granted.is_empty() {
        return Ok(None);
    }
    if needs_token && session.uses.is_some() {
        return Err(Error::config(
            "the login's token is good for a limited number of requests, and what it holds has to \
             be renewed",
        )
        .hint("set token_num_uses of the role to 0"));
    }
    let mut token = None;
    if let (true, Some(value)) = (needs_token, &session.token) {
        granted.extend(of_token(&stay.client, session).await.ok().flatten());
        token = Some(Token {
            value: value.clone(),
            is_own: session.is_own,
            is_batch: session.is_batch,
        });
    }
    Ok(Some(Report::Granted { token, granted, marks, rotation }))
}

/// Returns how long a token lasts: as the login says, or, for a token that was given to us, as
/// Vault reports it.
async fn of_token(client: &Client, session: &Session) -> Result<Option<Granted>, Error> {
    let granted = |ttl, renewable| Granted { what: What::Token, ttl, renewable };
    if session.is_own {
        return Ok(session.ttl.map(|ttl| granted(ttl, session.renewable && !session.is_batch)));
    }
    let what = "auth/token/lookup-self";
    let request = Request {
        token: session.token.as_ref(),
        space: Space::Login,
        repeat: Repeat::Never,
        deadline: Some(Deadline::new(Instant::now(), PATIENCE)),
        ..Request::new(Method::GET, what)
    };
    let answer = client.send(&request).await?;
    if !answer.is_success() {
        return Err(client.refused(&answer, what));
    }
    let data = answer.body.0.get("data");
    let ttl = data.and_then(|data| data.get("ttl")).and_then(Value::as_u64).filter(|ttl| *ttl > 0);
    let renewable = data.and_then(|data| data.get("renewable")).and_then(Value::as_bool);
    Ok(ttl.map(|ttl| granted(Duration::from_secs(ttl), renewable == Some(true))))
}

/// Returns what ends without a lease, and in how many seconds the first static role rotates.
fn ends<'a>(
    plan: &Plan,
    get: impl Fn(Id<Wanted>) -> Option<&'a Found>,
) -> (Vec<Granted>, Option<u64>) {
    let mut unleased: Vec<Granted> = Vec::new();
    let mut rotation: Option<u64> = None;
    for (id, request) in plan.requests.iter() {
        let Some(Found { document, lease: None, .. }) = get(id) else { continue };
        if let Some(ttl) = rotates_in(document) {
            rotation = Some(rotation.map_or(ttl, |before| before.min(ttl)));
        }
        let what = What::Unleased(request.path.to_string());
        if let Some(ttl) = ends_in(document)
            && unleased.iter().all(|granted| granted.what != what)
        {
            unleased.push(Granted { what, ttl, renewable: false });
        }
    }
    (unleased, rotation)
}

fn number(document: &Document, key: &str) -> Option<u64> {
    document.get(key)?.expose_text()?.parse().ok()
}

/// Returns how long certificates of the PKI engine, and secret ids made for the application, last.
fn ends_in(document: &Document) -> Option<Duration> {
    if document.get("certificate").is_some() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        return Some(Duration::from_secs(number(document, "expiration")?).saturating_sub(now));
    }
    document.get("secret_id")?;
    number(document, "secret_id_ttl").filter(|ttl| *ttl > 0).map(Duration::from_secs)
}

/// Returns in how many seconds a static role, whose password changes by itself, rotates.
fn rotates_in(document: &Document) -> Option<u64> {
    let is_static = ["rotation_period", "rotation_schedule"];
    is_static.iter().any(|key| document.get(key).is_some()).then(|| number(document, "ttl"))?
}

/// Returns a mark for each secret that is looked at, which tells it from another one: static roles
/// always, KV secrets if `looks`.
fn marks<'a>(
    plan: &Plan,
    get: impl Fn(Id<Wanted>) -> Option<&'a Found>,
    looks: bool,
    key: &Key,
) -> Vec<Mark> {
    let all = plan.requests.iter().enumerate();
    let marks = all.filter_map(|(number, (id, request))| {
        let found = get(id)?;
        let is_plain = found.lease.is_none() && matches!(request.ask, Ask::Read(None));
        let is_looked_at = rotates_in(&found.document).is_some() || (looks && is_plain);
        is_looked_at.then(|| (number, mark(found, key)))
    });
    marks.collect()
}

/// Returns a version, or a keyed digest of all keys and values. A countdown is not a change.
fn mark(found: &Found, key: &Key) -> String {
    if let Some(version) = found.version {
        return format!("version {version}");
    }
    let is_static = rotates_in(&found.document).is_some();
    let mut context = hmac::Context::with_key(key);
    for (name, value) in found.document.entries() {
        if is_static && name == "ttl" {
            continue;
        }
        for part in [name.as_bytes(), value.expose()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
    }
    context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// Renews these over one connection. The first of them ends in `left`: a request that hangs must
/// not use up the time for another try.
pub(crate) fn renew(job: &Job, token: Option<&Secret>, what: &[What], left: Duration) -> Report {
    let patience = (left / 4).clamp(Duration::from_secs(1), PATIENCE);
    let deadline = Deadline::new(Instant::now(), patience);
    let work = async {
        let client = round::client(job, deadline)?;
        if let Some(token) = token {
            client.redactor().add(token);
        }
        let mut outcomes = Vec::new();
        let mut failure = None;
        for what in what {
            let outcome = match renew_one(&client, token, what).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    failure = Some(error.to_string());
                    Outcome::Failed
                }
            };
            outcomes.push((what.clone(), outcome));
        }
        Ok(Report::Renewed { outcomes, failure })
    };
    waited_for(work)
}

async fn renew_one(client: &Client, token: Option<&Secret>, what: &What) -> Result<Outcome, Error> {
    let (path, body, space) = match what {
        What::Token => ("auth/token/renew-self", json!({}), Space::Login),
        What::Lease(id) => ("sys/leases/renew", json!({ "lease_id": id }), Space::Secrets),
        What::Unleased(_) => return Ok(Outcome::Forbidden),
    };
    let body = Secret::from(body.to_string());
    let request = Request {
        token,
        body: Some(&body),
        space,
        repeat: Repeat::Never,
        ..Request::new(Method::POST, path)
    };
    let answer = client.send(&request).await?;
    understood(client, &answer, what)
}

fn understood(client: &Client, answer: &Answer, what: &What) -> Result<Outcome, Error> {
    if answer.is_success() {
        let body = &answer.body.0;
        let of = if *what == What::Token { body.get("auth") } else { Some(body) };
        let ttl = of.and_then(|of| of.get("lease_duration")).and_then(Value::as_u64);
        // Whatever answers without a TTL is not Vault, and no reason to replace anything.
        let ttl = ttl.filter(|ttl| *ttl > 0).ok_or_else(|| {
            Error::new(Code::Protocol, format!("an answer to the renewal of {what} without a TTL"))
        })?;
        return Ok(Outcome::Renewed(Duration::from_secs(ttl)));
    }
    match (answer.status, answer.meaning) {
        (403, Meaning::BadToken) | (400, Meaning::NoLease) => Ok(Outcome::Lost),
        (403, _) | (400, Meaning::NotRenewable) => Ok(Outcome::Forbidden),
        _ => Err(client.refused(answer, "a renewal")),
    }
}

/// Gets another token.
pub(crate) fn log_in(job: &Job) -> Report {
    let deadline = Deadline::new(Instant::now(), job.settings.timeout);
    let work = async {
        let client = round::client(job, deadline)?;
        let Some(login) = &job.login else { return Err(Errors::default()) };
        let session = login.log_in(&client).await?;
        let granted = of_token(&client, &session).await?;
        let token = session.token.as_ref().map(|value| Token {
            value: value.clone(),
            is_own: session.is_own,
            is_batch: session.is_batch,
        });
        Ok(Report::Granted {
            token,
            granted: granted.into_iter().collect(),
            marks: Vec::new(),
            rotation: None,
        })
    };
    waited_for(work)
}

/// Looks at the secrets of these requests.
pub(crate) fn look(job: &Job, token: Option<&Token>, requests: &[usize], key: &Key) -> Report {
    let deadline = Deadline::new(Instant::now(), PATIENCE.max(job.settings.timeout / 2));
    let wanted = job.plan.requests.iter().enumerate();
    let wanted: Interned<Wanted> = wanted
        .filter(|(number, _)| requests.contains(number))
        .map(|(_, (_, request))| request.clone())
        .collect();
    let plan = Plan { requests: wanted, ..Plan::default() };
    let work = async {
        let client = round::client(job, deadline)?;
        let value = token.map(|token| token.value.clone());
        if let Some(token) = &value {
            client.redactor().add(token);
        }
        let session = Session { token: value, ..Session::default() };
        let stay = Stay::begin(client, session);
        let outcomes = fetch::fetch(&stay, None, &plan, &job.settings).await?;
        for (id, _) in plan.requests.iter() {
            if let Err(error) = outcomes.of(id)? {
                return Err(error.clone().into());
            }
        }
        let found = |id| outcomes.of(id).ok().and_then(|answer| answer.as_ref().ok());
        let (_, rotation) = ends(&plan, found);
        // Numbered as in the whole plan.
        let marks = marks(&plan, found, true, key).into_iter();
        let marks = marks.filter_map(|(at, mark)| Some((*requests.get(at)?, mark))).collect();
        Ok(Report::Looked { marks, rotation })
    };
    waited_for(work)
}

/// Revokes a token, and with it everything that depends on it.
pub(crate) fn revoke(job: &Job, token: &Secret) {
    let work = async {
        let client = round::client(job, Deadline::new(Instant::now(), LIMIT))?;
        client.redactor().add(token);
        let request = Request {
            token: Some(token),
            space: Space::Login,
            repeat: Repeat::Never,
            ..Request::new(Method::POST, "auth/token/revoke-self")
        };
        let answer = client.send(&request).await?;
        if answer.is_success() { Ok(()) } else { Err(client.refused(&answer, &request.what)) }
    };
    match runtime::wait(work).and_then(|done| done) {
        Ok(()) => log::debug!("the token is revoked"),
        Err(error) => log::info!("the token is not revoked: {error}"),
    }
}

fn waited_for(work: impl Future<Output = Result<Report, Errors>>) -> Report {
    match runtime::wait(work) {
        Ok(Ok(report)) => report,
        Ok(Err(errors)) => failed(&errors),
        Err(error) => failed(&error.into()),
    }
}

/// Builds a child's report of its failure.
pub(crate) fn failed(errors: &Errors) -> Report {
    let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    Report::Failed { is_refusal: errors.code() == Code::Refused, message: texts.join("; ") }
}
