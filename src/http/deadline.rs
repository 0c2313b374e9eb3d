//! The single deadline for everything until the application starts.

use std::time::{Duration, Instant};

/// A point in time by which the application must have started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    length: Duration,
}

impl Deadline {
    /// Returns a deadline this long after `start`.
    pub(crate) fn new(start: Instant, length: Duration) -> Deadline {
        Deadline { start, length }
    }

    /// Returns the time left, or zero once the deadline has passed.
    pub(crate) fn left(&self) -> Duration {
        self.length.saturating_sub(self.elapsed())
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Formats a duration for people: `250 ms`, `5 s`, `1.5 s`.
pub(crate) fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        _ if milliseconds % 1000 < 100 => format!("{} s", milliseconds / 1000),
        _ => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_deadline_has_nothing_left() {
        let deadline = Deadline::new(Instant::now(), Duration::ZERO);
        assert_eq!(deadline.left(), Duration::ZERO);
        assert!(
            Deadline::new(Instant::now(), Duration::from_mins(1)).left() > Duration::from_secs(30)
        );
    }

    #[test]
    fn durations_are_shown_to_a_tenth_of_a_second() {
        for (milliseconds, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (1099, "1 s"),
            (1500, "1.5 s"),
            (60_000, "60 s"),
        ] {
            assert_eq!(shown(Duration::from_millis(milliseconds)), text);
        }
    }
}
