//! `userpass`: a user that Vault itself knows, with a password.

use serde_json::json;

use super::{Body, Login, Method, Way, check_text, incomplete};
use crate::error::{Error, Errors};
use crate::grammar::path::percent_encoded;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;

pub(super) const METHOD: Method = Method {
    name: "userpass",
    needs: "VAULT_USERNAME and VAULT_PASSWORD[_FILE]",
    reads: &["VAULT_USERNAME", "VAULT_PASSWORD", "VAULT_PASSWORD_FILE", "VAULT_AUTH_MOUNT"],
    prepare: |layers, settings| prepare(&METHOD, HINT, layers, settings),
};

const HINT: &str = "are user name and password right? Five wrong passwords lock the user for 15 \
                    minutes; the mount may be another (VAULT_AUTH_MOUNT)";

/// A login with a user's name in the path, as LDAP has it too.
pub(super) fn prepare(
    method: &'static Method,
    hint: &'static str,
    layers: &Layers<'_>,
    settings: &Settings,
) -> Result<Way, Errors> {
    let mut errors = Errors::default();
    let user = errors.keep(user(method, settings));
    let password = errors.keep(password(method, layers));
    let (Some(user), Some(Loaded { value, file, .. })) = (user, password) else {
        return Err(errors);
    };
    let body = Body::Ready(Secret::from(json!({ "password": value.expose_text() }).to_string()));
    let login = Login::new(settings, method, body, hint);
    let (endpoint, files) = (format!("{}/{user}", login.endpoint), file.into_iter().collect());
    Ok(Way::Login(Login { endpoint, credentials: vec![value], files, ..login }))
}

/// The name as one segment of a path: a URL parser takes dots for a way up, however they are
/// written, and Vault has no path with a control character.
fn user(method: &Method, settings: &Settings) -> Result<String, Error> {
    match settings.username.as_deref() {
        None => Err(incomplete(method, "user name")),
        Some(name) if matches!(name, "." | "..") || name.contains(char::is_control) => {
            Err(Error::config("VAULT_USERNAME: not a name that a path can have"))
        }
        Some(name) => Ok(percent_encoded(name.as_bytes(), "-._~")),
    }
}

fn password(method: &Method, layers: &Layers<'_>) -> Result<Loaded, Error> {
    let found =
        Located::find(layers, &names::PASSWORD)?.ok_or_else(|| incomplete(method, "password"))?;
    let loaded = found.load()?;
    check_text(&loaded).map(|()| loaded)
}
