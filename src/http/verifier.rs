//! Verifies the server's certificate.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use crate::http::distrust::{self, Problem, Shown, Source};
use crate::http::roots::Bundle;
use crate::http::x509::Certificate;

/// Verifies as webpki does, with these differences: the name may differ from the URL's; a
/// certificate that is identical to a trusted one is accepted without an issuer (a self-signed one
/// has none, and most development set-ups use one); a trusted certificate issues others only if it
/// is an authority, meant for servers, and valid now; and nothing is verified if the user said so.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) provider: Arc<CryptoProvider>,
    /// The trusted certificates.
    pub(crate) trusted: Trusted,
    /// The name that the certificate must have, if it is not the URL's.
    pub(crate) name: Option<ServerName<'static>>,
    /// Whether nothing is verified.
    pub(crate) skip: bool,
}

/// The certificates that are trusted.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) configured: Vec<CertificateDer<'static>>,
    /// The system's bundle, parsed at the first handshake that needs all of it.
    pub(crate) system: Option<Bundle>,
    pub(crate) all: OnceLock<Vec<CertificateDer<'static>>>,
    /// Where they come from, for messages.
    pub(crate) source: Source,
}

impl Trusted {
    fn all(&self) -> &[CertificateDer<'static>] {
        let Some(system) = &self.system else { return &self.configured };
        self.all.get_or_init(|| system.certificates())
    }
}

impl Verifier {
    fn verified(
        &self,
        shown: &Shown<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Problem> {
        // If the few candidates from the system's bundle do not verify the chain, all of them may,
        // or show why it fails.
        let few = self.trusted.system.as_ref();
        let few = few.map(|bundle| bundle.issuers_of(shown.end_entity, shown.intermediates));
        if few.is_some_and(|few| self.verified_by(&few, shown, now).is_ok()) {
            return named(shown, name);
        }
        self.verified_by(self.trusted.all(), shown, now)?;
        named(shown, name)
    }

    fn verified_by(
        &self,
        trusted: &[CertificateDer<'static>],
        shown: &Shown<'_>,
        now: UnixTime,
    ) -> Result<(), Problem> {
        if trusted.iter().any(|trusted| trusted == shown.end_entity) {
            return in_itself(shown, now);
        }
        let anchors: Vec<TrustAnchor<'_>> =
            trusted.iter().filter_map(|trusted| anchor(trusted, now)).collect();
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = EndEntityCert::try_from(shown.end_entity)?;
        let usage = KeyUsage::server_auth();
        certificate.verify_for_usage(
            algorithms,
            &anchors,
            shown.intermediates,
            now,
            usage,
            None,
            None,
        )?;
        let key = Certificate::parse(shown.end_entity).map(|certificate| certificate.key());
        match key {
            Some(key) if !key.is_supported => Err(Problem::Key),
            _ => Ok(()),
        }
    }
}

/// Returns a trusted certificate as an issuer, if it can be one.
fn anchor<'a>(trusted: &'a CertificateDer<'static>, now: UnixTime) -> Option<TrustAnchor<'a>> {
    let certificate = Certificate::parse(trusted)?;
    let can_issue = distrust::unfit(&certificate, now).is_none();
    can_issue.then(|| webpki::anchor_from_trusted_cert(trusted).ok()).flatten()
}

/// Verifies what can be verified of a certificate that is trusted as it is.
fn in_itself(shown: &Shown<'_>, now: UnixTime) -> Result<(), Problem> {
    let certificate = Certificate::parse(shown.end_entity).ok_or(webpki::Error::BadDer)?;
    let (not_before, not_after) = certificate.validity().ok_or(webpki::Error::BadDerTime)?;
    match () {
        () if now < not_before => {
            Err(webpki::Error::CertNotValidYet { time: now, not_before }.into())
        }
        () if now > not_after => Err(webpki::Error::CertExpired { time: now, not_after }.into()),
        () if !certificate.is_for_servers() => Err(Problem::NotForServers),
        () if !certificate.key().is_supported => Err(Problem::Key),
        () => Ok(()),
    }
}

fn named(shown: &Shown<'_>, name: &ServerName<'_>) -> Result<(), Problem> {
    let certificate = EndEntityCert::try_from(shown.end_entity)?;
    Ok(certificate.verify_is_valid_for_subject_name(name)?)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.skip {
            return Ok(ServerCertVerified::assertion());
        }
        let shown = Shown { end_entity, intermediates };
        let name = self.name.as_ref().unwrap_or(server_name);
        self.verified(&shown, name, now).map_err(|problem| {
            distrust::explained(&problem, &shown, self.trusted.all(), &self.trusted.source, now)
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.skip {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.skip {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        const NOT_VERIFIED: [SignatureScheme; 4] = [
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED448,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ];
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if self.skip {
            schemes.extend(NOT_VERIFIED);
        }
        schemes
    }
}
