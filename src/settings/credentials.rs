//! Credentials from variables and files, read when they are needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::file;
use crate::grammar::sourced::{Origin, is_quoted, meant};
use crate::secret::Secret;
use crate::settings::layers::{Found, Layers};
use crate::settings::names::{ROLE_ID, Setting, Takes};

/// A credential where it was found, not read yet.
#[derive(Debug)]
pub(crate) struct Located {
    found: Found,
    /// Whether white space at its ends belongs to it.
    is_password: bool,
    /// Whether nobody else may know it; a role id is like a user's name.
    is_secret: bool,
}

/// A credential's value, and the file that it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
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
    pub(crate) fn find(
        layers: &Layers<'_>,
        credential: &Setting,
    ) -> Result<Option<Located>, Error> {
        let is_password = credential.takes == Takes::Password;
        let is_secret = credential.variables != ROLE_ID.variables;
        Ok(layers.credential(credential)?.map(|found| Located { found, is_password, is_secret }))
    }

    /// What the user calls the place.
    pub(crate) fn origin(&self) -> &Origin {
        let (Found::Value(found) | Found::File(found)) = &self.found;
        &found.origin
    }

    /// The value itself, trimmed, from a file that is read in the time that is left.
    ///
    /// # Errors
    /// 78 for a file that cannot be read or is empty.
    pub(crate) fn load(&self, left: Duration) -> Result<Loaded, Error> {
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
                let path = PathBuf::from(found.text()?);
                let content = file::read(&path, &found.origin, left)?;
                let value = filled(self.trimmed(&content.bytes), &content.place)?;
                if self.is_secret {
                    content.warn_of_others();
                }
                Ok(Loaded { value, origin: content.place, file: Some(path) })
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
pub(crate) fn usual_file(file: &Path, left: Duration) -> Result<Option<Loaded>, Error> {
    let Some(content) = file::read_usual(file, left)? else { return Ok(None) };
    let value = filled(Secret::from(content.bytes.trim_ascii().to_vec()), &content.place)?;
    Ok(Some(Loaded { value, origin: content.place, file: None }))
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
pub(crate) fn remove(files: &[PathBuf]) {
    for file in files {
        match std::fs::remove_file(file) {
            Ok(()) => log::info!("{} is removed", file.display()),
            Err(error) => log::warn!("{} cannot be removed: {error}", file.display()),
        }
    }
}
