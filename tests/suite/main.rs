//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

#![allow(clippy::needless_pass_by_value, reason = "a JSON literal reads best as it is")]

mod contract;
mod docs;
mod login;
mod peers;
mod process;
mod proof;
mod references;
mod settings;
mod supervise;
mod support;
mod wire;
