//! The Vault that the tests run against: a small server of its own that keeps state as Vault does, records what it is asked and
//! misbehaves on request, and a real one in dev mode where there is one on the `PATH`.
//!
//! A secrets engine or an auth method is one file that implements `mounts::Engine` and one line in `mounts::engine`.

// A test wants to fail, names are written as their owners write them, and handlers are alike even where one cannot fail.
#![allow(clippy::missing_panics_doc, clippy::doc_markdown, clippy::unnecessary_wraps)]

mod api;
mod approle;
mod aws;
mod aws_keys;
mod aws_metadata;
mod azure;
mod azure_metadata;
mod caller_identity;
mod cert;
mod client_ca;
mod clock;
mod configured;
mod core;
mod database;
mod envelope;
mod far;
mod fault;
mod gate;
mod gcp;
mod gcp_metadata;
mod glob;
mod grant;
mod jws;
mod jwt;
mod kubernetes;
mod kubernetes_api;
mod kv1;
mod kv2;
mod late;
mod ldap;
pub mod leaks;
mod leases;
mod listen;
mod local;
mod lockout;
mod mounts;
mod name_server;
mod namespaces;
mod operator;
mod path;
mod pki;
mod policy;
mod postgres;
mod real;
mod record;
mod request;
mod roles;
mod server;
mod service;
mod signer;
mod sts;
mod sys;
mod target;
mod tls;
mod tokens;
mod transit;
mod userpass;
mod watched;
mod wire;
mod wrapping;

pub use aws_keys::AwsKeys;
pub use aws_metadata::{container_credentials, ec2_metadata};
pub use azure_metadata::AzureMetadata;
pub use client_ca::{ClientCa, ClientCertificate};
pub use core::Flavour;
pub use far::{Far, Side};
pub use fault::{Fault, Matcher};
pub use gate::{Gate, Shut};
pub use gcp_metadata::GcpMetadata;
pub use kubernetes_api::KubernetesApi;
pub use late::LatePort;
pub use local::{LocalAnswer, LocalServer};
pub use name_server::{Names, name_server};
pub use operator::{Operator, Reply};
pub use postgres::Postgres;
pub use real::RealVault;
pub use record::Recorded;
pub use serde_json::{Value, json};
pub use server::{Builder, TestVault};
pub use signer::JwtSigner;
pub use sts::{WebIdentity, sts, sts_error};
pub use target::{Target, on_every_https_vault, on_every_vault, on_every_vault_with_database};
pub use tls::{Certificate, TlsFiles, Versions};
pub use watched::Watched;
