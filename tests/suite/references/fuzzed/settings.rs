//! Any options, environment and env files are settings and a plan, or errors; no credential gets
//! into any of them, and none into the application's environment unless it is kept by name.
//!
//! An input has parts with `%%` lines between them: the arguments, one a line; the environment, a
//! variable a line; and each env file.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use serde_json::json;
use vault_exec::door::cli::{self, Invocation};
use vault_exec::door::environment::{Built, Outcomes, Provided, Rules, build};
use vault_exec::door::error::{Code, Error, Errors};
use vault_exec::door::grammar::env_file;
use vault_exec::door::grammar::reference::is_login;
use vault_exec::door::plan::{self, Plan, Source};
use vault_exec::door::policy;
use vault_exec::door::secret::Variable;
use vault_exec::door::settings::layers::{EnvFile, Layers, Options};
use vault_exec::door::settings::names;
use vault_exec::door::settings::{self, Settings};
use vault_exec::door::vault::document::{Document, Found};

const MARK: &str = "S3CR3T";

pub(crate) fn settles(bytes: &[u8]) {
    if contains(bytes, MARK.as_bytes()) {
        return;
    }
    let parts = parts(bytes);
    let arguments = parts[0].split(|byte| *byte == b'\n').filter(|word| !word.is_empty());
    let arguments = arguments.map(|word| OsString::from_vec(word.to_vec())).collect();
    let Ok(Invocation::Run { options, .. }) = cli::parse(arguments) else { return };
    let environment = parts.get(1).map(|text| environment(text)).unwrap_or_default();
    let files = parts.iter().skip(2).filter_map(|text| file(text)).collect::<Vec<_>>();
    let layers = Layers { options: &options, environment: &environment, files: &files };
    understood(&layers);
    unset(&options, &environment, &files);
}

fn parts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    for line in bytes.split(|byte| *byte == b'\n') {
        match parts.last_mut() {
            Some(part) if line != b"%%" => part.extend([line, b"\n"].concat()),
            _ => parts.push(Vec::new()),
        }
    }
    parts
}

fn environment(text: &[u8]) -> Vec<Variable> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.contains(&0));
    let pairs =
        lines.filter_map(|line| Some(line.split_at(line.iter().position(|byte| *byte == b'=')?)));
    let mut seen = BTreeSet::new();
    let first = pairs.filter(|(name, _)| seen.insert(name.to_vec()));
    first
        .map(|(name, value)| marked(Variable::new(OsStr::from_bytes(name), value[1..].to_vec())))
        .collect()
}

fn file(text: &[u8]) -> Option<EnvFile> {
    let variables = env_file::parse(text).ok()?;
    Some(EnvFile {
        name: ".env".to_owned(),
        variables: variables.into_iter().map(marked).collect(),
    })
}

/// A credential has the mark in it.
fn marked(variable: Variable) -> Variable {
    let is_file = variable.name.as_bytes().ends_with(b"_FILE")
        || variable.name.as_bytes().ends_with(b"_PATH");
    let is_credential =
        !is_file && names::credentials().any(|credential| credential.has_variable(&variable.name));
    if !is_credential || is_login(variable.value.expose()) || variable.value.is_empty() {
        return variable;
    }
    Variable::new(variable.name, [MARK.as_bytes(), variable.value.expose()].concat())
}

fn understood(layers: &Layers<'_>) {
    let _ = settings::log_settings(layers).map_err(|errors| are_sound(&errors));
    settings::without_effect(layers).iter().for_each(is_silent);
    let Ok(settings) = settings::understand(layers).map_err(|errors| are_sound(&errors)) else {
        return;
    };
    is_silent(&settings);
    for outcome in [found, missing] {
        let Ok(plan) = plan::make(&settings, layers.environment, layers.files)
            .map_err(|errors| are_sound(&errors))
        else {
            return;
        };
        is_silent(&plan);
        is_whole(&plan);
        let _ = policy::of(&plan, &settings)
            .map(|text| is_silent(&text))
            .map_err(|errors| are_sound(&errors));
        let outcomes = outcome(&plan);
        let rules = Rules { ignore_missing: settings.ignore_missing, naming: settings.naming };
        match build(&plan, &outcomes, rules) {
            Ok(built) => is_environment(&built, &settings, layers),
            Err(errors) => is_silent(&errors),
        }
    }
}

