//! `jwt`: a JWT of a CI system, a mesh or an identity provider, whose signature Vault verifies.

use serde_json::{Map, Value};

use super::method::{Credentials, Login, Method, Proof, Prove};
use super::service_account::ServiceAccount;
use crate::cloud::github;
use crate::error::Errors;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::credentials::{Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "jwt",
    needs: "VAULT_JWT[_FILE], a job of GitHub Actions, or a pod's service account, and, unless the mount has a \
            default_role, VAULT_ROLE",
    reads: &[
        "VAULT_JWT",
        "VAULT_JWT_FILE",
        "VAULT_ROLE",
        "VAULT_AUTH_MOUNT",
        "VAULT_JWT_AUDIENCE",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    ],
    find,
};

const HINT: &str = "do issuer, audience, subject and claims of the JWT fit the role, and has it \
                    not expired? The mount may be another (VAULT_AUTH_MOUNT)";

/// A JWT and the role to log in as.
struct Presented {
    role: Option<String>,
    jwt: Source,
}

/// Where the JWT comes from.
enum Source {
    /// The user or the pod provides it.
    There(ServiceAccount),
    /// The GitHub Actions job requests it.
    Job(github::Job),
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let jwt = match Located::find(layers, &names::JWT)? {
        Some(_) => None,
        None => github::job(layers, settings.jwt_audience.as_deref())?,
    };
    let jwt = match jwt {
        Some(job) => Source::Job(job),
        None => Source::There(ServiceAccount::find(layers, &METHOD, "JWT")?),
    };
    let presented = Presented { role: settings.role.clone(), jwt };
    Ok(Login::at_mount(settings, &METHOD, HINT, presented))
}

impl Prove for Presented {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let role = self.role.as_deref();
        Ok(match &self.jwt {
            Source::There(jwt) => proof(role, jwt.load(client)?),
            Source::Job(job) => {
                Proof::of(body(role, &job.token(&client.patience).await?, Map::new()))
            }
        })
    }
}

/// Returns `{"role": …, "jwt": …}`, which several methods send.
pub(super) fn proof(role: Option<&str>, jwt: Loaded) -> Proof {
    let body = body(role, &jwt.value, Map::new());
    Proof { files: jwt.file.into_iter().collect(), ..Proof::of(body) }
}

/// Returns the body of such a login, including any other fields that a method sends.
pub(super) fn body(role: Option<&str>, jwt: &Secret, mut fields: Map<String, Value>) -> Secret {
    if let Some(role) = role {
        fields.insert("role".to_owned(), role.into());
    }
    fields.insert("jwt".to_owned(), jwt.expose_text().into());
    Secret::from(Value::Object(fields).to_string())
}
