//! The system's bundle of authorities, of which a start needs one or two.
//!
//! A bundle has some 150 certificates in 200 kB of base64. To decode and parse all of them takes
//! longer than the handshake that they are for, so they are looked at first: which of them can have
//! issued what the server has shown?

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use webpki::EndEntityCert;

use crate::error::Error;
use crate::secret::Variable;

/// Where distributions keep the bundle of the authorities that they trust.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// The beginning of a certificate in PEM form (RFC 7468).
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
/// How much of a certificate is looked at, in characters of base64: its number, its algorithm, who
/// issued it (RFC 5280, 4.1), and in nearly all of them its own name, which is that of its issuer
/// where it is an authority's.
const BEGINNING: usize = 640;

/// Where the authorities are that the system trusts.
#[derive(Debug)]
pub struct Bundle {
    file: Option<PathBuf>,
    directory: Option<PathBuf>,
}

impl Bundle {
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`, else the first of the usual places that is there.
    ///
    /// # Errors
    /// 78 where a variable names what is not there.
    pub fn of_system(environment: &[Variable]) -> Result<Option<Bundle>, Error> {
        let bundle = Bundle {
            file: named(environment, "SSL_CERT_FILE")?,
            directory: named(environment, "SSL_CERT_DIR")?,
        };
        if bundle.file.is_some() || bundle.directory.is_some() {
            return Ok(Some(bundle));
        }
        let file = BUNDLES.iter().map(PathBuf::from).find(|file| file.is_file());
        Ok(file.map(|file| Bundle { file: Some(file), directory: None }))
    }

    /// All of them. What cannot be read is passed over: whether the rest is enough, the handshake
    /// shows.
    pub fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.files().iter().flat_map(|file| certificates_of(file)).collect()
    }

    /// Those that can have issued a chain, as far as that can be seen at a glance.
    pub fn issuers_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Vec<CertificateDer<'static>> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let names: Vec<Vec<u8>> = chain.filter_map(issuer).collect();
        self.files()
            .iter()
            .flat_map(|file| certificates_with(&fs::read(file).unwrap_or_default(), &names))
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let directory = self.directory.as_deref().and_then(|directory| files_below(directory).ok());
        self.file.iter().cloned().chain(directory.into_iter().flatten()).collect()
    }
}

/// The name of who issued a certificate, as it is spelled there.
fn issuer(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    EndEntityCert::try_from(certificate).ok().map(|parsed| parsed.issuer().to_vec())
}

/// The certificates at whose beginning one of these names stands.
fn certificates_with(pem: &[u8], names: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    let starts: Vec<usize> = text.match_indices(BEGIN).map(|(start, _)| start).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let sections = starts.iter().zip(ends).filter_map(|(start, end)| text.get(*start..end));
    let with_name = sections.filter(|section| has_one_of(&beginning(section), names));
    with_name.flat_map(|section| CertificateDer::from_pem_slice(section.as_bytes())).collect()
}

/// The first bytes of a certificate; none where that is no base64.
fn beginning(section: &str) -> Vec<u8> {
    let text = section.trim_start_matches(BEGIN).bytes().filter(|byte| !byte.is_ascii_whitespace());
    let text: Vec<u8> = text.take_while(|byte| *byte != b'-').take(BEGINNING).collect();
    BASE64_STANDARD.decode(text).unwrap_or_default()
}

fn has_one_of(bytes: &[u8], names: &[Vec<u8>]) -> bool {
    let has =
        |name: &Vec<u8>| !name.is_empty() && bytes.windows(name.len()).any(|window| window == name);
    names.iter().any(has)
}

/// A path that a variable names, which must be there.
fn named(environment: &[Variable], name: &str) -> Result<Option<PathBuf>, Error> {
    let variable =
        environment.iter().find(|variable| variable.name == name && !variable.value.is_empty());
    let Some(path) = variable.and_then(|variable| variable.value.expose_text()).map(PathBuf::from)
    else {
        return Ok(None);
    };
    match fs::metadata(&path) {
        Ok(_) => Ok(Some(path)),
        Err(error) => Err(Error::config(format!("{} ({name}): {error}", path.display())).hint(
            "it is where the authorities are that the system trusts: correct it, or set \
             VAULT_CACERT",
        )),
    }
}

/// The certificates that can be read in a file. They are public, so nothing of it is wiped with
/// care: a bundle is large.
pub fn certificates_of(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&fs::read(file).unwrap_or_default()).flatten().collect()
}

/// Each file below a directory once: one that links to each certificate by its hash, as `openssl
/// rehash` makes it, has most of them several times.
///
/// # Errors
/// The directory that cannot be read, and why.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        let entries = fs::read_dir(&next).map_err(|error| (next, error))?;
        for entry in entries.flatten() {
            // Links to directories are not followed, as Vault's own client does not: they may lead
            // round in circles.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
                continue;
            }
            let found = fs::metadata(entry.path()).ok().filter(fs::Metadata::is_file);
            files.extend(
                found.filter(|found| seen.insert((found.dev(), found.ino()))).map(|_| entry.path()),
            );
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate in PEM form that is none but for its beginning.
    fn section(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("# Ä comment\n{BEGIN}\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    #[test]
    fn certificates_are_found_by_a_name_at_their_beginning() {
        let der = |name: &str| [&[7; 50][..], name.as_bytes(), &[7; 900]].concat();
        let bundle = ["first", "second", "third"].map(|name| section(&der(name))).concat();
        let found = |names: &[&str]| {
            let names: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            let found = certificates_with(bundle.as_bytes(), &names);
            found.into_iter().map(|certificate| certificate.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(found(&["second"]), [der("second")]);
        assert_eq!(found(&["third", "none", "first"]), [der("first"), der("third")]);
        assert!(found(&["none"]).is_empty() && found(&[""]).is_empty() && found(&[]).is_empty());
    }

    #[test]
    fn what_is_no_bundle_has_no_certificates() {
        let names = [b"name".to_vec()];
        for text in ["", BEGIN, "-----BEGIN CERTIFICATE-----\n*\n-----END", "name", "\u{0}"] {
            assert!(certificates_with(text.as_bytes(), &names).is_empty(), "{text}");
        }
        assert!(certificates_with(b"\xff\xfe", &names).is_empty());
    }
}
