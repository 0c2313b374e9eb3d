//! The program: its allocator, and what happens when it has a bug.

use std::process::ExitCode;

use dlmalloc::GlobalDlmalloc;
use vault_exec::door::log;
use vault_exec::door::process::alloc::Wiping;
use vault_exec::door::start::{self, Wiped};

#[global_allocator]
static ALLOCATOR: Wiping<GlobalDlmalloc> = Wiping(GlobalDlmalloc);

fn main() -> ExitCode {
    log::report_bugs();
    ExitCode::from(start::start(Wiped::All))
}
