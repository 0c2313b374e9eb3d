//! Whom it trusts over https, what it shows of itself, and what it says where that does not fit.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use test_vault::{Certificate, Fault, TestVault, Versions, json, on_every_https_vault};

use crate::support::application::{as_root, reading_one, with_app};
use crate::support::{Ended, Run, binary, directory};

/// A run that reads one secret of this server, and trusts nobody yet but the system's authorities.
fn reading(vault: &TestVault) -> Run {
    reading_one(vault).env("VAULT_EXEC_TIMEOUT", "5s")
}

fn trusting(vault: &TestVault) -> Run {
    reading(vault).env("VAULT_CACERT", ca(vault))
}

fn ca(vault: &TestVault) -> std::path::PathBuf {
    vault.tls().expect("https").ca()
}

#[track_caller]
fn works(run: &Run) {
    assert_eq!(run.value("A").as_deref(), Some("v"));
}

/// It fails with 69 and these words, at once and not when the time is up.
#[track_caller]
fn refuses(run: &Run, words: &[&str]) -> Ended {
    let began = Instant::now();
    let ended = run.clone().env("VAULT_EXEC_TIMEOUT", "12s").fails(69, words);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(ended.stderr.contains("1 try"), "{}", ended.stderr);
    ended
}

fn https() -> TestVault {
    TestVault::builder().https().start()
}

