//! The auth method `azure`: the token of a managed identity, and the machine that it is on. There
//! is no real one to try.

use std::fs;
use std::time::Duration;

use test_vault::{AzureMetadata, Fault, LatePort, Target, TestVault, Value, json};

use crate::support::auth_mount::WayIn;
use crate::support::metadata_server::{
    assert_asked, assert_asks_no_proxy, assert_final, assert_not_reached,
    assert_says_nothing_of_jwt, passing, starts_before,
};
use crate::support::{Run, all_at_once, directory};

const TOKEN: &str = "/metadata/identity/oauth2/token";
const INSTANCE: &str = "/metadata/instance";
const METADATA: (&str, &str) = ("metadata", "true");
const RESOURCE: &str = "https://management.azure.com/";

/// A machine of Azure's, the method and a role.
struct Machine<'a> {
    way: WayIn<'a>,
    metadata: AzureMetadata,
}

impl Machine<'_> {
    fn new(target: &Target) -> Machine<'_> {
        let bounds = json!({ "bound_subscription_ids": [AzureMetadata::SUBSCRIPTION], "bound_locations": ["westeurope"] });
        Machine::with(target, AzureMetadata::start(), bounds)
    }

    fn with(target: &Target, metadata: AzureMetadata, settings: Value) -> Machine<'_> {
        let way = WayIn::new(target, "azure");
        target.operator().enable_azure(&way.mount, &metadata, RESOURCE);
        target.operator().azure_role(&way.mount, "web", way.role(settings));
        Machine { way, metadata }
    }

    fn run(&self) -> Run {
        self.way
            .run()
            .env("VAULT_ROLE", "web")
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.metadata.addr())
    }

    fn token(&self, claims: Value) -> String {
        self.metadata.token(RESOURCE, claims)
    }

    /// The next token is this one.
    fn gives(&self, token: &str) {
        let answer = json!({ "access_token": token, "token_type": "Bearer" }).to_string();
        self.metadata.server().fault_times(1, TOKEN, Fault::answer(200, answer));
    }

    /// The machine has these properties for the next start.
    fn is(&self, compute: Value) {
        let answer = json!({ "compute": compute }).to_string();
        self.metadata.server().fault_times(1, INSTANCE, Fault::answer(200, answer));
    }

    /// Vault answers 500 with these words, as its plugin does where it refuses: that is told, and
    /// not tried again.
    #[track_caller]
    /// The method refuses with a status of 500.
    fn assert_failed(&self, words: &str) {
        let vault = self.way.target.own().expect("ours");
        vault.clear();
        let at = format!("login at auth/{}", self.way.mount);
        self.run()
            .fails(77, &[&at, words, "oes the role allow this identity", "VAULT_AZURE_RESOURCE"]);
        assert_eq!(self.way.logins().len(), 1, "{words}");
    }
}

/// What the login of the role sends: who it is, and which machine.
fn body(jwt: &str, kind: &str, name: &str) -> Value {
    let (subscription, group) = (AzureMetadata::SUBSCRIPTION, AzureMetadata::RESOURCE_GROUP);
    json!({
        "role": "web", "jwt": jwt, "subscription_id": subscription, "resource_group_name": group, kind: name,
    })
}

fn ours() -> Target {
    Target::from(TestVault::start())
}

#[test]
fn a_machine_logs_in_with_two_requests_to_its_metadata_service() {
    let target = ours();
    let machine = Machine::new(&target);
    let jwt = machine.token(json!({}));
    machine.gives(&jwt);
    machine.way.assert_in(&machine.run());
    machine.way.assert_login("", &body(&jwt, "vm_name", "web-1"));
    let requests = machine.metadata.server().requests();
    assert_eq!(requests.len(), 2);
    let resource = "https%3A%2F%2Fmanagement.azure.com%2F";
    assert_asked(
        &requests[0],
        &format!("GET {TOKEN}?api-version=2018-02-01&resource={resource}"),
        METADATA,
    );
    assert_asked(
        &requests[1],
        &format!("GET {INSTANCE}?api-version=2021-02-01&format=json"),
        METADATA,
    );
    machine.way.assert_in(&machine.run());
}

