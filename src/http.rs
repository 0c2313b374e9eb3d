//! HTTP as every request needs it, whoever is asked: connections, names, certificates, proxies,
//! retries, and what a failure means.

mod alert;
pub mod answers;
pub mod connections;
pub mod deadline;
pub(crate) mod distrust;
pub mod dns;
pub mod failure;
pub(crate) mod no_proxy;
pub(crate) mod pem;
pub mod proxy;
pub mod redact;
pub mod retry;
pub mod roots;
pub mod runtime;
pub mod tls;
pub mod transport;
pub(crate) mod verifier;
pub(crate) mod x509;

use crate::secret::Variable;

/// The variables that say how servers are reached: proxies, and where the system's authorities are.
pub fn about_network(environment: &[Variable]) -> Vec<Variable> {
    let is_one = |variable: &&Variable| {
        let name = variable.name.to_string_lossy();
        name.to_ascii_lowercase().ends_with("_proxy")
            || name.starts_with("SSL_CERT_")
            // Tells that HTTP_PROXY may come from a request.
            || name == "REQUEST_METHOD"
    };
    environment.iter().filter(is_one).cloned().collect()
}
