//! The addresses of the clouds' own metadata servers, which are asked where nobody says otherwise:
//! in a network of its own, a test can be there.

use std::net::SocketAddr;

use test_vault::{
    AwsKeys, AzureMetadata, GcpMetadata, LatePort, LocalServer, Target, TestVault, ec2_metadata,
    json,
};

use crate::support::auth_mount::WayIn;
use crate::support::own_network;

/// Where all three clouds have theirs.
const ADDRESS: &str = "169.254.169.254";

/// Runs a test where the loopback interface has the clouds' address.
fn alone(name: &str, test: impl FnOnce()) {
    let address = format!("ip address add {ADDRESS}/32 dev lo");
    own_network::alone(name, &[&address], &[], test);
}

/// The server of a test is at the clouds' address, for good.
fn put_there(server: &LocalServer) {
    let address: SocketAddr = format!("{ADDRESS}:80").parse().expect("an address");
    LatePort::on(address).open(server.addr().trim_start_matches("http://"));
}

/// A start that says nothing of a metadata server logs in, and whatever proxy there is is not
/// asked.
fn assert_in(way: &WayIn<'_>) {
    let nobody = "http://127.0.0.1:1";
    way.assert_in(
        &way.run().env("VAULT_ROLE", "web").env("HTTP_PROXY", nobody).env("http_proxy", nobody),
    );
}

#[test]
fn google_is_asked_at_its_address() {
    alone("login::link_local::google_is_asked_at_its_address", || {
        let (target, metadata) = (Target::from(TestVault::start()), GcpMetadata::start());
        let way = WayIn::new(&target, "gcp");
        target.operator().enable_gcp(&way.mount, &metadata);
        target.operator().gcp_role(&way.mount, "web", way.role(json!({})));
        put_there(metadata.server());
        assert_in(&way);
        assert_eq!(metadata.server().requests()[0].header("host"), Some(ADDRESS));
    });
}

#[test]
fn azure_is_asked_at_its_address() {
    alone("login::link_local::azure_is_asked_at_its_address", || {
        let (target, metadata) = (Target::from(TestVault::start()), AzureMetadata::start());
        let way = WayIn::new(&target, "azure");
        target.operator().enable_azure(&way.mount, &metadata, "https://management.azure.com/");
        target.operator().azure_role(&way.mount, "web", way.role(json!({})));
        put_there(metadata.server());
        assert_in(&way);
        assert_eq!(metadata.server().requests()[0].header("host"), Some(ADDRESS));
    });
}

#[test]
fn an_instance_of_ec2_is_asked_at_its_address() {
    alone("login::link_local::an_instance_of_ec2_is_asked_at_its_address", || {
        let (target, keys) = (Target::from(TestVault::start()), AwsKeys::of_role("app", "session"));
        let way = WayIn::new(&target, "aws");
        target.operator().enable_aws(&way.mount, json!({}), &[&keys]);
        target.operator().aws_role(&way.mount, "web", way.role(json!({})));
        let metadata = ec2_metadata(Some("app"), &keys, "eu-central-1");
        put_there(&metadata);
        assert_in(&way);
        assert_eq!(metadata.requests()[0].header("host"), Some(ADDRESS));
    });
}
