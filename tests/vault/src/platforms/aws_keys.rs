//! Made-up AWS keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::leaks;

/// The account of all keys.
const ACCOUNT: &str = "123456789012";

/// When the temporary keys expire; no test lasts that long.
pub(crate) const EXPIRATION: &str = "2099-12-31T23:59:59Z";

/// A key and its owner.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    /// The key's id.
    pub access_key_id: String,
    /// The key itself.
    pub secret_access_key: String,
    /// The token that comes with every temporary key.
    pub session_token: Option<String>,
    /// The principal that signs with it.
    pub arn: String,
}

impl AwsKeys {
    /// Returns the permanent keys of a user.
    pub fn of_user(name: &str) -> Self {
        Self {
            session_token: None,
            arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            ..Self::of("AKIA")
        }
    }

    /// Returns temporary keys for a session of a role.
    pub fn of_role(role: &str, session: &str) -> Self {
        Self {
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}"),
            ..Self::of("ASIA")
        }
    }

    fn of(prefix: &str) -> Self {
        let id = Uuid::new_v4().simple().to_string().to_uppercase();
        let keys = Self {
            access_key_id: format!("{prefix}{}", &id[..16]),
            secret_access_key: random(40),
            // Characters that forms and XML have to escape.
            session_token: Some(format!("IQoJ//+{}&<=", random(300))),
            arn: String::new(),
        };
        leaks::mark("AWS's secret access key", &keys.secret_access_key);
        leaks::mark("AWS's session token", keys.session_token.as_deref().unwrap_or_default());
        keys
    }

    /// Returns the JSON in which metadata services send temporary keys.
    pub(crate) fn json(&self) -> Value {
        json!({
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
            "Expiration": EXPIRATION,
        })
    }
}

fn random(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &STANDARD.encode(Uuid::new_v4())[..20];
    }
    text.truncate(length);
    text
}
