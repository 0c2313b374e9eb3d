//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

#![allow(clippy::needless_pass_by_value, reason = "a JSON literal reads best as it is")]

mod app;
mod application_environment;
mod check;
mod command_line;
mod contract;
mod contract_leases;
mod contract_namespaces;
mod contract_pki;
mod contract_transit;
mod controls;
mod exec;
mod from_path;
mod grammar;
mod hand_on;
mod imports;
mod launch;
mod leases;
mod logging;
mod login;
mod main_job;
mod memory;
mod namespaces;
mod network;
mod peers;
mod policy;
mod readme;
mod references;
mod revocation;
mod round_trips;
mod secrets_file;
mod settings;
mod signals;
mod support;
mod texts;
mod tls;
mod transit;
mod wrapped_secret_id;
mod writes;
