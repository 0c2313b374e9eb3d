//! Tokens of Azure identities, and what Vault compares with them. The identities are those of a
//! virtual machine, of App Service and Container Apps, and of a workload that another issuer
//! vouches for.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, Url};
use serde_json::{Map, Value};

use crate::cloud::Platform;
use crate::cloud::metadata::{self, Ask, Page, Route, Web};
use crate::error::{Code, Error};
use crate::file;
use crate::grammar::address;
use crate::grammar::path::percent_encoded;
use crate::http;
use crate::http::retry::Patience;
use crate::secret::{Secret, Variable};

/// Sets another address for the instance metadata service.
pub(crate) const METADATA_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// The address of the service on every Azure machine.
const METADATA: &str = "http://169.254.169.254";
/// The public cloud's authority.
const AUTHORITY: &str = "https://login.microsoftonline.com/";
const FORM: &str = "application/x-www-form-urlencoded";

const OF_MACHINE: &str =
    "the token of the managed identity, from Azure's instance metadata service";
const MACHINE: &str = "which machine this is, from Azure's instance metadata service";
const OF_SERVICE: &str = "the token of the managed identity, from IDENTITY_ENDPOINT";
const OF_WORKLOAD: &str = "the token of the workload identity (Microsoft Entra)";
const NO_MACHINE: &str =
    "does this run on a virtual machine of Azure's, and may the container reach 169.254.169.254?";
const NO_SERVICE: &str = "App Service and Container Apps set IDENTITY_ENDPOINT and IDENTITY_HEADER";
const NO_AUTHORITY: &str = "Microsoft Entra must be reached from here; AZURE_AUTHORITY_HOST names \
                            another address for it";
const NO_IDENTITY: &str = "has the machine, or the service, a managed identity? With several of \
                           them VAULT_AZURE_CLIENT_ID says which";
const NOT_TRUSTED: &str = "has the identity of AZURE_CLIENT_ID a federated credential for this \
                           issuer and this subject?";

/// Where the token comes from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The machine's instance metadata service.
    /// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
    Machine {
        /// Returns the token.
        token: Url,
        /// Tells which machine this is.
        machine: Url,
    },
    /// The service that the container belongs to.
    /// <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
    Service {
        /// Returns the token.
        token: Url,
        /// Proves that the request comes from this container.
        header: Secret,
    },
    /// Microsoft Entra, in exchange for a token of another issuer, such as AKS.
    /// <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
    Workload(Workload),
}

/// What to exchange for a token.
#[derive(Debug)]
pub(crate) struct Workload {
    endpoint: Url,
    client: String,
    file: PathBuf,
    scope: String,
    network: Vec<Variable>,
}

/// A token, and the fields that Vault needs with it.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The token.
    pub(crate) jwt: Secret,
    /// The fields that tell what the token belongs to.
    pub(crate) fields: Map<String, Value>,
}

/// Returns the source that the environment names: a workload identity, a service, or else the
/// machine. `client` selects one of several identities.
///
/// # Errors
/// 78 for variables that are inconsistent or not understood.
pub(crate) fn source(
    platform: &dyn Platform,
    resource: &str,
    client: Option<&str>,
) -> Result<Source, Error> {
    if let Some(file) = platform.text("AZURE_FEDERATED_TOKEN_FILE") {
        return workload(platform, file, resource, client).map(Source::Workload);
    }
    match (platform.text("IDENTITY_ENDPOINT"), platform.variable("IDENTITY_HEADER")) {
        (Some(endpoint), Some(header)) => service(endpoint, header, resource, client),
        _ => machine(platform, resource, client),
    }
}

fn workload(
    platform: &dyn Platform,
    file: &str,
    resource: &str,
    client: Option<&str>,
) -> Result<Workload, Error> {
    const HOST: &str = "AZURE_AUTHORITY_HOST";
    let (Some(tenant), Some(client)) = (platform.text("AZURE_TENANT_ID"), client) else {
        return Err(Error::config(
            "AZURE_FEDERATED_TOKEN_FILE is set, and AZURE_TENANT_ID or AZURE_CLIENT_ID is not",
        )
        .hint("the webhook of AKS's workload identity sets all three"));
    };
    let mut endpoint = metadata::server(platform.text(HOST).unwrap_or(AUTHORITY), HOST)?;
    if endpoint.scheme() != "https" && !endpoint.host_str().is_some_and(address::is_loopback) {
        return Err(Error::config(format!("{HOST}: a credential in clear to another machine"))
            .hint("its address begins with https://"));
    }
    let tenant = percent_encoded(tenant.as_bytes(), "-._~");
    endpoint
        .set_path(&format!("{}/{tenant}/oauth2/v2.0/token", endpoint.path().trim_end_matches('/')));
    Ok(Workload {
        endpoint,
        client: client.to_owned(),
        file: PathBuf::from(file),
        scope: format!("{resource}/.default"),
        network: http::about_network(platform.environment()),
    })
}

