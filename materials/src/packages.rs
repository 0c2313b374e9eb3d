//! The packages whose code is in the binary, as `cargo metadata` has them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What is in one binary.
pub(crate) struct Graph {
    /// Our own package.
    pub(crate) root: Package,
    /// All others, by name and version.
    pub(crate) packages: Vec<Package>,
}

/// One package.
#[derive(Clone)]
pub(crate) struct Package {
    /// As cargo names it.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// An SPDX expression.
    pub(crate) license: String,
    /// Where its sources come from, in its own words.
    pub(crate) repository: Option<String>,
    /// The SHA-256 of what the registry has.
    pub(crate) checksum: Option<String>,
    /// Where its sources are on this machine.
    pub(crate) directory: PathBuf,
    /// The packages that it needs, by their ids.
    pub(crate) needs: Vec<String>,
}

impl Package {
    /// The package URL (ECMA-427).
    pub(crate) fn url(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

impl Graph {
    /// Asks cargo, without network.
    pub(crate) fn of(target: &str) -> Result<Graph, Box<dyn Error>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target])
            .arg("--manifest-path")
            .arg(top().join("Cargo.toml"))
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let lock = fs::read_to_string(top().join("Cargo.lock"))?;
        Graph::read(&serde_json::from_slice(&output.stdout)?, &checksums(&lock))
    }

    fn read(
        metadata: &Value,
        checksums: &BTreeMap<(String, String), String>,
    ) -> Result<Graph, Box<dyn Error>> {
        let described = by_id(&metadata["packages"]);
        let resolved = by_id(&metadata["resolve"]["nodes"]);
        let root = described
            .iter()
            .find(|(_, package)| package["name"] == "vault-exec")
            .map(|(id, _)| (*id).to_owned())
            .ok_or("no package vault-exec")?;
        let mut found = BTreeMap::new();
        let mut next = vec![root.clone()];
        while let Some(id) = next.pop() {
            let package = described.get(id.as_str()).ok_or("a package without a description")?;
            let node = resolved.get(id.as_str()).ok_or("a package that is not resolved")?;
            let needs = linked(node, &described);
            next.extend(needs.iter().filter(|id| !found.contains_key(*id)).cloned());
            found.insert(id.clone(), understood(&id, package, needs, checksums)?);
        }
        let root = found.remove(&root).ok_or("no root")?;
        let mut packages: Vec<Package> = found.into_values().collect();
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        Ok(Graph { root, packages })
    }
}

/// The project's own directory.
pub(crate) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".."))
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| Some((item["id"].as_str()?, item))).collect()
}

/// What a package needs at run time: no dependencies of build scripts and tests, and no procedural
/// macros, whose code runs in the compiler.
fn linked(node: &Value, described: &BTreeMap<&str, &Value>) -> Vec<String> {
    let of = |list: &'_ Value| list.as_array().cloned().unwrap_or_default();
    let is_normal =
        |needed: &Value| of(&needed["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    let is_macro = |id: &str| {
        let targets = described.get(id).map(|package| of(&package["targets"]));
        targets
            .into_iter()
            .flatten()
            .any(|target| of(&target["kind"]).contains(&"proc-macro".into()))
    };
    let needed = of(&node["deps"]).into_iter().filter(is_normal);
    let ids: BTreeSet<String> =
        needed.filter_map(|needed| Some(needed["pkg"].as_str()?.to_owned())).collect();
    ids.into_iter().filter(|id| !is_macro(id)).collect()
}

fn understood(
    id: &str,
    package: &Value,
    needs: Vec<String>,
    checksums: &BTreeMap<(String, String), String>,
) -> Result<Package, Box<dyn Error>> {
    let text = |name: &str| package[name].as_str().map(str::to_owned);
    let (name, version) =
        text("name").zip(text("version")).ok_or("a package without name and version")?;
    let license = text("license").ok_or_else(|| format!("{name} names no license"))?;
    let manifest = PathBuf::from(text("manifest_path").ok_or("a package without a manifest")?);
    Ok(Package {
        id: id.to_owned(),
        checksum: checksums.get(&(name.clone(), version.clone())).cloned(),
        // An older form, from before SPDX had a word for it.
        license: license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR "),
        repository: text("repository"),
        directory: manifest.parent().ok_or("a manifest without a directory")?.to_owned(),
        name,
        version,
        needs,
    })
}

/// The checksums of a `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
        line.and_then(|value| value.strip_suffix('"')).map(str::to_owned)
    };
    let packages = lock.split("[[package]]").filter_map(|block| {
        let key = (field(block, "name")?, field(block, "version")?);
        Some((key, field(block, "checksum")?))
    });
    packages.collect()
}
