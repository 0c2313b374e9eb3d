//! The command line: options, and where the application's own command begins.
//!
//! argh reads text only and knows `--name value` only, so the arguments are divided and
//! `--name=value` is taken apart before it sees them; the command reaches the application byte for
//! byte.

use std::ffi::{OsStr, OsString};

use argh::{ArgsInfo, FlagInfoKind, FromArgs, Optionality};

use crate::error::Error;
use crate::grammar::units;

const NAME: &str = "vault-exec";

/// Log in to Vault or OpenBao, put secrets into the environment, and become the application.
#[derive(ArgsInfo, FromArgs, Debug, Default)]
#[argh(
    usage = "[options] [--] command [argument ...]",
    note = "Every option has a variable, in parentheses; BAO_X goes before VAULT_X.",
    note = "Credentials are variables or files, never options: VAULT_TOKEN[_FILE], \
            VAULT_ROLE_ID[_FILE], VAULT_SECRET_ID[_FILE].",
    note = "References: NAME=vault:PATH#KEY[#VERSION][:-DEFAULT], vault?: where it may be \
            missing, >>vault:PATH#KEY[#JSON] writes.",
    note = "In a text: NAME=https://${{vault:PATH#USER}}:${{vault:PATH#PASSWORD}}@host. \
            Ciphertexts: NAME=vault:v1:… with VAULT_TRANSIT_KEY_ID.",
    example = "VAULT_ADDR=https://vault:8200 VAULT_ROLE_ID=… VAULT_SECRET_ID_FILE=/run/secret-id \
               DB_PASSWORD=vault:secret/app#password {command_name} -- python app.py"
)]
struct Parsed {
    /// server: http(s)://host[:port][/prefix] or unix:///path (VAULT_ADDR)
    #[argh(option)]
    addr: Option<String>,
    /// namespace for login and secrets (VAULT_NAMESPACE)
    #[argh(option)]
    namespace: Option<String>,
    /// token, approle, kubernetes, …; inferred where that is safe (VAULT_AUTH_METHOD)
    #[argh(option)]
    auth_method: Option<String>,
    /// where the method is mounted; its own name (VAULT_AUTH_MOUNT)
    #[argh(option)]
    auth_mount: Option<String>,
    /// role, for the methods that have one (VAULT_ROLE)
    #[argh(option)]
    role: Option<String>,
    /// import [NAME=]path[#key[#version]], path##version or 'PREFIX_*=path'; repeatable
    /// (VAULT_EXEC_SECRETS, a comma list)
    #[argh(option)]
    secret: Vec<String>,
    /// import what a vaultenv secrets file lists (VAULT_EXEC_SECRETS_FILE)
    #[argh(option)]
    secrets_file: Option<String>,
    /// settings and variables for one environment; repeatable, a later file wins
    /// (VAULT_EXEC_ENV_FILE, a comma list)
    #[argh(option)]
    env_file: Vec<String>,
    /// no detection: all KV mounts have this version, 1 or 2 (VAULT_EXEC_KV_VERSION)
    #[argh(option)]
    kv_version: Option<String>,
    /// an imported name that exists already: error, keep or overwrite (VAULT_EXEC_ON_CONFLICT)
    #[argh(option)]
    on_conflict: Option<String>,
    /// imported names in upper case (VAULT_EXEC_UPCASE)
    #[argh(switch)]
    upcase: bool,
    /// imported names with _ for every character outside [A-Za-z0-9_] (VAULT_EXEC_SANITIZE)
    #[argh(switch)]
    sanitize: bool,
    /// leave a variable out, with a warning, where its path, version or key is missing
    /// (VAULT_IGNORE_MISSING_SECRETS)
    #[argh(switch)]
    ignore_missing: bool,
    /// names, or PREFIX_*, whose values are never interpreted; repeatable (VAULT_EXEC_LITERAL)
    #[argh(option)]
    literal: Vec<String>,
    /// pass on fetched variables, those of env files, PATH and --keep ones only
    /// (VAULT_EXEC_CLEAN_ENV)
    #[argh(switch)]
    clean_env: bool,
    /// VAULT_* and BAO_* names, or PREFIX_*, not to strip; repeatable (VAULT_EXEC_KEEP)
    #[argh(option)]
    keep: Vec<String>,
    /// revoke the token before the start: auto, true or false (VAULT_REVOKE_TOKEN)
    #[argh(option)]
    revoke: Option<String>,
    /// one deadline over everything until the start; 60s (VAULT_EXEC_TIMEOUT)
    #[argh(option)]
    timeout: Option<String>,
    /// tries after the first one of a request; until the deadline (VAULT_MAX_RETRIES)
    #[argh(option)]
    max_retries: Option<String>,
    /// unlink credential files after a successful login (VAULT_EXEC_REMOVE_CREDENTIAL_FILES)
    #[argh(switch)]
    remove_credential_files: bool,
    /// fetch everything and start nothing: a line for each variable with its source, version,
    /// lease and TTL, no value
    #[argh(switch)]
    check: bool,
    /// print the least-privilege policy for these settings, without asking Vault
    #[argh(switch)]
    print_policy: bool,
    /// off, error, warn, info, debug or trace; warn (VAULT_EXEC_LOG)
    #[argh(option)]
    log_level: Option<String>,
    /// text or json; text (VAULT_EXEC_LOG_FORMAT)
    #[argh(option)]
    log_format: Option<String>,
    /// print the version
    #[argh(switch)]
    version: bool,
    /// the application and its arguments, after `--` or from the first word that is no option
    #[argh(positional, greedy)]
    #[allow(
        dead_code,
        reason = "stands in the usage line; the command itself is never given to argh"
    )]
    command: Vec<String>,
}

