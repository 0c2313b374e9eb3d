//! Any answer is judged, and understood as whatever may have been asked for; no message and no
//! `Debug` has a value of it.
//!
//! The first line of an input is the status, `Retry-After` and a number that was asked for (a
//! version, a batch's size); the rest is the body.

use serde_json::Value;
use vault_exec::door::error::{Code, Error};
use vault_exec::door::grammar::path::Path;
use vault_exec::door::http::answers::Budget;
use vault_exec::door::http::redact::Redactor;
use vault_exec::door::login::wrapping;
use vault_exec::door::vault::answer::{Answer, Raw, Verdict, judge};
use vault_exec::door::vault::kv;
use vault_exec::door::vault::lookup;
use vault_exec::door::vault::mounts;
use vault_exec::door::vault::session::Session;
use vault_exec::door::vault::transit;

const MARK: &str = "S3CR3T";

/// What stands in answers beside secrets, and may stand in messages.
const PUBLIC: [&str; 9] = [
    "metadata",
    "mfa_requirement",
    "token_type",
    "policies",
    "type",
    "options",
    "error",
    "path",
    "creation_path",
];

pub(crate) fn settles(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) =
        (String::from_utf8_lossy(&bytes[..end]), bytes.get(end + 1..).unwrap_or_default());
    let mut words = head.split(' ');
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(200);
    let retry_after = words.next();
    let number = words.next().and_then(|word| word.parse().ok());
    judged(&Raw { status, retry_after, bytes: body }, number);
    if !bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes()) {
        let marked =
            serde_json::from_slice(body).map(|body: Value| marked(body).to_string().into_bytes());
        let errors = marked.map(|body| judged(&Raw { status, retry_after, bytes: &body }, number));
        let shown = format!("{:?}", errors.unwrap_or_default());
        assert!(!shown.contains(MARK), "{shown}");
    }
}

/// All that is said of an answer, whatever was asked.
fn judged(raw: &Raw<'_>, number: Option<u64>) -> Vec<String> {
    let is_sound = |error: &Error| {
        assert!(error.message.len() < 4096 && !error.message.contains('\n'), "{error}");
    };
    match judge(raw, &Redactor::default(), &Budget::default()) {
        Verdict::Answered(_) => answered(raw, number),
        Verdict::NotDone { error, .. }
        | Verdict::Unknown(error)
        | Verdict::RefusedLogin(_, error) => {
            is_sound(&error);
            assert_eq!(error.code, Code::Unavailable);
            vec![format!("{error:?}")]
        }
        Verdict::Final(error) => {
            is_sound(&error);
            assert!(matches!(error.code, Code::Unavailable | Code::Protocol | Code::Config));
            vec![format!("{error:?}")]
        }
    }
}

fn answered(raw: &Raw<'_>, number: Option<u64>) -> Vec<String> {
    let answer = || match judge(raw, &Redactor::default(), &Budget::default()) {
        Verdict::Answered(answer) => answer,
        other => panic!("another verdict: {other:?}"),
    };
    let first = answer();
    assert!(matches!(first.status, 200..300 | 400..500));
    redacted(&first);
    let mut shown = vec![format!("{first:?}"), first.refusal()];
    if first.is_success() || first.status == 404 {
        shown.push(read(answer(), number));
    }
    if first.is_success() {
        shown.extend([logged_in(&first), wrapped(&first)]);
        shown.push(format!("{:?}", mounts::mounts(&first.body.0)));
    }
    shown.push(decrypted(&first, number));
    shown
}

/// Vault's words come without a credential that they quote.
fn redacted(answer: &Answer) {
    let words = answer.words();
    assert!(words.len() <= 504 && !words.contains('\n'));
    let Some(credential) = words.split(' ').max_by_key(|word| word.len()) else { return };
    let is_long = credential.chars().count() >= 8;
    if is_long && !credential.contains(['[', ']']) && !"[redacted]".contains(credential) {
        let redactor = Redactor::default();
        redactor.add(&credential.into());
        assert!(!redactor.clean(&words).contains(credential), "{words}");
    }
}

fn read(answer: Answer, version: Option<u64>) -> String {
    let found = match kv::understand(answer, version, None) {
        Ok(found) => found,
        Err(error) => {
            assert!(matches!(error.code, Code::Missing | Code::Protocol | Code::Config));
            return format!("{error:?}");
        }
    };
    assert!(version.is_none() || found.version == version);
    for (key, value) in found.document.entries() {
        assert_eq!(found.document.get(key), Some(value));
    }
    format!("{found:?}")
}

fn logged_in(answer: &Answer) -> String {
    let session = match Session::of_login(answer, Vec::new()) {
        Ok(session) => session,
        Err(error) => return format!("{error:?}"),
    };
    is_usable(&session);
    assert!(lookup::understand(&answer.body.0).is_none_or(|ttl| !ttl.is_zero()));
    format!("{session:?}")
}

fn is_usable(session: &Session) {
    let token = session.token.as_ref().expect("a token").expose();
    assert!(!token.is_empty() && token.iter().all(u8::is_ascii_graphic));
    assert!(
        session.is_own && session.uses != Some(0) && session.ttl.is_none_or(|ttl| !ttl.is_zero())
    );
}

fn wrapped(answer: &Answer) -> String {
    match wrapping::secret_id(&answer.body.0) {
        Ok(secret_id) => {
            assert!(!secret_id.trimmed().is_empty());
            format!("{secret_id:?}")
        }
        Err(error) => {
            assert_eq!(error.code, Code::Protocol);
            format!("{error:?}")
        }
    }
}

fn decrypted(answer: &Answer, number: Option<u64>) -> String {
    let wanted = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1);
    let Some(results) = transit::results(answer, wanted) else { return String::new() };
    assert_eq!(results.len(), wanted);
    let (redactor, path) = (Redactor::default(), Path::constant("transit/decrypt/key"));
    let plaintexts = results.into_iter().map(|result| transit::plaintext(&redactor, &path, result));
    format!("{:?}", plaintexts.collect::<Vec<_>>())
}

/// A body with a mark in every text that may be a secret.
fn marked(mut body: Value) -> Value {
    for name in ["data", "auth", "wrap_info"] {
        if let Some(value) = body.get_mut(name) {
            mark(value);
        }
    }
    body
}

fn mark(value: &mut Value) {
    match value {
        Value::String(text) => text.insert_str(0, MARK),
        Value::Array(list) => list.iter_mut().for_each(mark),
        Value::Object(map) => {
            map.iter_mut()
                .filter(|(name, _)| !PUBLIC.contains(&name.as_str()))
                .for_each(|(_, value)| mark(value));
        }
        _ => {}
    }
}
