//! Client certificates, and the CA that signs them.

use std::fs;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// A CA for clients, which is not the server's.
pub struct ClientCa(CertifiedIssuer<'static, KeyPair>);

impl Default for ClientCa {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientCa {
    /// Makes a CA with a new key.
    pub fn new() -> Self {
        let mut params = named("CA of clients");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key pair");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Returns its certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a client.
    pub fn issue(&self, common_name: &str) -> ClientCertificate {
        self.issue_for(common_name, &KeyPair::generate().expect("a key pair"))
    }

    /// The same with a 2048-bit RSA key, which is always the same one.
    pub fn issue_rsa(&self, common_name: &str) -> ClientCertificate {
        let key = KeyPair::from_pem(include_str!("rsa-key.pem")).expect("a key that openssl made");
        self.issue_for(common_name, &key)
    }

    fn issue_for(&self, common_name: &str, key: &KeyPair) -> ClientCertificate {
        let mut params = named(common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.0).expect("a certificate");
        let directory = TempDir::new().expect("a temporary directory");
        let client = ClientCertificate { directory };
        fs::write(client.cert(), certificate.pem()).expect("a file in a temporary directory");
        fs::write(client.key(), key.serialize_pem()).expect("a file in a temporary directory");
        client
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params
}

/// PEM files that live as long as this.
pub struct ClientCertificate {
    directory: TempDir,
}

impl ClientCertificate {
    /// Returns the path for `VAULT_CLIENT_CERT`.
    pub fn cert(&self) -> PathBuf {
        self.directory.path().join("client.pem")
    }

    /// Returns the path for `VAULT_CLIENT_KEY`.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("client-key.pem")
    }

    /// Returns the certificate.
    pub fn pem(&self) -> String {
        fs::read_to_string(self.cert()).expect("a file of our own")
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_file(self.cert()).expect("PEM of our own")]
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(self.key()).expect("PEM of our own")
    }
}
