//! The files that settings come from: env files, and the secrets file.

use std::path::Path;

use crate::error::{Error, Errors};
use crate::grammar::env_file;
use crate::grammar::secrets_file;
use crate::grammar::sourced::{Origin, Sourced};
use crate::secret::Variable;
use crate::settings::credentials::read_file;
use crate::settings::layers::{EnvFile, Layers, Options};
use crate::settings::names::ENV_FILE;
use crate::settings::{self, Imports};

/// Reads the env files that the options and the environment name.
///
/// # Errors
/// 78 for each that cannot be read or understood, or that names another one.
pub fn env_files(options: &Options, environment: &[Variable]) -> Result<Vec<EnvFile>, Errors> {
    let named = settings::env_files(&Layers { options, environment, files: &[] })?;
    let mut errors = Errors::default();
    let files = named
        .into_iter()
        .filter_map(|(origin, path)| errors.keep(env_file(&origin, &path)))
        .collect();
    errors.or(files)
}

fn env_file(origin: &Origin, path: &Path) -> Result<EnvFile, Error> {
    let name = path.display().to_string();
    let text = read_file(path).map_err(|error| error.at(format!("{name} ({origin})")))?;
    let variables = env_file::parse(&text).map_err(|error| error.at(&name))?;
    match variables.iter().find(|variable| ENV_FILE.has_variable(&variable.name)) {
        Some(_) => Err(Error::config(format!("{name}: an env file names another one"))
            .hint("name all of them on the command line")),
        None => Ok(EnvFile { name, variables }),
    }
}

/// Reads what a vaultenv secrets file imports.
///
/// # Errors
/// 78 for a file that cannot be read, and for each line that cannot be understood.
pub fn secrets_file(named: &Sourced) -> Result<Vec<Imports>, Errors> {
    let name = named.text()?;
    let text = read_file(Path::new(name))
        .map_err(|error| error.at(format!("{name} ({})", named.origin)))?;
    let lines = secrets_file::parse(&text)
        .map_err(|errors| Errors(errors.0.into_iter().map(|error| error.at(name)).collect()))?;
    let imports = lines.into_iter().map(|line| Imports {
        place: format!("{name}, line {}", line.number),
        mount: Some(line.mount),
        import: line.import,
    });
    Ok(imports.collect())
}
