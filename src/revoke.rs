//! Revoking the token before the application starts, where that is wanted and does no harm.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::error::Error;
use crate::fetch::Fetched;
use crate::login::Session;
use crate::secret::Secret;
use crate::settings::{Revoke, Settings};
use crate::vault::client::{Client, Repeat, Request, Space};
use crate::vault::document::Lease;

/// One try of at most this: nobody waits long for what is only good manners.
const LIMIT: Duration = Duration::from_secs(2);

/// Revokes the token of a session: `auto` is one from our own login that carries no lease and that
/// the application does not get. Batch tokens and spent ones cannot be. A failure never stops a
/// start, and a start that fails has no use for the leases.
pub fn revoke(
    client: &Client,
    session: &Session,
    settings: &Settings,
    fetched: &Fetched,
    goes_on: bool,
) {
    let has_leases = !fetched.leases.is_empty();
    let is_needed = goes_on && (has_leases || settings.hand_on.is_some());
    let is_wanted = match settings.revoke {
        Revoke::Auto => session.is_own && !is_needed,
        Revoke::Always => true,
        Revoke::Never => false,
    };
    if !is_wanted || !can_be_revoked(session, fetched) {
        return;
    }
    if goes_on && has_leases {
        log::warn!(
            "the token is revoked as --revoke true says, and the dynamic secrets end with it"
        );
    }
    let level = if settings.revoke == Revoke::Always { log::Level::Warn } else { log::Level::Info };
    match revoke_self(client, session) {
        Ok(()) => log::debug!("the token is revoked"),
        Err(error) => log::log!(level, "the token is not revoked: {error}"),
    }
}

/// Leaves nothing of a check behind: the token of our own login and the leases that hang on it, or
/// the leases alone. Those that hang on the token of an Agent or a Proxy stay, which may have them
/// in its cache for others.
pub fn after_check(client: &Client, session: &Session, fetched: &Fetched) {
    if session.is_own && can_be_revoked(session, fetched) {
        match revoke_self(client, session) {
            Ok(()) => return,
            Err(error) => log::warn!("the token of this check is not revoked: {error}"),
        }
    }
    for Lease { id, duration, .. } in &fetched.leases {
        if session.token.is_none() {
            log::warn!(
                "lease {id} of this check stays for {duration} s: others may have it of the Agent \
                 or Proxy, too"
            );
            continue;
        }
        let body = Secret::from(json!({ "lease_id": id }).to_string());
        let request =
            Request { body: Some(&body), ..Request::new(Method::POST, "sys/leases/revoke") };
        if let Err(error) = send(client, session, request) {
            log::warn!("lease {id} of this check stays for {duration} s: {error}");
        }
    }
}

fn can_be_revoked(session: &Session, fetched: &Fetched) -> bool {
    let is_spent = session.uses.is_some_and(|uses| fetched.requests >= uses);
    session.token.is_some() && !session.is_batch && !is_spent
}

fn revoke_self(client: &Client, session: &Session) -> Result<(), Error> {
    send(
        client,
        session,
        Request { space: Space::Login, ..Request::new(Method::POST, "auth/token/revoke-self") },
    )
}

fn send<'a>(client: &Client, session: &'a Session, request: Request<'a>) -> Result<(), Error> {
    let request =
        Request { token: session.token.as_ref(), repeat: Repeat::Never(LIMIT), ..request };
    let answer = client.send(&request)?;
    if answer.is_success() { Ok(()) } else { Err(client.refused(&answer, &request.what)) }
}
