//! The auth method `gcp`: the identity token of a machine, from Google's metadata server.

use test_vault::{Fault, GcpMetadata, Target, TestVault, Value, json};

use crate::support::{Run, directory};
use crate::ways_in::{WayIn, assert_says_nothing_of, header_names};

const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

/// A machine, and a role that its service account may log in as.
struct Machine<'a> {
    way: WayIn<'a>,
    metadata: GcpMetadata,
}

impl Machine<'_> {
    fn new<'a>(target: &'a Target, role: &str, settings: Value) -> Machine<'a> {
        let (way, metadata) = (WayIn::new(target, "gcp"), GcpMetadata::start());
        target.operator().enable_gcp(&way.mount, &metadata);
        target.operator().gcp_role(&way.mount, role, way.role(settings));
        Machine { way, metadata }
    }

    fn run(&self) -> Run {
        self.way.run().env("VAULT_ROLE", "web").env("GCE_METADATA_HOST", self.metadata.host())
    }
}

fn own() -> Target {
    TestVault::start().into()
}

#[test]
fn a_machine_logs_in_with_its_identity_for_the_role() {
    let target = own();
    let machine = Machine::new(&target, "web", json!({ "bound_projects": [GcpMetadata::PROJECT] }));
    machine.way.assert_in(&machine.run());
    let requests = machine.metadata.server().requests();
    let [asked] = requests.as_slice() else { panic!("{} requests", requests.len()) };
    assert_eq!(asked.line(), format!("GET {IDENTITY}?audience=http%3A%2F%2Fvault%2Fweb&format=full"));
    assert_eq!(header_names(asked), ["accept", "host", "metadata-flavor", "user-agent"]);
    assert_eq!(asked.header("metadata-flavor"), Some("Google"));
    let jwt = machine.way.logins()[0].json()["jwt"].clone();
    assert_eq!(jwt.as_str().map(|jwt| jwt.split('.').count()), Some(3));
    machine.way.assert_login("", &json!({ "role": "web", "jwt": jwt }));
}

#[test]
fn a_roles_name_may_have_every_sign_and_the_settings_may_come_from_a_file() {
    let target = own();
    let machine = Machine::new(&target, "web-1.of_2", json!({}));
    let directory = directory();
    let file = directory.path().join("app.env");
    let text = format!("GCE_METADATA_HOST={}\nVAULT_ROLE=web-1.of_2\n", machine.metadata.host());
    std::fs::write(&file, text).expect("a file");
    let run = machine.way.run().option("--env-file").option(file);
    machine.way.assert_in(&run);
    // Vault has no such role; the metadata server is asked for it all the same.
    let run = machine.run().env("VAULT_ROLE", "a b/c&format=x#ü");
    machine.way.assert_refused(&run, "not found");
    let asked = machine.metadata.server().requests().pop().expect("a request");
    assert_eq!(asked.query, "audience=http%3A%2F%2Fvault%2Fa%20b%2Fc%26format%3Dx%23%C3%BC&format=full");
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    let target = own();
    let bound = json!({
        "bound_projects": [GcpMetadata::PROJECT], "bound_zones": [GcpMetadata::ZONE],
        "bound_service_accounts": [GcpMetadata::EMAIL],
    });
    let machine = Machine::new(&target, "web", bound);
    machine.way.assert_in(&machine.run());
    let role = |name: &str, settings: Value| {
        target.operator().gcp_role(&machine.way.mount, name, machine.way.role(settings));
    };
    role("project", json!({ "bound_projects": ["other"] }));
    role("zone", json!({ "bound_zones": ["other"] }));
    role("account", json!({ "bound_service_accounts": ["other@example.com"] }));
    role("iam", json!({ "type": "iam", "bound_service_accounts": [GcpMetadata::EMAIL] }));
    for (role, words) in [
        ("none", "role \"none\" not found"),
        ("project", "not in bound projects"),
        ("zone", "instance not in bound zones"),
        ("account", "is not in bound service accounts"),
        ("iam", "JWTs expire within 900 seconds"),
    ] {
        let ended = machine.way.assert_refused(&machine.run().env("VAULT_ROLE", role), words);
        assert!(ended.stderr.contains("type gce"), "{}", ended.stderr);
    }
    let other = GcpMetadata::start();
    machine.way.assert_refused(&machine.run().env("GCE_METADATA_HOST", other.host()), "cryptographic primitive");
    let jwt = machine.way.logins().pop().expect("a login").json()["jwt"].as_str().expect("a JWT").to_owned();
    assert_says_nothing_of(&machine.run().env("VAULT_ROLE", "none"), &jwt);
}

#[test]
fn a_machine_without_a_service_account_and_servers_that_are_not_googles_are_told_apart() {
    let target = own();
    let machine = Machine::new(&target, "web", json!({}));
    let without = GcpMetadata::without_service_account();
    let run = machine.run().env("GCE_METADATA_HOST", without.host());
    run.fails(77, &["metadata server", "status 404", "Service account not enabled"]);
    let google = |status, body: &str| Fault::answer(status, body).with_header("metadata-flavor", "Google");
    for (fault, code, words) in [
        (Fault::answer(200, "a.b.c"), 76, "another server has answered"),
        (Fault::answer(403, "no"), 76, "another server has answered"),
        (google(403, "no"), 77, "status 403: no"),
        (google(403, "<!DOCTYPE html>"), 77, "status 403\n"),
        // The server of GKE does not name itself in the header where it refuses.
        (Fault::answer(403, "GKE Metadata Server encountered an error: denied\n"), 77, "an error: denied"),
        (google(400, "no"), 77, "status 400"),
        (google(200, " \n"), 76, "no token in the answer"),
        (google(200, "<html>no</html> token"), 76, "no token in the answer"),
    ] {
        machine.metadata.server().fault_times(1, IDENTITY, fault);
        machine.run().fails(code, &["Google's metadata server", words]);
    }
    assert_eq!(machine.way.logins().len(), 0);
}

#[test]
fn a_host_that_is_none_is_named_before_anything_is_asked() {
    let target = own();
    let machine = Machine::new(&target, "web", json!({}));
    for host in ["http://metadata", "a/b", "a b", "a?b"] {
        machine.run().env("GCE_METADATA_HOST", host).fails(78, &["GCE_METADATA_HOST"]);
    }
    assert_eq!(target.own().expect("ours").connections(), 0);
}
