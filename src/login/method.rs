//! What the auth methods share: a row in their table, and a login that is sent to a mount.

use std::path::PathBuf;

use futures_util::future::LocalBoxFuture;
use reqwest::Method as Http;

use crate::error::{Cause, Code, Error, Errors};
use crate::grammar::path::Path;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::vault::answer::{Answer, Meaning};
use crate::vault::client::{Client, Request, Space};
use crate::vault::session::Session;

const UPSTREAM: &str = "the service of the cloud that Vault asks throttles or fails, or Vault does \
                        not reach it: a longer --timeout waits for it";
const UNKNOWN_ROLE: &str = "is VAULT_ROLE right, and is it a role of this mount (VAULT_AUTH_MOUNT) \
                            in this namespace (VAULT_NAMESPACE)?";
const EXPIRED: &str = "what shows who logs in has expired: does it get renewed, and are the clocks \
                       here and at Vault right?";
const WRONG_AUDIENCE: &str = "the token must be for an audience (aud) that the role allows \
                              (bound_audiences, or audience)";

/// An auth method: one file, and one row in [`METHODS`](super::METHODS).
pub struct Method {
    /// The name, which is also the name of the default mount.
    pub name: &'static str,
    /// What the user must set.
    pub needs: &'static str,
    /// The settings that the method reads.
    pub reads: &'static [&'static str],
    pub(super) find: fn(&Layers<'_>, &Settings) -> Result<Credentials, Errors>,
}

/// Logs in, repeatedly if needed.
pub(crate) type Credentials = Box<dyn LogIn>;

const NO_MACHINE: &str = "the role is of type gce, and the tokens of GKE Workload Identity and \
                          Cloud Run have no machine in them: use a role of type iam with \
                          max_jwt_exp=60m, or a jwt mount that trusts https://accounts.google.com \
                          (VAULT_AUTH_METHOD=gcp and VAULT_AUTH_MOUNT=jwt)";
const LIVES_TOO_LONG: &str = "Google's identity tokens live for an hour: set max_jwt_exp=60m of the \
                              role";

/// A way to a session.
pub(crate) trait LogIn {
    /// Gets a session. Each call reads the files again, since they may have changed. A refused
    /// login is never repeated.
    ///
    /// # Errors
    /// 78 for each credential that cannot be read, 77 for a refusal, and whatever [`Client::send`]
    /// returns.
    fn log_in<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>>;

    /// Returns whether a few refusals lock the role or the user for everybody.
    fn may_lock(&self) -> bool {
        false
    }

    /// Returns whether the server at the address adds its own token to requests without one.
    fn leaves_token_to_server(&self) -> bool {
        false
    }
}

/// A login at a method's mount.
pub(super) struct Login {
    endpoint: Endpoint,
    proof: Box<dyn ProveBoxed>,
}

/// Where to send a login.
struct Endpoint {
    /// Below `auth/<mount>/`, percent-encoded.
    path: String,
    mount: String,
    method: &'static str,
    /// What to do about a refusal.
    hint: &'static str,
}

/// What a login sends. It is made just before it is sent.
pub(super) struct Proof {
    /// The JSON body.
    pub(super) body: Secret,
    /// The files that the credentials came from.
    pub(super) files: Vec<PathBuf>,
    /// What to say if the login fails now that it has used up a credential.
    pub(super) lost: Option<&'static str>,
}

/// Proves who logs in.
pub(super) trait Prove {
    /// Whether a few refusals lock the role or the user for everybody (`user_lockout`).
    const MAY_LOCK: bool = false;

    /// Reads files and asks platforms for what the login sends.
    async fn proof(&self, client: &Client) -> Result<Proof, Errors>;
}

/// The same as a trait object, so that the login code is compiled once and not for each method.
trait ProveBoxed {
    fn may_lock(&self) -> bool;
    fn proof<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Proof, Errors>>;
}

impl<P: Prove> ProveBoxed for P {
    fn may_lock(&self) -> bool {
        P::MAY_LOCK
    }

    fn proof<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Proof, Errors>> {
        Box::pin(Prove::proof(self, client))
    }
}

impl Proof {
    /// Returns a proof whose credentials came from no file.
    pub(super) fn of(body: Secret) -> Proof {
        Proof { body, files: Vec::new(), lost: None }
    }
}

impl Login {
    /// Returns a login at a method's mount.
    pub(super) fn at_mount(
        settings: &Settings,
        method: &Method,
        hint: &'static str,
        proof: impl Prove + 'static,
    ) -> Credentials {
        Login::below_mount(settings, method, hint, "login", proof)
    }

    /// Returns a login at a percent-encoded path below a method's mount.
    pub(super) fn below_mount(
        settings: &Settings,
        method: &Method,
        hint: &'static str,
        below: &str,
        proof: impl Prove + 'static,
    ) -> Credentials {
        let mount = mount(settings, method);
        let path = format!("auth/{}/{below}", mount.encoded());
        let (mount, method) = (mount.to_string(), method.name);
        let endpoint = Endpoint { path, mount, method, hint };
        Box::new(Login { endpoint, proof: Box::new(proof) })
    }
}

