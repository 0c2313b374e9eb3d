//! A setting's text, and where it was found.

use std::fmt;

use crate::error::Error;
use crate::secret::Secret;

/// A setting's text and where it was found.
#[derive(Clone, Debug)]
pub struct Sourced {
    /// The text, which may be a credential.
    pub value: Secret,
    /// Where it was found.
    pub origin: Origin,
}

/// Where a setting was found, displayed as the user calls the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On the command line: `--addr`.
    Option(&'static str),
    /// In the environment: `VAULT_ADDR`.
    Variable(String),
    /// In an env file: `VAULT_ADDR in .env.staging`.
    EnvFile {
        /// The variable.
        variable: String,
        /// The file, as the user wrote it.
        file: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Option(name) => write!(f, "--{name}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::EnvFile { variable, file } => write!(f, "{variable} in {file}"),
        }
    }
}

impl Sourced {
    /// Returns the text of a setting, without white space at its ends.
    ///
    /// # Errors
    /// 78 if it is not UTF-8, or if the author meant another text: it has a variable that nobody
    /// has expanded, or quotes around it.
    pub fn text(&self) -> Result<&str, Error> {
        let text = self.plain()?.trim();
        meant(text).map_err(|error| error.at(&self.origin))?;
        Ok(text)
    }

    /// Returns the text as it is.
    ///
    /// # Errors
    /// 78 if it is not UTF-8.
    pub fn plain(&self) -> Result<&str, Error> {
        let text = self.value.expose_text();
        text.ok_or_else(|| Error::config(format!("{}: the value is not UTF-8", self.origin)))
    }
}

/// Checks that a text is what was meant. The error does not repeat it.
///
/// # Errors
/// 78 for quotes around it, and for `${…}` and `$(…)`.
pub(crate) fn meant(text: &str) -> Result<(), Error> {
    if is_quoted(text) {
        return Err(Error::config("there are quotes around the value")
            .hint("leave them out: docker --env-file, for one, takes quotes as they stand"));
    }
    match ["${", "$("].into_iter().find(|opening| text.contains(opening)) {
        Some(opening) => Err(unexpanded(opening)),
        None => Ok(()),
    }
}

/// Returns the error for a variable that nobody has expanded.
pub(crate) fn unexpanded(opening: &str) -> Error {
    Error::config(format!("the value has a variable in it that was not expanded ({opening}…)"))
        .hint(
            "nothing expands it here: a shell, Compose or Kubernetes does so before the start, \
             for variables that it knows",
        )
}

/// Returns whether a text begins and ends with the same quote.
pub(crate) fn is_quoted(text: &str) -> bool {
    text.len() > 1
        && ['"', '\''].iter().any(|quote| text.starts_with(*quote) && text.ends_with(*quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_meant_to_be_another_one_is_an_error_that_does_not_repeat_it() {
        for (text, part) in [
            ("\"s3cret\"", "quotes"),
            (" 's3cret' ", "quotes"),
            ("http://${S3CRET}:1", "${"),
            ("$(s3cret)", "$("),
        ] {
            let sourced =
                Sourced { value: text.into(), origin: Origin::Variable("VAULT_ADDR".to_owned()) };
            let error = sourced.text().expect_err(text);
            assert!(error.message.starts_with("VAULT_ADDR: ") && error.message.contains(part));
            assert!(!format!("{error:?}").to_lowercase().contains("s3cret"), "{error:?}");
        }
        for text in ["a\"b\"", "\"", "'a\"", "$a", "a$", "{}", "it's"] {
            let sourced = Sourced { value: text.into(), origin: Origin::Option("addr") };
            assert_eq!(sourced.text(), Ok(text));
        }
    }
}
