//! What the auth methods `gcp` and `azure` do on the server of our own. OpenBao has neither, so
//! nothing real was compared: the texts are those of the source of HashiCorp's plugins.

use test_vault::{AzureMetadata, GcpMetadata, TestVault, json};

use crate::contract::assert_refused;

#[test]
fn an_identity_of_compute_engine_logs_in_for_its_role_only() {
    let (vault, metadata) = (TestVault::start(), GcpMetadata::start());
    let operator = vault.operator();
    operator.enable_gcp("gcp", &metadata);
    operator.gcp_role("gcp", "web", json!({}));
    let login = |body| operator.request("POST", "auth/gcp/login", None, Some(body));
    let jwt = metadata.identity("http://vault/web", json!({}));
    let (status, answer) = login(json!({ "role": "web", "jwt": jwt }));
    assert_eq!((status, &answer["auth"]["metadata"]["role"]), (200, &json!("web")), "{answer}");
    let extra = login(json!({ "role": "web", "jwt": jwt, "x": 1 }));
    assert_refused(&extra, 422, "unknown fields: [\"x\"]");
    let other = metadata.identity("http://vault/other", json!({}));
    let text = "at least one of the JWT claim 'aud' must end in \"vault/web\"";
    assert_refused(&login(json!({ "role": "web", "jwt": other })), 400, text);
    let forged = GcpMetadata::start().identity("http://vault/web", json!({}));
    assert_eq!(login(json!({ "role": "web", "jwt": forged })).0, 400);
}

#[test]
fn a_token_of_azure_logs_in_for_the_right_resource_only() {
    let (vault, metadata) = (TestVault::start(), AzureMetadata::start());
    let operator = vault.operator();
    operator.enable_azure("azure", &metadata, "https://vault.example");
    operator.azure_role("azure", "web", json!({}));
    let login = |body| operator.request("POST", "auth/azure/login", None, Some(body));
    let jwt = metadata.token("https://vault.example", json!({}));
    assert_eq!(login(json!({ "role": "web", "jwt": jwt })).0, 200);
    assert_refused(&login(json!({ "role": "web" })), 400, "jwt is required");
    assert_refused(&login(json!({ "role": "x", "jwt": jwt })), 400, "invalid role name \"x\"");
    let wrong = login(json!({ "role": "web", "jwt": jwt, "subscription_id": "x" }));
    assert_refused(&wrong, 400, "invalid subscription id \"x\"");
    assert_eq!(login(json!({ "role": "web", "jwt": metadata.token("other", json!({})) })).0, 500);
}
