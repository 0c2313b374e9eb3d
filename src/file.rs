//! Reads the files that settings name. They are read before the deadline, and a message shows a
//! path only if it looks like one.

use std::fmt::Display;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use nix::libc;
use zeroize::Zeroizing;

use crate::error::{Code, Error, LIMITED};

/// The largest file that is read; a cloud's JWT has a few thousand bytes.
const LIMIT: usize = 1 << 20;
/// How much to read first if the length of a file is unknown.
const PART: usize = 4096;
/// The stack size of a reading thread, which calls the kernel and does little else.
const STACK: usize = 128 * 1024;

/// The content of a file.
#[derive(Debug)]
pub(crate) struct Content {
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What messages call the file: `/run/token (VAULT_TOKEN_FILE)`.
    pub place: String,
    /// Whether anyone other than the owner and the group may use the file.
    others: Others,
}

/// What all users may do with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Others {
    read: bool,
    write: bool,
}

/// The reason why a file was not read.
#[derive(Debug)]
struct Failure {
    error: io::Error,
    /// The file's own user and mode, if they are visible.
    owner: Option<(u32, u32)>,
    is_directory: bool,
    /// Whether the setting looks like a path of this system.
    is_path: bool,
}

/// Reads a file that the setting `origin` names, before the time is up: a FIFO may have no writer,
/// and a mounted file system may have lost its server.
///
/// # Errors
/// 78 if the file cannot be read in time or is larger than 1 MiB, 69 if the kernel has no
/// descriptor or memory for it. The path is shown only if it looks like a path of this system.
/// Otherwise somebody may have put a credential where the path of its file belongs.
pub(crate) fn read(path: &Path, origin: impl Display, left: Duration) -> Result<Content, Error> {
    let place = format!("{} ({origin})", path.display());
    match within(left, path) {
        Some(Ok((bytes, others))) => Ok(Content { bytes, place, others }),
        Some(Err(failure)) if failure.is_path => Err(failure.told().at(place)),
        Some(Err(failure)) => Err(not_a_path(failure.told(), path).at(origin)),
        None if looks_like_path(path) => Err(late().at(place)),
        None => Err(not_a_path(late(), path).at(origin)),
    }
}

/// Reads a file at a well-known place that no setting names. Returns `None` if it does not exist.
///
/// # Errors
/// The same as those of [`read`].
pub(crate) fn read_usual(path: &Path, left: Duration) -> Result<Option<Content>, Error> {
    let place = path.display().to_string();
    match within(left, path) {
        Some(Ok((bytes, others))) => Ok(Some(Content { bytes, place, others })),
        Some(Err(failure)) if is_absent(&failure.error) => Ok(None),
        Some(Err(failure)) => Err(failure.told().at(place)),
        None => Err(late().at(place)),
    }
}

/// Returns the owner of a socket or a file, if it is neither root nor this process's user.
pub(crate) fn owned_by_another(path: &Path) -> Option<u32> {
    let owner = fs::metadata(path).ok()?.uid();
    (owner != 0 && owner != nix::unistd::geteuid().as_raw()).then_some(owner)
}

/// Returns the error for an unusable path that a setting names, worded as in [`read`].
pub(crate) fn unusable(path: &Path, origin: impl Display, what: &str) -> Error {
    let told = Error::config(format!("it cannot be used: {what}"));
    if is_path(path) {
        told.at(format!("{} ({origin})", path.display()))
    } else {
        not_a_path(told, path).at(origin)
    }
}

impl Content {
    /// Warns if others may read this credential, or put another one in its place.
    pub(crate) fn warn_of_others(&self) {
        let what = match self.others {
            Others { write: true, .. } => "change",
            Others { read: true, .. } => "read",
            Others { .. } => return,
        };
        log::warn!(
            hint = "let only the user that reads it do so: chmod 400, or a mode of the mount \
                    (defaultMode: 0400)";
            "{}: every user may {what} this credential", self.place
        );
    }
}

