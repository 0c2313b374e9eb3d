//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

#![allow(clippy::needless_pass_by_value, reason = "a JSON literal reads best as it is")]

mod application_environment;
mod contract;
mod exec;
mod launch;
mod logging;
mod main_job;
mod memory;
mod signals;
mod support;
