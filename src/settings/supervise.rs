//! The settings of `--supervise`: whether to stay, and what to do meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::error::{Error, Errors};
use crate::grammar::units;
use crate::settings::layers::Layers;
use crate::settings::names::{
    ON_CHANGE, ON_EXPIRY, ON_FILE_CHANGE, REFRESH, REPLACE_BEFORE, SIGNAL_GROUP, SPLAY,
    STATUS_FILE, STOP_SIGNAL, STOP_TIMEOUT, SUPERVISE, Setting,
};
use crate::settings::{choice, flag, one_of, text};

/// How to stay beside the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervise {
    /// How often to check KV.
    pub refresh: Option<Duration>,
    /// What to do when a secret changes.
    pub on_change: OnChange,
    /// What to do when a change affects only files.
    pub on_file_change: OnChange,
    /// What to do when credentials end and could not be replaced.
    pub on_expiry: OnExpiry,
    /// How long before an end that cannot be moved the credentials are replaced, at least.
    pub replace_before: Option<Duration>,
    /// The signal that stops the application.
    pub stop_signal: i32,
    /// How long the application may take to stop.
    pub stop_timeout: Duration,
    /// The longest random wait before acting.
    pub splay: Duration,
    /// Whether signals go to the application's whole group.
    pub signal_group: bool,
    /// Where the state is written.
    pub status_file: Option<PathBuf>,
}

/// What to do after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnChange {
    /// Replace the application.
    Restart,
    /// Send it a signal.
    Signal(i32),
    /// Run a program.
    Exec(Vec<String>),
    /// Stop the application and exit with this status.
    Exit(u8),
    /// Do nothing.
    Nothing,
}

/// What to do when credentials end and could not be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpiry {
    /// Do nothing: the application knows best.
    Keep,
    /// Stop the application and exit with this status.
    Exit(u8),
}

/// `EX_TEMPFAIL`: our exit status if none is given.
pub(crate) const TEMPORARY: u8 = 75;
/// The shortest time between two checks.
const SHORTEST_REFRESH: Duration = Duration::from_secs(10);
const STOP_AFTER: Duration = Duration::from_secs(30);

/// Parses the settings of this mode.
///
/// # Errors
/// 78 for each setting that cannot be parsed, and for each one that is set without `--supervise`.
pub(super) fn understand(layers: &Layers<'_>) -> Result<Option<Supervise>, Errors> {
    if !flag(layers, &SUPERVISE, false)? {
        return without(layers).map(|()| None);
    }
    let mut errors = Errors::default();
    let on_change = errors.keep(choice(layers, &ON_CHANGE, on_change, OnChange::Restart));
    let on_change = on_change.unwrap_or(OnChange::Restart);
    let on_file = errors.keep(choice(layers, &ON_FILE_CHANGE, self::on_change, on_change.clone()));
    let duration = |setting, default| choice(layers, setting, units::duration, default);
    let supervise = Supervise {
        refresh: errors.keep(choice(layers, &REFRESH, refresh, None)).flatten(),
        on_file_change: on_file.unwrap_or(OnChange::Restart),
        on_change,
        on_expiry: errors
            .keep(choice(layers, &ON_EXPIRY, on_expiry, OnExpiry::Keep))
            .unwrap_or(OnExpiry::Keep),
        replace_before: errors.keep(one_of(layers, &REPLACE_BEFORE, units::duration)).flatten(),
        stop_signal: errors
            .keep(choice(layers, &STOP_SIGNAL, signal, Signal::SIGTERM as i32))
            .unwrap_or(Signal::SIGTERM as i32),
        stop_timeout: errors.keep(duration(&STOP_TIMEOUT, STOP_AFTER)).unwrap_or(STOP_AFTER),
        splay: errors.keep(duration(&SPLAY, Duration::ZERO)).unwrap_or_default(),
        signal_group: errors.keep(flag(layers, &SIGNAL_GROUP, false)).unwrap_or_default(),
        status_file: errors.keep(text(layers, &STATUS_FILE)).flatten().map(PathBuf::from),
    };
    errors.or(Some(supervise))
}

/// The settings that have an effect only with `--supervise`.
const OURS: [&Setting; 10] = [
    &REFRESH,
    &ON_CHANGE,
    &ON_FILE_CHANGE,
    &ON_EXPIRY,
    &REPLACE_BEFORE,
    &STOP_SIGNAL,
    &STOP_TIMEOUT,
    &SPLAY,
    &SIGNAL_GROUP,
    &STATUS_FILE,
];

