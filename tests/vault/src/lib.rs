//! The Vault that the tests run against: a small server of its own that keeps state as Vault does, records what it is asked and
//! misbehaves on request, and a real one in dev mode where there is one on the `PATH`.
//!
//! A secrets engine or an auth method is one file that implements `mounts::Engine` and one line in `mounts::engine`.

// A test wants to fail, names are written as their owners write them, and handlers are alike even where one cannot fail.
#![allow(clippy::missing_panics_doc, clippy::doc_markdown, clippy::unnecessary_wraps)]

mod approle;
mod clock;
mod core;
mod database;
mod envelope;
mod fault;
mod kv1;
mod kv2;
mod leases;
mod listen;
mod lockout;
mod mounts;
mod namespaces;
mod operator;
mod path;
mod pki;
mod policy;
mod postgres;
mod real;
mod record;
mod request;
mod server;
mod service;
mod sys;
mod target;
mod tls;
mod tokens;
mod transit;
mod wire;
mod wrapping;

pub use core::Flavour;
pub use fault::{Fault, Matcher};
pub use operator::{Operator, Reply};
pub use postgres::Postgres;
pub use real::RealVault;
pub use record::Recorded;
pub use serde_json::{Value, json};
pub use server::{Builder, TestVault};
pub use target::{Target, on_every_https_vault, on_every_vault, on_every_vault_with_database};
pub use tls::{Certificate, TlsFiles, Versions};
