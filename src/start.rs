//! One start, from the command line to exec: settings → plan → login → fetch → environment → exec.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use crate::address::Address;
use crate::cli::{self, Invocation, Options};
use crate::credentials::{self, read_file};
use crate::deadline::Deadline;
use crate::environment::{self, Built, Rules};
use crate::error::{Code, Error, Errors};
use crate::fetch::{self, Fetched};
use crate::layers::{EnvFile, Layers};
use crate::plan::{self, Plan};
use crate::process::exec::{self, Image};
use crate::process::{block, harden, signals};
use crate::secret::{Secret, Variable};
use crate::settings::{self, LogSettings, Settings};
use crate::vault::auth::{self, Session, Way};
use crate::vault::client::{Client, Connection};
use crate::vault::revoke::{Use, revoke};
use crate::vault::{proxy, tls};
use crate::{env_file, log as records};

/// Whether the values of our variables are overwritten in the initial environment block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// As every real start does it.
    Wiped,
    /// For the proof that the test of the wiping finds what is not wiped.
    Untouched,
}

/// Starts the application in place of this process.
///
/// Returns only with the status to end with: 0 for help and version, else that of a failure that has been reported.
pub fn start(initial_block: Block) -> u8 {
    harden::harden();
    // Before anything is waited for: a file of settings or of a credential may be a FIFO.
    signals::end_at_once();
    match run(initial_block) {
        Ok(()) => 0,
        Err(errors) => {
            records::report(&errors);
            errors.code().status()
        }
    }
}

/// All that the start had in its hands, credentials too, is dropped and so wiped before the process becomes another one:
/// only the image is left.
fn run(initial_block: Block) -> Result<(), Errors> {
    match image(initial_block)? {
        Some(image) => Err(image.exec().into()),
        None => Ok(()),
    }
}

/// The application with its environment, or nothing where something was printed instead.
fn image(initial_block: Block) -> Result<Option<Image>, Errors> {
    let began = Instant::now();
    let environment = block::read();
    if initial_block == Block::Wiped {
        block::wipe(plan::is_ours);
    }
    let invocation = cli::parse(std::env::args_os().skip(1).collect());
    let (options, command) = match invocation {
        Ok(Invocation::Run { options, command }) => (options, command),
        Ok(Invocation::Print(text)) => {
            print(&text);
            return Ok(None);
        }
        Err(error) => {
            start_log(&Options::default(), &environment, &[]);
            return Err(error.into());
        }
    };
    let files = env_files(&options, &environment);
    start_log(&options, &environment, files.as_deref().unwrap_or_default());
    prepare(began, &options, command, &environment, &files?).map(Some)
}

/// From the settings to the new environment.
fn prepare(
    began: Instant,
    options: &Options,
    command: Vec<OsString>,
    environment: &[Variable],
    files: &[EnvFile],
) -> Result<Image, Errors> {
    let layers = Layers { options, environment, files };
    settings::log_settings(&layers)?;
    let settings = settings::understand(&layers)?;
    if let Some(method) = &settings.auth_method {
        auth::by_name(method)?;
    }
    let Some(name) = command.first() else { return Err(no_command().into()) };
    let plan = plan::make(&settings, environment, files)?;
    // Before Vault is asked, so that a typing error burns no secret id.
    let early = if plan.fetches("PATH") { None } else { Some(exec::find(name, plan.known("PATH").map(as_path))?) };
    if plan.skipped_imports {
        log::warn!("VAULT_ENABLED is false: nothing is imported");
    }
    let built = if plan.reads.is_empty() {
        build(plan, &settings, &Fetched::default())?
    } else {
        fetched(&layers, &settings, plan, began)?
    };
    for warning in &built.warnings {
        log::warn!("{warning}");
    }
    let program = early.map_or_else(|| exec::find(name, value(&built.variables, "PATH").map(as_path)), Ok)?;
    Image::new(program, command, built.variables)
}

fn build(plan: Plan, settings: &Settings, fetched: &Fetched) -> Result<Built, Errors> {
    let rules = Rules { ignore_missing: settings.ignore_missing, naming: settings.naming };
    environment::build(plan, &fetched.outcomes, rules)
}

fn value<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Secret> {
    variables.iter().find(|variable| variable.name == name).map(|variable| &variable.value)
}

fn as_path(value: &Secret) -> &OsStr {
    OsStr::from_bytes(value.expose())
}