fn without(layers: &Layers<'_>) -> Result<(), Errors> {
    let found = OURS.iter().filter_map(|setting| layers.one(setting));
    let wrong = found.map(|found| {
        Error::config(format!("{} is set, and --supervise is not", found.origin))
            .hint("set --supervise (VAULT_EXEC_SUPERVISE) as well, or leave it out")
    });
    let wrong: Vec<Error> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(Errors(wrong)) }
}

fn refresh(text: &str) -> Result<Option<Duration>, &'static str> {
    const EXPECTED: &str = "off, or a duration of at least 10s";
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    match units::duration(text) {
        Ok(interval) if interval >= SHORTEST_REFRESH => Ok(Some(interval)),
        _ => Err(EXPECTED),
    }
}

fn on_change(text: &str) -> Result<OnChange, &'static str> {
    const EXPECTED: &str = "restart, signal:NAME, exec:PROGRAM ARGUMENTS, exit, exit:CODE or none";
    match text.split_once(':') {
        None if text == "restart" => Ok(OnChange::Restart),
        None if text == "none" => Ok(OnChange::Nothing),
        Some(("signal", name)) => signal(name).map(OnChange::Signal),
        Some(("exec", command)) => {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            if words.is_empty() { Err(EXPECTED) } else { Ok(OnChange::Exec(words)) }
        }
        _ => exit(text).map(OnChange::Exit).ok_or(EXPECTED),
    }
}

fn on_expiry(text: &str) -> Result<OnExpiry, &'static str> {
    if text == "keep" {
        return Ok(OnExpiry::Keep);
    }
    exit(text).map(OnExpiry::Exit).ok_or("keep, exit or exit:CODE")
}

/// Parses `exit`, or `exit:CODE` with a valid exit status.
fn exit(text: &str) -> Option<u8> {
    match text.split_once(':') {
        None => (text == "exit").then_some(TEMPORARY),
        Some(("exit", code)) => code.parse().ok(),
        Some(_) => None,
    }
}

/// Parses a signal from its name, with or without `SIG`, or from its number.
fn signal(text: &str) -> Result<i32, &'static str> {
    const EXPECTED: &str = "a signal, such as HUP or SIGHUP";
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) { Ok(number) } else { Err(EXPECTED) };
    }
    let name = text.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse::<Signal>().map(|signal| signal as i32).map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::layers::Options;

    fn understood(options: &[(&'static str, &str)]) -> Result<Option<Supervise>, Errors> {
        understand(&Layers { options: &Options::of(options), environment: &[], files: &[] })
    }

    #[test]
    fn each_option_has_its_default_and_its_values() {
        let settings = understood(&[("supervise", "true")]).expect("settings").expect("asked for");
        assert_eq!(settings.on_change, OnChange::Restart);
        assert_eq!((settings.stop_signal, settings.stop_timeout), (15, STOP_AFTER));
        assert_eq!((settings.refresh, settings.on_expiry), (None, OnExpiry::Keep));
        assert_eq!(understood(&[]).expect("settings"), None);
        for (text, expected) in [
            ("none", OnChange::Nothing),
            ("signal:HUP", OnChange::Signal(1)),
            ("signal:sigusr1", OnChange::Signal(10)),
            ("signal:34", OnChange::Signal(34)),
            (
                "exec: nginx -s reload",
                OnChange::Exec(vec!["nginx".into(), "-s".into(), "reload".into()]),
            ),
            ("exit", OnChange::Exit(TEMPORARY)),
            ("exit:3", OnChange::Exit(3)),
        ] {
            let options = [("supervise", "true"), ("on-change", text)];
            let settings = understood(&options).expect(text).expect("asked for");
            assert_eq!((&settings.on_change, &settings.on_file_change), (&expected, &expected));
        }
    }

    #[test]
    fn a_value_that_means_nothing_is_an_error() {
        for (option, text) in [
            ("refresh", "9s"),
            ("refresh", "0"),
            ("on-change", "reload"),
            ("on-change", "signal:NO"),
            ("on-change", "signal:0"),
            ("on-change", "signal:65"),
            ("on-change", "exec:"),
            ("on-change", "exit:256"),
            ("on-change", "none:1"),
            ("on-expiry", "restart"),
            ("stop-signal", ""),
            ("stop-timeout", "soon"),
            ("replace-before", "-1"),
        ] {
            let errors = understood(&[("supervise", "true"), (option, text)]);
            if text.is_empty() {
                continue;
            }
            let errors = errors.expect_err(text).0;
            assert!(errors[0].message.starts_with(&format!("--{option}")), "{errors:?}");
        }
    }

    #[test]
    fn an_option_of_this_mode_is_an_error_without_it() {
        for setting in OURS {
            let name = setting.option.expect("each has one");
            let errors = understood(&[(name, "x")]).expect_err(name).0;
            assert!(errors[0].message.starts_with(&format!("--{name} is set")), "{errors:?}");
        }
    }
}
