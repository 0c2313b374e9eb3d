//! Credentials from variables and files, read when they are needed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use nix::libc;
use zeroize::Zeroizing;

use crate::error::{Code, Error, LIMITED};
use crate::secret::{Origin, Secret};
use crate::settings::layers::{Found, Layers};
use crate::settings::names::Setting;

/// The largest file that is read; a JWT of a cloud has a few thousand bytes.
const LIMIT: u64 = 1 << 20;

/// A credential where it was found, not read yet.
#[derive(Debug)]
pub struct Located {
    found: Found,
}

/// A credential's value, and the file that it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The value, trimmed and not empty.
    pub value: Secret,
    /// Where it was: `VAULT_TOKEN`, `/run/token (VAULT_TOKEN_FILE)`.
    pub origin: String,
    /// The file, for its removal after the login.
    pub file: Option<PathBuf>,
}

impl Located {
    /// Looks for a credential.
    ///
    /// # Errors
    /// 78 where one layer has both its forms.
    pub fn find(layers: &Layers<'_>, credential: &Setting) -> Result<Option<Located>, Error> {
        Ok(layers.credential(credential)?.map(|found| Located { found }))
    }

    /// What the user calls the place.
    pub fn origin(&self) -> &Origin {
        let (Found::Value(found) | Found::File(found)) = &self.found;
        &found.origin
    }

    /// The value itself, trimmed.
    ///
    /// # Errors
    /// 78 for a file that cannot be read or is empty.
    pub fn load(&self) -> Result<Loaded, Error> {
        match &self.found {
            Found::Value(found) => Ok(Loaded {
                value: found.value.trimmed(),
                origin: found.origin.to_string(),
                file: None,
            }),
            Found::File(found) => {
                let file = PathBuf::from(found.text()?);
                let origin = format!("{} ({})", file.display(), found.origin);
                read(&file, &origin).map(|value| Loaded { value, origin, file: Some(file) })
            }
        }
    }
}

/// A credential in the file where others keep it, if that is there: `~/.vault-token`, the token of
/// a service account. It is not ours to remove.
///
/// # Errors
/// 78 for a file that is there but cannot be read or is empty.
pub fn usual_file(file: &Path) -> Result<Option<Loaded>, Error> {
    let origin = file.display().to_string();
    if !file.exists() {
        return Ok(None);
    }
    read(file, &origin).map(|value| Some(Loaded { value, origin, file: None }))
}

/// A credential file's content, trimmed.
fn read(file: &Path, origin: &str) -> Result<Secret, Error> {
    let bytes = read_file(file).map_err(|error| error.at(origin))?;
    let value = Secret::from(bytes.trim_ascii().to_vec());
    if value.is_empty() {
        Err(Error::config(format!("{origin}: the file is empty")))
    } else {
        Ok(value)
    }
}

/// Unlinks the files of credentials that have done their work. What cannot be removed, such as a
/// file of a read-only mount, only warns.
pub fn remove(files: &[PathBuf]) {
    for file in files {
        match std::fs::remove_file(file) {
            Ok(()) => log::info!("{} is removed", file.display()),
            Err(error) => log::warn!("{} cannot be removed: {error}", file.display()),
        }
    }
}

/// A file's bytes.
///
/// # Errors
/// 78 where it cannot be read or is larger than a credential can be.
pub fn read_file(file: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(file).and_then(|opened| opened.take(LIMIT + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > LIMIT => Err(Error::config("the file has more than 1 MiB")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(cannot_read(&error)),
    }
}

fn cannot_read(error: &std::io::Error) -> Error {
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) {
        return Error::new(Code::Unavailable, format!("the file cannot be read: {error}"))
            .hint(LIMITED);
    }
    let failure = Error::config(format!("the file cannot be read: {error}"));
    match error.kind() {
        ErrorKind::NotFound => failure.hint("is it mounted into the container, and at this path?"),
        ErrorKind::PermissionDenied => {
            failure.hint("the user that the container runs as must be able to read it")
        }
        _ => failure,
    }
}
