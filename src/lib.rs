//! The parts of `vault-exec`, the container entrypoint that logs in to Vault or OpenBao, fills the
//! environment and becomes the application.
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
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

pub mod check;
pub mod cli;
pub mod cloud;
pub mod date;
pub mod environment;
pub mod error;
pub mod fetch;
pub mod file;
pub mod grammar;
pub mod http;
pub mod intern;
pub mod job;
pub mod log;
pub mod login;
pub mod output;
pub mod plan;
pub mod policy;
pub mod printable;
pub mod process;
pub mod revoke;
pub mod round;
pub mod secret;
pub mod settings;
pub mod start;
mod supervise;
pub mod vault;
