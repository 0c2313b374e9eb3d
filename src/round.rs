//! One round: a login, everything that is fetched, and the environment built from it.
//!
//! Each round has its own client: names, certificates and deadline are fresh, and no connection or
//! token in a buffer remains afterwards.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};

use crate::environment::{self, Built, Outcomes, Rules};
use crate::error::{Code, Error, Errors};
use crate::fetch;
use crate::file;
use crate::grammar::address::Address;
use crate::grammar::selector::listed;
use crate::http::deadline::{Deadline, shown};
use crate::http::proxy::Proxies;
use crate::http::tls::{self, Peer};
use crate::job::Job;
use crate::process::signals::Deferred;
use crate::revoke::{self, Ending, Wishes};
use crate::settings::Settings;
use crate::settings::credentials;
use crate::vault::client::{Client, Connection};
use crate::vault::lookup;
use crate::vault::session::Session;
use crate::vault::stay::{Granted, Stay};

/// The result of a round.
pub(crate) struct Round {
    /// What the application gets.
    pub built: Built,
    /// The outcome of each request.
    pub outcomes: Outcomes,
    /// The stay at Vault that the result comes from; `None` if nothing was fetched.
    kept: Option<Kept>,
}

/// A stay at Vault. A signal does not end it before what was granted is revoked.
struct Kept {
    stay: Stay,
    /// `None` if signals cannot be deferred.
    signals: Option<Deferred>,
}

/// Logs in, fetches, and builds the environment. If this fails after the login, or if a signal
/// arrives, nothing is left behind.
///
/// # Errors
/// Every failure of the login, of the requests and of the environment.
pub(crate) async fn round(job: &Job, deadline: Deadline) -> Result<Round, Errors> {
    let Some(login) = &job.login else {
        let outcomes = Outcomes::default();
        return Ok(Round { built: build(job, &outcomes)?, outcomes, kept: None });
    };
    let client = client(job, deadline)?;
    let session = login.log_in(&client).await?;
    let kept = Kept { stay: Stay::begin(client, session), signals: Deferred::begin() };
    match kept.unless_ended(fetched(job, &kept.stay)).await {
        Some(Ok((built, outcomes))) => {
            log::info!("{}", summary(&kept.stay, deadline.elapsed()));
            Ok(Round { built, outcomes, kept: Some(kept) })
        }
        Some(Err(errors)) => {
            kept.undo(job, revoke::LIMIT).await;
            Err(errors)
        }
        None => {
            kept.undo(job, revoke::LAST_MOMENT).await;
            Err(Error::new(Code::Internal, "a signal has come, and is gone").into())
        }
    }
}

/// Makes a client for everything that Vault has to be asked.
///
/// # Errors
/// 78 for connection settings that do not work.
pub(crate) fn client(job: &Job, deadline: Deadline) -> Result<Client, Error> {
    let adds_token = job.login.as_ref().is_some_and(|login| login.leaves_token_to_server());
    Client::new(connection(job, adds_token, deadline)?)
}

impl Round {
    /// Returns what Vault has granted, in the order in which it arrived.
    #[allow(dead_code, reason = "a process that goes on renews it")]
    pub(crate) fn granted(&self) -> Vec<Granted> {
        self.kept.as_ref().map(|kept| kept.stay.granted()).unwrap_or_default()
    }

    /// Returns the stay with what was granted, or `None` if nothing was fetched.
    pub(crate) fn stay(&self) -> Option<&Stay> {
        self.kept.as_ref().map(|kept| &kept.stay)
    }

    /// Ends a round whose grants somebody else looks after from now on.
    pub(crate) fn keep(self) {
        if let Some(status) = self.kept.and_then(|kept| kept.signals).and_then(Deferred::release) {
            end(status);
        }
    }

    /// Ends a round whose result nobody uses, and leaves nothing of it behind.
    pub(crate) async fn undo(self, job: &Job) {
        if let Some(kept) = self.kept {
            kept.undo(job, revoke::LIMIT).await;
        }
    }

    /// Ends a round whose result the application gets and which has already been passed on: revokes
    /// the token if that does no harm.
    pub(crate) async fn settle(self, job: &Job) {
        let Some(kept) = self.kept else { return };
        let revoked = revoke::revoke(&kept.stay, Ending::Start, wishes(job), revoke::LIMIT);
        let is_ended = kept.unless_ended(revoked).await.is_none();
        match kept.signals.and_then(Deferred::release) {
            // The revocation is under way, and nobody needs to wait for it.
            Some(status) if is_ended => end(status),
            Some(status) => {
                let limit = revoke::LAST_MOMENT;
                revoke::revoke(&kept.stay, Ending::Failure, wishes(job), limit).await;
                end(status)
            }
            None => {}
        }
    }
}

