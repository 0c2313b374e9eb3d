//! What the auth methods have in common: a row for their table, and a login that is sent to a
//! mount.

use std::path::PathBuf;

use futures_util::future::LocalBoxFuture;
use reqwest::Method as Http;

use crate::error::{Cause, Code, Error, Errors};
use crate::grammar::path::Path;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::vault::client::{Client, Request, Space};
use crate::vault::session::Session;

/// An auth method: one file, and one row in [`METHODS`](super::METHODS).
pub struct Method {
    /// Its name, which is also the name of its default mount.
    pub name: &'static str,
    /// What a user must set.
    pub needs: &'static str,
    /// The settings that it reads.
    pub reads: &'static [&'static str],
    pub(super) find: fn(&Layers<'_>, &Settings) -> Result<Credentials, Errors>,
}

/// What logs in, again and again if need be.
pub type Credentials = Box<dyn LogIn>;

/// A way to a session.
pub trait LogIn {
    /// Gets a session. Files are read at each call, since they may have changed. A refused login is
    /// never repeated.
    ///
    /// # Errors
    /// 78 for each credential that cannot be read, 77 for a refusal, and whatever
    /// [`Client::send`] returns.
    fn log_in<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>>;

    /// Whether what is at the address adds a token of its own to requests without one.
    fn leaves_token_to_server(&self) -> bool {
        false
    }
}

/// A login at the mount of a method.
pub(super) struct Login<P> {
    endpoint: Endpoint,
    proof: P,
}

/// Where a login is sent.
struct Endpoint {
    /// Below `auth/<mount>/`, percent-encoded.
    path: String,
    mount: String,
    /// What to do about a refusal.
    hint: &'static str,
}

/// What a login sends, made when it is sent.
pub(super) struct Proof {
    /// The JSON body.
    pub(super) body: Secret,
    /// The files that the credentials came from.
    pub(super) files: Vec<PathBuf>,
    /// What to say if the login fails now, since a credential is used up.
    pub(super) lost: Option<&'static str>,
}

/// What shows who logs in.
pub(super) trait Prove {
    /// Reads files and asks platforms for what the login sends.
    async fn proof(&self, client: &Client) -> Result<Proof, Errors>;
}

impl Proof {
    /// A body whose credentials came from no file.
    pub(super) fn of(body: Secret) -> Proof {
        Proof { body, files: Vec::new(), lost: None }
    }
}

impl<P: Prove + 'static> Login<P> {
    /// A login at the mount of a method.
    pub(super) fn at_mount(
        settings: &Settings,
        method: &Method,
        hint: &'static str,
        proof: P,
    ) -> Credentials {
        Login::below_mount(settings, method, hint, "login", proof)
    }

    /// A login at a path below the mount of a method, percent-encoded.
    pub(super) fn below_mount(
        settings: &Settings,
        method: &Method,
        hint: &'static str,
        below: &str,
        proof: P,
    ) -> Credentials {
        let mount = mount(settings, method);
        let path = format!("auth/{}/{below}", mount.encoded());
        Box::new(Login { endpoint: Endpoint { path, mount: mount.to_string(), hint }, proof })
    }
}

impl<P: Prove + 'static> LogIn for Login<P> {
    fn log_in<'a>(&'a self, client: &'a Client) -> LocalBoxFuture<'a, Result<Session, Errors>> {
        Box::pin(async move {
            let proof = self.proof.proof(client).await?;
            let lost = proof.lost;
            let session = self.endpoint.send(client, proof).await;
            session.map_err(|error| lost.map_or(error.clone(), |lost| error.also(lost)).into())
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
        // Some methods answer a refusal with a status of 500.
        let answer = client.send(&request).await.map_err(|error| {
            if error.cause == Cause::Unexplained { error.also(self.hint) } else { error }
        })?;
        if !answer.is_success() {
            let refused = client.refused(&answer, &what);
            return Err(Error { code: Code::Refused, ..refused }.hint(self.hint));
        }
        for warning in &answer.warnings {
            log::info!("{what}: {warning}");
        }
        let session = Session::of_login(&answer, proof.files)
            .map_err(|error| client.placed(error, &what, answer.status))?;
        session.token.iter().for_each(|token| client.redactor().add(token));
        Ok(session)
    }
}

/// Reads a credential, which no message shows from then on.
///
/// # Errors
/// 78 if it cannot be read, or is not UTF-8 as JSON is.
pub(super) fn load(client: &Client, found: &Located) -> Result<Loaded, Error> {
    let loaded = found.load(client.patience.left())?;
    client.redactor().add(&loaded.value);
    match loaded.value.expose_text() {
        Some(_) => Ok(loaded),
        None => Err(Error::config(format!("{}: not UTF-8", loaded.origin))),
    }
}

/// The error of a method that is named and lacks something.
pub(super) fn incomplete(method: &Method, what: &str) -> Error {
    Error::config(format!("the auth method {}, and no {what}", method.name)).hint(format!(
        "{} needs {}. It reads {}",
        method.name,
        method.needs,
        method.reads.join(", ")
    ))
}

/// The role, for a method that cannot do without one.
pub(super) fn role(method: &Method, settings: &Settings) -> Result<String, Error> {
    settings.role.clone().ok_or_else(|| incomplete(method, "role"))
}

/// Where a method is mounted.
pub(super) fn mount(settings: &Settings, method: &Method) -> Path {
    settings.auth_mount.clone().unwrap_or_else(|| Path::constant(method.name))
}
