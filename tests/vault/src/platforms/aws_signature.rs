//! Signatures as AWS's own crates make them.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;

use crate::platforms::aws_keys::AwsKeys;
use crate::platforms::caller_identity::{Authorization, Posted};

/// Signs the same headers and compares. Headers that AWS's crate adds itself are not passed to it.
pub(crate) fn is_made_with(
    keys: &AwsKeys,
    given: &Authorization<'_>,
    posted: &Posted<'_>,
    time: SystemTime,
) -> bool {
    let own = ["host", "x-amz-date", "x-amz-security-token", "authorization"];
    let headers = posted
        .headers
        .iter()
        .filter(|(name, _)| given.covers(name) && !own.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
    let Ok(request) =
        SignableRequest::new("POST", posted.url, headers, SignableBody::Bytes(posted.body))
    else {
        return false;
    };
    let token = keys.session_token.clone();
    let identity =
        Credentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "test").into();
    let settings = SigningParams::builder()
        .identity(&identity)
        .region(given.region)
        .name(given.service)
        .time(time)
        .settings(SigningSettings::default());
    let params = settings.build().expect("all that it needs").into();
    let signed = sign(request, &params).expect("a request that can be signed");
    let made =
        signed.output().headers().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    made.and_then(|(_, value)| Authorization::parse(value)).is_some_and(|made| made == *given)
}
