//! Finding the application's program and executing it.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, SysconfVar, access, execve, sysconf};

use crate::error::{Code, Error, Errors};
use crate::process::may_execute::may_execute;
use crate::process::program::{self, Format};
use crate::process::signals;
use crate::secret::{Secret, Variable};

/// Where `execvp` searches if there is no PATH (exec(3), in musl and glibc).
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Finds the program that `execvp` would run: a name with a slash is a path, and any other name is
/// searched for on `path`.
///
/// # Errors
/// 127 if there is no such program, 126 if there is one that cannot run.
pub(crate) fn find(command: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Error> {
    let name = command.to_string_lossy().into_owned();
    if command.as_bytes().contains(&b'/') {
        return check(Path::new(command)).map(|()| command.into()).map_err(|error| error.at(name));
    }
    let mut best = Error::new(Code::NotFound, "not found on the PATH that the application gets");
    for directory in path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|&byte| byte == b':')
    {
        if command.is_empty() {
            break;
        }
        // An empty directory is the working directory (exec(3)).
        let directory = if directory.is_empty() {
            Path::new(".")
        } else {
            Path::new(OsStr::from_bytes(directory))
        };
        let program = directory.join(command);
        match check(&program) {
            Ok(()) => return Ok(program),
            Err(error) if error.code == Code::CannotRun => best = error.at(program.display()),
            Err(_) => {}
        }
    }
    Err(best.at(name))
}

fn check(program: &Path) -> Result<(), Error> {
    runnable(program)?;
    match program::of(program) {
        Format::Script(None) | Format::Text => Err(no_format()),
        Format::Script(Some(interpreter)) => beside("interpreter", &interpreter).map_err(|error| {
            error.hint("the first line of a script names a program that is in the image")
        }),
        Format::Program(Some(loader)) => {
            beside("loader", &loader).map_err(|error| error.hint(NO_LOADER))
        }
        Format::Program(None) | Format::Unknown => Ok(()),
    }
}

/// Checks that the program exists, is a file, and is executable.
fn runnable(program: &Path) -> Result<(), Error> {
    let found = fs::metadata(program).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::new(Code::NotFound, "not found"),
        _ => cannot_run(in_words(&error)),
    })?;
    if !found.is_file() {
        return Err(cannot_run(if found.is_dir() { "is a directory" } else { "is not a file" }));
    }
    access(program, AccessFlags::X_OK)
        .map_err(|error| cannot_run(error.desc()).hint("is it executable (chmod +x)?"))
}

/// Returns the error in words that are the same with every C library.
fn in_words(error: &std::io::Error) -> String {
    error
        .raw_os_error()
        .map_or_else(|| error.to_string(), |errno| Errno::from_raw(errno).desc().to_owned())
}

/// Checks something that a program needs besides itself. If it is missing, the kernel's errno would
/// say that the program itself is missing.
fn beside(what: &str, needed: &Path) -> Result<(), Error> {
    runnable(needed)
        .map_err(|error| cannot_run(format!("its {what} {} cannot run: {error}", needed.display())))
}

const NO_LOADER: &str = "a dynamically linked program needs its loader and libraries in the image";

fn no_format() -> Error {
    cannot_run("is neither a program for this machine nor a script with a #! line")
        .hint("put #!/bin/sh in the script's first line, or start it with sh")
}

fn cannot_run(why: impl Into<String>) -> Error {
    Error::new(Code::CannotRun, why)
}

/// A program with its arguments and environment, in the form that the kernel takes.
pub(crate) struct Image {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// Builds an image.
    ///
    /// # Errors
    /// 78 for each variable that the kernel would refuse: a NUL byte, a string longer than 32
    /// pages, or a total above the limit (execve(2)). The message names the variable.
    pub(crate) fn new(
        program: PathBuf,
        command: Vec<OsString>,
        environment: Vec<Variable>,
    ) -> Result<Image, Errors> {
        let mut errors = Errors::default();
        let limits = Limits::of_this_process();
        let strings = environment
            .into_iter()
            .filter_map(|variable| errors.keep(entry(variable, limits.string)))
            .collect();
        let image = Image {
            program: text(program.into_os_string())?,
            arguments: command.into_iter().map(text).collect::<Result<_, _>>()?,
            environment: strings,
        };
        errors.keep(image.check_total(limits.total));
        errors.or(image)
    }

    /// Executes the program: the same process, with nothing of ours left in it. Returns only if
    /// that failed.
    pub(crate) fn exec(&self) -> Error {
        signals::restore_sigpipe();
        let Err(errno) = execve(&self.program, &self.arguments, &self.environment);
        // The failure must still be reported, perhaps to a stderr that nobody reads.
        signals::ignore_sigpipe();
        self.refused(errno)
    }

    /// Checks that the kernel would execute it, as far as the kernel can tell.
    ///
    /// # Errors
    /// 126 if it would not.
    pub(crate) fn check(&self) -> Result<(), Error> {
        may_execute(&self.program, &self.arguments, &self.environment)
            .map_err(|errno| self.refused(errno))
    }

    fn refused(&self, errno: Errno) -> Error {
        let name = self.program.to_string_lossy();
        match errno {
            Errno::ENOEXEC => no_format(),
            Errno::ENOENT => cannot_run("the program or its loader is not there").hint(NO_LOADER),
            _ => cannot_run(errno.desc()),
        }
        .at(name)
    }

