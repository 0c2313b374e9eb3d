//! Writes what a release has beside its binaries: `materials DIRECTORY TARGET ...`.
//!
//! For each target `vault-exec-TARGET.cdx.json`, a list of what is in the binary (CycloneDX), and for
//! all of them `THIRD-PARTY.txt`, the notices of it. Both come from `cargo metadata` and `Cargo.lock`,
//! and are the same whenever they are made of the same commit.

mod notices;
mod packages;
mod sbom;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use packages::Graph;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("materials DIRECTORY TARGET ...")?);
    fs::create_dir_all(&directory)?;
    let mut all = Vec::new();
    for target in arguments {
        let graph = Graph::of(&target)?;
        let text = serde_json::to_string_pretty(&sbom::of(&graph, &target))?;
        fs::write(directory.join(format!("vault-exec-{target}.cdx.json")), text + "\n")?;
        all.extend(graph.packages);
    }
    all.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    all.dedup_by(|a, b| a.id == b.id);
    fs::write(directory.join("THIRD-PARTY.txt"), notices::of(&all)?)?;
    Ok(())
}
