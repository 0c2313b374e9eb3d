//! A secret id that comes wrapped: checks that it is what it should be, and unwraps it, which works
//! only once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::error::{Code, Error};
use crate::secret::Secret;
use crate::vault::answer::{Answer, Meaning};
use crate::vault::client::{Client, Repeat, Request, Space};

const USED: &str = "it was used already, has expired or never was a wrapping token. SECURITY: \
                    either somebody else has unwrapped it, which is an interception, or an \
                    earlier start of this container has";
const MISPLACED: &str = "somebody may have put a token of their own in its place: find out who \
                         made it. It was not unwrapped. If another mount or role is meant, set \
                         VAULT_AUTH_MOUNT or VAULT_ROLE";
const OTHER_NAMESPACE: &str = "somebody may have put a token of their own in its place: find out \
                               who made it. It was not unwrapped. If the login is in another \
                               namespace, set VAULT_NAMESPACE, or VAULT_AUTH_NAMESPACE";
const MAYBE_USED: &str = "the wrapping token may be used up now, and its secret id lost with this \
                          start: where the next start says so, give it a new one";
const EMPTY: &str = "the wrapping token is used up: wrap the answer of the path that makes secret \
                     ids, and nothing else";

/// A response-wrapping token that should hold a secret id.
#[derive(Debug)]
pub(crate) struct Wrapped {
    token: Secret,
    origin: String,
    mount: String,
    role: Option<String>,
}

impl Wrapped {
    /// Returns a token from the place that the user calls `origin`, for a role of the AppRole
    /// mount, or for any role if `role` is `None`.
    pub(crate) fn new(
        token: Secret,
        origin: String,
        mount: String,
        role: Option<String>,
    ) -> Wrapped {
        Wrapped { token, origin, mount, role }
    }

    /// Looks the token up, which does not use it up, and unwraps it if it was made for a secret id
    /// of the role.
    ///
    /// # Errors
    /// 77 for a token that was already used or was made at another path, either of which may be an
    /// attack; 76 if it holds no secret id; and the errors of [`Client::send`].
    pub(crate) async fn secret_id(&self, client: &Client) -> Result<Secret, Error> {
        self.check_namespace(client.auth_namespace())?;
        let path = self.look_up(client).await?;
        let shown = client.redactor().clean(&path);
        log::debug!("the wrapping token was made at {shown}");
        if !is_made_for(&path, &self.mount, self.role.as_deref()) {
            return Err(self.misplaced(&shown));
        }
        let secret_id = self.unwrap(client).await?;
        client.redactor().add(&secret_id);
        Ok(secret_id)
    }

    /// Vault looks up and unwraps a token of any namespace from any other, and the path that it was
    /// made at does not include the namespace. The token itself tells whether it belongs to the
    /// root namespace; nothing tells which other namespace it belongs to.
    fn check_namespace(&self, namespace: Option<&str>) -> Result<(), Error> {
        let namespace = namespace.map(|name| name.trim_matches('/'));
        let namespace = namespace.filter(|name| !name.is_empty() && *name != "root");
        let (expected, found) = match (is_of_namespace(&self.token), namespace) {
            (Some(true), None) => ("the root namespace", "another one"),
            (Some(false), Some(name)) => (name, "the root namespace"),
            _ => return Ok(()),
        };
        let message = format!(
            "SECURITY: the wrapping token of {} is of another namespace: expected {expected}, found \
             {found}",
            self.origin
        );
        Err(Error::new(Code::Refused, message).hint(OTHER_NAMESPACE))
    }

    /// Returns the path that the token was made at. A token in the header would be used up by this
    /// request; one in the body is not.
    async fn look_up(&self, client: &Client) -> Result<String, Error> {
        let what = format!("looking up the wrapping token of {}", self.origin);
        let body = Secret::from(json!({ "token": self.token.expose_text() }).to_string());
        let request = Request {
            body: Some(&body),
            repeat: Repeat::Freely,
            ..request("sys/wrapping/lookup", &what)
        };
        let answer = client.send(&request).await?;
        if !answer.is_success() {
            return Err(self.refused(client, &answer, &what));
        }
        let path =
            answer.body.0.pointer("/data/creation_path").and_then(Value::as_str).map(str::to_owned);
        path.ok_or_else(|| {
            client.placed(protocol("an answer without creation_path"), &what, answer.status)
        })
    }

    async fn unwrap(&self, client: &Client) -> Result<Secret, Error> {
        let what = format!("unwrapping the secret id of {}", self.origin);
        let request = Request {
            token: Some(&self.token),
            repeat: Repeat::OnlyIfNotDone,
            ..request("sys/wrapping/unwrap", &what)
        };
        let answer = client.send(&request).await.map_err(|error| {
            if error.status_is_transient() { error.also(MAYBE_USED) } else { error }
        })?;
        if !answer.is_success() {
            return Err(self.used(client, &answer, &what));
        }
        secret_id(&answer.body.0).map_err(|error| client.placed(error, &what, answer.status))
    }

