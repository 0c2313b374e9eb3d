//! The documentation says what is true.

mod readme;
