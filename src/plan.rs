//! The plan: what is fetched, and for which variables and files (pure).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::{Error, Errors};
use crate::grammar::import::{Import, Keys};
use crate::grammar::path::Path;
use crate::grammar::placed_file::{Content, PlacedFile};
use crate::grammar::reference::{self, Ask, Form, Reference, Value};
use crate::grammar::selector::Selector;
use crate::intern::{Id, Interned};
use crate::secret::{Secret, Variable};
use crate::settings::layers::EnvFile;
use crate::settings::login_token::HandOn;
use crate::settings::names;
use crate::settings::{Imports, Settings};

/// A request that is made only once, however many variables use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As the user wrote it.
    pub path: Path,
    /// The length of the mount at the start of the path, if the user named the mount.
    pub mount: Option<usize>,
    /// Whether it reads or writes.
    pub ask: Ask,
}

/// A text for the transit engine to decrypt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext(pub Secret);

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
    /// The value is there already.
    Value(Secret, Origin),
    /// From Vault, possibly with text around it.
    Pieces(Vec<Piece>),
    /// From Vault's transit engine.
    Ciphertext(Id<Ciphertext>),
    /// The token of the login itself.
    Token,
}

/// Where a value that needs no fetching comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the environment of this process.
    Environment,
    /// In the env file of this name.
    EnvFile(String),
    /// In the defaults of references.
    Default,
    /// One of our settings, which the application gets together with the token.
    Setting,
}

/// A file of the application at a place that the user named.
#[derive(Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The words for it in messages: `--file /run/key.pem`.
    pub who: String,
    /// The file.
    pub place: PathBuf,
    /// Where its content comes from.
    pub source: Source,
}

/// A directory that gets one file for each key of a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Directory {
    /// The words for it in messages: `--file /run/secrets/*`.
    pub who: String,
    /// The directory.
    pub place: PathBuf,
    /// The request that the keys come from.
    pub request: Id<Request>,
}

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Text(Secret),
    /// Text that goes into a file; the value gets the path of the file.
    File(Secret),
    /// From Vault.
    Wanted(Wanted),
    /// From Vault's transit engine.
    Ciphertext(Id<Ciphertext>),
}

/// A wanted part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The request that it comes from.
    pub request: Id<Request>,
    /// Which part of it.
    pub selector: Selector,
    /// Whether the value itself is wanted, or the path of a file with it.
    pub form: Form,
    /// It may be missing; it is then left out.
    pub optional: bool,
    /// The value to use if it is missing.
    pub default: Option<Secret>,
}

/// An import, with the words for it in messages.
#[derive(Debug, PartialEq, Eq)]
pub struct Imported {
    /// `--secret secret/app`.
    pub place: String,
    /// The request that it comes from.
    pub request: Id<Request>,
    /// Which of its keys are imported, and under which names.
    pub keys: Keys,
}

/// Everything that has to be done.
#[derive(Debug, Default)]
pub struct Plan {
    /// The requests, each made once.
    pub requests: Interned<Request>,
    /// The ciphertexts to decrypt, each once.
    pub ciphertexts: Interned<Ciphertext>,
    /// The application's variables, in order.
    pub entries: Vec<Entry>,
    /// What the application gets by imports.
    pub imports: Vec<Imported>,
    /// The application's files at places that the user named.
    pub files: Vec<FileEntry>,
    /// Directories of such files.
    pub directories: Vec<Directory>,
    /// What looks like a mistake in the values but may not be one.
    pub warnings: Vec<String>,
}

/// A variable with the place that it comes from.
struct Placed {
    variable: Variable,
    origin: Origin,
}

/// Decides what happens to each variable.
///
/// # Errors
/// 78 for each reference that does not parse, and for each reference that would need Vault although
/// Vault must not be asked.
pub fn make(
    settings: &Settings,
    environment: &[Variable],
    files: &[EnvFile],
) -> Result<Plan, Errors> {
    let mut plan = Plan::default();
    let mut errors = Errors::default();
    for placed in merged(environment, files) {
        let name = placed.variable.name.clone();
        let planned = plan.variable(settings, placed);
        errors.keep(planned.map_err(|error| error.at(name.to_string_lossy())));
    }
    plan.hand_on(settings);
    for (who, file) in &settings.files.placed {
        errors.keep(plan.file(settings, who, file).map_err(|error| error.at(who)));
    }
    if settings.enabled {
        for import in &settings.imports {
            plan.import(import);
        }
    }
    errors.or(plan)
}

