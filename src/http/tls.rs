//! TLS: which certificates are trusted, and which one is shown.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::Error;
use crate::grammar::sourced::Sourced;
use crate::http::roots::{Bundle, certificates_of, files_below};
use crate::secret::Variable;
use crate::settings::TlsSettings;
use crate::settings::credentials::read_file;

/// The configuration of every connection. The system's bundle is parsed at the first handshake, not
/// before.
///
/// # Errors
/// 78 for a file that cannot be read or holds no certificate or key, and for an https address
/// without any trusted authority.
pub fn configure(
    settings: &TlsSettings,
    is_https: bool,
    environment: &[Variable],
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(settings, is_https, environment, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(certificates_in(certificate)?, key_in(key)?)
            .map_err(|error| {
                Error::config(format!("{} and {}: {error}", certificate.origin, key.origin))
            })?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One process makes few connections: tickets would only keep secrets in memory.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn verifier(
    settings: &TlsSettings,
    is_https: bool,
    environment: &[Variable],
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, Error> {
    let configured = configured(settings)?;
    let wants_system = !settings.skip_verify && configured.is_empty();
    let system = match wants_system.then(|| Bundle::of_system(environment)).transpose() {
        // A plain http address needs them only where a redirect leads to https.
        Err(error) if is_https => return Err(error),
        found => found.ok().flatten().flatten(),
    };
    if wants_system && is_https && system.is_none() {
        return Err(Error::config(
            "an https address, and no certificate of an authority to trust: this image has no CA \
             bundle",
        )
        .hint(
            "set VAULT_CACERT to the file of Vault's CA certificate, or install ca-certificates \
             in the image",
        ));
    }
    Ok(Verifier {
        provider: provider.clone(),
        configured,
        system,
        inner: OnceLock::new(),
        name: settings.server_name.as_deref().map(server_name).transpose()?,
        skip: settings.skip_verify,
    })
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.trim_end_matches('.').to_owned())
        .map_err(|_| Error::config("VAULT_TLS_SERVER_NAME: not a name of a host"))
}

/// The authorities that the user named, which replace the system's as with Vault's own client.
fn configured(settings: &TlsSettings) -> Result<Vec<CertificateDer<'static>>, Error> {
    match settings {
        TlsSettings { ca_file: Some(file), .. } => certificates_in(file),
        TlsSettings { ca_bytes: Some(bytes), .. } => {
            certificates(bytes.value.expose(), &bytes.origin.to_string())
        }
        TlsSettings { ca_path: Some(path), .. } => certificates_below(path),
        _ => Ok(Vec::new()),
    }
}

fn certificates_in(file: &Sourced) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read_file(Path::new(file.text()?)).map_err(|error| error.at(place(file)))?;
    certificates(&bytes, &place(file))
}

fn certificates(pem: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found)
            if found
                .iter()
                .any(|certificate| webpki::anchor_from_trusted_cert(certificate).is_ok()) =>
        {
            Ok(found)
        }
        Ok(found) if !found.is_empty() => {
            Err(Error::config(format!("{place}: no certificate that can be read in it")))
        }
        Ok(_) => Err(Error::config(format!(
            "{place}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        ))),
        Err(_) => Err(Error::config(format!("{place}: malformed PEM"))),
    }
}

/// Every certificate in the files below a directory that the user named; files without one are
/// passed over.
fn certificates_below(directory: &Sourced) -> Result<Vec<CertificateDer<'static>>, Error> {
    let files = files_below(Path::new(directory.text()?)).map_err(|(next, error)| {
        Error::config(format!("{}: {}: {error}", directory.origin, next.display()))
    })?;
    let found: Vec<_> = files.iter().flat_map(|file| certificates_of(file)).collect();
    if found.is_empty() {
        return Err(Error::config(format!(
            "{}: no certificate in any file of the directory",
            place(directory)
        )));
    }
    Ok(found)
}

fn key_in(file: &Sourced) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = read_file(Path::new(file.text()?)).map_err(|error| error.at(place(file)))?;
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| Error::config(format!("{}: no private key in PEM form", place(file))))
}

fn place(file: &Sourced) -> String {
    format!("{} ({})", file.value.expose_text().unwrap_or_default(), file.origin)
}

/// Verifies the server's certificate as the webpki does, with three differences: the name may be
/// another than the URL's; a certificate that is identical to a configured one is accepted although
/// it is an authority's (a self-signed one is, in most development set-ups); and nothing is
/// verified where the user said so.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    configured: Vec<CertificateDer<'static>>,
    system: Option<Bundle>,
    inner: OnceLock<Result<Arc<WebPkiServerVerifier>, rustls::Error>>,
    name: Option<ServerName<'static>>,
    skip: bool,
}

impl Verifier {
    fn inner(&self) -> Result<&Arc<WebPkiServerVerifier>, rustls::Error> {
        let all = || self.system.as_ref().map(Bundle::certificates).unwrap_or_default();
        self.inner.get_or_init(|| self.build(all())).as_ref().map_err(Clone::clone)
    }

    /// With the configured authorities and these.
    fn build(
        &self,
        system: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(self.configured.iter().cloned());
        roots.add_parsable_certificates(system);
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
    }

    /// webpki checks the dates before it finds that an authority's certificate is used by a server,
    /// or has no issuer, so only the name is left to check for a certificate that the user has
    /// configured by itself.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, error: &rustls::Error) -> bool {
        let forgivable = match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
            }
            _ => false,
        };
        forgivable && self.configured.iter().any(|configured| configured == certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.skip {
            return Ok(ServerCertVerified::assertion());
        }
        let name = self.name.as_ref().unwrap_or(server_name);
        let verified = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        let few = self.system.as_ref().map(|bundle| bundle.issuers_of(end_entity, intermediates));
        // What they do not verify, all of them may, or tell why not.
        if let Some(Ok(done)) =
            few.and_then(|few| self.build(few).ok()).map(|verifier| verified(&verifier))
        {
            return Ok(done);
        }
        match verified(self.inner()?) {
            Err(error) if self.is_pinned(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
