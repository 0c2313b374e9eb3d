//! Makes JWTs that a test logs in with.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::api::clock;
use crate::harness::leaks;
use crate::harness::operator::merged;

/// A key, and JWTs that are signed with it (ES256).
pub struct JwtSigner {
    key: EcdsaKeyPair,
    public_key: String,
}

impl Default for JwtSigner {
    fn default() -> Self {
        Self::new()
    }
}

impl JwtSigner {
    /// Makes a signer with a new key.
    pub fn new() -> Self {
        let pair = KeyPair::generate().expect("a key pair");
        let key = EcdsaKeyPair::from_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &pair.serialize_der(),
            &SystemRandom::new(),
        );
        Self { key: key.expect("a key of P-256"), public_key: pair.public_key_pem() }
    }

    /// Returns the public key as PEM.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// Returns a JWT that is valid for an hour from now, with these claims. A claim that is null is
    /// left out.
    pub fn sign(&self, claims: Value) -> String {
        let now = clock::unix(SystemTime::now());
        let mut claims = merged(json!({ "iat": now, "exp": now + 3600 }), claims);
        claims.as_object_mut().expect("claims").retain(|_, claim| !claim.is_null());
        let [header, claims] = [json!({ "alg": "ES256", "typ": "JWT" }), claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature =
            self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        let jwt = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        leaks::mark("JWT", &jwt);
        jwt
    }
}
