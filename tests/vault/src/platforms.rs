//! What a container finds besides Vault: cloud metadata, token services, a cluster.

pub(crate) mod aws_keys;
pub(crate) mod aws_metadata;
#[cfg(feature = "aws")]
pub(crate) mod aws_signature;
#[cfg(not(feature = "aws"))]
#[path = "platforms/no_aws_signature.rs"]
pub(crate) mod aws_signature;
pub(crate) mod azure_metadata;
pub(crate) mod caller_identity;
pub(crate) mod gcp_metadata;
pub(crate) mod kubernetes_api;
pub(crate) mod local;
pub(crate) mod signer;
pub(crate) mod sts;
