//! What transit does, on the server of our own because it does so on a real one.

use test_vault::{Operator, Target, Value, json, on_every_vault};

use crate::contract::{POLICY_REFUSED, assert_missing, assert_refused};

/// Transit with the keys `app` and `other`, and a token that may decrypt with the first one.
struct Transit {
    operator: Operator,
    http: Operator,
    mount: String,
    root: String,
    token: String,
}

impl Transit {
    fn new(target: &Target) -> Self {
        let (operator, mount) = (target.operator(), target.unique("transit"));
        operator.enable_transit(&mount);
        operator.transit_key(&mount, "app");
        operator.transit_key(&mount, "other");
        operator.policy(
            &mount,
            &format!("path \"{mount}/decrypt/app\" {{ capabilities = [\"update\"] }}"),
        );
        let token = operator.create_token(json!({ "policies": [mount] }));
        Self { operator, http: target.http(), mount, root: target.root_token(), token }
    }

    fn encrypt(&self, key: &str, plaintext: &str) -> String {
        self.operator.encrypt(&self.mount, key, plaintext)
    }

    fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.http.request("POST", &format!("{}/{path}", self.mount), Some(&self.root), Some(body))
    }

    fn decrypt(&self, ciphertext: &str) -> (u16, Value) {
        self.post("decrypt/app", json!({ "ciphertext": ciphertext }))
    }

    /// A status, and what became of each item.
    fn decrypt_all(&self, ciphertexts: &[&str]) -> (u16, Value) {
        let items: Vec<Value> =
            ciphertexts.iter().map(|ciphertext| json!({ "ciphertext": ciphertext })).collect();
        let (status, answer) = self.post("decrypt/app", json!({ "batch_input": items }));
        (status, answer["data"]["batch_results"].clone())
    }
}

/// The same with one character changed.
fn damaged(ciphertext: &str) -> String {
    let (start, end) = ciphertext.split_at("vault:v1:".len() + 8);
    let other = if end.starts_with('A') { 'B' } else { 'A' };
    format!("{start}{other}{}", &end[1..])
}

const AUTHENTICATION: &str = "cipher: message authentication failed";
/// "hello" and "world" in base64.
const HELLO: &str = "aGVsbG8=";
const WORLD: &str = "d29ybGQ=";

#[test]
fn what_a_key_encrypts_it_decrypts() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let ciphertext = transit.encrypt("app", "hello");
        assert!(ciphertext.starts_with("vault:v1:"), "{ciphertext}");
        assert_ne!(ciphertext, transit.encrypt("app", "hello"));
        let (status, answer) = transit.decrypt(&ciphertext);
        assert_eq!((status, &answer["data"]), (200, &json!({ "plaintext": HELLO })));
        assert_eq!((&answer["lease_id"], &answer["lease_duration"]), (&json!(""), &json!(0)));
        let empty = transit.decrypt(&transit.encrypt("app", ""));
        assert_eq!((empty.0, &empty.1["data"]["plaintext"]), (200, &json!("")));
    });
}

#[test]
fn a_ciphertext_that_is_none_of_the_keys_says_what_is_wrong() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let good = transit.encrypt("app", "hello");
        let sealed = good.strip_prefix("vault:v1:").expect("a ciphertext");
        for (ciphertext, text) in [
            (transit.encrypt("other", "hello").as_str(), AUTHENTICATION),
            (&damaged(&good), AUTHENTICATION),
            ("", "missing ciphertext to decrypt"),
            ("hello", "invalid ciphertext: no prefix"),
            ("vault:v1", "invalid ciphertext: wrong number of fields"),
            ("vault:v1:", "invalid ciphertext length"),
            ("vault:v1:aGVsbG8=", "invalid ciphertext length"),
            ("vault:v1:%%", "invalid ciphertext: could not decode base64"),
            (&format!("{good} "), "invalid ciphertext: could not decode base64"),
            (&format!("vault:v2:{sealed}"), "invalid ciphertext: version is too new"),
            (
                &format!("vault:vx:{sealed}"),
                "invalid ciphertext: version number could not be decoded",
            ),
        ] {
            assert_refused(&transit.decrypt(ciphertext), 400, text);
        }
        assert_refused(
            &transit.post("decrypt/app", json!({})),
            400,
            "missing ciphertext to decrypt",
        );
        assert_refused(
            &transit.post("decrypt/none", json!({ "ciphertext": good })),
            400,
            "encryption key not found",
        );
    });
}

