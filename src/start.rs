//! One start, from the command line to exec: settings → plan → login → fetch → environment → exec.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use crate::check;
use crate::cli::{self, Invocation, Task};
use crate::environment::{self, Built, Outcomes, Rules};
use crate::error::{Code, Error, Errors};
use crate::fetch::{self, Fetched};
use crate::grammar::address::Address;
use crate::http::deadline::Deadline;
use crate::http::proxy::Proxies;
use crate::http::tls;
use crate::log::{self as records, LogSettings};
use crate::login::{self, Way};
use crate::plan::{self, Plan};
use crate::policy;
use crate::process::block;
use crate::process::exec::{self, Image};
use crate::process::harden;
use crate::process::signals;
use crate::process::stack;
use crate::revoke;
use crate::secret::{Secret, Variable};
use crate::settings::credentials;
use crate::settings::layers::{EnvFile, Layers, Options};
use crate::settings::{self, Settings, load, names};
use crate::vault::client::{Client, Connection};
use crate::vault::lookup;

/// What is wiped beside the heap, of which the allocator takes care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiped {
    /// Everything, as every real start does it.
    All,
    /// All but the values of our variables in the initial environment block: for the proof that the
    /// test of the wiping finds what is not wiped.
    AllButBlock,
    /// All but the stack: for the same proof.
    AllButStack,
}

/// Starts the application in place of this process.
///
/// Returns only with the status to end with: 0 for help and version, else that of a failure that
/// has been reported.
pub fn start(wiped: Wiped) -> u8 {
    harden::harden();
    // Before anything is waited for: a file of settings or of a credential may be a FIFO.
    signals::end_at_once();
    match run(wiped) {
        Ok(()) => 0,
        Err(errors) => {
            records::report(&errors);
            errors.code().status()
        }
    }
}

/// All that the start had in its hands, credentials too, is dropped and so wiped before the process
/// becomes another one: only the image is left.
fn run(wiped: Wiped) -> Result<(), Errors> {
    let image = if wiped == Wiped::AllButStack {
        image(wiped)
    } else {
        stack::wiped_after(|| image(wiped))
    };
    match image? {
        Some(image) => Err(image.exec().into()),
        None => Ok(()),
    }
}

/// The application with its environment, or nothing where something was printed instead.
fn image(wiped: Wiped) -> Result<Option<Image>, Errors> {
    let began = Instant::now();
    let environment = block::read();
    if wiped != Wiped::AllButBlock {
        block::wipe(|name| names::is_stripped(name) || names::is_key_of_platform(name));
    }
    let invocation = cli::parse(std::env::args_os().skip(1).collect());
    let (task, options, command) = match invocation {
        Ok(Invocation::Run { task, options, command }) => (task, options, command),
        Ok(Invocation::Print(text)) => {
            start_log(&Options::default(), &environment, &[]);
            print(&text)?;
            return Ok(None);
        }
        Err(error) => {
            start_log(&Options::default(), &environment, &[]);
            return Err(error.into());
        }
    };
    let files = load::env_files(&options, &environment);
    start_log(&options, &environment, files.as_deref().unwrap_or_default());
    let files = files?;
    let layers = Layers { options: &options, environment: &environment, files: &files };
    prepare(began, task, &layers, command)
}

/// From the settings to the new environment; nothing where the task ends before the application.
fn prepare(
    began: Instant,
    task: Task,
    layers: &Layers<'_>,
    command: Vec<OsString>,
) -> Result<Option<Image>, Errors> {
    settings::log_settings(layers)?;
    let settings = understood(layers)?;
    if task == Task::Start && command.is_empty() {
        return Err(no_command().into());
    }
    let plan = plan::make(&settings, layers.environment, layers.files)?;
    if task == Task::PrintPolicy {
        print(&policy::of(&plan, &settings)?)?;
        return Ok(None);
    }
    // Before Vault is asked, so that a typing error burns no secret id.
    let early =
        if plan.fetches("PATH") { None } else { Some(program(&command, plan.known("PATH"))?) };
    let (built, outcomes) = if plan.needs_vault() {
        fetched(began, task, layers, &settings, plan)?
    } else {
        (build(plan, &settings, &Outcomes::default())?, Outcomes::default())
    };
    for warning in &built.warnings {
        log::warn!("{warning}");
    }
    let program = early.map_or_else(|| program(&command, value(&built.variables, "PATH")), Ok)?;
    let report = (task == Task::Check).then(|| check::report(&built, &outcomes));
    let image = Image::new(program, command, built.variables)?;
    match report {
        Some(report) => {
            print(&report)?;
            Ok(None)
        }
        None => Ok(Some(image)),
    }
}

/// The settings, with what a secrets file adds to them.
fn understood(layers: &Layers<'_>) -> Result<Settings, Errors> {
    let mut settings = settings::understand(layers)?;
    if let Some(method) = &settings.auth_method {
        login::by_name(method)?;
    }
    if let Some(file) = &settings.secrets_file {
        settings.imports.extend(load::secrets_file(file)?);
    }
    if !settings.enabled && !settings.imports.is_empty() {
        log::warn!("VAULT_ENABLED is false: nothing is imported");
    }
    for warning in settings::without_effect(layers) {
        log::warn!("{warning}");
    }
    Ok(settings)
}

