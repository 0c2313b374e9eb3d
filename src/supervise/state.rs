//! What is known about the application's credentials, and what to do about them next (pure).

use std::fmt;
use std::time::Duration;

use crate::supervise::schedule::{self, Ahead, Dice};

/// Something that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The token.
    Token,
    /// A lease, by its id.
    Lease(String),
    /// Something that ends without a lease, such as a certificate, by its path.
    Unleased(String),
}

impl What {
    /// Returns the path that it comes from, without the part that identifies only this one.
    pub(crate) fn path(&self) -> &str {
        match self {
            What::Token => "the token",
            What::Lease(id) => id.rsplit_once('/').map_or(id.as_str(), |(path, _)| path),
            What::Unleased(path) => path,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Token => f.write_str("the token"),
            What::Lease(id) => write!(f, "lease {id}"),
            What::Unleased(path) => f.write_str(path),
        }
    }
}

/// What was granted: how long it lasts from now, and whether it can be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) what: What,
    pub(crate) ttl: Duration,
    pub(crate) renewable: bool,
}

/// A credential with its times on the clock.
#[derive(Clone, Debug)]
struct Credential {
    what: What,
    got: Duration,
    ttl: Duration,
    /// The TTL that it was first granted for: if a renewal gives less, the credential is capped.
    first: Duration,
    /// When to renew it; `None` once its end cannot be moved.
    due: Option<Duration>,
    tries: u32,
}

impl Credential {
    fn end(&self) -> Duration {
        self.got + self.ttl
    }
}

/// The result of renewing one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It lasts this long from now.
    Renewed(Duration),
    /// It no longer exists.
    Lost,
    /// No policy allows it, or it cannot be renewed.
    Forbidden,
    /// Vault was not reached, or it failed.
    Failed,
}

/// Work for a separate process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Renew these.
    Renew(Vec<What>),
    /// Get another token; the application keeps running as it is.
    LogIn,
    /// Start the application with new credentials.
    Replace,
    /// Check whether secrets have changed.
    Look,
}

/// Why a replacement or a login failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Vault refused.
    Refused,
    /// Vault refused, and a few more refusals would lock the role or the user for everybody.
    Locking,
    /// Anything that may be temporary.
    Passing,
}

/// The timing rules for this application.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) ahead: Ahead,
    /// How often to look at secrets.
    pub(crate) interval: Option<Duration>,
    /// Whether the application has the token itself.
    pub(crate) hands_on: bool,
}

/// The least time between two restarts, unless the credentials are dead.
const BETWEEN_RESTARTS: Duration = Duration::from_secs(30);
/// An answer with less than this part of the first TTL means that the end cannot be moved.
const CAPPED: f64 = 0.9;
/// What falls due within this fraction (1/n) of its time is renewed along with the rest.
const ALONG: u32 = 10;

/// What is known.
#[derive(Debug)]
pub(crate) struct State {
    rules: Rules,
    credentials: Vec<Credential>,
    replace_at: Option<Duration>,
    log_in_at: Option<Duration>,
    look_at: Option<Duration>,
    /// Failed replacements and logins in a row, and how many were refused.
    tries: u32,
    refusals: u32,
    started: Duration,
    is_waiting: bool,
    was_lost: bool,
}

impl State {
    /// Returns the state of an application that has just been started with these credentials.
    pub(crate) fn new(
        rules: Rules,
        granted: &[Granted],
        now: Duration,
        dice: &mut impl Dice,
    ) -> State {
        let mut state = State {
            rules,
            credentials: Vec::new(),
            replace_at: None,
            log_in_at: None,
            look_at: None,
            tries: 0,
            refusals: 0,
            started: now,
            is_waiting: false,
            was_lost: false,
        };
        state.started(granted, now, dice);
        state
    }

    /// Records what a start was granted, replacing everything before.
    pub(crate) fn started(&mut self, granted: &[Granted], now: Duration, dice: &mut impl Dice) {
        (self.replace_at, self.log_in_at, self.tries, self.refusals) = (None, None, 0, 0);
        (self.started, self.was_lost) = (now, false);
        self.credentials.clear();
        for granted in granted {
            self.hold(granted, now, dice);
        }
        self.look_at = self.rules.interval.map(|interval| schedule::look(now, interval, dice));
    }