    /// Returns the error for a refused lookup. Vault's own words tell whether the wrapping token is
    /// the reason.
    fn refused(&self, client: &Client, answer: &Answer, what: &str) -> Error {
        if answer.meaning == Meaning::BadWrappingToken {
            return self.used(client, answer, what);
        }
        let refused = client.refused(answer, what);
        Error { code: Code::Refused, ..refused }
            .hint("Vault lets everybody look up a wrapping token: what is in between?")
    }

    fn used(&self, client: &Client, answer: &Answer, what: &str) -> Error {
        let message = format!("{}: {USED}", client.refused(answer, what).message);
        let role = self.role.as_deref().unwrap_or("<role>");
        Error::new(Code::Refused, message).hint(format!(
            "find out which. If it was no earlier start, treat the secret id as stolen: destroy \
             it through its accessor (auth/{}/role/{role}/secret-id-accessor/destroy) and look \
             for who unwrapped it in the audit log. Give each start a new wrapping token",
            self.mount
        ))
    }

    fn misplaced(&self, found: &str) -> Error {
        let role = self.role.as_deref().unwrap_or("<any role>");
        let expected = format!("auth/{}/role/{role}/secret-id", self.mount);
        let message = format!(
            "SECURITY: the wrapping token of {} was not made for a secret id of ours: expected \
             the path {expected}, found {found}",
            self.origin
        );
        Error::new(Code::Refused, message).hint(MISPLACED)
    }
}

fn request(path: &str, what: &str) -> Request<'static> {
    Request { space: Space::Login, what: what.to_owned(), ..Request::new(Method::POST, path) }
}

fn protocol(message: impl Into<String>) -> Error {
    Error::new(Code::Protocol, message)
}

/// Returns whether a token belongs to a namespace other than the root one: if so, the namespace's
/// id follows it. Returns `None` if that cannot be told. A token in JWT form contains the token
/// itself.
fn is_of_namespace(token: &Secret) -> Option<bool> {
    let text = token.expose_text()?;
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        ["hvs" | "hvb" | "hvr" | "s" | "b" | "r", _] | [_] => Some(false),
        ["hvs" | "hvb" | "hvr" | "s" | "b" | "r", _, _] => Some(true),
        [head, claims, _] if head.starts_with("eyJ") => {
            let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
            let claims: Value = serde_json::from_slice(&claims).ok()?;
            let inside = claims.get("jti")?.as_str().filter(|token| !token.starts_with("eyJ"))?;
            is_of_namespace(&inside.into())
        }
        _ => None,
    }
}

/// Returns whether a token was made where the role's secret ids are made,
/// `auth/<mount>/role/<role>/secret-id` or `…/custom-secret-id`, and nowhere else: anybody who can
/// wrap anything at all can do so at other paths. AppRole lower-cases role names, while the path is
/// as somebody wrote it.
fn is_made_for(path: &str, mount: &str, role: Option<&str>) -> bool {
    let role_in = |path: &str| {
        let rest = path.strip_prefix("auth/")?.strip_prefix(mount)?.strip_prefix("/role/")?;
        let (role, end) = rest.rsplit_once('/')?;
        matches!(end, "secret-id" | "custom-secret-id").then(|| role.to_owned())
    };
    match (role_in(path), role) {
        (Some(found), Some(role)) => found.eq_ignore_ascii_case(role),
        (Some(found), None) => !found.is_empty() && !found.contains('/'),
        (None, _) => false,
    }
}

/// Returns the secret id in an unwrapped answer.
///
/// # Errors
/// 76 if there is none.
pub fn secret_id(body: &Value) -> Result<Secret, Error> {
    let found = body
        .pointer("/data/secret_id")
        .and_then(Value::as_str)
        .filter(|text| !text.trim().is_empty());
    found
        .map(Secret::from)
        .ok_or_else(|| protocol(format!("no secret_id in it, but {}", content(body))).hint(EMPTY))
}

