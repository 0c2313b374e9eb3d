//! Credentials from variables and files, read when they are needed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use nix::libc;
use zeroize::Zeroizing;

use crate::error::{Code, Error, LIMITED};
use crate::grammar::sourced::{Origin, is_quoted, meant};
use crate::secret::Secret;
use crate::settings::layers::{Found, Layers};
use crate::settings::names::{Setting, Takes};

/// The largest file that is read; a JWT of a cloud has a few thousand bytes.
const LIMIT: u64 = 1 << 20;

/// A credential where it was found, not read yet.
#[derive(Debug)]
pub struct Located {
    found: Found,
    /// Whether white space at its ends belongs to it.
    is_password: bool,
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
        let is_password = credential.takes == Takes::Password;
        Ok(layers.credential(credential)?.map(|found| Located { found, is_password }))
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
            Found::Value(found) => {
                if !self.is_password {
                    check_meant(&found.value).map_err(|error| error.at(&found.origin))?;
                }
                Ok(Loaded {
                    value: self.trimmed(found.value.expose()),
                    origin: found.origin.to_string(),
                    file: None,
                })
            }
            Found::File(found) => {
                let file = PathBuf::from(found.text()?);
                let origin = format!("{} ({})", file.display(), found.origin);
                let bytes = read_file(&file).map_err(|error| error.at(&origin))?;
                let value = filled(self.trimmed(&bytes), &origin)?;
                Ok(Loaded { value, origin, file: Some(file) })
            }
        }
    }

    /// Editors and `echo` put a line break at the end, which is never meant; a password may begin
    /// or end with a blank.
    fn trimmed(&self, bytes: &[u8]) -> Secret {
        if !self.is_password {
            return Secret::from(bytes.trim_ascii().to_vec());
        }
        let is_inner = |byte: &u8| !matches!(byte, b'\r' | b'\n');
        let start = bytes.iter().position(is_inner).unwrap_or(bytes.len());
        let end = bytes.iter().rposition(is_inner).map_or(start, |last| last + 1);
        Secret::from(bytes.get(start..end).unwrap_or_default().to_vec())
    }
}

/// Quotes around a credential, or the name of a variable in place of it, would be sent and refused,
/// and refusals lock a role. A password may be like that.
fn check_meant(value: &Secret) -> Result<(), Error> {
    let text = value.expose_text().unwrap_or_default().trim();
    let is_variable = (text.starts_with("${") && text.ends_with('}'))
        || (text.starts_with("$(") && text.ends_with(')'));
    if is_variable || is_quoted(text) { meant(text) } else { Ok(()) }
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
    let bytes = read_file(file).map_err(|error| error.at(&origin))?;
    let value = filled(Secret::from(bytes.trim_ascii().to_vec()), &origin)?;
    Ok(Some(Loaded { value, origin, file: None }))
}

fn filled(value: Secret, origin: &str) -> Result<Secret, Error> {
    if value.is_empty() {
        Err(Error::config(format!("{origin}: the file is empty"))
            .hint("whoever makes the file has not written the credential into it, or not yet"))
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
