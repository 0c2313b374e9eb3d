//! Our own records, on stderr, in a way that can never stop a start.
//!
//! A line that cannot be written now is dropped. The descriptor's flags are left alone:
//! `O_NONBLOCK` belongs to the open file, which the application shares, so readiness is asked for
//! with `poll` instead.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Code, Error, Errors};
use crate::process::reap;

/// How much of the log is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing, errors not either.
    Off,
    /// Why a start failed.
    Error,
    /// What an operator should look at.
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Understands the name of a level.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Level, &'static str> {
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(Level::Off),
            "error" => Ok(Level::Error),
            "warn" | "warning" => Ok(Level::Warn),
            "info" => Ok(Level::Info),
            "debug" => Ok(Level::Debug),
            "trace" => Ok(Level::Trace),
            _ => Err("off, error, warn, info, debug or trace"),
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::Off => LevelFilter::Off,
            Level::Error => LevelFilter::Error,
            Level::Warn => LevelFilter::Warn,
            Level::Info => LevelFilter::Info,
            Level::Debug => LevelFilter::Debug,
            Level::Trace => LevelFilter::Trace,
        }
    }
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `vault-exec: warn: …`
    Text,
    /// One JSON object a line, with `level` and `message`.
    Json,
}

impl Format {
    /// Understands the name of a format.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Format, &'static str> {
        match text.to_ascii_lowercase().as_str() {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("text or json"),
        }
    }
}

/// How our own records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// From which level on.
    pub level: Level,
    /// In which form.
    pub format: Format,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { level: Level::Warn, format: Format::Text }
    }
}

/// Starts the log. Only records of this program are shown, whatever the level: those of the HTTP
/// and TLS libraries would show what is sent. `RUST_LOG` is the application's and is not read.
pub fn start(settings: LogSettings) {
    let format = settings.format;
    let logger = Builder::new()
        .filter_level(LevelFilter::Off)
        .filter_module("vault_exec", settings.level.filter())
        .target(Target::Pipe(Box::new(Stderr)))
        .format(move |out, record| out.write_all(line(format, record).as_bytes()))
        .try_init();
    if logger.is_err() {
        log::debug!("the log was started twice");
    }
}

/// Reports every failure: one line each, and a second one with what to do about it.
pub fn report(errors: &Errors) {
    for Error { message, hint, .. } in &errors.0 {
        match hint {
            // The line break divides the two: see `line`.
            Some(hint) => log::error!("{}\n{hint}", printable(message)),
            None => log::error!("{}", printable(message)),
        }
    }
}

/// Makes a bug end the process with 70 and the place of it. The panic's own message is not shown:
/// it may quote a value.
pub fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        // It may be too early for the log to have been started.
        start(LogSettings::default());
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        log::error!(
            "a bug of vault-exec at {place}\nplease report it with the version and this place"
        );
        // A bug of the supervisor's does not end the application.
        reap::keep();
        std::process::exit(Code::Internal.status().into());
    }));
}

fn line(format: Format, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let text = record.args().to_string();
    let (message, hint) = match text.split_once('\n') {
        Some((message, hint)) => (message, Some(hint)),
        None => (text.as_str(), None),
    };
    match format {
        Format::Text => text_line(&level, message, hint),
        Format::Json => json_line(&level, message, hint),
    }
}

/// A message may quote a server: a line break or an escape sequence in it would forge lines of the
/// log.
fn text_line(level: &str, message: &str, hint: Option<&str>) -> String {
    let mut line = format!("vault-exec: {level}: {}\n", printable(message));
    if let Some(hint) = hint {
        let _ = writeln!(line, "vault-exec:   {}", printable(hint));
    }
    line
}

fn json_line(level: &str, message: &str, hint: Option<&str>) -> String {
    let mut object =
        serde_json::json!({ "level": level, "message": message, "program": "vault-exec" });
    if let (Some(hint), Some(fields)) = (hint, object.as_object_mut()) {
        fields.insert("hint".to_owned(), hint.into());
    }
    format!("{object}\n")
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Standard error, written to only where it takes what is written at once.
struct Stderr;

/// `PIPE_BUF` of Linux: a pipe that is ready takes this much without blocking (pipe(7)).
const PIPE_BUF: usize = 4096;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        for chunk in bytes.chunks(PIPE_BUF) {
            let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
            let ready = poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) == 1;
            if !ready || nix::unistd::write(&stderr, chunk).is_err() {
                break;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_line_for_the_message_and_one_for_the_hint_whatever_is_in_them() {
        assert_eq!(
            text_line("error", "a\nb\x1b[1m", Some("c")),
            "vault-exec: error: a b [1m\nvault-exec:   c\n"
        );
        assert_eq!(text_line("info", "a", None), "vault-exec: info: a\n");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let line = json_line("warn", "a \"b\"\n", Some("c"));
        let value: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            (value["message"].as_str(), value["hint"].as_str()),
            (Some("a \"b\"\n"), Some("c"))
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn levels_and_formats() {
        for name in ["off", "ERROR", "Warn", "warning", "info", "debug", "trace"] {
            assert!(Level::parse(name).is_ok(), "{name}");
        }
        assert!(
            Level::parse("").is_err()
                && Level::parse("verbose").is_err()
                && Format::parse("xml").is_err()
        );
        assert_eq!(Format::parse("JSON"), Ok(Format::Json));
    }
}
