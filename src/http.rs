//! HTTP as every request needs it, whatever the server: connections, names, certificates, proxies,
//! retries, and what a failure means.

mod alert;
pub(crate) mod answers;
pub(crate) mod connections;
pub(crate) mod deadline;
pub(crate) mod distrust;
pub(crate) mod dns;
pub(crate) mod failure;
pub(crate) mod no_proxy;
pub(crate) mod pem;
pub(crate) mod proxy;
pub(crate) mod redact;
pub(crate) mod retry;
pub(crate) mod roots;
pub(crate) mod runtime;
pub(crate) mod tls;
pub(crate) mod transport;
pub(crate) mod verifier;
pub(crate) mod x509;

use crate::secret::Variable;

/// Returns the variables that say how servers are reached: proxies, and where the system's
/// authorities are.
pub(crate) fn about_network(environment: &[Variable]) -> Vec<Variable> {
    let is_one = |variable: &&Variable| {
        let name = variable.name.to_string_lossy();
        name.to_ascii_lowercase().ends_with("_proxy")
            || name.starts_with("SSL_CERT_")
            // If this is set, HTTP_PROXY may come from a request.
            || name == "REQUEST_METHOD"
    };
    environment.iter().filter(is_one).cloned().collect()
}