/// The program of the command; none of it where there is no command, which only a check does
/// without.
fn program(command: &[OsString], path: Option<&Secret>) -> Result<PathBuf, Error> {
    command.first().map_or(Ok(PathBuf::new()), |name| exec::find(name, path.map(as_path)))
}

fn build(plan: Plan, settings: &Settings, outcomes: &Outcomes) -> Result<Built, Errors> {
    let rules = Rules { ignore_missing: settings.ignore_missing, naming: settings.naming };
    environment::build(plan, outcomes, rules)
}

fn value<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Secret> {
    variables.iter().find(|variable| variable.name == name).map(|variable| &variable.value)
}

fn as_path(value: &Secret) -> &OsStr {
    OsStr::from_bytes(value.expose())
}

fn no_command() -> Error {
    Error::usage("no command to start").hint(
        "vault-exec [options] -- command [argument ...]; an image's CMD is the command of its \
         ENTRYPOINT",
    )
}

/// What is printed goes into files, such as a policy: half of it must not look like all of it.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Error::config(format!("stdout cannot be written: {error}")))
}

fn start_log(options: &Options, environment: &[Variable], files: &[EnvFile]) {
    let settings = settings::log_settings(&Layers { options, environment, files });
    records::start(settings.unwrap_or_else(|_| LogSettings::default()));
}

/// Logs in, reads, and revokes. The client is gone when it returns: its buffers hold the token.
fn fetched(
    began: Instant,
    task: Task,
    layers: &Layers<'_>,
    settings: &Settings,
    plan: Plan,
) -> Result<(Built, Outcomes), Errors> {
    let way = login::prepare(layers, settings)?;
    let deadline = Deadline::new(began, settings.timeout);
    let connection = connection(settings, matches!(way, Way::Added), layers.environment, deadline)?;
    let client = Client::new(connection)?;
    with(&client, way, task, settings, plan)
}

fn with(
    client: &Client,
    way: Way,
    task: Task,
    settings: &Settings,
    plan: Plan,
) -> Result<(Built, Outcomes), Errors> {
    let mut session = login::enter(client, way)?;
    let removes_files = settings.remove_files && task == Task::Start;
    if removes_files && session.is_own {
        credentials::remove(&session.files);
    }
    match (task, &session.token) {
        (Task::Check, None) => {
            log::warn!(
                "there is no login: what can be read depends on the Agent's or Proxy's token"
            );
        }
        (Task::Check, Some(_)) if !session.is_own => lookup::look_up(client, &mut session),
        _ => {}
    }
    let fetched = fetch::fetch(client, &session, &plan, settings);
    // A token that was given has shown that it is one.
    if removes_files && !session.is_own && fetched.as_ref().is_ok_and(Fetched::has_worked) {
        credentials::remove(&session.files);
    }
    let built = match &fetched {
        Ok(fetched) => build(plan, settings, &fetched.outcomes),
        Err(error) => Err(error.clone().into()),
    };
    let fetched = fetched.unwrap_or_default();
    match task {
        Task::Start => revoke::revoke(client, &session, settings, &fetched, built.is_ok()),
        Task::Check | Task::PrintPolicy => revoke::after_check(client, &session, &fetched),
    }
    Ok((built?, fetched.outcomes))
}

fn connection(
    settings: &Settings,
    adds_token: bool,
    environment: &[Variable],
    deadline: Deadline,
) -> Result<Connection, Error> {
    let Some(address) = settings.address.clone() else {
        return Err(Error::config("there are secrets to fetch, and no address of Vault")
            .hint("set VAULT_ADDR, such as https://vault.example.com:8200"));
    };
    warn_of(&address, settings);
    let proxies = Proxies::choose(&address, settings.proxy.as_ref(), environment)?;
    Ok(Connection {
        tls: tls::configure(&settings.tls, address.is_https(), environment)?,
        server_name: settings.tls.server_name.clone(),
        auth_namespace: settings.auth_namespace.clone(),
        namespace: settings.namespace.clone(),
        max_retries: settings.max_retries,
        adds_token,
        address,
        proxies,
        deadline,
    })
}

fn warn_of(address: &Address, settings: &Settings) {
    if !address.is_https() && !address.is_loopback() {
        log::warn!("{address} is plain http: token and secrets cross the network in clear");
    }
    if settings.tls.skip_verify {
        log::warn!(
            "VAULT_SKIP_VERIFY is set: anybody on the way can read the token and the secrets"
        );
    }
}

/// Makes a bug end the process with 70 and the place of it. The panic's own message is not shown:
/// it may quote a value.
pub fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        // It may be too early for the log to have been started.
        records::start(LogSettings::default());
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!(
            "a bug of vault-exec at {place}\nplease report it with the version and this place"
        );
        std::process::exit(Code::Internal.status().into());
    }));
}
