//! What a platform knows of the container that it runs: metadata servers and token services.

pub(crate) mod aws;
pub(crate) mod metadata;
pub(crate) mod sigv4;
