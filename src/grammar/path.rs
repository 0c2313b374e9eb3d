//! API paths (pure): checked when they are parsed, percent-encoded when they are sent.

use std::fmt::{self, Write};

use crate::error::Error;

/// A path of Vault's API without `/v1/`, such as `secret/data/app`. It has at least one segment,
/// and no segment is empty, `.` or `..`.
///
/// A URL parser turns `secret/data/../../sys/seal` into `sys/seal`, so anything that it would
/// rewrite is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(String);

impl Path {
    /// Parses a path. Leading, trailing and doubled slashes are dropped, as other clients do.
    ///
    /// # Errors
    /// 78 for no segment, a `.` or `..` segment, a backslash or a control character.
    pub fn parse(text: &str) -> Result<Path, Error> {
        let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        let path = segments.join("/");
        match fault(&path) {
            Some(fault) => Err(Error::config(format!("a path with {fault}"))
                .hint("a path is like secret/data/app")),
            None => Ok(Path(path)),
        }
    }

    /// Returns a path of our own, which needs no check.
    pub fn constant(text: &'static str) -> Path {
        Path(text.to_owned())
    }

    /// Returns this path followed by `below`.
    #[must_use]
    pub fn join(&self, below: &Path) -> Path {
        Path(format!("{self}/{below}"))
    }

    /// Returns the segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns whether the segment after the first `mount` bytes belongs to the API of KV v2
    /// (`data`, `metadata`, `subkeys`) and a secret's path follows it. Such a path is read as it is
    /// written.
    pub fn is_of_kv2_api(&self, mount: usize) -> bool {
        let behind = self.0.get(mount..).and_then(|rest| rest.strip_prefix('/'));
        behind
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(segment, _)| matches!(segment, "data" | "metadata" | "subkeys"))
    }

    /// Returns whether `data` is between other segments, as in the path of a KV v2 secret. A role
    /// of that name comes last.
    pub fn is_like_kv2(&self) -> bool {
        let mut inner = self.segments().skip(1).peekable();
        std::iter::from_fn(|| inner.next().filter(|_| inner.peek().is_some()))
            .any(|segment| segment == "data")
    }

    /// Returns the path of a KV v2 secret: `data` is inserted after the first `mount` bytes, which
    /// end before a `/`. A path that is not longer than its mount is returned unchanged.
    #[must_use]
    pub fn with_data_after(&self, mount: usize) -> Path {
        match (self.0.get(..mount), self.0.get(mount..)) {
            (Some(mount), Some(rest)) if rest.starts_with('/') => {
                Path(format!("{mount}/data{rest}"))
            }
            _ => self.clone(),
        }
    }

    /// Returns the path as text, not encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path as in a URL: every byte except letters, digits and `-._~/` is
    /// percent-encoded (RFC 3986, 2.3).
    pub fn encoded(&self) -> String {
        percent_encoded(self.0.as_bytes(), "-._~/")
    }
}

/// Returns `bytes` with every byte percent-encoded except letters, digits and those in `kept` (RFC
/// 3986, 2.1).
pub(crate) fn percent_encoded(bytes: &[u8], kept: &str) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("nothing in it");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return Some("a backslash or a control character in it");
    }
    path.split('/').find_map(|segment| match segment {
        "." | ".." => Some("a segment that is . or .."),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_and_slashes_beside_slashes_are_dropped() {
        for (text, path) in [
            ("a", "a"),
            ("/a/b", "a/b"),
            ("a/b/", "a/b"),
            ("//a///b//", "a/b"),
            ("a/..b/.c", "a/..b/.c"),
            ("a/%2e%2e", "a/%2e%2e"),
            ("ä/b c", "ä/b c"),
        ] {
            assert_eq!(Path::parse(text).map(|path| path.to_string()), Ok(path.to_owned()));
        }
    }

    #[test]
    fn what_a_url_parser_would_rewrite_is_refused() {
        for text in [
            "", "/", "//", ".", "..", "a/../b", "a//../b", "a/./b", "a/..", "a\\b", "a\nb", "a\0",
            "a\u{7f}", "a\u{85}b",
        ] {
            assert_eq!(Path::parse(text).expect_err(text).code.status(), 78, "{text:?}");
        }
    }

    #[test]
    fn everything_that_a_url_could_take_for_its_own_is_encoded() {
        let encoded = |text| Path::parse(text).expect("a path").encoded();
        assert_eq!(encoded("a b/%2e?x=1&y#z;ä+"), "a%20b/%252e%3Fx%3D1%26y%23z%3B%C3%A4%2B");
        assert_eq!(encoded("Az09-._~/x"), "Az09-._~/x");
    }

    #[test]
    fn data_between_other_segments_looks_like_kv2() {
        for (text, mount, of_api, like_kv2) in [
            ("kv/data/a", 2, true, true),
            ("kv/metadata/a", 2, true, false),
            ("kv/subkeys/a/b", 2, true, false),
            ("kv/config", 2, false, false),
            ("kv/data", 2, false, false),
            ("a/b/data/c", 1, false, true),
            ("a/b/data/c", 3, true, true),
            ("database/creds/data", 8, false, false),
            ("data/a", 4, false, false),
            ("kv/database/a", 2, false, false),
        ] {
            let path = Path::parse(text).expect("a path");
            assert_eq!(
                (path.is_of_kv2_api(mount), path.is_like_kv2()),
                (of_api, like_kv2),
                "{text}"
            );
        }
    }

    #[test]
    fn data_goes_in_after_the_mount() {
        let path = Path::parse("team/kv/app/db").expect("a path");
        assert_eq!(path.with_data_after("team/kv".len()).as_str(), "team/kv/data/app/db");
        assert_eq!(path.with_data_after("team/kv/app/db".len()), path);
        assert_eq!(path.with_data_after(3), path);
    }
}
