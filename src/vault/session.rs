//! A token and what is known of it: what the answer to a login means (pure).

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Code, Error};
use crate::secret::Secret;
use crate::vault::answer::Answer;

const NO_LOGIN: &str =
    "is it Vault that answers there, and is the auth method mounted where VAULT_AUTH_MOUNT says?";

/// A token and what is known of it.
#[derive(Debug, Default)]
pub struct Session {
    /// The token; `None` if an Agent or a Proxy adds its own.
    pub token: Option<Secret>,
    /// Whether the token comes from our own login.
    pub is_own: bool,
    /// How many requests the token is good for; `None` means any number, or unknown.
    pub uses: Option<u64>,
    /// Whether this is a batch token, which cannot be revoked.
    pub is_batch: bool,
    /// How long the token lasts; `None` means forever, or unknown.
    pub ttl: Option<Duration>,
    /// Whether the token can be renewed.
    pub renewable: bool,
    /// The files of the credentials that were used.
    pub files: Vec<PathBuf>,
    /// How the token was obtained, for the log: `approle at auth/approle`.
    pub login: Option<String>,
    /// The role or the entity that logged in.
    pub identity: Option<String>,
    /// The policies of the token.
    pub policies: Vec<String>,
}

impl Session {
    /// Returns a session for a token that the user provided; nothing else is known about it.
    pub fn given(token: Secret, files: Vec<PathBuf>) -> Session {
        Session { token: Some(token), files, ..Session::default() }
    }

    /// Interprets the answer to a login with the credentials of `files`.
    ///
    /// # Errors
    /// 77 if the answer is wrapped or requires a second factor, 76 if it has no token, 78 for a
    /// token that no header can hold.
    pub fn of_login(answer: &Answer, files: Vec<PathBuf>) -> Result<Session, Error> {
        let auth = answer.body.0.get("auth").filter(|auth| auth.is_object());
        let Some(auth) = auth else { return Err(without_auth(answer)) };
        let token = auth.get("client_token").and_then(Value::as_str).unwrap_or_default();
        if token.is_empty() {
            return Err(without_token(auth));
        }
        let number = |name| auth.get(name).and_then(Value::as_u64).filter(|number| *number > 0);
        let token = Secret::from(token);
        check_token(&token)?;
        Ok(Session {
            token: Some(token),
            is_own: true,
            uses: number("num_uses"),
            is_batch: auth.get("token_type").and_then(Value::as_str) == Some("batch"),
            ttl: number("lease_duration").map(Duration::from_secs),
            renewable: auth.get("renewable") == Some(&Value::Bool(true)),
            files,
            login: None,
            identity: identity(auth),
            policies: policies(auth),
        })
    }
}

/// Returns the name of the role or the user if the method tells it, otherwise the entity's id.
fn identity(auth: &Value) -> Option<String> {
    let filled = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let named = |name: &str| filled(auth.get("metadata")?.get(name)?);
    let role = ["role_name", "role"].into_iter().find_map(named).map(|name| format!("role {name}"));
    let user = || named("username").map(|name| format!("user {name}"));
    let entity = || Some(format!("entity {}", filled(auth.get("entity_id")?)?));
    role.or_else(user).or_else(entity)
}

