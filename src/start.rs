//! One start, from the command line to exec: settings → plan → login → fetch → environment → exec.

use std::time::Instant;

use futures_util::FutureExt;

use crate::application;
use crate::cli::{self, Invocation, Task};
use crate::error::{Error, Errors};
use crate::http::deadline::Deadline;
use crate::http::runtime;
use crate::job::{self, Job};
use crate::log::{self as records, LogSettings};
use crate::output::print;
use crate::policy;
use crate::process::block;
use crate::process::exec::Image;
use crate::process::harden;
use crate::process::install::install;
use crate::process::signals;
use crate::process::stack;
use crate::secret::Variable;
use crate::settings::layers::{EnvFile, Layers, Options};
use crate::settings::{self, load, names};
use crate::supervise::{self, Last, Side, Supervisor};

/// What is wiped apart from the heap, which the allocator takes care of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiped {
    /// Everything, as in every real start.
    All,
    /// Everything except the values of our variables in the initial environment block. Proves that
    /// the wiping test finds what is not wiped.
    AllButBlock,
    /// Everything except the stack, for the same proof.
    AllButStack,
}

/// Starts the application in place of this process.
///
/// Returns only when the process has to exit, with the exit status: 0 for help and version,
/// otherwise that of a failure that has been reported.
pub fn start(wiped: Wiped) -> u8 {
    harden::harden();
    // This comes before any waiting: a settings file or a credential file may be a FIFO.
    signals::end_at_once();
    // Everything that the start held, including credentials, is dropped and so wiped before the
    // process becomes another program. Only the image is left.
    let image = if wiped == Wiped::AllButStack {
        image(wiped)
    } else {
        stack::wiped_after(|| image(wiped))
    };
    let errors = match image {
        Ok(Next::End) => return 0,
        Ok(Next::Stay(supervisor)) => match supervisor.run() {
            Last::End(status) => return status,
            Last::Become(image) => image.exec().into(),
        },
        Ok(Next::Become(image)) => image.exec().into(),
        Err(errors) => errors,
    };
    records::report(&errors);
    errors.code().status()
}

/// What is left to do.
enum Next {
    /// Become the application.
    Become(Image),
    /// Stay beside the application.
    Stay(Box<Supervisor>),
    /// Nothing: something was printed instead.
    End,
}

/// Returns the application with its environment, or what else there is to do.
fn image(wiped: Wiped) -> Result<Next, Errors> {
    let began = Instant::now();
    let environment = block::read();
    if wiped != Wiped::AllButBlock {
        block::wipe(|name| names::is_stripped(name) || names::is_key_of_platform(name));
    }
    let (task, options, command) = match cli::parse(std::env::args_os().skip(1).collect()) {
        Ok(Invocation::Run { task, options, command }) => (task, options, command),
        other => {
            start_log(&Options::default(), &environment, &[]);
            return without_settings(other);
        }
    };
    let files = load::env_files(&options, &environment, began);
    start_log(&options, &environment, files.as_deref().unwrap_or_default());
    let files = files?;
    let layers = Layers { options: &options, environment: &environment, files: &files };
    let (settings, plan) = job::understand(&layers, began)?;
    match task {
        Task::PrintPolicy => {
            print(&policy::of(&plan, &settings)?)?;
            return Ok(Next::End);
        }
        Task::Start if command.is_empty() => return Err(no_command().into()),
        Task::Start | Task::Check => {}
    }
    let deadline = Deadline::new(began, settings.timeout);
    let job = Job::new(&layers, settings, plan, command, task == Task::Check)?;
    let mut job = Box::new(job);
    let mut starting = None;
    if task == Task::Start && job.settings.supervise.is_some() {
        match supervise::divide(job)? {
            Side::Supervisor(supervisor) => return Ok(Next::Stay(supervisor)),
            Side::Application(same, found) => (job, starting) = (same, Some(found)),
        }
    }
    let work = application::image(&job, deadline, starting.as_deref());
    let image = match &job.login {
        Some(_) => runtime::wait(work)?,
        None => work.now_or_never().unwrap_or_else(|| Err(Error::internal("a wait").into())),
    };
    Ok(image?.map_or(Next::End, Next::Become))
}

fn without_settings(invocation: Result<Invocation, Error>) -> Result<Next, Errors> {
    match invocation? {
        Invocation::Print(text) => print(&text)?,
        Invocation::Install(place) => install(&place)?,
        Invocation::Run { .. } => return Err(Error::internal("a command to run").into()),
    }
    Ok(Next::End)
}

fn start_log(options: &Options, environment: &[Variable], files: &[EnvFile]) {
    let settings = settings::log_settings(&Layers { options, environment, files });
    records::start(settings.unwrap_or_else(|_| LogSettings::default()));
}

fn no_command() -> Error {
    Error::usage("no command to start").hint(
        "vault-exec [options] -- command [argument ...]; an image's CMD is the command of its \
         ENTRYPOINT",
    )
}
