//! Where the application's values come from (pure).

use crate::intern::Id;
use crate::plan::{Origin, Request};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It was there already.
    Value(Origin),
    /// From answers: which requests of the plan, and which key of each. Empty if the value consists
    /// only of defaults.
    Fetched(Vec<(Id<Request>, String)>),
    /// From the transit engine.
    Ciphertext,
    /// From the login itself.
    Login,
}