    fn check_total(&self, limit: usize) -> Result<(), Error> {
        let strings = self.arguments.iter().chain(&self.environment).chain([&self.program]);
        let total: usize =
            strings.map(|string| string.as_bytes_with_nul().len() + size_of::<usize>()).sum();
        if total <= limit {
            return Ok(());
        }
        let largest = self.environment.iter().max_by_key(|string| string.as_bytes().len());
        let name = largest.map(|string| name_in(string.as_bytes())).unwrap_or_default();
        Err(Error::config(format!(
            "the environment and the arguments have {total} bytes, and the kernel takes {limit}; \
             the largest variable is {name}"
        ))
        .hint(
            "give large values to the application in a file; the limit is a quarter of the stack \
             limit (ulimit -s)",
        ))
    }
}

/// The kernel's limits, in bytes.
struct Limits {
    /// One `NAME=value` with its NUL: `MAX_ARG_STRLEN`, 32 pages.
    string: usize,
    /// All strings and the pointers to them: a quarter of the stack limit, but at least 32 pages
    /// and at most three quarters of 8 MiB.
    total: usize,
}

impl Limits {
    fn of_this_process() -> Limits {
        let page = sysconf(SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|size| usize::try_from(size).ok())
            .unwrap_or(4096);
        let stack = getrlimit(Resource::RLIMIT_STACK).map_or(8 << 20, |(soft, _)| soft);
        let quarter = usize::try_from(stack / 4).unwrap_or(usize::MAX);
        Limits { string: 32 * page, total: quarter.clamp(32 * page, 6 << 20) }
    }
}

fn entry(variable: Variable, limit: usize) -> Result<CString, Error> {
    let Variable { name, value } = variable;
    let shown = name.to_string_lossy().into_owned();
    let length = name.len() + value.expose().len() + 2;
    if length > limit {
        let most = limit.saturating_sub(name.len() + 2);
        return Err(Error::config(format!(
            "{shown}: the value has {} bytes, and the kernel takes {most} for this name",
            value.expose().len()
        ))
        .hint("give it to the application in a file: write vault-file: in place of vault:, and the variable gets the path"));
    }
    joined(&name, &value, length).map_err(|_| {
        Error::config(format!("{shown}: the value has a NUL byte, which no environment can hold"))
            .hint("write vault-file: in place of vault:, and the variable gets the path of a file with the value; or store it base64-encoded")
    })
}

fn joined(name: &OsStr, value: &Secret, length: usize) -> Result<CString, std::ffi::NulError> {
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(b'=');
    bytes.extend_from_slice(value.expose());
    CString::new(bytes)
}

fn text(text: OsString) -> Result<CString, Error> {
    CString::new(text.into_vec()).map_err(|_| Error::usage("the command has a NUL byte"))
}

fn name_in(entry: &[u8]) -> String {
    let name = entry.split(|&byte| byte == b'=').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(variables: Vec<Variable>) -> Result<Image, Errors> {
        Image::new("/x".into(), vec!["x".into()], variables)
    }

    #[test]
    fn a_value_may_have_as_many_bytes_as_the_kernel_takes_and_not_one_more() {
        let limit = Limits::of_this_process().string;
        assert!(image(vec![Variable::new("A", vec![b'x'; limit - 3])]).is_ok());
        let error = image(vec![Variable::new("A", vec![b'x'; limit - 2])])
            .err()
            .expect("too large")
            .0
            .remove(0);
        assert!(
            error.message.starts_with("A: ") && error.message.contains(&(limit - 3).to_string()),
            "{error}"
        );
    }

    #[test]
    fn every_variable_that_cannot_be_passed_is_named() {
        let errors = image(vec![
            Variable::new("A", "a\0b"),
            Variable::new("B", "b"),
            Variable::new("C", "\0"),
        ]);
        let names: Vec<String> = errors
            .err()
            .expect("errors")
            .0
            .into_iter()
            .map(|error| error.message[..2].to_owned())
            .collect();
        assert_eq!(names, ["A:", "C:"]);
    }

    #[test]
    fn the_sum_of_all_is_checked_and_the_largest_is_named() {
        let image = image(vec![Variable::new("SMALL", "x"), Variable::new("LARGE", "xxxxxxxxxx")])
            .expect("fits");
        let error = image.check_total(40).expect_err("does not fit in 40 bytes");
        assert!(error.message.contains("LARGE") && !error.message.contains("xxx"), "{error}");
    }

    #[test]
    fn a_missing_program_is_127_and_one_that_cannot_run_126() {
        for (command, path, status) in [
            ("no-such-program", Some("/bin:/usr/bin"), 127),
            ("", None, 127),
            ("/no/such/program", None, 127),
            ("/etc/passwd/x", None, 127),
            ("/etc", None, 126),
            ("/etc/passwd", None, 126),
            ("passwd", Some("/nowhere:/etc"), 126),
            ("sh", Some("/nowhere"), 127),
        ] {
            let error = find(OsStr::new(command), path.map(OsStr::new)).expect_err(command);
            assert_eq!(error.code.status(), status, "{command}: {error}");
            assert!(error.message.starts_with(command), "{error}");
        }
    }

    #[test]
    fn a_later_directory_is_searched_when_an_earlier_one_has_only_what_cannot_run() {
        let found = find(OsStr::new("sh"), Some(OsStr::new("/etc:/nowhere:/bin"))).expect("found");
        assert_eq!(found, Path::new("/bin/sh"));
        assert!(find(OsStr::new("sh"), None).is_ok());
    }
}
