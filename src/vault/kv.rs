//! Decides what the answer to a read means: a secret's data, or that it is not there (pure).

use serde_json::{Map, Value};

use crate::error::{Cause, Code, Error};
use crate::grammar::mount::KvVersion;
use crate::vault::answer::{Answer, Meaning};
use crate::vault::document::{Document, Found, Lease};

/// Interprets the answer to a read of `version`, 2xx or 404. `known` is the version of the mount,
/// if it is known.
///
/// # Errors
/// 66 for a secret or a version that does not exist, 76 for a body without data, 78 for a version
/// of a secret that has no versions.
pub fn understand(
    answer: Answer,
    version: Option<u64>,
    known: Option<KvVersion>,
) -> Result<Found, Error> {
    if answer.status == 404 {
        return Err(missing(&answer, version));
    }
    let lease = lease(&answer.body.0);
    let mut body = match answer.body.0 {
        Value::Object(body) => body,
        Value::Null => return Err(nothing()),
        _ => return Err(not_vaults("the answer is no object")),
    };
    match body.remove("data") {
        Some(Value::Object(data)) if known != Some(KvVersion::V1) && is_kv2(&data) => {
            kv2(data, version, lease)
        }
        Some(Value::Object(data)) if version.is_some() && version != version_of(&data) => {
            Err(no_versions())
        }
        Some(Value::Object(data)) => {
            Ok(Found { document: Document::new(data), version: None, lease })
        }
        Some(Value::Null) => Err(nothing()),
        Some(_) => Err(not_vaults("the answer has data that is no object")),
        None => Err(not_vaults("the answer has no data")),
    }
}

/// Returns the error for a version of something that keeps no versions.
pub(crate) fn no_versions() -> Error {
    Error::config("a version of a secret that has no versions")
        .hint("only KV v2 keeps versions; leave #version out")
}

/// Returns whether `data` consists exactly of `data` and of `metadata` with a `version`. A KV v1
/// secret may well have a field called `data`, but that is rarely an object.
fn is_kv2(data: &Map<String, Value>) -> bool {
    let is_secret = data.get("data").is_some_and(|data| data.is_object() || data.is_null());
    data.len() == 2 && is_secret && version_of(data).is_some()
}

/// Returns the version in the metadata of a secret or of its subkeys.
fn version_of(data: &Map<String, Value>) -> Option<u64> {
    data.get("metadata").and_then(|metadata| metadata.get("version")).and_then(Value::as_u64)
}

fn kv2(
    mut data: Map<String, Value>,
    version: Option<u64>,
    lease: Option<Lease>,
) -> Result<Found, Error> {
    let metadata = data.remove("metadata").unwrap_or_default();
    let got = metadata.get("version").and_then(Value::as_u64);
    match data.remove("data") {
        Some(Value::Object(_)) if version.is_some() && version != got => {
            Err(not_vaults("the answer has another version than was asked for"))
        }
        Some(Value::Object(document)) => {
            Ok(Found { document: Document::new(document), version: got, lease })
        }
        _ => Err(gone(&metadata)),
    }
}

fn missing(answer: &Answer, version: Option<u64>) -> Error {
    let metadata = answer.body.0.pointer("/data/metadata");
    if let Some(metadata) = metadata.filter(|metadata| metadata.is_object()) {
        return gone(metadata);
    }
    if answer.meaning == Meaning::WithoutData {
        return Error::new(
            Code::Missing,
            "no secret there: the mount is KV v2, whose paths have data/ after the mount",
        )
        .hint("write vault:MOUNT/data/PATH#KEY, or set --kv-version 2");
    }
    let words = answer.words();
    if answer.meaning == Meaning::SecondV1 {
        return Error::new(Code::Missing, words)
            .because(Cause::SecondV1)
            .hint("leave v1/ out of the path, and out of VAULT_ADDR");
    }
    if answer.meaning == Meaning::NoMount {
        return Error::new(Code::Missing, words).because(Cause::NoMount).hint(
            "nothing is mounted where this path begins: `vault secrets list` shows the mounts. A \
             namespace is set with --namespace",
        );
    }
    if !words.is_empty() {
        return Error::new(Code::Missing, words).hint("is the secrets engine mounted there?");
    }
    match version {
        Some(version) => {
            Error::new(Code::Missing, format!("no version {version} of a secret there")).hint(
                "`vault kv metadata get` lists the versions; leave #VERSION out for the latest",
            )
        }
        None => Error::new(Code::Missing, "no secret there").because(Cause::NoSecret),
    }
}

/// Returns the error for a version that was deleted or destroyed.
fn gone(metadata: &Value) -> Error {
    let version = metadata.get("version").and_then(Value::as_u64).unwrap_or_default();
    if metadata.get("destroyed") == Some(&Value::Bool(true)) {
        return Error::new(Code::Missing, format!("version {version} is destroyed")).hint(
            "it cannot come back: name another version with #VERSION, or write the secret again",
        );
    }
    let is_of_time = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | '+' | 'T' | 'Z');
    let time = metadata.get("deletion_time").and_then(Value::as_str).unwrap_or_default();
    let time = if time.chars().all(is_of_time) { time } else { "" };
    let time = if time.is_empty() { String::new() } else { format!(" at {time}") };
    Error::new(Code::Missing, format!("version {version} was deleted{time}"))
        .hint("undelete it, or name another version with #VERSION")
}

fn not_vaults(what: &str) -> Error {
    Error::new(Code::Protocol, what)
        .hint("is the address that of Vault's API, and is it Vault that answers there?")
}

fn nothing() -> Error {
    Error::new(Code::Missing, "an answer without data")
}