impl Failure {
    fn of(error: io::Error, path: &Path) -> Failure {
        let seen = fs::metadata(path).ok();
        Failure {
            error,
            owner: seen.as_ref().map(|seen| (seen.uid(), seen.mode() & 0o7777)),
            is_directory: seen.is_some_and(|seen| seen.is_dir()),
            is_path: is_path(path),
        }
    }

    fn told(self) -> Error {
        let error = &self.error;
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) {
            return Error::new(Code::Unavailable, format!("the file cannot be read: {error}"))
                .hint(LIMITED);
        }
        let told = Error::config(format!("the file cannot be read: {error}"));
        match (error.kind(), self.owner) {
            _ if self.is_directory => Error::config("a directory, and not a file").hint(
                "Docker makes a directory where a file that is to be mounted is not there: remove \
                 the directory on the host, and write the file before the start",
            ),
            (ErrorKind::NotFound, _) => {
                told.hint("is it mounted into the container, and at this path?")
            }
            (ErrorKind::PermissionDenied, Some((owner, mode))) => {
                let us = nix::unistd::geteuid();
                Error::config(format!(
                    "{}: it belongs to user {owner}, has mode {mode:o}, and this is user {us}",
                    told.message
                ))
                .hint(format!(
                    "let user {us} read it: chown or chmod, uid and mode of a Docker secret, \
                     defaultMode and fsGroup in Kubernetes, or the container's user"
                ))
            }
            (ErrorKind::PermissionDenied, None) => told.hint(
                "the user that the container runs as must be able to read it, and to enter its \
                 directory",
            ),
            (ErrorKind::FileTooLarge, _) => Error::config("the file has more than 1 MiB"),
            _ => told,
        }
    }
}

fn late() -> Error {
    Error::config("the file was not read before the deadline (--timeout)")
        .hint("is it a FIFO that nobody writes, or on a file system that does not answer?")
}

