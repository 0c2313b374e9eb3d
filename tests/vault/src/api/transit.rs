//! Transit: keys that never leave the server, and what they encrypt and decrypt.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{self, SystemRandom};
use serde_json::{Map, Value, json};

use crate::api::clock;
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::kv1::keys_below;
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

/// One version of a key.
struct Version {
    created: u64,
    key: LessSafeKey,
}

impl Version {
    fn new() -> Self {
        let key =
            UnboundKey::new(&AES_256_GCM, &random::<32>()).expect("a key of the right length");
        Self { created: clock::unix(SystemTime::now()), key: LessSafeKey::new(key) }
    }

    fn seal(&self, mut content: Vec<u8>) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(sealing, Aad::empty(), &mut content)
            .expect("a short plaintext");
        [nonce.as_slice(), &content].concat()
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, content) =
            sealed.split_at_checked(NONCE_LEN).ok_or("invalid ciphertext length")?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce of the right length");
        let mut content = content.to_vec();
        let plaintext = self.key.open_in_place(nonce, Aad::empty(), &mut content);
        plaintext
            .map(|text| text.to_vec())
            .map_err(|_| "cipher: message authentication failed".to_owned())
    }
}

fn random<const LENGTH: usize>() -> [u8; LENGTH]
where
    [u8; LENGTH]: rand::RandomlyConstructable,
{
    rand::generate(&SystemRandom::new()).expect("the system's random numbers").expose()
}

/// A key's versions, of which the first is number 1.
struct Key(Vec<Version>);

impl Key {
    fn new() -> Self {
        Self(vec![Version::new()])
    }

    fn encrypt(&self, plaintext: &str) -> Result<Value, String> {
        let plaintext =
            STANDARD.decode(plaintext).map_err(|error| illegal_base64(plaintext, &error))?;
        let number = self.0.len();
        let sealed = STANDARD.encode(self.0[number - 1].seal(plaintext));
        Ok(json!({ "ciphertext": format!("vault:v{number}:{sealed}"), "key_version": number }))
    }

    fn decrypt(&self, ciphertext: &str) -> Result<Value, String> {
        if ciphertext.is_empty() {
            return Err(DECRYPT.missing.to_owned());
        }
        let rest = ciphertext.strip_prefix("vault:v").ok_or("invalid ciphertext: no prefix")?;
        let (number, sealed) =
            rest.split_once(':').ok_or("invalid ciphertext: wrong number of fields")?;
        let number: usize = number
            .parse()
            .map_err(|_| "invalid ciphertext: version number could not be decoded")?;
        // Version 0 is from before there were versions.
        let version =
            self.0.get(number.max(1) - 1).ok_or("invalid ciphertext: version is too new")?;
        let sealed =
            STANDARD.decode(sealed).map_err(|_| "invalid ciphertext: could not decode base64")?;
        Ok(json!({ "plaintext": STANDARD.encode(version.open(&sealed)?) }))
    }

    fn describe(&self, name: &str) -> Answer {
        let created = self
            .0
            .iter()
            .enumerate()
            .map(|(at, version)| ((at + 1).to_string(), version.created.into()));
        let keys: Map<String, Value> = created.collect();
        Answer::data(json!({
            "allow_plaintext_backup": false, "auto_rotate_period": 0, "deletion_allowed": false, "derived": false,
            "exportable": false, "imported_key": false, "keys": keys, "latest_version": self.0.len(),
            "min_available_version": 0, "min_decryption_version": 1, "min_encryption_version": 0, "name": name,
            "soft_deleted": false, "supports_decryption": true, "supports_derivation": true,
            "supports_encryption": true, "supports_signing": false, "type": "aes256-gcm96",
        }))
    }
}

/// Returns Go's error for text that is not base64.
pub(crate) fn illegal_base64(text: &str, error: &DecodeError) -> String {
    let at = match error {
        DecodeError::InvalidByte(at, _) => *at,
        _ => text.len() / 4 * 4,
    };
    format!("illegal base64 data at input byte {at}")
}

/// What is done to one item, on its own or in a batch.
struct Action {
    input: &'static str,
    missing: &'static str,
    apply: fn(&Key, &str) -> Result<Value, String>,
    failed: fn(&str) -> Value,
}

const ENCRYPT: Action = Action {
    input: "plaintext",
    missing: "missing plaintext to encrypt",
    apply: Key::encrypt,
    failed: |error| json!({ "error": error }),
};

const DECRYPT: Action = Action {
    input: "ciphertext",
    missing: "missing ciphertext to decrypt",
    apply: Key::decrypt,
    failed: |error| json!({ "error": error, "plaintext": "" }),
};

