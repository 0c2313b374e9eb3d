//! What a value can ask for, and the environment that comes of it.

pub(crate) mod application_environment;
pub(crate) mod environment_model;
pub(crate) mod files;
pub(crate) mod from_path;
pub(crate) mod fuzzed;
pub(crate) mod grammar;
pub(crate) mod hijacked;
pub(crate) mod imports;
pub(crate) mod leases;
pub(crate) mod namespaces;
pub(crate) mod redaction;
pub(crate) mod secrets_file;
pub(crate) mod texts_and_templates;
pub(crate) mod transit;
pub(crate) mod values;
pub(crate) mod writes;
