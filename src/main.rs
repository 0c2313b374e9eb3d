//! The program: its allocator, and what happens if it has a bug.

use std::alloc::System;
use std::process::ExitCode;

use vault_exec::alloc::Wiping;
use vault_exec::start::{self, Block};

#[global_allocator]
static ALLOCATOR: Wiping<System> = Wiping(System);

fn main() -> ExitCode {
    start::report_bugs();
    ExitCode::from(start::start(Block::Wiped))
}
