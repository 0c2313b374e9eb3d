//! `--check`: what the application would get, and where from, without a single value (pure).

use crate::environment::{Built, Outcomes, Provenance, Provided};
use crate::error::Error;
use crate::intern::Id;
use crate::plan::{Origin, Plan, Request};
use crate::printable::printable;
use crate::vault::document::{Found, Lease};

/// One line for each variable: `NAME: source`. A source that was fetched has its path and key, and
/// its version or its lease with the TTL in seconds.
pub(crate) fn report(built: &Built, plan: &Plan, outcomes: &Outcomes) -> Result<String, Error> {
    let line = |Provided { variable, from }: &Provided| {
        let source = source(from, plan, outcomes)?;
        Ok(format!("{}: {}\n", printable(&variable.name.to_string_lossy()), printable(&source)))
    };
    built.variables.iter().map(line).collect()
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
    use crate::secret::Variable;

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
            let variable = Variable::new(name, "s3cret");
            built.variables.push(Provided { variable, from: provenance });
            expected.extend([&name.replace('\n', "\\n"), ": ", source, "\n"]);
        }
        assert_eq!(report(&built, &plan, &outcomes), Ok(expected));
    }
}
