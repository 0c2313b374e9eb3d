//! Reads what a certificate says about itself (RFC 5280, pure), even one that the verifying library
//! cannot read. Nothing is verified here.

use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;

/// A certificate whose essential parts could be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate<'a> {
    /// 1 to 3.
    pub(crate) version: u8,
    /// The name of the issuer, without the outer tag and length.
    pub(crate) issuer: &'a [u8],
    /// Its own name, in the same form.
    pub(crate) subject: &'a [u8],
    /// The public key, with tag and length.
    pub(crate) public_key: &'a [u8],
    /// The algorithm of its signature: an OID without tag and length.
    signature: &'a [u8],
    validity: &'a [u8],
    extensions: &'a [u8],
}

/// An extension.
struct Extension<'a> {
    oid: &'a [u8],
    is_critical: bool,
    value: &'a [u8],
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const BOOLEAN: u8 = 0x01;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 37, 0];
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];

/// The last numbers of the `2.5.29.x` extensions that the verifying library understands.
const UNDERSTOOD: [u8; 6] = [15, 17, 19, 30, 31, 37];

impl<'a> Certificate<'a> {
    /// Reads a certificate. Returns `None` if it is not one.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut whole = Reader(Reader(der).expect(SEQUENCE)?);
        let mut body = Reader(whole.expect(SEQUENCE)?);
        let version = match body.peek() {
            Some(VERSION) => *Reader(body.expect(VERSION)?).expect(INTEGER)?.last()? + 1,
            _ => 1,
        };
        body.expect(INTEGER)?;
        let signature = Reader(body.expect(SEQUENCE)?).expect(OID)?;
        let issuer = body.expect(SEQUENCE)?;
        let validity = body.expect(SEQUENCE)?;
        let subject = body.expect(SEQUENCE)?;
        let (public_key, _) = body.element(SEQUENCE)?;
        let mut extensions: &[u8] = &[];
        while let Some(tag) = body.peek() {
            let content = body.expect(tag)?;
            if tag == EXTENSIONS {
                extensions = Reader(content).expect(SEQUENCE)?;
            }
        }
        Some(Certificate { version, issuer, subject, public_key, signature, validity, extensions })
    }

    /// Returns whether it may issue others: an authority says so itself (CA:TRUE) or, without that
    /// extension, has a key that may sign certificates. Version 1 cannot say anything.
    pub(crate) fn is_authority(&self) -> bool {
        const SIGNS_CERTIFICATES: u8 = 0b0000_0100;
        if self.version < 3 {
            return true;
        }
        match (self.extension(BASIC_CONSTRAINTS), self.extension(KEY_USAGE)) {
            (Some(constraints), _) => {
                let flag = Reader(constraints)
                    .expect(SEQUENCE)
                    .and_then(|inside| Reader(inside).expect(BOOLEAN));
                flag.is_some_and(|flag| flag != [0])
            }
            (None, Some(usage)) => {
                let bits = Reader(usage).expect(BIT_STRING);
                bits.and_then(|bits| bits.get(1)).is_some_and(|bits| bits & SIGNS_CERTIFICATES != 0)
            }
            (None, None) => false,
        }
    }

    /// Returns whether it is for servers or, for an authority, for those that issue to servers: it
    /// lists this use or any use, or lists none at all.
    pub(crate) fn is_for_servers(&self) -> bool {
        let Some(uses) = self.extension(EXTENDED_KEY_USAGE) else { return true };
        let mut uses = Reader(Reader(uses).expect(SEQUENCE).unwrap_or_default());
        std::iter::from_fn(|| uses.expect(OID))
            .any(|usage| usage == SERVER_AUTH || usage == ANY_USAGE)
    }

    /// Returns when its validity begins and ends, or `None` if that cannot be read.
    pub(crate) fn validity(&self) -> Option<(UnixTime, UnixTime)> {
        let mut times = Reader(self.validity);
        Some((times.time()?, times.time()?))
    }

    /// Returns the algorithm of its signature.
    pub(crate) fn signature(&self) -> String {
        algorithm(&dotted(self.signature))
    }

    /// Returns the critical extensions that the verifying library does not understand.
    pub(crate) fn not_understood(&self) -> Vec<String> {
        let is_understood =
            |oid: &[u8]| matches!(oid, [0x55, 0x1d, last] if UNDERSTOOD.contains(last));
        let odd = self.extensions().filter(|one| one.is_critical && !is_understood(one.oid));
        odd.map(|one| extension(&dotted(one.oid))).collect()
    }

    /// Returns its public key.
    pub(crate) fn key(&self) -> Key {
        Key::of_public(self.public_key).unwrap_or_default()
    }

    fn extension(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extensions().find(|one| one.oid == oid).map(|one| one.value)
    }

    fn extensions(&self) -> impl Iterator<Item = Extension<'a>> + use<'a> {
        let mut all = Reader(self.extensions);
        std::iter::from_fn(move || {
            let mut one = Reader(all.expect(SEQUENCE)?);
            let oid = one.expect(OID)?;
            let is_critical = match one.peek() {
                Some(BOOLEAN) => one.expect(BOOLEAN)? != [0],
                _ => false,
            };
            Some(Extension { oid, is_critical, value: one.expect(OCTET_STRING)? })
        })
    }
}

