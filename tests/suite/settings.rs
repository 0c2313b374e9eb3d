//! Settings: their layers, the command line, and what is printed in the place of a start.

pub(crate) mod check;
pub(crate) mod command_line;
pub(crate) mod layers;
mod mistakes;
pub(crate) mod print_policy;
