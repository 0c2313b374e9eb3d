//! Ways in: the table of auth methods, which one is taken, and the session that comes of it.

mod approle;
mod aws;
mod azure;
mod cert;
mod gcp;
mod jwt;
mod kubernetes;
mod ldap;
mod none;
mod token;
mod userpass;
pub mod wrapping;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method as Http;
use serde_json::Value;

use crate::error::{Cause, Code, Error, Errors};
use crate::grammar::path::Path;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::answer::Answer;
use crate::vault::client::{Client, Request, Space};

const NO_LOGIN: &str =
    "is it Vault that answers there, and is the auth method mounted where VAULT_AUTH_MOUNT says?";

/// An auth method: one file, and one row in [`METHODS`].
pub struct Method {
    /// Its name, which is also its default mount's.
    pub name: &'static str,
    /// What a user must set.
    pub needs: &'static str,
    /// The settings that it reads.
    pub reads: &'static [&'static str],
    prepare: fn(&Layers<'_>, &Settings) -> Result<Way, Errors>,
}

/// Every method of this version.
pub const METHODS: &[&Method] = &[
    &token::METHOD,
    &approle::METHOD,
    &kubernetes::METHOD,
    &jwt::METHOD,
    &cert::METHOD,
    &userpass::METHOD,
    &ldap::METHOD,
    &aws::METHOD,
    &gcp::METHOD,
    &azure::METHOD,
    &none::METHOD,
];

/// The method that is none.
pub const WITHOUT_LOGIN: &str = "none";

/// The first of them are inferred from what is set.
const INFERRED: usize = 3;

/// What gets us in.
#[derive(Debug)]
pub enum Way {
    /// A token that the user brings along.
    Given(Given),
    /// A login.
    Login(Login),
    /// Nothing: what is at the address adds a token of its own.
    Added,
}

/// A token that the user brings along.
#[derive(Debug)]
pub struct Given {
    token: Secret,
    files: Vec<PathBuf>,
}

/// A login, ready to be sent.
#[derive(Debug)]
pub struct Login {
    /// Below `auth/<mount>/`, percent-encoded.
    endpoint: String,
    mount: String,
    body: Body,
    /// What no message may show.
    credentials: Vec<Secret>,
    /// The files that they came from.
    files: Vec<PathBuf>,
    /// What to do about a refusal.
    hint: &'static str,
}

/// What a login sends.
enum Body {
    /// All of it is known before anything is asked.
    Ready(Secret),
    /// Something has to be asked for first.
    Asked(Box<dyn Ask>),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What a login sends, where something has to be asked for first: a secret id that is still
/// wrapped, a token that says which machine this is.
trait Ask {
    /// The body of the login.
    fn body(&self, client: &Client) -> Result<Secret, Error>;

    /// What to say of a login that failed after this.
    fn lost(&self) -> Option<&'static str> {
        None
    }
}

/// A token and what is known of it.
#[derive(Debug)]
pub struct Session {
    /// The token; none where an Agent or a Proxy adds its own.
    pub token: Option<Secret>,
    /// Whether it comes from our own login.
    pub is_own: bool,
    /// How many requests it is good for; `None` is any number, or not known.
    pub uses: Option<u64>,
    /// A batch token, which cannot be revoked.
    pub is_batch: bool,
    /// How long it lasts; `None` is for ever, or not known.
    pub ttl: Option<Duration>,
    /// The files of the credentials that were used.
    pub files: Vec<PathBuf>,
}

/// Chooses the method and reads its credentials.
///
/// # Errors
/// 78: an unknown method, credentials of several or of none, a file that cannot be read.
pub fn prepare(layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    let method = match &settings.auth_method {
        Some(name) => by_name(name)?,
        None => inferred(layers, settings)?,
    };
    log::debug!("auth method {}", method.name);
    (method.prepare)(layers, settings)
}