#[test]
fn a_machine_of_a_scale_set_goes_by_the_name_of_the_set() {
    let target = ours();
    let bounds = json!({ "bound_scale_sets": ["web-set"] });
    let machine = Machine::with(&target, AzureMetadata::in_scale_set(), bounds);
    let jwt = machine.token(json!({}));
    machine.gives(&jwt);
    machine.way.assert_in(&machine.run());
    machine.way.assert_login("", &body(&jwt, "vmss_name", "web-set"));
}

#[test]
fn another_resource_and_one_of_several_identities_are_asked_for() {
    let target = ours();
    let machine = Machine::new(&target);
    let resource = "https://vault.example/a b?c&d";
    target.operator().azure_config(&machine.way.mount, &machine.metadata, resource);
    let run = machine
        .run()
        .env("VAULT_AZURE_RESOURCE", resource)
        .env("AZURE_CLIENT_ID", AzureMetadata::CLIENT);
    machine.way.assert_in(&run);
    let query = format!(
        "resource=https%3A%2F%2Fvault.example%2Fa%20b%3Fc%26d&client_id={}",
        AzureMetadata::CLIENT
    );
    assert_eq!(
        machine.metadata.server().lines()[0],
        format!("GET {TOKEN}?api-version=2018-02-01&{query}")
    );
    let other = run.env("AZURE_CLIENT_ID", "66666666-6666-6666-6666-666666666666");
    assert_final(
        &machine.way,
        &other,
        machine.metadata.server(),
        77,
        &["Identity not found", "AZURE_CLIENT_ID"],
    );
}

#[test]
fn settings_may_stand_in_an_env_file() {
    let target = ours();
    let machine = Machine::new(&target);
    let directory = directory();
    let file = directory.path().join("azure.env");
    let (addr, client) = (machine.metadata.addr(), AzureMetadata::CLIENT);
    let text = format!(
        "VAULT_AUTH_METHOD=azure\nBAO_ROLE=web\nVAULT_AZURE_RESOURCE={RESOURCE}\n\
         AZURE_CLIENT_ID={client}\nAZURE_POD_IDENTITY_AUTHORITY_HOST={addr}/\n"
    );
    fs::write(&file, text).expect("a file");
    let run = machine.way.run().without("VAULT_AUTH_METHOD").option("--env-file").option(&file);
    machine.way.assert_in(&run);
    assert!(machine.metadata.server().lines()[0].ends_with(&format!("client_id={client}")));
}

#[test]
fn every_refusal_of_a_login_is_told_in_vaults_words() {
    let target = ours();
    let machine = Machine::new(&target);
    for role in ["none", "a b/c&d", "wéb"] {
        let run = machine.run().env("VAULT_ROLE", role);
        machine.way.assert_refused(&run, &format!("invalid role name \"{role}\""));
    }
    let (subscription, group) = (AzureMetadata::SUBSCRIPTION, AzureMetadata::RESOURCE_GROUP);
    for (of, compute) in [
        ("invalid subscription id \"x\"", ("x", group, "web-1", "")),
        ("invalid resource group name \"a b\"", (subscription, "a b", "web-1", "")),
        ("invalid vm name \"1\"", (subscription, group, "1", "")),
        ("invalid vmss_name \"-\"", (subscription, group, "web-1", "-")),
    ] {
        let (subscription, group, name, set) = compute;
        machine.is(json!({
            "subscriptionId": subscription, "resourceGroupName": group, "name": name, "vmScaleSetName": set,
        }));
        machine.way.assert_refused(&machine.run(), of);
    }
}

#[test]
fn every_token_that_is_not_believed_is_told_in_vaults_words() {
    let target = ours();
    let machine = Machine::new(&target);
    for (token, words) in [
        (
            machine.token(json!({ "iss": "https://other.example" })),
            "issued by a different provider",
        ),
        (machine.token(json!({ "aud": "other" })), "expected audience"),
        (machine.token(json!({ "exp": 1 })), "token is expired"),
        (machine.token(json!({ "oid": "other" })), "service principal not authorized: other"),
        (
            machine.token(json!({ "xms_mirid": null })),
            "xms_az_rid and xms_mirid claims are missing",
        ),
        (machine.token(json!({ "xms_mirid": "/other" })), "token claim does not match"),
        (AzureMetadata::start().token(RESOURCE, json!({})), "failed to verify signature"),
        ("no-jwt-at-all".to_owned(), "malformed jwt"),
    ] {
        machine.gives(&token);
        machine.assert_failed(words);
        machine.gives(&token);
        assert_says_nothing_of_jwt(&machine.run(), &token);
    }
}