/// Adds the hint for a path that is not shown.
fn not_a_path(error: Error, path: &Path) -> Error {
    error.hint(if looks_like_path(path) {
        "its directory is not there: is it mounted into the container? The path is not shown, since \
         somebody may have put the content where the path belongs"
    } else {
        "what is set there does not look like a path, so it is not shown: has somebody put the \
         content where the path belongs? A path is absolute or begins with ./"
    })
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Returns whether an unusable path may be shown: a credential does not look like a path.
pub(crate) fn is_path(path: &Path) -> bool {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    looks_like_path(path) && directory.unwrap_or(Path::new(".")).is_dir()
}

fn looks_like_path(path: &Path) -> bool {
    path.to_str().is_some_and(|text| {
        text.starts_with(['/', '.'])
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    })
}

/// The bytes and who else may use them, or why they could not be read.
type Answer = Result<(Zeroizing<Vec<u8>>, Others), Failure>;

/// The answer of a thread that may never give one, and the thread that waits for it.
struct Slot {
    answer: Mutex<Option<Answer>>,
    waiting: Thread,
}

/// Reads on a separate thread, which is left behind if the kernel does not answer in time. If no
/// thread can be created, this thread reads.
fn within(left: Duration, path: &Path) -> Option<Answer> {
    let slot = Arc::new(Slot { answer: Mutex::new(None), waiting: thread::current() });
    let (theirs, path) = (Arc::clone(&slot), path.to_owned());
    let name: PathBuf = path.clone();
    let work = move || {
        let answer = content(&path);
        *theirs.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        theirs.waiting.unpark();
    };
    if thread::Builder::new().stack_size(STACK).spawn(work).is_err() {
        return Some(content(&name));
    }
    let until = Instant::now() + left;
    loop {
        let answer = slot.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let left = until.saturating_duration_since(Instant::now());
        if answer.is_some() || left.is_zero() {
            return answer;
        }
        thread::park_timeout(left);
    }
}

fn content(path: &Path) -> Answer {
    let read = || {
        let mut file = File::open(path)?;
        let seen = file.metadata()?;
        Ok((bytes(&mut file, &seen)?, others(path, &seen)))
    };
    read().map_err(|error| Failure::of(error, path))
}

/// Reads straight into memory that is wiped: to find the end of a file, the standard library would
/// use a buffer on the stack.
fn bytes(file: &mut File, seen: &Metadata) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = usize::try_from(seen.len()).unwrap_or(LIMIT).min(LIMIT);
    let mut bytes = Zeroizing::new(vec![0; length.max(PART) + 1]);
    let mut filled = 0;
    loop {
        let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) else {
            if filled > LIMIT {
                return Err(ErrorKind::FileTooLarge.into());
            }
            bytes.resize(filled.saturating_mul(2).min(LIMIT + 1), 0);
            continue;
        };
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Returns what others may do with the file, if they can reach it.
fn others(path: &Path, seen: &Metadata) -> Others {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = fs::metadata(directory.unwrap_or(Path::new(".")));
    let can_enter = directory.is_ok_and(|directory| directory.mode() & 0o001 != 0);
    if !seen.is_file() || !can_enter {
        return Others::default();
    }
    Others { read: seen.mode() & 0o004 != 0, write: seen.mode() & 0o002 != 0 }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs::write(&path, bytes).expect("written");
        (directory, path)
    }

    fn error(path: &str) -> Error {
        read(Path::new(path), "VAULT_X_FILE", SECOND).expect_err(path)
    }

    #[test]
    fn every_length_is_read_up_to_the_largest() {
        for length in [0, 1, PART, PART + 1, PART + 2, LIMIT] {
            let (_directory, path) = written(&vec![b'a'; length]);
            let content = read(&path, "X", SECOND).expect("read");
            assert_eq!(content.bytes.len(), length);
            assert_eq!(content.place, format!("{} (X)", path.display()));
        }
        let (_directory, path) = written(&vec![b'a'; LIMIT + 1]);
        assert!(error(path.to_str().expect("text")).message.contains("more than 1 MiB"));
        let endless = error("/dev/zero");
        assert!(endless.message.contains("more than 1 MiB"), "{endless:?}");
        assert!(!read(Path::new("/proc/self/status"), "X", SECOND).expect("read").bytes.is_empty());
    }

    #[test]
    fn what_is_no_path_is_never_shown() {
        for text in [
            "hvs.CAESIJ",
            "s3cret",
            "eyJhbGciOiJSUzI1NiJ9.eyJpc3Mi",
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
            "/no/such/directory/s3cret",
            "/tmp/a blank",
            "/tmp/a\nline",
            "./a\ttab",
            "relative/path",
        ] {
            let error = error(text);
            assert!(error.message.starts_with("VAULT_X_FILE: "), "{error:?}");
            assert!(!format!("{error:?}").contains(text.trim()), "{error:?}");
        }
        for text in ["/s3cret", "./no-such-file", ".env.staging", "../no-such-file", "/tmp"] {
            assert!(error(text).message.starts_with(&format!("{text} (VAULT_X_FILE): ")), "{text}");
        }
    }

    #[test]
    fn what_others_may_do_counts_if_they_can_get_there() {
        let (directory, path) = written(b"a");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        for (directory_mode, mode, read, write) in [
            (0o755, 0o600, false, false),
            (0o755, 0o640, false, false),
            (0o755, 0o644, true, false),
            (0o755, 0o602, false, true),
            (0o700, 0o666, false, false),
        ] {
            set(directory.path(), directory_mode);
            set(&path, mode);
            let content = super::read(&path, "X", SECOND).expect("read");
            assert_eq!(content.others, Others { read, write }, "{directory_mode:o} {mode:o}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_none_at_its_usual_place() {
        assert!(read_usual(Path::new("/no/such/file"), SECOND).expect("none").is_none());
        assert!(read_usual(Path::new("/tmp"), SECOND).is_err());
    }
}
