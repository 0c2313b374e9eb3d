//! Vault's HTTP API: what is asked, and what an answer means.

pub mod answer;
pub mod client;
pub mod document;
pub mod kv;
pub mod lookup;
pub mod mounts;
pub mod parallel;
mod redirect;
pub mod session;
pub mod spelling;
pub mod stay;
pub mod transit;
