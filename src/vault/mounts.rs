//! Finds out which version a KV mount has, and so what to read for a path that the user wrote
//! without `data`.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::Value;

use crate::error::{Cause, Code, Error};
use crate::grammar::mount::{KvVersion, Question};
use crate::grammar::path::Path;
use crate::secret::Secret;
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Repeat, Request, Space};
use crate::vault::parallel::in_parallel;

/// The endpoint that lists the mounts for those who may use them.
const MOUNTS: &str = "sys/internal/ui/mounts";

/// The engine that is mounted where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// KV, of this version.
    Kv(KvVersion),
    /// Another engine: a read may make a lease.
    Other,
    /// It could not be found out.
    Unknown,
}

/// What is read for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path that is sent.
    pub path: Path,
    /// The engine that answers there.
    pub engine: Engine,
}

/// A mount that the token can see.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its path, without the slash at its end.
    path: String,
    engine: Engine,
}

/// The mounts that are known to contain paths.
#[derive(Debug)]
pub(crate) struct Mounts {
    known: Vec<Mount>,
    /// The version of every KV mount, if the user has set it.
    version: Option<KvVersion>,
}

impl Mounts {
    /// Finds out what must be known about these paths. Paths of KV v2's API below a mount of one
    /// segment need no question, and if the version is set, neither do any others.
    ///
    /// # Errors
    /// 69 or 76 if Vault could not be asked; a refusal is not an error.
    pub(crate) async fn learn(
        client: &Client,
        token: Option<&Secret>,
        questions: &[Question<'_>],
        version: Option<KvVersion>,
    ) -> Result<Mounts, Error> {
        let needs_mounts =
            version.is_none() && questions.iter().any(|question| !question.is_as_written());
        let mut known =
            if needs_mounts { list(client, token).await?.unwrap_or_default() } else { Vec::new() };
        let is_asked = |question: &&Question<'_>| offline(**question, version).is_none();
        let asked = questions.iter().filter(is_asked).map(|question| question.path).collect();
        look_up(client, token, asked, &mut known).await?;
        Ok(Mounts { known, version })
    }

    /// Returns what is read for a path.
    pub(crate) fn target(&self, question: Question<'_>) -> Target {
        offline(question, self.version)
            .unwrap_or_else(|| on_mount(question.path, above(question.path, &self.known)))
    }
}

/// Adds the mounts that the list lacks, because it is refused or a namespace precedes them. One
/// path below each first segment is asked for at once. Such paths mostly share a mount; those that
/// do not are asked for afterwards.
async fn look_up(
    client: &Client,
    token: Option<&Secret>,
    mut left: Vec<&Path>,
    mounts: &mut Vec<Mount>,
) -> Result<(), Error> {
    loop {
        left.retain(|path| above(path, mounts).is_none());
        let mut seen = HashSet::new();
        let (now, later): (Vec<&Path>, Vec<&Path>) = left
            .iter()
            .partition(|path| path.segments().next().is_some_and(|first| seen.insert(first)));
        if now.is_empty() {
            return Ok(());
        }
        let ask = async |path: &&Path| one(client, token, path).await;
        for found in in_parallel(client, &now, &ask).await {
            mounts.extend(found?);
        }
        left = later.into_iter().filter(|path| !now.contains(path)).collect();
    }
}

/// Returns what is read for a path, if that is clear without asking Vault.
pub(crate) fn offline(question: Question<'_>, version: Option<KvVersion>) -> Option<Target> {
    match version {
        _ if question.is_as_written() => Some(as_written(question.path)),
        Some(version) => Some(forced(question, version)),
        None => None,
    }
}

/// Returns the target for a path about which nothing more can be found out.
pub(crate) fn as_written(path: &Path) -> Target {
    let first = path.segments().next().map_or(0, str::len);
    let is_kv2 = path.is_like_kv2() || path.is_of_kv2_api(first);
    let engine = if is_kv2 { Engine::Kv(KvVersion::V2) } else { Engine::Unknown };
    Target { path: path.clone(), engine }
}

/// Returns the target if version 2 is set: the first segment is the mount, unless the user has
/// named it.
fn forced(question: Question<'_>, version: KvVersion) -> Target {
    Target {
        path: on_kv(question.path, question.likely_mount(), version),
        engine: Engine::Kv(version),
    }
}

/// Returns the path of a secret on a KV mount, with `data` in it unless it is already an API path.
fn on_kv(path: &Path, mount: usize, version: KvVersion) -> Path {
    if version == KvVersion::V1 || path.is_of_kv2_api(mount) {
        path.clone()
    } else {
        path.with_data_after(mount)
    }
}

fn above<'a>(path: &Path, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| is_below(path.as_str(), &mount.path));
    above.max_by_key(|mount| mount.path.len())
}