#[test]
fn an_authority_of_ones_own_is_a_file_text_or_a_directory() {
    on_every_https_vault(|target| {
        let mount = with_app(target);
        let file = target.ca_file().expect("https");
        let text = fs::read(file).expect("the CA");
        let directory = directory();
        let nested = directory.path().join("more/and more");
        fs::create_dir_all(&nested).expect("created");
        fs::write(directory.path().join("README"), "not a certificate").expect("written");
        fs::write(directory.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\n!!\n")
            .expect("written");
        fs::write(nested.join("ca.crt"), &text).expect("written");
        let run =
            as_root(target).without("VAULT_CACERT").env("A", format!("vault:{mount}/app#user"));
        for (name, value) in [
            ("VAULT_CACERT", file.as_os_str().to_owned()),
            ("BAO_CACERT", file.as_os_str().to_owned()),
            ("VAULT_CACERT_BYTES", String::from_utf8(text.clone()).expect("PEM").into()),
            ("VAULT_CAPATH", directory.path().into()),
            ("SSL_CERT_FILE", file.as_os_str().to_owned()),
        ] {
            assert_eq!(run.clone().env(name, value).value("A").as_deref(), Some("ada"), "{name}");
        }
    });
}

#[test]
fn the_systems_directory_of_certificates_is_used() {
    let vault = https();
    let directory = directory();
    fs::copy(ca(&vault), directory.path().join("ca.pem")).expect("copied");
    // The names in such a directory are hashes of the certificates' subjects.
    let hashed =
        Command::new("openssl").args(["rehash", "."]).current_dir(directory.path()).status();
    assert!(hashed.expect("openssl runs").success());
    works(&reading(&vault).env("SSL_CERT_DIR", directory.path()));
}

#[test]
fn the_right_authority_is_found_among_many_of_the_system() {
    let vault = https();
    let directory = directory();
    let others = || {
        (0..20)
            .map(|_| fs::read_to_string(ca(&https())).expect("a CA"))
            .collect::<Vec<_>>()
            .concat()
    };
    let own = fs::read_to_string(ca(&vault)).expect("a CA");
    // All of them have the same name, and another key.
    let with = file(directory.path(), "with.pem", &[others(), own, others()].concat());
    let without = file(directory.path(), "without.pem", &others());
    works(&reading(&vault).env("SSL_CERT_FILE", with));
    refuses(&reading(&vault).env("SSL_CERT_FILE", without), &["a known one", "VAULT_CACERT"]);
}

#[test]
fn configured_authorities_replace_those_of_the_system() {
    let (vault, other) = (https(), https());
    let run = reading(&vault).env("SSL_CERT_FILE", ca(&vault));
    works(&run);
    refuses(&run.env("VAULT_CACERT", ca(&other)), &["unknown authority"]);
}

#[test]
fn an_unknown_authority_is_refused_at_once_and_the_remedy_named() {
    let vault = https();
    refuses(&reading(&vault), &["signed by an unknown authority", &vault.addr(), "VAULT_CACERT"]);
    assert_eq!(vault.requests().len(), 0, "nothing was sent");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let vault = TestVault::builder().certificate(Certificate::WrongName).start();
    refuses(&trusting(&vault), &["for another name", "wrong.example", "VAULT_TLS_SERVER_NAME"]);
}

#[test]
fn an_expired_certificate_is_refused() {
    let vault = TestVault::builder().certificate(Certificate::Expired).start();
    refuses(&trusting(&vault), &["has expired", "clock"]);
}

#[test]
fn a_self_signed_certificate_that_is_configured_is_accepted() {
    for certificate in [Certificate::SelfSigned, Certificate::SelfSignedCa] {
        let vault = TestVault::builder().certificate(certificate).start();
        works(&trusting(&vault));
        let text = fs::read_to_string(ca(&vault)).expect("PEM");
        works(&reading(&vault).env("VAULT_CACERT_BYTES", text));
        refuses(&reading(&vault), &["unknown authority"]);
        refuses(&reading(&vault).env("VAULT_CACERT", ca(&https())), &["unknown authority"]);
    }
}

#[test]
fn a_configured_self_signed_certificate_must_still_have_the_name_and_be_in_time() {
    for certificate in [Certificate::SelfSigned, Certificate::SelfSignedCa] {
        let vault = TestVault::builder().certificate(certificate).start();
        refuses(
            &trusting(&vault).env("VAULT_TLS_SERVER_NAME", "elsewhere.example"),
            &["for another name"],
        );
    }
    for certificate in [Certificate::SelfSignedExpired, Certificate::SelfSignedCaExpired] {
        let vault = TestVault::builder().certificate(certificate).start();
        refuses(&trusting(&vault), &["has expired"]);
    }
}

/// Gateways route by `Host` and by the handshake's name, and know no dot at its end.
#[test]
fn a_dot_at_the_end_of_the_name_is_for_name_servers_alone() {
    for builder in [
        TestVault::builder(),
        TestVault::builder().https(),
        TestVault::builder().https().http1_only(),
    ] {
        let vault = builder.start();
        let port = vault.socket_addr().port();
        let run = if vault.scheme() == "https" { trusting(&vault) } else { reading(&vault) };
        works(&run.env("VAULT_ADDR", format!("{}://localhost.:{port}", vault.scheme())));
        let called: Vec<String> =
            vault.requests().into_iter().map(|request| request.authority).collect();
        assert!(called.iter().all(|name| *name == format!("localhost:{port}")), "{called:?}");
        assert!(vault.server_names().iter().all(|name| name.as_deref() == Some("localhost")));
    }
}

#[test]
fn a_name_of_its_own_for_the_handshake_reaches_the_server_and_is_verified() {
    let vault = TestVault::builder().certificate(Certificate::WrongName).start();
    let run = trusting(&vault).env("VAULT_TLS_SERVER_NAME", "wrong.example");
    works(&run);
    assert_eq!(vault.server_names(), [Some("wrong.example".to_owned())]);
    let vault = https();
    works(&trusting(&vault));
    works(&trusting(&vault).env("VAULT_ADDR", vault.addr().replace("127.0.0.1", "localhost")));
    assert_eq!(vault.server_names(), [None, Some("localhost".to_owned())], "an address is no name");
    refuses(
        &trusting(&vault).env("BAO_TLS_SERVER_NAME", "elsewhere.example"),
        &["for another name", "elsewhere.example"],
    );
}

#[test]
fn a_name_for_the_handshake_that_is_none_is_an_error() {
    let vault = https();
    trusting(&vault)
        .env("VAULT_TLS_SERVER_NAME", "no name")
        .fails(78, &["VAULT_TLS_SERVER_NAME", "not a name"]);
}

#[test]
fn without_verification_every_certificate_is_accepted_with_a_warning() {
    for certificate in
        [Certificate::OwnCa, Certificate::WrongName, Certificate::Expired, Certificate::SelfSigned]
    {
        let vault = TestVault::builder().certificate(certificate).start();
        for name in ["VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"] {
            let ended = reading(&vault).env(name, "true").marker().end();
            assert!(ended.started(), "{}", ended.stderr);
            assert!(ended.stderr.contains("warn: VAULT_SKIP_VERIFY"), "{}", ended.stderr);
        }
        refuses(&reading(&vault).env("VAULT_SKIP_VERIFY", "0"), &["certificate"]);
    }
}

#[test]
fn tls_1_2_and_1_3_are_spoken() {
    for versions in [Versions::Tls12, Versions::Tls13, Versions::Both] {
        let vault = TestVault::builder().tls_versions(versions).start();
        works(&trusting(&vault));
    }
}

#[test]
fn http_2_is_negotiated_and_http_1_1_does_as_well() {
    on_every_https_vault(|target| {
        let mount = with_app(target);
        let run = as_root(target).env("A", format!("vault:{mount}/app#user"));
        assert_eq!(run.value("A").as_deref(), Some("ada"));
        if let Some(vault) = target.own() {
            let requests = vault.requests();
            assert!(
                requests.iter().all(|request| format!("{:?}", request.version) == "HTTP/2.0"),
                "{requests:?}"
            );
        }
    });
    let vault = TestVault::builder().http1_only().start();
    works(&trusting(&vault));
    assert!(vault.requests().iter().all(|request| format!("{:?}", request.version) == "HTTP/1.1"));
}

#[test]
fn a_client_certificate_is_shown_where_the_server_wants_one() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let vault = TestVault::builder().client_certificate().tls_versions(versions).start();
        let files = vault.tls().expect("https");
        let run = trusting(&vault).env("VAULT_CLIENT_KEY", files.client_key());
        works(&run.clone().env("VAULT_CLIENT_CERT", files.client_cert()));
        works(
            &run.clone()
                .env("BAO_CLIENT_CERT", files.client_cert())
                .env("VAULT_CLIENT_CERT", "/none"),
        );
        run.fails(78, &["VAULT_CLIENT_KEY is set alone", "VAULT_CLIENT_CERT"]);
    }
}