fn lease(body: &Value) -> Option<Lease> {
    let id = body.get("lease_id").and_then(Value::as_str).filter(|id| !id.is_empty())?;
    Some(Lease {
        id: id.to_owned(),
        duration: body.get("lease_duration").and_then(Value::as_u64).unwrap_or_default(),
        renewable: body.get("renewable").and_then(Value::as_bool).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::redact::Redactor;
    fn read(status: u16, body: Value, version: Option<u64>) -> Result<Found, Error> {
        understand_known(status, body, version, None)
    }

    fn understand_known(
        status: u16,
        body: Value,
        version: Option<u64>,
        known: Option<KvVersion>,
    ) -> Result<Found, Error> {
        understand(Answer::new(status, body, &Redactor::default()), version, known)
    }

    fn value(body: Value, key: &str) -> Option<String> {
        let found = read(200, body, None).expect("found");
        found.document.get(key).and_then(|value| value.expose_text().map(str::to_owned))
    }

    fn code(status: u16, body: Value, version: Option<u64>) -> (u8, String) {
        let error = read(status, body, version).expect_err("an error");
        (error.code.status(), error.message)
    }

    #[test]
    fn version_two_has_its_data_one_level_down() {
        let body = json!({"data": {"data": {"k": "v"}, "metadata": {"version": 2}}});
        assert_eq!(value(body, "k").as_deref(), Some("v"));
    }

    #[test]
    fn a_secret_of_version_one_may_have_fields_called_data_and_metadata() {
        for data in [
            json!({"data": "x"}),
            json!({"data": "x", "metadata": "y"}),
            json!({"data": "x", "metadata": {"version": "1"}}),
            json!({"data": "x", "metadata": {"version": 1}, "more": 1}),
            json!({"data": "x", "metadata": {"version": 1}}),
        ] {
            assert_eq!(value(json!({ "data": data }), "data").as_deref(), Some("x"), "{data}");
        }
    }

    #[test]
    fn what_is_known_to_be_version_one_is_never_taken_for_version_two() {
        for (data, text) in [(json!({"x": 1}), r#"{"x":1}"#), (json!(null), ""), (json!("x"), "x")]
        {
            let body = json!({"data": {"data": data, "metadata": {"version": 1}}});
            let found = understand_known(200, body, None, Some(KvVersion::V1)).expect("found");
            let value = found.document.get("data").expect("a field");
            assert_eq!((value.expose_text(), found.version), (Some(text), None));
        }
    }

    #[test]
    fn subkeys_have_a_version_and_are_no_secret_of_version_two() {
        let body = json!({"data": {"subkeys": {"k": null}, "metadata": {"version": 2}}});
        for version in [None, Some(2)] {
            let found = read(200, body.clone(), version).expect("found");
            assert!(found.document.get("/subkeys/k").is_some());
        }
        assert_eq!(code(200, body, Some(1)).0, 78);
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let deleted = json!({"data": {"data": null, "metadata": {"version": 3, "deletion_time": "2026-01-01T00:00:00Z", "destroyed": false}}});
        let destroyed = json!({"data": {"data": null, "metadata": {"version": 3, "deletion_time": "", "destroyed": true}}});
        let forgot = json!({"data": null, "warnings": ["Invalid path for a versioned K/V secrets engine. See"]});
        let with_v1 =
            json!({"errors": ["no handler for route \"v1/secret/x\". route entry not found."]});
        let unmounted = json!({"errors": ["no handler for route \"x/y\". route entry not found."]});
        for (status, body, version, part) in [
            (404, deleted.clone(), None, "version 3 was deleted at 2026-01-01T00:00:00Z"),
            (200, deleted, None, "version 3 was deleted"),
            (404, destroyed, None, "version 3 is destroyed"),
            (404, forgot, None, "data/"),
            (404, unmounted, None, "no handler"),
            (404, with_v1, None, "no handler"),
            (404, json!({"errors": []}), None, "no secret"),
            (404, json!({"errors": []}), Some(7), "no version 7"),
            (204, Value::Null, None, "without data"),
            (200, json!({"data": null}), None, "without data"),
        ] {
            let (code, message) = code(status, body, version);
            assert!(code == 66 && message.contains(part), "{code} {message}");
        }
    }

    #[test]
    fn a_version_of_what_has_none_is_a_wrong_reference() {
        assert_eq!(code(200, json!({"data": {"k": "v"}}), Some(1)).0, 78);
    }

    #[test]
    fn another_version_than_was_asked_for_is_no_answer() {
        let body = json!({"data": {"data": {"k": "v"}, "metadata": {"version": 2}}});
        assert_eq!(code(200, body.clone(), Some(1)).0, 76);
        assert!(read(200, body, Some(2)).is_ok());
    }

    #[test]
    fn a_body_of_another_shape_is_no_answer_of_vaults() {
        for body in [json!({"data": [1]}), json!({}), json!([1]), json!("text")] {
            assert_eq!(code(200, body, None).0, 76);
        }
    }

    #[test]
    fn a_lease_is_one_with_an_id() {
        let body = json!({"data": {"k": "v"}, "lease_id": "database/creds/r/x", "lease_duration": 60, "renewable": true});
        let lease = read(200, body, None).expect("found").lease.expect("a lease");
        assert_eq!(
            (lease.id.as_str(), lease.duration, lease.renewable),
            ("database/creds/r/x", 60, true)
        );
        assert_eq!(
            read(200, json!({"data": {}, "lease_id": "", "lease_duration": 60}), None)
                .expect("found")
                .lease,
            None
        );
    }
}
