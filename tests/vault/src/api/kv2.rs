//! KV version 2: versions of a map at a path, each of which can be deleted and destroyed.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::api::clock;
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::kv1::keys_below;
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

const ROOT_PATH: &str = "Non-listing operations on the root of a K/V v2 mount are not supported.";
const AREAS: [&str; 5] = ["data", "delete", "destroy", "metadata", "undelete"];
const MAX_VERSIONS: u64 = 10;

struct Version {
    /// `None` once it is destroyed.
    data: Option<Value>,
    created: SystemTime,
    deleted: Option<SystemTime>,
}

impl Version {
    fn is_readable(&self) -> bool {
        self.data.is_some() && self.deleted.is_none_or(|deleted| deleted > SystemTime::now())
    }

    fn deletion_time(&self) -> String {
        self.deleted.map(clock::rfc3339).unwrap_or_default()
    }

    fn metadata(&self) -> Value {
        json!({
            "created_time": clock::rfc3339(self.created),
            "deletion_time": self.deletion_time(),
            "destroyed": self.data.is_none(),
        })
    }
}

/// All versions of one path and its metadata.
struct Secret {
    versions: BTreeMap<u64, Version>,
    created: SystemTime,
    updated: SystemTime,
    max_versions: u64,
    cas_required: bool,
    delete_version_after: Duration,
    custom_metadata: Option<Map<String, Value>>,
}

impl Secret {
    fn new() -> Self {
        let now = SystemTime::now();
        Self {
            versions: BTreeMap::new(),
            created: now,
            updated: now,
            max_versions: 0,
            cas_required: false,
            delete_version_after: Duration::ZERO,
            custom_metadata: None,
        }
    }

    fn current(&self) -> u64 {
        self.versions.keys().next_back().copied().unwrap_or(0)
    }

    fn add(&mut self, data: Value) -> u64 {
        let number = self.current() + 1;
        let now = SystemTime::now();
        let deleted =
            (!self.delete_version_after.is_zero()).then(|| now + self.delete_version_after);
        self.versions.insert(number, Version { data: Some(data), created: now, deleted });
        self.updated = now;
        let kept = if self.max_versions == 0 { MAX_VERSIONS } else { self.max_versions };
        self.versions.retain(|version, _| version + kept > number);
        number
    }

    fn version_metadata(&self, number: u64) -> Value {
        let mut metadata = self.versions[&number].metadata();
        metadata["custom_metadata"] = json!(self.custom_metadata);
        metadata["version"] = number.into();
        metadata
    }

    fn metadata(&self) -> Value {
        let versions: Map<String, Value> = self
            .versions
            .iter()
            .map(|(number, version)| (number.to_string(), version.metadata()))
            .collect();
        json!({
            "cas_required": self.cas_required,
            "current_metadata_version": 0,
            "metadata_cas_required": false,
            "created_time": clock::rfc3339(self.created),
            "current_version": self.current(),
            "custom_metadata": self.custom_metadata,
            "delete_version_after": format!("{}s", self.delete_version_after.as_secs()),
            "max_versions": self.max_versions,
            "oldest_version": self.versions.keys().next().filter(|oldest| **oldest > 1).unwrap_or(&0),
            "updated_time": clock::rfc3339(self.updated),
            "versions": versions,
        })
    }
}

#[derive(Default)]
pub(crate) struct KvV2(BTreeMap<String, Secret>);

impl Engine for KvV2 {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{Delete, List, Read, Write};
        let (area, path) = request.path.split_once('/').unwrap_or((&request.path, ""));
        match (area, request.operation) {
            ("metadata", List) => keys_below(path, self.0.keys()),
            ("data", List) => Err(Failure::unsupported_operation()),
            _ if path.is_empty() => Ok(wrong_path(area, request.operation)),
            ("data", Read) => self.read(path, request),
            ("data", Write) => self.write(path, request),
            ("data", Delete) => self.delete(path, &[]),
            ("delete", Write) => self.delete(path, &numbers(request)?),
            ("undelete", Write) => self.undelete(path, &numbers(request)?),
            ("destroy", Write) => self.destroy(path, &numbers(request)?),
            ("metadata", Read) => self
                .0
                .get(path)
                .map(|secret| Answer::data(secret.metadata()))
                .ok_or_else(Failure::not_found),
            ("metadata", Write) => self.configure(path, request),
            ("metadata", Delete) => {
                self.0.remove(path);
                Ok(Answer::empty())
            }
            ("delete" | "undelete" | "destroy", _) => Err(Failure::unsupported_operation()),
            _ => Ok(wrong_path(area, request.operation)),
        }
    }

    fn exists(&self, path: &str) -> Option<bool> {
        let (area, path) = path.split_once('/')?;
        matches!(area, "data" | "metadata").then(|| self.0.contains_key(path))
    }
}

