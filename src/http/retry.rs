//! Tries again until the deadline: how long to wait before the next try, and how often to log it.

use std::cell::Cell;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::error::Error;
use crate::http::answers::Budget;
use crate::http::deadline::{Deadline, shown};
use crate::http::redact::Redactor;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Returns the wait after the try with this number, from 0: a random part of 250 ms, doubled with
/// each try up to 5 s (full jitter), so that many containers that failed together do not come back
/// together.
pub(crate) fn backoff(tries: u32) -> Duration {
    part_of(ceiling(tries))
}

/// Returns the wait after the try with this number if the server asks for one. That time is only
/// the minimum: a server may ask for no wait at all. Up to half of it is added, because all clients
/// that were told the same would otherwise come back together. The wait ends before the time left
/// runs out, if more time is left than the server asked for.
fn asked_for(least: Duration, tries: u32, left: Duration) -> Duration {
    let spread = (least / 2).min(left.saturating_sub(least) / 2);
    least.saturating_add(part_of(spread)).max(backoff(tries))
}

/// Returns a random part of a duration.
fn part_of(most: Duration) -> Duration {
    // The keys of std's hash maps are random. That is enough to spread waits, so no random number
    // generator is needed.
    let random = RandomState::new().hash_one(0) % 1000;
    most.mul_f64(f64::from(u32::try_from(random).unwrap_or(999)) / 1000.0)
}

fn ceiling(tries: u32) -> Duration {
    FIRST.saturating_mul(1 << tries.min(8)).min(LONGEST)
}

/// Lets the first failure through at once, then at most one line per 10 s for all requests
/// together.
#[derive(Debug, Default)]
pub(crate) struct Pace(Cell<Option<Instant>>);

impl Pace {
    /// Returns whether a line is due now.
    pub(crate) fn due(&self) -> bool {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> bool {
        let due =
            self.0.get().is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN_LINES);
        if due {
            self.0.set(Some(now));
        }
        due
    }
}

/// The result of one try.
#[derive(Debug)]
pub(crate) enum Tried<T> {
    /// There is an answer.
    Done(T),
    /// It may be tried again, after this time if the server asked for one.
    Again(Error, Option<Duration>),
    /// Trying again is no use, or not allowed.
    Final(Error),
}

impl<T> Tried<T> {
    /// Returns the same result with the error changed, if there is one.
    #[must_use]
    pub(crate) fn map_err(self, change: impl FnOnce(Error) -> Error) -> Tried<T> {
        match self {
            Tried::Done(answer) => Tried::Done(answer),
            Tried::Again(error, wait) => Tried::Again(change(error), wait),
            Tried::Final(error) => Tried::Final(change(error)),
        }
    }
}

/// How long and how often something is tried.
#[derive(Debug)]
pub(crate) struct Patience {
    deadline: Deadline,
    /// Tries after the first one; `None` means until the deadline.
    max_retries: Option<u32>,
    pace: Pace,
    /// Knows the credentials that no message may show.
    pub redactor: Redactor,
    /// How much of our memory the answers may take.
    pub budget: Budget,
}

impl Patience {
    /// Creates one that lasts until the deadline, or until `max_retries` tries after the first one
    /// have failed.
    pub(crate) fn new(deadline: Deadline, max_retries: Option<u32>) -> Patience {
        Patience {
            deadline,
            max_retries,
            pace: Pace::default(),
            redactor: Redactor::default(),
            budget: Budget::default(),
        }
    }

