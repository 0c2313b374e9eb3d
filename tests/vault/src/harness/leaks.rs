//! Nothing leaks: with `VAULT_EXEC_LEAKS=1` every credential and value that a start is given or
//! gets is written down here, and what it asks the servers for is searched for all of them. Whoever
//! starts it searches what it says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::harness::operator::USER_AGENT;
use crate::harness::record::Recorded;

/// What is shorter may stand anywhere by accident.
const SHORTEST: usize = 12;

/// RFC 3986: what nobody has to encode.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a start must not let out: its credentials and what it fetches, each in the forms in which
/// it could be written.
#[derive(Default)]
pub struct Marks {
    /// The parts of all forms by how they begin.
    parts: HashMap<[u8; SHORTEST], Vec<Part>>,
    known: HashSet<String>,
}

struct Part {
    bytes: Vec<u8>,
    name: String,
}

impl Marks {
    /// Writes a credential or a value down. `name` is what a finding is called.
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

    /// All of which a part stands in a text: the name and the part.
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

/// As it is, and as JSON, URLs, forms, base64 and hexadecimal numbers have it.
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

/// What base64 makes of a value with this many bytes before it, without the characters that its
/// neighbours have a part in.
fn within(value: &str, before: usize, base64: &impl Engine) -> String {
    let bytes = [&[0; 2][..before], value.as_bytes()].concat();
    let encoded = base64.encode(&bytes);
    let end = usize::from(!bytes.len().is_multiple_of(3));
    encoded[[0, 2, 3][before]..encoded.len() - end].to_owned()
}

/// Up to three parts, so that a piece of a value is found, too.
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
    /// What servers were asked with a mark in it.
    leaked: Vec<String>,
}

fn register() -> MutexGuard<'static, Register> {
    static REGISTER: LazyLock<Mutex<Register>> = LazyLock::new(Mutex::default);
    REGISTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether leaks are looked for.
pub fn are_sought() -> bool {
    static SOUGHT: LazyLock<bool> =
        LazyLock::new(|| env::var_os("VAULT_EXEC_LEAKS").is_some_and(|value| value == "1"));
    *SOUGHT
}

/// Writes a credential or a value of this process's tests down.
pub fn mark(name: &str, value: &str) {
    // A reference is none, whatever the variable is called.
    if are_sought() && !value.contains("vault:") && !value.contains("bao:") {
        register().marks.add(name, value);
    }
}

/// What is no secret, although a test has one that says the same: it must be told before.
pub(crate) fn publish(text: &str) {
    register().marks.known.insert(text.to_owned());
}

/// Writes all texts in a JSON value down.
pub(crate) fn mark_all(name: &str, value: &Value) {
    match value {
        Value::String(text) => mark(name, text),
        Value::Array(items) => items.iter().for_each(|item| mark_all(name, item)),
        // What is wrong with one of many is said to whoever asked.
        Value::Object(fields) => {
            fields
                .iter()
                .filter(|(field, _)| *field != "error")
                .for_each(|(_, field)| mark_all(name, field));
        }
        _ => {}
    }
}

/// Fails where a text has any of what this process's tests have written down.
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

/// Fails where any server was asked with something in the request that does not belong there.
pub fn assert_none_asked() {
    if are_sought() {
        let leaked = register().leaked.clone();
        assert!(leaked.is_empty(), "{leaked:#?}");
    }
}

/// What a login tells Vault.
const CREDENTIALS: [&str; 5] = ["role_id", "secret_id", "jwt", "password", "token"];

/// Searches the URL and the headers of a request but those that carry a credential, and writes what
/// is new in it down.
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

/// Searches what a server or a proxy saw, in which no credential has its place.
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

/// Writes down what an answer of Vault's hands out; `path` is what follows `/v1/`.
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
        // Of KV v2, which has the time of a version beside it; what is written has nothing else.
        mark_all("value", data.get("data").unwrap_or(&Value::Null));
    } else if !is_of("metadata") && !data.contains_key("keys") {
        mark_all("value", &answer["data"]);
    }
}
