//! The documentation says what is true.

mod directions;
pub(crate) mod pages;
mod readme;
mod shell;
mod typed_causes;