#[test]
fn a_batch_is_decrypted_in_its_order_and_keeps_its_references() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let items = [("hello", "a"), ("world", "b")].map(
            |(text, name)| json!({ "ciphertext": transit.encrypt("app", text), "reference": name }),
        );
        let (status, answer) = transit.post("decrypt/app", json!({ "batch_input": items }));
        let results = json!([{ "plaintext": HELLO, "reference": "a" }, { "plaintext": WORLD, "reference": "b" }]);
        assert_eq!((status, &answer["data"]), (200, &json!({ "batch_results": results })));
    });
}

#[test]
fn one_bad_item_spoils_the_status_of_a_batch_and_nothing_else() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let good = transit.encrypt("app", "hello");
        let results = json!([
            { "plaintext": HELLO, "reference": "" },
            { "plaintext": "", "error": AUTHENTICATION, "reference": "" },
            { "plaintext": "", "error": "invalid ciphertext: no prefix", "reference": "" },
            { "plaintext": "", "error": "missing ciphertext to decrypt", "reference": "" },
        ]);
        let batch = transit.decrypt_all(&[&good, &transit.encrypt("other", "hello"), "hello", ""]);
        assert_eq!(batch, (400, results.clone()));
        let bad = results[2].clone();
        assert_eq!(transit.decrypt_all(&["hello"]), (400, json!([bad])));
        assert_eq!(transit.decrypt_all(&["hello", "hello"]), (400, json!([bad, bad])));
    });
}

#[test]
fn a_batch_that_fails_is_an_envelope_without_errors() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let (status, answer) =
            transit.post("decrypt/app", json!({ "batch_input": [{ "ciphertext": "hello" }] }));
        assert_eq!((status, answer.get("errors"), &answer["warnings"]), (400, None, &Value::Null));
        assert!(answer["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{answer}");
    });
}

#[test]
fn a_client_may_choose_the_status_of_a_batch_that_fails_in_part() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let good = transit.encrypt("app", "hello");
        let decrypt = |items: &[&str]| {
            let items: Vec<Value> =
                items.iter().map(|item| json!({ "ciphertext": item })).collect();
            transit
                .post(
                    "decrypt/app",
                    json!({ "batch_input": items, "partial_failure_response_code": 200 }),
                )
                .0
        };
        assert_eq!((decrypt(&[&good, "hello"]), decrypt(&["hello"])), (200, 400));
    });
}

#[test]
fn a_batch_that_cannot_be_read_is_an_error_of_the_server() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let good = json!({ "ciphertext": transit.encrypt("app", "hello") });
        for (batch, text) in [
            (json!([good, {}]), "'[1].ciphertext' missing ciphertext to decrypt"),
            (json!([good, "hello"]), "[1] expected a map, got 'string'"),
            (
                json!([{ "ciphertext": 5 }]),
                "'[0].ciphertext' expected type 'string', got unconvertible type 'json.Number'",
            ),
            (json!([5]), "[0] expected a map, got 'json.Number'"),
            (json!("hello"), "source data must be an array or slice, got string"),
            (json!({}), "source data must be an array or slice, got map[string]interface {}"),
        ] {
            let text = format!("1 error occurred:\n\t* failed to parse batch input: {text}\n\n");
            assert_refused(
                &transit.post("decrypt/app", json!({ "batch_input": batch })),
                500,
                &text,
            );
        }
        let empty = transit.post("decrypt/app", json!({ "batch_input": [] }));
        assert_refused(&empty, 400, "missing batch input to process");
        let no_key = transit.post("decrypt/none", json!({ "batch_input": [good] }));
        assert_refused(&no_key, 400, "encryption key not found");
    });
}