fn on_mount(path: &Path, mount: Option<&Mount>) -> Target {
    match mount {
        Some(Mount { path: mount, engine: engine @ Engine::Kv(version) }) => {
            Target { path: on_kv(path, mount.len(), *version), engine: *engine }
        }
        Some(Mount { engine, .. }) => Target { path: path.clone(), engine: *engine },
        None => as_written(path),
    }
}

fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns all mounts, or `None` if Vault refuses or does not have them.
async fn list(client: &Client, token: Option<&Secret>) -> Result<Option<Vec<Mount>>, Error> {
    let answer = asked(client, token, Space::Secrets, MOUNTS.to_owned()).await?;
    Ok(answer.filter(Answer::is_success).and_then(|answer| mounts(&answer.body.0)))
}

/// Returns the mount of one path, if Vault tells it.
async fn one(client: &Client, token: Option<&Secret>, path: &Path) -> Result<Option<Mount>, Error> {
    let namespace = client.namespace();
    let question = format!("{MOUNTS}/{}", path.encoded());
    let mut answer = asked(client, token, Space::Secrets, question).await?;
    let is_told = answer.as_ref().is_some_and(Answer::is_success);
    if let Some(namespace) = namespace.filter(|_| !is_told) {
        answer = from_root(client, token, namespace, path).await?.or(answer);
    }
    let answer = answer.filter(Answer::is_success);
    let data = answer.as_ref().and_then(|answer| answer.body.0.get("data"));
    Ok(data.and_then(|data| {
        mount(in_path(path.as_str(), data.get("path")?.as_str()?, namespace)?, data)
    }))
}

/// Returns the answer, or `None` if something in between keeps the question from Vault, such as an
/// ingress that lets nothing below `sys/` through.
async fn asked(
    client: &Client,
    token: Option<&Secret>,
    space: Space,
    path: String,
) -> Result<Option<Answer>, Error> {
    match ask(client, token, space, path).await {
        Err(error) if error.cause == Cause::Blocked => Ok(None),
        answer => answer.map(Some),
    }
}

/// Asks the same question in the root namespace. `OpenBao` reveals a mount in a namespace below
/// that of the request only to root tokens, but in the root namespace to everybody who may use the
/// mount. Whatever keeps tenants out of the root namespace may answer as it likes.
async fn from_root(
    client: &Client,
    token: Option<&Secret>,
    namespace: &str,
    path: &Path,
) -> Result<Option<Answer>, Error> {
    let Ok(namespace) = Path::parse(namespace) else { return Ok(None) };
    match ask(client, token, Space::Root, format!("{MOUNTS}/{}", namespace.join(path).encoded()))
        .await
    {
        Err(error) if error.code == Code::Protocol => Ok(None),
        asked => asked.map(Some),
    }
}

/// Returns the mount as it appears in a path, with the namespaces in front of it. A server may
/// leave out all of them, or include that of the request.
fn in_path<'a>(path: &'a str, mount: &str, namespace: Option<&str>) -> Option<&'a str> {
    let mount = mount.trim_end_matches('/');
    let below = namespace.and_then(|namespace| mount.strip_prefix(namespace)?.strip_prefix('/'));
    let in_namespace = format!("/{mount}");
    let is_mount =
        |front: &&str| *front == mount || Some(*front) == below || front.ends_with(&in_namespace);
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.filter_map(|end| path.get(..end)).find(is_mount)
}

async fn ask(
    client: &Client,
    token: Option<&Secret>,
    space: Space,
    path: String,
) -> Result<Answer, Error> {
    let what = format!("finding out the mounts ({path})");
    client
        .send(&Request {
            token,
            repeat: Repeat::Freely,
            space,
            what,
            ..Request::new(Method::GET, path)
        })
        .await
}

/// Returns the mounts in an answer, or `None` if it has another form.
pub fn mounts(body: &Value) -> Option<Vec<Mount>> {
    let secret = body.get("data")?.get("secret")?.as_object()?;
    Some(secret.iter().filter_map(|(path, description)| mount(path, description)).collect())
}

