//! Staying beside the application when `--supervise` asks for it: an init that passes signals on,
//! collects what ends, and ends as the application does.
//!
//! The resident process never talks to Vault and never holds the value of a secret: every start of
//! the application is a fork that does what a start without `--supervise` does.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpgrp, getpid, getsid};

use crate::error::{Code, Error};
use crate::process::child::{self, Origin};
use crate::process::reap::{self, Change, End};
use crate::process::signals::{self, Arrived, Caller};
use crate::process::terminal;
use crate::secret::Variable;
use crate::settings::supervise::Supervise;

/// Which side of the fork this is.
pub(crate) enum Side {
    /// The process that becomes the application.
    Application(Origin),
    /// The one that stays.
    Supervisor(Box<Supervisor>),
}

/// Divides the process into the application's and the one that stays.
///
/// # Errors
/// 69 where the kernel gives no process.
pub(crate) fn divide(settings: &Supervise) -> Result<Side, Error> {
    let caller = Caller::take_over()
        .map_err(|error| no_process(&format!("signals cannot be blocked: {error}")))?;
    let origin = Origin::here(caller);
    child::adopt_orphans();
    let application = match child::divide(&origin) {
        Ok(None) => return Ok(Side::Application(origin)),
        Ok(Some(application)) => application,
        Err(error) => {
            let _ = caller.give_back();
            return Err(no_process(&error.to_string()));
        }
    };
    reap::look_after(application);
    Ok(Side::Supervisor(Box::new(Supervisor {
        application,
        signals_group: settings.signal_group,
        stop_signal: settings.stop_signal,
        stop_timeout: settings.stop_timeout,
        ended: None,
    })))
}

fn no_process(why: &str) -> Error {
    Error::new(Code::Unavailable, format!("the kernel gives no process to supervise: {why}"))
        .hint("is the limit of processes (pids) reached? Without --supervise none is needed")
}

/// Variables that name the process that they are for by its id (sd_listen_fds(3),
/// sd_watchdog_enabled(3)).
const NAME_A_PROCESS: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

/// Has the variables that named the supervisor name the application, which is what the caller
/// meant.
pub(crate) fn name_application(variables: &mut [Variable], origin: &Origin) {
    let supervisor = origin.supervisor().to_string();
    for variable in variables {
        let names_a_process = NAME_A_PROCESS.iter().any(|name| variable.name == OsStr::new(name));
        if names_a_process && variable.value.expose() == supervisor.as_bytes() {
            variable.value = getpid().to_string().into();
        }
    }
}

/// The process that stays.
pub(crate) struct Supervisor {
    application: Pid,
    signals_group: bool,
    stop_signal: i32,
    stop_timeout: Duration,
    ended: Option<End>,
}

impl Supervisor {
    /// Stays until the application has ended, and returns the status to end with; ends by the
    /// application's signal if there was one.
    pub(crate) fn run(mut self) -> u8 {
        let signals = match signals::open() {
            Ok(signals) => signals,
            Err(error) => {
                log::warn!(
                    "signals cannot be read from a descriptor ({error}): what comes is \
                            passed on, and nothing else is done"
                );
                reap::keep();
                return Code::Internal.status();
            }
        };
        child::leave_directory();
        child::close_others(&[signals.as_fd()]);
        child::let_go_of_input_and_output();
        child::stay_in_memory();
        let end = loop {
            if let Some(end) = self.ended {
                break end;
            }
            wait(&signals, PollTimeout::NONE);
            self.take_signals(&signals);
        };
        if self.signals_group {
            self.end_group(&signals);
        }
        terminal::take_back(self.application);
        reap::end_like(end)
    }

    fn take_signals(&mut self, signals: &SignalFd) {
        while let Some(arrived) = signals::next(signals) {
            match arrived.number {
                libc::SIGCHLD => self.collect(),
                libc::SIGTTIN | libc::SIGTTOU => self.stop_or_lend(arrived),
                libc::SIGCONT => {
                    self.lend_terminal();
                    self.pass_on(arrived);
                }
                _ => self.pass_on(arrived),
            }
        }
    }

