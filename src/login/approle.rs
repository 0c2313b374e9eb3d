//! `approle`: a role id says which application it is, a secret id, which may come wrapped, proves
//! it.

use serde_json::json;

use super::{Ask, Body, Login, Method, Way, check_text, check_token, incomplete, mount};
use crate::error::{Error, Errors};
use crate::login::wrapping::Wrapped;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "approle",
    needs: "VAULT_ROLE_ID[_FILE] and, unless the role has bind_secret_id=false, \
            VAULT_SECRET_ID[_FILE] or VAULT_WRAPPED_SECRET_ID[_FILE]",
    reads: &[
        "VAULT_ROLE_ID",
        "VAULT_ROLE_ID_FILE",
        "VAULT_SECRET_ID",
        "VAULT_SECRET_ID_FILE",
        "VAULT_WRAPPED_SECRET_ID",
        "VAULT_WRAPPED_SECRET_ID_FILE",
        "VAULT_AUTH_MOUNT",
        "VAULT_ROLE",
    ],
    prepare,
};

const HINT: &str = "is the role id right, and is the secret id neither wrong, used up nor \
                    expired? Five wrong secret ids lock the role id for 15 minutes; the mount may \
                    be another (VAULT_AUTH_MOUNT)";

const LOST: &str = "the wrapping token is used up and its secret id is lost with this start: give \
                    the next one a new wrapping token";

/// What proves that it is the application.
enum Proof {
    SecretId(Loaded),
    /// A wrapping token with a secret id in it.
    Wrapped(Loaded),
}

fn prepare(layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    let mut errors = Errors::default();
    let role_id = errors.keep(role_id(layers)).flatten();
    let proof = errors.keep(proof(layers)).flatten();
    errors.or(())?;
    let role_id = role_id.ok_or_else(|| incomplete(&METHOD, "role id"))?;
    Ok(Way::Login(login(settings, role_id, proof)?))
}

fn role_id(layers: &Layers<'_>) -> Result<Option<Loaded>, Error> {
    Located::find(layers, &names::ROLE_ID)?.map(|found| found.load()).transpose()
}

fn proof(layers: &Layers<'_>) -> Result<Option<Proof>, Error> {
    let secret_id = Located::find(layers, &names::SECRET_ID)?;
    let wrapped = Located::find(layers, &names::WRAPPED_SECRET_ID)?;
    match (secret_id, wrapped) {
        (Some(secret_id), Some(wrapped)) => {
            let both = format!("{} and {} are both set", secret_id.origin(), wrapped.origin());
            Err(Error::config(both)
                .hint("a secret id comes as it is or wrapped: unset one of them"))
        }
        (Some(secret_id), None) => secret_id.load().map(|loaded| Some(Proof::SecretId(loaded))),
        (None, Some(wrapped)) => wrapped.load().map(|loaded| Some(Proof::Wrapped(loaded))),
        (None, None) => Ok(None),
    }
}

fn login(settings: &Settings, role_id: Loaded, proof: Option<Proof>) -> Result<Login, Error> {
    check_text(&role_id)?;
    let (body, given) = match proof {
        None => (Body::Ready(body(&role_id.value, None)), None),
        Some(Proof::SecretId(secret_id)) => {
            check_text(&secret_id)?;
            (Body::Ready(body(&role_id.value, Some(&secret_id.value))), Some(secret_id))
        }
        Some(Proof::Wrapped(token)) => {
            check_token(&token.value).map_err(|error| error.at(&token.origin))?;
            let (mount, role) = (mount(settings, &METHOD).to_string(), settings.role.clone());
            let wrapped = Wrapped::new(token.value.clone(), token.origin.clone(), mount, role);
            (
                Body::Asked(Box::new(Unwrapping {
                    role_id: role_id.value.clone(),
                    secret_id: wrapped,
                })),
                Some(token),
            )
        }
    };
    let (mut credentials, mut files) = (Vec::new(), Vec::new());
    for loaded in std::iter::once(role_id).chain(given) {
        credentials.push(loaded.value);
        files.extend(loaded.file);
    }
    Ok(Login { credentials, files, ..Login::new(settings, &METHOD, body, HINT) })
}

/// A role id with a secret id that is still to be unwrapped.
#[derive(Debug)]
struct Unwrapping {
    role_id: Secret,
    secret_id: Wrapped,
}

impl Ask for Unwrapping {
    fn body(&self, client: &Client) -> Result<Secret, Error> {
        Ok(body(&self.role_id, Some(&self.secret_id.secret_id(client)?)))
    }

    fn lost(&self) -> Option<&'static str> {
        Some(LOST)
    }
}

/// What the login sends.
fn body(role_id: &Secret, secret_id: Option<&Secret>) -> Secret {
    let role_id = role_id.expose_text();
    Secret::from(match secret_id.map(Secret::expose_text) {
        Some(secret_id) => json!({ "role_id": role_id, "secret_id": secret_id }).to_string(),
        None => json!({ "role_id": role_id }).to_string(),
    })
}
