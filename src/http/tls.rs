//! TLS: which certificates are trusted, and which one the client presents.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::error::Error;
use crate::file;
use crate::grammar::sourced::Sourced;
use crate::http::distrust::Source;
use crate::http::pem::{Section, sections};
use crate::http::roots::{Bundle, certificates_of, files_below};
use crate::http::verifier::{Trusted, Verifier};
use crate::http::x509::{Certificate, Key};
use crate::secret::Variable;

/// The TLS settings; files are not read yet.
#[derive(Debug, Default)]
pub struct TlsSettings {
    /// `VAULT_CACERT`: a file.
    pub ca_file: Option<Sourced>,
    /// `VAULT_CACERT_BYTES`: PEM text.
    pub ca_bytes: Option<Sourced>,
    /// `VAULT_CAPATH`: a directory.
    pub ca_path: Option<Sourced>,
    /// `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`: files.
    pub client: Option<(Sourced, Sourced)>,
    /// `VAULT_TLS_SERVER_NAME`.
    pub server_name: Option<String>,
    /// `VAULT_SKIP_VERIFY`.
    pub skip_verify: bool,
}

/// The host that a connection goes to, for messages.
#[derive(Clone, Copy)]
pub(crate) enum Peer<'a> {
    Vault,
    /// Another host; Vault's settings do not apply to it.
    Other(&'a str),
}

impl Peer<'_> {
    /// Returns what to do if the system does not have the authority.
    fn remedy(self) -> &'static str {
        match self {
            Peer::Vault => "set VAULT_CACERT to the file of the authority's certificate",
            Peer::Other(_) => {
                "set SSL_CERT_FILE, or AWS_CA_BUNDLE for AWS, to a file that has the authority's \
                 certificate"
            }
        }
    }

    fn without_bundle(self) -> Error {
        match self {
            Peer::Vault => Error::config(
                "an https address, and no certificate of an authority to trust: this image has no \
                 CA bundle",
            )
            .hint(
                "set VAULT_CACERT to the file of Vault's CA certificate, or install \
                 ca-certificates in the image",
            ),
            Peer::Other(host) => Error::config(format!(
                "https://{host}, and no certificate of an authority to trust: this image has no CA \
                 bundle, and VAULT_CACERT is for Vault alone"
            ))
            .hint(
                "set SSL_CERT_FILE, or AWS_CA_BUNDLE for AWS, to a file with the authorities, or \
                 install ca-certificates in the image",
            ),
        }
    }
}

/// Builds the configuration of every connection. The system's bundle is not parsed before the first
/// handshake.
///
/// # Errors
/// 78 if a file cannot be read or holds no certificate or key, or if an https address has no
/// trusted authority.
pub(crate) fn configure(
    settings: &TlsSettings,
    is_https: bool,
    environment: &[Variable],
    peer: Peer<'_>,
    left: Duration,
) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = verifier(settings, is_https, environment, &provider, peer, left)?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let identity = identity(certificate, key, &provider, left)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // One process makes few connections, so tickets would only keep secrets in memory.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn verifier(
    settings: &TlsSettings,
    is_https: bool,
    environment: &[Variable],
    provider: &Arc<CryptoProvider>,
    peer: Peer<'_>,
    left: Duration,
) -> Result<Verifier, Error> {
    let configured = configured(settings, left)?;
    let wants_system = !settings.skip_verify && configured.is_none();
    let system = match wants_system.then(|| Bundle::of_system(environment)).transpose() {
        // A plain http address needs them only if a redirect leads to https.
        Err(error) if is_https => return Err(error),
        found => found.ok().flatten().flatten(),
    };
    if wants_system && is_https && system.is_none() {
        return Err(peer.without_bundle());
    }
    let (configured, source) = match configured {
        Some((certificates, place)) => (certificates, Source::Configured(place)),
        None => (Vec::new(), Source::System(peer.remedy())),
    };
    Ok(Verifier {
        provider: provider.clone(),
        trusted: Trusted { configured, system, all: OnceLock::new(), source },
        name: settings.server_name.as_deref().map(server_name).transpose()?,
        skip: settings.skip_verify,
    })
}

fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.trim_end_matches('.').to_owned())
        .map_err(|_| Error::config("VAULT_TLS_SERVER_NAME: not a name of a host"))
}

type Certificates = Vec<CertificateDer<'static>>;

/// Returns the authorities that the user set, and where they are. They replace the system's, as in
/// Vault's own client.
fn configured(
    settings: &TlsSettings,
    left: Duration,
) -> Result<Option<(Certificates, String)>, Error> {
    let (found, place) = match settings {
        TlsSettings { ca_file: Some(file), .. } => (certificates_in(file, left)?, place(file)),
        TlsSettings { ca_bytes: Some(bytes), .. } => {
            let place = bytes.origin.to_string();
            (certificates(bytes.value.expose(), &place)?, place)
        }
        TlsSettings { ca_path: Some(path), .. } => (certificates_below(path)?, place(path)),
        _ => return Ok(None),
    };
    Ok(Some((found, place)))
}

fn certificates_in(named: &Sourced, left: Duration) -> Result<Certificates, Error> {
    let content = file::read(Path::new(named.text()?), &named.origin, left)?;
    certificates(&content.bytes, &content.place)
}

