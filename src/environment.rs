//! Puts the plan and what was fetched together into the application's environment (pure).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::rc::Rc;

use crate::error::{Code, Error, Errors};
use crate::files::{self, BuiltFile, Content, Place};
use crate::grammar::import::Keys;
use crate::grammar::path::Path;
use crate::grammar::reference::Form;
use crate::grammar::selector::Selector;
use crate::grammar::variable;
use crate::intern::{Id, Interned};
use crate::plan::{
    Ciphertext, Directory, Entry, FileEntry, Imported, Piece, Plan, Request, Source, Wanted,
};
use crate::provenance::Provenance;
use crate::secret::{Secret, Variable};
use crate::settings::{Naming, OnConflict};
use crate::vault::document::{Document, Found};

/// The outcomes of a plan.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// The outcome of each request. Several requests may share one outcome.
    pub answers: HashMap<Id<Request>, Rc<Result<Found, Error>>>,
    /// The outcome of each ciphertext.
    pub decrypted: HashMap<Id<Ciphertext>, Result<Secret, Error>>,
    /// The token of the login, if there is one.
    pub token: Option<Secret>,
}

impl Outcomes {
    /// Returns the outcome of a request of the plan.
    ///
    /// # Errors
    /// 70 if the request was not made.
    pub fn of(&self, request: Id<Request>) -> Result<&Result<Found, Error>, Error> {
        let answer = self.answers.get(&request);
        answer.map(Rc::as_ref).ok_or_else(|| Error::internal("a request that was not made"))
    }

    /// Returns whether the token has worked for anything.
    pub fn has_worked(&self) -> bool {
        let answers = self.answers.values();
        answers.map(Rc::as_ref).any(Result::is_ok) || self.decrypted.values().any(Result::is_ok)
    }
}

/// An environment, and the warnings about it.
#[derive(Debug, Default)]
pub struct Built {
    /// The variables; each name occurs once.
    pub variables: Vec<Provided>,
    /// The files that come with it.
    pub files: Interned<BuiltFile>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// A variable, and where its value comes from.
#[derive(Debug)]
pub struct Provided {
    /// Its name.
    pub name: OsString,
    /// What the application gets, except for the paths of files, which are filled in later.
    pub value: Content,
    /// For a check's report.
    pub from: Provenance,
}

impl Provided {
    /// Returns the variable with the paths of its files filled in.
    ///
    /// # Errors
    /// Whatever error the function that knows the paths returns.
    pub fn into_variable(
        self,
        path: impl Fn(Id<BuiltFile>) -> Result<PathBuf, Error>,
    ) -> Result<Variable, Error> {
        Ok(Variable { name: self.name, value: self.value.with_paths(path)? })
    }
}

/// How to deal with missing secrets and with the names of imports.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A missing path, version or key only warns.
    pub ignore_missing: bool,
    /// How imported names are made.
    pub naming: Naming,
}

/// Builds the environment.
///
/// # Errors
/// Every failure: failed requests with the names of the variables that wanted them, missing keys,
/// values that a filter cannot take, and conflicting names.
pub fn build(plan: &Plan, outcomes: &Outcomes, rules: Rules) -> Result<Built, Errors> {
    let mut builder = Builder {
        outcomes,
        rules,
        plan,
        built: Built::default(),
        places: HashMap::new(),
        failed: Vec::new(),
        errors: Errors::default(),
    };
    for entry in &plan.entries {
        builder.entry(entry);
    }
    for import in &plan.imports {
        builder.import(import);
    }
    for file in &plan.files {
        builder.file(file);
    }
    for directory in &plan.directories {
        builder.directory(directory);
    }
    builder.finish()
}

struct Builder<'a> {
    plan: &'a Plan,
    outcomes: &'a Outcomes,
    rules: Rules,
    built: Built,
    /// The position of each name in the environment.
    places: HashMap<OsString, usize>,
    /// Failures that several variables share, with the names of those variables.
    failed: Vec<(Error, Vec<String>)>,
    errors: Errors,
}

