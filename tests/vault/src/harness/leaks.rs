//! Checks that nothing leaks: with `VAULT_EXEC_LEAKS=1` every credential and value that a start is
//! given or gets is recorded here, and its requests to servers are searched for all of them.
//! Whoever runs a start searches its output.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::harness::operator::USER_AGENT;
use crate::harness::record::Recorded;

/// Anything shorter could appear anywhere by accident.
const SHORTEST: usize = 12;

/// RFC 3986: the characters that need no encoding.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a start must not reveal: its credentials and what it fetches, each in the forms in which it
/// could be written.
#[derive(Default)]
pub struct Marks {
    /// The parts of all forms, by their first bytes.
    parts: HashMap<[u8; SHORTEST], Vec<Part>>,
    known: HashSet<String>,
}

struct Part {
    bytes: Vec<u8>,
    name: String,
}

impl Marks {
    /// Records a credential or a value. A finding is reported under `name`.
    pub fn add(&mut self, name: &str, value: &str) {
        let value = value.trim();
        if value.len() < SHORTEST || !self.known.insert(value.to_owned()) {
            return;
        }
        for form in forms(value) {
            for bytes in parts(form.as_bytes()) {
                let Some(beginning) = bytes.first_chunk() else { continue };
                let part = Part { bytes: bytes.to_vec(), name: name.to_owned() };
                self.parts.entry(*beginning).or_default().push(part);
            }
        }
    }

    /// Returns the name and the part for every part that a text contains.
    pub fn find(&self, text: &[u8]) -> BTreeSet<String> {
        let begins = text.windows(SHORTEST).enumerate();
        let here = begins.filter_map(|(at, beginning)| Some((at, self.parts.get(beginning)?)));
        let found = here.flat_map(|(at, parts)| {
            parts.iter().filter(move |part| text[at..].starts_with(&part.bytes))
        });
        found
            .map(|part| format!("{} ({})", part.name, String::from_utf8_lossy(&part.bytes)))
            .collect()
    }
}

/// Returns the value as it is, and as it appears in JSON, URLs, forms, base64 and hexadecimal.
fn forms(value: &str) -> HashSet<String> {
    let json = Value::from(value).to_string();
    let mut forms = HashSet::from([value.to_owned(), json.trim_matches('"').to_owned()]);
    forms.extend(
        [NON_ALPHANUMERIC, RESERVED].map(|set| utf8_percent_encode(value, set).to_string()),
    );
    forms.extend((0..3).flat_map(|before| {
        [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|base64| within(value, before, &base64))
    }));
    forms.insert(
        value
            .bytes()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect(),
    );
    forms
}

/// Returns the base64 of a value with this many bytes before it, without the characters that also
/// depend on its neighbours.
fn within(value: &str, before: usize, base64: &impl Engine) -> String {
    let bytes = [&[0; 2][..before], value.as_bytes()].concat();
    let encoded = base64.encode(&bytes);
    let end = usize::from(!bytes.len().is_multiple_of(3));
    encoded[[0, 2, 3][before]..encoded.len() - end].to_owned()
}

/// Returns up to three parts, so that a piece of a value is found, too.
fn parts(form: &[u8]) -> impl Iterator<Item = &[u8]> {
    let count = (form.len() / SHORTEST).clamp(1, 3);
    let length = form.len() / count;
    (0..count).map(move |number| {
        &form[number * length..if number + 1 == count { form.len() } else { (number + 1) * length }]
    })
}

#[derive(Default)]
struct Register {
    marks: Marks,
    /// Requests to servers that contained a mark.
    leaked: Vec<String>,
}

fn register() -> MutexGuard<'static, Register> {
    static REGISTER: LazyLock<Mutex<Register>> = LazyLock::new(Mutex::default);
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns whether leaks are searched for.
pub fn are_sought() -> bool {
    static SOUGHT: LazyLock<bool> =
        LazyLock::new(|| env::var_os("VAULT_EXEC_LEAKS").is_some_and(|value| value == "1"));
    *SOUGHT
}

