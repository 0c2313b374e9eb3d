//! `cert`: the client certificate of the TLS connection.

use serde_json::json;

use super::method::{Credentials, Login, Method, Proof, Prove, incomplete};
use crate::error::{Error, Errors};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "cert",
    needs: "VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and an https address; VAULT_ROLE names one \
            certificate role",
    reads: &["VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY", "VAULT_ROLE", "VAULT_AUTH_MOUNT"],
    find,
};

const HINT: &str = "is the client certificate signed by an authority of a certificate role, and \
                    allowed by it? TLS must end at Vault itself, not at a load balancer. The \
                    mount may be another (VAULT_AUTH_MOUNT)";

/// The role, if one is named; the rest is in the handshake.
struct InHandshake {
    role: Option<String>,
}

fn find(_layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    if settings.tls.client.is_none() {
        return Err(incomplete(&METHOD, "client certificate").into());
    }
    if settings.address.as_ref().is_some_and(|address| !address.is_https()) {
        return Err(Error::config("the auth method cert, and an address that is not https")
            .hint("the client certificate is shown in the TLS handshake")
            .into());
    }
    Ok(Login::at_mount(settings, &METHOD, HINT, InHandshake { role: settings.role.clone() }))
}

impl Prove for InHandshake {
    async fn proof(&self, _client: &Client) -> Result<Proof, Errors> {
        let body = self.role.as_ref().map_or_else(|| json!({}), |role| json!({ "name": role }));
        Ok(Proof::of(Secret::from(body.to_string())))
    }
}
