//! Carries the plan out: each distinct request once, in parallel.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Method;

use crate::environment::Outcomes;
use crate::error::{Cause, Code, Error};
use crate::grammar::mount::{KvVersion, Question};
use crate::grammar::path::Path;
use crate::grammar::reference::{Ask, Body};
use crate::plan::{self, Plan};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::vault::answer::Meaning;
use crate::vault::client::{Client, Repeat, Request};
use crate::vault::document::{Found, Lease};
use crate::vault::kv;
use crate::vault::mounts::{self, Engine, Target};
use crate::vault::parallel::{in_parallel, in_turn};
use crate::vault::session::Session;
use crate::vault::stay::Stay;
use crate::vault::transit;

/// A request that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Job {
    Read(Target, Option<u64>),
    Write(Path, Body),
    Decrypt(Path, Vec<Secret>),
}

/// What came of it.
enum Done {
    Found(Result<Found, Error>),
    Decrypted(Vec<Result<Secret, Error>>),
}

/// Makes every request of a plan, with a token of this TTL, if that is known. The stay holds each
/// lease as soon as it has come.
///
/// # Errors
/// 78 if the token is not good for so many requests; 69 and 76 if the mounts cannot be asked for. A
/// request that fails is an outcome, not an error: all of them are reported.
pub async fn fetch(
    stay: &Stay,
    ttl: Option<Duration>,
    plan: &Plan,
    settings: &Settings,
) -> Result<Outcomes, Error> {
    let Stay { client, session, .. } = stay;
    let (mut jobs, places) = requests(client, session, plan, settings.kv_version).await?;
    jobs.extend(batches(plan, settings));
    check_uses(session, jobs.len())?;
    let work = async |job: &Job| carry_out(stay, job).await;
    stay.count(jobs.len() as u64);
    let done = if goes_in_turn(session, &jobs) {
        in_turn(&jobs, &work).await
    } else {
        in_parallel(client, &jobs, &work).await
    };
    let mut outcomes = Outcomes { places, token: session.token.clone(), ..Outcomes::default() };
    for done in done {
        match done {
            Done::Found(found) => outcomes.answers.push(found),
            Done::Decrypted(values) => outcomes.decrypted.extend(values),
        }
    }
    let leases: Vec<Lease> =
        outcomes.answers.iter().flatten().filter_map(|found| found.lease.clone()).collect();
    for lease in &leases {
        report(lease, ttl);
    }
    check_spent(session, jobs.len(), &leases, &outcomes.answers)?;
    Ok(outcomes)
}

/// The reads and writes of a plan, and for each of its requests which of them it is: paths that
/// were written in two ways can be the same request.
async fn requests(
    client: &Client,
    session: &Session,
    plan: &Plan,
    version: Option<KvVersion>,
) -> Result<(Vec<Job>, Vec<usize>), Error> {
    let questions: Vec<Question<'_>> = plan.requests.iter().filter_map(question).collect();
    let mut targets =
        mounts::resolve(client, session.token.as_ref(), &questions, version).await?.into_iter();
    let mut jobs = Vec::new();
    let mut places = Vec::with_capacity(plan.requests.len());
    for plan::Request { path, ask, .. } in &plan.requests {
        let job = match ask {
            Ask::Write(body) => Some(Job::Write(path.clone(), body.clone())),
            Ask::Read(version) => targets.next().map(|target| Job::Read(target, *version)),
        };
        places.extend(job.map(|job| plan::place(&mut jobs, job)));
    }
    Ok((jobs, places))
}

/// What is to be found out about a request: a write goes where it says.
pub fn question(request: &plan::Request) -> Option<Question<'_>> {
    match request.ask {
        Ask::Read(_) => Some(Question { path: &request.path, mount: request.mount }),
        Ask::Write(_) => None,
    }
}