impl Builder<'_> {
    fn entry(&mut self, entry: &Entry) {
        let Entry { name, source } = entry;
        let who = name.to_string_lossy().into_owned();
        if let Some((value, from)) = self.source(&who, name, source) {
            self.add(name.clone(), value, from);
        }
    }

    /// Builds the value of a source, for the variable or file with this name.
    fn source(
        &mut self,
        who: &str,
        name: &OsStr,
        source: &Source,
    ) -> Option<(Content, Provenance)> {
        match source {
            Source::Value(value, origin) => {
                Some((value.clone().into(), Provenance::Value(origin.clone())))
            }
            Source::Pieces(pieces) => self.pieces(who, name, pieces),
            Source::Ciphertext(which) => {
                self.decrypted(who, *which).map(|value| (value.into(), Provenance::Ciphertext))
            }
            Source::Token => {
                let token = self.outcomes.token.clone();
                let token = token.ok_or_else(|| Error::internal("no token of a login"));
                self.errors.keep(token).map(|token| (token.into(), Provenance::Login))
            }
        }
    }

    fn file(&mut self, file: &FileEntry) {
        let FileEntry { who, place, source } = file;
        let name = place.file_name().unwrap_or_default();
        if let Some((content, from)) = self.source(who, name, source) {
            self.built.files.intern(BuiltFile { place: Place::At(place.clone()), content, from });
        }
    }

    fn directory(&mut self, directory: &Directory) {
        let Directory { who, place, request } = directory;
        let (outcomes, request) = (self.outcomes, *request);
        match self.errors.keep(outcomes.of(request)) {
            Some(Ok(found)) => {
                for (key, value) in found.document.entries() {
                    let path = files::of_key(place, key).map_err(|error| error.at(who));
                    let Some(path) = self.errors.keep(path) else { continue };
                    self.built.files.intern(BuiltFile {
                        place: Place::At(path),
                        content: value.into(),
                        from: Provenance::Fetched(vec![(request, key.to_owned())]),
                    });
                }
            }
            Some(Err(error)) if error.code == Code::Missing => {
                self.missing(request, error.clone(), who);
            }
            Some(Err(error)) => self.fail(error, who),
            None => {}
        }
    }

    /// Joins the pieces. Returns `None` if one of them failed or was left out: a value is never
    /// half replaced.
    fn pieces(
        &mut self,
        who: &str,
        name: &OsStr,
        pieces: &[Piece],
    ) -> Option<(Content, Provenance)> {
        let mut value = Content::default();
        let mut from = Vec::new();
        let mut number = 0;
        let (mut is_whole, mut has_ciphertext) = (true, false);
        for piece in pieces {
            let before = from.len();
            let (text, is_file) = match piece {
                Piece::Text(text) => (Some(text.clone()), false),
                Piece::File(text) => (Some(text.clone()), true),
                Piece::Wanted(wanted) => {
                    (self.wanted(who, wanted, &mut from), wanted.form == Form::File)
                }
                Piece::Ciphertext(which) => {
                    has_ciphertext = true;
                    (self.decrypted(who, *which), false)
                }
            };
            match text {
                Some(text) if is_file => {
                    number += 1;
                    let from = from.get(before..).unwrap_or_default().to_vec();
                    value.push_path(self.built.files.intern(BuiltFile {
                        place: Place::Named(files::name(name, number)),
                        content: text.into(),
                        from: Provenance::Fetched(from),
                    }));
                }
                Some(text) => value.push(&text),
                None => is_whole = false,
            }
        }
        let from = if from.is_empty() && has_ciphertext {
            Provenance::Ciphertext
        } else {
            Provenance::Fetched(from)
        };
        is_whole.then_some((value, from))
    }

    /// Returns the wanted part of an answer, or its default, or `None` if it was left out or has
    /// failed.
    fn wanted(
        &mut self,
        who: &str,
        wanted: &Wanted,
        from: &mut Vec<(Id<Request>, String)>,
    ) -> Option<Secret> {
        let Wanted { request, selector, optional, default, .. } = wanted;
        let request = *request;
        let missing = match self.errors.keep(self.outcomes.of(request))? {
            Ok(found) => match found.document.select(selector) {
                Ok(Some(value)) => {
                    from.push((request, selector.to_string()));
                    return Some(value);
                }
                Ok(None) => self.no_key(request, selector, &found.document)?,
                Err(error) => {
                    let error = error.at(self.path(request)?).at(who);
                    self.errors.0.push(error);
                    return None;
                }
            },
            Err(error) => error.clone(),
        };
        if missing.code != Code::Missing {
            self.fail(&missing, who);
        } else if default.is_none() && !*optional {
            self.missing(request, missing, who);
        } else {
            return default.clone();
        }
        None
    }

    fn decrypted(&mut self, who: &str, which: Id<Ciphertext>) -> Option<Secret> {
        let value = self.outcomes.decrypted.get(&which);
        let value = value.ok_or_else(|| Error::internal("a ciphertext that was not decrypted"));
        match self.errors.keep(value)? {
            Ok(value) => Some(value.clone()),
            Err(error) => {
                let error = error.clone();
                self.fail(&error, who);
                None
            }
        }
    }

    fn import(&mut self, import: &Imported) {
        let Imported { place, request, keys } = import;
        let (outcomes, request) = (self.outcomes, *request);
        match self.errors.keep(outcomes.of(request)) {
            Some(Ok(found)) => self.keys(place, request, keys, &found.document),
            Some(Err(error)) if error.code == Code::Missing => {
                self.missing(request, error.clone(), place);
            }
            Some(Err(error)) => self.fail(error, place),
            None => {}
        }
    }

    fn keys(&mut self, place: &str, request: Id<Request>, keys: &Keys, document: &Document) {
        let (name, key) = match keys {
            Keys::All { prefix } => {
                for (key, value) in document.entries() {
                    self.imported(
                        place,
                        self.shaped(prefix, key),
                        value,
                        Provenance::Fetched(vec![(request, key.to_owned())]),
                    );
                }
                return;
            }
            Keys::One { key, prefix } => (self.shaped(prefix, key), key),
            Keys::Named { key, name } => (name.clone(), key),
        };
        if let Some(value) = document.get(key) {
            let from = Provenance::Fetched(vec![(request, key.clone())]);
            self.imported(place, name, value, from);
        } else if let Some(error) = self.no_key(request, &Selector::Key(key.clone()), document) {
            self.missing(request, error, place);
        }
    }

    fn shaped(&self, prefix: &str, key: &str) -> String {
        let Naming { upcase, sanitize, .. } = self.rules.naming;
        let name = format!("{prefix}{key}");
        let name = if upcase { name.to_ascii_uppercase() } else { name };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if sanitize { name.chars().map(|c| if fits(c) { c } else { '_' }).collect() } else { name }
    }

    fn imported(&mut self, place: &str, name: String, value: Secret, from: Provenance) {
        if variable::controls_a_process(&name) {
            self.built.warnings.push(format!(
                "{place}: {} is not imported, for it controls a process or vault-exec \
                 itself; a prefix makes it harmless, and a reference in the environment sets it",
                name.escape_default()
            ));
            return;
        }
        if !variable::is_name(&name) {
            let error =
                Error::config(format!("{place}: the key {name:?} is no name of a variable"));
            self.errors.0.push(error.hint(
                "import it under another name, NAME=path#key, with a prefix, or set --sanitize",
            ));
            return;
        }
        let Some(&at) = self.places.get(OsStr::new(&name)) else {
            return self.add(name.into(), value.into(), from);
        };
        match self.rules.naming.on_conflict {
            OnConflict::Overwrite => {
                let there = self.built.variables.get_mut(at);
                let there = there.ok_or_else(|| Error::internal("a name without its variable"));
                if let Some(provided) = self.errors.keep(there) {
                    provided.value = value.into();
                    provided.from = from;
                }
            }
            OnConflict::Error => {
                let there = self.built.variables.get(at).map(|there| &there.from);
                let error = Error::config(match (there, &from) {
                    (Some(Provenance::Fetched(first)), Provenance::Fetched(second))
                        if is_shaped(first, second) =>
                    {
                        let (first, second) = (keys_of(first), keys_of(second));
                        format!("{place}: the keys {first} and {second} both make {name}")
                    }
                    _ => format!("{place}: {name} is there already"),
                });
                self.errors.0.push(error.hint(
                    "give it another name or a prefix, or set --on-conflict keep or overwrite",
                ));
            }
            OnConflict::Keep => {}
        }
    }

    fn add(&mut self, name: OsString, value: Content, from: Provenance) {
        self.places.insert(name.clone(), self.built.variables.len());
        self.built.variables.push(Provided { name, value, from });
    }

    fn missing(&mut self, request: Id<Request>, error: Error, who: &str) {
        if self.rules.ignore_missing {
            self.built.warnings.push(format!("{who} is left out: {error}"));
        } else if self.outcomes.of(request).is_ok_and(Result::is_err) {
            self.fail(&error, who);
        } else {
            self.errors.0.push(error.at(who));
        }
    }

    fn no_key(
        &mut self,
        request: Id<Request>,
        selector: &Selector,
        document: &Document,
    ) -> Option<Error> {
        let message = format!("{}: no key {selector}", self.path(request)?);
        Some(Error::new(Code::Missing, message).hint(document.suggestion(selector)))
    }

    fn path(&mut self, request: Id<Request>) -> Option<&'_ Path> {
        self.errors.keep(self.plan.requests.get(request)).map(|request| &request.path)
    }

    /// Records a failure. A failure that several variables share is reported once, with all their
    /// names.
    fn fail(&mut self, error: &Error, who: &str) {
        let at =
            self.failed.iter().position(|(failed, _)| failed == error).unwrap_or(self.failed.len());
        if at == self.failed.len() {
            self.failed.push((error.clone(), Vec::new()));
        }
        if let Some((_, names)) =
            self.failed.get_mut(at).filter(|(_, names)| !names.iter().any(|name| name == who))
        {
            names.push(who.to_owned());
        }
    }

    fn finish(mut self) -> Result<Built, Errors> {
        if let Some(place) = files::conflict(&self.built.files) {
            let error = Error::config(format!("{}: two files at this place", place.display()));
            self.errors.0.push(error);
        }
        for (error, names) in self.failed {
            self.errors.0.push(error.at(names.join(", ")));
        }
        self.errors.or(self.built)
    }
}

