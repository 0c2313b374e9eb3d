//! Logging in: each auth method, the choice of one, and what becomes of the token.

pub(crate) mod aws;
pub(crate) mod aws_sources;
pub(crate) mod azure;
pub(crate) mod cert;
pub(crate) mod choice;
pub(crate) mod failing_starts;
pub(crate) mod gcp;
pub(crate) mod jwt;
pub(crate) mod kubernetes;
pub(crate) mod link_local;
pub(crate) mod login_token;
pub(crate) mod methods;
pub(crate) mod refusals;
pub(crate) mod revocation;
pub(crate) mod userpass_and_ldap;
pub(crate) mod without_token;
pub(crate) mod wrapped_secret_id;