/// Returns what came instead. It gives only names, since the values may be somebody else's secrets.
fn content(body: &Value) -> String {
    let names = |value: &Value| {
        value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>().join(", "))
    };
    let has = |name| body.get(name).is_some_and(Value::is_object);
    match body.get("data").and_then(names) {
        Some(names) if names.is_empty() => "nothing".to_owned(),
        Some(names) => format!("data with {names}"),
        None if has("auth") => "a login's token".to_owned(),
        None if has("wrap_info") => "another wrapping token".to_owned(),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_that_makes_secret_ids_of_the_role_will_do() {
        for (path, mount, any, app) in [
            ("auth/approle/role/app/secret-id", "approle", true, true),
            ("auth/approle/role/other/secret-id", "approle", true, false),
            ("auth/approle/role/App/secret-id", "approle", true, true),
            ("auth/approle/role/APP/custom-secret-id", "approle", true, true),
            ("auth/approle/role/other/custom-secret-id", "approle", true, false),
            ("auth/Approle/role/app/secret-id", "approle", false, false),
            ("auth/approle/Role/app/secret-id", "approle", false, false),
            ("auth/approle/role/app/Secret-ID", "approle", false, false),
            ("auth/teams/web/role/app/secret-id", "teams/web", true, true),
            ("auth/teams/web/role/app/secret-id", "teams", false, false),
            ("auth/teams/web/role/app/secret-id", "approle", false, false),
            ("auth/approle2/role/app/secret-id", "approle", false, false),
            ("auth/approle/role/app/custom-secret-id", "approle", true, true),
            ("auth/approle/role/app/secret-id/lookup", "approle", false, false),
            ("auth/approle/role/app/secret-id/", "approle", false, false),
            ("auth/approle/role/app/custom-secret-id/", "approle", false, false),
            ("auth/approle/role/app/my-secret-id", "approle", false, false),
            ("auth/approle/role/app/x/secret-id", "approle", false, false),
            ("auth/approle/role/app/x/custom-secret-id", "approle", false, false),
            ("auth/approle/role//secret-id", "approle", false, false),
            ("auth/approle/role/secret-id", "approle", false, false),
            ("/auth/approle/role/app/secret-id", "approle", false, false),
            ("team/auth/approle/role/app/secret-id", "approle", false, false),
            ("auth/approle/role/app/secret-id\n", "approle", false, false),
            ("sys/wrapping/wrap", "approle", false, false),
            ("cubbyhole/app", "approle", false, false),
            ("", "approle", false, false),
        ] {
            assert_eq!(
                (is_made_for(path, mount, None), is_made_for(path, mount, Some("app"))),
                (any, app),
                "{path}"
            );
        }
    }

    #[test]
    fn a_token_tells_whether_it_is_of_the_root_namespace() {
        let jwt = |token: &str| {
            let claims = URL_SAFE_NO_PAD.encode(json!({ "jti": token }).to_string());
            format!("eyJhbGciOiJFUzUxMiJ9.{claims}.c2ln")
        };
        for (token, expected) in [
            ("s.abc".to_owned(), Some(false)),
            ("hvs.CAESIabc".to_owned(), Some(false)),
            ("abc".to_owned(), Some(false)),
            ("s.abc.6jL7tc".to_owned(), Some(true)),
            ("hvs.CAESIabc.6jL7tc".to_owned(), Some(true)),
            (jwt("s.abc"), Some(false)),
            (jwt("hvs.abc.6jL7tc"), Some(true)),
            ("eyJ.x.y".to_owned(), None),
            ("a.b.c.d".to_owned(), None),
        ] {
            assert_eq!(is_of_namespace(&token.as_str().into()), expected, "{token}");
        }
    }

    #[test]
    fn a_token_of_another_namespace_is_refused() {
        for (token, namespace, is_refused) in [
            ("s.abc", None, false),
            ("s.abc", Some("root"), false),
            ("s.abc", Some("team/web/"), true),
            ("s.abc.6jL7tc", None, true),
            ("s.abc.6jL7tc", Some("/"), true),
            ("s.abc.6jL7tc", Some("team/web"), false),
        ] {
            let wrapped = Wrapped::new(token.into(), "W".into(), "approle".into(), None);
            let checked = wrapped.check_namespace(namespace);
            assert_eq!(checked.is_err(), is_refused, "{token} {namespace:?}: {checked:?}");
        }
    }

    #[test]
    fn a_secret_id_or_what_came_in_its_place() {
        assert_eq!(secret_id(&json!({"data": {"secret_id": "x"}})), Ok(Secret::from("x")));
        for (body, part) in [
            (json!({"data": {"secret_id": ""}}), "data with secret_id"),
            (json!({"data": {"secret_id": 1}}), "data with secret_id"),
            (json!({"data": {"password": "s3cret", "user": "ada"}}), "data with password, user"),
            (json!({"data": {}}), "nothing"),
            (json!({"data": null, "auth": {"client_token": "s3cret"}}), "a login's token"),
            (json!({"data": null, "wrap_info": {"token": "s3cret"}}), "another wrapping token"),
            (Value::Null, "nothing"),
        ] {
            let error = secret_id(&body).expect_err(part);
            assert_eq!(error.code.status(), 76);
            assert_eq!(error.message, format!("no secret_id in it, but {part}"));
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let wrapped = Wrapped::new(
            "s.token".into(),
            "VAULT_WRAPPED_SECRET_ID".into(),
            "approle".into(),
            None,
        );
        let shown = format!("{wrapped:?}");
        assert!(shown.contains("VAULT_WRAPPED_SECRET_ID") && !shown.contains("s.token"), "{shown}");
    }
}
