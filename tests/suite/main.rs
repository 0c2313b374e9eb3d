//! What `vault-exec` does, seen from outside, and what the Vault does that it is tried against.

#![allow(clippy::doc_markdown)] // Names are written as their owners write them.

mod contract;
