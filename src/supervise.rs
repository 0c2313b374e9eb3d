//! Stays beside the application if `--supervise` asks for it. It acts as an init: it passes signals
//! on, collects processes that have ended, and ends as the application does. It also keeps the
//! application's credentials alive.
//!
//! The resident process never talks to Vault and never holds the value of a secret. Every start of
//! the application is a fork that does what a start without `--supervise` does, and every later
//! request to Vault is made by a short-lived fork.

mod job;
mod report;
mod schedule;
pub(crate) mod starting;
mod state;
mod status;

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use log::LevelFilter;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpgrp, getpid, getsid};
use zeroize::Zeroizing;

use crate::application;
use crate::error::{Code, Error, Errors};
use crate::http::deadline::Deadline;
use crate::http::runtime;
use crate::job::Job;
use crate::process::child::{self, Origin};
use crate::process::clock::{self, Alarm};
use crate::process::exec::Image;
use crate::process::reap::{self, Change, End};
use crate::process::signals::{self, Arrived, Caller};
use crate::process::{stack, terminal};
use crate::settings::Revoke;
use crate::settings::supervise::{OnChange, OnExpiry, Supervise};
use crate::supervise::job::Key;
use crate::supervise::report::{Mark, Report, Token};
use crate::supervise::schedule::{Ahead, Dice};
use crate::supervise::starting::Starting;
use crate::supervise::state::{Failure, Outcome, Rules, State, What, Work};

/// Which side of the fork this is.
pub(crate) enum Side {
    /// The process that becomes the application.
    Application(Box<Job>, Box<Starting>),
    /// The process that stays.
    Supervisor(Box<Supervisor>),
}

/// What is left to do at the end.
pub(crate) enum Last {
    /// Exit with this status.
    End(u8),
    /// Become the application: this is a child that was started for it.
    Become(Image),
}

/// Divides the process into the one that becomes the application and the one that stays.
///
/// # Errors
/// 69 if the kernel provides no process, 127 if a program of `--on-change` does not exist.
pub(crate) fn divide(job: Box<Job>) -> Result<Side, Errors> {
    let Some(settings) = job.settings.supervise.clone() else {
        return Err(Error::internal("no settings of supervision").into());
    };
    check_programs(&settings)?;
    settings.status_file.as_deref().map_or(Ok(()), status::check)?;
    let key = key()?;
    let caller = Caller::take_over().map_err(|error| no_process(&error.to_string()))?;
    let origin = Origin::here(caller);
    child::adopt_orphans();
    let give_up = |error: &dyn std::fmt::Display| {
        let _ = caller.give_back();
        Errors::from(no_process(&error.to_string()))
    };
    let (read, write) = child::pipe().map_err(|error| give_up(&error))?;
    let Some(application) = child::divide(&origin).map_err(|error| give_up(&error))? else {
        drop(read);
        return Ok(Side::Application(job, Box::new(Starting { origin, pipe: write, key })));
    };
    reap::look_after(application);
    let directory = std::env::current_dir().ok();
    let first = Helper {
        pid: application,
        pipe: read,
        said: Zeroizing::default(),
        role: Role::First,
        until: None,
    };
    Ok(Side::Supervisor(Box::new(Supervisor {
        job: Some(job),
        settings,
        origin,
        key,
        directory,
        application,
        helper: Some(first),
        next: None,
        stop: None,
        state: None,
        token: None,
        marks: Vec::new(),
        pending: None,
        restarts: 0,
        ended: None,
        contact: Contact::default(),
        dice: Random,
    })))
}

fn check_programs(settings: &Supervise) -> Result<(), Error> {
    for policy in [&settings.on_change, &settings.on_file_change] {
        if let OnChange::Exec(words) = policy
            && let Some(program) = words.first()
        {
            let path = std::env::var_os("PATH");
            crate::process::exec::find(OsStr::new(program), path.as_deref())?;
        }
    }
    Ok(())
}

fn key() -> Result<Key, Error> {
    let random = ring::rand::SystemRandom::new();
    ring::hmac::Key::generate(ring::hmac::HMAC_SHA256, &random)
        .map_err(|_| Error::internal("no random numbers"))
}