/// In TLS 1.3 a server refuses a client after the handshake, which HTTP/2 may see as a lost
/// connection and repeat.
#[test]
fn a_server_that_wants_a_client_certificate_is_understood() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        for http1_only in [false, true] {
            let builder = TestVault::builder().client_certificate().tls_versions(versions);
            let vault = if http1_only { builder.http1_only() } else { builder }.start();
            trusting(&vault).fails(69, &["wants a client certificate", "VAULT_CLIENT_CERT"]);
        }
    }
}

#[test]
fn a_client_certificate_of_another_authority_is_refused() {
    for versions in [Versions::Tls12, Versions::Tls13] {
        let vault = TestVault::builder().client_certificate().tls_versions(versions).start();
        let other = TestVault::builder().client_certificate().start();
        let files = other.tls().expect("https");
        let run = trusting(&vault)
            .env("VAULT_CLIENT_CERT", files.client_cert())
            .env("VAULT_CLIENT_KEY", files.client_key());
        run.fails(69, &["client certificate", "VAULT_CLIENT_CERT"]);
    }
}

/// The path of a file with this text.
fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_file_of_certificates_or_keys_that_cannot_be_used_is_named() {
    let vault = TestVault::builder().client_certificate().start();
    let directory = directory();
    let files = vault.tls().expect("https");
    let (certificate, key) =
        (files.client_cert().display().to_string(), files.client_key().display().to_string());
    let broken = file(
        directory.path(),
        "broken.pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
    );
    let garbage = file(
        directory.path(),
        "garbage.pem",
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    );
    let text = file(directory.path(), "text", "s3cret text\n");
    let none = directory.path().join("none").display().to_string();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).expect("created");
    let empty = empty.display().to_string();
    let run = trusting(&vault);
    let with = |certificate: &str, key: &str| {
        run.clone().env("VAULT_CLIENT_CERT", certificate).env("VAULT_CLIENT_KEY", key)
    };
    for (run, name, path, words) in [
        (run.clone().env("VAULT_CACERT", &none), "VAULT_CACERT", &none, "No such file"),
        (
            run.clone().env("VAULT_CACERT", &text),
            "VAULT_CACERT",
            &text,
            "no certificate in PEM form",
        ),
        (run.clone().env("VAULT_CACERT", &broken), "VAULT_CACERT", &broken, "malformed PEM"),
        (
            run.clone().env("VAULT_CACERT", &garbage),
            "VAULT_CACERT",
            &garbage,
            "certificate 1 cannot be read",
        ),
        (
            run.clone().without("VAULT_CACERT").env("VAULT_CAPATH", &none),
            "VAULT_CAPATH",
            &none,
            "No such file",
        ),
        (
            run.clone().without("VAULT_CACERT").env("VAULT_CAPATH", &empty),
            "VAULT_CAPATH",
            &empty,
            "no certificate",
        ),
        (with(&none, &key), "VAULT_CLIENT_CERT", &none, "No such file"),
        (with(&certificate, &none), "VAULT_CLIENT_KEY", &none, "No such file"),
        (with(&text, &key), "VAULT_CLIENT_CERT", &text, "no certificate in PEM form"),
        (with(&certificate, &text), "VAULT_CLIENT_KEY", &text, "no private key in PEM form"),
        (
            with(&certificate, &certificate),
            "VAULT_CLIENT_KEY",
            &certificate,
            "no private key in PEM form",
        ),
    ] {
        let ended = run.fails(78, &[name, path, words]);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
    let bytes = run.without("VAULT_CACERT").env("VAULT_CACERT_BYTES", "s3cret");
    let ended = bytes.fails(78, &["VAULT_CACERT_BYTES", "no certificate in PEM form"]);
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    assert_eq!(vault.connections(), 0);
}

