//! The application's environment: the plan and what was fetched, put together (pure).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use crate::document::Document;
use crate::error::{Code, Error, Errors};
use crate::import::Keys;
use crate::plan::{self, Entry, Imported, Plan, Read, Source};
use crate::secret::{Secret, Variable};
use crate::settings::{Naming, OnConflict};

/// What came of the reads of a plan: several of them can be one request.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// What came of each request.
    pub documents: Vec<Result<Document, Error>>,
    /// For each read of the plan, in its order, which request it was.
    pub places: Vec<usize>,
}

impl Outcomes {
    fn get(&self, read: usize) -> Option<&Result<Document, Error>> {
        self.documents.get(*self.places.get(read)?)
    }
}

/// An environment, and what should be said of it.
#[derive(Debug, Default)]
pub struct Built {
    /// Every name once.
    pub variables: Vec<Variable>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// How missing secrets and names of imports are dealt with.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A missing path, version or key only warns.
    pub ignore_missing: bool,
    /// How imported names are made.
    pub naming: Naming,
}

/// Puts the environment together.
///
/// # Errors
/// Every failure: reads that failed with the names of those that wanted them, keys that are missing, names in conflict.
pub fn build(plan: Plan, outcomes: &Outcomes, rules: Rules) -> Result<Built, Errors> {
    let mut builder = Builder {
        reads: plan.reads,
        outcomes,
        rules,
        built: Built::default(),
        places: HashMap::new(),
        failed: Vec::new(),
        errors: Errors::default(),
    };
    for entry in plan.entries {
        builder.entry(entry);
    }
    for import in plan.imports {
        builder.import(import);
    }
    builder.finish()
}

struct Builder<'a> {
    reads: Vec<Read>,
    outcomes: &'a Outcomes,
    rules: Rules,
    built: Built,
    /// Where each name stands in the environment.
    places: HashMap<OsString, usize>,
    /// Reads that failed, with the names of those that wanted them.
    failed: Vec<(usize, Vec<String>)>,
    errors: Errors,
}

