//! vault-exec
