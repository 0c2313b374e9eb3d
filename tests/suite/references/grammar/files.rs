//! Env files and secrets files: any bytes, and any variables in each way in which they can be
//! written.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vault_exec::door::grammar::env_file::parse;
use vault_exec::door::secret::Variable;

use super::{LINES, MARK, any_bytes, cases, change, changed};
use crate::references::fuzzed::{env_file, secrets_file};

/// How a value is written.
#[derive(Clone, Copy, Debug)]
enum Quotes {
    None,
    Single,
    Double,
}

/// A variable and the line, or lines, that set it.
type Written = (Variable, Vec<u8>);

/// What the grammar of env files could take for its own.
fn parts() -> impl Strategy<Value = Vec<u8>> {
    let tokens = [
        "A=",
        "B=",
        "export ",
        "A",
        "=",
        "'",
        "'",
        "\"",
        "\"",
        "\\",
        "\\n",
        "\\\"",
        "#",
        " #",
        " ",
        "\t",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "\0",
        "x",
        "\u{feff}",
        "vault:a/b#c",
    ];
    let token = prop_oneof![
        8 => select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..3),
    ];
    vec(token, 0..16).prop_map(|tokens| tokens.concat())
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    parts().prop_map(|mut value| {
        value.retain(|byte| *byte != 0);
        value
    })
}

/// The way of writing that was wished for, or the one that takes any value.
fn fitting(value: &[u8], quotes: Quotes) -> Quotes {
    let has = |part: &[u8]| value.windows(part.len()).any(|window| window == part);
    let is_bare = value == value.trim_ascii()
        && !value.first().is_some_and(|byte| b"'\"#".contains(byte))
        && ![&b"\n"[..], b" #", b"\t#"].iter().any(|part| has(part));
    match quotes {
        Quotes::None if is_bare => Quotes::None,
        Quotes::Single if !has(b"'") && !has(b"\r\n") => Quotes::Single,
        _ => Quotes::Double,
    }
}

fn written(value: &[u8], quotes: Quotes) -> Vec<u8> {
    match fitting(value, quotes) {
        Quotes::None => value.to_vec(),
        Quotes::Single => [b"'", value, b"'"].concat(),
        Quotes::Double => {
            let line = env_file::spelled(&[Variable::new("A", value.to_vec())]);
            line[b"A=".len()..line.len() - 1].to_vec()
        }
    }
}

fn line() -> impl Strategy<Value = Written> {
    let quotes = select(vec![Quotes::None, Quotes::Single, Quotes::Double]);
    let before = select(vec!["", " ", "\t", "export ", " export\t "]);
    let after =
        select(vec!["\n", "\r\n", " \n", " # a 'comment\"\n", "\t#\r\n", "\n\n# another\n"]);
    let parts =
        ("[A-Za-z_][A-Za-z0-9_.-]{0,6}", value(), quotes, before, select(vec!["", " "]), after);
    parts.prop_map(|(name, value, quotes, before, blank, after)| {
        let written = written(&value, quotes);
        let parts = [
            before.as_bytes(),
            name.as_bytes(),
            b"=",
            blank.as_bytes(),
            &written,
            after.as_bytes(),
        ];
        let line = parts.concat();
        (Variable::new(name, value), line)
    })
}

/// The last of each name, as one file gives them.
fn last_of_each(lines: &[Written]) -> Vec<Variable> {
    let is_last = |at: usize, variable: &Variable| {
        !lines[at + 1..].iter().any(|(later, _)| later.name == variable.name)
    };
    let all = lines.iter().map(|(variable, _)| variable).enumerate();
    all.filter(|(at, variable)| is_last(*at, variable))
        .map(|(_, variable)| variable.clone())
        .collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_an_env_file_or_an_error_with_its_line(bytes in parts()) {
        env_file::settles(&bytes);
    }

    #[test]
    fn an_env_file_reads_as_it_is_written(
        lines in vec(line(), 0..6),
        mark in select(vec!["", "\u{feff}"]),
    ) {
        let text: Vec<u8> = lines.iter().flat_map(|(_, line)| line.clone()).collect();
        let found = parse(&[mark.as_bytes(), &text].concat());
        prop_assert_eq!(found, Ok(last_of_each(&lines)), "{}", String::from_utf8_lossy(&text));
    }

    #[test]
    fn no_error_has_a_value_of_an_env_file_in_it((value, quotes) in (value(), any::<bool>()), change in change()) {
        let value = [MARK.as_bytes(), &value, MARK.as_bytes()].concat();
        let value = written(&value, if quotes { Quotes::Double } else { Quotes::Single });
        if let Err(error) = parse(&changed([b"A=", &*value, b"\n"].concat(), change)) {
            prop_assert!(!format!("{error:?}").contains(MARK), "{error:?}");
        }
    }

    #[test]
    fn any_bytes_are_a_secrets_file_or_errors_with_their_lines(
        parts in vec(prop_oneof![any_bytes(), select(&LINES[..]).prop_map(Vec::from)], 0..8),
    ) {
        secrets_file::settles(&parts.concat());
    }
}
