//! The program without the allocator that wipes: the search of a process's memory must find what this one leaves behind.

use std::process::ExitCode;

use vault_exec::start::{self, Block};

fn main() -> ExitCode {
    start::report_bugs();
    ExitCode::from(start::start(Block::Wiped))
}
