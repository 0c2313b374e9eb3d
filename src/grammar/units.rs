//! Parses the text of settings: booleans, durations, numbers, lists of names (pure).
//!
//! On failure each function returns what it expected, for the error that names the setting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Parses `true/false/1/0/t/f/yes/no` in any case.
pub fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err("true or false"),
    }
}

/// Parses `30s`, `500ms`, `1m30s` or `1h`; a bare number is in seconds. Zero is refused, since no
/// setting has a use for it.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a duration above zero such as 30s, 500ms or 1m30s";
    let total = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => sum_of_parts(text),
    };
    total.filter(|total| !total.is_zero()).ok_or(EXPECTED)
}

fn sum_of_parts(mut rest: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest.get(..digits)?.parse().ok()?;
        let unit = rest.get(digits..)?;
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        total = total.checked_add(in_unit(number, unit.get(..length)?)?)?;
        rest = unit.get(length..)?;
    }
    Some(total)
}

fn in_unit(number: u64, unit: &str) -> Option<Duration> {
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Parses a whole number from 0.
pub(crate) fn count(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "a whole number from 0")
}

/// Returns the items of a list separated by commas or line breaks, trimmed and without empty ones.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

/// Returns the lines of a text, trimmed and without empty ones.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Parses the permission bits of a file in octal, such as `0400`.
pub(crate) fn mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or("permission bits in octal, such as 0400")
}

/// Names of variables. Each is exact or, with a `*` at its end, a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

impl Names {
    /// Returns whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the names of a list.
    ///
    /// # Errors
    /// What was expected, if one of them cannot be a name or a prefix: it would silently mean
    /// nothing.
    pub fn add(&mut self, text: &str) -> Result<(), &'static str> {
        if !list(text).all(is_pattern) {
            return Err("names, or PREFIX_*, with commas between them");
        }
        self.0.extend(list(text).map(str::to_owned));
        Ok(())
    }

    /// Returns whether one of the names matches `name`.
    pub fn contain(&self, name: &OsStr) -> bool {
        self.0.iter().any(|item| match item.strip_suffix('*') {
            Some(prefix) => name.as_bytes().starts_with(prefix.as_bytes()),
            None => name == item.as_str(),
        })
    }
}

fn is_pattern(item: &str) -> bool {
    let name = item.strip_suffix('*').unwrap_or(item);
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "*?[];=,:'\"`$".contains(c);
    !name.contains(is_odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_in_every_spelling_and_case() {
        for text in ["true", "TRUE", "True", "t", "T", "1", "yes", "Yes"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["false", "FALSE", "f", "0", "no", "NO"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "on", "off", "y", "2", "tru", " true"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        let milliseconds = |text| duration(text).map(|d| d.as_millis());
        for (text, expected) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("7", 7_000),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "10 s",
            "1s2",
            "0",
            "0s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_match_exactly_or_by_prefix() {
        let mut names = Names::default();
        names.add("A, B_* ,").expect("names");
        for wrong in ["A B", "A;B", "*_B", "A?", "A=b", "A:B", "**"] {
            assert!(Names::default().add(wrong).is_err(), "{wrong}");
        }
        for right in ["", "*", "a.b-c", "BASH_FUNC_x%%", "A\nB"] {
            assert!(Names::default().add(right).is_ok(), "{right}");
        }
        for (name, expected) in
            [("A", true), ("AB", false), ("B_", true), ("B_X", true), ("B", false), ("", false)]
        {
            assert_eq!(names.contain(OsStr::new(name)), expected, "{name}");
        }
    }
}
