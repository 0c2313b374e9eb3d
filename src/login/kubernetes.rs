//! `kubernetes`: the token of the pod's service account, which the cluster vouches for.

use std::path::Path;

use super::jwt::proof;
use super::method::{Credentials, Login, Method, Proof, Prove, incomplete, load, role};
use crate::error::{Error, Errors};
use crate::settings::Settings;
use crate::settings::credentials::{self, Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;
use crate::vault::client::Client;

/// Where Kubernetes puts the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) const METHOD: Method = Method {
    name: "kubernetes",
    needs: "VAULT_ROLE and the service account's token: in \
            /var/run/secrets/kubernetes.io/serviceaccount/token, or VAULT_JWT[_FILE]",
    reads: &["VAULT_ROLE", "VAULT_JWT", "VAULT_JWT_FILE", "VAULT_AUTH_MOUNT"],
    find,
};

const HINT: &str = "does the role allow this service account, its namespace and the token's \
                    audience, and may Vault ask the cluster about it (TokenReview)? The mount may \
                    be another (VAULT_AUTH_MOUNT)";

/// A service account's token.
struct ServiceAccount {
    role: String,
    /// The token that the user names; otherwise it is in the usual file.
    jwt: Option<Located>,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let mut errors = Errors::default();
    let role = errors.keep(role(&METHOD, settings));
    let jwt = errors.keep(jwt(layers, settings));
    let (Some(role), Some(jwt)) = (role, jwt) else { return Err(errors) };
    Ok(Login::at_mount(settings, &METHOD, HINT, ServiceAccount { role, jwt }))
}

fn jwt(layers: &Layers<'_>, settings: &Settings) -> Result<Option<Located>, Error> {
    let found = Located::find(layers, &names::JWT)?;
    if found.is_some() || Path::new(TOKEN).exists() {
        return Ok(found);
    }
    let error = without_token();
    Err(match settings.auth_method {
        Some(_) => error,
        None => error.at("VAULT_ROLE is set, and neither a token nor credentials of AppRole are"),
    })
}

fn without_token() -> Error {
    incomplete(&METHOD, "token of a service account")
}

impl Prove for ServiceAccount {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        Ok(proof(Some(&self.role), self.token(client)?))
    }
}

impl ServiceAccount {
    fn token(&self, client: &Client) -> Result<Loaded, Error> {
        if let Some(found) = &self.jwt {
            return load(client, found);
        }
        let loaded = credentials::usual_file(Path::new(TOKEN), client.patience.left())?;
        let loaded = loaded.ok_or_else(without_token)?;
        client.redactor().add(&loaded.value);
        Ok(loaded)
    }
}
