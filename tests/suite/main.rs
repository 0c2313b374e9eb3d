//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

#![allow(clippy::needless_pass_by_value, reason = "a JSON literal reads best as it is")]

mod contract;
mod main_job;
mod readme;
mod support;
