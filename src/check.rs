//! `--check`: reports what the application would get and where it comes from, without showing any
//! value (pure).

use std::ffi::OsStr;
use std::path::Path;

use crate::environment::{Built, Outcomes, Provided};
use crate::error::Error;
use crate::files::{BuiltFile, Place};
use crate::grammar::sourced::Sourced;
use crate::intern::Id;
use crate::plan::{Origin, Plan, Request};
use crate::printable::printable;
use crate::provenance::Provenance;
use crate::settings::{DEFAULT_MODE, Files};
use crate::vault::document::{Found, Lease};

/// Returns one line for each variable: `NAME: source`. A fetched source shows its path and key, and
/// its version or its lease with the TTL in seconds. Then comes one line for each file, with its
/// mode, owner and size.
pub(crate) fn report(
    built: &Built,
    plan: &Plan,
    outcomes: &Outcomes,
    settings: &Files,
) -> Result<String, Error> {
    let line = |Provided { name, value, from }: &Provided| {
        let source = source(from, plan, outcomes)?;
        let file = if value.has_paths() { ", as the path of a file" } else { "" };
        Ok(format!("{}: {}{file}\n", shown(name), printable(&source)))
    };
    let file = |(_, file): (_, &BuiltFile)| {
        let BuiltFile { place, content, from } = file;
        let place = match (place, &settings.directory) {
            (Place::At(path), _) => shown(path.as_os_str()),
            (Place::Named(name), Some(directory)) => {
                shown(Path::new(directory.text()?).join(name).as_os_str())
            }
            (Place::Named(name), None) => format!("{} in memory", shown(name)),
        };
        let owner = settings.owner.as_ref().map_or(Ok("this user"), Sourced::text)?;
        let mode = settings.mode.unwrap_or(DEFAULT_MODE);
        let size = content.size();
        let source = printable(&source(from, plan, outcomes)?);
        Ok(format!("file {place}: {source}, mode {mode:04o}, owner {owner}, {size} bytes\n"))
    };
    let variables = built.variables.iter().map(line);
    variables.chain(built.files.iter().map(file)).collect()
}

fn shown(name: &OsStr) -> String {
    printable(&name.to_string_lossy())
}

fn source(provenance: &Provenance, plan: &Plan, outcomes: &Outcomes) -> Result<String, Error> {
    Ok(match provenance {
        Provenance::Value(Origin::Environment) => "the environment".to_owned(),
        Provenance::Value(Origin::EnvFile(name)) => format!("env file {name}"),
        Provenance::Value(Origin::Setting) => "a setting, for the token of the login".to_owned(),
        Provenance::Value(Origin::Default) => DEFAULT.to_owned(),
        Provenance::Fetched(parts) if parts.is_empty() => DEFAULT.to_owned(),
        Provenance::Fetched(parts) => {
            let parts = parts.iter().map(|(request, key)| part(*request, key, plan, outcomes));
            parts.collect::<Result<Vec<_>, _>>()?.join("; ")
        }
        Provenance::Ciphertext => "a ciphertext".to_owned(),
        Provenance::Login => "the token of the login".to_owned(),
    })
}

const DEFAULT: &str = "the default of its reference";

fn part(
    request: Id<Request>,
    key: &str,
    plan: &Plan,
    outcomes: &Outcomes,
) -> Result<String, Error> {
    let path = &plan.requests.get(request)?.path;
    let Ok(Found { version, lease, .. }) = outcomes.of(request)? else {
        return Ok(path.to_string());
    };
    let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    let lease = lease.as_ref().map(lent).unwrap_or_default();
    Ok(format!("{path}#{key}{version}{lease}"))
}

fn lent(Lease { id, duration, renewable }: &Lease) -> String {
    format!(", lease {id}, {duration} s, {}renewable", if *renewable { "" } else { "not " })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::grammar::path::Path;
    use crate::grammar::reference::Ask;
    use crate::secret::Secret;

    #[test]
    fn every_source_has_its_line_and_no_line_has_a_value() {
        let mut plan = Plan::default();
        let [a, creds, none] = ["kv/a", "db/creds/r", "kv/none"].map(|path| {
            let path = Path::constant(path);
            plan.requests.intern(Request { path, mount: None, ask: Ask::Read(None) })
        });
        let lease = Lease { id: "db/creds/r/x".into(), duration: 60, renewable: true };
        let answers = [
            (a, Ok(Found { version: Some(3), ..Found::default() })),
            (creds, Ok(Found { lease: Some(lease), ..Found::default() })),
            (none, Err(Error::config("x"))),
        ];
        let answers = answers.into_iter().map(|(id, answer)| (id, Rc::new(answer))).collect();
        let outcomes = Outcomes { answers, ..Outcomes::default() };
        let rows = [
            ("A", Provenance::Value(Origin::Environment), "the environment"),
            ("B", Provenance::Value(Origin::EnvFile(".env".into())), "env file .env"),
            ("C", Provenance::Fetched(vec![(a, "k".into())]), "kv/a#k, version 3"),
            (
                "D",
                Provenance::Fetched(vec![(creds, "user".into()), (a, "k".into())]),
                "db/creds/r#user, lease db/creds/r/x, 60 s, renewable; kv/a#k, version 3",
            ),
            ("E", Provenance::Fetched(vec![]), DEFAULT),
            ("F\n", Provenance::Ciphertext, "a ciphertext"),
            ("G", Provenance::Login, "the token of the login"),
        ];
        let mut built = Built::default();
        let mut expected = String::new();
        for (name, provenance, source) in rows {
            let value = Secret::from("s3cret").into();
            built.variables.push(Provided { name: name.into(), value, from: provenance });
            expected.extend([&name.replace('\n', "\\n"), ": ", source, "\n"]);
        }
        let from = Provenance::Fetched(vec![(a, "k".into())]);
        let content = Secret::from("s3cret").into();
        built.files.intern(BuiltFile { place: Place::Named("KEY".into()), content, from });
        expected += "file KEY in memory: kv/a#k, version 3, mode 0400, owner this user, 6 bytes\n";
        assert_eq!(report(&built, &plan, &outcomes, &Files::default()), Ok(expected));
    }
}