    /// Returns the time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.left()
    }

    /// Tries until there is an answer, or only once if `is_single`. Messages call the request
    /// `what` and give the address as `at`.
    ///
    /// # Errors
    /// The failure of the last try, with the number of tries and the time they took.
    pub(crate) async fn persist<T>(
        &self,
        what: &str,
        at: &dyn Display,
        is_single: bool,
        attempt: impl AsyncFn() -> Tried<T>,
    ) -> Result<T, Error> {
        let (mut tries, mut before) = (0, None);
        loop {
            let outcome = attempt().await;
            tries += 1;
            let outcome = if self.left().is_zero() {
                outcome.map_err(|error| cut(error, before.take()))
            } else {
                outcome
            };
            let (error, wait) = match outcome {
                Tried::Done(answer) => return Ok(answer),
                Tried::Final(error) => return Err(self.report(error, what, at, tries)),
                Tried::Again(error, wait) => (error, wait),
            };
            if is_single || self.pause(&error, wait, what, at, tries).await.is_none() {
                return Err(self.report(error, what, at, tries));
            }
            before = Some(error);
        }
    }

    /// Waits before the next try. Returns `None` if there must not be one.
    pub(crate) async fn pause(
        &self,
        error: &Error,
        wait: Option<Duration>,
        what: &str,
        at: &dyn Display,
        tries: u32,
    ) -> Option<()> {
        let left = self.left();
        let pause = match wait {
            Some(least) => asked_for(least, tries - 1, left),
            None => backoff(tries - 1),
        };
        let is_last = self.max_retries.is_some_and(|most| tries > most)
            || left.is_zero()
            || wait.is_some_and(|wait| wait >= left);
        if is_last {
            return None;
        }
        if self.pace.due() {
            log::warn!("{what}: {} ({at}); trying again for {}", error.message, shown(left));
        }
        sleep(pause.min(left)).await;
        (!self.left().is_zero()).then_some(())
    }

    /// Adds to an error what was tried, the server and the number of tries.
    fn report(&self, error: Error, what: &str, at: &dyn Display, tries: u32) -> Error {
        let times = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
        let spent = shown(self.deadline.elapsed());
        let message = format!("{what}: {} ({at}, {times} in {spent})", error.message);
        Error { message, ..error }
    }
}

/// Adds the earlier error to that of a try that the deadline cut short: the earlier one says what
/// is wrong.
fn cut(error: Error, before: Option<Error>) -> Error {
    match before {
        Some(before) if before != error => Error {
            message: format!("{}; the try before: {}", error.message, before.message),
            ..before
        },
        _ => error,
    }
}

/// Parses `Retry-After` in seconds, the only form that Vault sends (RFC 9110, 10.2.3).
pub(crate) fn seconds(retry_after: &str) -> Option<Duration> {
    retry_after.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds() {
        let most: Vec<u128> = (0..8).map(|tries| ceiling(tries).as_millis()).collect();
        assert_eq!(most, [250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(ceiling(u32::MAX), LONGEST);
    }

    #[test]
    fn waits_are_spread_over_all_of_their_range() {
        let waits: Vec<Duration> = (0..200).map(|_| backoff(2)).collect();
        assert!(waits.iter().all(|wait| *wait < Duration::from_secs(1)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(300)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(700)));
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_at_least_that_and_never_none() {
        let many = |least: u64, tries, left: u64| -> Vec<Duration> {
            let (least, left) = (Duration::from_millis(least), Duration::from_millis(left));
            (0..200).map(|_| asked_for(least, tries, left)).collect()
        };
        let between = |waits: &[Duration], least, most| {
            let range = Duration::from_millis(least)..=Duration::from_millis(most);
            waits.iter().all(|wait| range.contains(wait))
        };
        let waits = many(2000, 0, 60_000);
        assert!(between(&waits, 2000, 3000), "{waits:?}");
        assert!(waits.iter().any(|wait| wait.as_millis() > 2700), "{waits:?}");
        // The server asks for no wait: the usual one applies, which grows.
        let waits = many(0, 4, 60_000);
        assert!(between(&waits, 0, 4000) && !between(&waits, 0, 1000), "{waits:?}");
        // The deadline is near: the wait ends in time for a last try.
        assert!(between(&many(2000, 0, 2100), 2000, 2050));
        assert!(between(&many(u64::MAX, 0, 100), u64::MAX, u64::MAX));
    }

    #[test]
    fn the_first_line_is_due_at_once_and_then_one_in_ten_seconds() {
        let (pace, start) = (Pace::default(), Instant::now());
        let due = [0, 1, 9_999, 10_000, 10_001, 19_999, 25_000]
            .map(|ms| pace.due_at(start + Duration::from_millis(ms)));
        assert_eq!(due, [true, false, false, true, false, false, true]);
    }
}
