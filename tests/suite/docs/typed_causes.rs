//! Nothing is decided by a text that was written for people: a change of words must never change
//! what is done.

use std::fs;
use std::path::{Path, PathBuf};

/// What would read a message or a hint again.
const READ_AGAIN: [&str; 14] = [
    "message.contains",
    "message.starts_with",
    "message.ends_with",
    "message ==",
    "message !=",
    "message.as_str()",
    "hint ==",
    "hint !=",
    "hint.is_none()",
    "hint.is_some()",
    "hint.as_deref() ==",
    "to_string().contains",
    "to_string().starts_with",
    "cause.contains",
];

#[test]
fn nothing_is_decided_by_the_text_of_a_message_or_a_hint() {
    let mut found = Vec::new();
    for file in sources(Path::new("src")) {
        let text = fs::read_to_string(&file).expect("a source");
        let shipped = text.split("\n#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in shipped.lines().enumerate() {
            if READ_AGAIN.iter().any(|part| line.contains(part)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of sources");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let sources = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    sources.filter(|path| path.extension().is_some_and(|name| name == "rs")).collect()
}
