//! The auth method `azure`: the token of a managed identity, from Azure's instance metadata service.

use test_vault::{AzureMetadata, Fault, Target, TestVault, Value, json};

use crate::support::{Run, directory};
use crate::ways_in::{WayIn, assert_says_nothing_of, header_names};

const TOKEN: &str = "/metadata/identity/oauth2/token";
const INSTANCE: &str = "/metadata/instance";
const RESOURCE: &str = "https://management.azure.com/";

/// A machine with an identity, and a role that it may log in as.
struct Machine<'a> {
    way: WayIn<'a>,
    metadata: AzureMetadata,
}

impl Machine<'_> {
    fn new<'a>(target: &'a Target, metadata: AzureMetadata, resource: &str) -> Machine<'a> {
        let way = WayIn::new(target, "azure");
        target.operator().enable_azure(&way.mount, &metadata, resource);
        let machine = Machine { way, metadata };
        machine.role("web", bound());
        machine
    }

    fn role(&self, name: &str, settings: Value) {
        self.way.target.operator().azure_role(&self.way.mount, name, self.way.role(settings));
    }

    fn run(&self) -> Run {
        let host = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
        self.way.run().env("VAULT_ROLE", "web").env(host, self.metadata.addr())
    }
}

fn bound() -> Value {
    let (subscription, group) = (AzureMetadata::SUBSCRIPTION, AzureMetadata::RESOURCE_GROUP);
    json!({ "bound_subscription_ids": [subscription], "bound_resource_groups": [group] })
}

fn own() -> Target {
    TestVault::start().into()
}

#[test]
fn a_machine_logs_in_with_its_identity_and_what_it_is() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), RESOURCE);
    machine.way.assert_in(&machine.run());
    let resource = "resource=https%3A%2F%2Fmanagement.azure.com%2F";
    assert_eq!(
        machine.metadata.server().lines(),
        [
            format!("GET {TOKEN}?api-version=2018-02-01&{resource}"),
            format!("GET {INSTANCE}?api-version=2021-02-01&format=json")
        ]
    );
    for asked in machine.metadata.server().requests() {
        assert_eq!(header_names(&asked), ["accept", "host", "metadata", "user-agent"]);
        assert_eq!(asked.header("metadata"), Some("true"));
    }
    let body = json!({
        "role": "web", "jwt": machine.way.logins()[0].json()["jwt"], "vm_name": "web-1",
        "subscription_id": AzureMetadata::SUBSCRIPTION, "resource_group_name": AzureMetadata::RESOURCE_GROUP,
    });
    machine.way.assert_login("", &body);
}

#[test]
fn a_machine_of_a_scale_set_goes_by_the_name_of_the_set() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::in_scale_set(), RESOURCE);
    machine.role("set", json!({ "bound_scale_sets": ["web-set"] }));
    machine.way.assert_in(&machine.run().env("VAULT_ROLE", "set"));
    let body = json!({
        "role": "set", "jwt": machine.way.logins()[0].json()["jwt"], "vmss_name": "web-set",
        "subscription_id": AzureMetadata::SUBSCRIPTION, "resource_group_name": AzureMetadata::RESOURCE_GROUP,
    });
    machine.way.assert_login("", &body);
}