impl LogIn for Login {
    fn may_lock(&self) -> bool {
        self.proof.may_lock()
    }

    fn log_in<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>> {
        Box::pin(async move {
            let mut tries = 0;
            loop {
                let proof = self.proof.proof(client).await?;
                let lost = proof.lost;
                let error = match self.endpoint.send(client, proof).await {
                    Ok(session) => return Ok(session),
                    Err(error) => lost.map_or(error.clone(), |lost| error.also(lost)),
                };
                tries += 1;
                // What was sent has an age and a signature, so each try makes it again.
                if error.cause != Cause::Upstream
                    || !self.endpoint.waits(client, &error, tries).await
                {
                    return Err(error.into());
                }
            }
        })
    }
}

impl Endpoint {
    async fn send(&self, client: &Client, proof: Proof) -> Result<Session, Error> {
        let what = format!("login at auth/{}", self.mount);
        let request = Request {
            body: Some(&proof.body),
            space: Space::Login,
            what: what.clone(),
            ..Request::new(Http::POST, self.path.as_str())
        };
        // Some methods answer a refusal with status 500.
        let answer = client.send(&request).await.map_err(|error| {
            if error.cause == Cause::Unexplained { error.also(self.hint) } else { error }
        })?;
        if !answer.is_success() {
            return Err(self.refused(client, &answer, &what));
        }
        for warning in &answer.warnings {
            log::info!("{what}: {warning}");
        }
        let mut session = Session::of_login(&answer, proof.files)
            .map_err(|error| client.placed(error, &what, answer.status))?;
        session.token.iter().for_each(|token| client.redactor().add(token));
        session.login = Some(format!("{} at auth/{}", self.method, self.mount));
        let clean = |text: &mut String| *text = client.redactor().clean(text);
        session.policies.iter_mut().chain(&mut session.identity).for_each(clean);
        Ok(session)
    }
}

impl Endpoint {
    /// Returns the error of a refusal, with a hint that fits it.
    fn refused(&self, client: &Client, answer: &Answer, what: &str) -> Error {
        let refused = Error { code: Code::Refused, ..client.refused(answer, what) };
        match (answer.status, answer.meaning) {
            (_, Meaning::Upstream) => {
                Error { code: Code::Unavailable, ..refused }.because(Cause::Upstream).hint(UPSTREAM)
            }
            (_, Meaning::NoRole) => {
                refused.hint("set VAULT_ROLE to the role to log in as").also(self.hint)
            }
            (_, Meaning::UnknownRole) => refused.hint(UNKNOWN_ROLE).also(self.hint),
            (_, Meaning::Expired) => refused.hint(EXPIRED).also(self.hint),
            (_, Meaning::NoMachine) => refused.hint(NO_MACHINE),
            (_, Meaning::LivesTooLong) => refused.hint(LIVES_TOO_LONG).also(self.hint),
            (_, Meaning::WrongAudience) => refused.hint(self.hint).also(WRONG_AUDIENCE),
            (403, _) => refused.hint(self.hint).also(&format!(
                "a login is denied, too, where nothing is mounted at auth/{} in this namespace \
                 (VAULT_NAMESPACE), and where wrong ones have locked the role or the user, for 15 \
                 minutes mostly",
                self.mount
            )),
            _ if client.auth_namespace().is_none() => {
                refused.hint(self.hint).also("with namespaces, VAULT_NAMESPACE says which")
            }
            _ => refused.hint(self.hint),
        }
    }

    /// Waits before the next try of the whole login. Returns whether there should be one.
    async fn waits(&self, client: &Client, error: &Error, tries: u32) -> bool {
        let what = format!("login at auth/{}", self.mount);
        client.patience.pause(error, None, &what, client.address(), tries).await.is_some()
    }
}

/// Reads a credential, and hides it in all messages from then on.
///
/// # Errors
/// 78 if it cannot be read or is not UTF-8, as JSON requires.
pub(super) fn load(client: &Client, found: &Located) -> Result<Loaded, Error> {
    let loaded = found.load(client.patience.left())?;
    client.redactor().add(&loaded.value);
    match loaded.value.expose_text() {
        Some(_) => Ok(loaded),
        None => Err(Error::config(format!("{}: not UTF-8", loaded.origin))),
    }
}

/// Returns the error for a method that is named but lacks something.
pub(super) fn incomplete(method: &Method, what: &str) -> Error {
    Error::config(format!("the auth method {}, and no {what}", method.name)).hint(format!(
        "{} needs {}. It reads {}",
        method.name,
        method.needs,
        method.reads.join(", ")
    ))
}

/// Returns the role, for a method that requires one.
pub(super) fn role(method: &Method, settings: &Settings) -> Result<String, Error> {
    settings.role.clone().ok_or_else(|| incomplete(method, "role"))
}

/// Returns the path where a method is mounted.
pub(super) fn mount(settings: &Settings, method: &Method) -> Path {
    settings.auth_mount.clone().unwrap_or_else(|| Path::constant(method.name))
}
