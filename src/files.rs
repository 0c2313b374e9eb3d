//! Secrets as files: which files exist, and where their paths occur in values (pure).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::intern::{Id, Interned};
use crate::provenance::Provenance;
use crate::secret::Secret;

/// A file that the application gets.
#[derive(Debug, PartialEq, Eq)]
pub struct BuiltFile {
    /// Where it goes.
    pub place: Place,
    /// What is in it.
    pub content: Content,
    /// For a check's report.
    pub from: Provenance,
}

/// Where a file goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the default location for files, under this name; the user named no place.
    Named(OsString),
    /// At the place that the user named.
    At(PathBuf),
}

/// A value in which paths of files may still be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    bytes: Secret,
    /// In order: the number of bytes before a path, and the file whose path it is.
    paths: Vec<(usize, Id<BuiltFile>)>,
}

impl Content {
    /// Returns whether the value contains the path of a file.
    pub fn has_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Returns the number of bytes, not counting paths.
    pub fn size(&self) -> usize {
        self.bytes.expose().len()
    }

    /// Adds text.
    pub fn push(&mut self, text: &Secret) {
        if self.bytes.is_empty() {
            self.bytes = text.clone();
            return;
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.size() + text.expose().len()));
        bytes.extend_from_slice(self.bytes.expose());
        bytes.extend_from_slice(text.expose());
        self.bytes = Secret::from(std::mem::take(&mut *bytes));
    }

    /// Adds the path of a file.
    pub fn push_path(&mut self, file: Id<BuiltFile>) {
        self.paths.push((self.size(), file));
    }

    /// Returns the value with the paths filled in.
    ///
    /// # Errors
    /// Whatever error the function that knows the paths returns.
    pub fn with_paths(
        self,
        path: impl Fn(Id<BuiltFile>) -> Result<PathBuf, Error>,
    ) -> Result<Secret, Error> {
        if self.paths.is_empty() {
            return Ok(self.bytes);
        }
        let mut value = Zeroizing::new(Vec::with_capacity(self.size() + 32 * self.paths.len()));
        let mut rest = self.bytes.expose();
        let mut taken = 0;
        for (at, file) in self.paths {
            let (before, after) = rest
                .split_at_checked(at - taken)
                .ok_or_else(|| Error::internal("a path behind the end of its value"))?;
            value.extend_from_slice(before);
            value.extend_from_slice(path(file)?.as_os_str().as_bytes());
            (rest, taken) = (after, at);
        }
        value.extend_from_slice(rest);
        Ok(Secret::from(std::mem::take(&mut *value)))
    }
}

impl From<Secret> for Content {
    fn from(bytes: Secret) -> Content {
        Content { bytes, paths: Vec::new() }
    }
}

/// Returns the name for a file of a variable: the variable's own name, with a number from the
/// second file on.
pub(crate) fn name(variable: &OsStr, number: usize) -> OsString {
    let mut name: OsString = variable.to_owned();
    if number > 1 {
        name.push(format!(".{number}"));
    }
    name
}

/// Returns the path of a key's file in a directory.
///
/// # Errors
/// 78 for a key that cannot be a file name.
pub(crate) fn of_key(directory: &Path, key: &str) -> Result<PathBuf, Error> {
    let is_name = !key.is_empty() && key != "." && key != ".." && !key.contains(['/', '\0']);
    if is_name {
        Ok(directory.join(key))
    } else {
        Err(Error::config(format!("the key {key:?} is no name of a file"))
            .hint("write the file of this key with a --file of its own, PATH=path#key"))
    }
}

/// Finds a place that two files claim.
pub(crate) fn conflict(files: &Interned<BuiltFile>) -> Option<&Path> {
    let mut places: Vec<&Path> = files.iter().filter_map(|(_, file)| file.place.path()).collect();
    places.sort_unstable();
    places.windows(2).find_map(|two| match two {
        [one, other] if one == other => Some(*one),
        _ => None,
    })
}

impl Place {
    /// Returns the place that the user named, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Place::Named(_) => None,
            Place::At(path) => Some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Origin;

    fn file(place: Place) -> BuiltFile {
        let from = Provenance::Value(Origin::Default);
        BuiltFile { place, content: Content::default(), from }
    }

    #[test]
    fn paths_stand_where_their_references_stood() {
        let mut files = Interned::default();
        let a = files.intern(file(Place::Named("A".into())));
        let b = files.intern(file(Place::Named("B".into())));
        let mut content = Content::from(Secret::from("x="));
        content.push_path(a);
        content.push(&Secret::from(b";\xff".to_vec()));
        content.push_path(b);
        content.push_path(a);
        let path = |id| Ok(PathBuf::from(if id == a { "/a" } else { "/bb" }));
        assert_eq!(content.with_paths(path).expect("a value").expose(), b"x=/a;\xff/bb/a");
        assert_eq!(Content::from(Secret::from("v")).with_paths(path), Ok(Secret::from("v")));
    }

    #[test]
    fn keys_are_names_of_files_or_errors() {
        let directory = Path::new("/run/secrets");
        assert_eq!(of_key(directory, "tls.crt"), Ok(PathBuf::from("/run/secrets/tls.crt")));
        for key in ["", ".", "..", "a/b", "../etc/passwd", "a\0b"] {
            assert_eq!(of_key(directory, key).expect_err(key).code.status(), 78);
        }
    }

    #[test]
    fn two_files_at_one_place_are_found() {
        let mut files = Interned::default();
        for place in ["/a", "/b"] {
            files.intern(file(Place::At(place.into())));
        }
        assert_eq!(conflict(&files), None);
        let other = BuiltFile { content: Secret::from("x").into(), ..file(Place::At("/b".into())) };
        files.intern(other);
        assert_eq!(conflict(&files), Some(Path::new("/b")));
    }
}
