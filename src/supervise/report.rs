//! What a child tells the supervisor through a pipe: JSON of limited size.
//!
//! A report contains a token, because the supervisor has the credentials, but never the value of a
//! secret.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::supervise::state::{Granted, Outcome, What};

/// The longest report: a lease takes about a hundred bytes.
const LIMIT: u64 = 1 << 20;

/// A token, with what the supervisor needs to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    /// Whether it comes from our own login.
    pub(crate) is_own: bool,
    /// Whether it is a batch token, which cannot be revoked.
    pub(crate) is_batch: bool,
}

/// A secret that is looked at: the number of its request in the plan, and what tells it from
/// another one.
pub(crate) type Mark = (usize, String);

/// The result of a child's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It has, or gets, what an application needs.
    Granted {
        /// `None` if the token is no longer needed.
        token: Option<Token>,
        granted: Vec<Granted>,
        /// The secrets that can be looked at.
        marks: Vec<Mark>,
        /// In how many seconds the first static role rotates.
        rotation: Option<u64>,
    },
    /// It has renewed.
    Renewed {
        outcomes: Vec<(What, Outcome)>,
        /// Why one of them failed.
        failure: Option<String>,
    },
    /// It has looked.
    Looked { marks: Vec<Mark>, rotation: Option<u64> },
    /// It has failed.
    Failed {
        /// Whether Vault refused.
        is_refusal: bool,
        message: String,
    },
}

/// Writes a report; if nobody reads it, it is lost.
pub(crate) fn write(mut pipe: &File, report: &Report) {
    let text = Zeroizing::new(to_json(report).to_string());
    if let Err(error) = pipe.write_all(text.as_bytes()) {
        log::debug!("the supervisor does not hear of it: {error}");
    }
}

