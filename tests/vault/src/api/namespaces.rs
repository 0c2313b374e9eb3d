//! Namespaces: a tree in which each has its own mounts, policies and tokens, and
//! `sys/namespaces/…`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::core::Core;
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::request::{Operation, Request};

const RESERVED: [&str; 6] = ["root", "sys", "audit", "auth", "cubbyhole", "identity"];

/// One namespace; the default is the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespace {
    /// `team/web/`; empty for the root.
    pub(crate) path: String,
    /// The end of its tokens; empty for the root.
    id: String,
    uuid: String,
}

impl Namespace {
    fn new(path: String) -> Self {
        let id = Uuid::new_v4().simple().to_string()[..6].to_owned();
        Self { path, id, uuid: Uuid::new_v4().to_string() }
    }

    /// Returns what the ids of its tokens, accessors and leases end in.
    pub(crate) fn suffix(&self) -> String {
        if self.id.is_empty() { String::new() } else { format!(".{}", self.id) }
    }

    pub(crate) fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    fn describe(&self) -> Value {
        json!({
            "custom_metadata": {}, "id": self.id, "locked": false, "path": self.path, "tainted": false,
            "uuid": self.uuid,
        })
    }
}

/// All of them except the root, by path.
#[derive(Default)]
pub(crate) struct Namespaces(BTreeMap<String, Namespace>);

impl Namespaces {
    /// Returns the namespace of a request with this header, and its path in there: the longest
    /// namespace that header and path, joined, begin with. `None` if the header on its own names no
    /// namespace.
    pub(crate) fn resolve(&self, header: &str, path: &str) -> Option<(Namespace, String)> {
        let header = canonical(header);
        let whole = format!("{header}{path}");
        let found = self.0.values().filter(|namespace| whole.starts_with(&namespace.path));
        let namespace =
            found.max_by_key(|namespace| namespace.path.len()).cloned().unwrap_or_default();
        let rest = whole[namespace.path.len()..].to_owned();
        namespace.path.starts_with(&header).then_some((namespace, rest))
    }

    /// Returns the namespace below `above` that a path leads into.
    pub(crate) fn taken(&self, above: &Namespace, path: &str) -> Option<String> {
        let whole = format!("{}{path}", above.path);
        let below =
            |other: &&String| other.len() > above.path.len() && whole.starts_with(other.as_str());
        self.0.keys().find(below).map(|other| other[above.path.len()..].to_owned())
    }

    fn children(&self, above: &str) -> impl Iterator<Item = (String, &Namespace)> {
        let below = self
            .0
            .values()
            .filter_map(move |one| Some((one.path.strip_prefix(above)?.to_owned(), one)));
        below.filter(|(name, _)| name.matches('/').count() == 1)
    }
}

/// Adds a slash at the end and removes any at the start; the header's word for the root becomes
/// empty.
fn canonical(header: &str) -> String {
    match header.trim_matches('/') {
        "" | "root" => String::new(),
        path => format!("{path}/"),
    }
}

/// Handles `sys/namespaces/<name>`.
pub(crate) fn handle(core: &mut Core, request: &Request, name: &str) -> Outcome {
    let name = name.trim_matches('/');
    let path = format!("{}{name}/", request.namespace.path);
    match request.operation {
        Operation::List => list(core, &request.namespace.path),
        Operation::Read => {
            let found = core.namespaces.0.get(&path).ok_or_else(Failure::not_found)?;
            Ok(Answer::data(found.describe()))
        }
        Operation::Write => create(core, request, name, path),
        Operation::Delete => delete(core, &path),
    }
}

fn list(core: &Core, above: &str) -> Outcome {
    let info: Map<String, Value> = core
        .namespaces
        .children(above)
        .map(|(name, namespace)| (name, namespace.describe()))
        .collect();
    let keys: Vec<&String> = info.keys().collect();
    if keys.is_empty() {
        Err(Failure::not_found())
    } else {
        Ok(Answer::data(json!({ "keys": keys, "key_info": info })))
    }
}

fn create(core: &mut Core, request: &Request, name: &str, path: String) -> Outcome {
    if name.contains('/') {
        return Err(Failure::bad_request("namespace name cannot contain /"));
    }
    if RESERVED.contains(&name) {
        let text = format!("\"{name}/\" is a reserved path and cannot be used as a namespace name");
        return Err(Failure::bad_request(text));
    }
    if let Some(mount) = core.mounts.at_or_below(&request.namespace, &format!("{name}/")) {
        return Err(Failure::bad_request(format!(
            "new namespace conflicts with existing mount: {mount}"
        )));
    }
    let namespace =
        core.namespaces.0.entry(path.clone()).or_insert_with(|| Namespace::new(path)).clone();
    core.mounts.furnish(&namespace);
    core.policies.furnish(&namespace);
    Ok(Answer::data(namespace.describe()))
}

/// Deletes a namespace with everything in it. A real server takes a moment for that.
fn delete(core: &mut Core, path: &str) -> Outcome {
    if core.namespaces.children(path).next().is_some() {
        return Err(Failure::bad_request("unable to delete namespace containing child namespaces"));
    }
    let Some(namespace) = core.namespaces.0.remove(path) else {
        return Ok(Answer::empty().warn("requested namespace does not exist"));
    };
    core.mounts.clear(&namespace);
    core.policies.clear(&namespace);
    core.tokens.clear(&namespace);
    Ok(Answer::data(json!({ "status": "in-progress" })))
}