#[test]
fn a_key_of_another_certificate_is_an_error_that_names_both() {
    let (vault, other) = (TestVault::builder().client_certificate().start(), https());
    let run = trusting(&vault)
        .env("VAULT_CLIENT_CERT", vault.tls().expect("https").client_cert())
        .env("VAULT_CLIENT_KEY", other.tls().expect("https").client_key());
    run.fails(78, &["VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"]);
}

#[test]
fn https_to_a_port_that_speaks_http_is_said_at_once() {
    let vault = TestVault::start();
    let run = reading(&vault).env("VAULT_ADDR", vault.addr().replace("http:", "https:"));
    refuses(&run, &["does not speak TLS", "http://"]);
}

#[test]
fn http_to_a_port_that_speaks_tls_is_said_at_once() {
    on_every_https_vault(|target| {
        let began = Instant::now();
        let run = as_root(target).env("VAULT_ADDR", target.addr().replace("https:", "http:"));
        let run = run.env("A", "vault:secret/data/app#k").option("--timeout=12s");
        run.fails(76, &["https://", &target.addr().replace("https:", "http:")]);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    });
}

#[test]
fn a_bundle_that_is_named_and_not_there_is_an_error() {
    let vault = https();
    reading(&vault)
        .env("SSL_CERT_FILE", "/no-bundle.pem")
        .fails(78, &["SSL_CERT_FILE", "/no-bundle.pem", "VAULT_CACERT"]);
    reading(&vault)
        .env("SSL_CERT_DIR", "/none")
        .fails(78, &["SSL_CERT_DIR", "/none", "VAULT_CACERT"]);
}

/// In a mount namespace of its own the places of the system's bundles are empty.
#[test]
fn without_any_bundle_https_is_an_error_and_http_is_none() {
    const HIDE: &str =
        "for place in /etc/ssl /etc/pki; do [ ! -d $place ] || mount -t tmpfs none $place; done";
    let hidden = |run: &Run| {
        let mut command = Command::new("unshare");
        let script = format!("{HIDE} && exec {} -- sh -c 'echo $A'", binary().display());
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        Ended::of(command.env_clear().envs(run.variables()).output().expect("unshare runs"))
    };
    let probe = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", HIDE])
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("not run: no mount namespace can be made here");
        return;
    }
    let (secure, plain) = (https(), TestVault::start());
    let ended = hidden(&reading(&secure));
    assert_eq!((ended.code, ended.text().as_str()), (Some(78), ""), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("no CA bundle") && ended.stderr.contains("VAULT_CACERT"),
        "{}",
        ended.stderr
    );
    for run in [reading(&plain), trusting(&secure), reading(&secure).env("VAULT_SKIP_VERIFY", "1")]
    {
        let ended = hidden(&run);
        assert_eq!((ended.code, ended.text().as_str()), (Some(0), "v\n"), "{}", ended.stderr);
    }
}

#[test]
fn links_that_lead_round_in_a_directory_of_certificates_are_not_followed() {
    let vault = TestVault::builder().https().start();
    let directory = directory();
    fs::copy(ca(&vault), directory.path().join("ca.pem")).expect("copied");
    for link in ["a", "b", "c"] {
        std::os::unix::fs::symlink(".", directory.path().join(link)).expect("linked");
    }
    let value = reading(&vault).env("VAULT_CAPATH", directory.path()).value("A");
    assert_eq!(value.as_deref(), Some("v"));
}

#[test]
fn a_redirect_from_http_to_https_trusts_the_systems_authorities() {
    let (from, to) = (TestVault::start(), TestVault::builder().https().start());
    to.operator().kv_put("secret", 2, "app", json!({"k": "other"}));
    let location = format!("{}/v1/secret/data/app", to.addr());
    from.fault("GET /v1/secret/data/app", Fault::redirect(&location));
    let run = reading(&from).env("VAULT_TOKEN", to.root_token());
    run.fails(69, &["unknown authority"]);
    assert_eq!(run.env("SSL_CERT_FILE", ca(&to)).value("A").as_deref(), Some("other"));
}
