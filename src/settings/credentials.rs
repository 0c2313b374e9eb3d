//! Credentials from variables and files. They are read when they are needed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Error;
use crate::file;
use crate::grammar::reference;
use crate::grammar::sourced::{Origin, is_quoted, meant};
use crate::secret::{Secret, Variable};
use crate::settings::layers::{Found, Layers};
use crate::settings::names::{self, PREFIXES, ROLE_ID, Setting, Takes};

/// A credential that has been located but not read yet.
#[derive(Debug)]
pub(crate) struct Located {
    found: Found,
    /// Whether white space at its ends is part of it.
    is_password: bool,
    /// Whether it must stay secret; a role id is like a user name.
    is_secret: bool,
}

/// A credential's value, and the file that it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The value, trimmed and not empty.
    pub value: Secret,
    /// Where it was found: `VAULT_TOKEN`, `/run/token (VAULT_TOKEN_FILE)`.
    pub origin: String,
    /// The file, for its removal after the login.
    pub file: Option<PathBuf>,
}

impl Located {
    /// Looks for a credential.
    ///
    /// # Errors
    /// 78 if one layer has both its value and its file.
    pub(crate) fn find(
        layers: &Layers<'_>,
        credential: &Setting,
    ) -> Result<Option<Located>, Error> {
        let is_password = credential.takes == Takes::Password;
        let is_secret = credential.variables != ROLE_ID.variables;
        Ok(layers.credential(credential)?.map(|found| Located { found, is_password, is_secret }))
    }

    /// Returns the place under the name that the user knows.
    pub(crate) fn origin(&self) -> &Origin {
        let (Found::Value(found) | Found::File(found)) = &self.found;
        &found.origin
    }

    /// Returns the trimmed value. If it is in a file, the file is read within the time that is
    /// left.
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

