//! Explains why a server's certificate is not trusted and names the certificate at fault (pure).

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, OtherError};

use crate::http::x509::{Certificate, shown};

/// What is wrong, and what to do about it. It travels through the TLS library as the cause of a
/// handshake failure.
#[derive(Debug)]
pub(crate) struct Distrust {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Distrust {}

/// Why a verification failed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The library says why.
    Library(webpki::Error),
    /// The certificate is not meant for servers.
    NotForServers,
    /// The key's kind or size does not allow verifying any signature.
    Key,
}

impl From<webpki::Error> for Problem {
    fn from(error: webpki::Error) -> Problem {
        Problem::Library(error)
    }
}

/// The certificates that a server has presented.
pub(crate) struct Shown<'a> {
    pub(crate) end_entity: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
}

/// Where the trusted certificates come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The file or variable that the user set for this server alone.
    Configured(String),
    /// The system. The text says what to set for other servers.
    System(&'static str),
}

/// Why a trusted certificate cannot issue others.
pub(crate) enum Unfit {
    NoAuthority,
    NotForServers,
    Expired(UnixTime),
    NotYet(UnixTime),
}

/// Returns why a trusted certificate cannot issue server certificates, if it cannot.
pub(crate) fn unfit(certificate: &Certificate<'_>, now: UnixTime) -> Option<Unfit> {
    match certificate.validity() {
        Some((_, not_after)) if now > not_after => Some(Unfit::Expired(not_after)),
        Some((not_before, _)) if now < not_before => Some(Unfit::NotYet(not_before)),
        _ if !certificate.is_authority() => Some(Unfit::NoAuthority),
        _ if !certificate.is_for_servers() => Some(Unfit::NotForServers),
        _ => None,
    }
}

/// Returns the handshake failure with an explanation.
pub(crate) fn explained(
    problem: &Problem,
    shown: &Shown<'_>,
    trusted: &[CertificateDer<'_>],
    source: &Source,
    now: UnixTime,
) -> rustls::Error {
    let parsed = |der| Certificate::parse(der);
    let case = Case {
        chain: std::iter::once(shown.end_entity)
            .chain(shown.intermediates)
            .filter_map(|der| parsed(der))
            .collect(),
        trusted: trusted.iter().filter_map(|der| parsed(der)).collect(),
        source,
        now,
    };
    let (message, hint) = case.words(problem);
    let distrust = Distrust { message: format!("the server's certificate {message}"), hint };
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(distrust))))
}

/// Everything that a failure is explained with.
struct Case<'a> {
    /// The server's certificate, followed by the others that it presented.
    chain: Vec<Certificate<'a>>,
    trusted: Vec<Certificate<'a>>,
    source: &'a Source,
    now: UnixTime,
}

type Words = (String, String);

const LIMITS: &str = "signatures are RSA, of 2048 bits or more, or ECDSA P-256 or P-384, with \
                      SHA-256 or SHA-384 (RSA also SHA-512), or Ed25519: have the certificate made \
                      with one of these";
const SENDS_IT: &str =
    ". If that is an intermediate authority, the server must send its certificate too";
const CLOCK: &str = "is this machine's clock right?";