impl Builder<'_> {
    fn entry(&mut self, entry: Entry) {
        let Entry { name, source } = entry;
        match source {
            Source::Value(value) => self.add(name, value),
            Source::Read { read, key, optional, default } => {
                if let Some(value) = self.fetched(&name, read, &key, optional, default) {
                    self.add(name, value);
                }
            }
        }
    }

    /// The value of a variable, its default, or `None` where it is left out or has failed.
    fn fetched(
        &mut self,
        name: &OsStr,
        read: usize,
        key: &str,
        optional: bool,
        default: Option<Secret>,
    ) -> Option<Secret> {
        let missing = match self.outcomes.get(read)? {
            Ok(document) => match document.get(key) {
                Some(value) => return Some(value),
                None => self.no_key(read, key, document),
            },
            Err(error) if error.code == Code::Missing => error.clone(),
            Err(_) => {
                self.fail(read, name.to_string_lossy().into_owned());
                return None;
            }
        };
        if default.is_some() || optional {
            return default;
        }
        self.missing(read, missing, &name.to_string_lossy());
        None
    }

    fn import(&mut self, import: Imported) {
        let Imported { place, read, keys } = import;
        let outcomes = self.outcomes;
        match outcomes.get(read) {
            Some(Ok(document)) => self.keys(&place, read, keys, document),
            Some(Err(error)) if error.code == Code::Missing => self.missing(read, error.clone(), &place),
            Some(Err(_)) => self.fail(read, place),
            None => {}
        }
    }

    fn keys(&mut self, place: &str, read: usize, keys: Keys, document: &Document) {
        let (name, key) = match keys {
            Keys::All { prefix } => {
                for (key, value) in document.entries() {
                    self.imported(place, self.shaped(&prefix, key), value);
                }
                return;
            }
            Keys::One { key, prefix } => (self.shaped(&prefix, &key), key),
            Keys::Named { key, name } => (name, key),
        };
        match document.get(&key) {
            Some(value) => self.imported(place, name, value),
            None => self.missing(read, self.no_key(read, &key, document), place),
        }
    }

    fn shaped(&self, prefix: &str, key: &str) -> String {
        let Naming { upcase, sanitize, .. } = self.rules.naming;
        let name = format!("{prefix}{key}");
        let name = if upcase { name.to_ascii_uppercase() } else { name };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if sanitize { name.chars().map(|c| if fits(c) { c } else { '_' }).collect() } else { name }
    }

    fn imported(&mut self, place: &str, name: String, value: Secret) {
        if plan::steers(&name) {
            self.built
                .warnings
                .push(format!("{place}: {name} is not imported, for it steers a process or vault-exec itself"));
            return;
        }
        if name.is_empty() || name.contains(['=', '\0']) {
            let error = Error::config(format!("{place}: the key {name:?} is no name of a variable"));
            self.errors.0.push(error.hint("import it under another name, NAME=path#key, or set --sanitize"));
            return;
        }
        let Some(&at) = self.places.get(OsStr::new(&name)) else { return self.add(name.into(), value) };
        match (self.rules.naming.on_conflict, self.built.variables.get_mut(at)) {
            (OnConflict::Overwrite, Some(there)) => there.value = value,
            (OnConflict::Error, _) => {
                let error = Error::config(format!("{place}: {name} is there already"));
                self.errors
                    .0
                    .push(error.hint("give it another name or a prefix, or set --on-conflict keep or overwrite"));
            }
            _ => {}
        }
    }

    fn add(&mut self, name: OsString, value: Secret) {
        self.places.insert(name.clone(), self.built.variables.len());
        self.built.variables.push(Variable { name, value });
    }

    fn missing(&mut self, read: usize, error: Error, who: &str) {
        if self.rules.ignore_missing {
            self.built.warnings.push(format!("{who} is left out: {error}"));
        } else if self.outcomes.get(read).is_some_and(Result::is_err) {
            self.fail(read, who.to_owned());
        } else {
            self.errors.0.push(error.at(who));
        }
    }

    fn no_key(&self, read: usize, key: &str, document: &Document) -> Error {
        let keys: Vec<&str> = document.keys().collect();
        let hint = if keys.is_empty() {
            "the secret has no keys".to_owned()
        } else {
            format!("the secret has {}", keys.join(", "))
        };
        let path = self.reads.get(read).map(|read| read.path.as_str()).unwrap_or_default();
        Error::new(Code::Missing, format!("{path}: no key {key}")).hint(hint)
    }

    fn fail(&mut self, read: usize, who: String) {
        match self.failed.iter_mut().find(|(failed, _)| *failed == read) {
            Some((_, names)) => names.push(who),
            None => self.failed.push((read, vec![who])),
        }
    }

    fn finish(mut self) -> Result<Built, Errors> {
        for (read, names) in self.failed {
            if let Some(Err(error)) = self.outcomes.get(read) {
                self.errors.0.push(error.clone().at(names.join(", ")));
            }
        }
        self.errors.or(self.built)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Read;

    const RULES: Rules = Rules {
        ignore_missing: false,
        naming: Naming { upcase: false, sanitize: false, on_conflict: OnConflict::Error },
    };

    fn document(json: &str) -> Result<Document, Error> {
        serde_json::from_str(json).map(Document::new).map_err(|_| missing().expect_err("an error"))
    }

    fn of(outcome: Result<Document, Error>) -> Outcomes {
        Outcomes { documents: vec![outcome], places: vec![0] }
    }

    fn missing() -> Result<Document, Error> {
        Err(Error::new(Code::Missing, "a/b: no secret there"))
    }

    fn refused() -> Result<Document, Error> {
        Err(Error::new(Code::Refused, "a/b: permission denied"))
    }

    fn value(name: &str, value: &str) -> Entry {
        Entry { name: name.into(), source: Source::Value(value.into()) }
    }

    fn wanted(name: &str, key: &str, optional: bool, default: Option<&str>) -> Entry {
        Entry {
            name: name.into(),
            source: Source::Read { read: 0, key: key.into(), optional, default: default.map(Secret::from) },
        }
    }

    fn all(prefix: &str) -> Imported {
        Imported { place: "--secret a/b".into(), read: 0, keys: Keys::All { prefix: prefix.into() } }
    }

    fn plan(entries: Vec<Entry>, imports: Vec<Imported>) -> Plan {
        let read = Read { path: crate::path::Path::parse("a/b").expect("a path"), version: None };
        Plan { reads: vec![read], entries, imports, skipped_imports: false }
    }

    fn built(plan: Plan, outcome: Result<Document, Error>, rules: Rules) -> Result<Vec<(String, String)>, Errors> {
        let text = |variable: Variable| {
            (variable.name.to_string_lossy().into_owned(), variable.value.expose_text().unwrap_or("?").to_owned())
        };
        build(plan, &of(outcome), rules).map(|built| built.variables.into_iter().map(text).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn messages(result: Result<Vec<(String, String)>, Errors>) -> Vec<String> {
        result
            .expect_err("errors")
            .0
            .into_iter()
            .map(|error| format!("{} {}", error.code.status(), error.message))
            .collect()
    }

    #[test]
    fn fetched_values_stand_where_their_references_stood() {
        let plan = plan(vec![value("A", "1"), wanted("B", "k", false, None), value("C", "3")], vec![all("")]);
        assert_eq!(
            built(plan, document(r#"{"k":"v"}"#), RULES),
            Ok(pairs(&[("A", "1"), ("B", "v"), ("C", "3"), ("k", "v")]))
        );
    }

    #[test]
    fn what_is_missing_is_left_out_defaulted_or_an_error() {
        let entries =
            || vec![wanted("A", "x", true, None), wanted("B", "x", false, Some("d")), wanted("C", "x", true, Some(""))];
        for outcome in [missing(), document("{}")] {
            assert_eq!(built(plan(entries(), vec![]), outcome, RULES), Ok(pairs(&[("B", "d"), ("C", "")])));
        }
        let entries = vec![wanted("A", "x", false, None), wanted("B", "y", false, None), wanted("C", "k", false, None)];
        let errors = messages(built(plan(entries, vec![]), document(r#"{"k":"v"}"#), RULES));
        assert_eq!(errors, ["66 A: a/b: no key x", "66 B: a/b: no key y"]);
    }

    #[test]
    fn a_read_that_failed_is_reported_once_with_all_who_wanted_it() {
        for (outcome, message) in [
            (refused(), "77 A, B, --secret a/b: a/b: permission denied"),
            (missing(), "66 A, B, --secret a/b: a/b: no secret there"),
        ] {
            let entries = vec![wanted("A", "x", false, None), wanted("B", "y", false, None)];
            assert_eq!(messages(built(plan(entries, vec![all("")]), outcome, RULES)), [message]);
        }
    }

    #[test]
    fn a_refusal_is_never_missing() {
        let rules = Rules { ignore_missing: true, ..RULES };
        let entries = vec![wanted("A", "x", true, None), wanted("B", "y", false, Some("d"))];
        assert_eq!(messages(built(plan(entries, vec![]), refused(), rules)), ["77 A, B: a/b: permission denied"]);
    }

    #[test]
    fn missing_secrets_can_be_ignored_with_a_warning() {
        let rules = Rules { ignore_missing: true, ..RULES };
        for outcome in [missing(), document("{}")] {
            let plan = plan(vec![value("A", "1"), wanted("B", "x", false, None)], vec![]);
            let built = build(plan, &of(outcome), rules).expect("built");
            assert_eq!((built.variables.len(), built.warnings.len()), (1, 1));
            assert!(built.warnings.iter().all(|warning| warning.starts_with("B is left out")));
        }
    }

    #[test]
    fn names_of_imports_are_shaped() {
        let naming = Naming { upcase: true, sanitize: true, ..RULES.naming };
        let one = |key: &str, name: Option<&str>| {
            let keys = match name {
                Some(name) => Keys::Named { key: key.into(), name: name.into() },
                None => Keys::One { key: key.into(), prefix: "p-".into() },
            };
            Imported { place: "x".into(), read: 0, keys }
        };
        let plan = plan(vec![], vec![all("db."), one("a.b", None), one("a.b", Some("as_it_is"))]);
        let expected = pairs(&[("DB_A_B", "1"), ("DB__", "2"), ("P_A_B", "1"), ("as_it_is", "1")]);
        assert_eq!(
            built(plan, document(r#"{"a.b":1,"ä":2}"#), Rules { naming, ..RULES }).map(|mut built| {
                built.sort();
                built
            }),
            Ok(expected)
        );
    }

    #[test]
    fn a_name_that_is_there_already_is_an_error_or_kept_or_overwritten_in_its_place() {
        let json = r#"{"A":"new","B":"b"}"#;
        let attempt = |on_conflict| {
            let rules = Rules { naming: Naming { on_conflict, ..RULES.naming }, ..RULES };
            built(plan(vec![value("A", "old"), value("Z", "z")], vec![all(""), all("")]), document(json), rules)
        };
        assert_eq!(messages(attempt(OnConflict::Error)).len(), 3);
        assert_eq!(attempt(OnConflict::Keep), Ok(pairs(&[("A", "old"), ("Z", "z"), ("B", "b")])));
        assert_eq!(attempt(OnConflict::Overwrite), Ok(pairs(&[("A", "new"), ("Z", "z"), ("B", "b")])));
    }

    #[test]
    fn names_that_steer_a_process_are_skipped_with_a_warning() {
        let json = r#"{"LD_PRELOAD":"x","PATH":"y","VAULT_TOKEN":"z","ok":"1"}"#;
        let built = build(plan(vec![value("PATH", "/bin")], vec![all("")]), &of(document(json)), RULES).expect("built");
        let names: Vec<_> = built.variables.iter().filter_map(|variable| variable.name.to_str()).collect();
        assert_eq!((names, built.warnings.len()), (vec!["PATH", "ok"], 3));
    }

    #[test]
    fn a_key_that_can_be_no_name_is_an_error() {
        assert_eq!(messages(built(plan(vec![], vec![all("")]), document(r#"{"a=b":1,"":2}"#), RULES)).len(), 2);
    }
}
