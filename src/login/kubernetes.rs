//! `kubernetes`: the token of the pod's service account, which the cluster vouches for.

use std::path::Path;

use super::jwt::{Presented, login};
use super::{Method, Way, incomplete, role};
use crate::error::{Error, Errors};
use crate::settings::Settings;
use crate::settings::credentials::{self, Loaded, Located};
use crate::settings::layers::Layers;
use crate::settings::names;

/// Where Kubernetes puts the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

pub(super) const METHOD: Method = Method {
    name: "kubernetes",
    needs: "VAULT_ROLE and the service account's token: in \
            /var/run/secrets/kubernetes.io/serviceaccount/token, or VAULT_JWT[_FILE]",
    reads: &["VAULT_ROLE", "VAULT_JWT", "VAULT_JWT_FILE", "VAULT_AUTH_MOUNT"],
    prepare,
};

const HINT: &str = "does the role allow this service account, its namespace and the token's \
                    audience, and may Vault ask the cluster about it (TokenReview)? The mount may \
                    be another (VAULT_AUTH_MOUNT)";

fn prepare(layers: &Layers<'_>, settings: &Settings) -> Result<Way, Errors> {
    let mut errors = Errors::default();
    let role = errors.keep(role(&METHOD, settings));
    let jwt = errors.keep(jwt(layers, settings));
    let (Some(role), Some(jwt)) = (role, jwt) else { return Err(errors) };
    Ok(Way::Login(login(
        settings,
        Presented { method: &METHOD, role: Some(role), jwt, hint: HINT },
    )?))
}

/// Read at each start: the kubelet renews the file.
fn jwt(layers: &Layers<'_>, settings: &Settings) -> Result<Loaded, Error> {
    match Located::find(layers, &names::JWT)? {
        Some(found) => found.load(),
        None => credentials::usual_file(Path::new(TOKEN))?.ok_or_else(|| no_token(settings)),
    }
}

fn no_token(settings: &Settings) -> Error {
    let error = incomplete(&METHOD, "token of a service account");
    match settings.auth_method {
        Some(_) => error,
        None => error.at("VAULT_ROLE is set, and neither a token nor credentials of AppRole are"),
    }
}