impl Case<'_> {
    fn words(&self, problem: &Problem) -> Words {
        let error = match problem {
            Problem::NotForServers => return not_for_servers(),
            Problem::Key => return key(self.chain.first()),
            Problem::Library(error) => error,
        };
        match error {
            webpki::Error::UnknownIssuer
            | webpki::Error::CaUsedAsEndEntity
            | webpki::Error::EndEntityUsedAsCa => self.unknown(),
            webpki::Error::InvalidSignatureForPublicKey => self.bad_signature(),
            webpki::Error::CertExpired { not_after, .. } => {
                (format!("has expired ({})", date(*not_after)), format!("renew it; {CLOCK}"))
            }
            webpki::Error::CertNotValidYet { not_before, .. } => {
                (format!("is not valid yet ({})", date(*not_before)), CLOCK.to_owned())
            }
            webpki::Error::CertNotValidForName(names) => (
                format!(
                    "is for another name (it has {}, and not {})",
                    list(&names.presented),
                    names.expected.to_str()
                ),
                "use a name that the certificate has in VAULT_ADDR, or set VAULT_TLS_SERVER_NAME \
                 to it"
                    .to_owned(),
            ),
            webpki::Error::RequiredEkuNotFoundContext(_) => not_for_servers(),
            webpki::Error::UnsupportedSignatureAlgorithmContext(_)
            | webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                self.algorithm()
            }
            webpki::Error::UnsupportedCertVersion => self.version(),
            webpki::Error::UnsupportedCriticalExtension => self.extension(),
            other => (
                format!("does not verify ({})", brief(other)),
                format!("is it one of TLS servers, issued by {}?", self.place()),
            ),
        }
    }

    /// Explains the case in which no trusted certificate has the issuer's name, or those that do
    /// cannot issue others.
    fn unknown(&self) -> Words {
        let Some(last) = self.last() else {
            return ("cannot be read".to_owned(), String::new());
        };
        let issuer = shown(last.issuer);
        let mut same = self.trusted.iter().filter(|trusted| trusted.subject == last.issuer);
        let unfit = same.find_map(|trusted| unfit(trusted, self.now));
        let place = self.place();
        if let Some(unfit) = unfit {
            return match unfit {
                Unfit::NoAuthority => (
                    format!(
                        "is signed by an unknown authority: `{issuer}` of {place} is none (CA:FALSE)"
                    ),
                    "such a certificate is trusted for itself alone: set VAULT_CACERT to an \
                     authority's"
                        .to_owned(),
                ),
                Unfit::NotForServers => (
                    format!(
                        "is signed by an unknown authority: `{issuer}` of {place} is not for servers"
                    ),
                    "its extended key usage has no serverAuth".to_owned(),
                ),
                Unfit::Expired(when) => (
                    format!(
                        "is signed by `{issuer}` of {place}, which has expired ({})",
                        date(when)
                    ),
                    format!("renew the authority's certificate; {CLOCK}"),
                ),
                Unfit::NotYet(when) => (
                    format!(
                        "is signed by `{issuer}` of {place}, which is not valid yet ({})",
                        date(when)
                    ),
                    CLOCK.to_owned(),
                ),
            };
        }
        let is_its_own = self.chain.len() == 1 && last.subject == last.issuer;
        let itself = if is_its_own { "itself, " } else { "" };
        let what = format!("is signed by {itself}an unknown authority: `{issuer}`");
        let remedy = match (self.source, is_its_own) {
            (Source::Configured(place), _) => format!(
                "{place} does not have it{}: if this is the right server, put that certificate \
                 there",
                self.names_there()
            ),
            (Source::System(remedy), false) => (*remedy).to_owned(),
            (Source::System(remedy), true) => {
                format!("{remedy}: that of this very certificate, if it is the right server's")
            }
        };
        let is_alone = self.chain.len() == 1 && !is_its_own;
        let missing = if is_alone { SENDS_IT } else { "" };
        (what, format!("{remedy}{missing}"))
    }

    /// Returns the names of the trusted certificates, if there are few.
    fn names_there(&self) -> String {
        match &self.trusted[..] {
            [] => String::new(),
            [one] => format!(" (it has `{}`)", shown(one.subject)),
            [one, other] => {
                format!(" (it has `{}` and `{}`)", shown(one.subject), shown(other.subject))
            }
            more => format!(" (it has {} others)", more.len()),
        }
    }

    fn bad_signature(&self) -> Words {
        let mut issuers = self.chain.iter().skip(1).chain(&self.trusted);
        let signs = |issuer: &&Certificate<'_>| {
            self.chain.iter().any(|certificate| certificate.issuer == issuer.subject)
        };
        let weak = issuers.find(|issuer| signs(issuer) && !issuer.key().is_supported);
        if weak.is_some() {
            return key(weak);
        }
        let remedy = match self.source {
            Source::Configured(place) => {
                format!("{place} must have the certificate that it has now")
            }
            Source::System(remedy) => (*remedy).to_owned(),
        };
        (
            "is signed by an unknown authority with the name of a known one".to_owned(),
            format!("was the authority made anew? {remedy}"),
        )
    }

    fn algorithm(&self) -> Words {
        const GOOD: [&str; 6] = [
            "RSA with SHA-256",
            "RSA with SHA-384",
            "RSA with SHA-512",
            "ECDSA with SHA-256",
            "ECDSA with SHA-384",
            "Ed25519",
        ];
        let odd = self.chain.iter().find(|one| !GOOD.contains(&one.signature().as_str()));
        let Some(odd) = odd else {
            let mut issuers = self.chain.iter().skip(1).chain(&self.trusted);
            return key(issuers.find(|issuer| !issuer.key().is_supported));
        };
        (
            format!(
                "cannot be verified: the signature of `{}`, {}, is not supported",
                shown(odd.subject),
                odd.signature()
            ),
            LIMITS.to_owned(),
        )
    }

    fn version(&self) -> Words {
        let odd = self.chain.iter().find(|one| one.version < 3);
        let name = odd.map(|odd| shown(odd.subject)).unwrap_or_default();
        (
            format!("cannot be verified: `{name}` is of version 1 of X.509"),
            "such a certificate has no names of hosts in it: have one of version 3 made, with \
             subjectAltName"
                .to_owned(),
        )
    }

    fn extension(&self) -> Words {
        let mut odd = self.chain.iter().map(|one| (one, one.not_understood()));
        let found = odd.find(|(_, extensions)| !extensions.is_empty());
        let (name, extensions) =
            found.map(|(one, extensions)| (shown(one.subject), extensions)).unwrap_or_default();
        (
            format!(
                "cannot be verified: `{name}` has a critical extension that is not supported: {}",
                extensions.join(", ")
            ),
            "have the certificate made without it, or not critical".to_owned(),
        )
    }

    /// Returns the last certificate of the chain that begins with the server's.
    fn last(&self) -> Option<&Certificate<'_>> {
        let mut last = self.chain.first()?;
        for _ in &self.chain {
            let above = self.chain.iter().skip(1).find(|one| one.subject == last.issuer);
            match above {
                Some(above) if last.subject != last.issuer => last = above,
                _ => break,
            }
        }
        Some(last)
    }

    fn place(&self) -> &str {
        match self.source {
            Source::Configured(place) => place,
            Source::System(_) => "the system's authorities",
        }
    }
}

fn key(of: Option<&Certificate<'_>>) -> Words {
    let key = of.map(Certificate::key).unwrap_or_default().name;
    let name = of.map(|of| shown(of.subject)).unwrap_or_default();
    (format!("cannot be verified: the key of `{name}`, {key}, is not supported"), LIMITS.to_owned())
}

fn not_for_servers() -> Words {
    (
        "is not one for servers".to_owned(),
        "its extended key usage has no serverAuth: is it a client's, or an authority's for clients?"
            .to_owned(),
    )
}

fn list(names: &[String]) -> String {
    const MOST: usize = 10;
    match names {
        [] => "none".to_owned(),
        names => names.iter().take(MOST).map(|name| plain(name)).collect::<Vec<_>>().join(", "),
    }
}

/// Returns a name as people write it: the library prints `DnsName("vault.example.com")`.
fn plain(name: &str) -> String {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inside.trim_matches('"').chars().filter(|c| !c.is_control()).collect()
}

fn date(time: UnixTime) -> String {
    let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time.as_secs());
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Returns the name of the library's error, without the data that may follow it.
fn brief(error: &webpki::Error) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}