/// Returns a 404 with a hint, which is not in an error envelope.
fn wrong_path(area: &str, operation: Operation) -> Answer {
    let command = match operation {
        Operation::Read => "get",
        Operation::List => "list",
        Operation::Write => "put",
        Operation::Delete => "delete",
    };
    let wrong = format!(
        "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate \
         API endpoints to use. If using the OpenBao CLI, use 'bao kv {command}' for this \
         operation."
    );
    let hint = if AREAS.contains(&area) { ROOT_PATH } else { &wrong };
    Answer::empty().warn(hint).with_status(404)
}

/// Converts numbers as Vault does: they have gone through a float by the time they are read, and
/// are printed as Go prints floats.
fn through_floats(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), through_floats(value))).collect()
        }
        Value::Array(items) => items.iter().map(through_floats).collect(),
        Value::Number(number) => number.as_f64().map_or(Value::Null, go_float),
        other => other.clone(),
    }
}

fn go_float(float: f64) -> Value {
    let size = float.abs();
    let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{float:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        float.to_string()
    };
    serde_json::from_str(&text).expect("a number")
}

impl KvV2 {
    fn read(&self, path: &str, request: &Request) -> Outcome {
        let secret = self.0.get(path.trim_end_matches('/')).ok_or_else(Failure::not_found)?;
        let number = match wanted_version(request)? {
            0 => secret.current(),
            number => number,
        };
        let version = secret.versions.get(&number).ok_or_else(Failure::not_found)?;
        let data = version.data.as_ref().filter(|_| version.is_readable()).map(through_floats);
        if data.is_some() && path.ends_with('/') {
            // The metadata is found under such a path, but the data is not.
            return Err(Failure::multierror(500, "could not find version data"));
        }
        let status = if data.is_some() { 200 } else { 404 };
        let metadata = secret.version_metadata(number);
        Ok(Answer::data(json!({ "data": data, "metadata": metadata })).with_status(status))
    }

    fn write(&mut self, path: &str, request: &Request) -> Outcome {
        let data = request.body.get("data").filter(|data| data.is_object());
        let data = data.ok_or_else(|| Failure::bad_request("no data provided"))?;
        let secret = self.0.entry(path.to_owned()).or_insert_with(Secret::new);
        let cas = request
            .body
            .get("options")
            .and_then(|options| options.get("cas"))
            .and_then(Value::as_u64);
        if cas.is_none() && secret.cas_required {
            return Err(Failure::bad_request("check-and-set parameter required for this call"));
        }
        if cas.is_some_and(|cas| cas != secret.current()) {
            return Err(Failure::bad_request(
                "check-and-set parameter did not match the current version",
            ));
        }
        let number = secret.add(data.clone());
        Ok(Answer::data(secret.version_metadata(number)))
    }

    /// Deletes versions; no numbers means the current version.
    fn delete(&mut self, path: &str, numbers: &[u64]) -> Outcome {
        self.each(path, numbers, |version| {
            if version.is_readable() {
                version.deleted = Some(SystemTime::now());
            }
        })
    }

    fn undelete(&mut self, path: &str, numbers: &[u64]) -> Outcome {
        self.each(path, numbers, |version| version.deleted = None)
    }

    fn destroy(&mut self, path: &str, numbers: &[u64]) -> Outcome {
        self.each(path, numbers, |version| version.data = None)
    }

    fn each(&mut self, path: &str, numbers: &[u64], change: impl Fn(&mut Version)) -> Outcome {
        if let Some(secret) = self.0.get_mut(path) {
            let current = [secret.current()];
            let numbers = if numbers.is_empty() { &current } else { numbers };
            secret
                .versions
                .iter_mut()
                .filter(|(number, _)| numbers.contains(number))
                .for_each(|(_, v)| change(v));
        }
        Ok(Answer::empty())
    }

    fn configure(&mut self, path: &str, request: &Request) -> Outcome {
        let secret = self.0.entry(path.to_owned()).or_insert_with(Secret::new);
        if let Some(versions) = request.number("max_versions") {
            secret.max_versions = versions;
        }
        if let Some(required) = request.flag("cas_required") {
            secret.cas_required = required;
        }
        if let Some(after) = request.duration("delete_version_after") {
            secret.delete_version_after = after;
        }
        if let Some(Value::Object(custom)) = request.body.get("custom_metadata") {
            secret.custom_metadata = Some(custom.clone());
        }
        Ok(Answer::empty())
    }
}

/// Returns the requested version: zero, a negative one or none at all means the current one.
fn wanted_version(request: &Request) -> Result<u64, Failure> {
    let Some(text) = request.query.get("version").filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).unwrap_or(0)),
        Err(_) => Err(Failure::bad_request(
            "Field validation failed: error converting input for field \"version\": '' cannot \
             parse value as 'int': strconv.ParseInt: invalid syntax",
        )),
    }
}

fn numbers(request: &Request) -> Result<Vec<u64>, Failure> {
    let numbers: Vec<u64> = match request.body.get("versions") {
        Some(Value::Array(items)) => items.iter().filter_map(number).collect(),
        Some(other) => number(other).into_iter().collect(),
        None => Vec::new(),
    };
    if numbers.is_empty() {
        Err(Failure::bad_request("no version number provided"))
    } else {
        Ok(numbers)
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
