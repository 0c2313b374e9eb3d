//! What Vault knows of a token that was given, for a check.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;

use crate::login::Session;
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Repeat, Request, Space};

/// One try of at most this: the time is for the secrets.
const LIMIT: Duration = Duration::from_secs(2);

/// Learns how long the token of a session lasts, and points out one that is too good for a
/// container: a root token, one that never expires. A policy may well refuse the question, so a
/// failure says nothing.
pub fn look_up(client: &Client, session: &mut Session) {
    let what = "auth/token/lookup-self";
    let answer = client.send(&Request {
        token: session.token.as_ref(),
        space: Space::Login,
        repeat: Repeat::Never(LIMIT),
        ..Request::new(Method::GET, what)
    });
    match answer.ok().filter(Answer::is_success) {
        Some(answer) => understand(&answer.body.0, session),
        None => log::debug!("{what}: nothing is known of the token"),
    }
}

/// Takes what an answer says of the token into the session, and warns of a token that is worth too
/// much.
pub fn understand(body: &Value, session: &mut Session) {
    let Some(data) = body.get("data") else { return };
    let ttl = data.get("ttl").and_then(Value::as_u64).filter(|ttl| *ttl > 0);
    session.ttl = ttl.map(Duration::from_secs);
    let policies = data.get("policies").and_then(Value::as_array).into_iter().flatten();
    if policies.filter_map(Value::as_str).any(|policy| policy == "root") {
        log::warn!("the token is a root token: whoever gets it may do everything in Vault");
    }
    if ttl.is_none() && data.get("expire_time").is_some_and(Value::is_null) {
        log::warn!("the token never expires: whoever gets it has it for ever");
    }
}