    fn hold(&mut self, granted: &Granted, now: Duration, dice: &mut impl Dice) {
        let Granted { what, ttl, renewable } = granted.clone();
        let due = renewable.then(|| schedule::renewal(now, ttl, dice));
        self.credentials.push(Credential {
            what: what.clone(),
            got: now,
            ttl,
            first: ttl,
            due,
            tries: 0,
        });
        if !renewable {
            let at = schedule::replacement_of_fixed(now, ttl, self.rules.ahead, dice);
            self.replace(&what, at);
        }
    }

    /// Schedules the replacement of something that is about to end: by a login for a token that
    /// nothing depends on, and by restarting the application for anything else.
    fn replace(&mut self, what: &What, at: Duration) {
        let is_login = *what == What::Token && !self.application_has_token();
        let place = if is_login { &mut self.log_in_at } else { &mut self.replace_at };
        *place = Some(place.map_or(at, |before| before.min(at)));
    }

    /// Returns whether the application's own credentials end with the token.
    fn application_has_token(&self) -> bool {
        let has_lease =
            self.credentials.iter().any(|credential| matches!(credential.what, What::Lease(_)));
        self.rules.hands_on || has_lease
    }

    /// Returns when there is something to do. Returns `None` while a process works, and if there
    /// will be nothing to do.
    pub(crate) fn next(&self) -> Option<Duration> {
        if self.is_waiting {
            return None;
        }
        let renewals = self.credentials.iter().filter_map(|credential| credential.due);
        let others = [self.replacement(), self.log_in_at, self.look_at];
        renewals.chain(others.into_iter().flatten()).min()
    }

    fn replacement(&self) -> Option<Duration> {
        // Not so late that the credentials end first.
        let earliest = self.started + BETWEEN_RESTARTS;
        let earliest = earliest.min(self.end().map_or(earliest, |end| (self.started + end) / 2));
        self.replace_at.map(|at| if self.was_lost { at } else { at.max(earliest) })
    }

    /// Returns what to do now. Only one thing is done at a time: nothing else is returned until its
    /// outcome has been reported.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Work> {
        if self.is_waiting {
            return None;
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        let work = if is_due(self.replacement()) {
            Some(Work::Replace)
        } else if is_due(self.log_in_at) {
            Some(Work::LogIn)
        } else if self.credentials.iter().any(|credential| is_due(credential.due)) {
            Some(Work::Renew(self.due_with(now)))
        } else if is_due(self.look_at) {
            Some(Work::Look)
        } else {
            None
        };
        self.is_waiting = work.is_some();
        work
    }

    fn due_with(&self, now: Duration) -> Vec<What> {
        let goes_along = |credential: &&Credential| {
            credential
                .due
                .is_some_and(|due| due <= now + due.saturating_sub(credential.got) / ALONG)
        };
        let due = self.credentials.iter().filter(goes_along);
        due.map(|credential| credential.what.clone()).collect()
    }