fn policies(auth: &Value) -> Vec<String> {
    let all = auth.get("policies").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Checks that a header can hold a token. Vault's own client refuses tokens with unprintable
/// characters; the HTTP library would too, but less clearly.
///
/// # Errors
/// 78 for a token with white space or unprintable characters.
pub(crate) fn check_token(token: &Secret) -> Result<(), Error> {
    let printable = token.expose().iter().all(u8::is_ascii_graphic);
    if printable {
        Ok(())
    } else {
        Err(Error::config("the token has white space or characters that cannot be printed in it"))
    }
}

fn without_auth(answer: &Answer) -> Error {
    if answer.body.0.get("wrap_info").is_some_and(Value::is_object) {
        return Error::new(Code::Refused, "the login's answer is wrapped").hint(
            "something between here and Vault asks for response wrapping (X-Vault-Wrap-TTL), \
             which is not for logins",
        );
    }
    Error::new(Code::Protocol, "an answer to a login without a token in it").hint(NO_LOGIN)
}

fn without_token(auth: &Value) -> Error {
    match auth.get("mfa_requirement").filter(|requirement| requirement.is_object()) {
        Some(requirement) => Error::new(
            Code::Refused,
            format!("the login wants a second factor (MFA{})", mfa(requirement)),
        )
        .hint(
            "a container has none: exempt the mount, or the role's entity, from the login \
             enforcement",
        ),
        None => {
            Error::new(Code::Protocol, "an answer to a login with an empty token").hint(NO_LOGIN)
        }
    }
}

/// Lists the enforcements that require a factor, and the kinds that each of them accepts.
fn mfa(requirement: &Value) -> String {
    let constraints =
        requirement.get("mfa_constraints").and_then(Value::as_object).into_iter().flatten();
    let shown = constraints.map(|(name, constraint)| {
        let any = constraint.get("any").and_then(Value::as_array).into_iter().flatten();
        let kinds: Vec<&str> = any.filter_map(|factor| factor.get("type")?.as_str()).collect();
        format!(", {}: {}", name.escape_default(), kinds.join(" or ").escape_default())
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::redact::Redactor;

    fn understood(body: Value) -> Result<Session, Error> {
        Session::of_login(&Answer::new(200, body, &Redactor::default()), Vec::new())
    }

    #[test]
    fn what_a_login_says_of_its_token() {
        let auth = json!({
            "client_token": "hvs.x", "num_uses": 3, "lease_duration": 60, "token_type": "batch",
            "renewable": true,
        });
        let session = understood(json!({ "auth": auth })).expect("a session");
        assert_eq!(
            (session.uses, session.is_batch, session.ttl, session.renewable),
            (Some(3), true, Some(Duration::from_mins(1)), true)
        );
        for (auth, identity) in [
            (json!({"metadata": {"role_name": "web"}, "entity_id": "e"}), Some("role web")),
            (json!({"metadata": {"role": "web", "username": "x"}}), Some("role web")),
            (json!({"metadata": {"username": "ada"}, "entity_id": "e"}), Some("user ada")),
            (json!({"metadata": null, "entity_id": "e"}), Some("entity e")),
            (json!({"metadata": {"role": ""}, "entity_id": ""}), None),
        ] {
            assert_eq!(super::identity(&auth).as_deref(), identity, "{auth}");
        }
        let unlimited =
            understood(json!({"auth": {"client_token": "x", "num_uses": 0, "lease_duration": 0}}))
                .expect("a session");
        assert_eq!(
            (unlimited.uses, unlimited.is_batch, unlimited.ttl, unlimited.renewable),
            (None, false, None, false)
        );
    }

    #[test]
    fn logins_without_a_token_are_told_apart() {
        for (body, code, part) in [
            (json!({"auth": {"client_token": "", "mfa_requirement": {}}}), 77, "factor (MFA)"),
            (
                json!({"auth": {"client_token": "", "mfa_requirement": {
                    "mfa_request_id": "d0c9eec7-6921-8cc0-be62-202b289ef163",
                    "mfa_constraints": {"all-logins": {"any": [{"type": "totp", "id": "x"}, {"type": "duo"}]}},
                }}}),
                77,
                "factor (MFA, all-logins: totp or duo)",
            ),
            (json!({"auth": null, "wrap_info": {"token": "x"}}), 77, "wrapped"),
            (json!({"auth": null}), 76, "without a token"),
            (json!({"auth": {"client_token": ""}}), 76, "empty token"),
            (json!({"auth": {"client_token": "a\nb"}}), 78, "white space"),
            (json!([]), 76, "without a token"),
        ] {
            let error = understood(body).expect_err(part);
            assert!(error.code.status() == code && error.message.contains(part), "{error:?}");
        }
    }
}
