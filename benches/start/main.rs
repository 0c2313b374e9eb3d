//! `cargo bench --package vault-exec-benches --bench start`: whole starts, from the first process to the application.
//!
//! `VAULT_EXEC_BINARY` names another binary than the one that cargo builds. `-- --save` writes the
//! tables and the plot into `benches/results`. What the machine has not (curl, other tools, a real
//! server, a network of its own) is left out, with a line that says so.

#![allow(clippy::print_stdout, reason = "it is there to show something")]

mod growth;
mod job;
mod network;
mod plot;
mod side_by_side;
mod table;
mod timing;
mod tools;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");

fn main() {
    let (beside, points) = side_by_side::run();
    let parts = [beside, tools::run(), network::run(), growth::run()];
    let text = format!("{}\n{}", machine(), parts.join("\n"));
    println!("{text}");
    if env::args().any(|argument| argument == "--save") {
        fs::create_dir_all(RESULTS).expect("a directory");
        fs::write(Path::new(RESULTS).join("start.md"), &text).expect("a file");
        plot::save(&Path::new(RESULTS).join("start.svg"), &points);
    }
}

/// What the figures were measured on.
fn machine() -> String {
    let file = |path| fs::read_to_string(path).unwrap_or_default();
    let cpu = file("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = file("/proc/sys/kernel/osrelease");
    let release: String = kernel.split('.').take(2).collect::<Vec<_>>().join(".");
    let size = fs::metadata(job::binary()).map_or(0, |found| found.len());
    format!(
        "Measured on {cores} cores ({model}), Linux {release}, {}, a binary of {size} bytes. \
         Times are medians.\n",
        version("rustc").unwrap_or_default()
    )
}

/// The first words of what a program says of its version, if it is there.
fn version(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}
