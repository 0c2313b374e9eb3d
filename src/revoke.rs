//! Decides what happens to a token and its leases when a round ends, and does it.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use crate::error::Error;
use crate::http::deadline::Deadline;
use crate::secret::Secret;
use crate::settings::Revoke;
use crate::vault::client::{Repeat, Request, Space};
use crate::vault::stay::{Leased, Stay};

/// The time limit of the one attempt: nobody should wait long for a mere courtesy.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// The same limit for a process that was told to end.
pub(crate) const LAST_MOMENT: Duration = Duration::from_secs(1);

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The application starts.
    Start,
    /// Nothing starts, so nobody needs what was granted.
    Failure,
    /// The round was only a check.
    Check,
}

/// What the user wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// `--revoke`.
    pub setting: Revoke,
    /// Whether the application gets the token.
    pub hands_on: bool,
}

/// What to revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Nothing,
    /// The token, and with it everything that depends on it.
    Token,
    /// The leases, but not the token.
    Leases,
}

/// The facts that the decision depends on.
#[derive(Clone, Copy, Debug)]
struct Facts {
    is_own: bool,
    has_leases: bool,
    can_be_revoked: bool,
    is_spent: bool,
}

/// Revokes, within `limit`, what is no longer needed given the round's ending and the user's
/// wishes. A failure never stops anything.
pub(crate) async fn revoke(stay: &Stay, ending: Ending, wishes: Wishes, limit: Duration) {
    let facts = Facts::of(stay);
    let deadline = Deadline::new(Instant::now(), limit);
    match decide(facts, ending, wishes) {
        Decision::Nothing => {}
        Decision::Token => {
            if ending == Ending::Start && facts.has_leases {
                log::warn!(
                    "the token is revoked as --revoke true says, and the dynamic secrets end with \
                     it"
                );
            }
            let revoked = token(stay, ending, wishes.setting, deadline).await;
            if !revoked && ending != Ending::Start {
                leases(stay, ending, deadline).await;
            }
        }
        Decision::Leases => leases(stay, ending, deadline).await,
    }
}

impl Facts {
    fn of(stay: &Stay) -> Facts {
        let session = &stay.session;
        let is_spent = session.uses.is_some_and(|uses| stay.requests() >= uses);
        Facts {
            is_own: session.is_own,
            has_leases: !stay.leases().is_empty(),
            can_be_revoked: session.token.is_some() && !session.is_batch && !is_spent,
            is_spent,
        }
    }
}

/// Decides what to revoke. `auto` means a token of our own login that carries no lease and that the
/// application does not get. Batch tokens and used-up tokens cannot be revoked. If a token stays
/// and nobody needs its leases, they are revoked one by one.
fn decide(facts: Facts, ending: Ending, wishes: Wishes) -> Decision {
    let is_needed = ending == Ending::Start && (facts.has_leases || wishes.hands_on);
    let is_wanted = match (ending, wishes.setting) {
        (Ending::Check, _) => facts.is_own,
        (_, Revoke::Auto) => facts.is_own && !is_needed,
        (_, Revoke::Always) => true,
        (_, Revoke::Never) => return Decision::Nothing,
    };
    match ending {
        _ if is_wanted && facts.can_be_revoked => Decision::Token,
        Ending::Failure | Ending::Check if facts.has_leases && !facts.is_spent => Decision::Leases,
        _ => Decision::Nothing,
    }
}

/// Revokes the token. Returns whether that worked.
async fn token(stay: &Stay, ending: Ending, setting: Revoke, deadline: Deadline) -> bool {
    let request =
        Request { space: Space::Login, ..Request::new(Method::POST, "auth/token/revoke-self") };
    let Err(error) = send(stay, request, deadline).await else {
        log::debug!("the token is revoked");
        return true;
    };
    match (ending, setting) {
        (Ending::Check, _) => log::warn!("the token of this check is not revoked: {error}"),
        (_, Revoke::Always) => log::warn!("the token is not revoked: {error}"),
        _ => log::info!("the token is not revoked: {error}"),
    }
    false
}

/// Revokes the leases. Those of an Agent's or a Proxy's token stay, because the Agent or Proxy may
/// have them in its cache for others.
async fn leases(stay: &Stay, ending: Ending, deadline: Deadline) {
    let of = if ending == Ending::Check { "of this check" } else { "of this start" };
    for Leased { id, ttl, .. } in stay.leases() {
        let ttl = ttl.as_secs();
        if stay.session.token.is_none() {
            log::warn!(
                "lease {id} {of} stays for {ttl} s: others may have it of the Agent or Proxy, too"
            );
            continue;
        }
        let body = Secret::from(json!({ "lease_id": id }).to_string());
        let request =
            Request { body: Some(&body), ..Request::new(Method::POST, "sys/leases/revoke") };
        if let Err(error) = send(stay, request, deadline).await {
            log::warn!("lease {id} {of} stays for {ttl} s: {error}");
        }
    }
}

async fn send(stay: &Stay, request: Request<'_>, deadline: Deadline) -> Result<(), Error> {
    let Stay { client, session, .. } = stay;
    let request = Request {
        token: session.token.as_ref(),
        repeat: Repeat::Never,
        deadline: Some(deadline),
        ..request
    };
    let answer = client.send(&request).await?;
    if answer.is_success() { Ok(()) } else { Err(client.refused(&answer, &request.what)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts =
        Facts { is_own: true, has_leases: false, can_be_revoked: true, is_spent: false };

    fn decided(facts: Facts, hands_on: bool) -> [[Decision; 3]; 3] {
        [Ending::Start, Ending::Failure, Ending::Check].map(|ending| {
            [Revoke::Auto, Revoke::Always, Revoke::Never]
                .map(|setting| decide(facts, ending, Wishes { setting, hands_on }))
        })
    }

    #[test]
    fn what_is_revoked_depends_on_whose_the_token_is_and_on_who_needs_it() {
        use Decision::{Leases as L, Nothing as N, Token as T};
        let leased = Facts { has_leases: true, ..FACTS };
        let given = Facts { is_own: false, ..FACTS };
        let given_leased = Facts { has_leases: true, ..given };
        let batch = Facts { can_be_revoked: false, ..leased };
        let spent = Facts { is_spent: true, ..batch };
        for (facts, hands_on, expected) in [
            (FACTS, false, [[T, T, N], [T, T, N], [T, T, T]]),
            (FACTS, true, [[N, T, N], [T, T, N], [T, T, T]]),
            (leased, false, [[N, T, N], [T, T, N], [T, T, T]]),
            (given, false, [[N, T, N], [N, T, N], [N, N, N]]),
            (given_leased, false, [[N, T, N], [L, T, N], [L, L, L]]),
            (batch, false, [[N, N, N], [L, L, N], [L, L, L]]),
            (spent, false, [[N, N, N], [N, N, N], [N, N, N]]),
        ] {
            assert_eq!(decided(facts, hands_on), expected, "{facts:?} {hands_on}");
        }
    }
}
