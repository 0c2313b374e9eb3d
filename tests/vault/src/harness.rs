//! What a test works with: servers, the operator, and records of the requests.

pub(crate) mod client_ca;
pub mod leaks;
pub(crate) mod operator;
pub(crate) mod postgres;
pub(crate) mod real;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod target;
pub(crate) mod watched;