/// Returns whether two keys of imports became one name because they are alike.
fn is_shaped(first: &[(Id<Request>, String)], second: &[(Id<Request>, String)]) -> bool {
    let shape =
        |key: &str| key.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    matches!(
        (first, second),
        ([(_, first)], [(_, second)]) if first != second && shape(first) == shape(second)
    )
}

fn keys_of(fetched: &[(Id<Request>, String)]) -> String {
    let keys = fetched.iter().map(|(_, key)| key.escape_debug().to_string());
    keys.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::reference::Ask;
    use crate::grammar::selector::Selector;
    use crate::grammar::template::Template;
    use crate::intern::Interned;
    use crate::plan::Origin;

    fn variable(provided: Provided) -> Variable {
        provided.into_variable(|_| Ok("/the/file".into())).expect("a variable")
    }

    const RULES: Rules = Rules {
        ignore_missing: false,
        naming: Naming { upcase: false, sanitize: false, on_conflict: OnConflict::Error },
    };

    #[allow(clippy::unnecessary_wraps, reason = "an outcome, as the others are")]
    fn document(json: &str) -> Result<Found, Error> {
        let document = Document::new(serde_json::from_str(json).expect("an object"));
        Ok(Found { document, ..Found::default() })
    }

    fn of(outcome: Result<Found, Error>) -> Outcomes {
        let answers = [(only(), Rc::new(outcome))].into();
        Outcomes { answers, ..Outcomes::default() }
    }

    fn request() -> Request {
        let path = Path::constant("a/b");
        Request { path, mount: None, ask: Ask::Read(None) }
    }

    /// Returns the id of the only request.
    fn only() -> Id<Request> {
        Interned::default().intern(request())
    }

    fn missing() -> Result<Found, Error> {
        Err(Error::new(Code::Missing, "a/b: no secret there"))
    }

    fn refused() -> Result<Found, Error> {
        Err(Error::new(Code::Refused, "a/b: permission denied"))
    }

    fn value(name: &str, value: &str) -> Entry {
        Entry { name: name.into(), source: Source::Value(value.into(), Origin::Environment) }
    }

    fn piece(key: &str, optional: bool, default: Option<&str>) -> Piece {
        let selector = Selector::Key(key.into());
        Piece::Wanted(Wanted {
            form: Form::Value,
            request: only(),
            selector,
            optional,
            default: default.map(Secret::from),
        })
    }

    fn wanted(name: &str, key: &str, optional: bool, default: Option<&str>) -> Entry {
        text(name, vec![piece(key, optional, default)])
    }

    fn text(name: &str, pieces: Vec<Piece>) -> Entry {
        Entry { name: name.into(), source: Source::Pieces(pieces) }
    }

    fn all(prefix: &str) -> Imported {
        Imported {
            place: "--secret a/b".into(),
            request: only(),
            keys: Keys::All { prefix: prefix.into() },
        }
    }

    fn plan(entries: Vec<Entry>, imports: Vec<Imported>) -> Plan {
        let requests = [request()].into_iter().collect();
        Plan { requests, entries, imports, ..Plan::default() }
    }

    fn built(
        plan: &Plan,
        outcome: Result<Found, Error>,
        rules: Rules,
    ) -> Result<Vec<(String, String)>, Errors> {
        let text = |provided: Provided| {
            let variable = variable(provided);
            (
                variable.name.to_string_lossy().into_owned(),
                variable.value.expose_text().unwrap_or("?").to_owned(),
            )
        };
        build(plan, &of(outcome), rules)
            .map(|built| built.variables.into_iter().map(text).collect())
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
        let plan = plan(
            vec![value("A", "1"), wanted("B", "k", false, None), value("C", "3")],
            vec![all("")],
        );
        assert_eq!(
            built(&plan, document(r#"{"k":"v"}"#), RULES),
            Ok(pairs(&[("A", "1"), ("B", "v"), ("C", "3"), ("k", "v")]))
        );
    }

    #[test]
    fn what_is_missing_is_left_out_defaulted_or_an_error() {
        let entries = || {
            vec![
                wanted("A", "x", true, None),
                wanted("B", "x", false, Some("d")),
                wanted("C", "x", true, Some("")),
            ]
        };
        for outcome in [missing(), document("{}")] {
            assert_eq!(
                built(&plan(entries(), vec![]), outcome, RULES),
                Ok(pairs(&[("B", "d"), ("C", "")]))
            );
        }
        let entries = vec![
            wanted("A", "x", false, None),
            wanted("B", "y", false, None),
            wanted("C", "k", false, None),
        ];
        let errors = messages(built(&plan(entries, vec![]), document(r#"{"k":"v"}"#), RULES));
        assert_eq!(errors, ["66 A: a/b: no key x", "66 B: a/b: no key y"]);
    }

    #[test]
    fn a_text_keeps_every_byte_around_its_references() {
        let around = |bytes: &[u8]| Piece::Text(bytes.to_vec().into());
        let pieces = vec![
            around(b"\xff{"),
            piece("a", false, None),
            piece("a", false, None),
            around(b"}\n"),
        ];
        let outcomes = of(document(r#"{"a":"${vault:x#y}"}"#));
        let mut built =
            build(&plan(vec![text("A", pieces)], vec![]), &outcomes, RULES).expect("built");
        assert_eq!(
            variable(built.variables.remove(0)).value.expose(),
            b"\xff{${vault:x#y}${vault:x#y}}\n"
        );
    }

    #[test]
    fn a_text_with_a_missing_piece_is_left_out_as_a_whole() {
        let pieces = |optional| {
            vec![piece("k", false, None), Piece::Text("/".into()), piece("x", optional, None)]
        };
        let with = |optional| plan(vec![text("A", pieces(optional))], vec![]);
        assert_eq!(built(&with(true), document(r#"{"k":"v"}"#), RULES), Ok(vec![]));
        assert_eq!(
            messages(built(&with(false), document(r#"{"k":"v"}"#), RULES)),
            ["66 A: a/b: no key x"]
        );
        let rules = Rules { ignore_missing: true, ..RULES };
        assert_eq!(built(&with(false), document(r#"{"k":"v"}"#), rules), Ok(vec![]));
        assert_eq!(
            messages(built(&with(true), refused(), RULES)),
            ["77 A: a/b: permission denied"]
        );
        let pieces =
            vec![piece("k", false, None), Piece::Text("/".into()), piece("x", false, Some("d"))];
        let defaulted = plan(vec![text("A", pieces)], vec![]);
        assert_eq!(built(&defaulted, document(r#"{"k":"v"}"#), RULES), Ok(pairs(&[("A", "v/d")])));
    }

    #[test]
    fn a_value_that_a_filter_cannot_take_names_its_variable() {
        let selector = Selector::Template(Template::parse("${.k | b64dec}").expect("a template"));
        let wanted = Piece::Wanted(Wanted {
            form: Form::Value,
            request: only(),
            selector,
            optional: true,
            default: Some("d".into()),
        });
        let errors = messages(built(
            &plan(vec![text("A", vec![wanted])], vec![]),
            document(r#"{"k":"%"}"#),
            RULES,
        ));
        assert_eq!(errors, ["78 A: a/b: b64dec of a value that is not base64"]);
    }

    #[test]
    fn ciphertexts_and_the_token_have_their_places() {
        let mut ciphertexts = Interned::default();
        let [first, second] = ["a", "b"].map(|text| ciphertexts.intern(Ciphertext(text.into())));
        let entry = |name: &str, source| Entry { name: name.into(), source };
        let entries = || {
            vec![
                entry("A", Source::Ciphertext(second)),
                entry("T", Source::Token),
                entry("B", Source::Ciphertext(first)),
            ]
        };
        let failed = || Err(Error::new(Code::Refused, "transit/decrypt/k: no"));
        let outcomes = |value| Outcomes {
            decrypted: [(first, value), (second, Ok("plain".into()))].into(),
            token: Some("t".into()),
            ..Outcomes::default()
        };
        let mut built =
            build(&plan(entries(), vec![]), &outcomes(Ok("x".into())), RULES).expect("built");
        assert_eq!(
            built.variables.iter().map(|provided| &provided.from).collect::<Vec<_>>(),
            [&Provenance::Ciphertext, &Provenance::Login, &Provenance::Ciphertext]
        );
        assert_eq!(variable(built.variables.remove(2)).value, Secret::from("x"));
        let errors =
            build(&plan(entries(), vec![]), &outcomes(failed()), RULES).expect_err("failed");
        assert_eq!(errors.0, [Error::new(Code::Refused, "B: transit/decrypt/k: no")]);
    }

    #[test]
    fn a_read_that_failed_is_reported_once_with_all_who_wanted_it() {
        for (outcome, message) in [
            (refused(), "77 A, B, --secret a/b: a/b: permission denied"),
            (missing(), "66 A, B, --secret a/b: a/b: no secret there"),
        ] {
            let entries = vec![wanted("A", "x", false, None), wanted("B", "y", false, None)];
            assert_eq!(messages(built(&plan(entries, vec![all("")]), outcome, RULES)), [message]);
        }
    }

    #[test]
    fn an_outcome_that_is_not_there_is_a_bug_and_never_another_secret() {
        let nothing = Outcomes::default();
        let mut ciphertexts = Interned::default();
        let ciphertext = Source::Ciphertext(ciphertexts.intern(Ciphertext("a".into())));
        for (entry, imports) in [
            (wanted("A", "k", true, Some("d")), vec![]),
            (Entry { name: "A".into(), source: ciphertext }, vec![]),
            (Entry { name: "A".into(), source: Source::Token }, vec![]),
            (value("A", "1"), vec![all("")]),
        ] {
            let errors = build(&plan(vec![entry], imports), &nothing, RULES).expect_err("a bug");
            assert_eq!(errors.code(), Code::Internal, "{errors:?}");
        }
    }

    #[test]
    fn a_refusal_is_never_missing() {
        let rules = Rules { ignore_missing: true, ..RULES };
        let entries = vec![wanted("A", "x", true, None), wanted("B", "y", false, Some("d"))];
        assert_eq!(
            messages(built(&plan(entries, vec![]), refused(), rules)),
            ["77 A, B: a/b: permission denied"]
        );
    }

    #[test]
    fn missing_secrets_can_be_ignored_with_a_warning() {
        let rules = Rules { ignore_missing: true, ..RULES };
        for outcome in [missing(), document("{}")] {
            let plan = plan(vec![value("A", "1"), wanted("B", "x", false, None)], vec![]);
            let built = build(&plan, &of(outcome), rules).expect("built");
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
            Imported { place: "x".into(), request: only(), keys }
        };
        let plan = plan(vec![], vec![all("db."), one("a.b", None), one("a.b", Some("as_it_is"))]);
        let expected = pairs(&[("DB_A_B", "1"), ("DB__", "2"), ("P_A_B", "1"), ("as_it_is", "1")]);
        assert_eq!(
            built(&plan, document(r#"{"a.b":1,"ä":2}"#), Rules { naming, ..RULES }).map(
                |mut built| {
                    built.sort();
                    built
                }
            ),
            Ok(expected)
        );
    }

    #[test]
    fn a_name_that_is_there_already_is_an_error_or_kept_or_overwritten_in_its_place() {
        let json = r#"{"A":"new","B":"b"}"#;
        let attempt = |on_conflict| {
            let rules = Rules { naming: Naming { on_conflict, ..RULES.naming }, ..RULES };
            built(
                &plan(vec![value("A", "old"), value("Z", "z")], vec![all(""), all("")]),
                document(json),
                rules,
            )
        };
        assert_eq!(messages(attempt(OnConflict::Error)).len(), 3);
        assert_eq!(attempt(OnConflict::Keep), Ok(pairs(&[("A", "old"), ("Z", "z"), ("B", "b")])));
        assert_eq!(
            attempt(OnConflict::Overwrite),
            Ok(pairs(&[("A", "new"), ("Z", "z"), ("B", "b")]))
        );
    }

    #[test]
    fn names_that_steer_a_process_are_skipped_with_a_warning() {
        let json = r#"{"LD_PRELOAD":"x","PATH":"y","VAULT_TOKEN":"z","ok":"1"}"#;
        let built =
            build(&plan(vec![value("PATH", "/bin")], vec![all("")]), &of(document(json)), RULES)
                .expect("built");
        let names: Vec<_> =
            built.variables.iter().filter_map(|provided| provided.name.to_str()).collect();
        assert_eq!((names, built.warnings.len()), (vec!["PATH", "ok"], 3));
    }

    #[test]
    fn a_key_that_can_be_no_name_is_an_error() {
        assert_eq!(
            messages(built(&plan(vec![], vec![all("")]), document(r#"{"a=b":1,"":2}"#), RULES))
                .len(),
            2
        );
    }
}
