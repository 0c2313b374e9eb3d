//! The auth method `gcp`: the identity that Google's metadata server gives to a machine. There is
//! no real one to try.

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use test_vault::{Fault, GcpMetadata, LatePort, Target, TestVault, Value, json};

use crate::support::auth_mount::WayIn;
use crate::support::metadata_server::{
    assert_asked, assert_asks_no_proxy, assert_final, assert_not_reached,
    assert_says_nothing_of_jwt, passing, starts_before,
};
use crate::support::{Run, all_at_once, directory};

const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity";
const GOOGLE: (&str, &str) = ("metadata-flavor", "Google");

/// A machine of Google's, the method and a role.
struct Instance<'a> {
    way: WayIn<'a>,
    metadata: GcpMetadata,
}

impl Instance<'_> {
    fn new(target: &Target) -> Instance<'_> {
        Instance::with(target, GcpMetadata::start(), json!({}))
    }

    fn with(target: &Target, metadata: GcpMetadata, settings: Value) -> Instance<'_> {
        let way = WayIn::new(target, "gcp");
        target.operator().enable_gcp(&way.mount, &metadata);
        target.operator().gcp_role(&way.mount, "web", way.role(settings));
        Instance { way, metadata }
    }

    fn run(&self) -> Run {
        self.way.run().env("VAULT_ROLE", "web").env("GCE_METADATA_HOST", self.metadata.host())
    }

    /// The metadata server gives this as the identity from now on.
    fn gives(&self, text: &str) {
        self.metadata.server().fault_times(
            1,
            PATH,
            Fault::answer(200, text).with_header(GOOGLE.0, GOOGLE.1),
        );
    }

    fn identity(&self, claims: Value) -> String {
        self.metadata.identity("http://vault/web", claims)
    }
}

fn ours() -> Target {
    Target::from(TestVault::start())
}

#[test]
fn an_instance_logs_in_with_one_request_to_its_metadata_server() {
    let target = ours();
    let instance = Instance::new(&target);
    let jwt = instance.identity(json!({}));
    instance.gives(&format!("{jwt}\n"));
    instance.way.assert_in(&instance.run());
    instance.way.assert_login("", &json!({ "role": "web", "jwt": jwt }));
    let requests = instance.metadata.server().requests();
    assert_eq!(requests.len(), 1);
    assert_asked(
        &requests[0],
        &format!("GET {PATH}?audience=http%3A%2F%2Fvault%2Fweb&format=full"),
        GOOGLE,
    );
    instance.way.assert_in(&instance.run());
}

#[test]
fn settings_may_stand_in_an_env_file() {
    let target = ours();
    let instance = Instance::new(&target);
    let directory = directory();
    let file = directory.path().join("gcp.env");
    let text = format!(
        "VAULT_AUTH_METHOD=gcp\nVAULT_ROLE=web\nGCE_METADATA_HOST={}\n",
        instance.metadata.host()
    );
    fs::write(&file, text).expect("a file");
    let run = instance.way.run().without("VAULT_AUTH_METHOD").option("--env-file").option(&file);
    instance.way.assert_in(&run);
}

#[test]
fn every_sign_of_a_role_gets_into_the_audience_and_none_out_of_it() {
    let target = ours();
    let instance = Instance::new(&target);
    for (role, audience) in [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("a&format=x", "a%26format%3Dx"),
        ("a#b?c", "a%23b%3Fc"),
        ("a%2fb", "a%252fb"),
        ("wéb", "w%C3%A9b"),
    ] {
        let before = instance.metadata.server().requests().len();
        let run = instance.run().env("VAULT_ROLE", role);
        instance.way.assert_refused(&run, &format!("role \"{role}\" not found"));
        assert_eq!(instance.way.logins()[0].json()["role"], role);
        let requests = instance.metadata.server().requests();
        let line = format!("GET {PATH}?audience=http%3A%2F%2Fvault%2F{audience}&format=full");
        assert_asked(&requests[before], &line, GOOGLE);
    }
}

