//! Puts the files of a start where the application can find them, and fills their paths into its
//! values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::environment::{Built, Provided};
use crate::error::{Error, Errors};
use crate::files::{BuiltFile, Place};
use crate::intern::{Id, Interned};
use crate::process::files::{self, Access};
use crate::secret::Variable;

/// Files that are ready beside their final places until [`Files::put`] moves them. If this is
/// dropped before that, nothing of them is left.
pub(crate) struct Files(Vec<files::Prepared>);

/// Creates the files and completes the values. Files for which the user named no place go into the
/// directory, or into memory if there is none.
///
/// # Errors
/// 78 for each file that cannot be written.
pub(crate) fn hand_over(
    built: Built,
    access: Access,
    directory: Option<&Path>,
) -> Result<(Vec<Variable>, Files), Errors> {
    let mut errors = Errors::default();
    let mut maker = Maker { access, directory, paths: HashMap::new(), prepared: Vec::new() };
    // Files whose paths may occur in other files come first.
    for is_named in [true, false] {
        for (id, file) in built.files.iter() {
            if matches!(file.place, Place::Named(_)) == is_named {
                errors.keep(maker.make(id, file));
            }
        }
    }
    let complete = |provided: Provided| provided.into_variable(|id| maker.path(id));
    if errors.0.is_empty() {
        let variables = built.variables.into_iter().map(complete).collect::<Result<_, Error>>()?;
        return Ok((variables, Files(maker.prepared)));
    }
    Err(errors)
}

/// Returns the environment as it would be, for a check: with the paths that files in memory would
/// have.
///
/// # Errors
/// 70 for a file that does not exist.
pub(crate) fn without_files(
    files: &Interned<BuiltFile>,
    variables: Vec<Provided>,
) -> Result<Vec<Variable>, Error> {
    let path = |id| {
        Ok(match &files.get(id)?.place {
            Place::Named(_) => PathBuf::from("/proc/self/fd/100"),
            Place::At(path) => path.clone(),
        })
    };
    variables.into_iter().map(|provided| provided.into_variable(path)).collect()
}

struct Maker<'a> {
    access: Access,
    directory: Option<&'a Path>,
    paths: HashMap<Id<BuiltFile>, PathBuf>,
    prepared: Vec<files::Prepared>,
}

impl Maker<'_> {
    fn make(&mut self, id: Id<BuiltFile>, file: &BuiltFile) -> Result<(), Error> {
        let content = file.content.clone().with_paths(|id| self.path(id))?;
        let path = match (&file.place, self.directory) {
            (Place::Named(name), None) => files::sealed(name, &content, self.access)
                .map_err(|error| error.at(name.to_string_lossy()))?,
            (Place::Named(name), Some(directory)) => {
                let path = directory.join(name);
                self.prepared.push(files::prepare(&path, &content, self.access)?);
                path
            }
            (Place::At(path), _) => {
                self.prepared.push(files::prepare(path, &content, self.access)?);
                path.clone()
            }
        };
        self.paths.insert(id, path);
        Ok(())
    }

    fn path(&self, id: Id<BuiltFile>) -> Result<PathBuf, Error> {
        self.paths.get(&id).cloned().ok_or_else(|| Error::internal("a file that was not made"))
    }
}

impl Files {
    /// Moves the files to their places, each with one rename.
    ///
    /// # Errors
    /// 78 for a place that cannot be taken.
    pub(crate) fn put(self) -> Result<(), Error> {
        for prepared in self.0 {
            prepared.put()?;
        }
        Ok(())
    }
}
