//! What settings are made of: imports, durations, booleans, lists of names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vault_exec::door::grammar::import::{self, Import, Keys};
use vault_exec::door::grammar::units::{self, Names};

use super::{Place, any_text, cases, key, path};

const BOOLEANS: [(&str, bool); 8] = [
    ("true", true),
    ("t", true),
    ("1", true),
    ("yes", true),
    ("false", false),
    ("f", false),
    ("0", false),
    ("no", false),
];

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// The text that reads as an import.
fn spelled(Import { path, version, keys }: &Import) -> String {
    let version = version.map(|version| format!("#{version}")).unwrap_or_default();
    match keys {
        Keys::All { prefix } if version.is_empty() => format!("{prefix}*={path}"),
        Keys::All { prefix } => format!("{prefix}*={path}#{version}"),
        Keys::One { key, prefix } => format!("{prefix}*={path}#{key}{version}"),
        Keys::Named { key, name } => format!("{name}={path}#{key}{version}"),
    }
}

fn keys() -> impl Strategy<Value = Keys> {
    let prefix = || "([A-Za-z_][A-Za-z0-9_]{0,5})?";
    prop_oneof![
        prefix().prop_map(|prefix| Keys::All { prefix }),
        (key(Place::Whole), prefix()).prop_map(|(key, prefix)| Keys::One { key, prefix }),
        (key(Place::Whole), "[A-Za-z_][A-Za-z0-9_]{0,5}")
            .prop_map(|(key, name)| Keys::Named { key, name }),
    ]
}

/// A text with some letters in upper case.
fn in_some_case(text: &'static str) -> impl Strategy<Value = String> {
    vec(any::<bool>(), text.len()).prop_map(|upper| {
        text.chars()
            .zip(upper)
            .map(|(c, upper)| if upper { c.to_ascii_uppercase() } else { c })
            .collect()
    })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_import_reads_as_it_is_spelled(
        path in path(Place::Whole),
        version in proptest::option::of(1..=u64::MAX),
        keys in keys(),
    ) {
        // Such a path is a reference that somebody has written in an import.
        let starts = ["vault:", "bao:", "vault?:", "bao?:", ">>vault:", ">>bao:"];
        prop_assume!(!starts.iter().any(|start| path.as_str().starts_with(start)));
        let import = Import { path, version, keys };
        let spelling = spelled(&import);
        prop_assert_eq!(import::parse(&spelling), Ok(import), "{}", spelling);
    }

    #[test]
    fn any_text_is_an_import_or_an_error(text in vec(prop_oneof![any_text(), Just("A=".into()), Just("#k".into())], 0..4)) {
        let text: String = text.concat();
        match import::parse(&text) {
            Ok(import) => {
                let spelling = spelled(&import);
                prop_assert_eq!(import::parse(&spelling), Ok(import), "{}", spelling);
            }
            Err(error) => prop_assert_eq!(error.code.status(), 78),
        }
    }

    #[test]
    fn a_duration_is_the_sum_of_its_parts(parts in vec((any::<u16>(), select(&UNITS[..])), 1..5)) {
        let text = parts.iter().map(|(number, (unit, _))| format!("{number}{unit}")).collect::<Vec<_>>().concat();
        let sum = parts.iter().map(|(number, (_, milliseconds))| u64::from(*number) * milliseconds).sum();
        let expected = Some(Duration::from_millis(sum)).filter(|sum| !sum.is_zero());
        prop_assert_eq!(units::duration(&text).ok(), expected, "{}", text);
    }

    #[test]
    fn a_bare_number_is_seconds(seconds in 1..=u64::MAX) {
        prop_assert_eq!(units::duration(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn any_other_text_is_no_duration(text in prop_oneof!["[0-9mshd. +-]{0,8}", any::<String>()]) {
        let is_one = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || b"msh".contains(&byte));
        if let Ok(duration) = units::duration(&text) {
            prop_assert!(!duration.is_zero() && is_one(text.strip_prefix('+').unwrap_or(&text)), "{}", text);
        }
    }

    #[test]
    fn a_boolean_in_any_case((text, expected) in select(&BOOLEANS[..]).prop_flat_map(|(text, value)| (in_some_case(text), Just(value)))) {
        prop_assert_eq!(units::boolean(&text), Ok(expected));
    }

    #[test]
    fn any_other_text_is_no_boolean(text in prop_oneof!["[a-zA-Z01 ]{0,5}", any::<String>()]) {
        let known = BOOLEANS.iter().find(|(known, _)| known.eq_ignore_ascii_case(&text)).map(|(_, value)| *value);
        prop_assert_eq!(units::boolean(&text).ok(), known);
    }

    #[test]
    fn names_are_exact_or_begin_with_a_prefix(
        items in vec("[ ]{0,1}[A-C]{0,2}[*]?[ ]{0,1}", 0..4),
        name in vec(select(b"ABC\xff".to_vec()), 0..4),
    ) {
        let mut names = Names::default();
        names.add(&items.join(",")).expect("names");
        let patterns = items.iter().map(|item| item.trim()).filter(|item| !item.is_empty());
        let expected = patterns.clone().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix.as_bytes()),
            None => name == pattern.as_bytes(),
        });
        prop_assert_eq!(names.contain(OsStr::from_bytes(&name)), expected);
    }
}
