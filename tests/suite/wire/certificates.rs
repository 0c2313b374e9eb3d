//! Certificates as people have them, made by openssl(1): whom they are good for, however they are
//! put into files, and what is said of those that cannot be used.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use test_vault::{TestVault, json};

use crate::support::application::reading_one;
use crate::support::launch::eventually;
use crate::support::{Run, all_at_once, directory, run};

const P256: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P521: &[&str] = &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
const RSA: &[&str] = &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
const RSA_1024: &[&str] = &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
const ED448: &[&str] = &["ED448"];

pub(super) const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n";
pub(super) const SERVER: &str =
    "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";

/// Certificates and keys in a directory.
pub(super) struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Files {
        Files { directory: directory() }
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.directory.path())
            .output()
            .expect("openssl runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// `NAME.pem` and `NAME.key`: a certificate for the name, signed by an issuer or by itself.
    /// Without extensions it is of version 1.
    pub(super) fn certificate(&self, name: &str, made: &Made) {
        let [pem, key, request, extensions] =
            ["pem", "key", "csr", "cnf"].map(|end| format!("{name}.{end}"));
        let generate = [&["genpkey", "-algorithm"], made.key, &["-out", &key]].concat();
        self.openssl(&generate);
        let subject = format!("/O=tests/CN={name}");
        self.openssl(&["req", "-new", "-key", &key, "-subj", &subject, "-out", &request]);
        self.write(&extensions, made.extensions);
        let (issuer, issuer_key) =
            made.issuer.map(|by| (format!("{by}.pem"), format!("{by}.key"))).unzip();
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &pem];
        arguments.extend(["-days", made.days]);
        match (&issuer, &issuer_key) {
            (Some(issuer), Some(key)) => {
                arguments.extend(["-CA", issuer, "-CAkey", key, "-set_serial", "7"]);
            }
            _ => arguments.extend(["-signkey", &key]),
        }
        if !made.extensions.is_empty() {
            arguments.extend(["-extfile", &extensions]);
        }
        arguments.extend(made.digest);
        self.openssl(&arguments);
    }

    /// A server with the certificate of this name, and with others behind it.
    fn server(&self, name: &str, others: &[&str]) -> TestVault {
        let chain =
            std::iter::once(&name).chain(others).map(|one| self.text(&format!("{one}.pem")));
        let chain: String = chain.collect();
        let builder = TestVault::builder().shows(&chain, &self.text(&format!("{name}.key")));
        let vault = builder.start();
        vault.operator().kv_put("secret", 2, "app", json!({ "k": "v" }));
        vault
    }
}

/// How a certificate is made.
#[derive(Clone, Copy)]
pub(super) struct Made {
    key: &'static [&'static str],
    issuer: Option<&'static str>,
    extensions: &'static str,
    digest: Option<&'static str>,
    days: &'static str,
}

pub(super) const fn made(issuer: Option<&'static str>, extensions: &'static str) -> Made {
    Made { key: P256, issuer, extensions, digest: Some("-sha256"), days: "30" }
}

fn reading(vault: &TestVault) -> Run {
    reading_one(vault).env("VAULT_EXEC_TIMEOUT", "20s")
}

fn trusting(vault: &TestVault, file: impl AsRef<Path>) -> Run {
    reading(vault).env("VAULT_CACERT", file.as_ref())
}

#[track_caller]
fn works(run: &Run, what: &str) {
    let ended = run.clone().marker().end();
    assert!(ended.started(), "{what}: {}", ended.stderr);
}

/// It fails with 69 and these words, after one try.
#[track_caller]
fn refuses(run: &Run, words: &[&str]) {
    let ended = run.fails(69, words);
    assert!(ended.stderr.contains("1 try"), "{}", ended.stderr);
    assert!(ended.stderr.len() < 1000, "{}", ended.stderr);
}

#[test]
fn what_is_no_authority_is_trusted_for_itself_alone() {
    let files = Files::new();
    files.certificate("leaf", &made(None, SERVER));
    files.certificate("victim", &made(Some("leaf"), SERVER));
    let (own, other) = (files.server("leaf", &[]), files.server("victim", &["leaf"]));
    let file = files.path("leaf.pem");
    works(&trusting(&own, &file), "itself");
    refuses(&trusting(&other, &file), &["unknown authority", "`leaf`", "CA:FALSE", "leaf.pem"]);
    works(&reading(&own).env("SSL_CERT_FILE", &file), "itself, in the system's bundle");
    refuses(&reading(&other).env("SSL_CERT_FILE", &file), &["CA:FALSE"]);
}