fn batches(plan: &Plan, settings: &Settings) -> Vec<Job> {
    let Some(path) = settings.transit.path() else { return Vec::new() };
    let parts = in_parts(&plan.ciphertexts, settings.transit.batch);
    parts.map(|batch| Job::Decrypt(path.clone(), batch.to_vec())).collect()
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

/// A token that is used up is gone, and its leases with it. Vault withholds a lease that comes with
/// the last use, and lets one that came before end: which of them it is depends on the order in
/// which it takes the requests.
fn check_spent(
    session: &Session,
    requests: usize,
    leases: &[Lease],
    answers: &[Result<Found, Error>],
) -> Result<(), Error> {
    let is_withheld = |answer: &Result<Found, Error>| matches!(answer, Err(error) if error.cause == Cause::Withheld);
    let has_lost = !leases.is_empty() || answers.iter().any(is_withheld);
    match session.uses {
        Some(uses) if uses <= requests as u64 && has_lost => Err(Error::config(format!(
            "the login's token is good for {uses} requests, all of them are used, and the dynamic \
             secrets ended with it"
        ))
        .hint("set token_num_uses of the role to 0 or to a larger number")),
        _ => Ok(()),
    }
}

/// A lease that is made while the last use of its token is under way can outlive the token, and
/// nobody has it then.
fn goes_in_turn(session: &Session, jobs: &[Job]) -> bool {
    let makes_no_lease = |job: &Job| match job {
        Job::Read(Target { engine, .. }, _) => matches!(engine, Engine::Kv(_)),
        Job::Write(..) => false,
        Job::Decrypt(..) => true,
    };
    session.uses == Some(jobs.len() as u64) && !jobs.iter().all(makes_no_lease)
}

async fn carry_out(stay: &Stay, job: &Job) -> Done {
    let Stay { client, session, .. } = stay;
    let found = match job {
        Job::Read(target, version) => read(client, session, target, *version).await,
        Job::Write(path, body) => write(client, session, path, body).await,
        Job::Decrypt(path, batch) => {
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
        // Known before it is asked for: a read of a dynamic secret would make a lease.
        return Err(kv::no_versions().at(path));
    }
    let repeat =
        if matches!(engine, Engine::Kv(_)) { Repeat::Freely } else { Repeat::OnlyIfNotDone };
    let known = if let Engine::Kv(version) = engine { Some(*version) } else { None };
    let query = version.map(|version| format!("version={version}"));
    let request = Request { query, repeat, ..request(Method::GET, session, path) };
    let answer = client.send(&request).await?;
    let (status, refuses_token) = (answer.status, answer.meaning == Meaning::BadToken);
    let found = match answer.status {
        200..300 | 404 => kv::understand(answer, version, known)
            .map_err(|error| client.placed(error, path.as_str(), status)),
        _ => Err(client.refused(&answer, path.as_str())),
    };
    // Where the token is another's, it may as well be missing.
    let is_about_token = refuses_token || (session.token.is_none() && status == 403);
    let is_about_path =
        *engine == Engine::Unknown && !is_about_token && !client.is_elsewhere(path.as_str());
    found.map_err(|error| match remedy(path, &error) {
        Some(remedy) => error.hint(remedy),
        None if is_about_path => with_detection_hint(error, path),
        None => error,
    })
}

/// What to do about a path that has nothing behind it, as far as the path itself tells.
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
    let request = Request { body: Some(&body), ..request(Method::POST, session, path) };
    let answer = client.send(&request).await?;
    let status = answer.status;
    match status {
        200..300 | 404 => kv::understand(answer, None, None)
            .map_err(|error| client.placed(error, path.as_str(), status)),
        _ => Err(client.refused(&answer, path.as_str())),
    }
}

fn request<'a>(method: Method, session: &'a Session, path: &Path) -> Request<'a> {
    Request {
        token: session.token.as_ref(),
        what: path.to_string(),
        ..Request::new(method, path.encoded())
    }
}

/// Where the mount could not be found out, the path may lack its `data`.
fn with_detection_hint(error: Error, path: &Path) -> Error {
    if path.is_like_kv2()
        || error.status_is_transient()
        || matches!(error.cause, Cause::SecondV1 | Cause::NoMount)
    {
        return error;
    }
    error.hint(
        "nothing is mounted there, or the token cannot see it. Is the path right, and does the \
         policy allow it? For KV v2 write data/ after the mount, or set --kv-version 2",
    )
}

fn report(lease: &Lease, token: Option<Duration>) {
    let Lease { id, duration, renewable } = lease;
    log::info!("lease {id}: {duration} s, {}renewable", if *renewable { "" } else { "not " });
    if let Some(ttl) = token.filter(|ttl| *ttl < Duration::from_secs(*duration)) {
        let end = date_after(ttl).map(|date| format!(" at {date}")).unwrap_or_default();
        let ttl = ttl.as_secs();
        log::warn!(
            "lease {id} ends{end} with the token that it was made with, in {ttl} s, not in \
             {duration} s"
        );
    }
}

/// The date after a time from now, as far as there are dates: `humantime` panics after year 9999.
fn date_after(time: Duration) -> Option<String> {
    const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);
    let end = SystemTime::now().checked_add(time)?;
    let is_date = end.duration_since(UNIX_EPOCH).is_ok_and(|since| since <= END_OF_9999);
    is_date.then(|| humantime::format_rfc3339_seconds(end).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_date_after_the_year_9999() {
        assert!(date_after(Duration::from_mins(1)).is_some_and(|date| date.ends_with('Z')));
        for seconds in [253_402_300_800, 300_000_000_000, i64::MAX as u64, u64::MAX] {
            assert_eq!(date_after(Duration::from_secs(seconds)), None, "{seconds}");
        }
    }

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