#[test]
fn resource_and_identity_can_be_chosen() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), "api://vault & more");
    let run = machine.run().env("VAULT_AZURE_RESOURCE", "api://vault & more");
    machine.way.assert_in(&run.clone().env("AZURE_CLIENT_ID", AzureMetadata::CLIENT));
    let asked = machine.metadata.server().requests()[0].query.clone();
    let client = AzureMetadata::CLIENT;
    assert_eq!(asked, format!("api-version=2018-02-01&resource=api%3A%2F%2Fvault%20%26%20more&client_id={client}"));
    machine.run().fails(69, &["expected audience", "VAULT_AZURE_RESOURCE"]);
    run.clone().env("AZURE_CLIENT_ID", "other").fails(77, &["Identity not found", "AZURE_CLIENT_ID"]);
    let directory = directory();
    let file = directory.path().join("app.env");
    std::fs::write(&file, "VAULT_AZURE_RESOURCE='api://vault & more'\n").expect("a file");
    machine.way.assert_in(&machine.run().option("--env-file").option(file));
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), RESOURCE);
    machine.role("principal", json!({ "bound_service_principal_ids": ["other"] }));
    machine.role("group", json!({ "bound_resource_groups": ["other"] }));
    machine.role("subscription", json!({ "bound_subscription_ids": ["other"] }));
    machine.role("set", json!({ "bound_scale_sets": ["other"] }));
    let unknown = machine.way.assert_refused(&machine.run().env("VAULT_ROLE", "none"), "invalid role name \"none\"");
    assert!(unknown.stderr.contains("VAULT_AZURE_RESOURCE"), "{}", unknown.stderr);
    // The plugin answers these with 500, which nothing tells from a server that is not well.
    for (role, words) in [
        ("principal", "service principal not authorized"),
        ("group", "resource group not authorized"),
        ("subscription", "subscription not authorized"),
        ("set", "isn't in a scale set"),
    ] {
        let before = machine.way.logins().len();
        let ended = machine.run().env("VAULT_ROLE", role).fails(69, &["status 500", words, "not repeated"]);
        assert!(ended.stderr.contains("does the role allow this identity"), "{}", ended.stderr);
        assert_eq!(machine.way.logins().len(), before + 1);
    }
    let jwt = machine.way.logins()[0].json()["jwt"].as_str().expect("a JWT").to_owned();
    assert_says_nothing_of(&machine.run().env("VAULT_ROLE", "none"), &jwt);
    let other = AzureMetadata::start();
    let forged = machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", other.addr());
    forged.fails(69, &["failed to verify signature"]);
    let name = json!({ "compute": { "name": "1", "resourceGroupName": "g", "subscriptionId": "s" } });
    machine.metadata.server().fault_times(1, INSTANCE, Fault::answer(200, name.to_string()));
    machine.way.assert_refused(&machine.run(), "invalid subscription id \"s\"");
}

#[test]
fn a_machine_without_an_identity_and_answers_of_another_shape_are_told_apart() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), RESOURCE);
    let without = AzureMetadata::without_identity();
    let run = machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", without.addr());
    run.fails(77, &["Identity not found", "managed identity", "AZURE_CLIENT_ID"]);
    let named = |fields: Value| json!({ "compute": fields }).to_string();
    for (path, body) in [
        (TOKEN, "{}".to_owned()),
        (TOKEN, "no JSON".to_owned()),
        (TOKEN, json!({ "access_token": 1 }).to_string()),
        (TOKEN, json!({ "access_token": "a b" }).to_string()),
        (TOKEN, json!({ "access_token": "" }).to_string()),
        (INSTANCE, "{}".to_owned()),
        (INSTANCE, named(json!({ "name": "web-1", "resourceGroupName": "g", "subscriptionId": "" }))),
        (INSTANCE, named(json!({ "name": "", "resourceGroupName": "g", "subscriptionId": "s" }))),
        (INSTANCE, named(json!([]))),
    ] {
        machine.metadata.server().fault_times(1, path, Fault::answer(200, body.clone()));
        let ended = machine.run().fails(76, &["Azure's instance metadata service", "in the answer"]);
        assert!(body.len() < 3 || !ended.stderr.contains(&body), "{}", ended.stderr);
    }
    machine.metadata.server().fault_times(1, INSTANCE, Fault::answer(403, "{}"));
    machine.run().fails(76, &["which machine this is", "status 403"]);
    assert_eq!(machine.way.logins().len(), 0);
}

#[test]
fn a_service_that_is_being_updated_is_asked_again() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), RESOURCE);
    for status in [404, 410, 429, 500] {
        machine.metadata.server().fault_times(1, TOKEN, AzureMetadata::not_now(status));
        machine.metadata.server().fault_times(1, INSTANCE, AzureMetadata::not_now(status));
        machine.way.assert_in(&machine.run());
    }
}

#[test]
fn an_address_that_is_none_is_named_before_anything_is_asked() {
    let target = own();
    let machine = Machine::new(&target, AzureMetadata::start(), RESOURCE);
    for addr in ["169.254.169.254", "ftp://a", "unix:///a", "http://user:s3cr3t@a", "http://a?x=y", "http://a#b"] {
        let run = machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", addr);
        let ended = run.fails(78, &["AZURE_POD_IDENTITY_AUTHORITY_HOST"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
    }
    assert_eq!(target.own().expect("ours").connections(), 0);
}
