//! The grammar of env files (pure): `NAME=value` lines without any interpolation.
//!
//! A value is taken as it is, or is quoted with `'…'` (literal) or `"…"` (with `\n \t \" \\ \$` and
//! line breaks). `#` begins a comment only at the start of a line or after white space, so a
//! reference's `#key` needs no quotes.

use crate::error::Error;
use crate::secret::Variable;

/// Parses the text of an env file.
///
/// # Errors
/// 78 for the first line that cannot be understood. The message gives its number and never quotes
/// the line, which may hold a secret.
pub fn parse(text: &[u8]) -> Result<Vec<Variable>, Error> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut lines = Reader { rest: text, line: 1 };
    let mut variables: Vec<Variable> = Vec::new();
    while !lines.rest.is_empty() {
        let line = lines.line;
        if let Some(found) = lines.assignment().map_err(|what| malformed(line, what))? {
            variables.retain(|earlier| earlier.name != found.name);
            variables.push(found);
        }
    }
    Ok(variables)
}

fn malformed(line: usize, what: &str) -> Error {
    Error::config(format!("line {line}: {what}"))
}

struct Reader<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> Reader<'a> {
    /// Reads one line, or several if a quoted value spans them. Returns `None` for an empty line or
    /// a comment.
    fn assignment(&mut self) -> Result<Option<Variable>, &'static str> {
        self.skip_blanks();
        if matches!(self.rest.first(), None | Some(b'\n' | b'#')) || self.rest.starts_with(b"\r\n")
        {
            self.take_line();
            return Ok(None);
        }
        self.skip_export();
        let name = self.name()?;
        let line = self.rest;
        self.skip_blanks();
        let value = match self.rest.first() {
            Some(b'\'') => self.single_quoted()?,
            Some(b'"') => self.double_quoted()?,
            _ => {
                self.rest = line;
                return Ok(Some(Variable::new(name, self.bare()?)));
            }
        };
        self.end_of_line()?;
        Ok(Some(Variable::new(name, value)))
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.rest.first() {
            self.next();
        }
    }

    fn skip_export(&mut self) {
        if self.rest.starts_with(b"export ") || self.rest.starts_with(b"export\t") {
            self.rest = self.rest.get(b"export".len()..).unwrap_or_default();
            self.skip_blanks();
        }
    }

    /// Takes the rest of the line and returns it without its line break.
    fn take_line(&mut self) -> &'a [u8] {
        let length = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.next();
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    fn name(&mut self) -> Result<String, &'static str> {
        let length = self.rest.iter().take_while(|&&byte| byte != b'=' && byte != b'\n').count();
        let (name, rest) = self.rest.split_at(length);
        let rest = rest.strip_prefix(b"=").ok_or("no `=`; a line is NAME=value")?;
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
        let name = name.ok_or("what stands before `=` is no name of a variable")?;
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn bare(&mut self) -> Result<Vec<u8>, &'static str> {
        let line = self.take_line();
        let comment = line.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b'#']));
        let value = line.get(..comment.unwrap_or(line.len())).unwrap_or(line).trim_ascii();
        if value.contains(&0) { Err(NUL) } else { Ok(value.to_vec()) }
    }

    fn single_quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        self.quoted(b'\'', |_, byte| Ok(byte))
    }

    fn double_quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        self.quoted(b'"', |reader, byte| if byte == b'\\' { reader.escaped() } else { Ok(byte) })
    }

    fn quoted(
        &mut self,
        quote: u8,
        read: fn(&mut Reader<'a>, u8) -> Result<u8, &'static str>,
    ) -> Result<Vec<u8>, &'static str> {
        self.next();
        let mut value =
            Vec::with_capacity(self.rest.iter().take_while(|&&byte| byte != quote).count());
        loop {
            match self.next().ok_or("a quote is not closed")? {
                byte if byte == quote => return Ok(value),
                0 => return Err(NUL),
                b'\r' if self.rest.first() == Some(&b'\n') => {}
                byte => value.push(read(self, byte)?),
            }
        }
    }

    fn escaped(&mut self) -> Result<u8, &'static str> {
        match self.next() {
            Some(b'n') => Ok(b'\n'),
            Some(b't') => Ok(b'\t'),
            Some(byte @ (b'"' | b'\\' | b'$')) => Ok(byte),
            _ => Err("in double quotes a backslash goes before n, t, \", \\ or $ only; use \
                      single quotes for literal text"),
        }
    }

    fn end_of_line(&mut self) -> Result<(), &'static str> {
        let line = self.take_line();
        let rest = line.trim_ascii_start();
        if rest.is_empty() || (rest.starts_with(b"#") && rest.len() < line.len()) {
            return Ok(());
        }
        Err("text after the closing quote")
    }
}

const NUL: &str = "a NUL byte, which no environment can hold";

fn is_name(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let text_of = |variable: Variable| {
            let value = variable.value.expose_text().expect("UTF-8").to_owned();
            (variable.name.into_string().expect("UTF-8"), value)
        };
        parse(text.as_bytes()).expect("parses").into_iter().map(text_of).collect()
    }

    fn one(text: &str) -> String {
        let mut found = pairs(text);
        assert_eq!(found.len(), 1, "{text:?}");
        found.remove(0).1
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        for (text, value) in [
            ("A=b", "b"),
            ("A=", ""),
            ("A= b \t", "b"),
            ("  export A=b", "b"),
            ("A=b\r\n", "b"),
            ("A=b # comment", "b"),
            ("A= # comment", ""),
            ("A=#b", "#b"),
            ("A= #b", ""),
            ("A=vault:secret/app#key#2", "vault:secret/app#key#2"),
            ("A=$HOME ${B} `c`", "$HOME ${B} `c`"),
            ("A={\"a\": \"b\"}", "{\"a\": \"b\"}"),
            ("A=it's", "it's"),
            ("A='$x \\n # \"'", "$x \\n # \""),
            ("A=\"a\\n\\t\\\"\\\\\\$b\" # c", "a\n\t\"\\$b"),
            ("A=\"a\r\nb\"", "a\nb"),
            ("A='a\nb'", "a\nb"),
            ("A=''", ""),
            ("\u{feff}A=b", "b"),
        ] {
            assert_eq!(one(text), value, "{text:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_nothing() {
        assert_eq!(pairs("# a=b\n\n \t# c\r\n\r\n"), []);
    }

    #[test]
    fn a_later_line_wins_over_an_earlier_one() {
        assert_eq!(pairs("A=1\nB=2\nA=3"), [("B".into(), "2".into()), ("A".into(), "3".into())]);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_kept_in_values() {
        let found = parse(b"A=\xff").expect("parses");
        assert_eq!(
            found.first().map(|variable| variable.value.expose().to_vec()),
            Some(vec![0xff])
        );
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number_and_never_quoted() {
        for text in [
            "S3CRET",
            "S3CRET x=1",
            "1A=S3CRET",
            "=S3CRET",
            "A='S3CRET",
            "A=\"S3CRET",
            "A=\"\\q\"",
            "A='a'S3CRET",
            "A='a'#S3CRET",
            "export =S3CRET",
            "A B=S3CRET",
            "A=\"S3CRET\\",
            "A=S3\0CRET",
            "A='S3\0CRET'",
            "\u{e9}=1",
        ] {
            let error =
                parse(format!("B=1\nC=\"two\nlines\"\n{text}\nD=4").as_bytes()).expect_err(text);
            assert!(error.message.starts_with("line 4: "), "{text:?}: {error}");
            assert!(!error.message.contains("S3"), "{error}");
        }
    }
}
