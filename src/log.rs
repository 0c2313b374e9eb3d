//! Our own log records, written to stderr in a way that can never stop a start.
//!
//! A line that cannot be written at once is dropped. The flags of the descriptor are left alone:
//! `O_NONBLOCK` belongs to the open file, which the application shares, so `poll` is used to ask
//! for readiness instead.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::SystemTime;

use log::kv::Key;
use log::{LevelFilter, Log, Metadata, Record};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::date::rfc3339_millis;
use crate::error::{Code, Error, Errors};
use crate::printable::{MOST, bounded};
use crate::process::reap;

/// Parses the name of a level.
///
/// # Errors
/// What was expected.
pub(crate) fn level(text: &str) -> Result<LevelFilter, &'static str> {
    if text.eq_ignore_ascii_case("warning") {
        return Ok(LevelFilter::Warn);
    }
    text.parse().map_err(|_| "off, error, warn, info, debug or trace")
}

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `vault-exec: warn: …`
    Text,
    /// One JSON object per line, with `time`, `level` and `message`.
    Json,
}

impl Format {
    /// Parses the name of a format.
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

/// How our own log records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The lowest level that is shown.
    pub level: LevelFilter,
    /// The format of a record.
    pub format: Format,
}

impl Default for LogSettings {
    fn default() -> LogSettings {
        LogSettings { level: LevelFilter::Warn, format: Format::Text }
    }
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts the log. Only records of this program are shown, at any level: those of the HTTP and TLS
/// libraries would show the data that is sent. `RUST_LOG` belongs to the application and is not
/// read.
pub(crate) fn start(settings: LogSettings) {
    let logger = LOGGER.get_or_init(|| Logger(settings));
    if log::set_logger(logger).is_ok() {
        log::set_max_level(settings.level);
    }
}

/// Reports every failure: one line each, and a second line with what to do about it.
pub(crate) fn report(errors: &Errors) {
    for Error { message, hint, .. } in &errors.0 {
        match hint {
            Some(hint) => log::error!(hint = hint.as_str(); "{message}"),
            None => log::error!("{message}"),
        }
    }
}

/// Makes a bug end the process with 70 and print the place of the bug. The panic's own message is
/// not shown, because it may quote a value.
pub fn report_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        // The log may not have been started yet.
        start(LogSettings::default());
        let place = panic.location().map(|place| format!(" at {place}")).unwrap_or_default();
        log::error!(
            hint = "please report it with the version and this place";
            "a bug of vault-exec{place}"
        );
        // A bug in the supervisor does not end the application.
        reap::keep();
        std::process::exit(Code::Internal.status().into());
    }));
}

struct Logger(LogSettings);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_own = metadata.target().split("::").next() == Some("vault_exec");
        is_own && metadata.level() <= self.0.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            write(line(self.0.format, record).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// Formats the lines of a record. They are written in one write that a pipe takes whole, since half
/// a line of JSON would be invalid.
fn line(format: Format, record: &Record<'_>) -> String {
    let level = record.level().as_str().to_ascii_lowercase();
    let message = record.args().to_string();
    let hint = record.key_values().get(Key::from("hint")).map(|hint| hint.to_string());
    let shown = |most: usize| {
        let hint = hint.as_deref().map(|hint| bounded(hint, most));
        match format {
            Format::Text => text_line(&level, &bounded(&message, most), hint.as_deref()),
            Format::Json => json_line(&level, &bounded(&message, most), hint.as_deref()),
        }
    };
    let line = shown(MOST);
    // Escaping doubles the bytes of a text.
    if line.len() <= PIPE_BUF { line } else { shown(MOST / 2) }
}

fn text_line(level: &str, message: &str, hint: Option<&str>) -> String {
    let hint = hint.map(|hint| format!("vault-exec:   {hint}\n")).unwrap_or_default();
    format!("vault-exec: {level}: {message}\n{hint}")
}

fn json_line(level: &str, message: &str, hint: Option<&str>) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, text: &str| object.insert(name.to_owned(), text.into());
    if let Some(time) = rfc3339_millis(SystemTime::now()) {
        put("time", &time);
    }
    put("level", level);
    put("message", message);
    put("program", "vault-exec");
    if let Some(hint) = hint {
        put("hint", hint);
    }
    format!("{}\n", serde_json::Value::Object(object))
}

/// `PIPE_BUF` of Linux: a pipe that is ready takes this much without blocking (pipe(7)).
const PIPE_BUF: usize = 4096;

/// Writes to standard error as much as it takes at once.
fn write(bytes: &[u8]) {
    let stderr = io::stderr();
    for chunk in bytes.chunks(PIPE_BUF) {
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::ZERO).unwrap_or(0) == 1;
        if !ready || nix::unistd::write(&stderr, chunk).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Level;
    use serde_json::Value;

    use super::*;

    fn written(format: Format, message: &str, hint: Option<&str>) -> String {
        let pairs = hint.map(|hint| ("hint", hint));
        let record = |message: std::fmt::Arguments<'_>| {
            let mut record = Record::builder();
            record.level(Level::Warn).args(message);
            match &pairs {
                Some(pair) => line(format, &record.key_values(pair).build()),
                None => line(format, &record.build()),
            }
        };
        record(format_args!("{message}"))
    }

    #[test]
    fn text_has_a_line_for_the_message_and_one_for_the_hint_whatever_is_in_them() {
        assert_eq!(
            written(Format::Text, "a\nb\x1b[1m", Some("c\nd")),
            "vault-exec: warn: a\\nb\\u{1b}[1m\nvault-exec:   c\\nd\n"
        );
        assert_eq!(written(Format::Text, "a", None), "vault-exec: warn: a\n");
    }

    #[test]
    fn json_is_one_object_a_line_and_has_a_hint_only_where_there_is_one() {
        for (message, hint) in [("a \"b\"", Some("c")), ("a\nb", None), ("a", Some("b\nc"))] {
            let line = written(Format::Json, message, hint);
            let value: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(value["message"], bounded(message, MOST));
            assert_eq!(value.get("hint"), hint.map(|hint| bounded(hint, MOST).into()).as_ref());
            let time = value["time"].as_str().expect("a time");
            assert!(
                time.len() == "2026-01-01T00:00:00.000Z".len() && time.ends_with('Z'),
                "{time}"
            );
            assert_eq!(line.matches('\n').count(), 1);
        }
    }

    #[test]
    fn a_record_is_one_write_however_long_its_texts_are() {
        for text in ["x".repeat(10_000), "\"\\".repeat(10_000), "\u{202e}".repeat(10_000)] {
            for format in [Format::Text, Format::Json] {
                let line = written(format, &text, Some(&text));
                assert!(line.len() <= PIPE_BUF && line.ends_with('\n'), "{}", line.len());
            }
        }
    }

    #[test]
    fn levels_and_formats() {
        for name in ["off", "ERROR", "Warn", "warning", "info", "debug", "trace"] {
            assert!(level(name).is_ok(), "{name}");
        }
        assert!(level("").is_err() && level("verbose").is_err() && Format::parse("xml").is_err());
        assert_eq!(Format::parse("JSON"), Ok(Format::Json));
    }
}
