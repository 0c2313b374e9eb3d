//! The grammar of vaultenv's secrets files, versions 1 and 2 (pure).
//!
//! ```text
//! version 1: { [NAME "="] path "#" key NEWLINE }
//! version 2: "VERSION" "2" NEWLINE { "MOUNT" mount NEWLINE { [NAME "="] path "#" key NEWLINE } }
//! ```
//!
//! As in vaultenv's `SecretsFile.hs`: the mount of version 1 is `secret`; white space is allowed at
//! the ends of a line and after `=` and `#`; path, mount and key contain no white space, control
//! character, `#` or `=`. Without a NAME the variable is named after path and key, or in version 2
//! after mount, path and key. Unlike in vaultenv, the last line needs no line break, and a keyword
//! must be a whole word: `MOUNTsecret` is not a mount.

use crate::error::{Error, Errors};
use crate::grammar::import::{Import, Keys};
use crate::grammar::path::Path;

/// One secret of a secrets file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The number of the line in the file, from 1.
    pub number: usize,
    /// What the line imports: one key, by its name.
    pub import: Import,
    /// How many bytes of the import's path belong to the mount.
    pub mount: usize,
}

/// Parses the text of a secrets file.
///
/// # Errors
/// 78 for each line that cannot be understood, naming its number. The message never quotes the
/// line.
pub fn parse(bytes: &[u8]) -> Result<Vec<Line>, Errors> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let (mut lines, mut errors) = (Vec::new(), Errors::default());
    let mut state = State::Start;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let read = state.read(line).map_err(|error| error.at(format_args!("line {number}")));
        if let Some((import, mount)) = errors.keep(read).flatten() {
            lines.push(Line { number, import, mount });
        }
    }
    errors.or(lines)
}

/// What the lines so far tell about the next one.
enum State {
    /// All of them were blank.
    Start,
    /// The file has version 1.
    List,
    /// The file has version 2, and no mount has come yet.
    Blocks,
    /// The file has version 2, and this is the current mount: as it is written, and as a path.
    Block { written: String, mount: Path },
    /// Nothing: a line with the version or a mount was wrong, and only that is reported.
    Broken,
}

const FORM: &str = "a line is [NAME=]path#key, without white space, = or # in path and key";
const NAME: &str = "what stands before = is no name of a variable: letters, digits and _, and no \
                    digit at its beginning";
const VERSION_2: &str = "a file with mounts begins with the line VERSION 2";

impl State {
    /// Reads a line. Returns a secret and the length of its mount, or `None` for any other line.
    fn read(&mut self, line: &[u8]) -> Result<Option<(Import, usize)>, Error> {
        let text = std::str::from_utf8(line).map_err(|_| Error::config("not UTF-8"))?;
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            ["VERSION", rest @ ..] => self.version(rest).map(|()| None),
            ["MOUNT", rest @ ..] => self.mount(rest).map(|()| None),
            _ => self.secret(text.trim()).map(Some),
        }
    }

    fn version(&mut self, rest: &[&str]) -> Result<(), Error> {
        if !matches!(self, State::Start) {
            return Err(Error::config("VERSION is for the first line"));
        }
        if rest == ["2"] {
            *self = State::Blocks;
            return Ok(());
        }
        *self = State::Broken;
        Err(Error::config("a version that there is not")
            .hint("VERSION 2; a file of version 1 has no such line"))
    }

    fn mount(&mut self, rest: &[&str]) -> Result<(), Error> {
        if matches!(self, State::Start | State::List) {
            *self = State::List;
            return Err(Error::config("MOUNT in a file of version 1").hint(VERSION_2));
        }
        *self = State::Broken;
        let [written] = rest else {
            return Err(Error::config("MOUNT takes one mount, on the same line"));
        };
        if !is_component(written) {
            return Err(Error::config("a mount with = or # or a control character in it"));
        }
        *self = State::Block { mount: Path::parse(written)?, written: (*written).to_owned() };
        Ok(())
    }

    fn secret(&mut self, text: &str) -> Result<(Import, usize), Error> {
        if matches!(self, State::Start) {
            *self = State::List;
        }
        let (name, path, key) = parts(text)?;
        let (mount, default) = match self {
            State::Block { written, mount } => (mount.as_str(), variable(&[written, path, key])),
            State::Blocks => return Err(Error::config("a secret before the first MOUNT")),
            State::Start | State::List | State::Broken => ("secret", variable(&[path, key])),
        };
        let keys = Keys::Named { key: key.to_owned(), name: name.map_or(default, str::to_owned) };
        let path = Path::parse(&format!("{mount}/{path}"))?;
        Ok((Import { path, version: None, keys }, mount.len()))
    }
}