impl Plan {
    /// Returns whether Vault has to be asked for anything.
    pub fn needs_vault(&self) -> bool {
        let hands_on = self.entries.iter().any(|entry| entry.source == Source::Token);
        hands_on || !self.requests.is_empty() || !self.ciphertexts.is_empty()
    }

    /// Returns the references of a variable as `path#key`, for messages.
    pub fn references<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = String> + 'a {
        let pieces =
            if let Source::Pieces(pieces) = &entry.source { pieces.as_slice() } else { &[] };
        pieces.iter().filter_map(|piece| match piece {
            Piece::Wanted(Wanted { request, selector, .. }) => {
                let path = &self.requests.get(*request).ok()?.path;
                Some(format!("{path}#{selector}"))
            }
            _ => None,
        })
    }

    /// Returns the value of a variable, if it is known before anything is fetched.
    pub fn known(&self, name: &str) -> Option<&Secret> {
        self.entries.iter().find(|entry| entry.name == name).and_then(|entry| match &entry.source {
            Source::Value(value, _) => Some(value),
            _ => None,
        })
    }

    /// Returns whether a variable has to be fetched.
    pub fn fetches(&self, name: &str) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.name == name && !matches!(entry.source, Source::Value(..)))
    }

    fn variable(&mut self, settings: &Settings, placed: Placed) -> Result<(), Error> {
        let Placed { variable: Variable { name, value }, origin } = placed;
        let source = match settings.hand_on.as_ref().and_then(|hand_on| handed_on(hand_on, &name)) {
            Some(Source::Token) if !settings.enabled => {
                return Err(without_vault("a token of a login"));
            }
            Some(source) => Some(source),
            None => self.source(settings, &name, value, origin)?,
        };
        self.entries.extend(source.map(|source| Entry { name, source }));
        Ok(())
    }

    /// Returns the source of a variable's value, or `None` if the application does not get the
    /// variable.
    fn source(
        &mut self,
        settings: &Settings,
        name: &OsStr,
        value: Secret,
        origin: Origin,
    ) -> Result<Option<Source>, Error> {
        let is_literal = settings.literal.contain(name);
        let suspicion = reference::suspicion(value.expose()).filter(|_| !is_literal);
        let warning = suspicion.map(|what| format!("{} {what}", name.to_string_lossy()));
        self.warnings.extend(warning);
        let parsed = if is_literal { Value::Literal } else { reference::parse(value.expose())? };
        Ok(Some(match parsed {
            Value::Literal if passes(settings, name, &origin) => Source::Value(value, origin),
            Value::Literal => return Ok(None),
            Value::Reference(reference) => {
                self.pieces(settings, vec![reference::Piece::Reference(reference)])?
            }
            Value::Text(pieces) => self.pieces(settings, pieces)?,
            Value::Ciphertext(ciphertext) => {
                Source::Ciphertext(self.ciphertext(settings, ciphertext)?)
            }
        }))
    }

    fn pieces(
        &mut self,
        settings: &Settings,
        pieces: Vec<reference::Piece>,
    ) -> Result<Source, Error> {
        if !settings.enabled {
            return defaults(pieces);
        }
        let planned = pieces.into_iter().map(|piece| {
            Ok(match piece {
                reference::Piece::Text(text) => Piece::Text(text),
                reference::Piece::Reference(reference) => Piece::Wanted(self.wanted(reference)),
                reference::Piece::Ciphertext(ciphertext) => {
                    Piece::Ciphertext(self.ciphertext(settings, ciphertext)?)
                }
            })
        });
        planned.collect::<Result<_, Error>>().map(Source::Pieces)
    }

    fn wanted(&mut self, reference: Reference) -> Wanted {
        let Reference { path, ask, selector, form, optional, default } = reference;
        Wanted {
            request: self.requests.intern(Request { path, mount: None, ask }),
            selector,
            form,
            optional,
            default,
        }
    }

    fn file(&mut self, settings: &Settings, who: &str, file: &PlacedFile) -> Result<(), Error> {
        let (who, place) = (who.to_owned(), file.place.clone());
        match &file.content {
            Content::EachKey(..) if !settings.enabled => {
                return Err(without_vault("a directory of secrets"));
            }
            Content::EachKey(path, version) => {
                let (path, ask) = (path.clone(), Ask::Read(*version));
                let request = self.requests.intern(Request { path, mount: None, ask });
                self.directories.push(Directory { who, place, request });
            }
            Content::Value(value) => {
                let source = match value.clone() {
                    Value::Literal => return Err(Error::internal("a file without a reference")),
                    Value::Reference(reference) => {
                        self.pieces(settings, vec![reference::Piece::Reference(reference)])?
                    }
                    Value::Text(pieces) => self.pieces(settings, pieces)?,
                    Value::Ciphertext(ciphertext) => {
                        Source::Ciphertext(self.ciphertext(settings, ciphertext)?)
                    }
                };
                self.files.push(FileEntry { who, place, source });
            }
        }
        Ok(())
    }

    fn ciphertext(
        &mut self,
        settings: &Settings,
        ciphertext: Secret,
    ) -> Result<Id<Ciphertext>, Error> {
        if !settings.enabled {
            return Err(without_vault("a ciphertext"));
        }
        if settings.transit.key.is_none() {
            return Err(Error::config("a ciphertext, and no transit key to decrypt it with").hint(
                "set VAULT_TRANSIT_KEY_ID to the key's name, or name the variable in --literal if \
                 it is to stay as it is",
            ));
        }
        Ok(self.ciphertexts.intern(Ciphertext(ciphertext)))
    }

    /// Adds what the application gets together with the token, unless its environment already has
    /// it.
    fn hand_on(&mut self, settings: &Settings) {
        for Variable { name, value } in
            settings.hand_on.iter().flat_map(|hand_on| &hand_on.variables)
        {
            if !self.entries.iter().any(|entry| entry.name == *name) {
                let source = Source::Value(value.clone(), Origin::Setting);
                self.entries.push(Entry { name: name.clone(), source });
            }
        }
    }

    fn import(&mut self, imports: &Imports) {
        let Imports { place, mount, import: Import { path, version, keys } } = imports.clone();
        let request = self.requests.intern(Request { path, mount, ask: Ask::Read(version) });
        self.imports.push(Imported { place, request, keys });
    }
}

