//! The rooms of the source and what they may import: crafts know nothing of the story that uses
//! them, and no file imports itself by a detour.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the crafts know nothing of.
const STORY: [&str; 14] = [
    "settings",
    "plan",
    "cli",
    "start",
    "job",
    "round",
    "login",
    "fetch",
    "environment",
    "check",
    "policy",
    "revoke",
    "output",
    "supervise",
];
const CRAFTS: [&str; 5] = ["grammar", "http", "vault", "cloud", "process"];

/// What each craft may import of the others, beside what all may: the error, the secret, the log
/// and other files without imports of their own.
const AMONG_CRAFTS: [(&str, &[&str]); 5] = [
    ("grammar", &[]),
    ("process", &[]),
    ("http", &["grammar", "process"]),
    ("vault", &["grammar", "http"]),
    ("cloud", &["grammar", "http"]),
];

/// The modules of the library by their paths, `login::method`, with the modules that each imports
/// in what ships.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = sources(Path::new("src"));
    let names: BTreeSet<String> = files.iter().map(|file| module(file)).collect();
    let shipped = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a source");
        text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned()
    };
    let of = |file: &PathBuf| {
        let own = module(file);
        let paths = used(&shipped(file), &own);
        let found = paths.iter().filter_map(|path| named(path, &names)).filter(|name| *name != own);
        (own.clone(), found.collect())
    };
    files.iter().map(of).collect()
}

/// `src/login/method.rs` is `login::method`.
fn module(file: &Path) -> String {
    let path = file.strip_prefix("src").expect("below src").with_extension("");
    path.to_str().expect("UTF-8").replace('/', "::")
}

/// The paths of all `use crate::` and `use super::`, with braces opened.
fn used(text: &str, own: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for statement in text.split(';') {
        let Some((_, use_tree)) = statement.rsplit_once("use ") else { continue };
        let tree: String = use_tree.split_whitespace().collect::<Vec<_>>().join(" ");
        let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
        let tree = match tree.strip_prefix("super::") {
            Some(rest) => format!("crate::{parent}::{rest}").replace(":::", ":"),
            None => tree,
        };
        if let Some(tree) = tree.strip_prefix("crate::") {
            opened("", tree, &mut paths);
        }
    }
    paths
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn opened(front: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((before, inside)) = tree.split_once('{') else {
        paths.push(format!("{front}{}", tree.split(" as ").next().unwrap_or_default().trim()));
        return;
    };
    let inside = inside.strip_suffix('}').expect("a whole tree");
    let (mut depth, mut start) = (0, 0);
    for (at, sign) in inside.char_indices().chain([(inside.len(), ',')]) {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inside[start..at].trim();
                if !part.is_empty() {
                    opened(&format!("{front}{before}"), part, paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// The longest front of a path that is a module.
fn named(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut front = path.trim_end_matches("::self");
    loop {
        if modules.contains(front) {
            return Some(front.to_owned());
        }
        front = front.rsplit_once("::")?.0;
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// A way from a module back to it, if there is one.
fn circle(from: &str, imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in &imports[way.last().expect("a module")] {
            if next == from {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push(way.iter().chain([next]).cloned().collect());
            }
        }
    }
    None
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let sources = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    sources.filter(|path| path.extension().is_some_and(|name| name == "rs")).collect()
}

#[test]
fn crafts_import_nothing_of_the_story_and_little_of_each_other() {
    let mut wrong = Vec::new();
    for (module, imported) in imports() {
        let Some((_, allowed)) = AMONG_CRAFTS.iter().find(|(craft, _)| *craft == room(&module))
        else {
            continue;
        };
        for other in imported {
            let target = room(&other);
            let is_other_craft = CRAFTS.contains(&target) && target != room(&module);
            if STORY.contains(&target) || (is_other_craft && !allowed.contains(&target)) {
                wrong.push(format!("{module} imports {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_imports_itself_by_a_detour() {
    let imports = imports();
    let circles: BTreeSet<BTreeSet<String>> = imports
        .keys()
        .filter_map(|module| circle(module, &imports))
        .map(|way| way.into_iter().collect())
        .collect();
    let rooms: BTreeSet<&str> = imports.keys().map(|module| room(module)).collect();
    let between: BTreeSet<(&str, &str)> = imports
        .iter()
        .flat_map(|(module, others)| others.iter().map(|other| (room(module), room(other))))
        .filter(|(from, to)| from != to)
        .collect();
    println!(
        "{} rooms, {} imports between them, {} files, {} circles",
        rooms.len(),
        between.len(),
        imports.len(),
        circles.len()
    );
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn imports_are_read_as_they_are_written() {
    let text = "use super::method::{A, b};\nuse std::fs;\npub use crate::http::{self, tls::{X, Y},\n\
                dns as names};\nfn f() { use crate::error::Error; }";
    let paths = used(text, "login::token");
    assert_eq!(
        paths,
        [
            "login::method::A",
            "login::method::b",
            "http::self",
            "http::tls::X",
            "http::tls::Y",
            "http::dns",
            "error::Error"
        ]
    );
    let modules = ["http", "http::tls", "login::method"].map(str::to_owned).into();
    let found: Vec<_> = paths.iter().map(|path| named(path, &modules)).collect();
    assert_eq!(found[0].as_deref(), Some("login::method"));
    assert_eq!((found[2].as_deref(), found[3].as_deref()), (Some("http"), Some("http::tls")));
    assert_eq!(found[6], None);
}
