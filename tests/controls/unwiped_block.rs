//! The program without the wiping of its initial environment block: the search of a process's
//! memory must find what this one leaves behind.

use std::alloc::System;
use std::process::ExitCode;

use vault_exec::door::process::alloc::Wiping;
use vault_exec::door::start::{self, Wiped};

#[global_allocator]
static ALLOCATOR: Wiping<System> = Wiping(System);

fn main() -> ExitCode {
    vault_exec::door::log::report_bugs();
    ExitCode::from(start::start(Wiped::AllButBlock))
}
