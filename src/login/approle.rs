//! `approle`: a role id says which application it is; a secret id, which may come wrapped, proves
//! it.

use serde_json::json;

use super::method::{Credentials, Login, Method, Proof, Prove, incomplete, load, mount};
use crate::error::{Error, Errors};
use crate::login::wrapping::Wrapped;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;
use crate::vault::session::check_token;

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
    find,
};

const HINT: &str = "is the role id right, and is the secret id neither wrong, used up nor \
                    expired? Five wrong secret ids lock the role id for 15 minutes; the mount may \
                    be another (VAULT_AUTH_MOUNT)";

const LOST: &str = "the wrapping token is used up and its secret id is lost with this start: give \
                    the next one a new wrapping token";

/// The role, and the proof that the application may have it.
struct Application {
    role_id: Located,
    secret: Option<SecretId>,
    /// The role's mount and, if known, its name: a wrapping token must have been made for them.
    mount: String,
    role: Option<String>,
}

enum SecretId {
    Plain(Located),
    /// Inside a wrapping token.
    Wrapped(Located),
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let mut errors = Errors::default();
    let role_id = errors.keep(Located::find(layers, &names::ROLE_ID)).flatten();
    let secret = errors.keep(secret_id(layers)).flatten();
    errors.or(())?;
    let role_id = role_id.ok_or_else(|| incomplete(&METHOD, "role id"))?;
    let mount = mount(settings, &METHOD).to_string();
    let application = Application { role_id, secret, mount, role: settings.role.clone() };
    Ok(Login::at_mount(settings, &METHOD, HINT, application))
}

fn secret_id(layers: &Layers<'_>) -> Result<Option<SecretId>, Error> {
    let plain = Located::find(layers, &names::SECRET_ID)?;
    let wrapped = Located::find(layers, &names::WRAPPED_SECRET_ID)?;
    match (plain, wrapped) {
        (Some(plain), Some(wrapped)) => {
            let both = format!("{} and {} are both set", plain.origin(), wrapped.origin());
            Err(Error::config(both)
                .hint("a secret id comes as it is or wrapped: unset one of them"))
        }
        (plain, wrapped) => {
            Ok(plain.map(SecretId::Plain).or_else(|| wrapped.map(SecretId::Wrapped)))
        }
    }
}

impl Prove for Application {
    const MAY_LOCK: bool = true;

    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let mut errors = Errors::default();
        let role_id = errors.keep(load(client, &self.role_id));
        let secret =
            errors.keep(self.secret.as_ref().map(|secret| secret.load(client)).transpose());
        let (Some(role_id), Some(secret)) = (role_id, secret) else { return Err(errors) };
        let (secret_id, lost) = match (&self.secret, &secret) {
            (Some(SecretId::Wrapped(_)), Some(token)) => {
                (Some(self.unwrapped(client, token).await?), Some(LOST))
            }
            (_, secret) => (secret.as_ref().map(|secret| secret.value.clone()), None),
        };
        let body = body(&role_id.value, secret_id.as_ref());
        let files = [Some(role_id), secret].into_iter().flatten().filter_map(|loaded| loaded.file);
        Ok(Proof { body, files: files.collect(), lost })
    }
}

impl SecretId {
    fn load(&self, client: &Client) -> Result<Loaded, Error> {
        match self {
            SecretId::Plain(found) => load(client, found),
            SecretId::Wrapped(found) => {
                let token = load(client, found)?;
                check_token(&token.value).map_err(|error| error.at(&token.origin))?;
                Ok(token)
            }
        }
    }
}

impl Application {
    async fn unwrapped(&self, client: &Client, token: &Loaded) -> Result<Secret, Error> {
        let (token, origin) = (token.value.clone(), token.origin.clone());
        Wrapped::new(token, origin, self.mount.clone(), self.role.clone()).secret_id(client).await
    }
}

/// Returns what the login sends.
fn body(role_id: &Secret, secret_id: Option<&Secret>) -> Secret {
    let role_id = role_id.expose_text();
    Secret::from(match secret_id.map(Secret::expose_text) {
        Some(secret_id) => json!({ "role_id": role_id, "secret_id": secret_id }).to_string(),
        None => json!({ "role_id": role_id }).to_string(),
    })
}
