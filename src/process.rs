//! The process itself: what it reveals about itself, what ends it, its initial environment, and how
//! it becomes another program.

pub(crate) mod alloc;
pub(crate) mod block;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod harden;
pub(crate) mod install;
mod may_execute;
pub(crate) mod names;
pub(crate) mod program;
pub(crate) mod reap;
pub(crate) mod signals;
pub(crate) mod stack;
pub(crate) mod terminal;
#[cfg(target_env = "musl")]
mod thread_name;
#[cfg(panic = "abort")]
mod unwind;