/// Returns the source of a variable's value, if the variable is handed on with the token.
fn handed_on(hand_on: &HandOn, name: &OsStr) -> Option<Source> {
    if name == OsStr::new(&hand_on.token) {
        return Some(Source::Token);
    }
    let found = hand_on.variables.iter().find(|variable| variable.name == name)?;
    Some(Source::Value(found.value.clone(), Origin::Setting))
}

/// Merges the variables so that each name occurs once. If an environment has a name twice, the
/// first one wins (as getenv(3) finds it). The environment wins over env files, and a later file
/// over an earlier one.
fn merged(environment: &[Variable], files: &[EnvFile]) -> Vec<Placed> {
    let mut seen = HashSet::new();
    let mut from_files: Vec<(&Variable, &EnvFile)> = Vec::new();
    for file in files {
        from_files
            .retain(|(earlier, _)| !file.variables.iter().any(|later| later.name == earlier.name));
        from_files.extend(file.variables.iter().map(|variable| (variable, file)));
    }
    let inherited = environment.iter().map(|variable| (variable, Origin::Environment));
    let added = from_files
        .into_iter()
        .map(|(variable, file)| (variable, Origin::EnvFile(file.name.clone())));
    let first = inherited.chain(added).filter(|(variable, _)| seen.insert(variable.name.clone()));
    first.map(|(variable, origin)| Placed { variable: variable.clone(), origin }).collect()
}

/// Returns whether the application gets a variable whose value is not a reference.
fn passes(settings: &Settings, name: &OsStr, origin: &Origin) -> bool {
    let is_kept = settings.keep.contain(name);
    let is_wanted = !(settings.clean_env && *origin == Origin::Environment) || name == "PATH";
    is_kept || (is_wanted && !names::is_stripped(name.as_encoded_bytes()))
}

