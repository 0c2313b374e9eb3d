//! What is fetched, and for whom (pure).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use crate::error::{Error, Errors};
use crate::import::{Import, Keys};
use crate::layers::{EnvFile, PREFIXES};
use crate::path::Path;
use crate::reference::{self, Reference, Value};
use crate::secret::{Secret, Variable};
use crate::settings::Settings;
use crate::units::Names;

/// A secret that is read once, however many variables come from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// As the user wrote it.
    pub path: Path,
    /// The version; the latest where there is none.
    pub version: Option<u64>,
}

/// A variable of the application.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a variable comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// It is there already.
    Value(Secret),
    /// From Vault.
    Read {
        /// Which of the plan's reads.
        read: usize,
        /// What of it.
        key: String,
        /// It may be missing, and is left out then.
        optional: bool,
        /// What is taken where it is missing.
        default: Option<Secret>,
    },
}

/// An import, with the words for it in messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// `--secret secret/app`.
    pub place: String,
    /// Which of the plan's reads.
    pub read: usize,
    /// Which of its keys, and as what.
    pub keys: Keys,
}

/// Everything that is to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// What is read, each once.
    pub reads: Vec<Read>,
    /// The application's variables in their order.
    pub entries: Vec<Entry>,
    /// What else the application gets.
    pub imports: Vec<Imported>,
    /// Whether imports were left out because Vault is not to be asked.
    pub skipped_imports: bool,
}

/// Decides for each variable what becomes of it.
///
/// # Errors
/// 78 for each reference that does not parse, and for each that would need Vault when it is not to be asked.
pub fn make(settings: &Settings, environment: &[Variable], files: &[EnvFile]) -> Result<Plan, Errors> {
    let mut plan = Plan::default();
    let mut errors = Errors::default();
    for (variable, inherited) in merged(environment, files) {
        let name = variable.name.clone();
        let planned = plan.variable(settings, variable, inherited);
        errors.keep(planned.map_err(|error| error.at(name.to_string_lossy())));
    }
    if settings.enabled {
        for (place, import) in &settings.imports {
            plan.import(place.clone(), import.clone());
        }
    }
    plan.skipped_imports = !settings.enabled && !settings.imports.is_empty();
    errors.or(plan)
}

impl Plan {
    /// The value of a variable, if it is known before anything is fetched.
    pub fn known(&self, name: &str) -> Option<&Secret> {
        self.entries.iter().find(|entry| entry.name == name).and_then(|entry| match &entry.source {
            Source::Value(value) => Some(value),
            Source::Read { .. } => None,
        })
    }

    /// Whether a variable is to be fetched.
    pub fn fetches(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.name == name && matches!(entry.source, Source::Read { .. }))
    }

    fn variable(&mut self, settings: &Settings, variable: Variable, inherited: bool) -> Result<(), Error> {
        let Variable { name, value } = variable;
        let is_literal = settings.literal.contain(&name);
        let parsed = if is_literal { Value::Literal } else { reference::parse(value.expose())? };
        let source = match parsed {
            Value::Literal if passes(settings, &name, inherited) => Source::Value(value),
            Value::Literal => return Ok(()),
            Value::Reference(reference) if settings.enabled => self.reference(reference),
            Value::Reference(reference) => Source::Value(without_vault(reference)?),
        };
        self.entries.push(Entry { name, source });
        Ok(())
    }

    fn reference(&mut self, reference: Reference) -> Source {
        let Reference { path, key, version, optional, default } = reference;
        Source::Read { read: self.read(Read { path, version }), key, optional, default: default.map(Secret::from) }
    }

    fn import(&mut self, place: String, import: Import) {
        let Import { path, version, keys } = import;
        let read = self.read(Read { path, version });
        self.imports.push(Imported { place, read, keys });
    }

    fn read(&mut self, read: Read) -> usize {
        self.reads.iter().position(|known| *known == read).unwrap_or_else(|| {
            self.reads.push(read);
            self.reads.len() - 1
        })
    }
}

/// Each name once: the first of an environment that has it twice (as getenv(3) finds it), the environment's before an env
/// file's, a later file's before an earlier one's. The flag says whether it was inherited.
fn merged(environment: &[Variable], files: &[EnvFile]) -> Vec<(Variable, bool)> {
    let mut seen = HashSet::new();
    let mut from_files: Vec<&Variable> = Vec::new();
    for file in files {
        from_files.retain(|earlier| !file.variables.iter().any(|later| later.name == earlier.name));
        from_files.extend(&file.variables);
    }
    let all = environment
        .iter()
        .map(|variable| (variable, true))
        .chain(from_files.into_iter().map(|variable| (variable, false)));
    let first = all.filter(|(variable, _)| seen.insert(variable.name.clone()));
    first.map(|(variable, inherited)| (variable.clone(), inherited)).collect()
}

/// Whether a variable whose value is no reference reaches the application.
fn passes(settings: &Settings, name: &OsStr, inherited: bool) -> bool {
    let is_kept = settings.keep.contain(name);
    let is_wanted = !(settings.clean_env && inherited) || name == "PATH";
    is_kept || (is_wanted && !is_ours(name.as_encoded_bytes()))
}

