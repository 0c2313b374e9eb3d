//! The application's environment, from any plan and any answers, against a model of the rules in
//! the README.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value as Json};
use vault_exec::door::environment::{self, Outcomes, Rules};
use vault_exec::door::error::{Code, Error, Errors};
use vault_exec::door::plan;
use vault_exec::door::secret::Variable;
use vault_exec::door::settings;
use vault_exec::door::settings::layers::{EnvFile, Layers, Options};
use vault_exec::door::vault::document::{Document, Found};

use crate::references::grammar::cases;

/// Ordinary ones, ours, ones that steer a process, ones of no text, and what two of them become in
/// another shape.
const NAMES: [&[u8]; 14] = [
    b"A",
    b"B",
    b"C",
    b"a",
    b"a_b",
    b"PATH",
    b"ENV",
    b"LD_PRELOAD",
    b"VAULT_TOKEN",
    b"VAULT_X",
    b"BAO_X",
    b"VAULTED",
    b"\xff",
    b"N\xc3",
];
const KEYS: [&str; 12] =
    ["a", "A", "k", "a.b", "a-", "PATH", "LD_X", "VAULT_TOKEN", "a=b", "a%", "1", ""];
const PATHS: [&str; 3] = ["one/x", "two/x", "three/x"];

/// What a variable is set to.
#[derive(Clone, Debug)]
enum Setting {
    Literal(Vec<u8>),
    /// Text around references, at least one.
    Text(Vec<(&'static str, Taken)>),
    Whole(Taken),
}

/// A reference.
#[derive(Clone, Debug)]
struct Taken {
    path: usize,
    key: &'static str,
    is_optional: bool,
    default: Option<&'static str>,
}

/// What a path has.
#[derive(Clone, Debug)]
enum Answer {
    Secret(BTreeMap<&'static str, String>),
    Missing,
    Refused,
}

#[derive(Clone, Debug)]
enum Form {
    All { prefix: &'static str },
    One { prefix: &'static str, key: &'static str },
    Named { name: &'static str, key: &'static str },
}

#[derive(Clone, Debug)]
struct Case {
    environment: Vec<(&'static [u8], Setting)>,
    files: Vec<Vec<(&'static [u8], Setting)>>,
    imports: Vec<(usize, Form)>,
    answers: Vec<Answer>,
    keep: Vec<&'static str>,
    literal: Vec<&'static str>,
    on_conflict: &'static str,
    switches: [bool; 4],
}

type Pairs = Vec<(OsString, Vec<u8>)>;

impl Case {
    fn clean_env(&self) -> bool {
        self.switches[0]
    }

    fn upcase(&self) -> bool {
        self.switches[1]
    }

    fn sanitize(&self) -> bool {
        self.switches[2]
    }

    fn ignore_missing(&self) -> bool {
        self.switches[3]
    }
}

fn taken() -> impl Strategy<Value = Taken> {
    let default = prop_oneof![3 => Just(None), 1 => select(vec!["", "d", "{d}"]).prop_map(Some)];
    (0..PATHS.len(), select(vec!["a", "A", "k", "a.b", "nothing"]), any::<bool>(), default)
        .prop_map(|(path, key, is_optional, default)| Taken { path, key, is_optional, default })
}

fn setting() -> impl Strategy<Value = Setting> {
    let literal = prop_oneof![
        vec(any::<u8>(), 0..4),
        select(vec![b"vault://x".to_vec(), b"${HOME}".to_vec()])
    ];
    prop_oneof![
        4 => literal.prop_map(Setting::Literal),
        2 => taken().prop_map(Setting::Whole),
        1 => vec((select(vec!["", "-", "$", "{\""]), taken()), 1..3).prop_map(Setting::Text),
    ]
}

fn variables(most: usize) -> impl Strategy<Value = Vec<(&'static [u8], Setting)>> {
    vec((select(&NAMES[..]), setting()), 0..most)
}

fn answer() -> impl Strategy<Value = Answer> {
    let value = prop_oneof![Just(String::new()), any::<String>()];
    prop_oneof![
        8 => btree_map(select(&KEYS[..]), value, 0..5).prop_map(Answer::Secret),
        1 => Just(Answer::Missing),
        1 => Just(Answer::Refused),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    let prefix = || select(vec!["", "P_", "LD_", "A"]);
    let key = || select(vec!["a", "A", "k", "a.b"]);
    prop_oneof![
        prefix().prop_map(|prefix| Form::All { prefix }),
        (prefix(), key()).prop_map(|(prefix, key)| Form::One { prefix, key }),
        (select(vec!["A", "N", "PATH", "a_b"]), key())
            .prop_map(|(name, key)| Form::Named { name, key }),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let names =
        |most| vec(select(vec!["A", "VAULT_TOKEN", "VAULT_*", "BAO_X", "A*", "PATH"]), 0..most);
    let inputs = (variables(8), vec(variables(4), 0..3), vec((0..PATHS.len(), form()), 0..3));
    let rules =
        (names(3), names(2), select(vec!["error", "keep", "overwrite"]), any::<[bool; 4]>());
    (inputs, vec(answer(), PATHS.len()), rules).prop_map(|(inputs, answers, rules)| {
        let ((environment, files, imports), (keep, literal, on_conflict, switches)) =
            (inputs, rules);
        Case { environment, files, imports, answers, keep, literal, on_conflict, switches }
    })
}

fn spelled_reference(Taken { path, key, is_optional, default }: &Taken) -> String {
    let optional = if *is_optional { "?" } else { "" };
    let default = default.map(|text| format!(":-{text}")).unwrap_or_default();
    format!("vault{optional}:{}#{key}{default}", PATHS[*path])
}

fn spelled(setting: &Setting) -> Vec<u8> {
    match setting {
        Setting::Literal(bytes) => bytes.clone(),
        Setting::Whole(taken) => spelled_reference(taken).into_bytes(),
        Setting::Text(pieces) => {
            let pieces = pieces
                .iter()
                .map(|(text, taken)| format!("{text}${{{}}}", spelled_reference(taken)));
            pieces.collect::<String>().into_bytes()
        }
    }
}

fn as_variables(pairs: &[(&[u8], Setting)]) -> Vec<Variable> {
    pairs
        .iter()
        .map(|(name, setting)| Variable::new(OsStr::from_bytes(name), spelled(setting)))
        .collect()
}

/// Each name once, as an env file has it after it was read.
fn as_file(pairs: &[(&'static [u8], Setting)]) -> EnvFile {
    let mut variables: Vec<Variable> = Vec::new();
    for variable in as_variables(pairs) {
        if !variables.iter().any(|earlier| earlier.name == variable.name) {
            variables.push(variable);
        }
    }
    EnvFile { name: ".env".to_owned(), variables }
}

/// What vault-exec makes of it.
fn built(case: &Case) -> Result<Pairs, Errors> {
    let imports = case.imports.iter().map(|(path, form)| match form {
        Form::All { prefix: "" } => PATHS[*path].to_owned(),
        Form::All { prefix } => format!("{prefix}*={}", PATHS[*path]),
        Form::One { prefix: "", key } => format!("{}#{key}", PATHS[*path]),
        Form::One { prefix, key } => format!("{prefix}*={}#{key}", PATHS[*path]),
        Form::Named { name, key } => format!("{name}={}#{key}", PATHS[*path]),
    });
    let variables = [
        ("VAULT_EXEC_SECRETS", imports.collect::<Vec<_>>().join(",")),
        ("VAULT_EXEC_KEEP", case.keep.join(",")),
        ("VAULT_EXEC_LITERAL", case.literal.join(",")),
        ("VAULT_EXEC_ON_CONFLICT", case.on_conflict.to_owned()),
        ("VAULT_EXEC_CLEAN_ENV", case.clean_env().to_string()),
        ("VAULT_EXEC_UPCASE", case.upcase().to_string()),
        ("VAULT_EXEC_SANITIZE", case.sanitize().to_string()),
        ("VAULT_IGNORE_MISSING_SECRETS", case.ignore_missing().to_string()),
    ];
    let variables = variables.map(|(name, value)| Variable::new(name, value));
    let layers = Layers { options: &Options::default(), environment: &variables, files: &[] };
    let settings = settings::understand(&layers)?;
    let files: Vec<EnvFile> = case.files.iter().map(|file| as_file(file)).collect();
    let plan = plan::make(&settings, &as_variables(&case.environment), &files)?;
    let answered =
        |(id, request): (_, &plan::Request)| (id, Rc::new(answered(case, request.path.as_str())));
    let answers = plan.requests.iter().map(answered).collect();
    let outcomes = Outcomes { answers, ..Outcomes::default() };
    let rules = Rules { ignore_missing: settings.ignore_missing, naming: settings.naming };
    let built = environment::build(&plan, &outcomes, rules)?;
    Ok(built
        .variables
        .into_iter()
        .map(|provided| provided.into_variable(|_| Ok("/a/file".into())).expect("a variable"))
        .map(|variable| (variable.name, variable.value.expose().to_vec()))
        .collect())
}

fn answered(case: &Case, path: &str) -> Result<Found, Error> {
    let path = PATHS.iter().position(|known| *known == path).expect("one of the paths");
    match &case.answers[path] {
        Answer::Secret(secret) => {
            let secret =
                secret.iter().map(|(key, value)| ((*key).to_owned(), Json::from(value.as_str())));
            Ok(Found { document: Document::new(secret.collect::<Map<_, _>>()), ..Found::default() })
        }
        Answer::Missing => Err(Error::new(Code::Missing, "no secret there")),
        Answer::Refused => Err(Error::new(Code::Refused, "permission denied")),
    }
}

/// What it should make of it: the environment, or the codes of all that is wrong.
#[derive(Default)]
struct Model {
    environment: Pairs,
    wrong: BTreeSet<u8>,
}

impl Model {
    fn of(case: &Case) -> Model {
        let mut model = Model::default();
        for (name, setting, is_inherited) in settings_in_order(case) {
            let is_literal = matches(&case.literal, name) || matches!(setting, Setting::Literal(_));
            let value = if is_literal {
                passes(case, name, is_inherited).then(|| spelled(&setting))
            } else {
                model.fetched(case, &setting)
            };
            model
                .environment
                .extend(value.map(|value| (OsStr::from_bytes(name).to_owned(), value)));
        }
        for (path, form) in &case.imports {
            model.import(case, *path, form);
        }
        model
    }

    fn fetched(&mut self, case: &Case, setting: &Setting) -> Option<Vec<u8>> {
        let pieces = match setting {
            Setting::Literal(bytes) => return Some(bytes.clone()),
            Setting::Whole(taken) => vec![("", taken.clone())],
            Setting::Text(pieces) => pieces.clone(),
        };
        let values: Vec<_> = pieces
            .iter()
            .map(|(text, taken)| Some(format!("{text}{}", self.taken(case, taken)?)))
            .collect();
        values.into_iter().collect::<Option<String>>().map(String::into_bytes)
    }

    fn taken(&mut self, case: &Case, taken: &Taken) -> Option<String> {
        match &case.answers[taken.path] {
            Answer::Refused => {
                self.fail(77);
                return None;
            }
            Answer::Secret(secret) if secret.contains_key(taken.key) => {
                return Some(secret[taken.key].clone());
            }
            Answer::Secret(_) | Answer::Missing => {}
        }
        if taken.default.is_none() && !taken.is_optional {
            self.missing(case);
        }
        taken.default.map(str::to_owned)
    }

    fn fail(&mut self, code: u8) {
        self.wrong.insert(code);
    }

    fn missing(&mut self, case: &Case) {
        if !case.ignore_missing() {
            self.fail(66);
        }
    }

    fn import(&mut self, case: &Case, path: usize, form: &Form) {
        let secret = match &case.answers[path] {
            Answer::Secret(secret) => secret,
            Answer::Missing => return self.missing(case),
            Answer::Refused => return self.fail(77),
        };
        let (key, prefix, named) = match form {
            Form::All { prefix } => {
                for (key, value) in secret {
                    self.imported(case, &shaped(case, prefix, key), value);
                }
                return;
            }
            Form::One { prefix, key } => (*key, *prefix, None),
            Form::Named { name, key } => (*key, "", Some((*name).to_owned())),
        };
        match secret.get(key) {
            Some(value) => {
                self.imported(case, &named.unwrap_or_else(|| shaped(case, prefix, key)), value);
            }
            None => self.missing(case),
        }
    }

    fn imported(&mut self, case: &Case, name: &str, value: &str) {
        let steers = ["LD_", "VAULT_", "BAO_"].iter().any(|prefix| name.starts_with(prefix));
        if steers || name == "PATH" {
            return;
        }
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !begins || !name.chars().all(fits) {
            return self.fail(78);
        }
        let there = self.environment.iter_mut().find(|(known, _)| known == name);
        match (there, case.on_conflict) {
            (None, _) => self.environment.push((name.into(), value.into())),
            (Some(there), "overwrite") => there.1 = value.into(),
            (Some(_), "keep") => {}
            (Some(_), _) => self.fail(78),
        }
    }
}

/// The inherited ones in their order, then those of the env files: each as the last file has it
/// that has it.
fn settings_in_order(case: &Case) -> Vec<(&'static [u8], Setting, bool)> {
    let mut settings: Vec<(&'static [u8], Setting, bool)> = Vec::new();
    for (name, setting) in &case.environment {
        if !settings.iter().any(|(known, ..)| known == name) {
            settings.push((name, setting.clone(), true));
        }
    }
    for (at, file) in case.files.iter().enumerate() {
        let is_later =
            |name: &[u8]| case.files[at + 1..].iter().flatten().any(|(later, _)| *later == name);
        for (name, setting) in file {
            if !settings.iter().any(|(known, ..)| known == name) && !is_later(name) {
                settings.push((name, setting.clone(), false));
            }
        }
    }
    settings
}

/// Whether the application gets a value that is no reference.
fn passes(case: &Case, name: &[u8], is_inherited: bool) -> bool {
    let is_ours = name.starts_with(b"VAULT_") || name.starts_with(b"BAO_");
    let is_cleaned = case.clean_env() && is_inherited && name != b"PATH";
    matches(&case.keep, name) || !(is_ours || is_cleaned)
}

fn matches(patterns: &[&str], name: &[u8]) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('*') {
        Some((prefix, _)) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    })
}

fn shaped(case: &Case, prefix: &str, key: &str) -> String {
    let name = format!("{prefix}{key}");
    let name = if case.upcase() { name.to_uppercase() } else { name };
    if case.sanitize() { name.replace(['.', '=', '-', '%'], "_") } else { name }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_environment_is_what_the_rules_say(case in case()) {
        let model = Model::of(&case);
        match built(&case) {
            Ok(environment) => {
                let names: BTreeSet<_> = environment.iter().map(|(name, _)| name).collect();
                prop_assert_eq!(names.len(), environment.len(), "a name came twice");
                prop_assert_eq!((environment, model.wrong), (model.environment, BTreeSet::new()));
            }
            Err(errors) => {
                let codes: BTreeSet<u8> = errors.0.iter().map(|error| error.code.status()).collect();
                prop_assert_eq!(codes, model.wrong, "{:?}", errors);
            }
        }
    }
}