/// Checks the name of a method without reading anything.
///
/// # Errors
/// 78 with the list of those that there are.
pub fn by_name(name: &str) -> Result<&'static Method, Error> {
    let found = METHODS.iter().copied().find(|method| method.name == name);
    found.ok_or_else(|| {
        Error::config("--auth-method (VAULT_AUTH_METHOD): no such auth method")
            .hint(format!("the auth methods are {}", names(METHODS)))
    })
}

/// The method whose credentials are there, if they are those of one.
fn inferred(layers: &Layers<'_>, settings: &Settings) -> Result<&'static Method, Error> {
    let found = |credential| {
        Ok::<_, Error>(Located::find(layers, credential)?.map(|found| found.origin().to_string()))
    };
    let token = found(&names::TOKEN)?;
    let approle =
        [found(&names::ROLE_ID)?, found(&names::SECRET_ID)?, found(&names::WRAPPED_SECRET_ID)?];
    let approle: Vec<String> = approle.into_iter().flatten().collect();
    match (token, approle.is_empty()) {
        (Some(_), true) => Ok(&token::METHOD),
        (None, false) => Ok(&approle::METHOD),
        (Some(token), false) => Err(Error::config(format!(
            "credentials of two auth methods: {token}, and {}",
            approle.join(", ")
        ))
        .hint(
            "unset those of one of them, or name the method: VAULT_AUTH_METHOD=token or \
             VAULT_AUTH_METHOD=approle",
        )),
        (None, true) if settings.role.is_some() => Ok(&kubernetes::METHOD),
        (None, true) => Err(nothing_found(layers, settings)?),
    }
}

/// Nothing tells the method; what there is may be for one that has to be named.
fn nothing_found(layers: &Layers<'_>, settings: &Settings) -> Result<Error, Error> {
    let mut found = Vec::new();
    for credential in names::credentials() {
        found.extend(Located::find(layers, credential)?.map(|found| found.origin().to_string()));
    }
    found.extend(settings.username.is_some().then(|| "VAULT_USERNAME".to_owned()));
    found.extend(settings.tls.client.is_some().then(|| "VAULT_CLIENT_CERT".to_owned()));
    let found =
        if found.is_empty() { String::new() } else { format!("; found {}", found.join(", ")) };
    let message = format!("there are secrets to fetch, and no credentials to log in with{found}");
    let (inferred, named) = METHODS.split_at(INFERRED);
    let needs = inferred.iter().map(|method| format!("{} needs {}", method.name, method.needs));
    let needs = needs.collect::<Vec<_>>().join("; ");
    Ok(Error::config(message)
        .hint(format!("{needs}. VAULT_AUTH_METHOD names any other: {}", names(named))))
}

fn names(methods: &[&Method]) -> String {
    methods.iter().map(|method| method.name).collect::<Vec<_>>().join(", ")
}

/// Gets a token. A refused login is never repeated.
///
/// # Errors
/// 77 for a refusal, and what [`Client::send`] fails of.
pub fn enter(client: &Client, way: Way) -> Result<Session, Error> {
    match way {
        Way::Given(Given { token, files }) => {
            client.redactor().add(&token);
            Ok(Session { files, ..Session::of(Some(token)) })
        }
        Way::Added => Ok(Session::of(None)),
        Way::Login(login) => log_in(client, &login),
    }
}

impl Session {
    /// One with a token that is not of our own login, or without any: nothing else is known.
    fn of(token: Option<Secret>) -> Session {
        Session { token, is_own: false, uses: None, is_batch: false, ttl: None, files: Vec::new() }
    }
}

fn log_in(client: &Client, login: &Login) -> Result<Session, Error> {
    login.credentials.iter().for_each(|credential| client.redactor().add(credential));
    match &login.body {
        Body::Ready(body) => send(client, login, body),
        Body::Asked(ask) => {
            let body = ask.body(client)?;
            send(client, login, &body).map_err(|error| match ask.lost() {
                Some(lost) => error.also(lost),
                None => error,
            })
        }
    }
}

fn send(client: &Client, login: &Login, body: &Secret) -> Result<Session, Error> {
    let what = format!("login at auth/{}", login.mount);
    let answer = client.send(&Request {
        body: Some(body),
        space: Space::Login,
        what: what.clone(),
        ..Request::new(Http::POST, login.endpoint.as_str())
    });
    // Some methods answer a refusal with a status of 500.
    let answer = answer.map_err(|error| {
        if error.cause == Cause::Unexplained { error.also(login.hint) } else { error }
    })?;
    if !answer.is_success() {
        let refused = client.refused(&answer, &what);
        return Err(Error { code: Code::Refused, ..refused }.hint(login.hint));
    }
    for warning in answer.warnings() {
        log::info!("{what}: {}", client.redactor().clean(warning));
    }
    let session = session(&answer, login.files.clone())
        .map_err(|error| client.placed(error, &what, answer.status))?;
    session.token.iter().for_each(|token| client.redactor().add(token));
    Ok(session)
}

/// Understands the answer to a login with the credentials of `files`.
///
/// # Errors
/// 77 where it is wrapped or wants a second factor, 76 where there is no token in it, 78 for a
/// token that no header can hold.
pub fn session(answer: &Answer, files: Vec<PathBuf>) -> Result<Session, Error> {
    let auth = answer.body.0.get("auth").filter(|auth| auth.is_object());
    let Some(auth) = auth else { return Err(without_auth(answer)) };
    let token = auth.get("client_token").and_then(Value::as_str).unwrap_or_default();
    if token.is_empty() {
        return Err(without_token(auth));
    }
    let number = |name| auth.get(name).and_then(Value::as_u64).filter(|number| *number > 0);
    let token = Secret::from(token);
    check_token(&token)?;
    Ok(Session {
        token: Some(token),
        is_own: true,
        uses: number("num_uses"),
        is_batch: auth.get("token_type").and_then(Value::as_str) == Some("batch"),
        ttl: number("lease_duration").map(Duration::from_secs),
        files,
    })
}

fn without_auth(answer: &Answer) -> Error {
    if answer.body.0.get("wrap_info").is_some_and(Value::is_object) {
        return Error::new(Code::Refused, "the login's answer is wrapped").hint(
            "something between here and Vault asks for response wrapping (X-Vault-Wrap-TTL), \
             which is not for logins",
        );
    }
    Error::new(Code::Protocol, "an answer to a login without a token in it").hint(NO_LOGIN)
}

fn without_token(auth: &Value) -> Error {
    match auth.get("mfa_requirement").filter(|requirement| requirement.is_object()) {
        Some(requirement) => Error::new(
            Code::Refused,
            format!("the login wants a second factor (MFA{})", mfa(requirement)),
        )
        .hint(
            "a container has none: exempt the mount, or the role's entity, from the login \
             enforcement",
        ),
        None => {
            Error::new(Code::Protocol, "an answer to a login with an empty token").hint(NO_LOGIN)
        }
    }
}

/// The enforcements that want a factor, and the kinds that each of them takes.
fn mfa(requirement: &Value) -> String {
    let constraints =
        requirement.get("mfa_constraints").and_then(Value::as_object).into_iter().flatten();
    let shown = constraints.map(|(name, constraint)| {
        let any = constraint.get("any").and_then(Value::as_array).into_iter().flatten();
        let kinds: Vec<&str> = any.filter_map(|factor| factor.get("type")?.as_str()).collect();
        format!(", {}: {}", name.escape_default(), kinds.join(" or ").escape_default())
    });
    shown.collect()
}

/// Vault's own client refuses tokens with characters that cannot be printed; so would the HTTP
/// library, less clearly.
fn check_token(token: &Secret) -> Result<(), Error> {
    let printable = token.expose().iter().all(u8::is_ascii_graphic);
    if printable {
        Ok(())
    } else {
        Err(Error::config("the token has white space or characters that cannot be printed in it"))
    }
}

/// A method that is named and lacks something.
fn incomplete(method: &Method, what: &str) -> Error {
    Error::config(format!("the auth method {}, and no {what}", method.name)).hint(format!(
        "{} needs {}. It reads {}",
        method.name,
        method.needs,
        method.reads.join(", ")
    ))
}

/// A role, for a method that cannot do without.
fn role(method: &Method, settings: &Settings) -> Result<String, Error> {
    settings.role.clone().ok_or_else(|| incomplete(method, "role"))
}

/// JSON is UTF-8.
fn check_text(loaded: &Loaded) -> Result<(), Error> {
    match loaded.value.expose_text() {
        Some(_) => Ok(()),
        None => Err(Error::config(format!("{}: not UTF-8", loaded.origin))),
    }
}

impl Login {
    /// At the method's mount, without credentials that are known by now.
    fn new(settings: &Settings, method: &Method, body: Body, hint: &'static str) -> Login {
        let mount = mount(settings, method);
        let endpoint = format!("auth/{}/login", mount.encoded());
        Login {
            endpoint,
            mount: mount.to_string(),
            body,
            credentials: Vec::new(),
            files: Vec::new(),
            hint,
        }
    }
}

/// Where a method is mounted.
fn mount(settings: &Settings, method: &Method) -> Path {
    settings.auth_mount.clone().unwrap_or_else(|| Path::constant(method.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    fn understood(body: Value) -> Result<Session, Error> {
        session(&Answer::new(200, body), Vec::new())
    }

    #[test]
    fn what_a_login_says_of_its_token() {
        let auth = json!({"client_token": "hvs.x", "num_uses": 3, "lease_duration": 60, "token_type": "batch"});
        let session = understood(json!({ "auth": auth })).expect("a session");
        assert_eq!(
            (session.uses, session.is_batch, session.ttl),
            (Some(3), true, Some(Duration::from_mins(1)))
        );
        let unlimited =
            understood(json!({"auth": {"client_token": "x", "num_uses": 0, "lease_duration": 0}}))
                .expect("a session");
        assert_eq!((unlimited.uses, unlimited.is_batch, unlimited.ttl), (None, false, None));
    }

    #[test]
    fn logins_without_a_token_are_told_apart() {
        for (body, code, part) in [
            (json!({"auth": {"client_token": "", "mfa_requirement": {}}}), 77, "factor (MFA)"),
            (
                json!({"auth": {"client_token": "", "mfa_requirement": {
                    "mfa_request_id": "d0c9eec7-6921-8cc0-be62-202b289ef163",
                    "mfa_constraints": {"all-logins": {"any": [{"type": "totp", "id": "x"}, {"type": "duo"}]}},
                }}}),
                77,
                "factor (MFA, all-logins: totp or duo)",
            ),
            (json!({"auth": null, "wrap_info": {"token": "x"}}), 77, "wrapped"),
            (json!({"auth": null}), 76, "without a token"),
            (json!({"auth": {"client_token": ""}}), 76, "empty token"),
            (json!({"auth": {"client_token": "a\nb"}}), 78, "white space"),
            (json!([]), 76, "without a token"),
        ] {
            let error = understood(body).expect_err(part);
            assert!(error.code.status() == code && error.message.contains(part), "{error:?}");
        }
    }

    #[test]
    fn every_method_has_a_row_that_says_what_it_needs() {
        for method in METHODS {
            assert!(!method.needs.is_empty() && !method.reads.is_empty(), "{}", method.name);
            let hint = incomplete(method, "x").hint.expect("a hint");
            assert!(hint.contains(method.needs) && hint.contains(method.reads[0]), "{hint}");
            assert_eq!(by_name(method.name).map(|found| found.name), Ok(method.name));
        }
        for name in ["", "approl", "TOKEN"] {
            let error = by_name(name).err().expect("an error");
            let names = error.hint.expect("a hint");
            assert_eq!(error.code.status(), 78);
            assert!(METHODS.iter().all(|method| names.contains(method.name)), "{names}");
        }
    }
}
