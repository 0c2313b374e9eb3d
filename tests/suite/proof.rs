//! Proofs: nothing is left in memory, nothing leaks, and each claim of SECURITY.md has its test.

pub(crate) mod first_instruction;
pub(crate) mod leaks_found;
pub(crate) mod logging;
pub(crate) mod memory;
pub(crate) mod memory_aws;
pub(crate) mod memory_kinds;
pub(crate) mod memory_methods;
pub(crate) mod security;
