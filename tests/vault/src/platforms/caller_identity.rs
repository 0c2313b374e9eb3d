//! What AWS's token service answers to a signed GetCallerIdentity. The signatures are compared with
//! those that AWS's own crate makes.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Iso8601;

use crate::platforms::aws_keys::AwsKeys;
use crate::platforms::aws_signature::is_made_with;
use crate::platforms::sts::Refused;

/// How far the signer's clock may be off.
const SKEW: Duration = Duration::from_mins(15);

const WRONG: &str = "SignatureDoesNotMatch";

/// A request that Vault would forward. Header names are in lower case.
pub(crate) struct Posted<'a> {
    pub(crate) url: &'a str,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
}

impl Posted<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The parsed `Authorization`: `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
#[derive(PartialEq)]
pub(crate) struct Authorization<'a> {
    pub(crate) access_key_id: &'a str,
    day: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let fields = text.strip_prefix("AWS4-HMAC-SHA256 ")?;
        let fields: BTreeMap<&str, &str> =
            fields.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let scope: Vec<&str> = fields.get("Credential")?.split('/').collect();
        let [access_key_id, day, region, service, "aws4_request"] = scope[..] else { return None };
        let (signed, signature) = (fields.get("SignedHeaders")?, fields.get("Signature")?);
        Some(Self { access_key_id, day, region, service, signed, signature })
    }

    pub(crate) fn covers(&self, name: &str) -> bool {
        self.signed.split(';').any(|signed| signed == name)
    }
}

/// Returns who signed a request for the endpoint of a region.
pub(crate) fn caller<'a>(
    posted: &Posted<'_>,
    region: &str,
    keys: &'a BTreeMap<String, AwsKeys>,
) -> Result<&'a AwsKeys, Refused> {
    let given = posted.header("authorization");
    let given = given.ok_or_else(|| {
        Refused::new(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    })?;
    let given = Authorization::parse(given).ok_or_else(|| {
        Refused::new(400, "IncompleteSignature", "Authorization header is not as it should be")
    })?;
    let keys = keys
        .get(given.access_key_id)
        .filter(|keys| keys.session_token.as_deref() == posted.header("x-amz-security-token"))
        .ok_or_else(|| {
            Refused::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
        })?;
    check_scope(&given, region)?;
    let time = signed_at(posted)?;
    if !is_made_with(keys, &given, posted, time) {
        let text = "The request signature we calculated does not match the signature you \
                    provided. Check your AWS Secret Access Key and signing method. Consult the \
                    service documentation for details.";
        return Err(Refused::new(403, WRONG, text));
    }
    Ok(keys)
}

fn check_scope(given: &Authorization<'_>, region: &str) -> Result<(), Refused> {
    if given.region != region {
        return Err(Refused::new(403, WRONG, "Credential should be scoped to a valid region. "));
    }
    if given.service != "sts" {
        return Err(Refused::new(
            403,
            WRONG,
            "Credential should be scoped to correct service: 'sts'. ",
        ));
    }
    Ok(())
}

/// Returns the time of a signature, which must not be far in the past or in the future.
fn signed_at(posted: &Posted<'_>) -> Result<SystemTime, Refused> {
    let date = posted.header("x-amz-date").unwrap_or_default();
    let time = OffsetDateTime::parse(date, &Iso8601::PARSING).map_err(|_| {
        Refused::new(
            400,
            "IncompleteSignature",
            "Date must be in ISO-8601 'basic format'. See Amazon's documentation.",
        )
    })?;
    let (time, now) = (SystemTime::from(time), SystemTime::now());
    match now.duration_since(time) {
        Ok(age) if age > SKEW => {
            Err(Refused::new(403, WRONG, format!("Signature expired: {date} is now earlier")))
        }
        Err(ahead) if ahead.duration() > SKEW => Err(Refused::new(
            403,
            WRONG,
            format!("Signature not yet current: {date} is still later"),
        )),
        _ => Ok(time),
    }
}
