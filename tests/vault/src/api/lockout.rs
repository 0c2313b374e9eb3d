//! Five wrong credentials for one name lock that name out for a quarter of an hour, even with the
//! right ones.

use std::collections::HashMap;
use std::time::{Duration, Instant};

const THRESHOLD: u32 = 5;
const PERIOD: Duration = Duration::from_mins(15);

/// Failed logins by mount and name.
#[derive(Default)]
pub(crate) struct Lockout(HashMap<(String, String), (u32, Instant)>);

impl Lockout {
    pub(crate) fn is_locked(&self, mount: &str, name: &str) -> bool {
        let entry = self.0.get(&(mount.to_owned(), name.to_owned()));
        entry.is_some_and(|(failures, last)| *failures >= THRESHOLD && last.elapsed() < PERIOD)
    }

    pub(crate) fn failed(&mut self, mount: &str, name: &str) {
        let entry =
            self.0.entry((mount.to_owned(), name.to_owned())).or_insert((0, Instant::now()));
        let failures = if entry.1.elapsed() < PERIOD { entry.0 } else { 0 };
        *entry = (failures + 1, Instant::now());
    }

    pub(crate) fn succeeded(&mut self, mount: &str, name: &str) {
        self.0.remove(&(mount.to_owned(), name.to_owned()));
    }
}