/// Parses the certificates in a text. A broken one is not skipped: it may be the one that matters.
fn certificates(pem: &[u8], place: &str) -> Result<Certificates, Error> {
    let text = String::from_utf8_lossy(pem);
    let mut found = Vec::new();
    for (number, section) in sections(&text).filter(Section::is_certificate).enumerate() {
        let number = number + 1;
        let broken =
            |what| Error::config(format!("{place}: malformed PEM: certificate {number} {what}"));
        let Some(der) = section.decoded() else {
            let what = if section.body.is_some() { "is no base64" } else { "has no end" };
            return Err(broken(what));
        };
        if Certificate::parse(&der).is_none() {
            return Err(broken("cannot be read"));
        }
        found.push(CertificateDer::from(der.to_vec()));
    }
    if found.is_empty() {
        return Err(Error::config(format!(
            "{place}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
        )));
    }
    Ok(found)
}

/// Returns every certificate in the files below a directory that the user set. Files without one
/// are skipped.
fn certificates_below(directory: &Sourced) -> Result<Vec<CertificateDer<'static>>, Error> {
    let files = files_below(Path::new(directory.text()?))
        .map_err(|(next, error)| file::unusable(&next, &directory.origin, &error.to_string()))?;
    let found: Vec<_> = files.iter().flat_map(|file| certificates_of(file)).collect();
    if found.is_empty() {
        return Err(Error::config(format!(
            "{}: no certificate in any file of the directory",
            place(directory)
        )));
    }
    Ok(found)
}

/// Reads the client certificate and its key.
fn identity(
    certificate: &Sourced,
    key: &Sourced,
    provider: &CryptoProvider,
    left: Duration,
) -> Result<CertifiedKey, Error> {
    let chain = certificates_in(certificate, left)?;
    let private = key_in(key, left)?;
    let kind = kind_of(&private);
    let key_place = place(key);
    let signing = provider.key_provider.load_private_key(private).map_err(|_| {
        let kind = kind.map_or_else(String::new, |kind| format!(", {}", kind.name));
        Error::config(format!("{key_place}: a private key of a kind that is not supported{kind}"))
            .hint("a client's key is RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519")
    })?;
    let public = signing.public_key();
    let fits = |one: &CertificateDer<'_>| {
        let public = public.as_ref().map(AsRef::as_ref);
        Certificate::parse(one).is_some_and(|one| public.is_none_or(|key| key == one.public_key))
    };
    match in_order(chain, fits) {
        Some(chain) => Ok(CertifiedKey::new(chain, signing)),
        None => Err(Error::config(format!(
            "{}: no certificate for the key in {key_place}",
            place(certificate)
        ))
        .hint("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY belong together: was one of them renewed?")),
    }
}

/// Returns the chain with the certificate that fits first, followed by the issuer of each one,
/// whatever order they were written in.
fn in_order(
    mut left: Certificates,
    fits: impl Fn(&CertificateDer<'_>) -> bool,
) -> Option<Certificates> {
    let first = left.iter().position(fits)?;
    let mut chain = vec![left.remove(first)];
    let is_issuer = |one: &CertificateDer<'_>, of: Option<&CertificateDer<'_>>| {
        let of = of.and_then(|of| Certificate::parse(of));
        of.zip(Certificate::parse(one)).is_some_and(|(of, one)| of.issuer == one.subject)
    };
    while let Some(next) = left.iter().position(|one| is_issuer(one, chain.last())) {
        chain.push(left.remove(next));
    }
    chain.extend(left);
    Some(chain)
}

fn key_in(named: &Sourced, left: Duration) -> Result<PrivateKeyDer<'static>, Error> {
    let content = file::read(Path::new(named.text()?), &named.origin, left)?;
    content.warn_of_others();
    let text = std::str::from_utf8(&content.bytes).unwrap_or_default();
    let mut keys = sections(text).filter(|section| section.label.ends_with("PRIVATE KEY"));
    let Some(section) = keys.next() else {
        return Err(Error::config(format!(
            "{}: no private key in PEM form (-----BEGIN PRIVATE KEY-----)",
            content.place
        )));
    };
    if section.is_encrypted() {
        return Err(Error::config(format!(
            "{}: the private key is encrypted, and there is no place for a password",
            content.place
        ))
        .hint("`openssl pkey -in FILE` writes it unencrypted: have the file readable for the container alone"));
    }
    let der = section.decoded().map(|der| der.to_vec());
    let key = match (section.label, der) {
        ("PRIVATE KEY", Some(der)) => PrivateKeyDer::Pkcs8(der.into()),
        ("RSA PRIVATE KEY", Some(der)) => PrivateKeyDer::Pkcs1(der.into()),
        ("EC PRIVATE KEY", Some(der)) => PrivateKeyDer::Sec1(der.into()),
        (_, None) => return Err(Error::config(format!("{}: malformed PEM", content.place))),
        (label, _) => {
            return Err(Error::config(format!(
                "{}: a private key of a kind that is not supported, {label}",
                content.place
            )));
        }
    };
    Ok(key)
}

fn kind_of(key: &PrivateKeyDer<'_>) -> Option<Key> {
    match key {
        PrivateKeyDer::Pkcs1(key) => Key::of_pkcs1(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => Key::of_pkcs8(key.secret_pkcs8_der()),
        PrivateKeyDer::Sec1(key) => Key::of_sec1(key.secret_sec1_der()),
        _ => None,
    }
}

fn place(file: &Sourced) -> String {
    format!("{} ({})", file.value.expose_text().unwrap_or_default(), file.origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bundle_each_host_has_its_own_remedy() {
        let remedy = |peer: Peer<'_>| {
            let error = peer.without_bundle();
            format!("{} {}", error.message, error.hint.unwrap_or_default())
        };
        assert!(remedy(Peer::Vault).contains("set VAULT_CACERT"));
        let other = remedy(Peer::Other("sts.amazonaws.com"));
        assert!(other.contains("https://sts.amazonaws.com,"), "{other}");
        assert!(other.contains("set SSL_CERT_FILE, or AWS_CA_BUNDLE"), "{other}");
    }
}