#[test]
fn every_refusal_of_an_identity_is_told_in_vaults_words() {
    let target = ours();
    let instance = Instance::new(&target);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let cases = [
        (instance.identity(json!({ "exp": 1 })), "JWT is expired"),
        (instance.identity(json!({ "exp": now + 7200 })), "JWT must expire in 60 minutes"),
        (instance.identity(json!({ "sub": null })), "expected JWT to have 'sub' claim"),
        (
            instance.identity(json!({ "google": null })),
            "expected JWT to have claims with GCE metadata",
        ),
        (instance.identity(json!({ "aud": "http://vault/other" })), "must end in \"vault/web\""),
        (
            GcpMetadata::start().identity("http://vault/web", json!({})),
            "error in cryptographic primitive",
        ),
        ("no-jwt-at-all".to_owned(), "unable to parse signed JWT"),
    ];
    for (jwt, words) in cases {
        instance.gives(&jwt);
        let ended = instance.way.assert_refused(&instance.run(), words);
        assert!(ended.stderr.contains("type gce"), "{}", ended.stderr);
        instance.gives(&jwt);
        assert_says_nothing_of_jwt(&instance.run(), &jwt);
    }
    instance
        .way
        .assert_refused(&instance.run().env("VAULT_ROLE", "none"), "role \"none\" not found");
}

#[test]
fn every_bound_of_a_role_is_told_in_vaults_words() {
    let target = ours();
    for (settings, words) in [
        (json!({ "bound_projects": ["other"] }), "not in bound projects [other]"),
        (json!({ "bound_zones": ["other"] }), "instance not in bound zones"),
        (json!({ "bound_service_accounts": ["other"] }), "is not in bound service accounts"),
        (
            json!({ "type": "iam", "bound_service_accounts": ["*"] }),
            "JWTs expire within 900 seconds",
        ),
    ] {
        let instance = Instance::with(&target, GcpMetadata::start(), settings);
        instance.way.assert_refused(&instance.run(), words);
    }
}

#[test]
fn an_identity_that_worked_is_not_said_either() {
    let target = ours();
    let instance = Instance::new(&target);
    let jwt = instance.identity(json!({}));
    instance.gives(&jwt);
    assert_says_nothing_of_jwt(&instance.run(), &jwt);
    assert_eq!(instance.way.logins()[0].status, Some(200));
}

#[test]
fn a_machine_without_a_service_account_is_told_so() {
    let target = ours();
    let instance = Instance::with(&target, GcpMetadata::without_service_account(), json!({}));
    let parts = [
        "Google's metadata server",
        "404",
        "Service account not enabled on this instance",
        "has the instance",
    ];
    assert_final(&instance.way, &instance.run(), instance.metadata.server(), 77, &parts);
}

#[test]
fn what_the_metadata_server_refuses_is_told_in_its_words() {
    let target = ours();
    let instance = Instance::new(&target);
    let server = instance.metadata.server();
    let page = "<!DOCTYPE html>\n<title>Error 403 (Forbidden)!!1</title>";
    server.fault_times(1, PATH, Fault::answer(403, page).with_header(GOOGLE.0, GOOGLE.1));
    let ended = assert_final(
        &instance.way,
        &instance.run(),
        server,
        77,
        &["status 403", "has the instance"],
    );
    assert!(!ended.stderr.contains("DOCTYPE"), "{}", ended.stderr);
    // The server of GKE does not name itself in the header where it refuses.
    let text = "GKE Metadata Server encountered an error: Unable to generate identity token\n";
    server.fault_times(1, PATH, Fault::answer(403, text).with_header("content-type", "text/plain"));
    let parts = ["status 403", "Unable to generate identity token", "Kubernetes service account"];
    assert_final(&instance.way, &instance.run(), server, 77, &parts);
}

