//! Revoking the token before the application starts, where that is wanted and does no harm.

use std::time::Duration;

use reqwest::Method;

use crate::error::Error;
use crate::settings::Revoke;
use crate::vault::auth::Session;
use crate::vault::client::{Client, Repeat, Request};

/// One try of at most this: nobody waits long for what is only good manners.
const LIMIT: Duration = Duration::from_secs(2);

/// What a token was used for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Use {
    /// How many requests it has made.
    pub requests: u64,
    /// Whether the application lives on leases that end with it. A start that fails has no use for leases.
    pub has_leases: bool,
}

/// Revokes the token of a session: `auto` is one from our own login that carries no lease. Batch tokens and spent ones
/// cannot be. A failure never stops a start.
pub fn revoke(client: &Client, session: &Session, wanted: Revoke, usage: Use) {
    let is_wanted = match wanted {
        Revoke::Auto => session.is_own && !usage.has_leases,
        Revoke::Always => true,
        Revoke::Never => false,
    };
    let is_spent = session.uses.is_some_and(|uses| usage.requests >= uses);
    if !is_wanted || session.is_batch || is_spent {
        return;
    }
    if usage.has_leases {
        log::warn!("--revoke true: the leases end with the token, and the dynamic secrets with them");
    }
    let level = if wanted == Revoke::Always { log::Level::Warn } else { log::Level::Info };
    match send(client, session) {
        Ok(()) => log::debug!("the token is revoked"),
        Err(error) => log::log!(level, "the token is not revoked: {error}"),
    }
}

fn send(client: &Client, session: &Session) -> Result<(), Error> {
    let what = "auth/token/revoke-self";
    let answer = client.send(&Request {
        method: Method::POST,
        path: what.to_owned(),
        query: None,
        token: Some(&session.token),
        body: None,
        repeat: Repeat::Never(LIMIT),
        what: what.to_owned(),
    })?;
    if answer.is_success() { Ok(()) } else { Err(client.refused(&answer, what)) }
}
