//! How long to wait before the next try, and how often to speak of it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The wait after the try of this number, from 0: a random part of 250 ms, doubled with each try up to 5 s (full jitter),
/// so that many containers that failed together do not come back together.
pub fn backoff(tries: u32) -> Duration {
    let most = ceiling(tries);
    // The keys of std's hash maps are random: enough to spread waits, and no generator of random numbers is needed.
    let random = RandomState::new().hash_one(tries) % 1000;
    most.mul_f64(f64::from(u32::try_from(random).unwrap_or(999)) / 1000.0)
}

fn ceiling(tries: u32) -> Duration {
    FIRST.saturating_mul(1 << tries.min(8)).min(LONGEST)
}

/// Lets the first failure through at once, then at most one line in 10 s, whichever request it is.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Whether a line is due now.
    pub fn due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= BETWEEN_LINES);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
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
    fn the_second_line_is_not_due_at_once() {
        let pace = Pace::default();
        assert_eq!((pace.due(), pace.due()), (true, false));
    }
}
