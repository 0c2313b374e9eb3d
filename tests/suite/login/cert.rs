//! The auth method `cert`: the client certificate of the TLS connection.

use std::fs;

use test_vault::{ClientCa, ClientCertificate, Target, TestVault, json, on_every_https_vault};

use crate::support::auth_mount::{WayIn, assert_says_nothing_of};
use crate::support::{Run, directory};

/// A CA whose clients get in with the certificate role `web` where their name begins with `app`.
struct Clients<'a> {
    way: WayIn<'a>,
    ca: ClientCa,
}

impl Clients<'_> {
    fn new(target: &Target) -> Clients<'_> {
        let (way, ca) = (WayIn::new(target, "cert"), ClientCa::new());
        target.operator().enable_cert(&way.mount);
        let role = way.role(json!({ "allowed_common_names": ["app*"] }));
        target.operator().cert_role(&way.mount, "web", &ca.pem(), role);
        Clients { way, ca }
    }

    fn run(&self, client: &ClientCertificate) -> Run {
        self.way.run().env("VAULT_CLIENT_CERT", client.cert()).env("VAULT_CLIENT_KEY", client.key())
    }
}

#[test]
fn a_client_certificate_logs_in_with_the_name_of_its_role_or_without() {
    on_every_https_vault(|target| {
        let clients = Clients::new(target);
        let client = clients.ca.issue("app.example");
        let run = clients.run(&client);
        clients.way.assert_in(&run);
        clients.way.assert_in(&run.env("VAULT_ROLE", "web"));
    });
}

#[test]
fn the_login_shows_the_certificate_on_its_own_connection_and_names_the_role() {
    let target = Target::from(TestVault::builder().https().start());
    let clients = Clients::new(&target);
    let client = clients.ca.issue("app.example");
    clients.way.assert_in(&clients.run(&client));
    clients.way.assert_login("", &json!({}));
    let shown = clients.way.logins()[0].certificates.clone();
    assert_eq!(shown.len(), 1);
    target.own().expect("ours").clear();
    clients.way.assert_in(&clients.run(&client).option("--role=web"));
    clients.way.assert_login("", &json!({ "name": "web" }));
    assert_eq!(clients.way.logins()[0].certificates, shown);
    assert_eq!(target.own().expect("ours").connections(), 1);
}

#[test]
fn every_refusal_is_told_in_vaults_words() {
    on_every_https_vault(|target| {
        let clients = Clients::new(target);
        let unknown = "invalid certificate or no client certificate supplied";
        let constraints = "no chain matching all constraints could be found";
        let right = clients.ca.issue("app.example");
        let (foreign, other) =
            (ClientCa::new().issue("app.example"), clients.ca.issue("other.example"));
        for (run, words) in [
            (clients.run(&foreign), unknown),
            (clients.run(&other), constraints),
            (clients.run(&right).env("VAULT_ROLE", "none"), unknown),
        ] {
            let ended = clients.way.assert_refused(&run, words);
            assert!(
                ended.stderr.contains("certificate role") && ended.stderr.contains("load balancer")
            );
        }
        let key = fs::read_to_string(right.key()).expect("the key");
        assert_says_nothing_of(
            &clients.run(&right).env("VAULT_ROLE", "none"),
            key.lines().nth(1).expect("PEM"),
        );
    });
}

#[test]
fn what_the_method_cannot_work_with_is_said_before_anything_is_asked() {
    let target = Target::from(TestVault::builder().https().start());
    let clients = Clients::new(&target);
    let client = clients.ca.issue("app.example");
    let run = clients.run(&client);
    run.clone().without("VAULT_CLIENT_KEY").fails(78, &["VAULT_CLIENT_CERT is set alone"]);
    let http = run.clone().env("VAULT_ADDR", target.addr().replace("https://", "http://"));
    http.fails(78, &["cert", "not https", "handshake"]);
    run.clone().env("VAULT_ADDR", "unix:///run/vault.sock").fails(78, &["cert", "not https"]);
    let directory = directory();
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").expect("a file");
    run.clone().env("VAULT_CLIENT_KEY", &empty).fails(78, &["VAULT_CLIENT_KEY", "no private key"]);
    run.env("VAULT_CLIENT_CERT", &empty).fails(78, &["VAULT_CLIENT_CERT", "no certificate"]);
    assert_eq!(target.own().expect("ours").connections(), 0);
}

#[test]
fn the_private_key_is_removed_after_a_login_where_that_is_wanted() {
    let target = Target::from(TestVault::builder().https().start());
    let clients = Clients::new(&target);
    let client = clients.ca.issue("app.example");
    let run = clients.run(&client);
    clients.way.assert_in(&run);
    let run = run.option("--remove-credential-files=true");
    run.clone().env("VAULT_ROLE", "none").fails(77, &["login at"]);
    assert!(client.key().exists(), "a refused login removes nothing");
    clients.way.assert_in(&run);
    assert!(client.cert().exists() && !client.key().exists());
}

#[test]
fn the_private_key_stays_with_a_warning_where_somebody_needs_it() {
    let target = Target::from(TestVault::builder().https().start());
    let clients = Clients::new(&target);
    let client = clients.ca.issue("app.example");
    let run = clients.run(&client).option("--remove-credential-files").marker();
    for (run, why) in [
        (run.clone().option("--supervise"), "--supervise reads it again"),
        (run.clone().option("--keep=VAULT_CLIENT_*"), "the application is told of it"),
        (run.env("VAULT_TOKEN", "vault:login"), "the application is told of it"),
    ] {
        let ended = run.end();
        let words = format!("warn: the file of VAULT_CLIENT_KEY is not removed: {why}");
        assert!(ended.started() && ended.stderr.contains(&words), "{}", ended.stderr);
        assert!(client.key().exists(), "{why}");
    }
}
