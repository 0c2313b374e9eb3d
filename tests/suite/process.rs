//! Becoming the application: exec, signals, and the limits of the kernel.

pub(crate) mod exec;
pub(crate) mod install;
pub(crate) mod kernel_limits;
pub(crate) mod same_as_direct;
pub(crate) mod signals;
pub(crate) mod signals_while_waiting;
