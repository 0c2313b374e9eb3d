//! `approle`: a role id says which application it is, a secret id proves it.

use serde_json::json;

use super::{Login, Method, Way, endpoint};
use crate::credentials::{self, Loaded, Located};
use crate::error::{Error, Errors};
use crate::layers::{Credential, Layers};
use crate::secret::Secret;
use crate::settings::Settings;

pub(super) const METHOD: Method = Method {
    name: "approle",
    needs: "VAULT_ROLE_ID[_FILE] and, unless the role has bind_secret_id=false, VAULT_SECRET_ID[_FILE]",
    reads: &["VAULT_ROLE_ID", "VAULT_ROLE_ID_FILE", "VAULT_SECRET_ID", "VAULT_SECRET_ID_FILE", "VAULT_AUTH_MOUNT"],
    prepare,
};

const HINT: &str = "is the role id right, and is the secret id neither wrong, used up nor expired? \
    Five wrong secret ids lock the role id for 15 minutes; the mount may be another (VAULT_AUTH_MOUNT)";

fn prepare(layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    if let Some(wrapped) = Located::find(layers, &credentials::WRAPPED_SECRET_ID)? {
        return Err(Error::config(format!(
            "{}: wrapped secret ids are not supported by this version",
            wrapped.origin()
        ))
        .into());
    }
    let mut errors = Errors::default();
    let role_id = errors.keep(load(layers, &credentials::ROLE_ID)).flatten();
    let secret_id = errors.keep(load(layers, &credentials::SECRET_ID)).flatten();
    if role_id.is_none() && errors.0.is_empty() {
        errors.0.push(Error::config("the auth method approle, and no role id").hint(format!("set {}", METHOD.needs)));
    }
    let login = errors.keep(login(settings, role_id, secret_id));
    errors.or(())?;
    login.map(Way::Login).ok_or_else(Errors::default)
}

fn load(layers: &Layers<'_>, credential: &Credential) -> Result<Option<Loaded>, Error> {
    Located::find(layers, credential)?.map(|found| found.load()).transpose()
}

fn login(settings: &Settings, role_id: Option<Loaded>, secret_id: Option<Loaded>) -> Result<Login, Error> {
    let (mount, endpoint) = endpoint(settings, METHOD.name);
    let body = body(role_id.as_ref(), secret_id.as_ref())?;
    let (mut credentials, mut files) = (Vec::new(), Vec::new());
    for loaded in role_id.into_iter().chain(secret_id) {
        credentials.push(loaded.value);
        files.extend(loaded.file);
    }
    Ok(Login { endpoint, mount, body, credentials, files, hint: HINT })
}

fn body(role_id: Option<&Loaded>, secret_id: Option<&Loaded>) -> Result<Secret, Error> {
    let text = |loaded: &Loaded| match loaded.value.expose_text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::config(format!("{}: not UTF-8", loaded.origin))),
    };
    let role_id = role_id.map(text).transpose()?;
    Ok(Secret::from(match secret_id.map(text).transpose()? {
        Some(secret_id) => json!({ "role_id": role_id, "secret_id": secret_id }).to_string(),
        None => json!({ "role_id": role_id }).to_string(),
    }))
}
