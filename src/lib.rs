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

mod application;
mod check;
mod cli;
mod cloud;
mod date;
#[doc(hidden)]
pub mod door;
mod environment;
mod error;
mod fetch;
mod file;
mod files;
mod grammar;
mod handover;
mod http;
mod intern;
mod job;
mod log;
mod login;
mod output;
mod plan;
mod policy;
mod printable;
mod process;
mod provenance;
mod revoke;
mod round;
mod secret;
mod settings;
mod start;
mod supervise;
mod vault;
