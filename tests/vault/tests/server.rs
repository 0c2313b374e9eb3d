//! What the server of our own can do beyond being a Vault: record, misbehave, and show odd
//! certificates.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, ClientBuilder};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use test_vault::{
    Certificate, Fault, Flavour, Matcher, Operator, Target, TestVault, TlsFiles, Versions, json,
};

const LONG: Duration = Duration::from_secs(10);

fn config(
    ca: &Path,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&TlsFiles>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("PEM")).expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(files.client_cert()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_file(files.client_key()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a key that fits")
        }
    };
    config.alpn_protocols = vec![b"h2".into(), b"http/1.1".into()];
    config
}

fn client(vault: &TestVault) -> Client {
    client_with(vault, &[&version::TLS13, &version::TLS12], None)
}

fn client_with(
    vault: &TestVault,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&TlsFiles>,
) -> Client {
    let builder = ClientBuilder::new().no_proxy().timeout(LONG);
    let builder = match vault.tls() {
        Some(files) => builder.tls_backend_preconfigured(config(&files.ca(), versions, identity)),
        None => builder.tls_backend_preconfigured(bare()),
    };
    builder.build().expect("a client")
}

fn bare() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// The text of an error with all that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Asks for the health and gives the status or what went wrong, whether that is in the head or in
/// the body.
fn health(vault: &TestVault, client: &Client) -> Result<(u16, String), String> {
    let response = client
        .get(format!("{}/v1/sys/health", vault.addr()))
        .send()
        .map_err(|error| chain(&error))?;
    let status = response.status().as_u16();
    Ok((status, response.text().map_err(|error| chain(&error))?))
}

#[test]
fn requests_are_recorded_with_their_connections() {
    let vault = TestVault::start();
    let client = client(&vault);
    for query in ["", "?list=true"] {
        let url = format!("{}/v1/secret/metadata/a%20b{query}", vault.addr());
        client
            .get(url)
            .header("X-Vault-Token", "t")
            .header("X-Vault-Request", "true")
            .send()
            .expect("an answer");
    }
    client
        .post(format!("{}/v1/auth/approle/login", vault.addr()))
        .body(r#"{"role_id":"r"}"#)
        .send()
        .expect("an answer");
    let requests = vault.requests();
    let lines = [
        "GET /v1/secret/metadata/a%20b",
        "GET /v1/secret/metadata/a%20b?list=true",
        "POST /v1/auth/approle/login",
    ];
    assert_eq!(vault.lines(), lines);
    assert_eq!(
        (requests[0].token(), requests[0].header("x-vault-request")),
        (Some("t"), Some("true"))
    );
    assert_eq!((requests[2].json(), requests[2].status), (json!({ "role_id": "r" }), Some(403)));
    assert!(requests.iter().all(|request| request.connection == 1));
    assert_eq!(vault.connections(), 1);
    vault.clear();
    assert_eq!((vault.connections(), vault.requests().len()), (0, 0));
}

#[test]
fn the_operator_leaves_no_trace() {
    let vault = TestVault::start();
    vault.fault(Matcher::any(), Fault::Reset);
    vault.operator().kv_put("secret", 2, "app", json!({ "a": "b" }));
    assert_eq!(vault.operator().read("secret/data/app")["data"]["data"]["a"], "b");
    assert_eq!((vault.connections(), vault.requests().len()), (0, 0));
}

#[test]
fn waiting_ends_with_the_request_or_with_the_time() {
    let vault = TestVault::start();
    assert!(!vault.wait_for(|requests| !requests.is_empty(), Duration::from_millis(10)));
    vault.fault(Matcher::any(), Fault::Hang);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = TcpStream::connect(vault.socket_addr()).expect("a connection");
            stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            assert!(vault.wait_for(|requests| requests.len() == 1, LONG));
        });
        assert!(vault.wait_for(|requests| requests.len() == 1, LONG));
    });
    assert_eq!(vault.requests()[0].status, None);
}

#[test]
fn http2_is_spoken_where_it_is_asked_for_and_allowed() {
    for (vault, expected) in [
        (TestVault::builder().https().start(), reqwest::Version::HTTP_2),
        (TestVault::builder().http1_only().start(), reqwest::Version::HTTP_11),
        (TestVault::start(), reqwest::Version::HTTP_11),
    ] {
        health(&vault, &client(&vault)).expect("an answer");
        assert_eq!(vault.requests()[0].version, expected);
    }
}

