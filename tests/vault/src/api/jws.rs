//! JWTs: their signatures (ES256) and the claims that every method checks. The texts are those of
//! Go's libraries.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};

use crate::api::clock;
use crate::api::transit::illegal_base64;

pub(crate) type Claims = Map<String, Value>;

/// The length of an uncompressed point of P-256, which is at the end of its public key.
const POINT: usize = 65;

/// A JWT with its three parts.
pub(crate) struct Jws {
    algorithm: String,
    signed: String,
    signature: Vec<u8>,
    pub(crate) claims: Claims,
}

impl Jws {
    /// Parses a JWT. Surrounding whitespace is not part of it.
    pub(crate) fn parse(token: &str) -> Result<Self, String> {
        let token: String = token.split_whitespace().collect();
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err("go-jose/go-jose: compact JWS format must have three parts".to_owned());
        };
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header: Value = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
        Ok(Self {
            algorithm: header["alg"].as_str().unwrap_or_default().to_owned(),
            signature,
            claims: serde_json::from_slice(&payload).map_err(|error| error.to_string())?,
            signed: token.rsplit_once('.').expect("two points").0.to_owned(),
        })
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.algorithm == "ES256"
    }

    /// Returns whether one of the keys made the signature.
    pub(crate) fn is_by_one_of(&self, keys: &[Vec<u8>]) -> bool {
        let is_by = |key: &Vec<u8>| {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
            key.verify(self.signed.as_bytes(), &self.signature).is_ok()
        };
        self.is_signed() && keys.iter().any(is_by)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(part).map_err(|error| illegal_base64(part, &error))
}

/// Returns the key in a PEM text.
pub(crate) fn public_key(pem: &str) -> Option<Vec<u8>> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let start = info.len().checked_sub(POINT)?;
    Some(info[start..].to_vec())
}

/// Returns the claims of a JWT, and whether the key in a PEM text has signed it.
pub(crate) fn read(token: &str, pem: &str) -> Option<(Value, bool)> {
    let jws = Jws::parse(token).ok()?;
    let is_signed = jws.is_by_one_of(&[public_key(pem)?]);
    Some((Value::Object(jws.claims), is_signed))
}

/// Returns the claims of a JWT that one of the keys has signed.
pub(crate) fn verified(token: &str, keys: &[Vec<u8>]) -> Result<Claims, String> {
    let parsed = Jws::parse(token).and_then(|jws| {
        let wrong = "no known key successfully validated the token signature";
        if jws.is_by_one_of(keys) { Ok(jws.claims) } else { Err(wrong.to_owned()) }
    });
    parsed.map_err(|error| format!("error verifying token signature: {error}"))
}

/// What the claims must say; an empty field accepts anything.
#[derive(Default)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) audiences: &'a [String],
    pub(crate) may_lack_times: bool,
}

impl Expected<'_> {
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), String> {
        for (name, wanted, text) in [
            ("iss", self.issuer, "invalid issuer (iss) claim"),
            ("sub", self.subject, "invalid subject (sub) claim"),
        ] {
            if !wanted.is_empty() && claims.get(name).and_then(Value::as_str) != Some(wanted) {
                return Err(text.to_owned());
            }
        }
        let audiences = audiences(claims);
        if !self.audiences.is_empty()
            && !self.audiences.iter().any(|wanted| audiences.contains(wanted))
        {
            let text =
                "invalid audience (aud) claim: audience claim does not match any expected audience";
            return Err(text.to_owned());
        }
        self.check_times(claims)
    }

    fn check_times(&self, claims: &Claims) -> Result<(), String> {
        let [issued, not_before, expires] = ["iat", "nbf", "exp"].map(|name| time(claims, name));
        if [issued, not_before, expires] == [0; 3] {
            let text =
                "no issued at (iat), not before (nbf), or expiration time (exp) claims in token";
            return if self.may_lack_times { Ok(()) } else { Err(text.to_owned()) };
        }
        let expires = if expires == 0 { issued.max(not_before) + LEEWAY } else { expires };
        let not_before = match (not_before, issued) {
            (0, 0) => expires - LEEWAY,
            (0, issued) => issued,
            (not_before, _) => not_before,
        };
        let now = i64::try_from(clock::unix(SystemTime::now())).expect("a time of ours");
        let text = if now + SKEW < not_before {
            "invalid not before (nbf) claim: token not yet valid"
        } else if now - SKEW > expires {
            "invalid expiration time (exp) claim: token is expired"
        } else if now + SKEW < issued {
            "invalid issued at (iat) claim: token issued in the future"
        } else {
            return Ok(());
        };
        Err(text.to_owned())
    }
}

/// In seconds: how long a JWT is valid that states only its beginning or only its end.
const LEEWAY: i64 = 150;
/// In seconds: how much clocks may differ.
const SKEW: i64 = 60;

fn time(claims: &Claims, name: &str) -> i64 {
    claims.get(name).and_then(Value::as_i64).unwrap_or(0)
}

/// Returns the audiences; a single one need not be in a list.
pub(crate) fn audiences(claims: &Claims) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience.clone()],
        Some(Value::Array(items)) => {
            items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}
