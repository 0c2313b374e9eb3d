//! `--check`: what the application would get, and where from, without a single value (pure).

use std::ffi::OsStr;

use crate::environment::{Built, Outcomes, Provenance};
use crate::plan::{Origin, Request};
use crate::vault::document::{Found, Lease};

/// One line for each variable: `NAME: source`. A source that was fetched has its path and key, and
/// its version or its lease with the TTL in seconds.
pub fn report(built: &Built, outcomes: &Outcomes) -> String {
    let lines = built.variables.iter().zip(&built.sources).map(|(variable, provenance)| {
        format!("{}: {}\n", shown(&variable.name), source(provenance, &built.requests, outcomes))
    });
    lines.collect()
}

/// A name in one line, whatever is in it.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn source(provenance: &Provenance, requests: &[Request], outcomes: &Outcomes) -> String {
    match provenance {
        Provenance::Value(Origin::Environment) => "the environment".to_owned(),
        Provenance::Value(Origin::EnvFile(name)) => format!("env file {name}"),
        Provenance::Value(Origin::Setting) => "a setting, for the token of the login".to_owned(),
        Provenance::Value(Origin::Default) => DEFAULT.to_owned(),
        Provenance::Fetched(parts) if parts.is_empty() => DEFAULT.to_owned(),
        Provenance::Fetched(parts) => {
            let parts = parts.iter().map(|(request, key)| part(*request, key, requests, outcomes));
            parts.collect::<Vec<_>>().join("; ")
        }
        Provenance::Ciphertext => "a ciphertext".to_owned(),
        Provenance::Login => "the token of the login".to_owned(),
    }
}

const DEFAULT: &str = "the default of its reference";

fn part(request: usize, key: &str, requests: &[Request], outcomes: &Outcomes) -> String {
    let path = requests.get(request).map(|request| request.path.as_str()).unwrap_or_default();
    let Some(Ok(Found { version, lease, .. })) = outcomes.get(request) else {
        return path.to_owned();
    };
    let version = version.map(|version| format!(", version {version}")).unwrap_or_default();
    let lease = lease.as_ref().map(lent).unwrap_or_default();
    format!("{path}#{key}{version}{lease}")
}

fn lent(Lease { id, duration, renewable }: &Lease) -> String {
    format!(", lease {id}, {duration} s, {}renewable", if *renewable { "" } else { "not " })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::grammar::path::Path;
    use crate::grammar::reference::Ask;
    use crate::secret::Variable;

    #[test]
    fn every_source_has_its_line_and_no_line_has_a_value() {
        let request =
            |path| Request { path: Path::constant(path), mount: None, ask: Ask::Read(None) };
        let requests = [request("kv/a"), request("db/creds/r"), request("kv/none")];
        let lease = Lease { id: "db/creds/r/x".into(), duration: 60, renewable: true };
        let outcomes = Outcomes {
            answers: vec![
                Ok(Found { version: Some(3), ..Found::default() }),
                Ok(Found { lease: Some(lease), ..Found::default() }),
                Err(Error::config("x")),
            ],
            places: vec![0, 1, 2],
            ..Outcomes::default()
        };
        let rows = [
            ("A", Provenance::Value(Origin::Environment), "the environment"),
            ("B", Provenance::Value(Origin::EnvFile(".env".into())), "env file .env"),
            ("C", Provenance::Fetched(vec![(0, "k".into())]), "kv/a#k, version 3"),
            (
                "D",
                Provenance::Fetched(vec![(1, "user".into()), (0, "k".into())]),
                "db/creds/r#user, lease db/creds/r/x, 60 s, renewable; kv/a#k, version 3",
            ),
            ("E", Provenance::Fetched(vec![]), DEFAULT),
            ("F\n", Provenance::Ciphertext, "a ciphertext"),
            ("G", Provenance::Login, "the token of the login"),
        ];
        let mut built = Built { requests: requests.into(), ..Built::default() };
        let mut expected = String::new();
        for (name, provenance, source) in rows {
            built.variables.push(Variable::new(name, "s3cret"));
            built.sources.push(provenance);
            expected.extend([&name.replace('\n', "\\n"), ": ", source, "\n"]);
        }
        assert_eq!(report(&built, &outcomes), expected);
    }
}