/// An empty variable is one that is not set.
fn unset(options: &Options, environment: &[Variable], files: &[EnvFile]) {
    let filled = |variables: &[Variable]| {
        variables.iter().filter(|variable| !variable.value.is_empty()).cloned().collect::<Vec<_>>()
    };
    let fewer = files
        .iter()
        .map(|file| EnvFile { name: file.name.clone(), variables: filled(&file.variables) });
    let fewer: Vec<EnvFile> = fewer.collect();
    let with = Layers { options, environment, files };
    let without = Layers { options, environment: &filled(environment), files: &fewer };
    let shown = |layers: &Layers<'_>| format!("{:?}", settings::understand(layers));
    assert_eq!(shown(&with), shown(&without));
}

fn are_sound(errors: &Errors) {
    assert_eq!(errors.code(), Code::Config);
    is_silent(errors);
}

fn is_silent(shown: &(impl Debug + ?Sized)) {
    let shown = format!("{shown:?}");
    assert!(!shown.contains(MARK), "{shown}");
}

/// Each name and each request once, and nothing that leads nowhere.
fn is_whole(plan: &Plan) {
    let names: BTreeSet<&OsString> = plan.entries.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), plan.entries.len(), "{plan:?}");
    for (id, request) in plan.requests.iter() {
        let same = plan.requests.iter().filter(|(_, other)| *other == request);
        assert_eq!(same.map(|(id, _)| id).collect::<Vec<_>>(), [id], "{plan:?}");
    }
    let wanted = plan.entries.iter().filter_map(|entry| match &entry.source {
        Source::Pieces(pieces) => Some(pieces),
        _ => None,
    });
    let wanted = wanted.flatten().filter_map(|piece| match piece {
        plan::Piece::Wanted(wanted) => Some(wanted.request),
        plan::Piece::Text(_) | plan::Piece::File(_) | plan::Piece::Ciphertext(_) => None,
    });
    let imported = plan.imports.iter().map(|import| import.request);
    assert!(wanted.chain(imported).all(|request| plan.requests.get(request).is_ok()), "{plan:?}");
}

/// Every request brings the same secret.
fn found(plan: &Plan) -> Outcomes {
    let secret = json!({ "k": "v", "A": "a", "B_C": "b", "a.b": { "c": [1.50, null] }, "LD_PRELOAD": "x", "PATH": "y" });
    let secret = secret.as_object().expect("an object");
    let answer = || Ok(Found { document: Document::new(secret.clone()), ..Found::default() });
    outcomes(plan, answer)
}

fn missing(plan: &Plan) -> Outcomes {
    outcomes(plan, || Err(Error::new(Code::Missing, "no secret there")))
}

fn outcomes(plan: &Plan, answer: impl Fn() -> Result<Found, Error>) -> Outcomes {
    Outcomes {
        answers: plan.requests.iter().map(|(id, _)| (id, Rc::new(answer()))).collect(),
        decrypted: plan.ciphertexts.iter().map(|(id, _)| (id, Ok("plain".into()))).collect(),
        token: Some("token".into()),
    }
}

/// Each name once, the inherited ones in their order, and no credential that is not kept.
fn is_environment(built: &Built, settings: &Settings, layers: &Layers<'_>) {
    built.warnings.iter().for_each(is_silent);
    let names: Vec<&OsString> = built.variables.iter().map(|provided| &provided.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{built:?}");
    let mut inherited = layers.environment.iter().map(|variable| &variable.name);
    let is_inherited =
        |name: &&&OsString| layers.environment.iter().any(|variable| variable.name == ***name);
    assert!(
        names.iter().filter(is_inherited).all(|name| inherited.any(|next| next == *name)),
        "{built:?}"
    );
    for Provided { name, value, .. } in &built.variables {
        let is_kept = settings.keep.contain(name);
        let value = value.clone().with_paths(|_| Ok("/a/file".into())).expect("a value");
        assert!(is_kept || !contains(value.expose(), MARK.as_bytes()), "{built:?}");
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
