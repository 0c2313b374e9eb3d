//! Vault's HTTP API: how it is reached, what is asked, and what an answer means.

pub mod answer;
pub mod auth;
pub mod bundle;
pub mod client;
pub mod connections;
pub mod dns;
pub mod failure;
pub mod kv;
pub mod lookup;
pub mod mounts;
pub mod parallel;
pub mod proxy;
pub mod redact;
pub mod retry;
pub mod revoke;
pub mod tls;
pub mod transit;
pub mod transport;
pub mod wrapping;