    /// Trims a credential. Editors and `echo` put a line break at the end, which is never meant. A
    /// password may begin or end with a blank.
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

/// Rejects quotes around a credential, or a variable's name in its place: they would be sent and
/// refused, and refusals lock a role. A password may look like that.
fn check_meant(value: &Secret) -> Result<(), Error> {
    let text = value.expose_text().unwrap_or_default().trim();
    let is_variable = (text.starts_with("${") && text.ends_with('}'))
        || (text.starts_with("$(") && text.ends_with(')'));
    if is_variable || is_quoted(text) { meant(text) } else { Ok(()) }
}

/// Reads a credential from the file where other programs keep it, if that file exists:
/// `~/.vault-token`, or the token of a service account. The file is not ours to remove.
///
/// # Errors
/// 78 for a file that exists but cannot be read or is empty.
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

/// Removes the files of credentials that are no longer needed. A file that cannot be removed, such
/// as one on a read-only mount, only causes a warning.
pub(crate) fn remove(files: &[PathBuf]) {
    for file in files {
        for (path, removed) in removed(file) {
            match removed {
                Ok(()) => log::info!("{} is removed", path.display()),
                Err(error) => log::warn!("{} cannot be removed: {error}", path.display()),
            }
        }
    }
}

/// Unlinks a file. If it is a symlink, also unlinks its target, since the target holds the
/// credential. A device or a FIFO stays: others use it too.
fn removed(file: &Path) -> Vec<(PathBuf, io::Result<()>)> {
    let target = match regular(file) {
        Ok(target) => target,
        Err(error) => return vec![(file.to_owned(), Err(error))],
    };
    let is_link = fs::symlink_metadata(file).is_ok_and(|seen| seen.is_symlink());
    let link = is_link.then(|| file.to_owned());
    let target = if is_link { target } else { file.to_owned() };
    let all = std::iter::once(target).chain(link);
    all.map(|path| (path.clone(), fs::remove_file(&path))).collect()
}

/// Returns the real path of a regular file.
fn regular(file: &Path) -> io::Result<PathBuf> {
    let other = || io::Error::other("it is not a regular file");
    if !fs::metadata(file)?.is_file() {
        return Err(other());
    }
    let target = fs::canonicalize(file)?;
    if fs::symlink_metadata(&target)?.is_file() { Ok(target) } else { Err(other()) }
}

/// Returns the credentials in env files, such as `VAULT_TOKEN in .env`. These files stay, because
/// they also contain other settings.
pub(crate) fn in_env_files(layers: &Layers<'_>) -> Vec<Origin> {
    let is_secret = |credential: &&Setting| credential.variables != ROLE_ID.variables;
    let names = || names::credentials().filter(is_secret).flat_map(|secret| secret.variables);
    let is_credential = |variable: &Variable| {
        let value = variable.value.expose();
        let name = variable.name.to_str().unwrap_or_default();
        let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        !value.trim_ascii().is_empty()
            && !reference::is_login(value)
            && bare.is_some_and(|bare| names().any(|known| *known == bare))
    };
    let each = layers.files.iter().flat_map(|file| {
        file.variables.iter().filter(|variable| is_credential(variable)).map(|variable| {
            Origin::EnvFile {
                variable: variable.name.to_string_lossy().into_owned(),
                file: file.name.clone(),
            }
        })
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::settings::layers::{EnvFile, Options};

    #[test]
    fn a_link_is_removed_with_the_regular_file_behind_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::write(path("plain"), "s3cret").expect("written");
        fs::write(path("target"), "s3cret").expect("written");
        fs::create_dir(path("data")).expect("a directory");
        fs::write(path("data/token"), "s3cret").expect("written");
        symlink(path("data"), path("..data")).expect("a link");
        for (link, target) in [("link", "target"), ("token", "..data/token")] {
            symlink(target, path(link)).expect("a link");
        }
        remove(&["plain", "link", "token"].map(path));
        let left: Vec<_> = fs::read_dir(directory.path()).expect("read").flatten().collect();
        let mut left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
        left.sort();
        assert_eq!(left, ["..data", "data"]);
        assert!(!path("data/token").exists());
    }

    #[test]
    fn what_is_no_regular_file_stays_and_so_does_a_link_to_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&path("fifo"), mode).expect("a FIFO");
        fs::create_dir(path("directory")).expect("a directory");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("a socket");
        symlink("/dev/null", path("device")).expect("a link");
        symlink("fifo", path("link")).expect("a link");
        symlink("nowhere", path("dangling")).expect("a link");
        for name in ["fifo", "directory", "socket", "device", "link", "dangling", "none"] {
            let removed = removed(&path(name));
            assert!(matches!(removed.as_slice(), [(_, Err(_))]), "{name}: {removed:?}");
            assert_eq!(fs::symlink_metadata(path(name)).is_ok(), name != "none", "{name}");
        }
        // Nobody can unlink files in /proc, not even root.
        let removed = removed(Path::new("/proc/self/comm"));
        assert!(matches!(removed.as_slice(), [(_, Err(_))]), "{removed:?}");
    }

    #[test]
    fn credentials_in_env_files_are_named() {
        let file = |name: &str, pairs: &[(&str, &str)]| EnvFile {
            name: name.to_owned(),
            variables: pairs.iter().map(|(name, value)| Variable::new(*name, *value)).collect(),
        };
        let files = [
            file("a", &[("VAULT_ADDR", "x"), ("VAULT_TOKEN", "t"), ("BAO_TOKEN", " ")]),
            file(
                "b",
                &[
                    ("BAO_SECRET_ID", "s"),
                    ("VAULT_PASSWORD", "p"),
                    ("TOKEN", "t"),
                    ("VAULT_ROLE_ID", "r"),
                ],
            ),
            file("c", &[("VAULT_TOKEN", "vault:login"), ("VAULT_TOKEN_FILE", "/run/token")]),
        ];
        let environment = [Variable::new("VAULT_TOKEN", "t")];
        let layers =
            Layers { options: &Options::default(), environment: &environment, files: &files };
        let found: Vec<String> = in_env_files(&layers).iter().map(Origin::to_string).collect();
        assert_eq!(found, ["VAULT_TOKEN in a", "BAO_SECRET_ID in b", "VAULT_PASSWORD in b"]);
    }
}
