//! What a start has to do, determined without asking Vault.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, Errors};
use crate::file;
use crate::http;
use crate::http::deadline::Deadline;
use crate::login::{self, Credentials};
use crate::plan::{self, Plan};
use crate::process::exec;
use crate::process::files::{self, Access};
use crate::secret::{Secret, Variable};
use crate::settings::credentials;
use crate::settings::layers::Layers;
use crate::settings::{self, DEFAULT_MODE, Settings, load};

/// The work of a start, for as many times as it has to be done.
pub(crate) struct Job {
    /// The settings.
    pub settings: Settings,
    /// What is fetched, and for which variables and files.
    pub plan: Plan,
    /// The credentials for the login; `None` if nothing is fetched.
    pub login: Option<Credentials>,
    /// The application and its arguments.
    pub command: Vec<OsString>,
    /// The application's program, if it is known before anything is fetched.
    pub program: Option<PathBuf>,
    /// The variables of the environment that say how servers are reached.
    pub network: Vec<Variable>,
    /// Who may read the application's files.
    pub(crate) access: Access,
    /// Where files go whose place nobody names; `None` is memory.
    pub(crate) directory: Option<PathBuf>,
    /// Whether it is only a check, after which nothing starts.
    pub is_check: bool,
}

impl Job {
    /// Builds a job. It looks for the command first, so that a typing error does not use up a
    /// secret id.
    ///
    /// # Errors
    /// 126 or 127 for a command that cannot run, 78 for credentials that are missing or conflict.
    pub(crate) fn new(
        layers: &Layers<'_>,
        settings: Settings,
        plan: Plan,
        command: Vec<OsString>,
        is_check: bool,
    ) -> Result<Job, Errors> {
        let program =
            if plan.fetches("PATH") { None } else { Some(find(&command, plan.known("PATH"))?) };
        let login =
            if plan.needs_vault() { Some(login::credentials(layers, &settings)?) } else { None };
        report(&plan, || {
            settings.address.is_some()
                && settings.literal.is_empty()
                && login::credentials(layers, &settings).is_ok()
        });
        if settings.remove_files && login.is_some() && !is_check {
            warn_of_what_stays(layers, &settings);
        }
        let network = http::about_network(layers.environment);
        let access = access(&settings)?;
        let directory = directory(&settings)?;
        Ok(Job { settings, plan, login, command, program, network, access, directory, is_check })
    }

    /// Returns the application's program, found on the PATH that the application gets.
    ///
    /// # Errors
    /// 126 or 127 for a command that cannot run.
    pub(crate) fn program(&self, variables: &[Variable]) -> Result<PathBuf, Error> {
        let path = || variables.iter().find(|variable| variable.name == "PATH");
        let found = || find(&self.command, path().map(|variable| &variable.value));
        self.program.clone().map_or_else(found, Ok)
    }
}

/// Logs what was found, and what looks like a mistake.
fn report(plan: &Plan, could_log_in: impl Fn() -> bool) {
    for entry in &plan.entries {
        for reference in plan.references(entry) {
            log::debug!("{}: a reference to {reference}", entry.name.to_string_lossy());
        }
    }
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    if !plan.needs_vault() && could_log_in() {
        log::warn!(
            "nothing is fetched: no variable is a reference such as vault:path#key, and nothing is \
             imported"
        );
    }
}

/// Warns about the files with credentials that `--remove-credential-files` leaves.
fn warn_of_what_stays(layers: &Layers<'_>, settings: &Settings) {
    for origin in credentials::in_env_files(layers) {
        log::warn!("{origin}: the env file has a credential in it, and is not removed");
    }
    if let (Some(key), Some(why)) = (settings.client_key(), settings.needs_key()) {
        log::warn!("the file of {} is not removed: {why}", key.origin);
    }
}

fn directory(settings: &Settings) -> Result<Option<PathBuf>, Error> {
    let Some(named) = &settings.files.directory else { return Ok(None) };
    let path = PathBuf::from(named.text()?);
    match fs::metadata(&path) {
        Ok(found) if found.is_dir() => Ok(Some(path)),
        Ok(_) => Err(file::unusable(&path, &named.origin, "it is not a directory")),
        Err(error) => Err(file::unusable(&path, &named.origin, &error.to_string())),
    }
}

fn access(settings: &Settings) -> Result<Access, Error> {
    let mode = settings.files.mode.unwrap_or(DEFAULT_MODE);
    let Some(named) = &settings.files.owner else {
        return Ok(Access { mode, user: None, group: None });
    };
    let (user, group) = files::owner(named.text()?)
        .map_err(|wrong| Error::config(format!("{}: {wrong}", named.origin)))?;
    Ok(Access { mode, user, group })
}

/// Finds the program. Without a command there is no program, which only a check allows.
fn find(command: &[OsString], path: Option<&Secret>) -> Result<PathBuf, Error> {
    let path = path.map(|path| OsStr::from_bytes(path.expose()));
    command.first().map_or(Ok(PathBuf::new()), |name| exec::find(name, path))
}

/// Returns the settings and the plan.
///
/// # Errors
/// 78 for everything that cannot be understood.
pub(crate) fn understand(layers: &Layers<'_>, began: Instant) -> Result<(Settings, Plan), Errors> {
    settings::log_settings(layers)?;
    let mut settings = settings::understand(layers)?;
    if let Some(method) = &settings.auth_method {
        login::by_name(method)?;
    }
    if let Some(file) = &settings.secrets_file {
        settings
            .imports
            .extend(load::secrets_file(file, Deadline::new(began, settings.timeout).left())?);
    }
    if !settings.enabled && !settings.imports.is_empty() {
        log::warn!("VAULT_ENABLED is false: nothing is imported");
    }
    for warning in settings::without_effect(layers) {
        log::warn!("{warning}");
    }
    let plan = plan::make(&settings, layers.environment, layers.files)?;
    Ok((settings, plan))
}
