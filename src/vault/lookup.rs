//! Asks Vault about a token that the user gave, for a check.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::http::deadline::Deadline;
use crate::secret::Secret;
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Repeat, Request, Space};

/// The limit for the only try: the time is needed for the secrets.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns how long a token lasts; `None` means forever or unknown. Warns of a token that is too
/// powerful for a container: a root token, or one that never expires. A policy may refuse the
/// question, so a failure says nothing.
pub(crate) async fn look_up(client: &Client, token: &Secret) -> Option<Duration> {
    let what = "auth/token/lookup-self";
    let limit = LIMIT.min(client.patience.left());
    let request = Request {
        token: Some(token),
        space: Space::Login,
        repeat: Repeat::Never,
        deadline: Some(Deadline::new(Instant::now(), limit)),
        ..Request::new(Method::GET, what)
    };
    let answer = client.send(&request).await.ok().filter(Answer::is_success);
    if answer.is_none() {
        log::debug!("{what}: nothing is known of the token");
    }
    understand(&answer?.body.0)
}

/// Returns the TTL in an answer about a token. Warns of a token that is too powerful.
pub fn understand(body: &Value) -> Option<Duration> {
    let data = body.get("data")?;
    let ttl = data.get("ttl").and_then(Value::as_u64).filter(|ttl| *ttl > 0);
    let policies = data.get("policies").and_then(Value::as_array).into_iter().flatten();
    if policies.filter_map(Value::as_str).any(|policy| policy == "root") {
        log::warn!("the token is a root token: whoever gets it may do everything in Vault");
    }
    if ttl.is_none() && data.get("expire_time").is_some_and(Value::is_null) {
        log::warn!("the token never expires: whoever gets it has it for ever");
    }
    ttl.map(Duration::from_secs)
}
