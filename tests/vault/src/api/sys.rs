//! `sys/…`: seal, health, mounts, policies, leases, wrapping.

use serde_json::{Map, Value, json};

use crate::api::clock;
use crate::api::core::Core;
use crate::api::envelope::{Answer, Failure, Outcome, go_json};
use crate::api::leases;
use crate::api::mounts::Mount;
use crate::api::namespaces;
use crate::api::policy::Acl;
use crate::api::request::{Operation, Request};

const VERSION: &str = "2.6.2";

/// Returns whether a path also needs the `sudo` capability.
pub(crate) fn needs_sudo(path: &str) -> bool {
    path == "sys/seal" || path.starts_with("sys/auth/") || path.starts_with("sys/leases/lookup/")
}

/// Returns whether a path is about the server, whichever namespace it is requested in.
pub(crate) fn is_about_server(path: &str) -> bool {
    path == "sys/seal-status"
}

/// Returns whether a path exists only in the root namespace.
pub(crate) fn is_of_root(path: &str) -> bool {
    matches!(path, "sys/health" | "sys/seal" | "sys/unseal")
}

/// Answers what needs no token, sealed or not.
pub(crate) fn even_sealed(core: &mut Core, request: &Request) -> Option<Outcome> {
    match request.path.as_str() {
        "sys/seal-status" => Some(Ok(seal_status(core))),
        "sys/health" => Some(Ok(health(core, request))),
        "sys/unseal" => Some(unseal(core, request)),
        _ => None,
    }
}

/// Answers what does not need the token's policies and does not consume a use of it.
pub(crate) fn without_token(core: &mut Core, request: &Request) -> Option<Outcome> {
    match request.path.as_str() {
        "sys/wrapping/lookup" => Some(core.wrapping.lookup(request)),
        "sys/wrapping/unwrap" => Some(unwrap(core, request)),
        "sys/internal/ui/mounts" => Some(visible_mounts(core, request)),
        path => {
            path.strip_prefix("sys/internal/ui/mounts/").map(|path| preflight(core, request, path))
        }
    }
}

/// Handles `sys/…` for callers whose policies allow it. The path is relative to `sys/`.
pub(crate) fn handle(core: &mut Core, request: &Request) -> Outcome {
    let path = request.path.as_str();
    match path.split_once('/').unwrap_or((path, "")) {
        ("seal", "") => {
            core.sealed = true;
            Ok(Answer::empty())
        }
        ("mounts", at) => mounts(core, request, at, ""),
        ("auth", at) => mounts(core, request, at, "auth/"),
        ("policies", at) => {
            policies(core, request, at.strip_prefix("acl").ok_or_else(Failure::unsupported_path)?)
        }
        ("leases", at) => leases::handle(&mut core.leases, request, at),
        ("namespaces", name) => namespaces::handle(core, request, name),
        ("wrapping", "unwrap") => core.wrapping.unwrap(request),
        ("wrapping", "rewrap") => core.wrapping.rewrap(request),
        ("wrapping", "wrap") => wrap(request),
        _ => Err(Failure::unsupported_path()),
    }
}

fn seal_status(core: &Core) -> Answer {
    let status = json!({
        "type": "shamir", "initialized": true, "sealed": core.sealed, "t": 1, "n": 1, "progress": 0, "nonce": "",
        "recovery_seal": false, "version": VERSION, "commit_date": "", "migration": false, "storage_type": "inmem",
    });
    Answer::verbatim(200, go_json(&status))
}

fn health(core: &Core, request: &Request) -> Answer {
    let asked = |name: &str| request.query.get(name).and_then(|code| code.parse().ok());
    let status = if core.sealed {
        asked("sealedcode").unwrap_or(503)
    } else {
        asked("activecode").unwrap_or(200)
    };
    let body = json!({
        "initialized": true, "sealed": core.sealed, "standby": core.sealed,
        "replication_performance_mode": "disabled", "replication_dr_mode": "disabled",
        "server_time_utc": clock::unix(std::time::SystemTime::now()), "version": VERSION,
    });
    Answer::verbatim(status, go_json(&body))
}

fn unseal(core: &mut Core, request: &Request) -> Outcome {
    if request.text("key") != Some(&core.unseal_key) {
        return Err(Failure::bad_request("'key' must be a valid hex or base64 string"));
    }
    core.sealed = false;
    Ok(seal_status(core))
}

/// Unwraps an answer. A wrapping token in the header unwraps itself. One in the body is unwrapped
/// with the caller's own token, which is checked second.
fn unwrap(core: &mut Core, request: &Request) -> Outcome {
    core.wrapping.check(request)?;
    if request.body.contains_key("token") {
        core.authenticated(request)
    } else {
        core.wrapping.unwrap(request)
    }
}

