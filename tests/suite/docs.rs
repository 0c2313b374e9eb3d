//! The documentation says what is true.

pub(crate) mod pages;
mod readme;
mod shell;
mod typed_causes;