/// Reads what is available now. Returns `None` once nothing more will come.
pub(crate) fn read(pipe: &mut File, so_far: &mut Zeroizing<Vec<u8>>) -> Option<()> {
    let mut buffer = Zeroizing::new([0; 4096]);
    match pipe.read(buffer.as_mut_slice()) {
        Ok(0) => None,
        Ok(length) if so_far.len() as u64 + length as u64 <= LIMIT => {
            so_far.extend_from_slice(buffer.get(..length).unwrap_or_default());
            Some(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Some(()),
        Ok(_) | Err(_) => None,
    }
}

fn to_json(report: &Report) -> Value {
    match report {
        Report::Granted { token, granted, marks, rotation } => json!({
            "kind": "granted",
            "token": token.as_ref().map(|token| json!({
                "value": token.value.expose_text(),
                "own": token.is_own,
                "batch": token.is_batch,
            })),
            "granted": granted.iter().map(|granted| json!([
                kind(&granted.what), name(&granted.what), granted.ttl.as_secs(), granted.renewable,
            ])).collect::<Vec<_>>(),
            "marks": marks,
            "rotation": rotation,
        }),
        Report::Renewed { outcomes, failure } => json!({
            "kind": "renewed",
            "failure": failure,
            "outcomes": outcomes.iter().map(|(what, outcome)| {
                let ttl = if let Outcome::Renewed(ttl) = outcome { ttl.as_secs() } else { 0 };
                json!([kind(what), name(what), word(*outcome), ttl])
            }).collect::<Vec<_>>(),
        }),
        Report::Looked { marks, rotation } => {
            json!({ "kind": "looked", "marks": marks, "rotation": rotation })
        }
        Report::Failed { is_refusal, message } => {
            json!({ "kind": "failed", "refusal": is_refusal, "message": message })
        }
    }
}

/// Parses a report. Returns `None` if it is not a report, or an incomplete one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Report> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let list = |name: &str| value.get(name)?.as_array();
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let rotation = || value.get("rotation").and_then(Value::as_u64);
    let marks = || list("marks")?.iter().map(mark).collect::<Option<Vec<Mark>>>();
    match value.get("kind")?.as_str()? {
        "granted" => Some(Report::Granted {
            token: value.get("token").filter(|token| token.is_object()).map(token),
            granted: list("granted")?.iter().map(granted).collect::<Option<_>>()?,
            marks: marks()?,
            rotation: rotation(),
        }),
        "renewed" => {
            let outcomes = list("outcomes")?.iter().map(outcome).collect::<Option<_>>()?;
            Some(Report::Renewed { outcomes, failure: text("failure") })
        }
        "looked" => Some(Report::Looked { marks: marks()?, rotation: rotation() }),
        "failed" => Some(Report::Failed {
            is_refusal: value.get("refusal")?.as_bool()?,
            message: text("message")?,
        }),
        _ => None,
    }
}

fn token(value: &Value) -> Token {
    let is = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or_default();
    let text = value.get("value").and_then(Value::as_str).unwrap_or_default();
    Token { value: text.into(), is_own: is("own"), is_batch: is("batch") }
}

fn granted(value: &Value) -> Option<Granted> {
    Some(Granted {
        what: what(value)?,
        ttl: Duration::from_secs(value.get(2)?.as_u64()?),
        renewable: value.get(3)?.as_bool()?,
    })
}

fn outcome(value: &Value) -> Option<(What, Outcome)> {
    let ttl = Duration::from_secs(value.get(3)?.as_u64()?);
    let outcome = match value.get(2)?.as_str()? {
        "renewed" => Outcome::Renewed(ttl),
        "lost" => Outcome::Lost,
        "forbidden" => Outcome::Forbidden,
        "failed" => Outcome::Failed,
        _ => return None,
    };
    Some((what(value)?, outcome))
}

fn mark(value: &Value) -> Option<Mark> {
    let request = usize::try_from(value.get(0)?.as_u64()?).ok()?;
    Some((request, value.get(1)?.as_str()?.to_owned()))
}

fn what(value: &Value) -> Option<What> {
    let name = value.get(1)?.as_str()?.to_owned();
    match value.get(0)?.as_str()? {
        "token" => Some(What::Token),
        "lease" => Some(What::Lease(name)),
        "unleased" => Some(What::Unleased(name)),
        _ => None,
    }
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Token => "token",
        What::Lease(_) => "lease",
        What::Unleased(_) => "unleased",
    }
}

fn name(what: &What) -> &str {
    match what {
        What::Token => "",
        What::Lease(name) | What::Unleased(name) => name,
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Renewed(_) => "renewed",
        Outcome::Lost => "lost",
        Outcome::Forbidden => "forbidden",
        Outcome::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_comes_back_as_it_was_and_none_that_is_not_whole() {
        let lease = || What::Lease("database/creds/app/x".into());
        let ttl = Duration::from_mins(1);
        for report in [
            Report::Granted {
                token: Some(Token { value: "hvs.x".into(), is_own: true, is_batch: false }),
                granted: vec![
                    Granted { what: What::Token, ttl, renewable: true },
                    Granted { what: lease(), ttl, renewable: false },
                    Granted { what: What::Unleased("pki/issue/a".into()), ttl, renewable: false },
                ],
                marks: vec![(3, "7".into())],
                rotation: Some(9),
            },
            Report::Granted { token: None, granted: Vec::new(), marks: Vec::new(), rotation: None },
            Report::Renewed {
                outcomes: vec![
                    (What::Token, Outcome::Renewed(ttl)),
                    (lease(), Outcome::Lost),
                    (lease(), Outcome::Forbidden),
                    (lease(), Outcome::Failed),
                ],
                failure: Some("why".into()),
            },
            Report::Looked { marks: vec![(0, "digest".into())], rotation: None },
            Report::Failed { is_refusal: true, message: "why".into() },
        ] {
            let text = to_json(&report).to_string();
            assert_eq!(parse(text.as_bytes()).as_ref(), Some(&report), "{text}");
            assert_eq!(parse(&text.as_bytes()[..text.len() - 1]), None, "{text}");
        }
        assert_eq!(parse(b""), None);
    }
}
