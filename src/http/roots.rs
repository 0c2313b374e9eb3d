//! The system's bundle of authorities; a start needs only one or two of them.
//!
//! A bundle has some 150 certificates in 200 kB of base64. Decoding and parsing all of them takes
//! longer than the handshake they are needed for, so a quick look first finds those that may have
//! issued what the server presented.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;

use crate::error::Error;
use crate::file;
use crate::http::pem::{Section, sections};
use crate::http::x509::Certificate;
use crate::secret::Variable;

/// Where distributions keep the bundle of authorities that they trust.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cacert.pem",
];

/// How much of a certificate is looked at, in characters of base64: its number, its algorithm, its
/// issuer (RFC 5280, 4.1), and in nearly all of them its own name, which for an authority is the
/// issuer's name.
const BEGINNING: usize = 640;

/// The locations of the authorities that the system trusts.
#[derive(Debug)]
pub(crate) struct Bundle {
    file: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

impl Bundle {
    /// Finds the bundle: `SSL_CERT_FILE` and `SSL_CERT_DIR`, a list of directories separated by
    /// `:`, otherwise the first of the usual places that exists.
    ///
    /// # Errors
    /// 78 if the file cannot be read, or if neither the file nor any directory has a certificate.
    pub(crate) fn of_system(environment: &[Variable]) -> Result<Option<Bundle>, Error> {
        let (file, list) =
            (named(environment, "SSL_CERT_FILE"), named(environment, "SSL_CERT_DIR"));
        if file.is_none() && list.is_none() {
            let file = BUNDLES.iter().map(PathBuf::from).find(|file| file.is_file());
            return Ok(file.map(|file| Bundle { file: Some(file), directories: Vec::new() }));
        }
        let in_file = file.map(|file| has_certificate(Path::new(file))).transpose();
        let in_file = in_file.map_err(|error| wrong("SSL_CERT_FILE", file, &error.to_string()))?;
        let directories = list.into_iter().flat_map(|list| list.split(':'));
        let bundle = Bundle {
            file: file.map(PathBuf::from),
            directories: directories.filter(|one| !one.is_empty()).map(PathBuf::from).collect(),
        };
        let is_any = in_file == Some(true)
            || bundle.below().any(|file| has_certificate(&file).unwrap_or_default());
        match (is_any, list) {
            (true, _) => Ok(Some(bundle)),
            (false, Some(_)) => Err(wrong("SSL_CERT_DIR", list, "no certificate there")),
            (false, None) => Err(wrong("SSL_CERT_FILE", file, "no certificate in it")),
        }
    }

    /// Returns all of them. Unreadable ones are skipped; the handshake shows whether the rest is
    /// enough.
    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.files().flat_map(|file| certificates_of(&file)).collect()
    }

    /// Returns those that may have issued a chain, as far as a quick look can tell.
    pub(crate) fn issuers_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Vec<CertificateDer<'static>> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        let names: Vec<Vec<u8>> = chain.filter_map(issuer).collect();
        self.files()
            .flat_map(|file| certificates_with(&fs::read(file).unwrap_or_default(), &names))
            .collect()
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.file.iter().cloned().chain(self.below())
    }

    /// Returns the files in the directories. A directory that does not exist is skipped, as in
    /// OpenSSL.
    fn below(&self) -> impl Iterator<Item = PathBuf> {
        self.directories.iter().flat_map(|directory| files_below(directory).unwrap_or_default())
    }
}

/// Returns the name of a certificate's issuer, as it is encoded there.
fn issuer(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Certificate::parse(certificate).map(|parsed| parsed.issuer.to_vec())
}

/// Returns the certificates that have one of these names near their beginning.
fn certificates_with(pem: &[u8], names: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    let text = String::from_utf8_lossy(pem);
    let certificates = sections(&text).filter(Section::is_certificate);
    decoded(certificates.filter(|section| has_one_of(&beginning(section), names)))
}

fn decoded<'a>(sections: impl Iterator<Item = Section<'a>>) -> Vec<CertificateDer<'static>> {
    let decoded = sections.filter_map(|section| section.decoded());
    decoded.map(|der| CertificateDer::from(der.to_vec())).collect()
}

/// Returns the first bytes of a certificate, or none if it is not base64.
fn beginning(section: &Section<'_>) -> Vec<u8> {
    let text = section.body.unwrap_or_default().bytes();
    let text: Vec<u8> = text.filter(|byte| !byte.is_ascii_whitespace()).take(BEGINNING).collect();
    BASE64_STANDARD.decode(text).unwrap_or_default()
}

fn has_one_of(bytes: &[u8], names: &[Vec<u8>]) -> bool {
    let has =
        |name: &Vec<u8>| !name.is_empty() && bytes.windows(name.len()).any(|window| window == name);
    names.iter().any(has)
}

/// Returns what a variable holds, if it is not empty.
fn named<'a>(environment: &'a [Variable], name: &str) -> Option<&'a str> {
    let variable = environment.iter().find(|variable| variable.name == name);
    variable.and_then(|variable| variable.value.expose_text()).filter(|text| !text.is_empty())
}

fn wrong(name: &str, value: Option<&str>, what: &str) -> Error {
    let value = value.unwrap_or_default();
    let not_there = value.split(':').map(Path::new).find(|path| !file::is_path(path));
    match not_there {
        Some(path) => file::unusable(path, name, what),
        None => Error::config(format!("{value} ({name}): {what}")).hint(
            "it is where the authorities are that the system trusts: correct it, or set \
             VAULT_CACERT",
        ),
    }
}

fn has_certificate(file: &Path) -> std::io::Result<bool> {
    // Reading a FIFO would block.
    let seen = fs::metadata(file)?;
    if !seen.is_file() && !seen.is_dir() {
        return Err(std::io::Error::other("not a file"));
    }
    let bytes = fs::read(file)?;
    Ok(sections(&String::from_utf8_lossy(&bytes)).any(|section| section.is_certificate()))
}

/// Returns the certificates that can be read in a file. They are public, so nothing of this is
/// wiped: a bundle is large.
pub(crate) fn certificates_of(file: &Path) -> Vec<CertificateDer<'static>> {
    let bytes = fs::read(file).unwrap_or_default();
    decoded(sections(&String::from_utf8_lossy(&bytes)).filter(Section::is_certificate))
}

/// Returns each file below a directory once. A directory with a link by hash for each certificate,
/// as `openssl rehash` makes it, has most of them several times.
///
/// # Errors
/// The directory that cannot be read, and the reason.
pub(crate) fn files_below(directory: &Path) -> Result<Vec<PathBuf>, (PathBuf, std::io::Error)> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        let entries = fs::read_dir(&next).map_err(|error| (next, error))?;
        for entry in entries.flatten() {
            // Links to directories are not followed, as in Vault's own client: they may form a
            // cycle.
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

    /// A PEM certificate in which only the beginning is real.
    fn section(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!(
            "# Ä comment\n-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
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
        for text in ["", "-----BEGIN CERTIFICATE-----\n*\n-----END", "name", "\u{0}"] {
            assert!(certificates_with(text.as_bytes(), &names).is_empty(), "{text}");
        }
        assert!(certificates_with(b"\xff\xfe", &names).is_empty());
    }
}
