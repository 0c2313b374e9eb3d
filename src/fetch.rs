//! Carries out the plan: makes each distinct request once, in parallel.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use reqwest::Method;

use crate::date::rfc3339;
use crate::environment::Outcomes;
use crate::error::{Cause, Code, Error};
use crate::grammar::mount::{KvVersion, Question};
use crate::grammar::path::Path;
use crate::grammar::reference::{Ask, Body};
use crate::intern::{Id, Interned};
use crate::plan::{Ciphertext, Plan, Request};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::vault::answer::Meaning;
use crate::vault::client::{self, Client, Repeat};
use crate::vault::document::Found;
use crate::vault::kv;
use crate::vault::mounts::{self, Engine, Mounts, Target};
use crate::vault::parallel::{in_parallel, in_turn};
use crate::vault::session::Session;
use crate::vault::stay::{Leased, Stay};
use crate::vault::transit;

/// A request that is actually made. Several requests of a plan can become one call if they write
/// the same path in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Call {
    Read(Target, Option<u64>),
    Write(Path, Body),
    Decrypt(Path, Vec<(Id<Ciphertext>, Secret)>),
}

/// The result of a call.
enum Done {
    Found(Result<Found, Error>),
    Decrypted(Vec<(Id<Ciphertext>, Result<Secret, Error>)>),
}

/// Makes every request of a plan. `ttl` is the TTL of the token, if known. Each lease is held in
/// the stay as soon as it arrives.
///
/// # Errors
/// 78 if the token does not allow so many requests; 69 and 76 if the mounts cannot be queried. A
/// failed request is an outcome, not an error: all of them are reported.
pub(crate) async fn fetch(
    stay: &Stay,
    ttl: Option<Duration>,
    plan: &Plan,
    settings: &Settings,
) -> Result<Outcomes, Error> {
    let Stay { client, session, .. } = stay;
    let mut calls = Interned::default();
    let callers = requests(&mut calls, stay, plan, settings.kv_version).await?;
    for batch in batches(plan, settings) {
        calls.intern(batch);
    }
    check_uses(session, calls.len())?;
    stay.count(calls.len() as u64);
    let calls: Vec<(Id<Call>, &Call)> = calls.iter().collect();
    let work = async |(id, call): &(Id<Call>, &Call)| (*id, carry_out(stay, call).await);
    let done = if goes_in_turn(session, &calls) {
        in_turn(&calls, &work).await
    } else {
        in_parallel(client, &calls, &work).await
    };
    let outcomes = outcomes(done, &callers, session)?;
    for granted in stay.leases() {
        report(&granted, ttl);
    }
    check_spent(stay, &outcomes)?;
    Ok(outcomes)
}

/// Returns the outcome of each request and of each ciphertext of the plan.
fn outcomes(
    done: Vec<(Id<Call>, Done)>,
    callers: &[(Id<Request>, Id<Call>)],
    session: &Session,
) -> Result<Outcomes, Error> {
    let mut outcomes = Outcomes { token: session.token.clone(), ..Outcomes::default() };
    let mut found = HashMap::new();
    for (call, done) in done {
        match done {
            Done::Found(answer) => {
                found.insert(call, Rc::new(answer));
            }
            Done::Decrypted(values) => outcomes.decrypted.extend(values),
        }
    }
    for (request, call) in callers {
        let answer = found.get(call).ok_or_else(|| Error::internal("a request without outcome"))?;
        outcomes.answers.insert(*request, Rc::clone(answer));
    }
    Ok(outcomes)
}

/// Adds the reads and writes of a plan to the calls. Returns which call each request became.
async fn requests(
    calls: &mut Interned<Call>,
    stay: &Stay,
    plan: &Plan,
    version: Option<KvVersion>,
) -> Result<Vec<(Id<Request>, Id<Call>)>, Error> {
    let token = stay.session.token.as_ref();
    let questions: Vec<Question<'_>> =
        plan.requests.iter().filter_map(|(_, request)| question(request)).collect();
    let mounts = Mounts::learn(&stay.client, token, &questions, version).await?;
    let call = |request: &Request| match (&request.ask, question(request)) {
        (Ask::Read(version), Some(question)) => Call::Read(mounts.target(question), *version),
        (Ask::Read(version), None) => Call::Read(mounts::as_written(&request.path), *version),
        (Ask::Write(body), _) => Call::Write(request.path.clone(), body.clone()),
    };
    Ok(plan.requests.iter().map(|(id, request)| (id, calls.intern(call(request)))).collect())
}