#[test]
fn certificates_fail_as_they_should() {
    for (certificate, expected) in [
        (Certificate::OwnCa, None),
        (Certificate::WrongName, Some("not valid for name")),
        (Certificate::Expired, Some("expired")),
        (Certificate::SelfSignedCa, Some("CaUsedAsEndEntity")),
        (Certificate::SelfSigned, None),
    ] {
        let vault = TestVault::builder().certificate(certificate).start();
        match (health(&vault, &client(&vault)), expected) {
            (Ok((status, _)), None) => assert_eq!(status, 200),
            (Err(text), Some(expected)) => {
                assert!(text.contains(expected), "{certificate:?}: {text}");
            }
            (result, _) => panic!("{certificate:?}: {result:?}"),
        }
        assert_eq!(vault.connections(), 1, "a failed handshake is a connection too");
    }
}

#[test]
fn a_client_certificate_is_demanded() {
    let vault = TestVault::builder().client_certificate().start();
    let files = vault.tls().expect("https");
    health(&vault, &client(&vault)).expect_err("no certificate");
    let known = client_with(&vault, &[&version::TLS13], Some(files));
    assert_eq!(health(&vault, &known).expect("an answer").0, 200);
}

#[test]
fn tls_versions_can_be_left_out() {
    for (versions, spoken, other) in [
        (Versions::Tls12, &version::TLS12, &version::TLS13),
        (Versions::Tls13, &version::TLS13, &version::TLS12),
    ] {
        let vault = TestVault::builder().tls_versions(versions).start();
        assert_eq!(
            health(&vault, &client_with(&vault, &[spoken], None)).expect("an answer").0,
            200
        );
        health(&vault, &client_with(&vault, &[other], None)).expect_err("another version");
    }
}

#[test]
fn a_prefix_is_the_only_way_in() {
    let vault = TestVault::builder().prefix("/vault").start();
    assert!(vault.addr().ends_with("/vault"));
    assert_eq!(health(&vault, &client(&vault)).expect("an answer").0, 200);
    let outside = Operator::http(vault.addr().trim_end_matches("/vault"), "t", None);
    assert_eq!(outside.request("GET", "sys/health", None, None).0, 404);
}

/// How each fault looks from outside, over HTTP/1.1 and HTTP/2.
#[test]
fn faults_that_break_the_connection_or_the_body_are_errors() {
    let raw = Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    for fault in [Fault::Close, Fault::Reset, Fault::LoseAnswer, Fault::Truncate, raw] {
        for vault in [TestVault::start(), TestVault::builder().https().start()] {
            vault.fault_times(1, "GET /v1/sys/", fault.clone());
            let client = client(&vault);
            health(&vault, &client).expect_err("a fault");
            assert_eq!(health(&vault, &client).expect("only once").0, 200, "{fault:?}");
        }
    }
}

#[test]
fn a_reset_is_a_reset() {
    let vault = TestVault::start();
    for (fault, expected) in
        [(Fault::Reset, Err(std::io::ErrorKind::ConnectionReset)), (Fault::Close, Ok(0))]
    {
        vault.fault_times(1, Matcher::any(), fault);
        let mut stream = TcpStream::connect(vault.socket_addr()).expect("a connection");
        stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
        assert_eq!(stream.read(&mut [0; 64]).map_err(|error| error.kind()), expected);
    }
}

#[test]
fn raw_bytes_take_the_place_of_http() {
    let vault = TestVault::start();
    vault.fault(Matcher::any(), Fault::Raw(b"hello".to_vec()));
    let mut stream = TcpStream::connect(vault.socket_addr()).expect("a connection");
    stream.write_all(b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert_eq!(answer, "hello");
}

#[test]
fn answers_can_be_made_up() {
    let vault = TestVault::start();
    let client = client(&vault);
    for (fault, status, body) in [
        (Fault::sealed(), 503, "{\"errors\":[\"Vault is sealed\"]}\n"),
        (Fault::invalid_json(), 200, "{\"request_id\":\"\",\"data\":{"),
        (Fault::wrong_shape(), 200, "[\"not\",\"an\",\"envelope\"]"),
        (Fault::answer(204, ""), 204, ""),
    ] {
        vault.fault_times(1, Matcher::any(), fault);
        assert_eq!(health(&vault, &client).expect("an answer"), (status, body.to_owned()));
    }
    vault.fault_times(1, Matcher::any(), Fault::rate_limited(Some("7")));
    let response = client.get(format!("{}/v1/sys/health", vault.addr())).send().expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().expect("a value"))
    );
}

