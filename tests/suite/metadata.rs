//! What is asked before the login of a cloud: metadata servers that are slow, ill, away or late, and proxies.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::Duration;

use test_vault::{AzureMetadata, Fault, GcpMetadata, LocalServer, Target, TestVault, json};

use crate::launch::{Served, as_root};
use crate::memory::assert_clean_of;
use crate::support::{Ended, Run};
use crate::ways_in::WayIn;

const IDENTITY: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";

/// A machine of Google's at the Vault of a test.
struct Machine<'a> {
    way: WayIn<'a>,
    metadata: GcpMetadata,
    run: Run,
}

fn machine(target: &Target) -> Machine<'_> {
    let (way, metadata) = (WayIn::new(target, "gcp"), GcpMetadata::start());
    target.operator().enable_gcp(&way.mount, &metadata);
    target.operator().gcp_role(&way.mount, "web", way.role(json!({})));
    let run = way.run().env("VAULT_ROLE", "web").env("GCE_METADATA_HOST", metadata.host());
    Machine { way, metadata, run }
}

fn own() -> Target {
    TestVault::start().into()
}

#[test]
fn a_server_that_fails_for_now_is_asked_again() {
    let target = own();
    let Machine { way, metadata, run } = machine(&target);
    for fault in [
        Fault::rate_limited(Some("0")),
        Fault::internal_error(),
        Fault::bad_gateway(),
        Fault::Close,
        Fault::Reset,
        Fault::Truncate,
    ] {
        metadata.server().fault_times(2, IDENTITY, fault);
        way.assert_in(&run);
    }
}

#[test]
fn the_time_that_a_server_asks_for_is_given_as_far_as_the_deadline_goes() {
    let target = own();
    let Machine { way, metadata, run } = machine(&target);
    metadata.server().fault(IDENTITY, Fault::rate_limited(Some("3600")));
    run.env("VAULT_EXEC_TIMEOUT", "30s").fails(69, &["metadata server", "status 429", "1 try"]);
    assert_eq!(way.logins().len(), 0);
}

#[test]
fn a_server_that_does_not_answer_ends_with_the_deadline_and_vault_is_not_asked() {
    let target = own();
    let Machine { metadata, run, .. } = machine(&target);
    let run = run.env("VAULT_EXEC_TIMEOUT", "400ms");
    for fault in [Fault::Hang, Fault::Drip(Duration::from_millis(20)), Fault::Close] {
        metadata.server().fault_times(1, IDENTITY, fault);
        metadata.server().fault(IDENTITY, Fault::Hang);
        run.fails(69, &["the identity token of this machine", metadata.server().addr().as_str(), "GCE_METADATA_HOST"]);
    }
    assert_eq!(target.own().expect("ours").connections(), 0);
}

#[test]
fn an_answer_that_is_too_large_or_leads_elsewhere_is_none() {
    let target = own();
    let Machine { metadata, run, .. } = machine(&target);
    metadata.server().fault_times(1, IDENTITY, Fault::answer(200, vec![b'a'; 10 << 20]));
    run.fails(76, &["more than 1 MiB"]);
    let elsewhere = LocalServer::start(|_| (200, Vec::new(), b"a.b.c".to_vec()));
    metadata.server().fault_times(1, IDENTITY, Fault::redirect(&elsewhere.addr()));
    run.fails(76, &["status 307"]);
    assert_eq!(elsewhere.requests().len(), 0);
    metadata.server().fault_times(1, IDENTITY, Fault::Raw(b"not HTTP at all\r\n\r\n".to_vec()));
    run.fails(76, &["not HTTP"]);
    assert_eq!(target.own().expect("ours").connections(), 0);
}

#[test]
fn a_server_that_comes_late_is_waited_for() {
    let target = own();
    let Machine { way, run, .. } = machine(&target);
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let metadata = GcpMetadata::start();
    target
        .operator()
        .write(&format!("auth/{}/config", way.mount), json!({ "test_public_key": metadata.signer().public_key() }));
    let run = run.env("GCE_METADATA_HOST", format!("127.0.0.1:{port}")).marker();
    let mut child = run.spawn();
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("a line");
    assert!(line.contains("metadata server") && line.contains("trying again"), "{line}");
    let jwt = metadata.identity("http://vault/web", json!({}));
    let headers = vec![("metadata-flavor".to_owned(), "Google".to_owned())];
    let server = LocalServer::start_at(port, move |_| (200, headers.clone(), jwt.clone().into_bytes()));
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert!(ended.started(), "{line}");
    assert_eq!(server.requests().len(), 1);
}

/// The documentation's range (RFC 5737): nobody answers there.
const NOBODY: &str = "192.0.2.1";

#[test]
fn no_metadata_server_is_asked_through_a_proxy() {
    let target = own();
    let proxy = LocalServer::start(|_| (200, Vec::new(), b"a.b.c".to_vec()));
    let through = |run: Run| {
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy", "VAULT_PROXY_ADDR", "VAULT_HTTP_PROXY"]
            .into_iter()
            .fold(run, |run, name| run.env(name, proxy.addr()))
            .env("VAULT_EXEC_TIMEOUT", "300ms")
    };
    let gcp = machine(&target).run.env("GCE_METADATA_HOST", NOBODY);
    through(gcp).fails(69, &["Google's metadata server", NOBODY, "GCE_METADATA_HOST"]);
    let run = WayIn::new(&target, "azure").run().env("VAULT_ROLE", "web");
    let azure = run.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{NOBODY}"));
    through(azure).fails(69, &["Azure's instance metadata service", NOBODY]);
    let run = WayIn::new(&target, "aws").run();
    let instance = run.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{NOBODY}"));
    through(instance).fails(69, &["the instance's credentials", NOBODY, "hop limit"]);
    assert_eq!(proxy.requests().len(), 0);
}

#[test]
fn nothing_of_an_identity_token_is_left() {
    as_root("metadata::nothing_of_an_identity_token_is_left", || {
        for served in [Served::http(), Served::https()] {
            let (operator, allowed) = (served.vault.operator(), json!({ "token_policies": ["app"] }));
            let (google, azure) = (GcpMetadata::start(), AzureMetadata::start());
            operator.enable_gcp("gcp", &google);
            operator.gcp_role("gcp", "app", allowed.clone());
            operator.enable_azure("azure", &azure, "https://management.azure.com/");
            operator.azure_role("azure", "app", allowed);
            let run = served.at().option("--role=app");
            let gcp = run.clone().env("VAULT_AUTH_METHOD", "gcp").env("GCE_METADATA_HOST", google.host());
            assert_clean_of(&served, &gcp, &[]);
            let azure = run.env("VAULT_AUTH_METHOD", "azure").env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.addr());
            assert_clean_of(&served, &azure, &[]);
            let tokens = served.vault.requests().iter().filter(|request| request.json()["jwt"].is_string()).count();
            assert_eq!(tokens, 2, "the tokens that were searched for");
        }
    });
}