#[test]
fn plaintexts_come_in_base64() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        for (body, text) in [
            (json!({}), "missing plaintext to encrypt"),
            (json!({ "plaintext": "not base64!" }), "illegal base64 data at input byte 3"),
            (json!({ "plaintext": "aGVsbG8" }), "illegal base64 data at input byte 4"),
        ] {
            assert_refused(&transit.post("encrypt/app", body), 400, text);
        }
        let (status, answer) = transit.post(
            "encrypt/app",
            json!({ "batch_input": [{ "plaintext": HELLO }, { "plaintext": "!" }] }),
        );
        let results = &answer["data"]["batch_results"];
        assert_eq!((status, &results[0]["key_version"]), (400, &json!(1)));
        assert_eq!(
            results[1],
            json!({ "error": "illegal base64 data at input byte 0", "reference": "" })
        );
    });
}

#[test]
fn a_key_that_was_rotated_still_decrypts_what_it_encrypted_before() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let old = transit.encrypt("app", "hello");
        assert_eq!(transit.post("keys/app/rotate", json!({})).0, 200);
        let new = transit.encrypt("app", "hello");
        assert!(new.starts_with("vault:v2:"), "{new}");
        for ciphertext in [old, new] {
            assert_eq!(transit.decrypt(&ciphertext).1["data"]["plaintext"], HELLO);
        }
        assert_refused(&transit.post("keys/none/rotate", json!({})), 400, "key not found");
    });
}

#[test]
fn a_key_tells_everything_but_itself() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let created = transit.post("keys/app", json!({})).1["data"].clone();
        let read = transit.http.read(&format!("{}/keys/app", transit.mount))["data"].clone();
        assert_eq!(created, read);
        assert_eq!(
            (&read["name"], &read["latest_version"], &read["type"]),
            (&json!("app"), &json!(1), &json!("aes256-gcm96"))
        );
        assert!(read["keys"]["1"].is_u64(), "{read}");
        assert_missing(&transit.http.request(
            "GET",
            &format!("{}/keys/none", transit.mount),
            Some(&transit.root),
            None,
        ));
        let (_, list) = transit.http.request(
            "LIST",
            &format!("{}/keys", transit.mount),
            Some(&transit.root),
            None,
        );
        assert_eq!(list["data"], json!({ "keys": ["app", "other"] }));
    });
}

#[test]
fn to_decrypt_takes_an_update_of_the_keys_path() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let body = |key| Some(json!({ "ciphertext": transit.encrypt(key, "hello") }));
        let decrypt = |key| {
            let path = format!("{}/decrypt/{key}", transit.mount);
            transit.http.request("POST", &path, Some(&transit.token), body(key))
        };
        assert_eq!(decrypt("app").1["data"]["plaintext"], HELLO);
        assert_refused(&decrypt("other"), 403, POLICY_REFUSED);
        let path = format!("{}/decrypt/app", transit.mount);
        let text = "1 error occurred:\n\t* unsupported operation\n\n";
        assert_refused(&transit.http.request("GET", &path, Some(&transit.root), None), 405, text);
    });
}

#[test]
fn to_encrypt_with_a_key_that_is_not_there_creates_it() {
    on_every_vault(|target| {
        let transit = Transit::new(target);
        let hcl = format!("path \"{}/encrypt/*\" {{ capabilities = [\"update\"] }}", transit.mount);
        transit.operator.policy(&transit.mount, &hcl);
        let encrypt = |key: &str, token: &str| {
            let path = format!("{}/encrypt/{key}", transit.mount);
            transit.http.request("POST", &path, Some(token), Some(json!({ "plaintext": HELLO })))
        };
        assert_eq!(encrypt("app", &transit.token).0, 200);
        assert_refused(&encrypt("new", &transit.token), 403, POLICY_REFUSED);
        assert_eq!(encrypt("new", &transit.root).0, 200);
        assert_eq!(encrypt("new", &transit.token).0, 200);
    });
}
