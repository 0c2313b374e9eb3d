//! Certificates and TLS settings for the server.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::ring::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::KeyLog;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::ring, version};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// The certificate that the server presents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certificate {
    /// For localhost, 127.0.0.1 and ::1, signed by a CA of its own.
    #[default]
    OwnCa,
    /// Self-signed and a CA: what `openssl req -x509` makes.
    SelfSignedCa,
    /// Self-signed and not a CA.
    SelfSigned,
    /// Like `SelfSignedCa`, but expired.
    SelfSignedCaExpired,
    /// Like `SelfSigned`, but expired.
    SelfSignedExpired,
    /// Signed by the CA, for `wrong.example` only.
    WrongName,
    /// Signed by the CA, but expired.
    Expired,
}

/// The TLS versions that the server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    #[default]
    Both,
    /// 1.2 only.
    Tls12,
    /// 1.3 only.
    Tls13,
}

impl Versions {
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        match self {
            Self::Both => &BOTH,
            Self::Tls12 => &BOTH[1..],
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// PEM files that live as long as the server.
#[derive(Debug)]
pub struct TlsFiles {
    directory: TempDir,
    sessions: Arc<Sessions>,
}

impl TlsFiles {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns what a client should trust: the CA, or the self-signed certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Returns the certificate that the server presents.
    pub fn server_cert(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// Returns its private key, for another program that is to use it.
    pub fn server_key(&self) -> PathBuf {
        self.path("server-key.pem")
    }

    /// Returns a client certificate that the server accepts.
    pub fn client_cert(&self) -> PathBuf {
        self.path("client.pem")
    }

    /// Returns its private key.
    pub fn client_key(&self) -> PathBuf {
        self.path("client-key.pem")
    }

    /// Returns the secrets of all sessions so far, by name: those that decrypt a recording.
    pub fn session_secrets(&self) -> Vec<(String, Vec<u8>)> {
        self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the directory that contains all of them and nothing else.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// How the server speaks TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The test's own chain and key, in place of the certificate.
    pub(crate) own: Option<(String, String)>,
    pub(crate) certificate: Certificate,
    pub(crate) versions: Versions,
    pub(crate) client_certificate: bool,
    pub(crate) http1_only: bool,
    /// An address that the certificate is for, besides those of this machine.
    pub(crate) ip: Option<IpAddr>,
}

/// A certificate with its key, both as PEM.
struct Pair {
    certificate: String,
    key: String,
}

/// Makes the certificates and the acceptor that uses them.
pub(crate) fn prepare(settings: &Settings) -> (TlsAcceptor, TlsFiles) {
    let ca = issuer();
    let server = match &settings.own {
        Some((certificate, key)) => Pair { certificate: certificate.clone(), key: key.clone() },
        None => server_pair(settings.certificate, settings.ip, &ca),
    };
    let client = signed(&client_params(), &ca);
    let trusted = match settings.certificate {
        Certificate::OwnCa | Certificate::WrongName | Certificate::Expired => ca.pem(),
        _ => server.certificate.clone(),
    };
    let sessions = Arc::new(Sessions::default());
    let directory = TempDir::new().expect("a temporary directory");
    let files = TlsFiles { directory, sessions: Arc::clone(&sessions) };
    for (name, content) in [
        ("ca.pem", &trusted),
        ("server.pem", &server.certificate),
        ("server-key.pem", &server.key),
        ("client.pem", &client.certificate),
        ("client-key.pem", &client.key),
    ] {
        fs::write(files.path(name), content).expect("a file in a temporary directory");
    }
    let mut config = config(settings, &server, ca.der());
    config.key_log = sessions;
    (TlsAcceptor::from(Arc::new(config)), files)
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named("test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, new_key()).expect("a CA")
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = named("test vault").distinguished_name;
    params.not_before = date_time_ymd(2020, 1, 1);
    params
}

fn client_params() -> CertificateParams {
    let mut params = named("test client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn server_pair(
    certificate: Certificate,
    ip: Option<IpAddr>,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> Pair {
    let mut params = server_params(&["localhost", "127.0.0.1", "::1"]);
    params.subject_alt_names.extend(ip.map(SanType::IpAddress));
    if matches!(
        certificate,
        Certificate::Expired | Certificate::SelfSignedExpired | Certificate::SelfSignedCaExpired
    ) {
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    match certificate {
        Certificate::OwnCa | Certificate::Expired => signed(&params, ca),
        Certificate::WrongName => signed(&server_params(&["wrong.example"]), ca),
        Certificate::SelfSignedCa | Certificate::SelfSignedCaExpired => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            self_signed(&params)
        }
        Certificate::SelfSigned | Certificate::SelfSignedExpired => {
            params.is_ca = IsCa::ExplicitNoCa;
            self_signed(&params)
        }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

fn signed(params: &CertificateParams, ca: &CertifiedIssuer<'_, KeyPair>) -> Pair {
    let key = new_key();
    let certificate = params.signed_by(&key, ca).expect("a certificate");
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn self_signed(params: &CertificateParams) -> Pair {
    let key = new_key();
    let certificate = params.self_signed(&key).expect("a certificate");
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn config(settings: &Settings, server: &Pair, ca: &CertificateDer<'static>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(settings.versions.supported())
        .expect("versions that ring knows");
    let builder = if settings.client_certificate {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).expect("a CA of our own");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.expect("a verifier"))
    } else {
        builder.with_client_cert_verifier(Arc::new(AnyClient(provider)))
    };
    let chain = CertificateDer::pem_slice_iter(server.certificate.as_bytes());
    let chain = chain.map(|one| one.expect("PEM of our own")).collect();
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).expect("PEM of our own");
    let key = ring::sign::any_supported_type(&key).expect("a key that ring knows");
    // Whether they match is not checked: there are certificates that rustls cannot read.
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = builder.with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = if settings.http1_only {
        vec![b"http/1.1".into()]
    } else {
        vec![b"h2".into(), b"http/1.1".into()]
    };
    config
}

/// Keeps the contents of a key log (`SSLKEYLOGFILE`, RFC 9850), and the keys that TLS 1.3 derives
/// from them.
#[derive(Debug, Default)]
struct Sessions(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Sessions {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.push((label.to_owned(), secret.to_owned()));
        if label.contains("TRAFFIC_SECRET") {
            secrets.push((format!("key of {label}"), traffic_key(secret)));
        }
    }
}

/// Returns the 32-byte key that is derived from a traffic secret (RFC 8446, 7.1 and 7.3).
fn traffic_key(secret: &[u8]) -> Vec<u8> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let hash = if secret.len() == 48 { HKDF_SHA384 } else { HKDF_SHA256 };
    let info: [&[u8]; 3] = [&[0, 32, 9], b"tls13 key", &[0]];
    let mut key = vec![0; 32];
    let secret = Prk::new_less_safe(hash, secret);
    secret.expand(&info, Length).and_then(|made| made.fill(&mut key)).expect("a short key");
    key
}

/// Asks for a client certificate and accepts any, or none: identifying the client is up to the auth
/// method.
#[derive(Debug)]
struct AnyClient(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