    fn pass_on(&self, arrived: Arrived) {
        signals::pass_on(self.target(), arrived);
    }

    /// Whom signals go to: the application, or its group.
    fn target(&self) -> Pid {
        if self.signals_group { self.group() } else { self.application }
    }

    /// The application's group, as kill(2) takes it.
    fn group(&self) -> Pid {
        Pid::from_raw(-self.application.as_raw())
    }

    /// Collects all that has ended or stopped.
    fn collect(&mut self) {
        while let Some((pid, change)) = reap::next() {
            match change {
                Change::Ended(end) if pid == self.application => self.ended = Some(end),
                Change::Stopped(signal) if pid == self.application => self.stopped(signal),
                Change::Ended(_) | Change::Stopped(_) => {}
            }
        }
    }

    /// The application has stopped. Whoever controls us, such as a shell, is to see us stop as well
    /// and to continue us. Where nobody does, it is continued at once, for the kernel would not
    /// have stopped it in our place; unless somebody has stopped it on purpose.
    fn stopped(&self, signal: i32) {
        let wants_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if !(wants_terminal && terminal::is_in_front(getpgrp())) {
            if signal == libc::SIGSTOP && is_alone() {
                return;
            }
            terminal::take_back(self.application);
            signals::raise_with_default(signal);
            // It was for both of us, and the application gets its own.
            signals::take_continue();
        }
        self.lend_terminal();
        signals::send(self.group(), libc::SIGCONT);
    }

    /// Hands the terminal over where it is ours.
    fn lend_terminal(&self) {
        if terminal::is_in_front(getpgrp()) {
            terminal::put_in_front(self.application);
        }
    }

    /// SIGTTIN and SIGTTOU. The kernel sends them if another process of our own group, such as the
    /// next one of a pipeline, wants the terminal that the application has. From anybody else they
    /// mean a stop.
    fn stop_or_lend(&self, arrived: Arrived) {
        if arrived.is_of_kernel && terminal::is_in_front(self.application) {
            terminal::take_back(self.application);
            signals::send(Pid::from_raw(0), libc::SIGCONT);
            signals::take_continue();
        } else {
            signals::send(self.target(), libc::SIGSTOP);
        }
    }

    /// The main process has ended; what is left of its group gets the stop signal, and some time.
    fn end_group(&mut self, signals: &SignalFd) {
        let deadline = Instant::now() + self.stop_timeout;
        signals::send(self.group(), self.stop_signal);
        signals::send(self.group(), libc::SIGCONT);
        while signals::group_is_there(self.application) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                signals::send(self.group(), libc::SIGKILL);
                return;
            }
            // What is not our child ends without a word to us.
            let step = left.min(Duration::from_millis(100));
            wait(signals, PollTimeout::try_from(step).unwrap_or(PollTimeout::ZERO));
            self.take_signals(signals);
        }
    }
}

/// Whether nobody could continue us after a stop.
fn is_alone() -> bool {
    getpid().as_raw() == 1 || getsid(None) == Ok(getpid())
}

fn wait(signals: &SignalFd, timeout: PollTimeout) {
    let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // Of its failures only an interruption can happen, and then there is a signal to read.
    let _ = poll(&mut descriptors, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_variable_that_named_the_supervisor_names_the_application() {
        let (own, other) = (getpid().to_string(), "999999999".to_owned());
        let caller = Caller::take_over().expect("signals");
        caller.give_back().expect("signals");
        let origin = Origin::here(caller);
        let mut variables = [
            Variable::new("LISTEN_PID", own.clone()),
            Variable::new("WATCHDOG_PID", other.clone()),
            Variable::new("PID", own.clone()),
        ];
        name_application(&mut variables, &origin);
        let values: Vec<_> = variables.iter().map(|v| v.value.expose_text()).collect();
        assert_eq!(values, [Some(own.as_str()), Some(other.as_str()), Some(own.as_str())]);
    }
}
