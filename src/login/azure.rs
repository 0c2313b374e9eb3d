//! `azure`: the token of a managed identity, and which machine it is, from Azure's instance
//! metadata service.

use reqwest::{Method as Http, Url};
use serde_json::{Map, Value};

use super::jwt;
use super::method::{Credentials, Login, Method, Proof, Prove, role};
use crate::cloud::Platform;
use crate::cloud::metadata::{self, Page, Route, Web};
use crate::error::{Code, Error, Errors};
use crate::http::redact::Redactor;
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "azure",
    needs: "VAULT_ROLE and Azure's instance metadata service",
    reads: &["VAULT_ROLE", "VAULT_AUTH_MOUNT", "VAULT_AZURE_RESOURCE", "AZURE_CLIENT_ID", HOST],
    find,
};

const HINT: &str = "does the role allow this identity, its subscription and resource group, and \
                    is VAULT_AZURE_RESOURCE the resource of the mount's configuration? The mount \
                    may be another (VAULT_AUTH_MOUNT)";
const HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// The address of the service on every machine of Azure's.
const SERVER: &str = "http://169.254.169.254";
/// What Vault is configured with in its documentation.
const RESOURCE: &str = "https://management.azure.com/";
const TOKEN: &str = "the token of the managed identity, from Azure's instance metadata service";
const MACHINE: &str = "which machine this is, from Azure's instance metadata service";
const NOT_REACHED: &str =
    "does this run on a virtual machine of Azure's, and may the container reach 169.254.169.254?";

/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
#[derive(Debug)]
struct Identity {
    role: String,
    token: Url,
    machine: Url,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let role = role(&METHOD, settings)?;
    let server = layers.text(HOST).unwrap_or(SERVER);
    let resource = settings.azure_resource.as_deref().unwrap_or(RESOURCE);
    let mut query = vec![("api-version", "2018-02-01"), ("resource", resource)];
    // One of several identities, as Azure's own libraries are told of it.
    query.extend(layers.text("AZURE_CLIENT_ID").map(|id| ("client_id", id)));
    let token = url(server, "metadata/identity/oauth2/token", &query)?;
    let machine =
        url(server, "metadata/instance", &[("api-version", "2021-02-01"), ("format", "json")])?;
    Ok(Login::at_mount(settings, &METHOD, HINT, Identity { role, token, machine }))
}

fn url(server: &str, path: &str, query: &[(&str, &str)]) -> Result<Url, Error> {
    let mut url = metadata::server(server, HOST)?;
    url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    Ok(metadata::with_query(url, query))
}

impl Prove for Identity {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let web = Web::to(&client.patience, &Route::Direct, &self.token)?;
        let jwt = token(&get(&web, &self.token, TOKEN).await?, client.redactor())?;
        client.redactor().add(&jwt);
        let machine = machine(&get(&web, &self.machine, MACHINE).await?, client.redactor())?;
        Ok(Proof::of(jwt::body(Some(&self.role), &jwt, machine)))
    }
}

async fn get(web: &Web<'_>, url: &Url, what: &str) -> Result<Page, Error> {
    let headers = vec![("Metadata", "true".into())];
    web.ask(&metadata::Ask {
        headers,
        is_later,
        what,
        hint: NOT_REACHED,
        ..metadata::Ask::new(Http::GET, url.clone())
    })
    .await
}

/// The service answers so while it is being updated, or is not ready yet.
fn is_later(page: &Page) -> bool {
    matches!(page.status, 404 | 410)
}

fn token(page: &Page, redactor: &Redactor) -> Result<Secret, Error> {
    if !page.is_success() {
        return Err(page.refused(TOKEN, &page.words(), redactor).hint(
            "has the machine a managed identity? With several of them AZURE_CLIENT_ID says which",
        ));
    }
    let answer = answer(page);
    let token = answer
        .get("access_token")
        .and_then(Value::as_str)
        .and_then(|token| metadata::token(&token.into()));
    token.ok_or_else(|| {
        Error::new(Code::Protocol, format!("{TOKEN}: no access_token in the answer"))
    })
}

/// What Vault compares with the token: a machine of a scale set goes by the set's name.
fn machine(page: &Page, redactor: &Redactor) -> Result<Map<String, Value>, Error> {
    if !page.is_success() {
        return Err(page.refused(MACHINE, &page.words(), redactor).hint(NOT_REACHED));
    }
    let answer = answer(page);
    let field =
        |name: &str| answer.get("compute")?.get(name)?.as_str().filter(|text| !text.is_empty());
    let name = field("vmScaleSetName")
        .map(|name| ("vmss_name", name))
        .or_else(|| Some(("vm_name", field("name")?)));
    let (Some(subscription), Some(group), Some((kind, name))) =
        (field("subscriptionId"), field("resourceGroupName"), name)
    else {
        let without = "no name, resource group and subscription of a machine in the answer";
        return Err(Error::new(Code::Protocol, format!("{MACHINE}: {without}")).hint(NOT_REACHED));
    };
    let mut fields = Map::new();
    for (name, text) in
        [("subscription_id", subscription), ("resource_group_name", group), (kind, name)]
    {
        fields.insert(name.to_owned(), text.into());
    }
    Ok(fields)
}

/// Null where it is no JSON.
fn answer(page: &Page) -> Value {
    page.json().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_another_server_azures_own_is_asked() {
        let url = url(SERVER, "metadata/instance", &[("a", "b c/ü")]).expect("a URL");
        assert_eq!(url.as_str(), "http://169.254.169.254/metadata/instance?a=b%20c%2F%C3%BC");
    }
}
