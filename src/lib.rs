//! The parts of `vault-exec`, the container entrypoint that logs in to Vault or OpenBao, fills the environment and
//! becomes the application.
//!
//! Data flows one way: settings → plan → login → fetch → environment → exec.
#![deny(
    clippy::dbg_macro,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::todo,
    clippy::unimplemented,
    clippy::unwrap_used
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod address;
pub mod alloc;
pub mod check;
pub mod cli;
pub mod credentials;
pub mod deadline;
pub mod document;
pub mod env_file;
pub mod environment;
pub mod error;
pub mod fetch;
pub mod hand_on;
pub mod import;
pub mod layers;
pub mod log;
pub mod namespace;
pub mod path;
pub mod plan;
pub mod platform;
pub mod policy;
pub mod process;
pub mod reference;
pub mod secret;
pub mod secrets_file;
pub mod settings;
pub mod start;
pub mod template;
pub mod units;
pub mod vault;