/// The kind of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// In words: `RSA of 1024 bits`, `ECDSA P-521`.
    pub(crate) name: String,
    /// Whether we can make and verify signatures with it.
    pub(crate) is_supported: bool,
}

impl Key {
    fn of_public(key: &[u8]) -> Option<Key> {
        let mut key = Reader(Reader(key).expect(SEQUENCE)?);
        let algorithm = key.expect(SEQUENCE)?;
        Some(Key::of(algorithm, || {
            let bits = key.expect(BIT_STRING)?;
            Reader(Reader(bits.get(1..)?).expect(SEQUENCE)?).expect(INTEGER)
        }))
    }

    /// Reads a private key in the form of PKCS #8 (RFC 5958).
    pub(crate) fn of_pkcs8(key: &[u8]) -> Option<Key> {
        let mut key = Reader(Reader(key).expect(SEQUENCE)?);
        key.expect(INTEGER)?;
        let algorithm = key.expect(SEQUENCE)?;
        Some(Key::of(algorithm, || modulus(key.expect(OCTET_STRING)?)))
    }

    /// Reads a private key in the form of PKCS #1 (RFC 8017, A.1.2).
    pub(crate) fn of_pkcs1(key: &[u8]) -> Option<Key> {
        modulus(key).map(Key::rsa)
    }

    /// Reads a private key in the form of SEC 1 (RFC 5915).
    pub(crate) fn of_sec1(key: &[u8]) -> Option<Key> {
        const PARAMETERS: u8 = 0xa0;
        let mut key = Reader(Reader(key).expect(SEQUENCE)?);
        key.expect(INTEGER)?;
        key.expect(OCTET_STRING)?;
        Some(Key::ecdsa(Reader(key.expect(PARAMETERS)?).expect(OID)?))
    }

    fn of<'a>(algorithm: &'a [u8], modulus: impl FnOnce() -> Option<&'a [u8]>) -> Key {
        let mut algorithm = Reader(algorithm);
        let name = dotted(algorithm.expect(OID).unwrap_or_default());
        match name.as_str() {
            "1.2.840.113549.1.1.1" => modulus().map(Key::rsa).unwrap_or_default(),
            "1.2.840.10045.2.1" => Key::ecdsa(algorithm.expect(OID).unwrap_or_default()),
            "1.3.101.112" => Key { name: "Ed25519".to_owned(), is_supported: true },
            _ => Key { name: self::algorithm(&name), is_supported: false },
        }
    }

    fn rsa(modulus: &[u8]) -> Key {
        let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
        let zeros = modulus.first().map_or(0, |first| first.leading_zeros());
        let bits = (modulus.len() * 8).saturating_sub(zeros as usize);
        Key { name: format!("RSA of {bits} bits"), is_supported: (2048..=8192).contains(&bits) }
    }

    fn ecdsa(curve: &[u8]) -> Key {
        let curve = dotted(curve);
        let name = match curve.as_str() {
            "1.2.840.10045.3.1.7" => "P-256",
            "1.3.132.0.33" => "P-224",
            "1.3.132.0.34" => "P-384",
            "1.3.132.0.35" => "P-521",
            "1.3.132.0.10" => "secp256k1",
            other => other,
        };
        let is_supported = matches!(name, "P-256" | "P-384");
        Key { name: format!("ECDSA {name}"), is_supported }
    }
}

