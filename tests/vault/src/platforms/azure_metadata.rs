//! The Instance Metadata Service of an Azure virtual machine: the machine's description, and tokens
//! of its identity. Statuses and texts are those that the documentation gives and that are often
//! quoted; no real one was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::api::clock;
use crate::api::request::parse_form;
use crate::harness::operator::merged;
use crate::harness::record::Recorded;
use crate::platforms::local::{LocalAnswer, LocalServer};
use crate::platforms::signer::JwtSigner;
use crate::wire::fault::Fault;

/// The service on a free port, with the key that Vault must trust.
pub struct AzureMetadata {
    server: LocalServer,
    signer: Arc<JwtSigner>,
    machine: Machine,
}

#[derive(Clone, Copy)]
struct Machine {
    name: &'static str,
    scale_set: &'static str,
    has_identity: bool,
}

impl AzureMetadata {
    /// The tenant of the identity.
    pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
    /// The subscription of the machine.
    pub const SUBSCRIPTION: &str = "22222222-2222-2222-2222-222222222222";
    /// Its resource group.
    pub const RESOURCE_GROUP: &str = "web-group";
    /// Where it runs.
    pub const LOCATION: &str = "westeurope";
    /// The machine's id.
    pub const VM_ID: &str = "33333333-3333-3333-3333-333333333333";
    /// The principal that the tokens are for.
    pub const PRINCIPAL: &str = "44444444-4444-4444-4444-444444444444";
    /// The header value that proves to an App Service site that its container is asking.
    pub const HEADER: &str = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a";
    /// The id of the site.
    pub const SITE: &str = "/subscriptions/22222222-2222-2222-2222-222222222222/resourcegroups/\
                            web-group/providers/Microsoft.Web/sites/web";
    /// The id of an identity that is assigned to several machines.
    pub const USER_ASSIGNED: &str = "/subscriptions/22222222-2222-2222-2222-222222222222/\
                                     resourcegroups/web-group/providers/\
                                     Microsoft.ManagedIdentity/userAssignedIdentities/web";
    /// The other issuer's token that is exchanged.
    pub const ASSERTION: &str = "e30.c3ViamVjdA.c2lnbmF0dXJl";
    /// The client_id of that identity.
    pub const CLIENT: &str = "55555555-5555-5555-5555-555555555555";

    /// Starts it for a machine `web-1` with an identity.
    pub fn start() -> Self {
        Self::of(Machine { name: "web-1", scale_set: "", has_identity: true })
    }

    /// Starts it for a machine of the scale set `web-set`.
    pub fn in_scale_set() -> Self {
        Self::of(Machine { name: "web-set_f9ae3d85", scale_set: "web-set", has_identity: true })
    }

    /// Starts it for a machine that has no identity.
    pub fn without_identity() -> Self {
        Self::of(Machine { name: "web-1", scale_set: "", has_identity: false })
    }

    fn of(machine: Machine) -> Self {
        let signer = Arc::new(JwtSigner::new());
        let signing = Arc::clone(&signer);
        Self {
            server: LocalServer::start(move |request| answer(request, machine, &signing)),
            signer,
            machine,
        }
    }

    /// Returns the address to use in place of `http://169.254.169.254`.
    pub fn addr(&self) -> String {
        self.server.addr()
    }

    /// Returns the server with its requests and faults.
    pub fn server(&self) -> &LocalServer {
        &self.server
    }

    /// Returns the signer of the tokens.
    pub fn signer(&self) -> &JwtSigner {
        &self.signer
    }

    /// Returns a token as the service issues it, with `changes` applied to its claims.
    pub fn token(&self, resource: &str, changes: Value) -> String {
        self.signer.sign(merged(claims(resource, self.machine), changes))
    }

    /// Returns a fault for tokens: 429, 404, 410 (during an update) or 5xx.
    pub fn not_now(status: u16) -> Fault {
        let description = if status == 429 {
            "Temporarily throttled, too many requests"
        } else {
            "Try again later"
        };
        Fault::answer(
            status,
            json!({ "error": "invalid_request", "error_description": description }).to_string(),
        )
    }
}

fn answer(request: &Recorded, machine: Machine, signer: &JwtSigner) -> LocalAnswer {
    let query = parse_form(&request.query);
    let entra = format!("/{}/oauth2/v2.0/token", AzureMetadata::TENANT);
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/msi/token") => return of_service(request, &query, signer),
        ("POST", path) if path == entra => return of_workload(request, signer),
        _ => {}
    }
    if request.header("metadata") != Some("true") || request.header("x-forwarded-for").is_some() {
        return unmarked(&request.path);
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/metadata/identity/oauth2/token") => token(&query, machine, signer),
        ("GET", "/metadata/instance") => instance(&query, machine),
        _ => json_answer(404, &json!({ "error": "Not found" })),
    }
}

