//! Client certificates of the TLS connection.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::api::envelope::{Failure, Outcome};
use crate::api::glob;
use crate::api::grant::{TokenSettings, set};
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};
use crate::api::roles::{Role, Roles};

#[derive(Clone, Default)]
struct CertRole {
    pem: String,
    der: Vec<u8>,
    display_name: String,
    common_names: Vec<String>,
    token: TokenSettings,
}

impl Role for CertRole {
    fn configure(&mut self, request: &Request) -> Result<(), Failure> {
        set(&mut self.pem, request.text("certificate").map(str::to_owned));
        set(&mut self.display_name, request.text("display_name").map(str::to_owned));
        set(&mut self.common_names, request.list("allowed_common_names"));
        self.token.configure(request)?;
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).ok();
        self.der = der.ok_or_else(|| Failure::bad_request("failed to parse certificate"))?.to_vec();
        if self.display_name.is_empty() {
            request
                .path
                .trim_start_matches("certs/")
                .to_lowercase()
                .clone_into(&mut self.display_name);
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        self.token.describe_in(json!({
            "certificate": self.pem, "display_name": self.display_name, "allowed_common_names": self.common_names,
        }))
    }
}

impl CertRole {
    /// Returns whether it accepts a client: as the CA that signed its certificate, or as that
    /// certificate itself.
    fn trusts(&self, client: &X509Certificate<'_>, der: &[u8]) -> bool {
        let Ok((_, own)) = X509Certificate::from_der(&self.der) else { return false };
        let signed = own.subject() == client.issuer()
            && client.verify_signature(Some(own.public_key())).is_ok();
        if own.is_ca() { signed } else { self.der == der }
    }

    fn allows(&self, common_name: &str) -> bool {
        self.common_names.is_empty() || glob::matches_any(&self.common_names, common_name)
    }

    fn login(&self, name: &str, client: &X509Certificate<'_>) -> Outcome {
        self.token.check_origin()?;
        let metadata = json!({
            "authority_key_id": authority_key_id(client),
            "cert_name": name,
            "common_name": common_name(client),
            "serial_number": client.tbs_certificate.serial.to_string(),
            "subject_key_id": subject_key_id(client),
        });
        self.token.login(&self.display_name, metadata)
    }
}

fn common_name(client: &X509Certificate<'_>) -> String {
    client
        .subject()
        .iter_common_name()
        .find_map(|name| name.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn subject_key_id(client: &X509Certificate<'_>) -> String {
    let found =
        client.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(hex(id.0)),
            _ => None,
        });
    found.unwrap_or_default()
}

fn authority_key_id(client: &X509Certificate<'_>) -> String {
    let found =
        client.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().map(|id| hex(id.0))
            }
            _ => None,
        });
    found.unwrap_or_default()
}

#[derive(Default)]
pub(crate) struct Cert(Roles<CertRole>);

impl Engine for Cert {
    fn handle(&mut self, request: &Request) -> Outcome {
        match (request.path.split_once('/').unwrap_or((&request.path, "")), request.operation) {
            (("login", ""), Operation::Write) => self.login(request),
            (("login", ""), _) => Err(Failure::new(405, "unsupported operation")),
            (("certs", name), _) => self.0.handle(name, request),
            _ => Err(Failure::unsupported_path()),
        }
    }

    fn is_login(&self, path: &str) -> bool {
        path == "login"
    }
}

impl Cert {
    fn login(&self, request: &Request) -> Outcome {
        let der = request
            .certificates
            .first()
            .ok_or_else(|| Failure::bad_request("no client certificate found"))?;
        let (_, client) =
            X509Certificate::from_der(der).map_err(|_| Failure::bad_request("no certificate"))?;
        let wanted = request.text("name").unwrap_or_default();
        let candidates = self.0.iter().filter(|(name, _)| wanted.is_empty() || *name == wanted);
        let trusted: Vec<_> = candidates.filter(|(_, role)| role.trusts(&client, der)).collect();
        if trusted.is_empty() {
            return Err(Failure::bad_request(
                "invalid certificate or no client certificate supplied",
            ));
        }
        let common_name = common_name(&client);
        let text = "no chain matching all constraints could be found for this login certificate";
        let found = trusted.into_iter().find(|(_, role)| role.allows(&common_name));
        let (name, role) = found.ok_or_else(|| Failure::bad_request(text))?;
        role.login(name, &client)
    }
}