impl Action {
    /// Returns the items of a request: one item, or those of its batch.
    fn items(&self, request: &Request) -> Result<Vec<Map<String, Value>>, Failure> {
        match request.body.get("batch_input").filter(|batch| !batch.is_null()) {
            None if request.text(self.input).is_some() => Ok(vec![request.body.clone()]),
            None => Err(Failure::bad_request(self.missing)),
            Some(Value::Array(items)) if items.is_empty() => {
                Err(Failure::bad_request("missing batch input to process"))
            }
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(at, item)| self.item(at, item)).collect()
            }
            Some(other) => Err(unparsable(&format!(
                "source data must be an array or slice, got {}",
                go_type(other)
            ))),
        }
    }

    fn item(&self, at: usize, item: &Value) -> Result<Map<String, Value>, Failure> {
        let Value::Object(fields) = item else {
            return Err(unparsable(&format!("[{at}] expected a map, got '{}'", go_type(item))));
        };
        let wrong = match fields.get(self.input) {
            Some(Value::String(_)) => return Ok(fields.clone()),
            Some(other) => {
                format!("expected type 'string', got unconvertible type '{}'", go_type(other))
            }
            None => self.missing.to_owned(),
        };
        Err(unparsable(&format!("'[{at}].{}' {wrong}", self.input)))
    }

    fn apply(&self, key: &Key, item: &Map<String, Value>) -> Result<Value, String> {
        (self.apply)(key, item[self.input].as_str().unwrap_or_default())
    }

    fn run(&self, key: &Key, request: &Request, items: &[Map<String, Value>]) -> Outcome {
        if request.body.get("batch_input").is_none_or(Value::is_null) {
            return self.apply(key, &items[0]).map(Answer::data).map_err(Failure::bad_request);
        }
        let results: Vec<_> = items.iter().map(|item| self.apply(key, item)).collect();
        let status = status(&results, request);
        let results: Vec<Value> = results
            .into_iter()
            .zip(items)
            .map(|(result, item)| self.result(result, item))
            .collect();
        Ok(Answer::data(json!({ "batch_results": results })).with_status(status))
    }

    fn result(&self, result: Result<Value, String>, item: &Map<String, Value>) -> Value {
        let mut result = result.unwrap_or_else(|error| (self.failed)(&error));
        result["reference"] = item.get("reference").cloned().unwrap_or_else(|| "".into());
        result
    }
}

fn unparsable(text: &str) -> Failure {
    Failure::multierror(500, &format!("failed to parse batch input: {text}"))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Number(_) => "json.Number",
        Value::Object(_) => "map[string]interface {}",
        Value::Bool(_) => "bool",
        _ => "string",
    }
}

/// Returns the status of a batch. One failure determines it, unless the client wants a different
/// one and something succeeded.
fn status(results: &[Result<Value, String>], request: &Request) -> u16 {
    let failed = results.iter().filter(|result| result.is_err()).count();
    let partial =
        request.number("partial_failure_response_code").and_then(|code| code.try_into().ok());
    match failed {
        0 => 200,
        _ if failed < results.len() => partial.unwrap_or(400),
        _ => 400,
    }
}

#[derive(Default)]
pub(crate) struct Transit(BTreeMap<String, Key>);

impl Engine for Transit {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{List, Read, Write};
        let segments: Vec<&str> = request.path.split('/').collect();
        match (segments.as_slice(), request.operation) {
            (["keys", ""], List) => keys_below("", self.0.keys()),
            (["keys", name], Read) => {
                self.0.get(*name).map(|key| key.describe(name)).ok_or_else(Failure::not_found)
            }
            (["keys", name], Write) => Ok(self.key(name).describe(name)),
            (["keys", name, "rotate"], Write) => self.rotate(name),
            (["encrypt", name], Write) => {
                let items = ENCRYPT.items(request)?;
                ENCRYPT.run(self.key(name), request, &items)
            }
            (["decrypt", name], Write) => {
                let items = DECRYPT.items(request)?;
                DECRYPT.run(self.0.get(*name).ok_or_else(no_key)?, request, &items)
            }
            (["keys" | "encrypt" | "decrypt", _], _) => Err(Failure::unsupported_operation()),
            _ => Err(Failure::unsupported_path()),
        }
    }

    /// Encrypting with a key that does not exist yet creates it.
    fn exists(&self, path: &str) -> Option<bool> {
        path.strip_prefix("encrypt/").map(|name| self.0.contains_key(name))
    }
}

fn no_key() -> Failure {
    Failure::bad_request("encryption key not found")
}

impl Transit {
    fn key(&mut self, name: &str) -> &mut Key {
        self.0.entry(name.to_owned()).or_insert_with(Key::new)
    }

    fn rotate(&mut self, name: &str) -> Outcome {
        let key = self.0.get_mut(name).ok_or_else(|| Failure::bad_request("key not found"))?;
        key.0.push(Version::new());
        Ok(key.describe(name))
    }
}
