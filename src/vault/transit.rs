//! Decryption by the transit engine, many ciphertexts at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::error::{Cause, Code, Error};
use crate::grammar::path::Path;
use crate::grammar::template;
use crate::http::redact::Redactor;
use crate::secret::Secret;
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Repeat, Request};
use crate::vault::session::Session;

const SETTINGS: &str =
    "are VAULT_TRANSIT_KEY_ID and VAULT_TRANSIT_PATH the key and the mount of the engine?";

/// Decrypts a batch with the key of `path`, `transit/decrypt/<key>`. Returns a result for each
/// ciphertext, by its name.
pub(crate) async fn decrypt<K: Copy>(
    client: &Client,
    session: &Session,
    path: &Path,
    batch: &[(K, Secret)],
) -> Vec<(K, Result<Secret, Error>)> {
    let ciphertexts: Vec<&Secret> = batch.iter().map(|(_, ciphertext)| ciphertext).collect();
    let results = send(client, session, path, &ciphertexts).await.and_then(|answer| {
        match results(&answer, batch.len()) {
            // There are as many results as ciphertexts, in the same order.
            Some(results) => Ok(batch
                .iter()
                .zip(results)
                .map(|((name, _), result)| (*name, plaintext(client.redactor(), path, result)))
                .collect()),
            None if answer.is_success() => Err(Error::new(
                Code::Protocol,
                format!("{path}: an answer without a result for each ciphertext"),
            )),
            None => {
                let refused = client.refused(&answer, path.as_str());
                let is_about_token = answer.status == 403 || refused.cause == Cause::Withheld;
                Err(if is_about_token { refused } else { refused.hint(SETTINGS) })
            }
        }
    });
    results
        .unwrap_or_else(|error| batch.iter().map(|(name, _)| (*name, Err(error.clone()))).collect())
}

async fn send(
    client: &Client,
    session: &Session,
    path: &Path,
    batch: &[&Secret],
) -> Result<Answer, Error> {
    let items: Vec<Value> =
        batch.iter().map(|item| json!({ "ciphertext": item.expose_text() })).collect();
    let body = Secret::from(json!({ "batch_input": items }).to_string());
    let request = Request {
        token: session.token.as_ref(),
        body: Some(&body),
        // It changes nothing, but it may use up the token.
        repeat: Repeat::Freely,
        what: path.to_string(),
        ..Request::new(Method::POST, path.encoded())
    };
    client.send(&request).await
}

/// Returns the results. A refusal contains them too if every one of them is a refusal.
pub fn results(answer: &Answer, wanted: usize) -> Option<Vec<&Value>> {
    let results = answer.body.0.pointer("/data/batch_results")?.as_array()?;
    (results.len() == wanted).then(|| results.iter().collect())
}

/// Returns the plaintext in one of the results.
///
/// # Errors
/// 77 if the engine refuses the ciphertext, 76 for a result without a plaintext.
pub fn plaintext(redactor: &Redactor, path: &Path, result: &Value) -> Result<Secret, Error> {
    let text = |name| result.get(name).and_then(Value::as_str);
    if let Some(refusal) = text("error").filter(|refusal| !refusal.is_empty()) {
        let message = format!("{path}: {}", redactor.clean(refusal));
        return Err(Error::new(Code::Refused, message)
            .hint("was it made with this key (VAULT_TRANSIT_KEY_ID), and is it whole?"));
    }
    let plaintext =
        text("plaintext").map(Secret::from).and_then(|encoded| template::decoded(&encoded).ok());
    plaintext
        .ok_or_else(|| Error::new(Code::Protocol, format!("{path}: an answer without a plaintext")))
}
