//! `gcp`: the identity token of an instance or a pod, from Google's metadata server.

use reqwest::{Method as Http, Url};
use serde_json::Map;

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
    name: "gcp",
    needs: "VAULT_ROLE, and Google's metadata server",
    reads: &["VAULT_ROLE", "VAULT_AUTH_MOUNT", HOST],
    find,
};

const HINT: &str = "does the role (of type gce for a virtual machine, of type iam for GKE Workload \
                    Identity and Cloud Run) allow this service account, and its project, zone and \
                    instance? The mount may be another (VAULT_AUTH_MOUNT)";
/// The address of the metadata server, also on GKE and Cloud Run. Google's libraries use its name,
/// but a pod's resolver turns that into many queries, and it takes only one failed query to fail.
const SERVER: &str = "169.254.169.254";
const HOST: &str = "GCE_METADATA_HOST";
const WHAT: &str = "the identity token of this machine, from Google's metadata server";
const NOT_REACHED: &str =
    "does this run on Google Cloud? GCE_METADATA_HOST names another host for its metadata server";
/// Every request must send this header, and the answer's header tells Google's server from any
/// other.
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

/// <https://cloud.google.com/compute/docs/instances/verifying-instance-identity>
#[derive(Debug)]
struct Identity {
    role: String,
    url: Url,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let role = role(&METHOD, settings)?;
    let host = layers.text(HOST).unwrap_or(SERVER);
    let url = url(host, &role)?;
    Ok(Login::at_mount(settings, &METHOD, HINT, Identity { role, url }))
}

/// Returns the URL of the token. Vault expects the token's audience to end in `vault/<role>`.
fn url(host: &str, role: &str) -> Result<Url, Error> {
    let mut url = metadata::server(&format!("http://{host}"), HOST)?;
    if url.path() != "/" {
        return Err(Error::config(format!("{HOST}: not a host, or a host and a port")));
    }
    url.set_path("computeMetadata/v1/instance/service-accounts/default/identity");
    Ok(metadata::with_query(
        url,
        &[("audience", &format!("http://vault/{role}")), ("format", "full")],
    ))
}

impl Prove for Identity {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let headers = vec![(FLAVOR.0, FLAVOR.1.into())];
        let ask = metadata::Ask {
            headers,
            what: WHAT,
            hint: NOT_REACHED,
            ..metadata::Ask::new(Http::GET, self.url.clone())
        };
        let page = Web::to(&client.patience, &Route::Direct, &self.url)?.ask(&ask).await?;
        let jwt = token(&page, client.redactor())?;
        client.redactor().add(&jwt);
        Ok(Proof::of(jwt::body(Some(&self.role), &jwt, Map::new())))
    }
}

fn token(page: &Page, redactor: &Redactor) -> Result<Secret, Error> {
    if !is_google(page) {
        return Err(Error::new(Code::Protocol, format!("{WHAT}: another server has answered"))
            .hint(NOT_REACHED));
    }
    if !page.is_success() {
        return Err(page.refused(WHAT, &page.words(), redactor).hint(
            "has the instance, or the pod's Kubernetes service account, a service account of \
             Google's?",
        ));
    }
    metadata::token(&page.body)
        .ok_or_else(|| Error::new(Code::Protocol, format!("{WHAT}: no token in the answer")))
}

/// Returns whether Google's server answered. GKE's server sends the header only on success; its
/// refusals have its name in the text.
fn is_google(page: &Page) -> bool {
    let has_flavor = page.headers.get(FLAVOR.0).is_some_and(|flavor| flavor == FLAVOR.1);
    has_flavor || (!page.is_success() && page.body.expose().starts_with(b"GKE Metadata Server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_another_host_googles_own_is_asked() {
        let path = "computeMetadata/v1/instance/service-accounts/default/identity";
        let query = "audience=http%3A%2F%2Fvault%2Fweb&format=full";
        let url = url(SERVER, "web").expect("a URL");
        assert_eq!(url.as_str(), format!("http://169.254.169.254/{path}?{query}"));
    }

    #[test]
    fn the_role_is_in_the_audience_and_nothing_in_it_gets_out() {
        let url = url("127.0.0.1:1", "a b/c&x=1").expect("a URL");
        let query: Vec<_> = url.query_pairs().collect();
        assert_eq!(query.len(), 2);
        assert_eq!(
            (query[0].0.as_ref(), query[0].1.as_ref()),
            ("audience", "http://vault/a b/c&x=1")
        );
        for host in ["a b", "", "a/b", "u@a", "a?b", "a#b", "http://a"] {
            assert!(super::url(host, "r").is_err(), "{host}");
        }
    }
}
