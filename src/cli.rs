//! The command line: options, and where the application's own command begins.
//!
//! The options come from the table of names. The command reaches the application byte for byte.

mod help;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::error::Error;
use crate::grammar::nearest::nearest;
use crate::grammar::units;
use crate::settings::layers::Options;
use crate::settings::names::{self, Setting, Takes};

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Start the application.
    Start,
    /// Build the environment, describe it, and start nothing.
    Check,
    /// Make the plan and print it as a policy.
    PrintPolicy,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Print this on stdout and exit with 0: help or version.
    Print(String),
    /// Copy the program to this place.
    Install(PathBuf),
    /// Start this command, or only do some of the steps that lead to its start.
    Run {
        /// How far to go.
        task: Task,
        /// The options.
        options: Options,
        /// The application and its arguments. May be empty, which is an error unless nothing is to
        /// be started.
        command: Vec<OsString>,
    },
}

/// Parses a command line, without the program's own name. If an option is given twice, the last one
/// counts.
///
/// # Errors
/// 64 for an option that is unknown, lacks its value or conflicts with another one.
pub fn parse(arguments: Vec<OsString>) -> Result<Invocation, Error> {
    let mut options = Options::default();
    let mut arguments = arguments.into_iter();
    let mut command = Vec::new();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            break;
        }
        if !is_option(&argument) {
            command.push(argument);
            break;
        }
        let (setting, name, value) = take_apart(&argument)?;
        let value = match (setting.takes, value) {
            (Takes::Switch, None) => {
                no_word_of_a_switch(name, arguments.as_slice().first())?;
                "true".to_owned()
            }
            (Takes::Switch, Some(value)) => switched(name, value)?,
            (_, Some(value)) => value.to_owned(),
            (_, None) => next_value(name, arguments.next())?,
        };
        options.add(name, &value);
    }
    command.extend(arguments);
    invocation(options, command)
}

