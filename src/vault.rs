//! Vault's HTTP API: what is asked, and what an answer means.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod document;
pub(crate) mod kv;
pub(crate) mod lookup;
pub(crate) mod mounts;
pub(crate) mod parallel;
pub(crate) mod redirect;
pub(crate) mod session;
pub(crate) mod spelling;
pub(crate) mod stay;
pub(crate) mod transit;
