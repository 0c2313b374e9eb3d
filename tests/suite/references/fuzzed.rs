//! What the fuzz targets assert of any input, tried on the seeds that they begin with.
//!
//! The modules are those of the targets in `fuzz/`, each of which calls its `settles`: it panics
//! where what must hold of some bytes does not.

mod answer;
pub(crate) mod env_file;
mod network;
pub(crate) mod reference;
pub(crate) mod secrets_file;
mod settings;
pub(crate) mod spelling;
mod template;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

type Settles = fn(&[u8]);

const TARGETS: [(&str, Settles); 7] = [
    ("answer", answer::settles),
    ("env_file", env_file::settles),
    ("network", network::settles),
    ("reference", reference::settles),
    ("secrets_file", secrets_file::settles),
    ("settings", settings::settles),
    ("template", template::settles),
];

/// The seeds of each target: those that are committed have names, others were found by a run.
fn seeds() -> BTreeMap<String, Vec<Vec<u8>>> {
    let list = |path: &Path| {
        fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path())
    };
    let is_seed =
        |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "txt");
    let read = |path| fs::read(path).expect("a seed");
    let directories = list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus"));
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    directories.map(|path| (name(&path), list(&path).filter(is_seed).map(read).collect())).collect()
}

#[test]
fn every_seed_of_every_target_settles() {
    let seeds = seeds();
    assert!(TARGETS.iter().map(|(name, _)| *name).eq(seeds.keys()), "{:?}", seeds.keys());
    for (name, settles) in TARGETS {
        assert!(seeds[name].len() >= 5, "{name}");
        seeds[name].iter().for_each(|seed| settles(seed));
    }
}