/// Splits a line into NAME, path and key.
fn parts(text: &str) -> Result<(Option<&str>, &str, &str), Error> {
    let (left, key) = text.split_once('#').ok_or_else(|| Error::config(FORM))?;
    let (name, path) = match left.split_once('=') {
        Some((name, path)) => (Some(name), path),
        None => (None, left),
    };
    if name.is_some_and(|name| !is_name(name)) {
        return Err(Error::config(NAME));
    }
    // With a NAME there may be white space after its `=`; without one, `text` begins with none.
    let (path, key) = (path.trim_start(), key.trim_start());
    if is_component(path) && is_component(key) {
        Ok((name, path, key))
    } else {
        Err(Error::config(FORM))
    }
}

fn is_component(text: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '#' || c == '=';
    !text.is_empty() && !text.contains(is_odd)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns the variable for a secret without a NAME.
fn variable(parts: &[&str]) -> String {
    parts.join("_").chars().map(|c| if matches!(c, '/' | '-') { '_' } else { upper(c) }).collect()
}

/// Maps one character to one, like Haskell's `toUpper`: `ß` stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `NAME mount|path key` for each line.
    fn shown(text: &str) -> Vec<String> {
        let lines = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{text:?}: {errors:?}"));
        let show = |Line { import, mount, .. }: &Line| {
            let Keys::Named { key, name } = &import.keys else { panic!("{import:?}") };
            assert_eq!(import.version, None);
            let (mount, path) = import.path.as_str().split_at(*mount);
            format!(
                "{name} {mount}|{} {key}",
                path.strip_prefix('/').expect("a slash behind the mount")
            )
        };
        lines.iter().map(show).collect()
    }

    /// Returns the numbers of the wrong lines.
    fn wrong(text: &[u8]) -> Vec<String> {
        let errors = parse(text).expect_err("an error");
        assert_eq!(errors.code().status(), 78);
        let number =
            |error: &Error| error.message.split(": ").next().unwrap_or_default().to_owned();
        errors.0.iter().map(number).collect()
    }

    #[test]
    fn vaultenvs_own_examples() {
        for (case, text, expected) in [
            ("C1", "testing#key\n", &["TESTING_KEY secret|testing key"][..]),
            (
                "C2",
                "testing#otherkey\ntesting2#foo\ntesting2#bar\n",
                &[
                    "TESTING_OTHERKEY secret|testing otherkey",
                    "TESTING2_FOO secret|testing2 foo",
                    "TESTING2_BAR secret|testing2 bar",
                ],
            ),
            (
                "C3",
                "TEST_TEST=testing#key\nTEST__TEST=testing#key\n_TEST__TEST=testing#key\n",
                &[
                    "TEST_TEST secret|testing key",
                    "TEST__TEST secret|testing key",
                    "_TEST__TEST secret|testing key",
                ],
            ),
            (
                "C4",
                "VERSION 2\nMOUNT secret\ntesting#key\ntesting#otherkey\nMOUNT \
                 secret\ntesting2#foo\ntesting2#bar\n",
                &[
                    "SECRET_TESTING_KEY secret|testing key",
                    "SECRET_TESTING_OTHERKEY secret|testing otherkey",
                    "SECRET_TESTING2_FOO secret|testing2 foo",
                    "SECRET_TESTING2_BAR secret|testing2 bar",
                ],
            ),
        ] {
            assert_eq!(shown(text), expected, "{case}");
        }
    }

    #[test]
    fn what_vaultenvs_parser_takes() {
        for (case, text, expected) in [
            ("an empty file", "", &[][..]),
            ("VERSION 2 alone", "VERSION 2\n", &[]),
            (
                "empty blocks",
                "VERSION 2\nMOUNT empty\nMOUNT full\nFOO_BAR=foo#bar\nMOUNT empty2\n",
                &["FOO_BAR full|foo bar"],
            ),
            (
                "no line with a version",
                "VERSIONfoobar#foo\n",
                &["VERSIONFOOBAR_FOO secret|VERSIONfoobar foo"],
            ),
            ("no mount", "VERSION 2\nMOUNT a\nMOUNT#k\n", &["A_MOUNT_K a|MOUNT k"]),
            ("special characters", "foob@ar#baz\n", &["FOOB@AR_BAZ secret|foob@ar baz"]),
            ("others than ASCII", "foՔob@ar#baz\n", &["FOՔOB@AR_BAZ secret|foՔob@ar baz"]),
            ("one character for one", "straße/é#k\n", &["STRAßE_É_K secret|straße/é k"]),
            (
                "underscores",
                "single_underscore=a#b\ndouble__underscore=a#b\n_leading_underscore=a#b\n",
                &[
                    "single_underscore secret|a b",
                    "double__underscore secret|a b",
                    "_leading_underscore secret|a b",
                ],
            ),
            (
                "white space",
                "\n \nVERSION    2\n\n  MOUNT \t secret  \nstuff/and#things  \n\n\n",
                &["SECRET_STUFF_AND_THINGS secret|stuff/and things"],
            ),
            ("renamed", "BAR_BAZ=foo/bar#baz\n", &["BAR_BAZ secret|foo/bar baz"]),
            ("dashes", "foo-bar/baz#qu-ix\n", &["FOO_BAR_BAZ_QU_IX secret|foo-bar/baz qu-ix"]),
            (
                "blank lines between blocks",
                "VERSION 2\nMOUNT a\nb#c\n\nMOUNT d\ne#f\n",
                &["A_B_C a|b c", "D_E_F d|e f"],
            ),
            (
                "a mount with slashes",
                "VERSION 2\nMOUNT teams/kv-2\na/b#c\n",
                &["TEAMS_KV_2_A_B_C teams/kv-2|a/b c"],
            ),
            ("a slash before the mount", "VERSION 2\nMOUNT /kv\na#c\n", &["_KV_A_C kv|a c"]),
            ("blanks behind = and #", "A= foo# bar\n", &["A secret|foo bar"]),
            ("CRLF", "VERSION 2\r\nMOUNT a\r\nb#c\r\n", &["A_B_C a|b c"]),
            ("no line break at the end", "VERSION 2\nMOUNT a\nb#c", &["A_B_C a|b c"]),
            ("a byte order mark", "\u{feff}VERSION 2\nMOUNT a\nb#c", &["A_B_C a|b c"]),
        ] {
            assert_eq!(shown(text), expected, "{case}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let lines = parse(b"\nVERSION 2\n\nMOUNT a\nb#c\n\nd#e").expect("parses");
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [5, 7]);
    }

    #[test]
    fn wrong_lines_are_all_named() {
        for (case, text, lines) in [
            ("version 1 says nothing", &b"VERSION 1\na#b\n"[..], &[1][..]),
            ("a version that there is not", b"VERSION 3\nMOUNT a\nb#c\n", &[1]),
            ("more behind the version", b"VERSION 2 MOUNT a\n", &[1]),
            ("ambiguous", b"foo#bar/baz#quix\nFOO=foo=bar/baz#quix\n", &[1, 2]),
            ("a mount on the next line", b"VERSION 2\nMOUNT\nsecret\na#b\n", &[2, 3]),
            ("a version on the next line", b"VERSION\n2\nMOUNT a\nb#c\n", &[1, 2]),
            ("two mounts", b"VERSION 2\nMOUNT a b\nc#d\n", &[2]),
            (
                "an odd mount",
                b"VERSION 2\nMOUNT a=b\nc#d\nMOUNT a/../b\nc#d\nMOUNT /\nMOUNT a#b\n",
                &[2, 4, 6, 7],
            ),
            ("a digit first", b"1FOO=a#b\nA=a#b\n", &[1]),
            (
                "no name",
                b"=a#b\nFOO-BAR=a#b\nF\xc3\xb6=a#b\nFOO BAR=a#b\nFOO =a#b\n",
                &[1, 2, 3, 4, 5],
            ),
            ("no path or no key", b"#b\na#\nA=#b\na\nA=a\n", &[1, 2, 3, 4, 5]),
            ("white space inside", b"a b#c\na#b c\na #b\n", &[1, 2, 3]),
            ("a control character", b"a\x01#b\na#b\x7f\na#\x00\n", &[1, 2, 3]),
            ("a key with =", b"a#b=c\n", &[1]),
            ("a secret before a mount", b"VERSION 2\na#b\nMOUNT a\nc#d\n", &[2]),
            ("a mount in version 1", b"MOUNT a\nb#c\n", &[1]),
            ("a mount in version 1, later", b"b#c\nMOUNT a\n", &[2]),
            ("a version that comes late", b"a#b\nVERSION 2\n", &[2]),
            ("two versions", b"VERSION 2\nVERSION 2\n", &[2]),
            ("not UTF-8", b"a#b\nc\xff#d\n", &[2]),
            ("what no path may have", b"a/../b#c\na\\b#c\n.#a\n", &[1, 2, 3]),
            ("a comment", b"# a comment\na#b # a comment\n", &[1, 2]),
        ] {
            let lines: Vec<String> = lines.iter().map(|number| format!("line {number}")).collect();
            assert_eq!(wrong(text), lines, "{case}");
        }
    }

    #[test]
    fn no_message_quotes_a_line() {
        for line in [
            "s3cret",
            "s3cret=x",
            "1s3cret=a#b",
            "a#s3cret#b",
            "s3cret/../x#b",
            "MOUNT s3cret",
            "VERSION s3cret",
        ] {
            let errors = parse(line.as_bytes()).expect_err(line);
            assert!(!format!("{errors:?}").contains("s3cret"), "{errors:?}");
        }
        let errors = parse(b"VERSION 2\nMOUNT s3cret=\nMOUNT s3cret/..").expect_err("mounts");
        assert!(errors.0.len() == 2 && !format!("{errors:?}").contains("s3cret"), "{errors:?}");
    }
}
