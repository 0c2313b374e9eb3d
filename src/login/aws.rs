//! `aws`: a signed request to AWS's token service, which Vault forwards to learn who signed it
//! (IAM).

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::method::{Credentials, Login, Method, Proof, Prove, incomplete};
use crate::cloud::aws::{self, Source};
use crate::cloud::sigv4::{self, Credentials as Keys, Scope};
use crate::error::{Error, Errors};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::settings::layers::Layers;
use crate::vault::client::Client;

pub(super) const METHOD: Method = Method {
    name: "aws",
    needs: "credentials of AWS: in the environment, of a web identity, of the container or of the \
            instance; VAULT_ROLE where it is not named as the IAM principal is",
    reads: &[
        "VAULT_ROLE",
        "VAULT_AUTH_MOUNT",
        "VAULT_AWS_REGION",
        "VAULT_AWS_IAM_SERVER_ID",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_REGION",
    ],
    find,
};

const HINT: &str = "does the role allow this IAM principal? A mount with \
                    iam_server_id_header_value needs VAULT_AWS_IAM_SERVER_ID, one with an \
                    sts_region VAULT_AWS_REGION; the mount may be another (VAULT_AUTH_MOUNT)";
const REQUEST: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
/// The region that Vault assumes if none is configured.
const REGION: &str = "us-east-1";

/// <https://developer.hashicorp.com/vault/api-docs/auth/aws#login>
#[derive(Debug)]
struct Identity {
    role: Option<String>,
    region: String,
    server_id: Option<String>,
    source: Source,
}

fn find(layers: &Layers<'_>, settings: &Settings) -> Result<Credentials, Errors> {
    let mut errors = Errors::default();
    let region = errors.keep(region(layers, settings));
    let server_id = errors.keep(server_id(settings));
    let source = errors.keep(source(layers));
    let (Some(region), Some(server_id), Some(source)) = (region, server_id, source) else {
        return Err(errors);
    };
    let identity = Identity { role: settings.role.clone(), region, server_id, source };
    Ok(Login::at_mount(settings, &METHOD, HINT, identity))
}

fn source(layers: &Layers<'_>) -> Result<Source, Error> {
    aws::source(layers)?.ok_or_else(|| {
        incomplete(&METHOD, "credentials of AWS")
            .also("AWS_EC2_METADATA_DISABLED is true, so the instance is not asked for any")
    })
}

/// Returns the region to sign for. `auto` is the container's region, as in Vault's own command
/// line.
fn region(layers: &Layers<'_>, settings: &Settings) -> Result<String, Error> {
    match settings.aws_region.as_deref() {
        None => Ok(REGION.to_owned()),
        Some("auto") => aws::region(layers)?.ok_or_else(|| {
            Error::config("VAULT_AWS_REGION is auto, and the environment has no region").hint(
                "set AWS_REGION, or VAULT_AWS_REGION to the region that the mount is configured \
                 with",
            )
        }),
        Some(region) => aws::checked_region(region, "VAULT_AWS_REGION"),
    }
}

fn server_id(settings: &Settings) -> Result<Option<String>, Error> {
    match &settings.aws_server_id {
        Some(id) if !id.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') => {
            Err(Error::config("VAULT_AWS_IAM_SERVER_ID: characters that no header has"))
        }
        id => Ok(id.clone()),
    }
}

impl Prove for Identity {
    async fn proof(&self, client: &Client) -> Result<Proof, Errors> {
        let credentials = self.source.credentials(&client.patience).await?;
        Ok(Proof::of(self.signed(&credentials, SystemTime::now())?))
    }
}

impl Identity {
    /// Returns the body of the login: the request for Vault to send, in parts that are each base64
    /// of their text.
    fn signed(&self, credentials: &Keys, now: SystemTime) -> Result<Secret, Error> {
        let host = aws::sts_host(Some(&self.region));
        let mut headers = vec![("Content-Type", FORM)];
        headers.extend(self.server_id.as_deref().map(|id| ("X-Vault-AWS-IAM-Server-ID", id)));
        let mut all = Map::new();
        for (name, value) in &headers {
            put(&mut all, name, value);
        }
        // Vault takes the host from the URL, so it does not belong among the headers.
        headers.push(("Host", &host));
        let request = sigv4::Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: REQUEST.as_bytes(),
        };
        let scope = Scope { region: &self.region, service: "sts" };
        for (name, value) in sigv4::sign(&request, credentials, scope, now)? {
            let value = value.expose_text();
            put(&mut all, name, value.ok_or_else(|| Error::internal("a signature without text"))?);
        }
        let mut body = Map::new();
        put(&mut body, "iam_http_request_method", "POST");
        put(&mut body, "iam_request_url", &STANDARD.encode(format!("https://{host}/")));
        put(&mut body, "iam_request_body", &STANDARD.encode(REQUEST));
        put(&mut body, "iam_request_headers", &STANDARD.encode(Value::Object(all).to_string()));
        if let Some(role) = &self.role {
            put(&mut body, "role", role);
        }
        Ok(Secret::from(Value::Object(body).to_string()))
    }
}

fn put(object: &mut Map<String, Value>, name: &str, text: &str) {
    object.insert(name.to_owned(), text.into());
}
