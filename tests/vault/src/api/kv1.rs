//! KV version 1: a map at a path.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::api::clock::{self, DEFAULT_TTL};
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

#[derive(Default)]
pub(crate) struct KvV1(BTreeMap<String, Map<String, Value>>);

impl Engine for KvV1 {
    fn handle(&mut self, request: &Request) -> Outcome {
        let path = &request.path;
        match request.operation {
            Operation::Read => self.read(path),
            Operation::List => keys_below(path, self.0.keys()),
            Operation::Write if path.is_empty() => Err(Failure::bad_request("missing path")),
            Operation::Write if request.body.is_empty() => {
                Err(Failure::bad_request("missing data fields"))
            }
            Operation::Write => {
                self.0.insert(path.clone(), request.body.clone());
                Ok(Answer::empty())
            }
            Operation::Delete => {
                self.0.remove(path);
                Ok(Answer::empty())
            }
        }
    }

    fn exists(&self, path: &str) -> Option<bool> {
        Some(self.0.contains_key(path))
    }
}

impl KvV1 {
    /// Reads a secret, whose `ttl` or `lease` key says how long it is valid.
    fn read(&self, path: &str) -> Outcome {
        let fields = self.0.get(path).ok_or_else(Failure::not_found)?;
        let ttl =
            ["ttl", "lease"].iter().find_map(|key| fields.get(*key).and_then(clock::duration));
        let lease_duration = ttl.unwrap_or(DEFAULT_TTL).as_secs();
        Ok(Answer { lease_duration, ..Answer::data(Value::Object(fields.clone())) })
    }
}

/// Lists what is below `path`: names, and folders with a slash.
pub(crate) fn keys_below<'a>(path: &str, paths: impl Iterator<Item = &'a String>) -> Outcome {
    let folder =
        if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    let below = paths.filter_map(|path| path.strip_prefix(&folder));
    let keys: BTreeSet<String> =
        below.map(|rest| rest.split_inclusive('/').next().unwrap_or(rest).to_owned()).collect();
    if keys.is_empty() {
        Err(Failure::not_found())
    } else {
        Ok(Answer::data(json!({ "keys": keys })))
    }
}