/// Returns what has to be found out about a request: a write goes exactly where it says.
pub(crate) fn question(request: &Request) -> Option<Question<'_>> {
    match request.ask {
        Ask::Read(_) => Some(Question { path: &request.path, mount: request.mount }),
        Ask::Write(_) => None,
    }
}

fn batches(plan: &Plan, settings: &Settings) -> Vec<Call> {
    let Some(path) = settings.transit.path() else { return Vec::new() };
    let ciphertexts: Vec<(Id<Ciphertext>, Secret)> =
        plan.ciphertexts.iter().map(|(id, Ciphertext(text))| (id, text.clone())).collect();
    let parts = in_parts(&ciphertexts, settings.transit.batch);
    parts.map(|batch| Call::Decrypt(path.clone(), batch.to_vec())).collect()
}

fn in_parts<T>(items: &[T], most: NonZeroUsize) -> impl Iterator<Item = &[T]> {
    items.chunks(most.get())
}

fn check_uses(session: &Session, requests: usize) -> Result<(), Error> {
    match session.uses {
        Some(uses) if uses < requests as u64 => Err(Error::config(format!(
            "the login's token is good for {uses} requests, and there are {requests} to make"
        ))
        .hint(
            "set token_num_uses of the role to 0 or to at least this number, or put the secrets \
             together under fewer paths",
        )),
        _ => Ok(()),
    }
}

/// Checks whether a used-up token took leases with it. Such a token is gone, and its leases with
/// it: Vault withholds a lease that comes with the last use, and ends a lease that came before.
/// Which of the two happens depends on the order in which Vault handles the requests.
fn check_spent(stay: &Stay, outcomes: &Outcomes) -> Result<(), Error> {
    let is_withheld = |answer: &Result<Found, Error>| matches!(answer, Err(error) if error.cause == Cause::Withheld);
    let has_lost =
        !stay.leases().is_empty() || outcomes.answers.values().any(|answer| is_withheld(answer));
    match stay.session.uses {
        Some(uses) if uses <= stay.requests() && has_lost => Err(Error::config(format!(
            "the login's token is good for {uses} requests, all of them are used, and the dynamic \
             secrets ended with it"
        ))
        .hint("set token_num_uses of the role to 0 or to a larger number")),
        _ => Ok(()),
    }
}

/// Returns whether the calls must be made one after another. A lease made while the last use of its
/// token is under way can outlive the token, and then nobody holds it.
fn goes_in_turn(session: &Session, calls: &[(Id<Call>, &Call)]) -> bool {
    let makes_no_lease = |(_, call): &(Id<Call>, &Call)| match call {
        Call::Read(Target { engine, .. }, _) => matches!(engine, Engine::Kv(_)),
        Call::Write(..) => false,
        Call::Decrypt(..) => true,
    };
    session.uses == Some(calls.len() as u64) && !calls.iter().all(makes_no_lease)
}

async fn carry_out(stay: &Stay, call: &Call) -> Done {
    let Stay { client, session, .. } = stay;
    let found = match call {
        Call::Read(target, version) => read(client, session, target, *version).await,
        Call::Write(path, body) => write(client, session, path, body).await,
        Call::Decrypt(path, batch) => {
            return Done::Decrypted(transit::decrypt(client, session, path, batch).await);
        }
    };
    if let Ok(Found { lease: Some(lease), .. }) = &found {
        stay.hold(lease);
    }
    Done::Found(found)
}