/// Returns the modulus of an RSA private key.
fn modulus(key: &[u8]) -> Option<&[u8]> {
    let mut key = Reader(Reader(key).expect(SEQUENCE)?);
    key.expect(INTEGER)?;
    key.expect(INTEGER)
}

/// Returns what people call a name: its common name, otherwise its organization, otherwise its last
/// part.
pub(crate) fn shown(name: &[u8]) -> String {
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    const ORGANIZATION: &[u8] = &[0x55, 4, 10];
    const SET: u8 = 0x31;
    const MOST: usize = 80;
    let mut sets = Reader(name);
    let parts: Vec<(&[u8], &[u8])> = std::iter::from_fn(|| {
        let mut part = Reader(Reader(sets.expect(SET)?).expect(SEQUENCE)?);
        let oid = part.expect(OID)?;
        let tag = part.peek()?;
        Some((oid, part.expect(tag)?))
    })
    .collect();
    let part = |wanted: &[u8]| parts.iter().find(|(oid, _)| *oid == wanted);
    let part = part(COMMON_NAME).or_else(|| part(ORGANIZATION)).or(parts.last());
    let text = String::from_utf8_lossy(part.map_or(b"(without a name)", |(_, value)| value));
    // The text comes from the other side.
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(MOST).collect()
}

/// Returns the name of an algorithm.
fn algorithm(oid: &str) -> String {
    match oid {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.113549.1.1.4" => "RSA with MD5",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "RSA with SHA-1",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "RSA with SHA-256",
        "1.2.840.113549.1.1.12" => "RSA with SHA-384",
        "1.2.840.113549.1.1.13" => "RSA with SHA-512",
        "1.2.840.113549.1.1.14" => "RSA with SHA-224",
        "1.2.840.10045.4.1" => "ECDSA with SHA-1",
        "1.2.840.10045.4.3.1" => "ECDSA with SHA-224",
        "1.2.840.10045.4.3.2" => "ECDSA with SHA-256",
        "1.2.840.10045.4.3.3" => "ECDSA with SHA-384",
        "1.2.840.10045.4.3.4" => "ECDSA with SHA-512",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        "1.2.840.10040.4.1" | "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => "DSA",
        other => return format!("the algorithm {other}"),
    }
    .to_owned()
}

/// Returns the name of an extension.
fn extension(oid: &str) -> String {
    match oid {
        "2.5.29.32" => "certificate policies".to_owned(),
        "2.5.29.33" => "policy mappings".to_owned(),
        "2.5.29.36" => "policy constraints".to_owned(),
        "2.5.29.54" => "inhibit anyPolicy".to_owned(),
        "1.3.6.1.5.5.7.1.24" => "TLS feature".to_owned(),
        other => other.to_owned(),
    }
}

/// Formats an OID as people write it.
fn dotted(oid: &[u8]) -> String {
    let mut numbers: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(number);
            number = 0;
        }
    }
    if let Some(first) = numbers.first().copied() {
        let top = (first / 40).min(2);
        numbers.splice(..1, [top, first - top * 40]);
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.join(".")
}

