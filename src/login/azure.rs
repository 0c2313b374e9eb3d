//! `azure`: the token of an Azure identity, and the resource that the identity belongs to.

use super::jwt;
use super::method::{Credentials, Login, Method, Proof, Prove, role};
use crate::cloud::Platform;
use crate::cloud::azure::{self, Identity, METADATA_HOST, Source};
use crate::error::Errors;
use crate::settings::Settings;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "azure",
    needs: "VAULT_ROLE and an identity: of the machine, of App Service or Container Apps, or of \
            the workload",
    reads: &[
        "VAULT_ROLE",
        "VAULT_AUTH_MOUNT",
        "VAULT_AZURE_RESOURCE",
        "VAULT_AZURE_CLIENT_ID",
        "AZURE_CLIENT_ID",
        METADATA_HOST,
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_TENANT_ID",
        "AZURE_AUTHORITY_HOST",
    ],
    find,
};

const HINT: &str = "does the role allow this identity, its subscription and resource group, and \
                    is VAULT_AZURE_RESOURCE the resource of the mount's configuration? The mount \
                    may be another (VAULT_AUTH_MOUNT)";
/// The resource that Vault's documentation configures.
const RESOURCE: &str = "https://management.azure.com/";
/// Selects the machine's own identity if the environment names another one.
const SYSTEM: &str = "system";

/// An identity that logs in as a role.
struct OfPlatform {
    role: String,
    source: Source,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let role = role(&METHOD, settings)?;
    let resource = settings.azure_resource.as_deref().unwrap_or(RESOURCE);
    // The platform's variable is for the application, whose identity may differ from ours.
    let client = match settings.azure_client.as_deref() {
        Some(client) if client.eq_ignore_ascii_case(SYSTEM) => None,
        Some(client) => Some(client),
        None => layers.text("AZURE_CLIENT_ID"),
    };
    let source = azure::source(layers, resource, client)?;
    Ok(Login::at_mount(settings, &METHOD, HINT, OfPlatform { role, source }))
}

impl Prove for OfPlatform {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let Identity { jwt, fields } = self.source.identity(&client.patience).await?;
        Ok(Proof::of(jwt::body(Some(&self.role), &jwt, fields)))
    }
}
