//! HTTP as every request needs it, whoever is asked: connections, names, certificates, proxies,
//! retries, and what a failure means.

pub mod connections;
pub mod deadline;
pub mod dns;
pub mod failure;
pub(crate) mod no_proxy;
pub mod proxy;
pub mod redact;
pub mod retry;
pub mod roots;
pub mod tls;
pub mod transport;
