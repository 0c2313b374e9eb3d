//! Carries the plan's reads out: each distinct request once, in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use reqwest::Method;

use crate::environment::Outcomes;
use crate::error::Error;
use crate::path::Path;
use crate::plan::Read;
use crate::settings::KvVersion;
use crate::vault::auth::Session;
use crate::vault::client::{Client, Repeat, Request};
use crate::vault::kv::{self, Found, Lease};
use crate::vault::mounts::{self, Engine, Target};

/// Threads that wait for an answer need little: what is read is on the heap.
const STACK: usize = 256 << 10;

/// What came of the reads.
#[derive(Debug, Default)]
pub struct Fetched {
    /// What came of each request.
    pub outcomes: Outcomes,
    /// How many requests used the token.
    pub requests: u64,
    /// Whether a lease hangs on the token.
    pub has_leases: bool,
}

/// A request: what is read, and which version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    target: Target,
    version: Option<u64>,
}

/// Reads everything.
///
/// # Errors
/// 78 where the token is not good for so many requests; 69 and 76 where the mounts cannot be asked for. A read that fails
/// is an outcome, not an error: all of them are reported.
pub fn fetch(client: &Client, session: &Session, reads: &[Read], version: Option<KvVersion>) -> Result<Fetched, Error> {
    let paths: Vec<&Path> = reads.iter().map(|read| &read.path).collect();
    let targets = mounts::resolve(client, &session.token, &paths, version)?;
    let (wanted, places) = distinct(reads, targets);
    check_uses(session, wanted.len())?;
    let answers = in_parallel(client, &wanted, |wanted| read(client, session, wanted));
    let mut fetched = Fetched { requests: wanted.len() as u64, ..Fetched::default() };
    fetched.has_leases = answers.iter().flatten().any(|found| found.lease.is_some());
    for lease in answers.iter().flatten().filter_map(|found| found.lease.as_ref()) {
        report(lease, session);
    }
    let documents = answers.into_iter().map(|answer| answer.map(|found| found.document)).collect();
    fetched.outcomes = Outcomes { documents, places };
    Ok(fetched)
}

/// Paths that were written in two ways can be the same request.
fn distinct(reads: &[Read], targets: Vec<Target>) -> (Vec<Wanted>, Vec<usize>) {
    let mut wanted: Vec<Wanted> = Vec::new();
    let place = |(read, target): (&Read, Target)| {
        let this = Wanted { target, version: read.version };
        wanted.iter().position(|known| *known == this).unwrap_or_else(|| {
            wanted.push(this);
            wanted.len() - 1
        })
    };
    let places = reads.iter().zip(targets).map(place).collect();
    (wanted, places)
}

fn check_uses(session: &Session, requests: usize) -> Result<(), Error> {
    match session.uses {
        Some(uses) if uses < requests as u64 => Err(Error::config(format!(
            "the login's token is good for {uses} requests, and there are {requests} secrets to read"
        ))
        .hint("set token_num_uses of the role to 0 or to at least this number, or put the secrets together under fewer paths")),
        _ => Ok(()),
    }
}

fn read(client: &Client, session: &Session, wanted: &Wanted) -> Result<Found, Error> {
    let Wanted { target: Target { path, engine }, version } = wanted;
    let repeat = if matches!(engine, Engine::Kv(_)) { Repeat::Freely } else { Repeat::OnlyIfNotDone };
    let request = Request {
        method: Method::GET,
        path: path.encoded(),
        query: version.map(|version| format!("version={version}")),
        token: Some(&session.token),
        body: None,
        repeat,
        what: path.to_string(),
    };
    let answer = client.send(&request)?;
    let (status, refuses_token) = (answer.status, answer.refuses_token());
    let found = match answer.status {
        200..300 | 404 => kv::understand(answer, *version).map_err(|error| client.placed(error, path.as_str(), status)),
        _ => Err(client.refused(&answer, path.as_str())),
    };
    let is_about_path = *engine == Engine::Unknown && !refuses_token;
    found.map_err(|error| if is_about_path { with_detection_hint(error, path) } else { error })
}

/// Where the mount could not be found out, the path may lack its `data`.
fn with_detection_hint(error: Error, path: &Path) -> Error {
    if path.has_data_segment() || error.status_is_transient() || error.message.contains(kv::ROUTE_WITH_V1) {
        return error;
    }
    error.hint(
        "the token cannot see what is mounted there. Is the path right, and does the policy allow it? For KV v2 \
        write data/ after the mount, or set --kv-version 2",
    )
}

fn report(lease: &Lease, session: &Session) {
    let Lease { id, duration, renewable } = lease;
    log::info!("lease {id}: {duration} s, {}renewable", if *renewable { "" } else { "not " });
    if let Some(ttl) = session.ttl.filter(|ttl| *ttl < Duration::from_secs(*duration)) {
        log::warn!("lease {id} ends with the token that it was made with, in {} s, not in {duration} s", ttl.as_secs());
    }
}

/// `work` on each item at once, as far as the connection allows, with the results in order. The first one goes alone
/// where nothing has been sent yet: its answer tells how many may follow at once, over a connection that is there then.
fn in_parallel<T: Sync, R: Send>(client: &Client, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Some((first, rest)) = items.split_first() else { return Vec::new() };
    if !client.is_connected() || rest.is_empty() {
        let first = work(first);
        return std::iter::once(first).chain(on_threads(client.parallel(), rest, &work)).collect();
    }
    on_threads(client.parallel(), items, &work)
}

fn on_threads<T: Sync, R: Send>(most: usize, items: &[T], work: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let take = || {
        while let Some((at, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
        {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..most.min(items.len()) {
            // Where there can be no more threads, those that there are do the work.
            if thread::Builder::new().stack_size(STACK).spawn_scoped(scope, take).is_err() {
                break;
            }
        }
        take();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        Target { path: Path::parse(path).expect("a path"), engine: Engine::Unknown }
    }

    fn read_of(path: &str, version: Option<u64>) -> Read {
        Read { path: Path::parse(path).expect("a path"), version }
    }

    #[test]
    fn reads_of_the_same_target_and_version_are_one_request() {
        let reads =
            [read_of("kv/a", None), read_of("kv/data/a", None), read_of("kv/data/a", Some(1)), read_of("kv/b", None)];
        let targets = ["kv/data/a", "kv/data/a", "kv/data/a", "kv/data/b"].map(target).to_vec();
        let (wanted, places) = distinct(&reads, targets);
        assert_eq!((wanted.len(), places), (3, vec![0, 0, 1, 2]));
    }

    #[test]
    fn results_keep_their_order_whatever_the_number_of_threads() {
        let items: Vec<usize> = (0..100).collect();
        for most in [1, 3, 64, 1000] {
            assert_eq!(on_threads(most, &items, &|item: &usize| item * 2), (0..200).step_by(2).collect::<Vec<_>>());
        }
        assert_eq!(on_threads(8, &[] as &[u8], &|_| 1), Vec::<i32>::new());
    }
}
