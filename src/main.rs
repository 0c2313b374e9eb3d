//! vault-exec
fn main() {}