fn service(
    endpoint: &str,
    header: &Secret,
    resource: &str,
    client: Option<&str>,
) -> Result<Source, Error> {
    let mut query = vec![("api-version", "2019-08-01"), ("resource", resource)];
    query.extend(client.map(|id| ("client_id", id)));
    let token = metadata::with_query(metadata::server(endpoint, "IDENTITY_ENDPOINT")?, &query);
    let header = metadata::token(header)
        .ok_or_else(|| Error::config("IDENTITY_HEADER: characters that no header has"))?;
    Ok(Source::Service { token, header })
}

fn machine(platform: &dyn Platform, resource: &str, client: Option<&str>) -> Result<Source, Error> {
    let server = platform.text(METADATA_HOST).unwrap_or(METADATA);
    let mut query = vec![("api-version", "2018-02-01"), ("resource", resource)];
    query.extend(client.map(|id| ("client_id", id)));
    let token = at(server, "metadata/identity/oauth2/token", &query)?;
    let machine =
        at(server, "metadata/instance", &[("api-version", "2021-02-01"), ("format", "json")])?;
    Ok(Source::Machine { token, machine })
}

fn at(server: &str, path: &str, query: &[(&str, &str)]) -> Result<Url, Error> {
    let mut url = metadata::server(server, METADATA_HOST)?;
    url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    Ok(metadata::with_query(url, query))
}

impl Source {
    /// Returns the token and the fields for it, and hides the token in all messages from then on.
    ///
    /// # Errors
    /// 77 for a refusal, 76 for an answer without a token, 78 for a file that cannot be read, and
    /// whatever [`Web::ask`] returns.
    pub(crate) async fn identity(&self, patience: &Patience) -> Result<Identity, Error> {
        match self {
            Source::Machine { token, machine } => of_machine(patience, token, machine).await,
            Source::Service { token, header } => {
                let jwt = of_service(patience, token, header).await?;
                let fields = resource_of(&jwt).map(Resource::of_service).unwrap_or_default();
                Ok(Identity { jwt, fields })
            }
            Source::Workload(workload) => {
                let jwt = workload.exchanged(patience).await?;
                let fields = resource_of(&jwt).map(Resource::place).unwrap_or_default();
                Ok(Identity { jwt, fields })
            }
        }
    }
}

async fn of_machine(patience: &Patience, token: &Url, machine: &Url) -> Result<Identity, Error> {
    let web = Web::to(patience, &Route::Direct, token)?;
    let jwt = given(patience, &get(&web, token, OF_MACHINE).await?, OF_MACHINE, NO_IDENTITY)?;
    let fields = about_machine(patience, &get(&web, machine, MACHINE).await?)?;
    Ok(Identity { jwt, fields })
}

async fn get(web: &Web<'_>, url: &Url, what: &str) -> Result<Page, Error> {
    let headers = vec![("Metadata", "true".into())];
    let is_later = |page: &Page| matches!(page.status, 404 | 410);
    // The service answers with these statuses while it is being updated or is not ready yet.
    web.ask(&Ask {
        headers,
        is_later,
        what,
        hint: NO_MACHINE,
        ..Ask::new(Method::GET, url.clone())
    })
    .await
}

async fn of_service(patience: &Patience, url: &Url, header: &Secret) -> Result<Secret, Error> {
    patience.redactor.add(header);
    let ask = Ask {
        headers: vec![("X-IDENTITY-HEADER", header.clone())],
        what: OF_SERVICE,
        hint: NO_SERVICE,
        ..Ask::new(Method::GET, url.clone())
    };
    let page = Web::to(patience, &Route::Direct, url)?.ask(&ask).await?;
    given(patience, &page, OF_SERVICE, NO_IDENTITY)
}

impl Workload {
    async fn exchanged(&self, patience: &Patience) -> Result<Secret, Error> {
        let origin = "AZURE_FEDERATED_TOKEN_FILE";
        let content = file::read(&self.file, origin, patience.left())?;
        let assertion = metadata::token(&Secret::from(content.bytes.to_vec()))
            .ok_or_else(|| Error::config(format!("{}: no token in it", content.place)))?;
        patience.redactor.add(&assertion);
        let ask = Ask {
            headers: vec![("Content-Type", FORM.into())],
            body: Some(self.form(&assertion)),
            what: OF_WORKLOAD,
            hint: NO_AUTHORITY,
            ..Ask::new(Method::POST, self.endpoint.clone())
        };
        let route = Route::Internet(&self.network, None);
        let page = Web::to(patience, &route, &self.endpoint)?.ask(&ask).await?;
        given(patience, &page, OF_WORKLOAD, NOT_TRUSTED)
    }

    fn form(&self, assertion: &Secret) -> Secret {
        let encoded = |text: &[u8]| percent_encoded(text, "-._~");
        Secret::from(format!(
            "grant_type=client_credentials&client_id={}&client_assertion_type=\
             urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={}&\
             scope={}",
            encoded(self.client.as_bytes()),
            encoded(assertion.expose()),
            encoded(self.scope.as_bytes()),
        ))
    }
}

