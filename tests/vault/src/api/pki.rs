//! PKI: a CA, and the certificates that it signs for the names that a role allows.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::api::clock::{self, DEFAULT_TTL};
use crate::api::envelope::{Answer, Failure, Outcome};
use crate::api::kv1::keys_below;
use crate::api::leases::Terms;
use crate::api::mounts::Engine;
use crate::api::request::{Operation, Request};

/// How far back certificates are dated, to allow for slow clocks.
const BACKDATED: Duration = Duration::from_secs(30);

const NO_COMMON_NAME: &str = "the common_name field is required, or must be provided in a CSR \
                              with \"use_csr_common_name\" set to true, unless \"require_cn\" is \
                              set to false";

/// Who may get a certificate for which names, and for how long.
struct Role {
    domains: Vec<String>,
    any_name: bool,
    bare_domains: bool,
    subdomains: bool,
    localhost: bool,
    enforce_hostnames: bool,
    require_cn: bool,
    generate_lease: bool,
    ttl: Duration,
    max_ttl: Duration,
}

impl Role {
    fn new(request: &Request) -> Self {
        let flag = |key, default| request.flag(key).unwrap_or(default);
        let duration =
            |key| request.duration(key).filter(|ttl| !ttl.is_zero()).unwrap_or(DEFAULT_TTL);
        Self {
            domains: request.list("allowed_domains").unwrap_or_default(),
            any_name: flag("allow_any_name", false),
            bare_domains: flag("allow_bare_domains", false),
            subdomains: flag("allow_subdomains", false),
            localhost: flag("allow_localhost", true),
            enforce_hostnames: flag("enforce_hostnames", true),
            require_cn: flag("require_cn", true),
            generate_lease: flag("generate_lease", false),
            ttl: duration("ttl"),
            max_ttl: duration("max_ttl"),
        }
    }

    fn allows(&self, name: &str) -> bool {
        let allowed = |domain: &String| {
            let subdomain =
                name.strip_suffix(domain.as_str()).is_some_and(|host| host.ends_with('.'));
            (self.bare_domains && name == domain) || (self.subdomains && subdomain)
        };
        let localhost = self.localhost && ["localhost", "localdomain"].contains(&name);
        let hostname = !self.enforce_hostnames || is_hostname(name);
        hostname && (self.any_name || localhost || self.domains.iter().any(allowed))
    }

    fn ttl(&self, request: &Request) -> Duration {
        request.duration("ttl").filter(|ttl| !ttl.is_zero()).unwrap_or(self.ttl).min(self.max_ttl)
    }

    /// Returns the names that a request asks for, with the common name first.
    fn names(&self, request: &Request) -> Result<Vec<String>, Failure> {
        let common_name = request.text("common_name").unwrap_or_default();
        if common_name.is_empty() && self.require_cn {
            return Err(Failure::bad_request(NO_COMMON_NAME));
        }
        let common_name = Some(common_name.to_owned()).filter(|name| !name.is_empty());
        let alt_names = request.list("alt_names").unwrap_or_default();
        let refused = |kind: &str, name: &str| {
            Failure::bad_request(format!("{kind} {name} not allowed by this role"))
        };
        if let Some(name) = common_name.iter().find(|name| !self.allows(name)) {
            return Err(refused("common name", name));
        }
        if let Some(name) = alt_names.iter().find(|name| !self.allows(name)) {
            return Err(refused("subject alternate name", name));
        }
        Ok(common_name.into_iter().chain(alt_names).collect())
    }
}

fn is_hostname(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.strip_prefix("*.").unwrap_or(name).split('.').all(label)
}

/// A CA that signs.
struct Issuer {
    ca: CertifiedIssuer<'static, KeyPair>,
    expires: OffsetDateTime,
}

/// The first issuer, and the roles.
#[derive(Default)]
pub(crate) struct Pki {
    issuer: Option<Issuer>,
    roles: BTreeMap<String, Role>,
}

impl Engine for Pki {
    fn handle(&mut self, request: &Request) -> Outcome {
        use Operation::{Delete, List, Write};
        let segments: Vec<&str> = request.path.split('/').collect();
        match (segments.as_slice(), request.operation) {
            (["root", "generate", kind @ ("internal" | "exported")], Write) => {
                Ok(self.root(kind, request))
            }
            (["issue", role], Write) => self.issue(role, request),
            (["roles", ""], List) => keys_below("", self.roles.keys()),
            (["roles", role], Write) => {
                self.roles.insert((*role).to_owned(), Role::new(request));
                Ok(Answer::empty())
            }
            (["roles", role], Delete) => {
                self.roles.remove(*role);
                Ok(Answer::empty())
            }
            (["root", "generate", _] | ["issue" | "roles", _], _) => {
                Err(Failure::unsupported_operation())
            }
            _ => Err(Failure::unsupported_path()),
        }
    }
}

