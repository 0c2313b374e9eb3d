//! Keys that AWS gives out, none of which is one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::leaks;

/// The account of all of them.
const ACCOUNT: &str = "123456789012";

/// When the temporary ones end; no test lasts so long.
pub(crate) const EXPIRATION: &str = "2099-12-31T23:59:59Z";

/// A key and whose it is.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    /// Names the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Goes with every temporary key.
    pub session_token: Option<String>,
    /// Who signs with it.
    pub arn: String,
}

impl AwsKeys {
    /// Those of a user, which last.
    pub fn of_user(name: &str) -> Self {
        Self {
            session_token: None,
            arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            ..Self::of("AKIA")
        }
    }

    /// Temporary ones of a role, for a session of it.
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

    /// As metadata services write temporary keys.
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
