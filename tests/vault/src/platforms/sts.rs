//! AWS's token service: a role's keys for a caller with an identity provider's token.
//!
//! Source: "AssumeRoleWithWebIdentity", <https://docs.aws.amazon.com/STS/latest/APIReference/>.

use std::collections::BTreeMap;

use hyper::Method;

use crate::api::request::parse_form;
use crate::harness::record::Recorded;
use crate::platforms::aws_keys::{AwsKeys, EXPIRATION};
use crate::platforms::local::{LocalAnswer, LocalServer};
use crate::wire::fault::Fault;

/// An identity provider's token, the role that it grants, and that role's keys.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    /// What the identity provider wrote, byte for byte.
    pub token: String,
    /// `arn:aws:iam::123456789012:role/app`
    pub role_arn: String,
    /// The keys that a session of the role gets.
    pub keys: AwsKeys,
}

/// An STS refusal.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    code: String,
    message: String,
}

impl Refused {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    pub(crate) fn xml(&self) -> String {
        let (code, message) = (&self.code, escaped(&self.message));
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n    \
             <Type>Sender</Type>\n    <Code>{code}</Code>\n    <Message>{message}</Message>\n  \
             </Error>\n  \
             <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n</ErrorResponse>\n"
        )
    }
}

/// Returns an STS refusal as a fault: `ExpiredTokenException`, `IDPCommunicationError`, …
pub fn sts_error(status: u16, code: &str, message: &str) -> Fault {
    Fault::answer(status, Refused::new(status, code, message).xml())
        .with_header("content-type", "text/xml")
}

/// Starts STS for these tokens.
pub fn sts(identities: Vec<WebIdentity>) -> LocalServer {
    LocalServer::start(move |request| match assumed(request, &identities) {
        Ok(xml) => answer(200, xml),
        Err(refused) => answer(refused.status, refused.xml()),
    })
}

fn answer(status: u16, xml: String) -> LocalAnswer {
    (status, vec![("content-type".to_owned(), "text/xml".to_owned())], xml.into())
}

fn assumed(request: &Recorded, identities: &[WebIdentity]) -> Result<String, Refused> {
    let form = parse_form(&String::from_utf8_lossy(&request.body));
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if request.method != Method::POST || field("Action") != "AssumeRoleWithWebIdentity" {
        let text = format!(
            "Could not find operation {} for version {}",
            field("Action"),
            field("Version")
        );
        return Err(Refused::new(400, "InvalidAction", text));
    }
    check(&form)?;
    let token = field("WebIdentityToken");
    let mut known = identities.iter().filter(|identity| identity.token == token).peekable();
    if known.peek().is_none() {
        let text = "Couldn't retrieve verification key from your identity provider,  please \
                    reference AssumeRoleWithWebIdentity documentation for requirements";
        return Err(Refused::new(400, "InvalidIdentityToken", text));
    }
    let found = known.find(|identity| identity.role_arn == field("RoleArn"));
    let found = found.ok_or_else(|| {
        Refused::new(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    })?;
    Ok(session(found, field("RoleSessionName")))
}

/// Checks the required fields and the form of a session's name.
fn check(form: &BTreeMap<String, String>) -> Result<(), Refused> {
    let missing = ["Version", "RoleArn", "RoleSessionName", "WebIdentityToken"]
        .into_iter()
        .find(|name| form.get(*name).is_none_or(String::is_empty));
    if let Some(name) = missing {
        let text = format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: \
             Member must not be null"
        );
        return Err(Refused::new(400, "ValidationError", text));
    }
    let name = &form["RoleSessionName"];
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
    if good && (2..=64).contains(&name.len()) {
        return Ok(());
    }
    let text = format!(
        "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy \
         constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
    );
    Err(Refused::new(400, "ValidationError", text))
}

fn session(identity: &WebIdentity, name: &str) -> String {
    let WebIdentity { keys, role_arn, .. } = identity;
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    let account = role_arn.split(':').nth(4).unwrap_or_default();
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  \
         <AssumeRoleWithWebIdentityResult>\n    <SubjectFromWebIdentityToken>system:serviceaccount:default:app\
         </SubjectFromWebIdentityToken>\n    <Audience>sts.amazonaws.com</Audience>\n    <AssumedRoleUser>\n      \
         <Arn>arn:aws:sts::{account}:assumed-role/{role}/{name}</Arn>\n      \
         <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{name}</AssumedRoleId>\n    </AssumedRoleUser>\n    <Credentials>\n      \
         <AccessKeyId>{id}</AccessKeyId>\n      <SecretAccessKey>{secret}</SecretAccessKey>\n      \
         <SessionToken>{token}</SessionToken>\n      <Expiration>{EXPIRATION}</Expiration>\n    </Credentials>\n    \
         <Provider>arn:aws:iam::{account}:oidc-provider/oidc.example.com</Provider>\n  \
         </AssumeRoleWithWebIdentityResult>\n  <ResponseMetadata>\n    \
         <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>\n  </ResponseMetadata>\n\
         </AssumeRoleWithWebIdentityResponse>\n",
        id = escaped(&keys.access_key_id),
        secret = escaped(&keys.secret_access_key),
        token = escaped(keys.session_token.as_deref().unwrap_or_default()),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