#[test]
fn an_answer_that_is_not_googles_ends_the_start() {
    let target = ours();
    let instance = Instance::new(&target);
    let server = instance.metadata.server();
    let google = |text: &str| Fault::answer(200, text).with_header(GOOGLE.0, GOOGLE.1);
    for (fault, words) in [
        (Fault::answer(200, instance.identity(json!({}))), "another server"),
        (Fault::answer(404, "Not Found"), "another server"),
        (Fault::answer(200, "x").with_header(GOOGLE.0, "google"), "another server"),
        (google(""), "no token"),
        (google(" \n"), "no token"),
        (google("two words"), "no token"),
        (google("t\u{f6}ken"), "no token"),
        (google(&"a".repeat(10_000_000)), "more than 1 MiB"),
        (Fault::Raw(b"SSH-2.0-x\r\n".to_vec()), "not HTTP"),
    ] {
        server.fault_times(1, PATH, fault);
        assert_final(
            &instance.way,
            &instance.run(),
            server,
            76,
            &["Google's metadata server", words],
        );
    }
}

#[test]
fn what_passes_is_waited_for() {
    all_at_once(passing(), |fault| {
        let target = ours();
        let instance = Instance::new(&target);
        instance.metadata.server().fault_times(2, PATH, fault);
        instance.way.assert_in(&instance.run());
        assert_eq!(instance.metadata.server().requests().len(), 3);
    });
}

#[test]
fn the_time_that_the_metadata_server_asks_for_is_waited() {
    let target = ours();
    let instance = Instance::new(&target);
    instance.metadata.server().fault_times(
        1,
        PATH,
        Fault::answer(429, "").with_header("retry-after", "1"),
    );
    let began = Instant::now();
    instance.way.assert_in(&instance.run());
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_time_beyond_the_deadline_is_not_waited() {
    let target = ours();
    let instance = Instance::new(&target);
    let fault = Fault::answer(429, "").with_header("retry-after", "3600");
    instance.metadata.server().fault(PATH, fault);
    let run = instance.run().env("VAULT_EXEC_TIMEOUT", "50s");
    run.fails(69, &["the identity token of this machine", "status 429", "1 try in"]);
    assert_eq!(target.own().expect("ours").connections(), 0);
}

#[test]
fn a_redirect_is_not_followed() {
    let target = ours();
    let (instance, elsewhere) = (Instance::new(&target), GcpMetadata::start());
    let server = instance.metadata.server();
    server.fault_times(1, PATH, Fault::redirect(&format!("http://{}{PATH}", elsewhere.host())));
    assert_final(
        &instance.way,
        &instance.run(),
        server,
        76,
        &["Google's metadata server", "status 307"],
    );
    assert_eq!(elsewhere.server().lines(), Vec::<String>::new());
}

#[test]
fn a_metadata_server_that_comes_up_late_is_waited_for() {
    let target = ours();
    let instance = Instance::new(&target);
    starts_before(&instance.metadata.host(), |host| instance.run().env("GCE_METADATA_HOST", host));
}

#[test]
fn a_metadata_server_that_does_not_answer_is_named() {
    let drip = Fault::Drip(Duration::from_millis(50));
    all_at_once([Fault::Hang, Fault::Reset, drip, Fault::answer(503, "")], |fault| {
        let target = ours();
        let instance = Instance::new(&target);
        instance.metadata.server().fault(PATH, fault);
        let parts =
            ["the identity token of this machine", &instance.metadata.host(), "GCE_METADATA_HOST"];
        assert_not_reached(&instance.way, &instance.run(), &parts);
    });
    let target = ours();
    let (instance, closed) = (Instance::new(&target), LatePort::new());
    let run = instance.run().env("GCE_METADATA_HOST", closed.host());
    assert_not_reached(
        &instance.way,
        &run,
        &["the identity token of this machine", &closed.host()],
    );
}

#[test]
fn no_proxy_is_asked_for_an_identity() {
    let target = ours();
    let instance = Instance::new(&target);
    let run = instance.run().env("GCE_METADATA_HOST", "192.0.2.1");
    assert_asks_no_proxy(&instance.way, &run, "http://192.0.2.1");
}

#[test]
fn a_metadata_host_that_is_none_is_named() {
    let target = ours();
    let instance = Instance::new(&target);
    for host in ["http://metadata", "a/b", "user:s3cr3t@metadata", "a b"] {
        let ended = instance.run().env("GCE_METADATA_HOST", host).fails(78, &["GCE_METADATA_HOST"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
    }
    assert_eq!(target.own().expect("ours").connections(), 0);
}