fn no_command() -> Error {
    Error::usage("no command to start")
        .hint("vault-exec [options] -- command [argument ...]; an image's CMD is the command of its ENTRYPOINT")
}

fn print(text: &str) {
    // Nobody reads a closed stdout, and there is nothing left to do.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn start_log(options: &Options, environment: &[Variable], files: &[EnvFile]) {
    let settings = settings::log_settings(&Layers { options, environment, files });
    records::start(settings.unwrap_or_else(|_| LogSettings::default()));
}

fn env_files(options: &Options, environment: &[Variable]) -> Result<Vec<EnvFile>, Errors> {
    let named = settings::env_files(&Layers { options, environment, files: &[] })?;
    let mut errors = Errors::default();
    let files = named.into_iter().filter_map(|(origin, path)| errors.keep(env_file(&origin, &path))).collect();
    errors.or(files)
}

fn env_file(origin: &str, path: &Path) -> Result<EnvFile, Error> {
    let name = path.display().to_string();
    let text = read_file(path).map_err(|error| error.at(format!("{name} ({origin})")))?;
    let variables = env_file::parse(&text).map_err(|error| error.at(&name))?;
    match variables.iter().find(|variable| settings::is_env_file(&variable.name)) {
        Some(_) => Err(Error::config(format!("{name}: an env file names another one"))
            .hint("name all of them on the command line")),
        None => Ok(EnvFile { name, variables }),
    }
}

/// Logs in, reads, and revokes. The client is gone when it returns: its buffers hold the token.
fn fetched(layers: &Layers<'_>, settings: &Settings, plan: Plan, began: Instant) -> Result<Built, Errors> {
    let way = auth::prepare(layers, settings)?;
    let connection = connection(settings, layers.environment, Deadline::new(began, settings.timeout))?;
    let client = Client::new(connection)?;
    match with(&client, way, settings, plan) {
        Ok(built) => Ok(built),
        Err(errors) => {
            // The process ends with this: waiting for the client's thread would only delay it.
            std::mem::forget(client);
            Err(errors)
        }
    }
}

fn with(client: &Client, way: Way, settings: &Settings, plan: Plan) -> Result<Built, Errors> {
    let session = auth::enter(client, way)?;
    if session.is_own {
        remove(settings, &session);
    }
    let fetched = fetch::fetch(client, &session, &plan.reads, settings.kv_version);
    let is_read = fetched.as_ref().is_ok_and(|fetched| fetched.outcomes.documents.iter().any(Result::is_ok));
    if !session.is_own && is_read {
        remove(settings, &session);
    }
    let built = match &fetched {
        Ok(fetched) => build(plan, settings, fetched),
        Err(error) => Err(error.clone().into()),
    };
    let use_of_token = fetched.as_ref().map_or(Use::default(), |fetched| Use {
        requests: fetched.requests,
        has_leases: fetched.has_leases && built.is_ok(),
    });
    revoke(client, &session, settings.revoke, use_of_token);
    built
}

fn connection(settings: &Settings, environment: &[Variable], deadline: Deadline) -> Result<Connection, Error> {
    let Some(address) = settings.address.clone() else {
        return Err(Error::config("there are secrets to fetch, and no address of Vault")
            .hint("set VAULT_ADDR, such as https://vault.example.com:8200"));
    };
    warn_of(&address, settings);
    let proxy = proxy::choose(&address, settings.proxy.as_ref(), environment)?;
    Ok(Connection {
        tls: tls::configure(&settings.tls, address.is_https(), environment)?,
        server_name: settings.tls.server_name.clone(),
        namespace: settings.namespace.clone(),
        max_retries: settings.max_retries,
        address,
        proxy,
        deadline,
    })
}

fn warn_of(address: &Address, settings: &Settings) {
    if !address.is_https() && !address.is_loopback() {
        log::warn!("{address} is plain http: token and secrets cross the network in clear");
    }
    if settings.tls.skip_verify {
        log::warn!("VAULT_SKIP_VERIFY is set: anybody on the way can read the token and the secrets");
    }
}

fn remove(settings: &Settings, session: &Session) {
    if settings.remove_files {
        credentials::remove(&session.files);
    }
}

/// Makes a bug end the process with 70 and the place of it. The panic's own message is not shown: it may quote a value.
pub fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        // It may be too early for the log to have been started.
        records::start(LogSettings::default());
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!("a bug of vault-exec at {place}\nplease report it with the version and this place");
        std::process::exit(Code::Internal.status().into());
    }));
}
