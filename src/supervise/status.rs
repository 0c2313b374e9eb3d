//! The status file: what is known about the application's credentials, without any of their values.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::error::Error;
use crate::supervise::state::{State, What};

/// The content of the status file.
pub(crate) struct Status<'a> {
    pub(crate) pid: i32,
    pub(crate) is_stopping: bool,
    pub(crate) restarts: u32,
    pub(crate) state: Option<&'a State>,
    pub(crate) success: Option<Duration>,
    pub(crate) failure: Option<Duration>,
    pub(crate) is_failing: bool,
    pub(crate) now: Duration,
}

/// Checks that the file can be at this path. It is replaced and finally removed, which nobody wants
/// for a device or a directory.
///
/// # Errors
/// 78 if something other than a regular file is there.
pub(crate) fn check(file: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(file) {
        Ok(found) if !found.is_file() => Err(Error::config(format!(
            "--status-file: there is something at {} that is not a regular file",
            file.display()
        ))
        .hint("the file is replaced at each change and removed at the end: name a new one")),
        _ => Ok(()),
    }
}

/// Replaces the file atomically: a reader sees either the old one or the new one.
pub(crate) fn write(file: &Path, status: &Status<'_>) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    fs::write(&new, format!("{}\n", to_json(status, SystemTime::now())))?;
    fs::rename(&new, file)
}

fn to_json(status: &Status<'_>, wall: SystemTime) -> Value {
    let time = |at: Duration| {
        let on_wall = match at.checked_sub(status.now) {
            Some(later) => wall.checked_add(later),
            None => wall.checked_sub(status.now.saturating_sub(at)),
        };
        on_wall.map(|at| humantime::format_rfc3339_seconds(at).to_string())
    };
    let state = match status.state {
        _ if status.is_stopping => "stopping",
        None => "init",
        Some(state) if state.has_ended(status.now) => "ended",
        Some(_) if status.is_failing => "failing",
        Some(_) => "running",
    };
    let ends: Vec<(&What, Duration)> = status.state.into_iter().flat_map(State::ends).collect();
    let token = ends.iter().find(|(what, _)| **what == What::Token).map(|(_, end)| time(*end));
    let leases = ends.iter().filter(|(what, _)| **what != What::Token);
    let leases: Vec<Value> =
        leases.map(|(what, end)| json!({ "path": what.path(), "end": time(*end) })).collect();
    json!({
        "state": state,
        "pid": status.pid,
        "token_end": token,
        "leases": leases,
        "last_success": status.success.map(time),
        "last_failure": status.failure.map(time),
        "restarts": status.restarts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::schedule::tests::Loaded;
    use crate::supervise::state::{Granted, Rules};

    #[test]
    fn the_status_has_ends_and_paths_and_no_id() {
        let granted = [
            Granted { what: What::Token, ttl: Duration::from_mins(1), renewable: true },
            Granted {
                what: What::Lease("database/creds/app/Zp0Hk1aWqT".into()),
                ttl: Duration::from_mins(2),
                renewable: true,
            },
        ];
        let now = Duration::from_hours(5);
        let state = State::new(Rules::default(), &granted, now, &mut Loaded(1));
        let status = Status {
            pid: 7,
            is_stopping: false,
            restarts: 2,
            state: Some(&state),
            success: Some(now),
            failure: None,
            is_failing: false,
            now,
        };
        let shown = to_json(&status, SystemTime::UNIX_EPOCH + Duration::from_hours(1));
        assert_eq!(
            shown,
            json!({
                "state": "running", "pid": 7, "token_end": "1970-01-01T01:01:00Z",
                "leases": [{ "path": "database/creds/app", "end": "1970-01-01T01:02:00Z" }],
                "last_success": "1970-01-01T01:00:00Z", "last_failure": null, "restarts": 2,
            })
        );
    }
}
