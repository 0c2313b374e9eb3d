//! Where the application's values come from (pure).

use crate::intern::Id;
use crate::plan::{Origin, Request};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It was there already.
    Value(Origin),
    /// From answers: which requests of the plan, and what of each. None of them where only defaults
    /// are in it.
    Fetched(Vec<(Id<Request>, String)>),
    /// From the transit engine.
    Ciphertext,
    /// From the login itself.
    Login,
}
