//! Reads the files that settings come from: env files and the secrets file.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Errors};
use crate::file;
use crate::grammar::env_file;
use crate::grammar::secrets_file;
use crate::grammar::sourced::{Origin, Sourced};
use crate::http::deadline::Deadline;
use crate::secret::Variable;
use crate::settings::layers::{EnvFile, Layers, Options};
use crate::settings::names::ENV_FILE;
use crate::settings::{self, Imports};

/// Reads the env files that the options and the environment name.
///
/// # Errors
/// 78 for each env file that cannot be read or parsed, or that names another env file.
pub(crate) fn env_files(
    options: &Options,
    environment: &[Variable],
    began: Instant,
) -> Result<Vec<EnvFile>, Errors> {
    let layers = Layers { options, environment, files: &[] };
    let named = settings::env_files(&layers)?;
    let deadline = Deadline::new(began, settings::timeout(&layers));
    let mut errors = Errors::default();
    let files = named
        .into_iter()
        .filter_map(|(origin, path)| errors.keep(env_file(&origin, &path, deadline.left())))
        .collect();
    errors.or(files)
}

fn env_file(origin: &Origin, path: &Path, left: Duration) -> Result<EnvFile, Error> {
    let text = file::read(path, origin, left)?.bytes;
    let name = path.display().to_string();
    let variables = env_file::parse(&text).map_err(|error| error.at(&name))?;
    match variables.iter().find(|variable| ENV_FILE.has_variable(&variable.name)) {
        Some(_) => Err(Error::config(format!("{name}: an env file names another one"))
            .hint("name all of them on the command line")),
        None => Ok(EnvFile { name, variables }),
    }
}

/// Reads the imports of a vaultenv secrets file.
///
/// # Errors
/// 78 for a file that cannot be read, and for each line that cannot be parsed.
pub(crate) fn secrets_file(named: &Sourced, left: Duration) -> Result<Vec<Imports>, Errors> {
    let name = named.text()?;
    let text = file::read(Path::new(name), &named.origin, left)?.bytes;
    let lines = secrets_file::parse(&text)
        .map_err(|errors| Errors(errors.0.into_iter().map(|error| error.at(name)).collect()))?;
    let imports = lines.into_iter().map(|line| Imports {
        place: format!("{name}, line {}", line.number),
        mount: Some(line.mount),
        import: line.import,
    });
    Ok(imports.collect())
}