fn invocation(options: Options, command: Vec<OsString>) -> Result<Invocation, Error> {
    let is_on = |setting: &Setting| {
        let last = setting.option.and_then(|name| options.values(name).last());
        last == Some("true")
    };
    if is_on(&names::HELP) {
        return Ok(Invocation::Print(help::text()));
    }
    if is_on(&names::VERSION) {
        return Ok(Invocation::Print(
            concat!("vault-exec ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        ));
    }
    if let Some(place) = options.values("install").last() {
        return installation(place, is_on(&names::CHECK) || is_on(&names::PRINT_POLICY), &command);
    }
    let task = match (is_on(&names::CHECK), is_on(&names::PRINT_POLICY)) {
        (false, false) => Task::Start,
        (true, false) => Task::Check,
        (false, true) => Task::PrintPolicy,
        (true, true) => {
            return Err(with_help(Error::usage("--check and --print-policy do not go together")));
        }
    };
    Ok(Invocation::Run { task, options, command })
}

fn installation(place: &str, has_task: bool, command: &[OsString]) -> Result<Invocation, Error> {
    if place.is_empty() {
        return Err(wrong("install", "lacks its value"));
    }
    if has_task || !command.is_empty() {
        return Err(wrong("install", "goes with no command, --check or --print-policy"));
    }
    Ok(Invocation::Install(place.into()))
}

/// Returns the option that `argument` names, the option's name, and the value after its `=`.
fn take_apart(argument: &OsStr) -> Result<(&'static Setting, &'static str, Option<&str>), Error> {
    let shown = String::from_utf8_lossy(argument.as_encoded_bytes()).into_owned();
    let word = shown.split('=').next().unwrap_or(&shown);
    let name = if word == "-h" { Some("help") } else { word.strip_prefix("--") };
    let found = name.and_then(names::option).and_then(|setting| Some((setting, setting.option?)));
    let (setting, name) = found.ok_or_else(|| unknown(word))?;
    let value = text(name, argument)?.split_once('=').map(|(_, value)| value);
    Ok((setting, name, value))
}

/// Parses a switch's value as `true` or `false`.
fn switched(name: &str, value: &str) -> Result<String, Error> {
    let on = units::boolean(value)
        .map_err(|expected| wrong(name, &format!("takes no value, or ={expected}")))?;
    Ok(on.to_string())
}

/// Rejects `true` or `false` after a switch: `--upcase true -- app` would run `true`.
fn no_word_of_a_switch(name: &str, next: Option<&OsString>) -> Result<(), Error> {
    let word = next
        .and_then(|word| word.to_str())
        .filter(|word| ["true", "false"].iter().any(|boolean| word.eq_ignore_ascii_case(boolean)));
    match word {
        Some(word) => {
            Err(wrong(name, &format!("and {word} behind it, which would be the command"))
                .hint(format!("write --{name}={word}, or -- before the command")))
        }
        None => Ok(()),
    }
}

/// Returns the word after an option. An empty word is a value, too.
fn next_value(name: &str, word: Option<OsString>) -> Result<String, Error> {
    match word {
        Some(word) if word == "--" => Err(wrong(name, "lacks its value: -- comes behind it")
            .hint(format!("write --{name}=VALUE before the --; --{name}=-- if that is the value"))),
        Some(word) => text(name, &word).map(str::to_owned),
        None => Err(wrong(name, "lacks its value")),
    }
}

fn is_option(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    bytes.len() > 1 && bytes.starts_with(b"-")
}

fn text<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, Error> {
    value.to_str().ok_or_else(|| Error::usage(format!("the value of --{name} is not UTF-8")))
}

/// Makes the error for an unknown option. It does not repeat the option's value: `--token=…` may
/// well hold a secret.
fn unknown(word: &str) -> Error {
    let error = Error::usage(format!("unknown option {word}"));
    let name = word.trim_start_matches('-').to_ascii_lowercase();
    if let Some(variable) = credential_called(&name) {
        return error.hint(format!(
            "a command line is public: credentials are variables or files, {variable} or \
             {variable}_FILE"
        ));
    }
    match nearest(&name, names::ALL.iter().filter_map(|setting| setting.option)) {
        Some(meant) => error.hint(format!("did you mean --{meant}?")),
        None => with_help(error),
    }
}

/// Returns the variable of a credential that somebody tried to give as an option.
fn credential_called(name: &str) -> Option<String> {
    let variable = name.replace('-', "_").to_ascii_uppercase();
    let found = names::credentials().find(|setting| {
        let base = variable.strip_suffix("_FILE").unwrap_or(&variable);
        setting.variables.contains(&base)
    })?;
    Some(format!("VAULT_{}", found.variables.first()?))
}

fn wrong(name: &str, what: &str) -> Error {
    with_help(Error::usage(format!("--{name} {what}")))
}

fn with_help(error: Error) -> Error {
    error.hint("vault-exec --help lists the options; the application's own options go behind `--`")
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn words(line: &[&str]) -> Vec<OsString> {
        line.iter().map(OsString::from).collect()
    }

    fn run(line: &[&str]) -> (Options, Vec<OsString>) {
        match parse(words(line)).expect("parses") {
            Invocation::Run { options, command, .. } => (options, command),
            other => panic!("{other:?}"),
        }
    }

    fn error(line: &[&str]) -> Error {
        parse(words(line)).expect_err("an error")
    }

    fn values<'a>(options: &'a Options, name: &'a str) -> Vec<&'a str> {
        options.values(name).collect()
    }

    #[test]
    fn a_value_stands_behind_a_space_or_an_equals_sign() {
        for line in [
            &["--addr", "http://a", "app"][..],
            &["--addr=http://a", "app"],
            &["--addr", "http://a", "--", "app"],
        ] {
            let (options, command) = run(line);
            assert_eq!((values(&options, "addr"), command), (vec!["http://a"], words(&["app"])));
        }
    }

    #[test]
    fn an_empty_value_and_one_with_an_equals_sign_or_dashes_are_kept() {
        let (options, _) = run(&[
            "--role=",
            "--secret=A=b#c",
            "--secret",
            "--addr",
            "--auth-mount",
            "help",
            "--addr=x",
        ]);
        assert_eq!(values(&options, "role"), [""]);
        assert_eq!(values(&options, "secret"), ["A=b#c", "--addr"]);
        assert_eq!(values(&options, "auth-mount"), ["help"]);
    }

    #[test]
    fn the_command_begins_at_the_first_word_or_after_the_first_double_dash() {
        for (line, command) in [
            (&["app", "--addr", "--", "x"][..], &["app", "--addr", "--", "x"][..]),
            (&["--", "--app"], &["--app"]),
            (&["--upcase", "--", "app", "--", "y"], &["app", "--", "y"]),
            (&["--", "--", "app"], &["--", "app"]),
            (&["-", "x"], &["-", "x"]),
            (&["", "x"], &["", "x"]),
            (&["--"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(run(line).1, words(command), "{line:?}");
        }
    }

    #[test]
    fn the_command_keeps_its_bytes() {
        let odd = OsString::from_vec(vec![b'a', 0xff, b'\n']);
        let Ok(Invocation::Run { command, .. }) = parse(vec![odd.clone(), odd.clone()]) else {
            panic!("no command")
        };
        assert_eq!(command, [odd.clone(), odd]);
    }

    #[test]
    fn switches_are_on_or_off() {
        let (options, _) = run(&["--upcase", "--sanitize=no", "--clean-env=TRUE"]);
        assert_eq!(values(&options, "upcase"), ["true"]);
        assert_eq!(values(&options, "sanitize"), ["false"]);
        assert_eq!(values(&options, "clean-env"), ["true"]);
        assert_eq!(values(&options, "ignore-missing"), Vec::<&str>::new());
    }

    #[test]
    fn the_last_of_two_occurrences_counts() {
        let (options, _) = run(&["--role", "a", "--role=b", "--upcase", "--upcase=false"]);
        assert_eq!(options.values("role").last(), Some("b"));
        assert_eq!(options.values("upcase").last(), Some("false"));
        for (line, expected) in [
            (&["--check", "--check=false", "app"][..], Task::Start),
            (&["--check=no", "--check", "app"], Task::Check),
            (&["--help", "--help=false", "app"], Task::Start),
        ] {
            let Ok(Invocation::Run { task, .. }) = parse(words(line)) else {
                panic!("{line:?} does not run")
            };
            assert_eq!(task, expected, "{line:?}");
        }
    }

    #[test]
    fn a_word_that_would_become_the_command_or_eat_it_is_an_error() {
        for (line, part) in [
            (&["--upcase", "true", "--", "app"][..], "--upcase=true"),
            (&["--check", "FALSE"], "--check=FALSE"),
            (&["--secret", "--", "app"], "--secret=VALUE"),
            (&["--addr", "--"], "--addr=VALUE"),
        ] {
            let error = error(line);
            assert_eq!(error.code.status(), 64, "{line:?}");
            assert!(error.hint.as_deref().is_some_and(|hint| hint.contains(part)), "{error:?}");
        }
        assert_eq!(run(&["--upcase", "--", "true"]).1, words(&["true"]));
        assert_eq!(values(&run(&["--role=--", "app"]).0, "role"), ["--"]);
    }

    #[test]
    fn an_unknown_option_names_the_one_that_was_probably_meant() {
        for (option, meant) in [
            ("--adress", "--addr?"),
            ("--address", "--addr?"),
            ("--secrets", "--secret?"),
            ("--Timeout=s3cret", "--timeout?"),
            ("-timeout", "--timeout?"),
            ("--auth-methd", "--auth-method?"),
            ("--retries", "--max-retries?"),
            ("--loglevel", "--log-level?"),
            ("--nonsense", "--help"),
            ("-x", "--help"),
            ("--passwd-is-this", "--help"),
        ] {
            let error = error(&[option]);
            assert!(error.hint.as_deref().is_some_and(|hint| hint.contains(meant)), "{error:?}");
        }
    }

    #[test]
    fn a_wrong_option_is_a_usage_error_that_names_it_and_repeats_no_value() {
        for (line, part) in [
            (&["--nope=s3cret"][..], "--nope"),
            (&["--token=s3cret"], "--token"),
            (&["-x"], "-x"),
            (&["--addr"], "--addr"),
            (&["--upcase=s3cret"], "--upcase"),
            (&["--add=s3cret"], "--add"),
        ] {
            let error = error(line);
            assert_eq!(error.code.status(), 64, "{line:?}");
            assert!(
                error.message.contains(part) && !format!("{error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn an_option_that_is_not_utf8_is_a_usage_error() {
        let odd = OsString::from_vec(b"--addr=\xff".to_vec());
        assert_eq!(parse(vec![odd]).expect_err("an error").code.status(), 64);
        let odd = OsString::from_vec(vec![0xff]);
        assert_eq!(parse(vec!["--addr".into(), odd]).expect_err("an error").code.status(), 64);
    }

    #[test]
    fn a_task_is_one() {
        for (line, expected) in [
            (&["app"][..], Task::Start),
            (&["--check"], Task::Check),
            (&["--print-policy", "--", "app"], Task::PrintPolicy),
            (&["--check=false", "--print-policy"], Task::PrintPolicy),
        ] {
            let Ok(Invocation::Run { task, .. }) = parse(words(line)) else {
                panic!("{line:?} does not run")
            };
            assert_eq!(task, expected, "{line:?}");
        }
        assert_eq!(error(&["--check", "--print-policy"]).code.status(), 64);
    }

    #[test]
    fn help_and_version_are_for_stdout() {
        for line in [&["--help"][..], &["--addr", "x", "--help"], &["-h"], &["--version"]] {
            let Ok(Invocation::Print(text)) = parse(words(line)) else {
                panic!("{line:?} prints nothing")
            };
            assert!(text.contains("vault-exec"), "{text}");
        }
    }
}