/// Reads DER (X.690) from front to back.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Returns the content of the next element, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|(_, content)| content)
    }

    /// Returns the whole next element and its content.
    fn element(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (header, length) = match *self.0 {
            [found, length @ 0..=0x7f, ..] if found == tag => (2, usize::from(length)),
            [found, 0x81, length, ..] if found == tag => (3, usize::from(length)),
            [found, 0x82, high, low, ..] if found == tag => {
                (4, usize::from(u16::from_be_bytes([high, low])))
            }
            _ => return None,
        };
        let whole = self.0.get(..header + length)?;
        self.0 = self.0.get(whole.len()..)?;
        Some((whole, whole.get(header..)?))
    }

    /// Reads a time: `UTCTime`, with a two-digit year, or `GeneralizedTime`.
    fn time(&mut self) -> Option<UnixTime> {
        let tag = self.peek()?;
        let text = std::str::from_utf8(self.expect(tag)?).ok()?;
        let text = match (tag, text.as_bytes().first()?) {
            (UTC_TIME, b'0'..=b'4') => format!("20{text}"),
            (UTC_TIME, _) => format!("19{text}"),
            _ => text.to_owned(),
        };
        let part = |from: usize, to: usize| text.get(from..to);
        let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
        let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
        let text = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
        let time = humantime::parse_rfc3339(&text).ok()?;
        // Any time before 1970 is simply long ago.
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// Returns a version 3 certificate with a P-256 key for `b`, issued by `a`, that is an
    /// authority for servers.
    fn certificate() -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).expect("short");
            let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
            [&[tag][..], &length, content].concat()
        };
        let sequence = |parts: &[Vec<u8>]| element(SEQUENCE, &parts.concat());
        let name = |text: &[u8]| {
            let part = sequence(&[element(OID, &[0x55, 4, 3]), element(0x0c, text)]);
            sequence(&[element(0x31, &part)])
        };
        let extension = |oid: &[u8], is_critical: bool, value: &[u8]| {
            let critical = if is_critical { element(BOOLEAN, &[0xff]) } else { Vec::new() };
            sequence(&[element(OID, oid), critical, element(OCTET_STRING, value)])
        };
        let signature = || sequence(&[element(OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])]);
        let curve = element(OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
        let kind = element(OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
        let key = sequence(&[sequence(&[kind, curve]), element(BIT_STRING, &[0, 4])]);
        let constraints = sequence(&[element(BOOLEAN, &[0xff])]);
        let usage = sequence(&[element(OID, SERVER_AUTH)]);
        let extensions = sequence(&[
            extension(BASIC_CONSTRAINTS, true, &constraints),
            extension(EXTENDED_KEY_USAGE, false, &usage),
            extension(&[0x2a, 3], true, &[]),
        ]);
        let times = [element(UTC_TIME, b"700101000010Z"), element(0x18, b"20500101000000Z")];
        let body = sequence(&[
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[1]),
            signature(),
            name(b"a"),
            sequence(&times),
            name(b"b\x1b\n"),
            key,
            element(EXTENSIONS, &extensions),
        ]);
        sequence(&[body, signature(), element(BIT_STRING, &[0])])
    }

    #[test]
    fn a_certificate_says_what_it_is() {
        let der = certificate();
        let found = Certificate::parse(&der).expect("a certificate");
        assert_eq!(
            (found.version, shown(found.issuer), shown(found.subject)),
            (3, "a".into(), "b??".into())
        );
        assert!(found.is_authority() && found.is_for_servers());
        assert_eq!(found.key(), Key { name: "ECDSA P-256".into(), is_supported: true });
        assert_eq!(found.signature(), "ECDSA with SHA-256");
        assert_eq!(found.not_understood(), ["1.2.3"]);
        let (from, to) = found.validity().expect("times");
        assert_eq!((from.as_secs(), to.as_secs()), (10, 2_524_608_000));
    }

    #[test]
    fn numbers_of_objects_are_dotted() {
        for (oid, text) in [
            (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5][..], "1.2.840.113549.1.1.5"),
            (&[0x55, 0x1d, 0x24], "2.5.29.36"),
            (&[0x88, 0x37], "2.999"),
            (&[], ""),
        ] {
            assert_eq!(dotted(oid), text);
        }
    }

    fn cases() -> ProptestConfig {
        ProptestConfig {
            rng_seed: RngSeed::Fixed(1),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Reads everything that can be read.
    fn read(der: &[u8]) {
        let Some(found) = Certificate::parse(der) else { return };
        let _ = (shown(found.issuer), found.is_authority(), found.is_for_servers());
        let _ = (found.validity(), found.signature(), found.not_understood(), found.key());
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn whatever_the_bytes_are_they_are_read(bytes: Vec<u8>) {
            read(&bytes);
            let _ = (Key::of_pkcs1(&bytes), Key::of_pkcs8(&bytes), Key::of_sec1(&bytes));
        }

        #[test]
        fn whatever_is_changed_in_a_certificate_it_is_read(at: proptest::sample::Index, to: u8) {
            let mut der = certificate();
            let at = at.index(der.len());
            der[at] = to;
            read(&der);
            read(&der[..at]);
        }
    }
}