fn mount(path: &str, description: &Value) -> Option<Mount> {
    let version = description.pointer("/options/version").and_then(Value::as_str);
    let engine = match (description.get("type")?.as_str()?, version) {
        ("kv" | "generic", Some("2")) => Engine::Kv(KvVersion::V2),
        ("kv" | "generic" | "cubbyhole", _) => Engine::Kv(KvVersion::V1),
        _ => Engine::Other,
    };
    Some(Mount { path: path.trim_end_matches('/').to_owned(), engine })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(path: &str, mounts: &[Mount]) -> (String, Engine) {
        let path = Path::parse(path).expect("a path");
        let target = on_mount(&path, above(&path, mounts));
        (target.path.to_string(), target.engine)
    }

    #[test]
    fn the_longest_mount_above_a_path_decides() {
        let body = json!({"data": {"auth": {}, "secret": {
            "secret/": {"type": "kv", "options": {"version": "2"}},
            "secret/old/": {"type": "kv", "options": {"version": "1"}},
            "kv/": {"type": "kv", "options": null},
            "database/": {"type": "database", "options": {}},
            "odd/": {"options": {"version": "2"}},
        }}});
        let mounts = mounts(&body).expect("mounts");
        let (v1, v2) = (Engine::Kv(KvVersion::V1), Engine::Kv(KvVersion::V2));
        for (path, expected, engine) in [
            ("secret/app", "secret/data/app", v2),
            ("secret/a/b", "secret/data/a/b", v2),
            ("secret", "secret", v2),
            ("secret/data", "secret/data/data", v2),
            ("secret/metadata/app", "secret/metadata/app", v2),
            ("secret/subkeys/app", "secret/subkeys/app", v2),
            ("secret/team/data/app", "secret/data/team/data/app", v2),
            ("secret/old/data/app", "secret/old/data/app", v1),
            ("team/kv/data/app", "team/kv/data/app", v2),
            ("team/kv/app", "team/kv/app", Engine::Unknown),
            ("secrets/app", "secrets/app", Engine::Unknown),
            ("secret/old/app", "secret/old/app", v1),
            ("secret/older", "secret/data/older", v2),
            ("kv/app", "kv/app", v1),
            ("database/creds/r", "database/creds/r", Engine::Other),
            ("odd/x", "odd/x", Engine::Unknown),
        ] {
            assert_eq!(target(path, &mounts), (expected.into(), engine), "{path}");
        }
    }

    #[test]
    fn a_set_version_takes_the_first_segment_as_the_mount() {
        let path = Path::parse("team/a/b").expect("a path");
        let question = |mount| Question { path: &path, mount };
        assert_eq!(forced(question(None), KvVersion::V2).path.as_str(), "team/data/a/b");
        assert_eq!(
            forced(question(Some("team/a".len())), KvVersion::V2).path.as_str(),
            "team/a/data/b"
        );
        assert_eq!(forced(question(None), KvVersion::V1).path, path);
        for (path, mount, expected) in [
            ("kv/team/data/app", None, "kv/data/team/data/app"),
            ("team/kv/app", Some("team/kv".len()), "team/kv/data/app"),
        ] {
            let path = Path::parse(path).expect("a path");
            let two = forced(Question { path: &path, mount }, KvVersion::V2);
            assert_eq!((two.path.as_str(), two.engine), (expected, Engine::Kv(KvVersion::V2)));
            let one = forced(Question { path: &path, mount }, KvVersion::V1);
            assert_eq!((one.path, one.engine), (path.clone(), Engine::Kv(KvVersion::V1)));
        }
        // Setting a version is meant for paths other than these.
        let path = Path::parse("kv/data/app").expect("a path");
        for version in [None, Some(KvVersion::V1), Some(KvVersion::V2)] {
            let target = offline(Question { path: &path, mount: None }, version);
            assert_eq!(target, Some(as_written(&path)));
        }
    }

    #[test]
    fn a_mount_is_found_behind_a_namespace() {
        for (path, mount, expected) in [
            ("team/web/secret/app", "team/web/secret/", Some("team/web/secret")),
            ("team/web/secret/app", "secret/", Some("team/web/secret")),
            ("team/secret", "secret/", Some("team/secret")),
            ("team/secrets/app", "secret/", None),
            ("team/kv/secret/kv/secret/app", "kv/secret/", Some("team/kv/secret")),
            ("secret/app", "secret/", Some("secret")),
            ("team/my-secret/app", "secret/", None),
            ("web/secret/app", "other/team/web/secret/", None),
        ] {
            assert_eq!(in_path(path, mount, None), expected, "{path} {mount}");
            assert_eq!(in_path(path, mount, Some("org")), expected, "{path} {mount} in org");
        }
        for (path, mount, expected) in [
            ("web/secret/app", "org/web/secret/", Some("web/secret")),
            ("web/secret/app", "web/secret/", Some("web/secret")),
            ("secret/app", "secret/", Some("secret")),
            ("org/kv/app", "org/kv/", Some("org/kv")),
            ("web/secret/app", "organ/web/secret/", None),
        ] {
            assert_eq!(in_path(path, mount, Some("org")), expected, "{path} {mount} in org");
        }
    }

    #[test]
    fn a_body_of_another_shape_tells_nothing() {
        for body in [json!(null), json!({"data": null}), json!({"data": {"secret": []}})] {
            assert_eq!(mounts(&body), None);
        }
    }
}