fn token(query: &BTreeMap<String, String>, machine: Machine, signer: &JwtSigner) -> LocalAnswer {
    if query.get("api-version").is_none_or(|version| version.as_str() < "2018-02-01") {
        return refused("Required query variable 'api-version' is missing");
    }
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return refused("Required query variable 'resource' is missing");
    };
    if !machine.has_identity
        || query.get("client_id").is_some_and(|client| client != AzureMetadata::CLIENT)
    {
        return refused("Identity not found");
    }
    let now = clock::unix(SystemTime::now());
    json_answer(
        200,
        &json!({
            "access_token": signer.sign(claims(resource, machine)), "client_id": AzureMetadata::CLIENT,
            "expires_in": "3599", "expires_on": (now + 3599).to_string(), "ext_expires_in": "3599",
            "not_before": now.to_string(), "resource": resource, "token_type": "Bearer",
        }),
    )
}

/// Answers for the identity of an App Service site.
/// <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
fn of_service(
    request: &Recorded,
    query: &BTreeMap<String, String>,
    signer: &JwtSigner,
) -> LocalAnswer {
    if request.header("x-identity-header") != Some(AzureMetadata::HEADER) {
        return json_answer(401, &json!({ "statusCode": 401, "message": "Unauthorized" }));
    }
    let is_asked = query.get("api-version").map(String::as_str) == Some("2019-08-01");
    let Some(resource) = query.get("resource").filter(|_| is_asked) else {
        return refused("api-version and resource are required");
    };
    let token = signer.sign(claims_of(resource, AzureMetadata::SITE));
    json_answer(200, &json!({ "access_token": token, "token_type": "Bearer" }))
}

/// Answers as Microsoft Entra, which exchanges another issuer's token.
fn of_workload(request: &Recorded, signer: &JwtSigner) -> LocalAnswer {
    let form = parse_form(&String::from_utf8_lossy(&request.body));
    let has = |name: &str, value: &str| form.get(name).map(String::as_str) == Some(value);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let scope = form.get("scope").and_then(|scope| scope.strip_suffix("/.default"));
    let is_right = has("grant_type", "client_credentials")
        && has("client_id", AzureMetadata::CLIENT)
        && has("client_assertion_type", kind)
        && has("client_assertion", AzureMetadata::ASSERTION);
    let Some(resource) = scope.filter(|_| is_right) else {
        return json_answer(
            401,
            &json!({
                "error": "invalid_client",
                "error_description": "AADSTS70021: No matching federated identity record found",
            }),
        );
    };
    let token = signer.sign(claims_of(resource, AzureMetadata::USER_ASSIGNED));
    json_answer(200, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3599 }))
}

fn instance(query: &BTreeMap<String, String>, machine: Machine) -> LocalAnswer {
    if !query.contains_key("api-version") {
        let text = "Bad request. api-version was not specified in the request. For more \
                    information refer to aka.ms/azureimds";
        return json_answer(400, &json!({ "error": text, "newest-versions": ["2021-02-01"] }));
    }
    json_answer(
        200,
        &json!({ "compute": {
            "location": AzureMetadata::LOCATION, "name": machine.name,
            "resourceGroupName": AzureMetadata::RESOURCE_GROUP, "subscriptionId": AzureMetadata::SUBSCRIPTION,
            "vmId": AzureMetadata::VM_ID, "vmScaleSetName": machine.scale_set,
        }}),
    )
}

/// Answers a request without the header, or one forwarded by a proxy. The two services word it
/// differently.
fn unmarked(path: &str) -> LocalAnswer {
    let text = "Required metadata header not specified";
    if path.starts_with("/metadata/identity/") {
        return json_answer(400, &json!({ "error": "bad_request_102", "error_description": text }));
    }
    json_answer(400, &json!({ "error": format!("Bad request: . {text}") }))
}

fn refused(description: &str) -> LocalAnswer {
    json_answer(400, &json!({ "error": "invalid_request", "error_description": description }))
}

fn json_answer(status: u16, body: &Value) -> LocalAnswer {
    (status, Vec::new(), body.to_string().into_bytes())
}

fn claims(resource: &str, machine: Machine) -> Value {
    let (subscription, group) = (AzureMetadata::SUBSCRIPTION, AzureMetadata::RESOURCE_GROUP);
    claims_of(
        resource,
        &format!(
            "/subscriptions/{subscription}/resourcegroups/{group}/providers/Microsoft.Compute/virtualMachines/{}",
            machine.name
        ),
    )
}

fn claims_of(resource: &str, id: &str) -> Value {
    json!({
        "aud": resource,
        "appid": AzureMetadata::CLIENT,
        "iss": format!("https://sts.windows.net/{}/", AzureMetadata::TENANT),
        "nbf": clock::unix(SystemTime::now()),
        "oid": AzureMetadata::PRINCIPAL,
        "sub": AzureMetadata::PRINCIPAL,
        "tid": AzureMetadata::TENANT,
        "xms_mirid": id,
    })
}