/// Returns what it is given, so that it is wrapped on its way out.
fn wrap(request: &Request) -> Outcome {
    let wrapped = request.wrap_ttl.map(|_| Answer::data(Value::Object(request.body.clone())));
    wrapped.ok_or_else(|| Failure::bad_request("endpoint requires response wrapping to be used"))
}

fn acl(core: &Core, request: &Request) -> Result<Acl, Failure> {
    core.caller(request).map(|caller| core.policies.acl(caller))
}

/// Lists what the token can see: nothing without one.
fn visible_mounts(core: &Core, request: &Request) -> Outcome {
    let acl = request.token.as_ref().map(|_| acl(core, request)).transpose()?;
    let visible = |mount: &&Mount| acl.as_ref().is_some_and(|acl| acl.sees(&mount.full_path()));
    let (auth, secret): (Vec<_>, Vec<_>) =
        core.mounts.of(&request.namespace).filter(visible).partition(|mount| mount.is_auth());
    let (auth, secret) = (described(auth.into_iter(), "auth/"), described(secret.into_iter(), ""));
    Ok(Answer::data(json!({ "auth": auth, "secret": secret })))
}

fn described<'a>(mounts: impl Iterator<Item = &'a Mount>, prefix: &str) -> Map<String, Value> {
    mounts.map(|mount| (mount.path[prefix.len()..].to_owned(), mount.describe())).collect()
}

/// Returns the mount that a path is below, if the caller has any permission there.
fn preflight(core: &Core, request: &Request, path: &str) -> Outcome {
    let acl = acl(core, request)?;
    // For a mount in a namespace below the request's own, the lookup uses a path with the request's
    // namespace in front of it twice.
    let own = &request.namespace.path;
    let (namespace, rest) = core.namespaces.resolve(own, path).unwrap_or_default();
    let mount = core.mounts.find(&namespace, &rest).map(|mount| match mount.full_path() {
        full if namespace == request.namespace => (mount, full, mount.path.clone()),
        full => (mount, format!("{own}{full}"), full),
    });
    let (mount, _, path) = mount.filter(|(_, wanted, _)| acl.sees(wanted)).ok_or_else(|| {
        let path = path.trim_matches('/');
        let text = format!(
            "preflight capability check returned 403, please ensure client's policies grant \
             access to path \"{path}/\""
        );
        Failure::new(403, text)
    })?;
    let mut data = mount.describe();
    data["path"] = path.into();
    Ok(Answer::data(data))
}

fn mounts(core: &mut Core, request: &Request, at: &str, prefix: &str) -> Outcome {
    let path = format!("{prefix}{}/", at.trim_matches('/'));
    match (request.operation, at) {
        (Operation::Read, "") => {
            let own = core
                .mounts
                .of(&request.namespace)
                .filter(|mount| mount.is_auth() == (prefix == "auth/"));
            Ok(Answer { injected: true, ..Answer::data(Value::Object(described(own, prefix))) })
        }
        (_, "") | (Operation::List, _) => Err(Failure::unsupported_operation()),
        (Operation::Write, _) => enable(core, &path, request),
        (Operation::Delete, _) => {
            core.mounts.disable(&request.namespace, &path);
            Ok(Answer::empty())
        }
        (Operation::Read, _) => {
            let mount = core.mounts.of(&request.namespace).find(|mount| mount.path == path);
            let mount = mount
                .ok_or_else(|| Failure::bad_request(format!("No secret engine mount at {at}/")))?;
            Ok(Answer { injected: true, ..Answer::data(mount.describe()) })
        }
    }
}

fn enable(core: &mut Core, path: &str, request: &Request) -> Outcome {
    if let Some(namespace) = core.namespaces.taken(&request.namespace, path) {
        return Err(Failure::bad_request(format!("existing mount at {namespace}")));
    }
    core.mounts.enable(path, request).map(|()| Answer::empty())
}

fn policies(core: &mut Core, request: &Request, name: &str) -> Outcome {
    let namespace = &request.namespace;
    let name = name.trim_matches('/').to_lowercase();
    match request.operation {
        Operation::List => {
            let names: Vec<_> = core
                .policies
                .names(namespace)
                .into_iter()
                .chain(namespace.is_root().then_some("root"))
                .collect();
            Ok(Answer::data(json!({ "keys": names })))
        }
        Operation::Read => {
            let text = core.policies.text(namespace, &name).ok_or_else(Failure::not_found)?;
            Ok(Answer::data(json!({ "name": name, "policy": text })))
        }
        Operation::Write => {
            let text = request.text("policy").unwrap_or_default();
            if text.is_empty() {
                return Err(Failure::bad_request("'policy' parameter not supplied or empty"));
            }
            core.policies.write(namespace, &name, text).map(|()| Answer::empty())
        }
        Operation::Delete => {
            core.policies.delete(namespace, &name);
            Ok(Answer::empty())
        }
    }
}