/// Builds a value from the defaults of its references alone.
fn defaults(pieces: Vec<reference::Piece>) -> Result<Source, Error> {
    let mut value = Vec::new();
    let mut planned = Vec::new();
    let mut has_file = false;
    for piece in pieces {
        let (text, form) = match piece {
            reference::Piece::Text(text) => (text, Form::Value),
            reference::Piece::Reference(Reference { default, form, .. }) => {
                let default = default.ok_or_else(|| {
                    without_vault("a reference without a default")
                        .hint("give it a default: vault:path#key:-default")
                })?;
                (default, form)
            }
            reference::Piece::Ciphertext(_) => return Err(without_vault("a ciphertext")),
        };
        value.extend_from_slice(text.expose());
        has_file |= form == Form::File;
        planned.push(if form == Form::File { Piece::File(text) } else { Piece::Text(text) });
    }
    if has_file {
        return Ok(Source::Pieces(planned));
    }
    Ok(Source::Value(Secret::from(value), Origin::Default))
}

fn without_vault(what: &str) -> Error {
    Error::config(format!("{what}, and VAULT_ENABLED is false"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;
    use crate::settings::layers::Layers;
    use crate::settings::layers::Options;

    fn variables(pairs: &[(&str, &str)]) -> Vec<Variable> {
        pairs.iter().map(|(name, value)| Variable::new(*name, *value)).collect()
    }

    fn planned(
        options: &[(&'static str, &str)],
        environment: &[(&str, &str)],
        files: &[EnvFile],
    ) -> Result<Plan, Errors> {
        let environment = variables(environment);
        let layers =
            Layers { options: &Options::of(options), environment: &environment, files: &[] };
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
        let environment =
            [("A", "1"), ("PATH", "/bin"), ("KEPT", "k"), ("S", "vault:a/b#c"), ("VAULT_X", "x")];
        let file =
            EnvFile { name: "f".into(), variables: variables(&[("F", "f"), ("VAULT_Y", "y")]) };
        let plan = planned(&[("clean-env", "true"), ("keep", "KEPT")], &environment, &[file])
            .expect("a plan");
        assert_eq!(names(&plan), ["PATH", "KEPT", "S", "F"]);
    }

    #[test]
    fn each_name_comes_once_and_a_higher_layer_wins() {
        let files = vec![
            EnvFile {
                name: "1".into(),
                variables: variables(&[("A", "f1"), ("B", "f1"), ("C", "f1")]),
            },
            EnvFile { name: "2".into(), variables: variables(&[("B", "f2")]) },
        ];
        let plan =
            planned(&[], &[("Z", "z"), ("A", "first"), ("A", "second")], &files).expect("a plan");
        assert_eq!(names(&plan), ["Z", "A", "C", "B"]);
        assert_eq!(plan.known("A"), Some(&Secret::from("first")));
        assert_eq!(plan.known("B"), Some(&Secret::from("f2")));
    }

    #[test]
    fn a_secret_is_read_once_for_all_who_want_it() {
        let environment = [
            ("A", "vault:a/b#c"),
            ("B", "bao:/a/b#d:-x"),
            ("C", "vault:a/b#c#1"),
            ("D", "vault?:a/c#c"),
        ];
        let plan = planned(&[("secret", "a/b"), ("secret", "X_*=a/b##1")], &environment, &[])
            .expect("a plan");
        assert_eq!(
            asked(&plan),
            [("a/b", Ask::Read(None)), ("a/b", Ask::Read(Some(1))), ("a/c", Ask::Read(None))]
        );
        let ids: Vec<_> = plan.requests.iter().map(|(id, _)| id).collect();
        let imported: Vec<_> = plan.imports.iter().map(|import| import.request).collect();
        assert_eq!(imported, ids[..2]);
    }

    fn asked(plan: &Plan) -> Vec<(&str, Ask)> {
        plan.requests
            .iter()
            .map(|(_, request)| (request.path.as_str(), request.ask.clone()))
            .collect()
    }

    #[test]
    fn equal_writes_are_one_however_their_bodies_are_spelled() {
        let plan = planned(
            &[],
            &[
                ("A", r#">>vault:p/q#a#{"x":1,"y":"z"}"#),
                ("B", r#"b${>>bao:/p/q#b#{ "y": "z", "x": 1 }}b"#),
                ("C", ">>vault:p/q#c"),
                ("D", ">>vault:p/q#c#{}"),
                ("E", "vault:p/q#c"),
            ],
            &[],
        )
        .expect("a plan");
        assert_eq!(plan.requests.len(), 3);
    }

    #[test]
    fn a_ciphertext_needs_a_key_and_is_decrypted_once() {
        let environment = [("A", "vault:v1:YQ=="), ("B", "vault:v1:Yg=="), ("C", "vault:v1:YQ==")];
        assert_eq!(planned(&[], &environment, &[]).expect_err("no key").0.len(), 3);
        let inline = ("D", "<${vault:v1:YQ==}${vault:v2:ZA==}>");
        assert_eq!(planned(&[], &[inline], &[]).expect_err("no key").0.len(), 1);
        let with_inline = [&environment[..], &[("VAULT_TRANSIT_KEY_ID", "k"), inline]].concat();
        assert_eq!(planned(&[], &with_inline, &[]).expect("a plan").ciphertexts.len(), 3);
        let environment = [&environment[..], &[("VAULT_TRANSIT_KEY_ID", "k")]].concat();
        assert_eq!(planned(&[], &environment, &[]).expect("a plan").ciphertexts.len(), 2);
    }

    #[test]
    fn the_token_of_the_login_goes_on_with_the_way_to_vault() {
        let environment = [
            ("VAULT_TOKEN", "vault:login"),
            ("A", "1"),
            ("VAULT_ADDR", "http://unused"),
            ("VAULT_ROLE", "r"),
            ("VAULT_CLIENT_TIMEOUT", "10s"),
        ];
        let options = [("addr", "http://used"), ("namespace", "team")];
        let unset = planned(&[("namespace", "")], &environment, &[]).expect("a plan");
        assert!(!names(&unset).contains(&"VAULT_NAMESPACE"));
        let plan = planned(&options, &environment, &[]).expect("a plan");
        assert_eq!(
            names(&plan),
            ["VAULT_TOKEN", "A", "VAULT_ADDR", "VAULT_CLIENT_TIMEOUT", "VAULT_NAMESPACE"]
        );
        assert!(plan.needs_vault() && plan.fetches("VAULT_TOKEN"));
        assert_eq!(plan.known("VAULT_ADDR"), Some(&Secret::from("http://used")));
    }

    #[test]
    fn a_literal_variable_is_never_interpreted() {
        let plan = planned(
            &[("literal", "A,X_*")],
            &[("A", "vault:"), ("X_1", "vault:a#b"), ("B", "vault:a#b")],
            &[],
        )
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
            planned(&[], &[("A", "vault:s3cret"), ("B", "b"), ("C", "vault:a/../s3cret#k")], &[])
                .expect_err("wrong")
                .0;
        let names: Vec<&str> = errors
            .iter()
            .map(|error| error.message.split(':').next().unwrap_or_default())
            .collect();
        assert_eq!(names, ["A", "C"]);
        assert!(!format!("{errors:?}").contains("s3cret"));
    }

    #[test]
    fn without_vault_defaults_are_taken_and_any_other_reference_is_an_error() {
        let off = ("VAULT_ENABLED", "false");
        let plan = planned(&[("secret", "a/b")], &[off, ("A", "vault:a/b#c:-d"), ("B", "b")], &[])
            .expect("a plan");
        assert!(plan.requests.is_empty() && plan.imports.is_empty());
        assert_eq!(plan.known("A"), Some(&Secret::from("d")));
        let errors = planned(&[], &[off, ("A", "vault:a/b#c"), ("B", "vault?:a/b#c")], &[])
            .expect_err("no default")
            .0;
        assert_eq!(errors.len(), 2);
        let plan = planned(&[], &[off, ("A", "<${vault:a/b#c:-d}|${vault?:a/b#e:-}>")], &[])
            .expect("a plan");
        assert_eq!(plan.known("A"), Some(&Secret::from("<d|>")));
        for value in ["${vault:a/b#c:-d}${vault:a/b#c}", "vault:v1:YQ==", "<${vault:v1:YQ==}>"] {
            let environment = [off, ("VAULT_TRANSIT_KEY_ID", "k"), ("A", value)];
            assert_eq!(planned(&[], &environment, &[]).expect_err(value).0.len(), 1);
        }
        assert!(planned(&[], &[off, ("VAULT_TOKEN", "vault:login")], &[]).is_err());
    }
}
