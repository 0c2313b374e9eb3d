//! A start of the application that a supervisor waits for.

use std::ffi::OsStr;
use std::fs::File;

use nix::unistd::getpid;

use crate::error::Errors;
use crate::job::Job;
use crate::process::child::Origin;
use crate::round::Round;
use crate::secret::Variable;
use crate::supervise::job::{self, Key};
use crate::supervise::report::{self, Report};

/// Variables that name, by its process id, the process that they are meant for (sd_listen_fds(3),
/// sd_watchdog_enabled(3)).
const NAME_A_PROCESS: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

/// A start of the application that the supervisor waits for.
pub(crate) struct Starting {
    pub(super) origin: Origin,
    pub(super) pipe: File,
    pub(super) key: Key,
}

impl Starting {
    /// Makes the variables that named the supervisor name the application, which is what the caller
    /// meant.
    pub(crate) fn name_application(&self, variables: &mut [Variable]) {
        let supervisor = self.origin.supervisor().to_string();
        for variable in variables {
            let names_a_process =
                NAME_A_PROCESS.iter().any(|name| variable.name == OsStr::new(name));
            if names_a_process && variable.value.expose() == supervisor.as_bytes() {
                variable.value = getpid().to_string().into();
            }
        }
    }

    /// Tells the supervisor what was granted. If this returns false, none of it is to be renewed.
    ///
    /// # Errors
    /// 78 for a token with a limited number of uses.
    pub(crate) async fn report(&self, job: &Job, round: &Round) -> Result<bool, Errors> {
        let report = job::granted(job, round, &self.key).await?;
        let is_kept = report.is_some();
        report::write(&self.pipe, &report.unwrap_or(NOTHING));
        Ok(is_kept)
    }
}

const NOTHING: Report =
    Report::Granted { token: None, granted: Vec::new(), marks: Vec::new(), rotation: None };
