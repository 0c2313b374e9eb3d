//! Errors: what went wrong, what to do about it, and the code that the process exits with.

use std::fmt;

/// Exit codes: those of `sysexits.h` if it has one, otherwise the shell's convention.
///
/// The order of the variants is their precedence when several kinds of failure come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// 64: the command line is wrong.
    Usage,
    /// 78: a setting, a reference, a file or a name is wrong.
    Config,
    /// 77: Vault refused.
    Refused,
    /// 66: a secret, a version or a key does not exist.
    Missing,
    /// 76: an answer did not come from Vault.
    Protocol,
    /// 69: Vault could not be reached, or was not ready, before the deadline.
    Unavailable,
    /// 126: the command exists but cannot run.
    CannotRun,
    /// 127: the command does not exist.
    NotFound,
    /// 70: a bug in vault-exec.
    Internal,
}

impl Code {
    /// Returns the process's exit status.
    pub fn status(self) -> u8 {
        match self {
            Code::Usage => 64,
            Code::Config => 78,
            Code::Refused => 77,
            Code::Missing => 66,
            Code::Protocol => 76,
            Code::Unavailable => 69,
            Code::CannotRun => 126,
            Code::NotFound => 127,
            Code::Internal => 70,
        }
    }
}

/// What to do if the kernel provides no thread, descriptor or memory.
pub(crate) const LIMITED: &str = "is there a limit on the container's processes, open files or memory? A \
                           start takes about ten descriptors, 8 MB, and a thread for each file or \
                           name";

/// What a failure is about, when a decision depends on it. Message texts are only for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// No decision depends on it.
    #[default]
    Other,
    /// The namespace of the request does not exist.
    NoNamespace,
    /// Vault made a lease with the last use of a token, and withheld it.
    Withheld,
    /// Nothing is mounted at the path.
    NoMount,
    /// There is no secret at the path, and nothing says why.
    NoSecret,
    /// The path or the address has one `v1/` too many.
    SecondV1,
    /// The proxy failed, not the server behind it.
    Proxy,
    /// A platform's service that Vault calls is too busy or could not be reached.
    Upstream,
    /// The refusal did not come from Vault: something in between blocks the request.
    Blocked,
    /// Status 500 with a text that is not known here: it may be a refusal.
    Unexplained,
}

/// One failure: what failed and why, and what to do about it. Neither text ever contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Decides the exit status.
    pub code: Code,
    /// Decides how else the failure is handled.
    pub cause: Cause,
    /// What failed: variable, path, address, status.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// Returns a failure without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error { code, cause: Cause::Other, message: message.into(), hint: None }
    }

    /// Returns an error for a wrong command line (64).
    pub fn usage(message: impl Into<String>) -> Error {
        Error::new(Code::Usage, message)
    }

    /// Returns an error for a wrong setting, reference or file (78).
    pub fn config(message: impl Into<String>) -> Error {
        Error::new(Code::Config, message)
    }

    /// Returns an error for a broken invariant of ours, which is a bug (70).
    pub fn internal(what: impl fmt::Display) -> Error {
        Error::new(Code::Internal, format!("a bug of vault-exec: {what}"))
            .hint("please report it with the version and these words")
    }

    /// Returns whether the status describes the server's state and not the thing that was asked
    /// for.
    pub fn status_is_transient(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::Protocol)
    }

    /// Sets what the failure is about.
    #[must_use]
    pub fn because(mut self, cause: Cause) -> Error {
        self.cause = cause;
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another hint about what to do.
    #[must_use]
    pub fn also(mut self, hint: &str) -> Error {
        self.hint = Some(match self.hint {
            // A clause cannot follow a sentence that has already ended.
            Some(first) if first.ends_with(['.', '?']) => format!("{first} {}", capitalized(hint)),
            Some(first) => format!("{first}; {hint}"),
            None => hint.to_owned(),
        });
        self
    }

    /// Prefixes the message with the place where the error happened (a variable, a file's line).
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Error {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// All the failures of one run. Never empty when it stands for a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    /// Returns the code that the process exits with: the first of 78, 77, 66, 76, 69 that occurs.
    pub fn code(&self) -> Code {
        self.0.iter().map(|error| error.code).min().unwrap_or(Code::Internal)
    }

    /// Returns the value of a success. Records a failure for the report and returns `None`.
    pub fn keep<T, E: Into<Errors>>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|failure| self.0.extend(failure.into().0)).ok()
    }

    /// Returns `value` if nothing failed, otherwise the failures.
    pub fn or<T>(self, value: T) -> Result<T, Errors> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl From<Error> for Errors {
    fn from(error: Error) -> Errors {
        Errors(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_several_failures_is_the_first_in_the_order_of_the_specification() {
        let mut order =
            vec![Code::Unavailable, Code::Protocol, Code::Missing, Code::Refused, Code::Config];
        let mut errors = Errors::default();
        let mut codes = Vec::new();
        while let Some(code) = (!order.is_empty()).then(|| order.remove(0)) {
            errors.0.push(Error::new(code, ""));
            codes.push(errors.code().status());
        }
        assert_eq!(codes, [69, 76, 66, 77, 78]);
    }

    #[test]
    fn a_second_hint_goes_behind_the_first() {
        let hint = |error: Error| error.hint.unwrap_or_default();
        assert_eq!(hint(Error::config("a").also("x")), "x");
        assert_eq!(hint(Error::config("a").hint("x").also("y")), "x; y");
        assert_eq!(hint(Error::config("a").hint("x?").also("is it y?").also("z")), "x? Is it y? Z");
    }

    #[test]
    fn a_failure_is_kept_and_a_success_is_handed_on() {
        let mut errors = Errors::default();
        assert_eq!(errors.keep(Ok::<_, Error>(1)), Some(1));
        assert_eq!(errors.keep(Err::<u8, _>(Error::config("a"))), None);
        assert_eq!(errors.or(()), Err(Error::config("a").into()));
    }
}