#[test]
fn a_certificate_for_clients_is_not_a_servers() {
    const CLIENTS: &str = "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth\n\
                           subjectAltName=DNS:localhost,IP:127.0.0.1\n";
    const CLIENT: &str = "extendedKeyUsage=clientAuth\nsubjectAltName=IP:127.0.0.1\n";
    const BOTH: &str = "extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=IP:127.0.0.1\n";
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("client", &made(Some("ca"), CLIENT));
    files.certificate("both", &made(Some("ca"), BOTH));
    files.certificate("pinned", &made(None, CLIENT));
    files.certificate("clients", &made(None, CLIENTS));
    files.certificate("server", &made(Some("clients"), SERVER));
    let not_for_servers = &["not one for servers", "serverAuth"];
    refuses(&trusting(&files.server("client", &[]), files.path("ca.pem")), not_for_servers);
    works(&trusting(&files.server("both", &[]), files.path("ca.pem")), "both");
    refuses(&trusting(&files.server("pinned", &[]), files.path("pinned.pem")), not_for_servers);
    refuses(&trusting(&files.server("clients", &[]), files.path("clients.pem")), not_for_servers);
    refuses(
        &trusting(&files.server("server", &[]), files.path("clients.pem")),
        &["`clients`", "not for servers"],
    );
}

#[test]
fn an_authority_that_has_expired_issues_nothing() {
    let files = Files::new();
    files.certificate("old", &Made { days: "-1", ..made(None, AUTHORITY) });
    files.certificate("server", &made(Some("old"), SERVER));
    let vault = files.server("server", &[]);
    refuses(&trusting(&vault, files.path("old.pem")), &["`old`", "has expired", "old.pem"]);
}

#[test]
fn a_wrong_authority_is_named_with_the_one_that_is_there() {
    let files = Files::new();
    for name in ["right", "wrong"] {
        files.certificate(name, &made(None, AUTHORITY));
    }
    files.certificate("middle", &made(Some("right"), AUTHORITY));
    files.certificate("server", &made(Some("middle"), SERVER));
    files.certificate("direct", &made(Some("right"), SERVER));
    let wrong = files.path("wrong.pem");
    let direct = files.server("direct", &[]);
    refuses(&trusting(&direct, &wrong), &["unknown authority: `right`", "wrong.pem", "`wrong`"]);
    works(&trusting(&direct, files.path("right.pem")), "the right one");
    let whole = files.server("server", &["middle"]);
    refuses(&trusting(&whole, &wrong), &["unknown authority: `right`", "wrong.pem"]);
    works(&trusting(&whole, files.path("right.pem")), "the right one");
    works(&trusting(&whole, files.path("middle.pem")), "an intermediate one");
    let without = files.server("server", &[]);
    refuses(
        &trusting(&without, files.path("right.pem")),
        &["unknown authority: `middle`", "the server must send"],
    );
}

/// What a certificate is made of that the library cannot verify, and how that is called.
#[test]
fn what_cannot_be_verified_is_called_by_its_name() {
    const POLICY: &str = "subjectAltName=IP:127.0.0.1\n\
                          policyConstraints=critical,requireExplicitPolicy:0\n";
    const UNKNOWN: &str = "subjectAltName=IP:127.0.0.1\n1.2.3.4=critical,DER:0500\n";
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("rsa", &Made { key: RSA, ..made(None, AUTHORITY) });
    files.certificate("p521", &Made { key: P521, ..made(None, AUTHORITY) });
    files.certificate("rsa1024", &Made { key: RSA_1024, ..made(None, AUTHORITY) });
    files.certificate("ed448", &Made { key: ED448, digest: None, ..made(None, AUTHORITY) });
    let of = |issuer, digest| Made { digest, ..made(Some(issuer), SERVER) };
    let rows: [(&str, &str, Made, &[&str]); 9] = [
        ("by-p521", "p521", of("p521", Some("-sha256")), &["ECDSA P-521", "`p521`"]),
        (
            "by-rsa1024",
            "rsa1024",
            of("rsa1024", Some("-sha256")),
            &["RSA of 1024 bits", "`rsa1024`"],
        ),
        ("by-ed448", "ed448", of("ed448", None), &["Ed448", "`by-ed448`"]),
        ("sha512", "ca", of("ca", Some("-sha512")), &["ECDSA with SHA-512", "`sha512`"]),
        ("sha1", "rsa", of("rsa", Some("-sha1")), &["RSA with SHA-1", "`sha1`"]),
        ("md5", "rsa", of("rsa", Some("-md5")), &["RSA with MD5", "`md5`"]),
        ("policy", "ca", made(Some("ca"), POLICY), &["policy constraints", "`policy`"]),
        ("unknown", "ca", made(Some("ca"), UNKNOWN), &["critical extension", "1.2.3.4"]),
        ("v1", "ca", made(Some("ca"), ""), &["version 1 of X.509", "`v1`", "subjectAltName"]),
    ];
    all_at_once(rows, |(name, issuer, made, words)| {
        files.certificate(name, &made);
        let vault = files.server(name, &[]);
        let run = trusting(&vault, files.path(&format!("{issuer}.pem")));
        refuses(&run, words);
        works(&run.env("VAULT_SKIP_VERIFY", "true"), name);
    });
}