    /// Records the results of renewals. Returns those whose end turned out to be fixed, and those
    /// that are lost.
    pub(crate) fn renewed(
        &mut self,
        outcomes: &[(What, Outcome)],
        now: Duration,
        dice: &mut impl Dice,
    ) -> Vec<What> {
        self.is_waiting = false;
        let mut fixed = Vec::new();
        for (what, outcome) in outcomes {
            let Some(credential) =
                self.credentials.iter_mut().find(|credential| credential.what == *what)
            else {
                continue;
            };
            // A credential that has ended in the meantime is not renewed any more.
            let has_ended = credential.end() <= now;
            let replacement = match outcome {
                Outcome::Failed if has_ended => {
                    self.was_lost = true;
                    // Vault was unreachable before, so the pauses stay as long as they were.
                    self.tries = self.tries.max(credential.tries);
                    let (end, ttl) = (credential.end(), credential.ttl);
                    schedule::again(now, end, ttl, self.tries, dice)
                }
                Outcome::Renewed(ttl) => {
                    (credential.got, credential.ttl, credential.tries) = (now, *ttl, 0);
                    if *ttl >= credential.first.mul_f64(CAPPED) {
                        credential.due = Some(schedule::renewal(now, *ttl, dice));
                        continue;
                    }
                    schedule::replacement_of_capped(now, credential.end(), dice)
                }
                Outcome::Failed => {
                    let (end, ttl) = (credential.end(), credential.ttl);
                    credential.due = Some(schedule::again(now, end, ttl, credential.tries, dice));
                    credential.tries += 1;
                    continue;
                }
                Outcome::Lost => {
                    self.was_lost = true;
                    now
                }
                Outcome::Forbidden => {
                    let left = credential.end().saturating_sub(now);
                    schedule::replacement_of_fixed(now, left, self.rules.ahead, dice)
                }
            };
            credential.due = None;
            fixed.push(what.clone());
            self.replace(what, replacement);
        }
        fixed
    }

    /// Records a new token.
    pub(crate) fn logged_in(
        &mut self,
        granted: Option<&Granted>,
        now: Duration,
        dice: &mut impl Dice,
    ) {
        self.is_waiting = false;
        (self.log_in_at, self.tries, self.refusals) = (None, 0, 0);
        self.credentials.retain(|credential| credential.what != What::Token);
        if let Some(granted) = granted {
            self.hold(granted, now, dice);
        }
    }

    /// Records that a login or a replacement failed, and schedules the next try.
    pub(crate) fn failed(
        &mut self,
        work: &Work,
        failure: Failure,
        now: Duration,
        dice: &mut impl Dice,
    ) {
        self.is_waiting = false;
        let again = match failure {
            Failure::Refused => {
                let at = schedule::after_refusal(now, self.refusals, dice);
                self.refusals += 1;
                at
            }
            Failure::Locking => {
                self.refusals += 1;
                schedule::after_refusal(now, u32::MAX, dice)
            }
            Failure::Passing => {
                let end = self.end().unwrap_or(now);
                let left = end.saturating_sub(now);
                let at = schedule::again(now, end, left, self.tries, dice);
                self.tries += 1;
                at
            }
        };
        match work {
            Work::Replace => self.replace_at = Some(again),
            Work::LogIn => self.log_in_at = Some(again),
            Work::Look => self.look_at = Some(again),
            Work::Renew(_) => {}
        }
    }

    /// Records that the secrets were looked at.
    pub(crate) fn looked(&mut self, now: Duration, dice: &mut impl Dice) {
        self.is_waiting = false;
        (self.tries, self.refusals) = (0, 0);
        self.look_at = self.rules.interval.map(|interval| schedule::look(now, interval, dice));
    }

    /// Schedules a look at the secrets for when a static role rotates, in `rotation` from now.
    pub(crate) fn rotates(
        &mut self,
        rotation: Option<Duration>,
        now: Duration,
        dice: &mut impl Dice,
    ) {
        if let Some(rotation) = rotation {
            self.look_at(schedule::rotation(now, rotation, dice));
        }
    }

    /// Schedules a look at the secrets no later than `at`.
    pub(crate) fn look_at(&mut self, at: Duration) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    /// Schedules the application's replacement for now.
    pub(crate) fn replace_now(&mut self, now: Duration) {
        self.replace_at = Some(now);
    }

