//! `kubernetes`: the token of the pod's service account, which the cluster vouches for.

use super::jwt::proof;
use super::method::{Credentials, Login, Method, Proof, Prove, role};
use super::service_account::ServiceAccount;
use crate::error::Errors;
use crate::settings::Settings;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

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

/// A service account's token and the role to log in as.
struct Pod {
    role: String,
    jwt: ServiceAccount,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let mut errors = Errors::default();
    let role = errors.keep(role(&METHOD, settings));
    let jwt = ServiceAccount::find(layers, &METHOD, "token of a service account");
    let jwt = errors.keep(jwt.map_err(|error| match settings.auth_method {
        Some(_) => error,
        None => error.at("VAULT_ROLE is set, and neither a token nor credentials of AppRole are"),
    }));
    let (Some(role), Some(jwt)) = (role, jwt) else { return Err(errors) };
    Ok(Login::at_mount(settings, &METHOD, HINT, Pod { role, jwt }))
}

impl Prove for Pod {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        Ok(proof(Some(&self.role), self.jwt.load(client)?))
    }
}