/// Returns the token in an answer.
fn given(patience: &Patience, page: &Page, what: &str, hint: &str) -> Result<Secret, Error> {
    if !page.is_success() {
        return Err(page.refused(what, &page.words(), &patience.redactor).hint(hint));
    }
    let answer = page.json().unwrap_or_default();
    let token = answer.get("access_token").and_then(Value::as_str);
    let token = token.and_then(|token| metadata::token(&token.into())).ok_or_else(|| {
        Error::new(Code::Protocol, format!("{what}: no access_token in the answer"))
    })?;
    patience.redactor.add(&token);
    Ok(token)
}

/// Returns what Vault compares with the token. A machine in a scale set goes by the set's name.
/// Vault's plugin refuses a machine name that begins with a digit, but accepts the whole id.
fn about_machine(patience: &Patience, page: &Page) -> Result<Map<String, Value>, Error> {
    if !page.is_success() {
        return Err(page.refused(MACHINE, &page.words(), &patience.redactor).hint(NO_MACHINE));
    }
    let answer = page.json().unwrap_or_default();
    let field =
        |name: &str| answer.get("compute")?.get(name)?.as_str().filter(|text| !text.is_empty());
    let is_taken = |name: &&str| !name.starts_with(|first: char| first.is_ascii_digit());
    let named = |kind, name| field(name).map(|name| (kind, name));
    let taken = |kind, name| named(kind, name).filter(|(_, name)| is_taken(name));
    let name = taken("vmss_name", "vmScaleSetName")
        .or_else(|| taken("vm_name", "name"))
        .or_else(|| named("resource_id", "resourceId"))
        .or_else(|| named("vm_name", "name"));
    let (Some(subscription), Some(group), Some(name)) =
        (field("subscriptionId"), field("resourceGroupName"), name)
    else {
        let without = "no name, resource group and subscription of a machine in the answer";
        return Err(Error::new(Code::Protocol, format!("{MACHINE}: {without}")).hint(NO_MACHINE));
    };
    Ok(fields(&[("subscription_id", subscription), ("resource_group_name", group), name]))
}

fn fields(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

/// What a token belongs to: `/subscriptions/S/resourcegroups/G/providers/…`.
#[derive(Debug, PartialEq, Eq)]
struct Resource(String);

/// Returns the resource that a token names (`xms_mirid`). The token is not verified here; Vault
/// does that.
fn resource_of(jwt: &Secret) -> Option<Resource> {
    let claims = jwt.expose_text()?.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(Resource(claims.get("xms_mirid")?.as_str()?.to_owned()))
}

impl Resource {
    /// Returns the subscription and the resource group.
    fn place(self) -> Map<String, Value> {
        let mut parts = self.0.split('/').skip(1);
        let mut named = |name: &str| {
            parts.next().filter(|part| part.eq_ignore_ascii_case(name)).and_then(|_| parts.next())
        };
        match (named("subscriptions"), named("resourcegroups")) {
            (Some(subscription), Some(group)) => {
                fields(&[("subscription_id", subscription), ("resource_group_name", group)])
            }
            _ => Map::new(),
        }
    }

    /// Returns the same and the whole id, unless the id is the identity's own and not the
    /// service's.
    fn of_service(self) -> Map<String, Value> {
        let id = self.0.clone();
        let is_identity = id.to_ascii_lowercase().contains("/userassignedidentities/");
        let mut fields = self.place();
        if !fields.is_empty() && !is_identity {
            fields.insert("resource_id".to_owned(), id.into());
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(claims: &Value) -> Secret {
        Secret::from(format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
    }

    #[test]
    fn without_another_server_azures_own_is_asked() {
        let url = at(METADATA, "metadata/instance", &[("a", "b c/ü")]).expect("a URL");
        assert_eq!(url.as_str(), "http://169.254.169.254/metadata/instance?a=b%20c%2F%C3%BC");
    }

    #[test]
    fn what_a_token_belongs_to_is_read_from_it() {
        let site = "/subscriptions/s/resourcegroups/g/providers/Microsoft.Web/sites/web";
        let identity = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/\
                        userAssignedIdentities/web";
        let place = json!({ "subscription_id": "s", "resource_group_name": "g" });
        let mut whole = place.clone();
        whole["resource_id"] = site.into();
        for (id, of_service) in [(site, &whole), (identity, &place)] {
            let found = || resource_of(&token(&json!({ "xms_mirid": id }))).expect("a resource");
            assert_eq!(Value::Object(found().place()), place);
            assert_eq!(Value::Object(found().of_service()), *of_service);
        }
        for id in ["", "/", "/subscriptions", "/subscriptions/s/x/g", "subscriptions/s"] {
            assert_eq!(Resource(id.to_owned()).of_service(), Map::new(), "{id}");
        }
        for jwt in ["", "a", "a.b.c", "a.e30.c"] {
            assert_eq!(resource_of(&jwt.into()), None, "{jwt}");
        }
    }
}
