//! The documentation: every page of it, in the order in which its examples are played, and links
//! that lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Every page. What a page's examples need is set up by a page before it.
const PAGES: &[&str] = &[
    "README.md",
    "docs/auth/approle.md",
    "docs/auth/token.md",
    "docs/auth/kubernetes.md",
    "docs/auth/jwt.md",
    "docs/auth/cert.md",
    "docs/auth/userpass-and-ldap.md",
    "docs/auth/aws.md",
    "docs/auth/gcp.md",
    "docs/auth/azure.md",
    "docs/auth/choosing.md",
    "docs/references.md",
    "docs/dynamic-secrets.md",
    "docs/files.md",
    "docs/imports.md",
    "docs/settings.md",
    "docs/tls-and-proxies.md",
    "docs/check.md",
    "docs/exit-codes.md",
    "docs/application.md",
    "docs/restarts.md",
    "docs/supervise.md",
    "docs/docker.md",
    "docs/kubernetes.md",
    "docs/platforms.md",
    "docs/installing.md",
    "docs/troubleshooting.md",
    "docs/upgrading.md",
    "docs/performance.md",
    "docs/comparison.md",
    "docs/migrating/vault-env.md",
    "docs/migrating/vaultenv.md",
    "docs/migrating/envconsul.md",
    "docs/migrating/vault-agent.md",
];

/// Each page, and its text.
pub(crate) static TEXTS: LazyLock<Vec<(&str, String)>> =
    LazyLock::new(|| PAGES.iter().map(|page| (*page, read(page))).collect());

/// All pages, one after the other.
pub(crate) static TEXT: LazyLock<String> =
    LazyLock::new(|| TEXTS.iter().flat_map(|(_, text)| [text.as_str(), "\n"]).collect());

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn markdown_below(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            markdown_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path);
        }
    }
}

/// The anchor that a heading gets: lower case, blanks as dashes, without punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// The targets of a page's links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_page_is_in_the_list() {
    let mut found = BTreeSet::new();
    markdown_below(&root().join("docs"), &mut found);
    let listed: BTreeSet<PathBuf> = PAGES.iter().map(|page| root().join(page)).collect();
    let missing: Vec<_> = found.difference(&listed).collect();
    assert!(missing.is_empty(), "no example of these is run: {missing:?}");
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for page in PAGES.iter().chain(&["SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]) {
        let text = read(page);
        let directory = root().join(page).parent().expect("a directory").to_owned();
        for link in links(&text).filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(page) } else { directory.join(file) };
            assert!(target.exists(), "{page}: {link}");
            if heading.is_empty() {
                continue;
            }
            let target = fs::read_to_string(target).expect("a page");
            let headings = target.lines().filter(|line| line.starts_with('#')).map(anchor);
            assert!(headings.into_iter().any(|found| found == heading), "{page}: {link}");
        }
    }
}

#[test]
fn the_readme_leads_to_every_page() {
    let readme = read("README.md");
    for page in PAGES.iter().skip(1) {
        assert!(links(&readme).any(|link| link == *page), "{page}");
    }
}

/// What the system says, in the C library's words.
const OF_THE_SYSTEM: &[&str] =
    &["Connection refused", "No such file or directory", "Permission denied", "Is a directory"];

fn sources_below(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources_below(&path, text);
        } else {
            *text += &fs::read_to_string(path).expect("a source file");
        }
    }
}

/// The sources, with texts that are continued on the next line put together.
fn sources() -> String {
    let mut text = String::new();
    sources_below(&root().join("src"), &mut text);
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |joined, part| joined + part.trim_start())
}

#[test]
fn every_message_that_is_explained_is_one() {
    let (page, sources) = (read("docs/troubleshooting.md"), sources());
    let rows = page.lines().skip_while(|line| *line != "| message | what it means |").skip(2);
    let messages: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert!(messages.len() > 12, "{messages:?}");
    for message in messages {
        let own = message.split(": ").filter(|part| !OF_THE_SYSTEM.contains(part));
        for part in own {
            assert!(sources.contains(part), "no message has {part:?}");
        }
    }
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 200);
}

/// Nobody writes a figure by hand.
#[test]
fn the_tables_of_performance_are_those_that_the_benchmark_has_written() {
    let (page, results) = (read("docs/performance.md"), read("benches/results/start.md"));
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 30, "{rows:?}");
    for row in rows {
        assert!(results.lines().any(|line| line == row), "{row}");
    }
}

#[test]
fn the_package_has_what_the_readme_links_to() {
    let manifest = read("Cargo.toml");
    let list = manifest.split("include = [").nth(1).and_then(|rest| rest.split(']').next());
    let included: Vec<&str> = list.expect("a list").split('"').skip(1).step_by(2).collect();
    let readme = read("README.md");
    for link in links(&readme).filter(|link| !link.contains("://")) {
        let file = link.split('#').next().unwrap_or_default();
        let is_packed = |pattern: &&str| {
            pattern.strip_suffix("**").map_or(*pattern == file, |below| file.starts_with(below))
        };
        assert!(included.iter().any(is_packed), "{link}");
    }
}
