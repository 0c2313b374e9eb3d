//! The process itself: what it shows of itself, what ends it, its initial environment, and how it
//! becomes another program.

pub mod alloc;
pub mod block;
pub(crate) mod child;
pub mod exec;
pub mod harden;
pub mod install;
mod may_execute;
pub(crate) mod names;
pub mod program;
pub(crate) mod reap;
pub mod signals;
pub mod stack;
pub(crate) mod terminal;
#[cfg(target_env = "musl")]
mod thread_name;
#[cfg(panic = "abort")]
mod unwind;