#[test]
fn every_bound_of_a_role_is_told_in_vaults_words() {
    let target = ours();
    for (bounds, words) in [
        (json!({ "bound_subscription_ids": ["other"] }), "subscription not authorized"),
        (json!({ "bound_resource_groups": ["other"] }), "resource group not authorized"),
        (json!({ "bound_locations": ["other"] }), "location not authorized"),
        (json!({ "bound_scale_sets": ["other"] }), "isn't in a scale set"),
        (json!({ "bound_service_principal_ids": ["other"] }), "service principal not authorized"),
    ] {
        Machine::with(&target, AzureMetadata::start(), bounds).assert_failed(words);
    }
}

#[test]
fn a_token_that_worked_is_not_said_either() {
    let target = ours();
    let machine = Machine::new(&target);
    let jwt = machine.token(json!({}));
    machine.gives(&jwt);
    assert_says_nothing_of_jwt(&machine.run(), &jwt);
    assert_eq!(machine.way.logins()[0].status, Some(200));
}

#[test]
fn a_machine_without_an_identity_is_told_so() {
    let target = ours();
    let machine = Machine::with(&target, AzureMetadata::without_identity(), json!({}));
    let parts =
        ["the token of the managed identity", "400", "Identity not found", "has the machine"];
    assert_final(&machine.way, &machine.run(), machine.metadata.server(), 77, &parts);
}

#[test]
fn what_the_metadata_service_refuses_is_told_in_its_words() {
    let target = ours();
    let machine = Machine::new(&target);
    let server = machine.metadata.server();
    server.fault_times(1, TOKEN, Fault::answer(403, "<html>no</html>"));
    let ended =
        assert_final(&machine.way, &machine.run(), server, 77, &["managed identity", "status 403"]);
    assert!(!ended.stderr.contains("html"), "{}", ended.stderr);
    let text = json!({ "error": "Bad request. api-version is invalid or was not specified in the request." });
    server.fault_times(1, INSTANCE, Fault::answer(400, text.to_string()));
    let parts = ["which machine this is", "status 400", "api-version is invalid"];
    assert_final(&machine.way, &machine.run(), server, 77, &parts);
}

#[test]
fn an_answer_that_is_not_azures_ends_the_start() {
    let target = ours();
    let machine = Machine::new(&target);
    let server = machine.metadata.server();
    let token = |value: Value| Fault::answer(200, json!({ "access_token": value }).to_string());
    for (path, fault, words) in [
        (TOKEN, Fault::answer(200, ""), "no access_token"),
        (TOKEN, Fault::answer(200, "garbage"), "no access_token"),
        (TOKEN, Fault::wrong_shape(), "no access_token"),
        (TOKEN, token(json!("")), "no access_token"),
        (TOKEN, token(json!("two words")), "no access_token"),
        (TOKEN, token(json!({ "jwt": "x" })), "no access_token"),
        (TOKEN, token(json!("a".repeat(10_000_000))), "more than 1 MiB"),
        (TOKEN, Fault::redirect("http://127.0.0.1:1/"), "307"),
        (TOKEN, Fault::Raw(b"SSH-2.0-x\r\n".to_vec()), "not HTTP"),
        (INSTANCE, Fault::wrong_shape(), "no name"),
        (
            INSTANCE,
            Fault::answer(200, json!({ "compute": { "name": "web-1" } }).to_string()),
            "no name",
        ),
        (INSTANCE, Fault::answer(200, "a".repeat(10_000_000)), "more than 1 MiB"),
    ] {
        server.fault_times(1, path, fault);
        assert_final(
            &machine.way,
            &machine.run(),
            server,
            76,
            &["Azure's instance metadata service", words],
        );
    }
}

