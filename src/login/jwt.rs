//! `jwt`: a JWT of a CI system, a mesh or an identity provider, whose signature Vault verifies.

use serde_json::{Map, Value};

use super::{Body, Login, Method, Way, check_text, incomplete};
use crate::error::{Error, Errors};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;

pub(super) const METHOD: Method = Method {
    name: "jwt",
    needs: "VAULT_JWT[_FILE] and, unless the mount has a default_role, VAULT_ROLE",
    reads: &["VAULT_JWT", "VAULT_JWT_FILE", "VAULT_ROLE", "VAULT_AUTH_MOUNT"],
    prepare,
};

const HINT: &str = "do issuer, audience, subject and claims of the JWT fit the role, and has it \
                    not expired? The mount may be another (VAULT_AUTH_MOUNT)";

/// A JWT for a method that takes one.
pub(super) struct Presented {
    pub(super) method: &'static Method,
    pub(super) role: Option<String>,
    pub(super) jwt: Loaded,
    pub(super) hint: &'static str,
}

fn prepare(layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    let jwt =
        Located::find(layers, &names::JWT)?.ok_or_else(|| incomplete(&METHOD, "JWT"))?.load()?;
    let role = settings.role.clone();
    Ok(Way::Login(login(settings, Presented { method: &METHOD, role, jwt, hint: HINT })?))
}

/// `{"role": …, "jwt": …}`, which several methods send.
pub(super) fn login(settings: &Settings, presented: Presented) -> Result<Login, Error> {
    let Presented { method, role, jwt, hint } = presented;
    check_text(&jwt)?;
    let body = Body::Ready(body(role.as_deref(), &jwt.value, Map::new()));
    let (credentials, files) = (vec![jwt.value], jwt.file.into_iter().collect());
    Ok(Login { credentials, files, ..Login::new(settings, method, body, hint) })
}

/// The body of such a login, with what a method sends beside.
pub(super) fn body(role: Option<&str>, jwt: &Secret, mut fields: Map<String, Value>) -> Secret {
    if let Some(role) = role {
        fields.insert("role".to_owned(), role.into());
    }
    fields.insert("jwt".to_owned(), jwt.expose_text().into());
    Secret::from(Value::Object(fields).to_string())
}