impl Pki {
    /// Adds a root. A further root leaves the first one in place.
    fn root(&mut self, kind: &str, request: &Request) -> Answer {
        let ttl = request.duration("ttl").filter(|ttl| !ttl.is_zero()).unwrap_or(DEFAULT_TTL);
        let mut params = params(request.text("common_name"), ttl);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let serial_number = serial_text(&params);
        let expires = params.not_after;
        let ca = CertifiedIssuer::self_signed(params, new_key()).expect("a CA");
        let mut data = json!({
            "certificate": pem(&ca.pem()), "expiration": expires.unix_timestamp(), "issuing_ca": pem(&ca.pem()),
            "issuer_id": Uuid::new_v4().to_string(), "issuer_name": "", "key_id": Uuid::new_v4().to_string(),
            "key_name": "", "serial_number": serial_number,
        });
        if kind == "exported" {
            data["private_key"] = pem(&ca.key().serialize_pem()).into();
            data["private_key_type"] = "ec".into();
        }
        self.issuer.get_or_insert(Issuer { ca, expires });
        Answer::data(data)
    }

    fn issue(&self, role: &str, request: &Request) -> Outcome {
        let unknown = || Failure::bad_request(format!("unknown role: {role}"));
        let role = self.roles.get(role).ok_or_else(unknown)?;
        let issuer = self.issuer.as_ref().ok_or_else(no_issuer)?;
        let names = role.names(request)?;
        let ttl = role.ttl(request);
        let params = leaf(request, names, ttl)?;
        if params.not_after > issuer.expires {
            return Err(Failure::bad_request(beyond(params.not_after, issuer.expires)));
        }
        let data = issuer.sign(&params);
        let terms = Terms { ttl, max_ttl: ttl, renewable: false };
        Ok(if role.generate_lease { Answer::leased(data, terms) } else { Answer::data(data) })
    }
}

impl Issuer {
    /// Signs a certificate. The private key is always an elliptic-curve key: that can be made
    /// without an RSA library.
    fn sign(&self, params: &CertificateParams) -> Value {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.ca).expect("a certificate");
        json!({
            "ca_chain": [pem(&self.ca.pem())],
            "certificate": pem(&certificate.pem()),
            "expiration": params.not_after.unix_timestamp(),
            "issuing_ca": pem(&self.ca.pem()),
            "not_before": params.not_before.unix_timestamp(),
            "private_key": pem(&key.serialize_pem()),
            "private_key_type": "ec",
            "serial_number": serial_text(params),
        })
    }
}

fn no_issuer() -> Failure {
    let text =
        "could not fetch the CA certificate (was one set?): no default issuer currently configured";
    Failure::multierror(500, text)
}

fn beyond(wanted: OffsetDateTime, limit: OffsetDateTime) -> String {
    format!(
        "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the \
         expiration of the CA certificate at {}",
        clock::rfc3339(wanted.into()),
        clock::rfc3339(limit.replace_nanosecond(0).expect("no nanosecond").into())
    )
}

fn leaf(
    request: &Request,
    names: Vec<String>,
    ttl: Duration,
) -> Result<CertificateParams, Failure> {
    let addresses = request.list("ip_sans").unwrap_or_default();
    if let Some(wrong) = addresses.iter().find(|text| text.parse::<std::net::IpAddr>().is_err()) {
        return Err(Failure::bad_request(format!("the value {wrong:?} is not a valid IP address")));
    }
    let mut leaf = params(request.text("common_name"), ttl);
    let sans =
        CertificateParams::new([names, addresses].concat()).expect("names that were looked at");
    leaf.subject_alt_names = sans.subject_alt_names;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyAgreement];
    leaf.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(leaf)
}

fn params(common_name: Option<&str>, ttl: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(name) = common_name.filter(|name| !name.is_empty()) {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + ttl).into();
    params.serial_number = Some(serial());
    params
}

/// Returns a positive number of 16 bytes.
fn serial() -> SerialNumber {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Returns `7c:97:8f:…`.
fn serial_text(params: &CertificateParams) -> String {
    let bytes = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key pair")
}

/// Returns PEM as in the API: with plain line feeds, and none at the end.
fn pem(text: &str) -> String {
    text.replace("\r\n", "\n").trim_end().to_owned()
}