#[test]
fn what_passes_is_waited_for() {
    let later = [404, 410, 429, 500].map(AzureMetadata::not_now);
    for path in [TOKEN, INSTANCE] {
        all_at_once(passing().into_iter().chain(later.clone()), |fault| {
            let target = ours();
            let machine = Machine::new(&target);
            machine.metadata.server().fault_times(2, path, fault);
            machine.way.assert_in(&machine.run());
            assert_eq!(machine.metadata.server().requests().len(), 4);
        });
    }
}

#[test]
fn a_metadata_service_that_comes_up_late_is_waited_for() {
    let target = ours();
    let machine = Machine::new(&target);
    let host = machine.metadata.addr().replace("http://", "");
    let name = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
    starts_before(&host, |host| machine.run().env(name, format!("http://{host}")));
}

#[test]
fn a_metadata_service_that_does_not_answer_is_named() {
    let drip = Fault::Drip(Duration::from_millis(50));
    let faults =
        [Fault::Hang, Fault::Reset, drip, Fault::answer(503, ""), AzureMetadata::not_now(404)];
    let places =
        [(TOKEN, "the token of the managed identity"), (INSTANCE, "which machine this is")];
    for (path, what) in places {
        all_at_once(faults.clone(), |fault| {
            let target = ours();
            let machine = Machine::new(&target);
            machine.metadata.server().fault(path, fault);
            let parts =
                [what, &machine.metadata.addr(), "does this run on a virtual machine of Azure's"];
            assert_not_reached(&machine.way, &machine.run(), &parts);
        });
    }
    let target = ours();
    let (machine, closed) = (Machine::new(&target), LatePort::new());
    let run =
        machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{}", closed.host()));
    assert_not_reached(&machine.way, &run, &["the token of the managed identity", &closed.host()]);
}

#[test]
fn no_proxy_is_asked_for_a_token() {
    let target = ours();
    let machine = Machine::new(&target);
    let run = machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://192.0.2.1");
    assert_asks_no_proxy(&machine.way, &run, "http://192.0.2.1");
}

#[test]
fn a_reference_is_for_the_application_and_no_setting_of_the_platform() {
    let target = ours();
    let machine = Machine::new(&target);
    let lines = || machine.metadata.server().lines();
    machine.way.assert_in(&machine.run().env("AZURE_CLIENT_ID", machine.way.reference()));
    assert!(lines().len() == 2 && !lines()[0].contains("client_id"), "{:?}", lines());
}

/// Both requests go over one connection.
#[test]
fn the_metadata_service_is_connected_to_once() {
    let target = ours();
    let machine = Machine::new(&target);
    machine.way.assert_in(&machine.run());
    assert_eq!(machine.metadata.server().connections(), 1);
}

