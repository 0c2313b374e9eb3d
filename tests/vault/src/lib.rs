//! The Vault that the tests run against: our own small server, which keeps state as Vault does,
//! records what it is asked and misbehaves on request; and a real one in dev mode if there is one
//! on the `PATH`.
//!
//! A secrets engine or an auth method is one file that implements `mounts::Engine` and one line in
//! `mounts::engine`.

// A test is supposed to panic, names are written as their owners write them, and handlers have the
// same form even if one cannot fail.
#![allow(clippy::missing_panics_doc, clippy::doc_markdown, clippy::unnecessary_wraps)]

mod api;
mod harness;
mod platforms;
mod wire;

pub use api::core::Flavour;
pub use harness::client_ca::{ClientCa, ClientCertificate};
pub use harness::leaks;
pub use harness::operator::{Operator, Reply};
pub use harness::postgres::Postgres;
pub use harness::real::RealVault;
pub use harness::record::Recorded;
pub use harness::server::{Builder, TestVault};
pub use harness::target::{
    Target, on_every_https_vault, on_every_vault, on_every_vault_with_database,
};
pub use harness::watched::Watched;
pub use platforms::aws_keys::AwsKeys;
pub use platforms::aws_metadata::{container_credentials, ec2_metadata};
pub use platforms::azure_metadata::AzureMetadata;
pub use platforms::gcp_metadata::GcpMetadata;
pub use platforms::kubernetes_api::KubernetesApi;
pub use platforms::local::{LocalAnswer, LocalServer};
pub use platforms::signer::JwtSigner;
pub use platforms::sts::{WebIdentity, sts, sts_error};
pub use serde_json::{Value, json};
pub use wire::delayed_network::{DelayedNetwork, Side};
pub use wire::fault::{Fault, Matcher};
pub use wire::gate::{Gate, Shut};
pub use wire::late::LatePort;
pub use wire::name_server::{Names, name_server};
pub use wire::tls::{Certificate, TlsFiles, Versions};