async fn read(
    client: &Client,
    session: &Session,
    target: &Target,
    version: Option<u64>,
) -> Result<Found, Error> {
    let Target { path, engine } = target;
    if version.is_some() && matches!(engine, Engine::Other | Engine::Kv(KvVersion::V1)) {
        // This is known before asking: a read of a dynamic secret would create a lease.
        return Err(kv::no_versions().at(path));
    }
    let repeat =
        if matches!(engine, Engine::Kv(_)) { Repeat::Freely } else { Repeat::OnlyIfNotDone };
    let known = if let Engine::Kv(version) = engine { Some(*version) } else { None };
    let query = version.map(|version| format!("version={version}"));
    let request = client::Request { query, repeat, ..request(Method::GET, session, path) };
    let answer = client.send(&request).await?;
    let (status, refuses_token) = (answer.status, answer.meaning == Meaning::BadToken);
    let found = match answer.status {
        200..300 | 404 => kv::understand(answer, version, known)
            .map_err(|error| client.placed(error, path.as_str(), status)),
        _ => Err(client.refused(&answer, path.as_str())),
    };
    // If the token is somebody else's, it may just as well be missing.
    let is_about_token = refuses_token || (session.token.is_none() && status == 403);
    let is_about_path =
        *engine == Engine::Unknown && !is_about_token && !client.is_elsewhere(path.as_str());
    found.map_err(|error| match remedy(path, &error) {
        Some(remedy) => error.hint(remedy),
        None if is_about_path => with_detection_hint(error, path),
        None => error,
    })
}

/// Returns what to do about a path with nothing behind it, as far as the path itself tells.
fn remedy(path: &Path, error: &Error) -> Option<&'static str> {
    let is_of_path = matches!(error.cause, Cause::Other | Cause::NoSecret);
    if !is_of_path || !matches!(error.code, Code::Missing | Code::Refused) {
        return None;
    }
    let first = path.segments().next().unwrap_or_default();
    if first == "v1" {
        return Some("leave v1/ out of the path: a reference has the API's path without it");
    }
    if path.as_str().contains('?') {
        return Some("a path has no query: the version stands behind the key, path#key#1");
    }
    if error.cause != Cause::NoSecret {
        return None;
    }
    if path.is_of_kv2_api(first.len()) {
        return Some(
            "is the path right? `vault kv list` shows the secrets of a mount. If it is KV v1, leave \
             data/ out",
        );
    }
    Some("is the path right? `vault kv list` shows the secrets of a mount")
}

async fn write(
    client: &Client,
    session: &Session,
    path: &Path,
    body: &Body,
) -> Result<Found, Error> {
    let body = body.json();
    let request = client::Request { body: Some(&body), ..request(Method::POST, session, path) };
    let answer = client.send(&request).await?;
    let status = answer.status;
    match status {
        200..300 | 404 => kv::understand(answer, None, None)
            .map_err(|error| client.placed(error, path.as_str(), status)),
        _ => Err(client.refused(&answer, path.as_str())),
    }
}

fn request<'a>(method: Method, session: &'a Session, path: &Path) -> client::Request<'a> {
    client::Request {
        token: session.token.as_ref(),
        what: path.to_string(),
        ..client::Request::new(method, path.encoded())
    }
}

/// Adds a hint: if the mount could not be detected, the path may lack its `data`.
fn with_detection_hint(error: Error, path: &Path) -> Error {
    if path.is_like_kv2()
        || error.status_is_transient()
        || matches!(error.cause, Cause::SecondV1 | Cause::NoMount)
    {
        return error;
    }
    error.hint(
        "the token cannot see what is mounted there, or nothing is. Is the path right, and does \
         the policy allow it? For KV v2 write data/ after the mount, or set --kv-version 2",
    )
}

fn report(lease: &Leased, token: Option<Duration>) {
    let Leased { id, ttl, renewable } = lease;
    let duration = ttl.as_secs();
    log::info!("lease {id}: {duration} s, {}renewable", if *renewable { "" } else { "not " });
    if let Some(token) = token.filter(|token| token < ttl) {
        let end = SystemTime::now().checked_add(token).and_then(rfc3339);
        let end = end.map(|date| format!(" at {date}")).unwrap_or_default();
        let token = token.as_secs();
        log::warn!(
            "lease {id} ends{end} with the token that it was made with, in {token} s, not in \
             {duration} s"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertexts_come_in_parts() {
        // Peer case A20.
        for (items, most, sizes) in [
            (4, 2, &[2, 2][..]),
            (4, 3, &[3, 1]),
            (4, 1, &[1; 4]),
            (1, 100, &[1]),
            (0, 2, &[]),
            (3, usize::MAX, &[3]),
        ] {
            let items = vec![0; items];
            let parts = in_parts(&items, NonZeroUsize::new(most).expect("a size"));
            assert_eq!(parts.map(<[_]>::len).collect::<Vec<_>>(), sizes, "{most}");
        }
    }
}