#[test]
fn faults_take_their_turns_and_only_what_matches() {
    let vault = TestVault::start();
    vault.fault_times(2, "POST /v1/", Fault::internal_error());
    vault.fault_times(1, "/v1/sys/health", Fault::bad_gateway());
    vault.fault("/v1/sys/health", Fault::lagging());
    let http = Operator::http(&vault.addr(), "t", None);
    let ask = |method| http.request(method, "sys/health", None, None).0;
    assert_eq!(
        [ask("GET"), ask("POST"), ask("GET"), ask("POST"), ask("POST")],
        [502, 500, 412, 500, 412]
    );
    vault.clear_faults();
    assert_eq!(ask("GET"), 200);
}

#[test]
fn slow_answers_are_whole_and_slow() {
    for (fault, at_least) in [
        (Fault::Delay(Duration::from_millis(50)), Duration::from_millis(50)),
        (Fault::Drip(Duration::from_micros(100)), Duration::from_millis(10)),
    ] {
        let vault = TestVault::start();
        vault.fault(Matcher::any(), fault);
        let begin = Instant::now();
        let (status, body) = health(&vault, &client(&vault)).expect("an answer");
        assert!(status == 200 && body.ends_with("}\n"), "{body}");
        assert!(begin.elapsed() >= at_least);
    }
}

#[test]
fn an_endless_body_does_not_end() {
    let vault = TestVault::start();
    vault.fault(Matcher::any(), Fault::Endless);
    let response =
        client(&vault).get(format!("{}/v1/sys/health", vault.addr())).send().expect("a head");
    let mut start = vec![0; 1 << 20];
    response.take(1 << 20).read_exact(&mut start).expect("as much as one likes");
    assert!(start.starts_with(b"{\"data\":"));
}

#[test]
fn a_lost_answer_was_given() {
    let vault = TestVault::start();
    let operator = vault.operator();
    operator.enable_approle("approle");
    operator.approle_role("approle", "web", json!({ "secret_id_num_uses": 1 }));
    let (role_id, secret_id) =
        (operator.role_id("approle", "web"), operator.secret_id("approle", "web", json!({})));
    vault.fault_times(1, "POST /v1/auth/approle/login", Fault::LoseAnswer);
    let body = json!({ "role_id": role_id, "secret_id": secret_id });
    let client = client(&vault);
    let login = || {
        client.post(format!("{}/v1/auth/approle/login", vault.addr())).body(body.to_string()).send()
    };
    login().expect_err("no answer");
    assert_eq!(login().expect("an answer").status().as_u16(), 400, "the only use is taken");
}

#[test]
fn a_large_answer_comes_in_chunks() {
    let vault = TestVault::start();
    vault.operator().kv_put("secret", 2, "large", json!({ "a": "x".repeat(5000) }));
    let get = |path: &str| {
        let request = client(&vault).get(format!("{}/v1/{path}", vault.addr()));
        request.header("X-Vault-Token", vault.root_token()).send().expect("an answer")
    };
    let large = get("secret/data/large");
    assert_eq!(large.headers()["transfer-encoding"], "chunked");
    assert!(large.text().expect("text").ends_with("}\n"));
    assert!(get("sys/health").headers().contains_key("content-length"));
}

#[test]
fn the_flavour_of_vault_names_the_token_and_the_mount() {
    let target = Target::from(TestVault::builder().flavour(Flavour::Vault).start());
    let http = target.http();
    let text = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n";
    assert_eq!(http.request("GET", "secret/data/app", Some("wrong"), None).1["errors"][0], text);
    assert_eq!(
        http.request("GET", "secret/data/app", None, None).1["errors"][0],
        "permission denied"
    );
    target.operator().kv_put("secret", 2, "app", json!({ "a": "b" }));
    assert_eq!(http.read("secret/data/app")["mount_type"], "kv");
}

#[test]
fn a_server_can_come_late_and_go_early() {
    let first = TestVault::start();
    let (addr, port) = (first.addr(), first.socket_addr().port());
    drop(first);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens at {addr}");
    let second = TestVault::builder().port(port).start();
    assert_eq!(health(&second, &client(&second)).expect("an answer").0, 200);
}