impl Kept {
    /// Returns the result of the work, or `None` if a signal arrives first.
    async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let Some(signals) = &self.signals else { return Some(work.await) };
        match select(pin!(work), pin!(signals.arrived())).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    async fn undo(self, job: &Job, limit: Duration) {
        let ending = if job.is_check { Ending::Check } else { Ending::Failure };
        revoke::revoke(&self.stay, ending, wishes(job), limit).await;
        if let Some(status) = self.signals.and_then(Deferred::release) {
            end(status);
        }
    }
}

/// Summarizes in one line what was done.
fn summary(stay: &Stay, took: Duration) -> String {
    let Session { token, login, identity, policies, ttl, .. } = &stay.session;
    let who = identity.as_ref().map(|identity| format!(" as {identity}")).unwrap_or_default();
    let login = match (login, token) {
        (Some(login), _) => format!("logged in with {login}{who}"),
        (None, Some(_)) => "used the token that was given".to_owned(),
        (None, None) => "used the token of the Agent or Proxy".to_owned(),
    };
    let policies = (!policies.is_empty()).then(|| format!("policies {}", listed(policies.iter())));
    let ttl = ttl.map(|ttl| format!("token for {}", shown(ttl)));
    let (requests, leases) = (stay.requests(), stay.leases().len());
    let work = format!("{requests} requests for secrets, {leases} leases, {}", shown(took));
    [Some(login), policies, ttl, Some(work)].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Exits as a signal asks. Nothing is reported: whoever sent the signal knows why.
fn end(status: u8) -> ! {
    std::process::exit(status.into())
}

fn wishes(job: &Job) -> Wishes {
    Wishes { setting: job.settings.revoke, hands_on: job.settings.hand_on.is_some() }
}

async fn fetched(job: &Job, stay: &Stay) -> Result<(Built, Outcomes), Errors> {
    let Session { is_own, files, .. } = &stay.session;
    let removes_files = job.settings.remove_files && !job.is_check;
    if removes_files && *is_own {
        remove(files, &job.settings);
    }
    let ttl = if job.is_check { about_token(stay).await } else { stay.session.ttl };
    let fetched = fetch::fetch(stay, ttl, &job.plan, &job.settings).await?;
    // A given token that worked was a real token.
    if removes_files && !*is_own && fetched.has_worked() {
        remove(files, &job.settings);
    }
    Ok((build(job, &fetched)?, fetched))
}

/// Removes the files of the login's credentials. Also removes the file of the private key, which
/// the client has already read, unless somebody else needs it.
fn remove(files: &[PathBuf], settings: &Settings) {
    credentials::remove(files);
    let key = settings.client_key().filter(|_| settings.needs_key().is_none());
    if let Some(path) = key.and_then(|key| key.text().ok()) {
        credentials::remove(&[PathBuf::from(path)]);
    }
}

/// Returns what a check finds out about the token: its TTL.
async fn about_token(stay: &Stay) -> Option<Duration> {
    let Session { token, is_own, ttl, .. } = &stay.session;
    match token {
        None => {
            log::warn!(
                "there is no login: what can be read depends on the Agent's or Proxy's token"
            );
            *ttl
        }
        Some(token) if !is_own => lookup::look_up(&stay.client, token).await,
        Some(_) => *ttl,
    }
}

fn build(job: &Job, outcomes: &Outcomes) -> Result<Built, Errors> {
    let settings = &job.settings;
    let rules = Rules { ignore_missing: settings.ignore_missing, naming: settings.naming };
    let built = environment::build(&job.plan, outcomes, rules)?;
    for warning in &built.warnings {
        log::warn!("{warning}");
    }
    Ok(built)
}

fn connection(job: &Job, adds_token: bool, deadline: Deadline) -> Result<Connection, Error> {
    let (settings, network) = (&job.settings, &job.network);
    let Some(address) = settings.address.clone() else {
        return Err(Error::config("there are secrets to fetch, and no address of Vault")
            .hint("set VAULT_ADDR, such as https://vault.example.com:8200"));
    };
    warn_of(&address, settings);
    Ok(Connection {
        proxies: Proxies::choose(&address, settings.proxy.as_ref(), network)?,
        tls: tls::configure(
            &settings.tls,
            address.is_https(),
            network,
            Peer::Vault,
            deadline.left(),
        )?,
        server_name: settings.tls.server_name.clone(),
        auth_namespace: settings.auth_namespace.clone(),
        namespace: settings.namespace.clone(),
        max_retries: settings.max_retries,
        follows_redirects: settings.follows_redirects,
        adds_token,
        address,
        deadline,
    })
}

fn warn_of(address: &Address, settings: &Settings) {
    if !address.is_https() && !address.is_loopback() {
        log::warn!("{address} is plain http: token and secrets cross the network in clear");
    }
    if let Some(owner) = address.socket().and_then(file::owned_by_another) {
        log::warn!("{address} belongs to user {owner}: whoever that is gets what is sent there");
    }
    if settings.tls.skip_verify {
        log::warn!(
            "VAULT_SKIP_VERIFY is set: anybody on the way can read the token and the secrets"
        );
    }
}
