//! `jwt`: a JWT of a CI system, a mesh or an identity provider, whose signature Vault verifies.

use serde_json::{Map, Value};

use super::method::{Credentials, Login, Method, Proof, Prove};
use super::service_account::ServiceAccount;
use crate::error::Errors;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::Loaded;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "jwt",
    needs: "VAULT_JWT[_FILE], or a pod's service account, and, unless the mount has a \
            default_role, VAULT_ROLE",
    reads: &["VAULT_JWT", "VAULT_JWT_FILE", "VAULT_ROLE", "VAULT_AUTH_MOUNT"],
    find,
};

const HINT: &str = "do issuer, audience, subject and claims of the JWT fit the role, and has it \
                    not expired? The mount may be another (VAULT_AUTH_MOUNT)";

/// A JWT that the user brings along, or the pod.
struct Presented {
    role: Option<String>,
    jwt: ServiceAccount,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let jwt = ServiceAccount::find(layers, &METHOD, "JWT")?;
    let presented = Presented { role: settings.role.clone(), jwt };
    Ok(Login::at_mount(settings, &METHOD, HINT, presented))
}

impl Prove for Presented {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        Ok(proof(self.role.as_deref(), self.jwt.load(client)?))
    }
}

/// `{"role": …, "jwt": …}`, which several methods send.
pub(super) fn proof(role: Option<&str>, jwt: Loaded) -> Proof {
    let body = body(role, &jwt.value, Map::new());
    Proof { files: jwt.file.into_iter().collect(), ..Proof::of(body) }
}

/// The body of such a login, with what else a method sends.
pub(super) fn body(role: Option<&str>, jwt: &Secret, mut fields: Map<String, Value>) -> Secret {
    if let Some(role) = role {
        fields.insert("role".to_owned(), role.into());
    }
    fields.insert("jwt".to_owned(), jwt.expose_text().into());
    Secret::from(Value::Object(fields).to_string())
}
