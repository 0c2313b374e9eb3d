//! What a platform knows of the container that it runs: metadata servers and token services.

pub mod aws;
pub mod sigv4;
pub mod web;