/// openssl(1) as a server with a certificate of this name, until it is dropped.
struct OpenSsl {
    child: Child,
    address: String,
}

impl OpenSsl {
    fn start(files: &Files, name: &str) -> OpenSsl {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &address, "-www", "-quiet"])
            .arg("-cert")
            .arg(files.path(&format!("{name}.pem")))
            .arg("-key")
            .arg(files.path(&format!("{name}.key")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let server = OpenSsl { child, address };
        eventually("openssl listens", || TcpStream::connect(&server.address).ok());
        server
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server's key that no signature can be verified with is not asked for, unless nothing is
/// verified.
#[test]
fn a_servers_key_that_is_not_supported_is_named_and_works_without_verification() {
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    for (name, key) in [("p521", P521), ("ed448", ED448)] {
        files.certificate(name, &Made { key, ..made(Some("ca"), SERVER) });
        let server = OpenSsl::start(&files, name);
        let run = run()
            .env("VAULT_ADDR", format!("https://{}", server.address))
            .env("VAULT_TOKEN", "t0ken-of-no-server")
            .env("VAULT_EXEC_TIMEOUT", "20s")
            .env("A", "vault:secret/data/app#k")
            .env("VAULT_CACERT", files.path("ca.pem"));
        refuses(&run, &["TLS version or cipher", "P-521 or Ed448"]);
        // It answers with a page about the handshake.
        run.env("VAULT_SKIP_VERIFY", "1").fails(76, &["status 200"]);
    }
}

/// Authorities of an old form are still authorities.
#[test]
fn an_authority_of_version_1_is_one() {
    let files = Files::new();
    files.certificate("v1", &made(None, ""));
    files.certificate("server", &made(Some("v1"), SERVER));
    works(&trusting(&files.server("server", &[]), files.path("v1.pem")), "v1");
}

#[test]
fn a_bundle_may_be_put_together_in_any_way() {
    let files = Files::new();
    for name in ["other", "ca"] {
        files.certificate(name, &made(None, AUTHORITY));
    }
    files.certificate("server", &made(Some("ca"), SERVER));
    let vault = files.server("server", &[]);
    let (other, ca) = (files.text("other.pem"), files.text("ca.pem"));
    for (name, text) in [
        ("no line break between them", format!("{}{ca}", other.trim_end())),
        ("a byte-order mark before each", format!("\u{feff}{other}\u{feff}{ca}")),
        ("CRLF", format!("{other}{ca}").replace('\n', "\r\n")),
        ("CR", format!("{other}{ca}").replace('\n', "\r")),
        ("text around them", format!("# other\n{other}subject=CN = ca\n{ca}\nend")),
        ("blanks before them", format!("  {other}  {ca}").replace('\n', "\n  ")),
        ("one line each", format!("{other}{ca}").replace('\n', " ")),
        ("another section between them", format!("{other}{}{ca}", files.text("ca.key"))),
    ] {
        let file = files.write("bundle.pem", &text);
        works(&trusting(&vault, &file), name);
        works(&reading(&vault).env("VAULT_CACERT_BYTES", &text), name);
        works(&reading(&vault).env("SSL_CERT_FILE", &file), name);
    }
    let mut latin = b"# M\xfcller\n".to_vec();
    latin.extend(ca.as_bytes());
    works(&reading(&vault).env("SSL_CERT_FILE", files.write("latin.pem", &latin)), "Latin-1");
    works(&trusting(&vault, files.write("latin.pem", latin)), "Latin-1");
}

#[test]
fn a_broken_certificate_in_a_bundle_is_not_passed_over() {
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("server", &made(Some("ca"), SERVER));
    let vault = files.server("server", &[]);
    let ca = files.text("ca.pem");
    for (text, words) in [
        (format!("{ca}{}", ca.replacen("MII", "*II", 1)), "certificate 2 is no base64"),
        (format!("{ca}-----BEGIN CERTIFICATE-----\n"), "certificate 2 has no end"),
        (
            format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{ca}"),
            "certificate 1 cannot be read",
        ),
        (files.text("ca.key"), "no certificate in PEM form"),
    ] {
        trusting(&vault, files.write("bundle.pem", text)).fails(78, &["bundle.pem", words]);
    }
}

#[test]
fn the_systems_directories_are_a_list() {
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("server", &made(Some("ca"), SERVER));
    let vault = files.server("server", &[]);
    for name in ["one", "two", "empty"] {
        fs::create_dir(files.path(name)).expect("created");
    }
    fs::copy(files.path("ca.pem"), files.path("two/ca.pem")).expect("copied");
    let at = |names: &[&str]| {
        let paths: Vec<String> =
            names.iter().map(|name| files.path(name).display().to_string()).collect();
        reading(&vault).env("SSL_CERT_DIR", paths.join(":"))
    };
    works(&at(&["two"]), "one directory");
    works(&at(&["one", "two"]), "two");
    works(&at(&["nowhere", "two", "one"]), "one that is not there");
    works(&at(&["two"]).env("SSL_CERT_FILE", files.path("ca.pem")), "and a file");
    works(&at(&["nowhere"]).env("SSL_CERT_FILE", files.path("ca.pem")), "a file alone");
    at(&["nowhere", "empty"]).fails(78, &["SSL_CERT_DIR", "no certificate"]);
    let file = |name: &str| reading(&vault).env("SSL_CERT_FILE", files.path(name));
    file("nowhere.pem").fails(78, &["nowhere.pem", "SSL_CERT_FILE", "No such file"]);
    file("two").fails(78, &["SSL_CERT_FILE", "Is a directory"]);
    files.write("empty.pem", "nothing");
    file("empty.pem").fails(78, &["SSL_CERT_FILE", "no certificate"]);
}

#[test]
fn a_clients_certificate_is_shown_in_the_right_order() {
    let files = Files::new();
    files.certificate("ca", &made(None, AUTHORITY));
    files.certificate("middle", &made(Some("ca"), AUTHORITY));
    files.certificate("client", &made(Some("middle"), "extendedKeyUsage=clientAuth\n"));
    let vault = TestVault::builder().https().start();
    vault.operator().kv_put("secret", 2, "app", json!({ "k": "v" }));
    let [ca, middle, client] = ["ca.pem", "middle.pem", "client.pem"].map(|name| files.text(name));
    let run = trusting(&vault, vault.tls().expect("https").ca())
        .env("VAULT_CLIENT_KEY", files.path("client.key"));
    for text in [
        format!("{client}{middle}{ca}"),
        format!("{ca}{middle}{client}"),
        format!("{middle}{}", client.trim_end()) + &ca,
    ] {
        vault.clear();
        let chain = files.write("chain.pem", text);
        works(&run.clone().env("VAULT_CLIENT_CERT", chain), "a chain");
        let shown = vault.requests()[0].certificates.len();
        let first = vault.requests()[0].certificates[0].clone();
        files.openssl(&["x509", "-in", "client.pem", "-outform", "DER", "-out", "client.der"]);
        assert_eq!((shown, first), (3, fs::read(files.path("client.der")).expect("DER")));
    }
    let without = run.env("VAULT_CLIENT_CERT", files.write("chain.pem", format!("{middle}{ca}")));
    without.fails(78, &["chain.pem", "client.key", "no certificate for the key"]);
}

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let files = Files::new();
    files.certificate("client", &made(None, "extendedKeyUsage=clientAuth\n"));
    files.openssl(&[
        "pkcs8",
        "-topk8",
        "-in",
        "client.key",
        "-out",
        "new.key",
        "-passout",
        "pass:a",
    ]);
    files.openssl(&["ec", "-in", "client.key", "-aes128", "-out", "old.key", "-passout", "pass:a"]);
    files.openssl(&["ec", "-in", "client.key", "-out", "sec1.key"]);
    for (name, key) in [("p521", P521), ("rsa1024", RSA_1024), ("ed448", ED448)] {
        let digest = (name != "ed448").then_some("-sha256");
        files.certificate(name, &Made { key, digest, ..made(None, "") });
    }
    let vault = TestVault::builder().https().start();
    vault.operator().kv_put("secret", 2, "app", json!({ "k": "v" }));
    let ca = vault.tls().expect("https").ca();
    let run = |certificate: &str, key: &str| {
        let run = trusting(&vault, &ca).env("VAULT_CLIENT_CERT", files.path(certificate));
        run.env("VAULT_CLIENT_KEY", files.path(key))
    };
    works(&run("client.pem", "sec1.key"), "SEC 1");
    for (certificate, key, words) in [
        ("client.pem", "new.key", "encrypted"),
        ("client.pem", "old.key", "encrypted"),
        ("client.pem", "client.pem", "no private key"),
        ("p521.pem", "p521.key", "ECDSA P-521"),
        ("rsa1024.pem", "rsa1024.key", "RSA of 1024 bits"),
        ("ed448.pem", "ed448.key", "Ed448"),
    ] {
        run(certificate, key).fails(78, &[key, words]);
    }
}
