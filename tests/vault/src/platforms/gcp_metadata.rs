//! The metadata server of a Google Compute Engine virtual machine, as far as its identity goes.
//! Statuses and texts are those that the documentation gives and that are often quoted; no real one
//! was asked.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::request::parse_form;
use crate::harness::operator::merged;
use crate::harness::record::Recorded;
use crate::platforms::local::{LocalAnswer, LocalServer};
use crate::platforms::signer::JwtSigner;

const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts/";
const NO_ACCOUNT: &str = "Service account not enabled on this instance";

/// A metadata server on a free port, with the key that Vault must trust.
pub struct GcpMetadata {
    server: LocalServer,
    signer: Arc<JwtSigner>,
}

impl GcpMetadata {
    /// The project of the machine.
    pub const PROJECT: &str = "test-project";
    /// The machine's zone.
    pub const ZONE: &str = "europe-west1-b";
    /// The machine's name.
    pub const INSTANCE: &str = "web-1";
    /// The machine's number.
    pub const INSTANCE_ID: &str = "5555555555555555555";
    /// Its service account.
    pub const EMAIL: &str = "web@test-project.iam.gserviceaccount.com";
    /// The number of that service account.
    pub const ACCOUNT_ID: &str = "111111111111111111111";

    /// Starts one for a machine with a service account.
    pub fn start() -> Self {
        Self::with(true)
    }

    /// Starts one for a machine without a service account.
    pub fn without_service_account() -> Self {
        Self::with(false)
    }

    fn with(account: bool) -> Self {
        let signer = Arc::new(JwtSigner::new());
        let signing = Arc::clone(&signer);
        Self {
            server: LocalServer::start(move |request| answer(request, account, &signing)),
            signer,
        }
    }

    /// Returns the value for `GCE_METADATA_HOST`: host and port.
    pub fn host(&self) -> String {
        self.server.addr().trim_start_matches("http://").to_owned()
    }

    /// Returns the server with its requests and faults.
    pub fn server(&self) -> &LocalServer {
        &self.server
    }

    /// Returns the signer of the identities.
    pub fn signer(&self) -> &JwtSigner {
        &self.signer
    }

    /// Returns a full identity as the server issues it, with `changes` applied to its claims.
    pub fn identity(&self, audience: &str, changes: Value) -> String {
        self.signer.sign(merged(claims(audience, true), changes))
    }
}

fn answer(request: &Recorded, account: bool, signer: &JwtSigner) -> LocalAnswer {
    if request.header("x-forwarded-for").is_some() {
        return text(403, "Request contains an X-Forwarded-For header.");
    }
    if request.header("metadata-flavor") != Some("Google") {
        return text(403, "Missing Metadata-Flavor:Google header.");
    }
    if !account && request.path.starts_with(ACCOUNTS) {
        let body = json!({ "error": "invalid_request", "error_description": NO_ACCOUNT });
        return text(404, &body.to_string());
    }
    let name = request.path.strip_prefix(ACCOUNTS).and_then(|path| path.strip_suffix("/identity"));
    if request.method != "GET"
        || !name.is_some_and(|name| ["default", GcpMetadata::EMAIL].contains(&name))
    {
        return text(404, "Not Found");
    }
    let query = parse_form(&request.query);
    match query.get("audience").filter(|audience| !audience.is_empty()) {
        None => text(400, "non-empty audience parameter required"),
        Some(audience) => {
            let full = query.get("format").is_some_and(|format| format == "full");
            text(200, &signer.sign(claims(audience, full)))
        }
    }
}

fn text(status: u16, body: &str) -> LocalAnswer {
    let headers = [("metadata-flavor", "Google"), ("content-type", "text/html")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    (status, headers, body.as_bytes().to_vec())
}

fn claims(audience: &str, full: bool) -> Value {
    let mut claims = json!({
        "aud": audience,
        "azp": GcpMetadata::ACCOUNT_ID,
        "iss": "https://accounts.google.com",
        "sub": GcpMetadata::ACCOUNT_ID,
    });
    if full {
        claims["email"] = GcpMetadata::EMAIL.into();
        claims["email_verified"] = true.into();
        claims["google"] = json!({ "compute_engine": {
            "instance_creation_timestamp": 1_700_000_000,
            "instance_id": GcpMetadata::INSTANCE_ID,
            "instance_name": GcpMetadata::INSTANCE,
            "project_id": GcpMetadata::PROJECT,
            "project_number": 123_456_789_012_u64,
            "zone": GcpMetadata::ZONE,
        }});
    }
    claims
}
