//! What a platform knows of the container that it runs: metadata servers and token services.

pub mod aws;
pub mod metadata;
pub mod sigv4;