#[test]
fn an_address_that_is_none_is_named() {
    let target = ours();
    let machine = Machine::new(&target);
    for addr in [
        "169.254.169.254",
        "ftp://a",
        "unix:///a",
        "http://user:s3cr3t@a",
        "http://a?x=y",
        "http://a#b",
    ] {
        let run = machine.run().env("AZURE_POD_IDENTITY_AUTHORITY_HOST", addr);
        let ended = run.fails(78, &["AZURE_POD_IDENTITY_AUTHORITY_HOST"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
    }
    assert_eq!(target.own().expect("ours").connections(), 0);
}

/// A machine's double, and a role for one principal alone and one that has bounds beside.
fn with_roles(target: &Target) -> Machine<'_> {
    let machine = Machine::new(target);
    let alone = json!({ "bound_service_principal_ids": [AzureMetadata::PRINCIPAL] });
    target.operator().azure_role(&machine.way.mount, "alone", machine.way.role(alone));
    machine
}

#[test]
fn app_service_and_container_apps_log_in_with_the_identity_of_the_service() {
    let target = ours();
    let machine = with_roles(&target);
    let run = machine
        .way
        .run()
        .env("IDENTITY_ENDPOINT", format!("{}/msi/token", machine.metadata.addr()))
        .env("IDENTITY_HEADER", AzureMetadata::HEADER);
    for role in ["web", "alone"] {
        machine.way.assert_in(&run.clone().env("VAULT_ROLE", role));
    }
    let login = machine.way.logins().remove(0).json();
    assert_eq!(
        (&login["subscription_id"], &login["resource_group_name"], &login["resource_id"]),
        (
            &json!(AzureMetadata::SUBSCRIPTION),
            &json!(AzureMetadata::RESOURCE_GROUP),
            &json!(AzureMetadata::SITE)
        )
    );
    let resource = "https%3A%2F%2Fmanagement.azure.com%2F";
    assert_asked(
        &machine.metadata.server().requests()[0],
        &format!("GET /msi/token?api-version=2019-08-01&resource={resource}"),
        ("x-identity-header", AzureMetadata::HEADER),
    );
    let wrong = run.env("VAULT_ROLE", "web").env("IDENTITY_HEADER", "another");
    let ended = wrong.fails(77, &["from IDENTITY_ENDPOINT", "status 401"]);
    assert!(!ended.stderr.contains(AzureMetadata::HEADER), "{}", ended.stderr);
}

#[test]
fn a_workload_identity_of_aks_is_exchanged_at_microsoft_entra() {
    let target = ours();
    let machine = with_roles(&target);
    let directory = directory();
    let file = directory.path().join("azure-identity-token");
    fs::write(&file, AzureMetadata::ASSERTION).expect("a file");
    let run = machine
        .way
        .run()
        .env("AZURE_FEDERATED_TOKEN_FILE", &file)
        .env("AZURE_TENANT_ID", AzureMetadata::TENANT)
        .env("AZURE_CLIENT_ID", AzureMetadata::CLIENT)
        .env("AZURE_AUTHORITY_HOST", machine.metadata.addr());
    for role in ["web", "alone"] {
        machine.way.assert_in(&run.clone().env("VAULT_ROLE", role));
    }
    let login = machine.way.logins().remove(0).json();
    assert_eq!(login["subscription_id"], AzureMetadata::SUBSCRIPTION);
    assert_eq!(login["resource_group_name"], AzureMetadata::RESOURCE_GROUP);
    assert_eq!((login.get("resource_id"), login.get("vm_name")), (None, None));
    let run = run.env("VAULT_ROLE", "alone");
    // The application's own identity may be another one.
    let other = run.clone().env("AZURE_CLIENT_ID", "of-the-application");
    other.fails(77, &["workload identity", "AADSTS70021", "federated credential"]);
    machine.way.assert_in(&other.env("VAULT_AZURE_CLIENT_ID", AzureMetadata::CLIENT));
    run.clone().without("AZURE_TENANT_ID").fails(78, &["AZURE_TENANT_ID"]);
    run.env("AZURE_AUTHORITY_HOST", "http://192.0.2.1").fails(78, &["AZURE_AUTHORITY_HOST"]);
}

#[test]
fn the_machines_own_identity_can_be_named_beside_the_applications() {
    let target = ours();
    let machine = Machine::new(&target);
    let run = machine.run().env("AZURE_CLIENT_ID", "of-the-application");
    run.fails(77, &["Identity not found", "VAULT_AZURE_CLIENT_ID"]);
    machine.way.assert_in(&run.clone().env("VAULT_AZURE_CLIENT_ID", "system"));
    machine.way.assert_in(&run.env("VAULT_AZURE_CLIENT_ID", AzureMetadata::CLIENT));
}

#[test]
fn a_machine_whose_name_begins_with_a_digit_goes_by_its_whole_id() {
    let target = ours();
    let machine = Machine::new(&target);
    let id = format!(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Compute/virtualMachines/1web",
        AzureMetadata::SUBSCRIPTION,
        AzureMetadata::RESOURCE_GROUP
    );
    machine.gives(&machine.token(json!({ "xms_mirid": id })));
    machine.is(json!({
        "name": "1web", "resourceId": id, "subscriptionId": AzureMetadata::SUBSCRIPTION,
        "resourceGroupName": AzureMetadata::RESOURCE_GROUP, "vmScaleSetName": "",
    }));
    machine.way.assert_in(&machine.run());
    assert_eq!(machine.way.logins()[0].json()["resource_id"], id);
}
