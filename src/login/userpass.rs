//! `userpass`: a user that Vault itself knows, with a password.

use serde_json::json;

use super::method::{Credentials, Login, Method, Proof, Prove, incomplete, load};
use crate::error::{Error, Errors};
use crate::grammar::path::percent_encoded;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "userpass",
    needs: "VAULT_USERNAME and VAULT_PASSWORD[_FILE]",
    reads: &["VAULT_USERNAME", "VAULT_PASSWORD", "VAULT_PASSWORD_FILE", "VAULT_AUTH_MOUNT"],
    find: |layers, settings| find(&METHOD, HINT, layers, settings),
};

const HINT: &str = "are user name and password right? Five wrong passwords lock the user for 15 \
                    minutes; the mount may be another (VAULT_AUTH_MOUNT)";

/// A user's password.
struct Password(Located);

/// Finds a login whose path contains the user's name. LDAP uses it too.
pub(super) fn find(
    method: &'static Method,
    hint: &'static str,
    layers: &Layers<'_>,
    settings: &Settings,
) -> Result<Credentials, Errors> {
    let mut errors = Errors::default();
    let user = errors.keep(user(method, settings));
    let password = errors.keep(password(method, layers));
    let (Some(user), Some(password)) = (user, password) else {
        return Err(errors);
    };
    let below = format!("login/{user}");
    Ok(Login::below_mount(settings, method, hint, &below, Password(password)))
}

impl Prove for Password {
    const MAY_LOCK: bool = true;

    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let Loaded { value, file, .. } = load(client, &self.0)?;
        let body = Secret::from(json!({ "password": value.expose_text() }).to_string());
        Ok(Proof { files: file.into_iter().collect(), ..Proof::of(body) })
    }
}

/// Returns the name as one path segment. `.` and `..` are refused because a URL parser takes them
/// as path steps however they are written, and Vault has no path with a control character.
fn user(method: &Method, settings: &Settings) -> Result<String, Error> {
    match settings.username.as_deref() {
        None => Err(incomplete(method, "user name")),
        Some(name) if matches!(name, "." | "..") || name.contains(char::is_control) => {
            Err(Error::config("VAULT_USERNAME: not a name that a path can have"))
        }
        Some(name) => Ok(percent_encoded(name.as_bytes(), "-._~")),
    }
}

fn password(method: &Method, layers: &Layers<'_>) -> Result<Located, Error> {
    Located::find(layers, &names::PASSWORD)?.ok_or_else(|| incomplete(method, "password"))
}