/// Records a credential or a value of this process's tests.
pub fn mark(name: &str, value: &str) {
    // A reference is not a credential, whatever the variable is called.
    if are_sought() && !value.contains("vault:") && !value.contains("bao:") {
        register().marks.add(name, value);
    }
}

/// Declares a text that is not secret, although a test has a secret with the same text. Call it
/// before that secret is recorded.
pub fn publish(text: &str) {
    register().marks.known.insert(text.to_owned());
}

/// Records all texts in a JSON value.
pub(crate) fn mark_all(name: &str, value: &Value) {
    match value {
        Value::String(text) => mark(name, text),
        Value::Array(items) => items.iter().for_each(|item| mark_all(name, item)),
        // The error of one item among many is shown to whoever asked.
        Value::Object(fields) => {
            fields
                .iter()
                .filter(|(field, _)| *field != "error")
                .for_each(|(_, field)| mark_all(name, field));
        }
        _ => {}
    }
}

/// Fails if a text contains anything that this process's tests have recorded.
pub fn assert_none_in(what: &str, text: &[u8]) {
    if are_sought() {
        let register = register();
        let found = register.marks.find(text);
        drop(register);
        assert!(
            found.is_empty(),
            "a leak of {found:?} in {what}: {}",
            String::from_utf8_lossy(text)
        );
    }
}

/// Fails if any server received a request with something in it that does not belong there.
pub fn assert_none_asked() {
    if are_sought() {
        let leaked = register().leaked.clone();
        assert!(leaked.is_empty(), "{leaked:#?}");
    }
}

/// The fields that a login sends to Vault.
const CREDENTIALS: [&str; 5] = ["role_id", "secret_id", "jwt", "password", "token"];

/// Searches the URL of a request and its headers, except those that carry a credential, and records
/// what is new in it.
pub(crate) fn asked(request: &Recorded, carriers: &[&str]) {
    if !are_sought() || request.header("user-agent") == Some(USER_AGENT) {
        return;
    }
    let token = request.token().unwrap_or_default();
    let others = request.headers.iter().filter(|(name, _)| !carriers.contains(&name.as_str()));
    let headers = others
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    seen(&format!("{}\n{}", request.line(), headers.collect::<String>()));
    mark("token", token);
    if request.path.ends_with("/login") {
        let body = request.json();
        CREDENTIALS
            .iter()
            .filter_map(|name| Some((name, body[name].as_str()?)))
            .for_each(|(name, text)| mark(name, text));
    }
}

/// Searches what a server or a proxy saw, where no credential belongs.
pub fn seen(text: &str) {
    if !are_sought() {
        return;
    }
    let mut register = register();
    let found = register.marks.find(text.as_bytes());
    if !found.is_empty() {
        register.leaked.push(format!("a leak of {found:?} in what a server was asked: {text}"));
    }
}

/// Records what an answer from Vault hands out; `path` is the part after `/v1/`.
pub(crate) fn answered(path: &str, answer: &Value) {
    if !are_sought() {
        return;
    }
    for token in ["/auth/client_token", "/wrap_info/token"] {
        mark("token", answer.pointer(token).and_then(Value::as_str).unwrap_or_default());
    }
    let is_of = |name: &str| path.split('/').any(|segment| segment == name);
    let Some(data) = answer["data"].as_object() else { return };
    if is_of("auth") || is_of("sys") {
        let handed_out =
            CREDENTIALS.iter().filter_map(|name| Some((name, data.get(*name)?.as_str()?)));
        handed_out.for_each(|(name, text)| mark(name, text));
    } else if is_of("data") {
        // An answer of KV v2, which has the creation time of a version beside the data; the answer
        // to a write has nothing else.
        mark_all("value", data.get("data").unwrap_or(&Value::Null));
    } else if !is_of("metadata") && !data.contains_key("keys") {
        mark_all("value", &answer["data"]);
    }
}
