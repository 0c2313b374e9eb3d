//! The tests that SECURITY.md names exist.

use std::fs;
use std::path::PathBuf;

const SECURITY: &str = include_str!("../../../SECURITY.md");

/// Returns the tests that it names: `module::test` of the suite, `src::module::tests::test` beside
/// the source.
fn named() -> Vec<&'static str> {
    SECURITY.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect()
}

/// Returns the source file of the module that a test is in, and the test's own name.
fn place(name: &str) -> (PathBuf, &str) {
    let (module, test) = name.rsplit_once("::").expect("a module and a test");
    let (directory, module) = match module.strip_prefix("src::") {
        Some(module) => ("src", module.strip_suffix("::tests").expect("the module of the tests")),
        None => ("tests/suite", module),
    };
    let file = format!("{directory}/{}.rs", module.replace("::", "/"));
    (PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file), test)
}

/// Returns whether a source has a test with this name, and not just a function.
fn has_test(source: &str, name: &str) -> bool {
    let lines = source.lines().map(str::trim);
    let start = format!("fn {name}(");
    lines
        .clone()
        .zip(lines.skip(1))
        .any(|(attribute, line)| attribute == "#[test]" && line.starts_with(&start))
}

#[test]
fn every_test_that_is_named_is_one() {
    let named = named();
    assert!(named.len() > 50, "{named:?}");
    for name in named {
        let (file, test) = place(name);
        let source = fs::read_to_string(&file).unwrap_or_default();
        assert!(has_test(&source, test), "{name}: no such test in {}", file.display());
    }
}