fn no_process(why: &str) -> Error {
    Error::new(Code::Unavailable, format!("the kernel gives no process to supervise: {why}"))
        .hint("is the limit of processes (pids) reached? Without --supervise none is needed")
}

/// Random numbers that nobody can predict.
struct Random;

impl Dice for Random {
    fn next(&mut self) -> f64 {
        let random = RandomState::new().hash_one(0) >> 32;
        f64::from(u32::try_from(random).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

/// A child that is at work, and what it has said so far.
struct Helper {
    pid: Pid,
    pipe: File,
    said: Zeroizing<Vec<u8>>,
    role: Role,
    /// When to give it up.
    until: Option<Duration>,
}

/// What a child is there for.
enum Role {
    /// The first start of the application.
    First,
    /// A start that takes the application's place once it is told to.
    Next(File),
    /// Some work that asks Vault for something.
    Work(Work),
}

/// A start that is ready to take the application's place.
struct Next {
    pid: Pid,
    go: File,
    report: Report,
    /// When the application is stopped to make room for it.
    at: Duration,
}

/// A stop of the application that is under way.
struct Stop {
    /// When it is killed.
    until: Duration,
    /// What follows: the end with this status, or the next start.
    then: Option<u8>,
}

/// Whether Vault is reachable, and what has been said about that.
#[derive(Default)]
struct Contact {
    success: Option<Duration>,
    failure: Option<Duration>,
    is_failing: bool,
    warned: Option<Duration>,
}

/// The time between two warnings about the same trouble.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(10);
/// The extra time for a helper beyond the deadline that it keeps itself.
const GRACE: Duration = Duration::from_secs(10);
/// How long the revocation at the end may take.
const LAST_WORDS: Duration = Duration::from_millis(2500);
/// Secrets that are written one after another count as one change. They are checked again after the
/// first duration until they agree, but for no longer than the second duration.
const SETTLE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// The process that stays.
pub(crate) struct Supervisor {
    /// `None` once nothing more is asked of Vault: this is then a pure init.
    job: Option<Box<Job>>,
    settings: Supervise,
    origin: Origin,
    key: Key,
    directory: Option<PathBuf>,
    application: Pid,
    helper: Option<Helper>,
    next: Option<Next>,
    stop: Option<Stop>,
    state: Option<State>,
    token: Option<Token>,
    marks: Vec<Mark>,
    /// A change that has not settled, and when it began.
    pending: Option<(Vec<Mark>, Duration)>,
    restarts: u32,
    ended: Option<End>,
    contact: Contact,
    dice: Random,
}

impl Supervisor {
    /// Stays until the application has ended. In a child that was started to take the application's
    /// place, returns what the child is to become.
    pub(crate) fn run(mut self: Box<Self>) -> Last {
        let signals = match signals::open() {
            Ok(signals) => signals,
            Err(error) => {
                log::warn!(
                    "signals cannot be read from a descriptor ({error}): what comes is passed on, \
                     and nothing else is done"
                );
                reap::keep();
                return Last::End(Code::Internal.status());
            }
        };
        let alarm = Alarm::new();
        if let Err(error) = &alarm {
            log::warn!("the kernel gives no timer ({error}): nothing is renewed");
        }
        let alarm = alarm.ok();
        child::leave_directory();
        child::stay_in_memory();
        self.let_go(&signals, alarm.as_ref());
        loop {
            if let Some(end) = self.ended {
                match self.after(end, &signals) {
                    Some(status) => return Last::End(status),
                    None => continue,
                }
            }
            self.wait(&signals, alarm.as_ref());
            self.take_signals(&signals);
            self.listen(&signals, alarm.as_ref());
            if let Some(last) = self.act() {
                return last;
            }
        }
    }

    /// Closes what came from the caller. Standard input and output stay open if another start may
    /// need them.
    fn let_go(&self, signals: &SignalFd, alarm: Option<&Alarm>) {
        let mut kept = vec![signals.as_fd()];
        kept.extend(alarm.map(AsFd::as_fd));
        kept.extend(self.helper.iter().map(|helper| helper.pipe.as_fd()));
        child::close_others(&kept);
    }

    fn wait(&mut self, signals: &SignalFd, alarm: Option<&Alarm>) {
        if let Some(alarm) = alarm {
            alarm.set(self.next_time());
        }
        let mut descriptors = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(alarm.map(|alarm| PollFd::new(alarm.as_fd(), PollFlags::POLLIN)));
        let pipe = self.helper.as_ref().map(|helper| helper.pipe.as_fd());
        descriptors.extend(pipe.map(|pipe| PollFd::new(pipe, PollFlags::POLLIN)));
        // Only an interruption can make this fail, and then there is a signal to read.
        let _ = poll(&mut descriptors, PollTimeout::NONE);
    }

    /// Returns the next time at which there is something to do without any event.
    fn next_time(&self) -> Option<Duration> {
        let mut times = Vec::new();
        times.extend(self.stop.as_ref().map(|stop| stop.until));
        times.extend(self.helper.as_ref().and_then(|helper| helper.until));
        if self.stop.is_none() {
            times.extend(self.next.as_ref().map(|next| next.at));
            if self.helper.is_none() && self.next.is_none() {
                times.extend(self.state.as_ref().and_then(State::next));
            }
        }
        times.into_iter().min()
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

    fn pass_on(&mut self, arrived: Arrived) {
        if matches!(arrived.number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT) {
            self.drop_next();
        }
        signals::pass_on(self.target(), arrived);
    }

    /// Drops a pending start: an end that was asked for from outside takes precedence over it.
    fn drop_next(&mut self) {
        if let Some(next) = self.next.take() {
            signals::send(next.pid, libc::SIGKILL);
            self.stop = None;
        }
        if let Some(Helper { role: Role::Next(_), pid, .. }) = &self.helper {
            signals::send(*pid, libc::SIGKILL);
        }
    }

    /// Returns the target of signals: the application or its group.
    fn target(&self) -> Pid {
        if self.settings.signal_group { self.group() } else { self.application }
    }

    /// Returns the application's group in the form that kill(2) takes.
    fn group(&self) -> Pid {
        Pid::from_raw(-self.application.as_raw())
    }

    /// Collects all children that have ended or stopped.
    fn collect(&mut self) {
        while let Some((pid, change)) = reap::next() {
            match change {
                Change::Ended(end) if pid == self.application => self.ended = Some(end),
                Change::Ended(_) if self.next.as_ref().is_some_and(|next| next.pid == pid) => {
                    self.next = None;
                    self.failed(&Work::Replace, Failure::Passing, "the new start has ended");
                }
                Change::Stopped(signal) if pid == self.application => self.stopped(signal),
                Change::Ended(_) | Change::Stopped(_) => {}
            }
        }
    }

    /// Handles a stop of the application. If somebody controls us, such as a shell, we stop as
    /// well, so that they see it and can continue us. If nobody does, the application is continued
    /// at once, because the kernel would not have stopped it in our place. The exception is an
    /// application that somebody stopped on purpose.
    fn stopped(&self, signal: i32) {
        let wants_terminal = matches!(signal, libc::SIGTTIN | libc::SIGTTOU);
        if !(wants_terminal && terminal::is_in_front(getpgrp())) {
            if signal == libc::SIGSTOP && is_alone() {
                return;
            }
            terminal::take_back(self.application);
            signals::raise_with_default(signal);
            // The signal was for both of us, and the application gets its own.
            signals::take_continue();
        }
        self.lend_terminal();
        signals::send(self.group(), libc::SIGCONT);
    }

    /// Hands the terminal to the application if the terminal is ours.
    fn lend_terminal(&self) {
        if terminal::is_in_front(getpgrp()) {
            terminal::put_in_front(self.application);
        }
    }

    /// Handles SIGTTIN and SIGTTOU. The kernel sends them if another process of our own group, such
    /// as the next one in a pipeline, wants the terminal that the application has. From anybody
    /// else they mean a stop.
    fn stop_or_lend(&self, arrived: Arrived) {
        if arrived.is_of_kernel && terminal::is_in_front(self.application) {
            terminal::take_back(self.application);
            signals::send(Pid::from_raw(0), libc::SIGCONT);
            signals::take_continue();
        } else {
            signals::send(self.target(), libc::SIGSTOP);
        }
    }

    /// Reads what a helper says. Once the helper has said all of it, acts on it.
    fn listen(&mut self, signals: &SignalFd, alarm: Option<&Alarm>) {
        let Some(helper) = &mut self.helper else { return };
        let mut ready = [PollFd::new(helper.pipe.as_fd(), PollFlags::POLLIN)];
        let is_ready = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if is_ready && report::read(&mut helper.pipe, &mut helper.said).is_none() {
            let Some(helper) = self.helper.take() else { return };
            let Helper { pid, role, said, pipe, .. } = helper;
            let report = report::parse(&said);
            drop(pipe);
            match role {
                Role::First => self.begin(report, signals, alarm),
                Role::Next(go) => self.is_ready(pid, go, report),
                Role::Work(work) => self.done(&work, report),
            }
        }
    }

    /// Handles the report of the application's first start: what there is to look after, or
    /// nothing.
    fn begin(&mut self, report: Option<Report>, signals: &SignalFd, alarm: Option<&Alarm>) {
        let is_pure = match &report {
            Some(Report::Granted { token, granted, marks, .. }) => {
                token.is_none() && granted.is_empty() && marks.is_empty()
            }
            _ => true,
        };
        if is_pure {
            self.job = None;
            child::let_go_of_input_and_output();
            self.let_go(signals, alarm);
            stack::wipe();
        } else if let Some(report) = report {
            self.started(report);
        }
        self.write_status();
    }

    fn started(&mut self, report: Report) {
        let Report::Granted { token, granted, marks, rotation } = report else { return };
        let now = clock::now();
        let settings = &self.settings;
        let rules = Rules {
            ahead: Ahead {
                asked: settings.replace_before.unwrap_or_default(),
                stop: settings.stop_timeout + settings.splay,
            },
            interval: settings.refresh,
            hands_on: self.job.as_ref().is_some_and(|job| job.settings.hand_on.is_some()),
        };
        let mut state = State::new(rules, &granted, now, &mut self.dice);
        state.rotates(rotation.map(Duration::from_secs), now, &mut self.dice);
        self.state = Some(state);
        (self.token, self.marks, self.pending) = (token, marks, None);
        self.contact_made(now);
    }

    fn contact_made(&mut self, now: Duration) {
        if std::mem::take(&mut self.contact.is_failing) {
            log::warn!("Vault answers again");
        }
        (self.contact.success, self.contact.warned) = (Some(now), None);
    }

    /// Records a failure to reach Vault. Warns at the first failure, and at most once in ten
    /// minutes.
    fn contact_lost(&mut self, why: &str) {
        let now = clock::now();
        (self.contact.failure, self.contact.is_failing) = (Some(now), true);
        if self.contact.warned.is_none_or(|before| now >= before + BETWEEN_WARNINGS) {
            self.contact.warned = Some(now);
            log::warn!("the application goes on as it is, and it is tried again: {why}");
        }
    }

    /// Handles the result of a helper's work.
    fn done(&mut self, work: &Work, report: Option<Report>) {
        let now = clock::now();
        match (work, report) {
            (Work::Renew(_), Some(Report::Renewed { outcomes, failure })) => {
                match failure {
                    Some(why) => self.contact_lost(&why),
                    None => self.contact_made(now),
                }
                self.renewed(&outcomes);
            }
            (Work::Renew(what), other) => {
                self.contact_lost(&reason(other));
                let outcomes: Vec<_> =
                    what.iter().map(|what| (what.clone(), Outcome::Failed)).collect();
                self.renewed(&outcomes);
            }
            (Work::LogIn, Some(Report::Granted { token, granted, .. })) => {
                log::info!("logged in again");
                self.contact_made(now);
                self.token = token;
                if let Some(state) = &mut self.state {
                    state.logged_in(granted.first(), now, &mut self.dice);
                }
            }
            (Work::Look, Some(Report::Looked { marks, rotation })) => {
                self.contact_made(now);
                self.looked(marks, rotation.map(Duration::from_secs));
            }
            (work, Some(Report::Failed { is_refusal, message })) => {
                let failure = self.kind(is_refusal);
                self.failed(work, failure, &message);
            }
            (work, _) => self.failed(work, Failure::Passing, "the process for it has failed"),
        }
        self.write_status();
    }

    fn renewed(&mut self, outcomes: &[(What, Outcome)]) {
        let now = clock::now();
        let Some(state) = &mut self.state else { return };
        let fixed = state.renewed(outcomes, now, &mut self.dice);
        for (what, outcome) in outcomes {
            match outcome {
                Outcome::Renewed(ttl) if fixed.contains(what) => log::warn!(
                    "{what} cannot be renewed for longer than {} s: it is replaced before its end",
                    ttl.as_secs()
                ),
                Outcome::Renewed(ttl) => log::info!("{what} is renewed for {} s", ttl.as_secs()),
                Outcome::Lost => log::warn!("{what} is gone: it is replaced"),
                Outcome::Forbidden => {
                    log::warn!("{what} cannot be renewed: it is replaced before its end");
                }
                Outcome::Failed => {}
            }
        }
    }

    /// Returns the kind of a failure: five wrong secret ids lock a role for everybody.
    fn kind(&self, is_refusal: bool) -> Failure {
        let login = self.job.as_ref().and_then(|job| job.login.as_ref());
        match is_refusal {
            false => Failure::Passing,
            true if login.is_some_and(|login| login.may_lock()) => Failure::Locking,
            true => Failure::Refused,
        }
    }

    fn failed(&mut self, work: &Work, failure: Failure, why: &str) {
        self.contact_lost(why);
        if let Some(state) = &mut self.state {
            state.failed(work, failure, clock::now(), &mut self.dice);
        }
    }

    fn looked(&mut self, marks: Vec<Mark>, rotation: Option<Duration>) {
        let now = clock::now();
        let settled =
            |pending: &(Vec<Mark>, Duration)| pending.0 == marks || now >= pending.1 + SETTLE.1;
        let is_new = marks != self.marks;
        let Some(state) = &mut self.state else { return };
        state.looked(now, &mut self.dice);
        state.rotates(rotation, now, &mut self.dice);
        if !is_new {
            self.pending = None;
            log::info!("the secrets are as they were");
        } else if self.pending.as_ref().is_some_and(settled) {
            self.pending = None;
            self.changed(marks);
        } else {
            let since = self.pending.take().map_or(now, |(_, since)| since);
            self.pending = Some((marks, since));
            state.look_at(now + SETTLE.0);
        }
    }

    /// Does what the user wants after a change.
    fn changed(&mut self, marks: Vec<Mark>) {
        match self.settings.on_change.clone() {
            OnChange::Restart => {
                log::warn!("a secret has changed: the application is started with the new one");
                if let Some(state) = &mut self.state {
                    state.replace_now(clock::now());
                }
                return;
            }
            OnChange::Signal(number) => {
                log::warn!(
                    "a secret has changed: the application gets signal {number}, and keeps the \
                     environment that it has"
                );
                signals::send(self.target(), number);
            }
            OnChange::Exec(words) => {
                log::warn!("a secret has changed: {} is run", words.join(" "));
                if let Err(error) = child::run(&self.origin, self.directory.as_deref(), &words) {
                    log::error!("{}: {error}", words.join(" "));
                }
            }
            OnChange::Exit(status) => {
                log::warn!("a secret has changed: the application is stopped");
                self.stop_application(Some(status));
            }
            OnChange::Nothing => log::info!("a secret has changed"),
        }
        self.marks = marks;
    }

    /// Handles a start that is ready to take the application's place, or that has failed.
    fn is_ready(&mut self, pid: Pid, go: File, report: Option<Report>) {
        match report {
            Some(report @ Report::Granted { .. }) => {
                let now = clock::now();
                let is_late = self.state.as_ref().is_some_and(|state| state.has_ended(now));
                let splay = self.settings.splay;
                let wait = if is_late { Duration::ZERO } else { self.dice.part(splay, 0.0, 1.0) };
                self.next = Some(Next { pid, go, report, at: now + wait });
            }
            Some(Report::Failed { is_refusal, message }) => {
                let failure = self.kind(is_refusal);
                self.failed(&Work::Replace, failure, &message);
            }
            _ => self.failed(&Work::Replace, Failure::Passing, "the new start has failed"),
        }
        self.write_status();
    }

    /// Does what is due. In a child, returns what is left to do.
    fn act(&mut self) -> Option<Last> {
        let now = clock::now();
        if let Some(stop) = &mut self.stop {
            if now >= stop.until {
                log::warn!("the application has not stopped in time: it is killed");
                stop.until = now + GRACE;
                signals::send(self.group(), libc::SIGKILL);
            }
            return None;
        }
        if let Some(next) = &self.next {
            if now >= next.at {
                self.stop_application(None);
            }
            return None;
        }
        if let Some(helper) = &mut self.helper {
            if helper.until.is_some_and(|until| now >= until) {
                helper.until = None;
                signals::send(helper.pid, libc::SIGKILL);
            }
            return None;
        }
        if self.ended.is_some() {
            return None;
        }
        let state = self.state.as_mut()?;
        if let OnExpiry::Exit(status) = self.settings.on_expiry
            && state.has_ended(now)
            && state.has_failed()
        {
            log::error!(
                "the credentials have ended and could not be replaced: the application is stopped"
            );
            self.stop_application(Some(status));
            return None;
        }
        match state.take(now)? {
            Work::Replace => self.fork_next(),
            work => self.fork_worker(work),
        }
    }

    fn stop_application(&mut self, then: Option<u8>) {
        let until = clock::now() + self.settings.stop_timeout;
        self.stop = Some(Stop { until, then });
        signals::send(self.target(), self.settings.stop_signal);
        signals::send(self.target(), libc::SIGCONT);
    }

    /// Starts the application's successor, which waits until it is told to go on.
    fn fork_next(&mut self) -> Option<Last> {
        log::info!("new credentials are fetched for the application");
        let forked = child::pipe().and_then(|report| Ok((report, child::pipe()?)));
        let ((read, write), (wait, go)) = match forked {
            Ok(pipes) => pipes,
            Err(error) => return self.no_helper(&Work::Replace, error),
        };
        match child::divide_again(&self.origin, self.directory.as_deref()) {
            Err(error) => self.no_helper(&Work::Replace, error),
            Ok(None) => {
                drop((read, go));
                // Only what the start itself needs is left. The rest of the supervisor is gone.
                let (job, origin, key) = (self.job.take(), self.origin, self.key.clone());
                (self.token, self.state, self.helper) = (None, None, None);
                reap::look_after(Pid::from_raw(0));
                let starting = Starting { origin, pipe: write, key };
                Some(job.map_or(Last::End(Code::Internal.status()), |job| {
                    stack::wiped_after(|| next_image(job, starting, wait))
                }))
            }
            Ok(Some(pid)) => {
                drop((write, wait));
                self.helper = Some(self.helper_of(pid, read, Role::Next(go)));
                None
            }
        }
    }

    fn helper_of(&self, pid: Pid, pipe: File, role: Role) -> Helper {
        let patience = self.job.as_ref().map(|job| job.settings.timeout).unwrap_or_default();
        let until = Some(clock::now() + patience + GRACE);
        Helper { pid, pipe, said: Zeroizing::default(), role, until }
    }

    fn no_helper(&mut self, work: &Work, error: nix::errno::Errno) -> Option<Last> {
        let why = format!("the kernel gives no process: {error}");
        self.done(work, Some(Report::Failed { is_refusal: false, message: why }));
        None
    }

    /// Forks a separate process that asks Vault.
    fn fork_worker(&mut self, work: Work) -> Option<Last> {
        let (read, write) = match child::pipe() {
            Ok(pipes) => pipes,
            Err(error) => return self.no_helper(&work, error),
        };
        match child::divide_for_work() {
            Err(error) => self.no_helper(&work, error),
            Ok(None) => {
                drop(read);
                reap::look_after(Pid::from_raw(0));
                stack::wiped_after(|| {
                    let report = self.work(&work);
                    report::write(&write, &report);
                    // Remaining credentials are wiped before the process ends.
                    (self.job, self.token) = (None, None);
                });
                child::end()
            }
            Ok(Some(pid)) => {
                drop(write);
                self.helper = Some(self.helper_of(pid, read, Role::Work(work)));
                None
            }
        }
    }

    /// Does the work, in the worker.
    fn work(&self, work: &Work) -> Report {
        quiet();
        let Some(job) = &self.job else { return job::failed(&Error::internal("no job").into()) };
        let token = self.token.as_ref();
        match work {
            Work::Renew(what) => {
                let end = self.state.as_ref().and_then(State::end);
                let left = end.unwrap_or_default().saturating_sub(clock::now());
                job::renew(job, token.map(|token| &token.value), what, left)
            }
            Work::LogIn => job::log_in(job),
            Work::Look => {
                let requests: Vec<usize> = self.marks.iter().map(|(request, _)| *request).collect();
                job::look(job, token, &requests, &self.key)
            }
            Work::Replace => job::failed(&Error::internal("a start is no work").into()),
        }
    }

    /// Handles the end of the application. Returns the exit status, or `None` if another
    /// application has taken its place.
    fn after(&mut self, end: End, signals: &SignalFd) -> Option<u8> {
        if let (Some(Stop { then: None, .. }), Some(next)) = (&self.stop, self.next.take()) {
            self.go_on_with(next);
            return None;
        }
        if let Some(next) = self.next.take() {
            signals::send(next.pid, libc::SIGKILL);
        }
        if let Some(helper) = self.helper.take() {
            signals::send(helper.pid, libc::SIGKILL);
        }
        if self.settings.signal_group {
            self.end_group(signals);
        }
        self.revoke(signals);
        self.remove_status();
        terminal::take_back(self.application);
        match self.stop.take() {
            Some(Stop { then: Some(status), .. }) => Some(status),
            _ => Some(reap::end_like(end)),
        }
    }

    fn go_on_with(&mut self, next: Next) {
        let was_in_front = terminal::is_in_front(self.application);
        // The new application must not see the rest of the old one's group.
        signals::send(self.group(), libc::SIGKILL);
        (self.stop, self.ended) = (None, None);
        self.application = next.pid;
        reap::look_after(next.pid);
        if was_in_front {
            terminal::put_in_front(next.pid);
        }
        let old = self.token.take();
        child::tell(&next.go);
        drop(next.go);
        self.restarts += 1;
        log::warn!("the application runs with new credentials");
        self.started(next.report);
        if let Some(old) = old
            && old.is_own
            && !old.is_batch
            && self.token.as_ref().is_none_or(|token| token.value != old.value)
        {
            self.fork_revocation(&old);
        }
        self.write_status();
    }

    /// Revokes the token at the end, if it is ours and Vault was reachable the last time. The
    /// token's leases end with it, so a crash loop does not pile up leases.
    fn revoke(&mut self, signals: &SignalFd) {
        let Some(token) = self.token.take() else { return };
        let setting = self.job.as_ref().map(|job| job.settings.revoke);
        let is_wanted = match setting {
            Some(Revoke::Auto) => token.is_own,
            Some(Revoke::Always) => true,
            Some(Revoke::Never) | None => false,
        };
        if !is_wanted || token.is_batch || self.contact.is_failing {
            return;
        }
        let Some(pid) = self.fork_revocation(&token) else { return };
        drop(token);
        let deadline = Instant::now() + LAST_WORDS;
        loop {
            while let Some((ended, _)) = reap::next() {
                if ended == pid {
                    return;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            wait(signals, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
            while signals::next(signals).is_some() {}
        }
    }

    fn fork_revocation(&mut self, token: &Token) -> Option<Pid> {
        match child::divide_for_work() {
            Ok(None) => {
                reap::look_after(Pid::from_raw(0));
                if let Some(job) = self.job.take() {
                    stack::wiped_after(|| job::revoke(&job, &token.value));
                }
                child::end()
            }
            Ok(pid) => pid,
            Err(error) => {
                log::info!("the token is not revoked: {error}");
                None
            }
        }
    }

    /// Ends the rest of the group after the main process has ended: sends the stop signal and
    /// allows some time.
    fn end_group(&mut self, signals: &SignalFd) {
        let deadline = Instant::now() + self.settings.stop_timeout;
        signals::send(self.group(), self.settings.stop_signal);
        signals::send(self.group(), libc::SIGCONT);
        while signals::group_is_there(self.application) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                signals::send(self.group(), libc::SIGKILL);
                return;
            }
            // A process that is not our child ends without notifying us.
            let step = left.min(Duration::from_millis(100));
            wait(signals, PollTimeout::try_from(step).unwrap_or(PollTimeout::ZERO));
            self.take_signals(signals);
        }
    }

    fn write_status(&self) {
        let Some(file) = &self.settings.status_file else { return };
        let status = status::Status {
            pid: self.application.as_raw(),
            is_stopping: self.stop.is_some(),
            restarts: self.restarts,
            state: self.state.as_ref(),
            success: self.contact.success,
            failure: self.contact.failure,
            is_failing: self.contact.is_failing,
            now: clock::now(),
        };
        if let Err(error) = status::write(file, &status) {
            log::warn!("{}: {error}", file.display());
        }
    }

    fn remove_status(&self) {
        if let Some(file) = &self.settings.status_file {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn reason(report: Option<Report>) -> String {
    match report {
        Some(Report::Failed { message, .. }) => message,
        _ => "the process for it has failed".to_owned(),
    }
}

/// Silences a child's own records: they would repeat each failure at the child's pace, while the
/// supervisor reports it at its own.
fn quiet() {
    if log::max_level() < LevelFilter::Debug {
        log::set_max_level(LevelFilter::Off);
    }
}

/// Runs in the child that is to take the application's place. Returns what it becomes once it is
/// told to.
fn next_image(job: Box<Job>, starting: Starting, wait: File) -> Last {
    let level = log::max_level();
    quiet();
    let deadline = Deadline::new(Instant::now(), job.settings.timeout);
    let work = application::image(&job, deadline, Some(&starting));
    let image = match &job.login {
        Some(_) => runtime::wait(work).map_err(Errors::from).and_then(|image| image),
        None => work.now_or_never().unwrap_or_else(|| Err(Error::internal("a wait").into())),
    };
    match image {
        Ok(Some(image)) => {
            // Everything it had to say is in the pipe, and everything it knew is gone before it
            // waits.
            drop((starting, job));
            log::set_max_level(level);
            if child::is_told(wait) { Last::Become(image) } else { child::end() }
        }
        Ok(None) => child::end(),
        Err(errors) => {
            report::write(&starting.pipe, &job::failed(&errors));
            drop((starting, job));
            child::end()
        }
    }
}

/// Returns whether nobody could continue us after a stop.
fn is_alone() -> bool {
    getpid().as_raw() == 1 || getsid(None) == Ok(getpid())
}

fn wait(signals: &SignalFd, timeout: PollTimeout) {
    let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    // Only an interruption can make this fail, and then there is a signal to read.
    let _ = poll(&mut descriptors, timeout);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Variable;

    #[test]
    fn only_a_variable_that_named_the_supervisor_names_the_application() {
        let (own, other) = (getpid().to_string(), "999999999".to_owned());
        let caller = Caller::take_over().expect("signals");
        caller.give_back().expect("signals");
        let (_, pipe) = child::pipe().expect("a pipe");
        let starting =
            Starting { origin: Origin::here(caller), pipe, key: key().expect("random numbers") };
        let mut variables = [
            Variable::new("LISTEN_PID", own.clone()),
            Variable::new("WATCHDOG_PID", other.clone()),
            Variable::new("PID", own.clone()),
        ];
        starting.name_application(&mut variables);
        let values: Vec<_> = variables.iter().map(|v| v.value.expose_text()).collect();
        assert_eq!(values, [Some(own.as_str()), Some(other.as_str()), Some(own.as_str())]);
    }
}
