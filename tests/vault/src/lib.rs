//! The Vault that the tests run against.