/// Whether a name is one of those that are stripped.
pub fn is_ours(name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Names that steer a process: they never come out of an import.
pub fn steers(name: &str) -> bool {
    let mut names = Names::default();
    names.add("PATH,IFS,ENV,BASH_ENV,LD_*,GLIBC_TUNABLES,VAULT_*,BAO_*");
    names.contain(OsStr::new(name))
}

fn without_vault(reference: Reference) -> Result<Secret, Error> {
    reference.default.map(Secret::from).ok_or_else(|| {
        Error::config("a reference without a default, and VAULT_ENABLED is false")
            .hint("give it a default: vault:path#key:-default")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Options;
    use crate::layers::Layers;
    use crate::settings;

    fn variables(pairs: &[(&str, &str)]) -> Vec<Variable> {
        pairs.iter().map(|(name, value)| Variable::new(*name, *value)).collect()
    }

    fn planned(
        options: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        files: &[EnvFile],
    ) -> Result<Plan, Errors> {
        let environment = variables(environment);
        let layers = Layers { options: &Options::of(options), environment: &environment, files: &[] };
        make(&settings::understand(&layers).expect("settings"), &environment, files)
    }

    fn names(plan: &Plan) -> Vec<&str> {
        plan.entries.iter().filter_map(|entry| entry.name.to_str()).collect()
    }

    #[test]
    fn our_variables_are_stripped_unless_they_are_kept_or_references_of_the_application() {
        let environment = [
            ("A", "1"),
            ("VAULT_TOKEN", "t"),
            ("BAO_X", "x"),
            ("VAULT_PORT", "p"),
            ("VAULT_DB", "vault:a/b#c"),
            ("VAULT", "v"),
            ("vault_x", "y"),
        ];
        let plan = planned(&[], &environment, &[]).expect("a plan");
        assert_eq!(names(&plan), ["A", "VAULT_DB", "VAULT", "vault_x"]);
        let plan = planned(&[("keep", "VAULT_PO*,BAO_X")], &environment, &[]).expect("a plan");
        assert_eq!(names(&plan), ["A", "BAO_X", "VAULT_PORT", "VAULT_DB", "VAULT", "vault_x"]);
    }

    #[test]
    fn a_clean_environment_has_path_kept_and_fetched_variables_and_those_of_env_files() {
        let environment = [("A", "1"), ("PATH", "/bin"), ("KEPT", "k"), ("S", "vault:a/b#c"), ("VAULT_X", "x")];
        let file = EnvFile { name: "f".into(), variables: variables(&[("F", "f"), ("VAULT_Y", "y")]) };
        let plan = planned(&[("clean-env", "true"), ("keep", "KEPT")], &environment, &[file]).expect("a plan");
        assert_eq!(names(&plan), ["PATH", "KEPT", "S", "F"]);
    }

    #[test]
    fn each_name_comes_once_and_a_higher_layer_wins() {
        let files = vec![
            EnvFile { name: "1".into(), variables: variables(&[("A", "f1"), ("B", "f1"), ("C", "f1")]) },
            EnvFile { name: "2".into(), variables: variables(&[("B", "f2")]) },
        ];
        let plan = planned(&[], &[("Z", "z"), ("A", "first"), ("A", "second")], &files).expect("a plan");
        assert_eq!(names(&plan), ["Z", "A", "C", "B"]);
        assert_eq!(plan.known("A"), Some(&Secret::from("first")));
        assert_eq!(plan.known("B"), Some(&Secret::from("f2")));
    }

    #[test]
    fn a_secret_is_read_once_for_all_who_want_it() {
        let environment = [("A", "vault:a/b#c"), ("B", "bao:/a/b#d:-x"), ("C", "vault:a/b#c#1"), ("D", "vault?:a/c#c")];
        let plan = planned(&[("secret", "a/b"), ("secret", "X_*=a/b##1")], &environment, &[]).expect("a plan");
        let reads: Vec<(&str, Option<u64>)> =
            plan.reads.iter().map(|read| (read.path.as_str(), read.version)).collect();
        assert_eq!(reads, [("a/b", None), ("a/b", Some(1)), ("a/c", None)]);
        assert_eq!(plan.imports.iter().map(|import| import.read).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_literal_variable_is_never_interpreted() {
        let plan = planned(&[("literal", "A,X_*")], &[("A", "vault:"), ("X_1", "vault:a#b"), ("B", "vault:a#b")], &[])
            .expect("a plan");
        assert_eq!(
            (plan.known("A"), plan.known("X_1")),
            (Some(&Secret::from("vault:")), Some(&Secret::from("vault:a#b")))
        );
        assert!(plan.fetches("B") && !plan.fetches("A"));
    }

    #[test]
    fn every_wrong_reference_is_named_and_none_is_shown() {
        let errors =
            planned(&[], &[("A", "vault:s3cret"), ("B", "b"), ("C", "vault:a/../s3cret#k")], &[]).expect_err("wrong").0;
        let names: Vec<&str> = errors.iter().map(|error| error.message.split(':').next().unwrap_or_default()).collect();
        assert_eq!(names, ["A", "C"]);
        assert!(!format!("{errors:?}").contains("s3cret"));
    }

    #[test]
    fn without_vault_defaults_are_taken_and_any_other_reference_is_an_error() {
        let off = ("VAULT_ENABLED", "false");
        let plan = planned(&[("secret", "a/b")], &[off, ("A", "vault:a/b#c:-d"), ("B", "b")], &[]).expect("a plan");
        assert!(plan.reads.is_empty() && plan.imports.is_empty() && plan.skipped_imports);
        assert_eq!(plan.known("A"), Some(&Secret::from("d")));
        let errors = planned(&[], &[off, ("A", "vault:a/b#c"), ("B", "vault?:a/b#c")], &[]).expect_err("no default").0;
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn names_that_steer_a_process() {
        for name in ["PATH", "IFS", "ENV", "BASH_ENV", "LD_PRELOAD", "GLIBC_TUNABLES", "VAULT_TOKEN", "BAO_ADDR"] {
            assert!(steers(name), "{name}");
        }
        for name in ["PATHS", "path", "LDAP_URL", "ENVIRONMENT"] {
            assert!(!steers(name), "{name}");
        }
    }
}
