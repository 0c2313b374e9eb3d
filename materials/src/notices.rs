//! The notices that the licenses of what is in the binary want to be passed on.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::packages::{Package, top};

/// What the C library of the static binaries wants. It comes with the compiler.
const MUSL: &str = include_str!("../musl.txt");

/// Returns the text: each package with its license, and each text of a license once, with the
/// packages that have it.
pub(crate) fn of(packages: &[Package]) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(
        "vault-exec contains the following packages, the standard library of Rust (MIT OR \
         Apache-2.0), and musl (MIT).\n\n",
    );
    let mut texts: Vec<(String, Vec<String>)> = vec![(MUSL.to_owned(), vec!["musl".to_owned()])];
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        writeln!(text, "{name}: {}", package.license)?;
        for content in own_texts(package)? {
            match texts.iter_mut().find(|(known, _)| *known == content) {
                Some((_, names)) => names.push(name.clone()),
                None => texts.push((content, vec![name.clone()])),
            }
        }
    }
    for (content, names) in texts {
        let line = "=".repeat(80);
        write!(text, "\n{line}\n{}\n{line}\n\n{}\n", names.join(", "), content.trim_end())?;
    }
    Ok(text)
}

/// The texts that a package has; those of its license where it has none itself.
fn own_texts(package: &Package) -> Result<Vec<String>, Box<dyn Error>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&package.directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        let is_notice = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|word| name.starts_with(word));
        if is_notice && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let known = [("MIT", "LICENSE-MIT"), ("Apache-2.0", "LICENSE-APACHE")];
        let fitting = known.iter().filter(|(license, _)| package.license.contains(license));
        files.extend(fitting.map(|(_, file)| top().join(file)));
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{} has no text of its license", package.name).into());
    }
    let read = |file: &PathBuf| Ok(fs::read_to_string(file)?.replace("\r\n", "\n"));
    files.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::Graph;

    #[test]
    fn every_package_is_named_with_its_license_and_a_text() {
        let graph = Graph::of("x86_64-unknown-linux-musl").expect("metadata");
        let text = of(&graph.packages).expect("texts");
        for package in &graph.packages {
            let name = format!("{} {}", package.name, package.version);
            assert!(text.contains(&format!("\n{name}: {}\n", package.license)), "{name}");
            assert!(text.matches(&name).count() > 1, "{name} has no text");
        }
        for words in ["Rich Felker", "Permission is hereby granted", "Apache License"] {
            assert!(text.contains(words), "{words}");
        }
    }
}