/// What the options say, by their names without the dashes.
#[derive(Debug, Default)]
pub struct Options(Vec<(&'static str, String)>);

impl Options {
    /// Every value given to the option `name`, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    /// Sets options as a command line would.
    #[cfg(test)]
    pub fn of(values: &[(&'static str, &str)]) -> Options {
        Options(values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }
}

/// How far a start goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// To the application.
    Start,
    /// To its environment, which is described and not used.
    Check,
    /// To the plan, which is printed as a policy.
    PrintPolicy,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Print this on stdout and end with 0: help or version.
    Print(String),
    /// Start this command, or do what leads to its start.
    Run {
        /// How far to go.
        task: Task,
        /// The options.
        options: Options,
        /// The application and its arguments; may be empty, which is an error unless nothing is to
        /// be started.
        command: Vec<OsString>,
    },
}

/// Reads a command line, without the program's own name.
///
/// # Errors
/// 64 for an option that is unknown, repeated, lacks its value or does not go with another one.
pub fn parse(arguments: Vec<OsString>) -> Result<Invocation, Error> {
    let (words, mut options, command) = divide(arguments)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let parsed = match Parsed::from_args(&[NAME], &words) {
        Ok(parsed) => parsed,
        Err(exit) if exit.status.is_ok() => return Ok(Invocation::Print(exit.output)),
        Err(exit) => return Err(with_help(Error::usage(exit.output.trim().replace('\n', " ")))),
    };
    if parsed.version {
        return Ok(Invocation::Print(
            concat!("vault-exec ", env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        ));
    }
    let task = parsed.task()?;
    options.0.extend(parsed.into_pairs());
    Ok(Invocation::Run { task, options, command })
}

impl Parsed {
    fn task(&self) -> Result<Task, Error> {
        match (self.check, self.print_policy) {
            (false, false) => Ok(Task::Start),
            (true, false) => Ok(Task::Check),
            (false, true) => Ok(Task::PrintPolicy),
            (true, true) => {
                Err(with_help(Error::usage("--check and --print-policy do not go together")))
            }
        }
    }

    fn into_pairs(self) -> impl Iterator<Item = (&'static str, String)> {
        let single = [
            ("addr", self.addr),
            ("namespace", self.namespace),
            ("auth-method", self.auth_method),
            ("auth-mount", self.auth_mount),
            ("role", self.role),
            ("secrets-file", self.secrets_file),
            ("kv-version", self.kv_version),
            ("on-conflict", self.on_conflict),
            ("revoke", self.revoke),
            ("timeout", self.timeout),
            ("max-retries", self.max_retries),
            ("log-level", self.log_level),
            ("log-format", self.log_format),
        ];
        let switches = [
            ("upcase", self.upcase),
            ("sanitize", self.sanitize),
            ("ignore-missing", self.ignore_missing),
            ("clean-env", self.clean_env),
            ("remove-credential-files", self.remove_credential_files),
        ];
        let repeated = [
            ("secret", self.secret),
            ("env-file", self.env_file),
            ("literal", self.literal),
            ("keep", self.keep),
        ];
        let single = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let switches =
            switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true".to_owned()));
        single.chain(switches).chain(
            repeated
                .into_iter()
                .flat_map(|(name, values)| values.into_iter().map(move |value| (name, value))),
        )
    }
}

/// Our own words for argh, the switches that were turned off, and the application's command.
fn divide(arguments: Vec<OsString>) -> Result<(Vec<String>, Options, Vec<OsString>), Error> {
    let mut words = Vec::new();
    let mut off = Options::default();
    let mut given = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            break;
        }
        if !is_option(&argument) {
            return Ok((words, off, std::iter::once(argument).chain(arguments).collect()));
        }
        let (flag, value) = take_apart(&argument)?;
        match (flag.is_switch, value) {
            (true, None | Some("true")) => words.push(flag.dashed()),
            (true, Some(_)) => off.0.push((flag.name, "false".to_owned())),
            (false, Some(value)) => words.extend([flag.once(&mut given)?, value.to_owned()]),
            (false, None) => {
                let value = arguments.next().ok_or_else(|| flag.wrong("lacks its value"))?;
                words.extend([flag.once(&mut given)?, text(flag.name, &value)?.to_owned()]);
            }
        }
    }
    Ok((words, off, arguments.collect()))
}

/// One of our options.
struct Flag {
    /// Without its dashes.
    name: &'static str,
    is_switch: bool,
    is_repeatable: bool,
}

impl Flag {
    fn dashed(&self) -> String {
        format!("--{}", self.name)
    }

    /// The option as a word, where it has not been given before or may be again. argh would repeat
    /// its value.
    fn once(&self, given: &mut Vec<&'static str>) -> Result<String, Error> {
        if given.contains(&self.name) && !self.is_repeatable {
            return Err(self.wrong("is given more than once"));
        }
        given.push(self.name);
        Ok(self.dashed())
    }

    fn wrong(&self, what: &str) -> Error {
        with_help(Error::usage(format!("--{} {what}", self.name)))
    }
}

/// The option that `argument` names, and the value after its `=`; a switch's value comes as `true`
/// or `false`.
fn take_apart(argument: &OsStr) -> Result<(Flag, Option<&str>), Error> {
    let shown = String::from_utf8_lossy(argument.as_encoded_bytes()).into_owned();
    let name = shown.split('=').next().unwrap_or_default();
    let flag = find(name).ok_or_else(|| unknown(name))?;
    let value = text(flag.name, argument)?.split_once('=').map(|(_, value)| value);
    match value.filter(|_| flag.is_switch).map(units::boolean) {
        Some(Ok(on)) => Ok((flag, Some(if on { "true" } else { "false" }))),
        Some(Err(expected)) => Err(flag.wrong(&format!("takes no value, or {expected}"))),
        None => Ok((flag, value)),
    }
}

fn find(name: &str) -> Option<Flag> {
    if name == "--help" || name == "-h" {
        return Some(Flag { name: "help", is_switch: true, is_repeatable: true });
    }
    let flag = Parsed::get_args_info().flags.iter().find(|flag| flag.long == name)?;
    Some(Flag {
        name: flag.long.trim_start_matches('-'),
        is_switch: flag.kind == FlagInfoKind::Switch,
        is_repeatable: flag.optionality == Optionality::Repeating,
    })
}

fn is_option(argument: &OsStr) -> bool {
    let bytes = argument.as_encoded_bytes();
    bytes.len() > 1 && bytes.starts_with(b"-")
}

fn text<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, Error> {
    value.to_str().ok_or_else(|| Error::usage(format!("the value of --{name} is not UTF-8")))
}

/// The value of an unknown option is not repeated: `--token=…` may well hold one.
fn unknown(name: &str) -> Error {
    let error = Error::usage(format!("unknown option {name}"));
    let credential = ["token", "secret-id", "role-id", "password", "jwt", "wrapped-secret-id"];
    if credential.contains(&name.trim_start_matches('-')) {
        return error.hint(
            "a command line is public: credentials are variables or files, such as VAULT_TOKEN or \
             VAULT_TOKEN_FILE",
        );
    }
    with_help(error)
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
            Invocation::Print(text) => panic!("prints {text}"),
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
    fn a_wrong_option_is_a_usage_error_that_names_it_and_repeats_no_value() {
        for (line, part) in [
            (&["--nope=s3cret"][..], "--nope"),
            (&["--token=s3cret"], "--token"),
            (&["-x"], "-x"),
            (&["--addr"], "--addr"),
            (&["--addr=a", "--addr=s3cret"], "--addr"),
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