    /// Returns whether the last try to replace something failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.tries + self.refusals > 0
    }

    /// Returns when the first of the credentials ends.
    pub(crate) fn end(&self) -> Option<Duration> {
        self.credentials.iter().map(Credential::end).min()
    }

    /// Returns whether something has ended.
    pub(crate) fn has_ended(&self, now: Duration) -> bool {
        self.was_lost || self.end().is_some_and(|end| end <= now)
    }

    /// Returns each credential with its end.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (&What, Duration)> {
        self.credentials.iter().map(|credential| (&credential.what, credential.end()))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use super::*;
    use crate::supervise::schedule::tests::Loaded;

    const S: Duration = Duration::from_secs(1);

    fn granted(what: What, ttl: u64, renewable: bool) -> Granted {
        Granted { what, ttl: Duration::from_secs(ttl), renewable }
    }

    fn lease() -> What {
        What::Lease("db/creds/app/x".into())
    }

    fn with(granted: &[Granted], dice: &mut Loaded) -> State {
        State::new(Rules::default(), granted, Duration::ZERO, dice)
    }

    #[test]
    fn token_and_lease_are_renewed_together_if_they_fall_due_together() {
        let dice = &mut Loaded(3);
        let both = [granted(What::Token, 60, true), granted(lease(), 60, true)];
        let mut state = with(&both, dice);
        let due = state.next().expect("a time");
        assert!(due >= 30 * S && due <= 45 * S, "{due:?}");
        assert_eq!(state.take(due.saturating_sub(S)), None);
        let Some(Work::Renew(what)) = state.take(due) else { panic!("{state:?}") };
        assert_eq!(state.next(), None, "one at a time");
        let outcomes: Vec<(What, Outcome)> =
            what.into_iter().map(|what| (what, Outcome::Renewed(60 * S))).collect();
        assert_eq!(state.renewed(&outcomes, due, dice), []);
        assert!(state.next().expect("a time") >= due);
    }

    #[test]
    fn what_comes_back_shorter_is_renewed_no_more_and_replaced_in_the_first_half_of_the_rest() {
        let dice = &mut Loaded(5);
        let mut state = with(&[granted(lease(), 100, true)], dice);
        let due = state.next().expect("a time");
        assert!(state.take(due).is_some());
        assert_eq!(state.renewed(&[(lease(), Outcome::Renewed(40 * S))], due, dice), [lease()]);
        let at = state.next().expect("a time");
        assert!(at >= due && at <= due + 20 * S, "{at:?} after {due:?}");
        assert_eq!(state.take(at), Some(Work::Replace));
    }

    #[test]
    fn a_token_on_which_nothing_hangs_is_replaced_by_a_login() {
        let dice = &mut Loaded(7);
        let mut state = with(&[granted(What::Token, 100, false)], dice);
        let at = state.next().expect("a time");
        assert!(at >= 50 * S && at <= 90 * S, "{at:?}");
        assert_eq!(state.take(at), Some(Work::LogIn));
        state.logged_in(Some(&granted(What::Token, 100, true)), at, dice);
        assert!(state.next().expect("a time") > at + 40 * S);
        // The application has the token, so it is restarted.
        let rules = Rules { hands_on: true, ..Rules::default() };
        let mut state =
            State::new(rules, &[granted(What::Token, 100, false)], Duration::ZERO, dice);
        assert_eq!(state.take(100 * S), Some(Work::Replace));
    }

    #[test]
    fn what_is_lost_is_replaced_at_once_and_what_fails_is_tried_again() {
        let dice = &mut Loaded(9);
        let mut state = with(&[granted(lease(), 3600, true)], dice);
        let due = state.next().expect("a time");
        assert!(state.take(due).is_some());
        state.renewed(&[(lease(), Outcome::Failed)], due, dice);
        let again = state.next().expect("a time");
        assert!(again > due && again <= due + 2 * S);
        assert!(!state.has_ended(again));
        assert!(matches!(state.take(again), Some(Work::Renew(_))));
        state.renewed(&[(lease(), Outcome::Lost)], again, dice);
        assert_eq!(state.take(again), Some(Work::Replace));
        assert!(state.has_ended(again));
        state.failed(&Work::Replace, Failure::Passing, again, dice);
        assert!(state.next().expect("a time") > again);
        assert_eq!(state.take(again + 301 * S), Some(Work::Replace));
        state.failed(&Work::Replace, Failure::Refused, again, dice);
        assert!(state.next().expect("a time") >= again + 225 * S);
        assert_eq!(state.take(again + 301 * S), Some(Work::Replace));
        state.failed(&Work::Replace, Failure::Locking, again, dice);
        assert!(state.next().expect("a time") >= again + 2700 * S);
    }

    #[test]
    fn restarts_are_at_least_thirty_seconds_apart_unless_the_credentials_are_dead() {
        let dice = &mut Loaded(11);
        let rules = Rules { interval: Some(10 * S), ..Rules::default() };
        let mut state =
            State::new(rules, &[granted(What::Token, 3600, true)], Duration::ZERO, dice);
        assert_eq!(state.take(13 * S), Some(Work::Look));
        state.looked(13 * S, dice);
        state.replace_now(13 * S);
        assert_eq!(state.take(29 * S), Some(Work::Look));
        state.looked(29 * S, dice);
        assert_eq!(state.take(30 * S), Some(Work::Replace));
    }

    /// Returns the load that 10 000 supervisors with a TTL of an hour, started within a minute, put
    /// on a server: the requests in each second of four hours, and how many tokens were lost.
    fn load(outage: std::ops::Range<u64>) -> (Vec<u32>, usize) {
        const MANY: u64 = 10_000;
        const HOURS: usize = 4;
        let mut dice = Loaded(42);
        let token = [granted(What::Token, 3600, true)];
        let mut states = Vec::new();
        let mut queue = BinaryHeap::new();
        for number in 0..MANY {
            let now = dice.part(60 * S, 0.0, 1.0);
            let state = State::new(Rules::default(), &token, now, &mut dice);
            queue.push(Reverse((state.next().expect("a time"), number)));
            states.push(state);
        }
        let mut seconds = vec![0; HOURS * 3600];
        let mut lost = std::collections::BTreeSet::new();
        while let Some(Reverse((now, number))) = queue.pop() {
            let Some(second) = seconds.get_mut(usize::try_from(now.as_secs()).expect("small"))
            else {
                break;
            };
            *second += 1;
            let state = &mut states[usize::try_from(number).expect("small")];
            let is_up = !outage.contains(&now.as_secs());
            if state.has_ended(now) {
                lost.insert(number);
            }
            match state.take(now).expect("it is due") {
                work @ Work::LogIn if !is_up => {
                    state.failed(&work, Failure::Passing, now, &mut dice);
                }
                Work::LogIn => state.logged_in(token.first(), now, &mut dice),
                Work::Renew(_) => {
                    let outcome = match (is_up, state.has_ended(now)) {
                        (false, _) => Outcome::Failed,
                        (true, false) => Outcome::Renewed(3600 * S),
                        (true, true) => Outcome::Lost,
                    };
                    state.renewed(&[(What::Token, outcome)], now, &mut dice);
                }
                other => panic!("{other:?}"),
            }
            queue.push(Reverse((state.next().expect("a time"), number)));
        }
        (seconds, lost.len())
    }

    fn mean(seconds: &[u32]) -> f64 {
        let sum: u32 = seconds.iter().sum();
        f64::from(sum) / f64::from(u32::try_from(seconds.len()).expect("small"))
    }

    /// Returns the highest rate per second in any ten seconds.
    fn peak(seconds: &[u32]) -> f64 {
        seconds.windows(10).map(mean).fold(0.0, f64::max)
    }

    #[test]
    fn ten_thousand_supervisors_are_no_load() {
        let (seconds, lost) = load(0..0);
        assert!(mean(&seconds) <= 5.0, "{} a second", mean(&seconds));
        assert!(peak(&seconds) <= 25.0, "{} at the peak", peak(&seconds));
        assert_eq!(lost, 0);
        // Ten minutes without Vault.
        let (seconds, lost) = load(7200..7800);
        assert_eq!(lost, 0);
        assert!(peak(&seconds[7800..]) <= 40.0, "{} after it", peak(&seconds[7800..]));
        // An hour.
        let (seconds, lost) = load(7200..10_800);
        let tries = mean(&seconds[7200..10_800]);
        assert!(tries <= 70.0, "{tries} tries a second");
        assert!(lost > 0, "an hour is longer than what is left of most");
    }
}
