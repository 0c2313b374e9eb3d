//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

mod contract;
