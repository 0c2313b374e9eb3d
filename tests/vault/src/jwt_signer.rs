//! Who makes JWTs that a test logs in with.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::clock;

/// A key of its own, and JWTs that are signed with it (ES256).
pub struct JwtSigner(EcdsaKeyPair);

impl Default for JwtSigner {
    fn default() -> Self {
        Self::new()
    }
}

impl JwtSigner {
    /// With a new key.
    pub fn new() -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a new key");
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key of P-256"))
    }

    /// The point of the public key, in base64url.
    pub fn public_key(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// A JWT from now on for an hour, with these claims over that. One that is null is left out.
    pub fn sign(&self, claims: &Value) -> String {
        let now = clock::unix(SystemTime::now());
        let mut all = json!({ "iat": now, "exp": now + 3600 });
        let fields = all.as_object_mut().expect("claims");
        fields.extend(claims.as_object().expect("claims").clone());
        fields.retain(|_, claim| !claim.is_null());
        let [header, claims] =
            [json!({ "alg": "ES256", "typ": "JWT" }), all].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// The claims of a JWT, and whether the key signed it. None where it is no JWT.
pub(crate) fn read(token: &str, public_key: &str) -> Option<(Value, bool)> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (_, claims) = signed.split_once('.')?;
    let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let (key, signature) = (URL_SAFE_NO_PAD.decode(public_key).ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?);
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    Some((claims, key.verify(signed.as_bytes(), &signature).is_ok()))
}
