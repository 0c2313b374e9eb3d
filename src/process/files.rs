//! Files that hold secrets: sealed files in memory, and files at a path that the user names.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use zeroize::Zeroizing;

use crate::error::{Code, Error, LIMITED};
use crate::secret::Secret;

/// The lowest descriptor number for these files, above those that shells and service managers hand
/// out.
const LOWEST: RawFd = 100;
/// The longest name of a memory file (memfd_create(2)).
const LONGEST_NAME: usize = 249;

/// The mode and the owner of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// The permission bits.
    pub(crate) mode: u32,
    /// The user; `None` is the user that this process runs as.
    pub(crate) user: Option<u32>,
    /// The group; `None` is this process's group.
    pub(crate) group: Option<u32>,
}

/// Parses an owner into its ids: `user`, `user:group` or `:group`, as names or numbers. Names are
/// looked up in passwd(5) and group(5).
///
/// # Errors
/// What is wrong with it, worded to follow the setting's name.
pub(crate) fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    Ok((number(user, "user", "/etc/passwd")?, number(group, "group", "/etc/group")?))
}

fn number(name: &str, what: &str, file: &str) -> Result<Option<u32>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = name.parse().ok().or_else(|| named(&fs::read_to_string(file).ok()?, name));
    found.map(Some).ok_or_else(|| format!("there is no {what} {} here", name.escape_default()))
}

/// Returns the number from the line `name:password:number:…`.
fn named(file: &str, name: &str) -> Option<u32> {
    let mut lines = file.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?)
}

/// Makes a file in memory that nobody can change, and returns its path, which is valid for this
/// process and for the program that it executes. The file disappears with the process
/// (memfd_create(2), `F_SEAL_WRITE`).
///
/// # Errors
/// 78 if the owner may not be set, 69 if the kernel has no memory or descriptor left.
pub(crate) fn sealed(name: &OsStr, content: &Secret, access: Access) -> Result<PathBuf, Error> {
    let name = name.as_bytes();
    let name = OsStr::from_bytes(name.get(..LONGEST_NAME).unwrap_or(name));
    let made = memfd_create(name, MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(made.map_err(|errno| lacking(errno.into()))?);
    file.write_all(content.expose()).map_err(lacking)?;
    file.rewind().map_err(lacking)?;
    give(&file, access)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|errno| lacking(errno.into()))?;
    // Without close-on-exec, so that the application inherits it.
    let kept = fcntl(&file, FcntlArg::F_DUPFD(LOWEST)).map_err(|errno| lacking(errno.into()))?;
    Ok(PathBuf::from(format!("/proc/self/fd/{kept}")))
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn lacking(error: io::Error) -> Error {
    let message = format!("a file in memory cannot be made: {error}");
    Error::new(Code::Unavailable, message).hint(LIMITED)
}

/// Sets the owner, then the mode: changing the owner clears some mode bits (chown(2)).
fn give(file: &File, access: Access) -> Result<(), Error> {
    if access.user.is_some() || access.group.is_some() {
        fchown(file, access.user, access.group).map_err(|error| {
            Error::config(format!("its owner cannot be set: {error}"))
                .hint("only root may give a file to another user, and CAP_CHOWN it takes too")
        })?;
    }
    let mode = fs::Permissions::from_mode(access.mode);
    file.set_permissions(mode)
        .map_err(|error| Error::config(format!("its mode cannot be set: {error}")))
}

/// A file that has been written beside its final path but not yet moved there. Dropping it removes
/// the file.
#[derive(Debug)]
pub(crate) struct Prepared {
    place: PathBuf,
    /// `None` if the file in place is already the same.
    beside: Option<PathBuf>,
}

/// Writes a file beside its final path. Nothing at that path changes before [`Prepared::put`].
///
/// # Errors
/// 78 if a link, a directory or anything else that is not a file is in the way, or if it cannot be
/// written.
pub(crate) fn prepare(place: &Path, content: &Secret, access: Access) -> Result<Prepared, Error> {
    let prepared = prepare_at(place, content, access);
    prepared.map_err(|error| error.at(place.display()))
}

fn prepare_at(place: &Path, content: &Secret, access: Access) -> Result<Prepared, Error> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_symlink() => {
            return Err(Error::config("there is a symbolic link in its place")
                .hint("name the file that it leads to, or remove the link"));
        }
        Ok(found) if !found.is_file() => {
            return Err(Error::config("there is something in its place that is no file")
                .hint("Docker makes a directory where it mounts a file that does not exist"));
        }
        Ok(_) if is_same(place, content, access) => {
            return Ok(Prepared { place: place.to_owned(), beside: None });
        }
        _ => {}
    }
    let beside = beside(place)?;
    let prepared = Prepared { place: place.to_owned(), beside: Some(beside.clone()) };
    let mut file = create(&beside).map_err(|error| unwritten(&error))?;
    give(&file, access)?;
    file.write_all(content.expose()).and_then(|()| file.sync_all()).map_err(|e| unwritten(&e))?;
    Ok(prepared)
}

/// Creates a file that nobody else may read before it has its owner and mode.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

/// Returns a path for a temporary file in the same directory, so that a rename is enough.
fn beside(place: &Path) -> Result<PathBuf, Error> {
    let name = place.file_name().ok_or_else(|| Error::config("it has no file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".vault-exec.{}", std::process::id()));
    Ok(place.with_file_name(hidden))
}

fn unwritten(error: &io::Error) -> Error {
    let failure = Error::config(format!("the file cannot be written: {error}"));
    match error.kind() {
        ErrorKind::NotFound => failure.hint("its directory must be there: it is not made"),
        ErrorKind::ReadOnlyFilesystem => failure.hint(
            "the file system is read-only: mount a tmpfs there, or an emptyDir with medium: Memory",
        ),
        ErrorKind::StorageFull => failure.hint("the file system is full: give it more room"),
        ErrorKind::PermissionDenied => failure
            .hint("the user that the container runs as must be able to write to its directory"),
        _ => failure,
    }
}

/// Returns whether a file already has this content, mode and owner.
fn is_same(place: &Path, content: &Secret, access: Access) -> bool {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(place);
    let Ok(mut file) = opened else { return false };
    let Ok(found) = file.metadata() else { return false };
    let is_owned = access.user.is_none_or(|user| user == found.uid())
        && access.group.is_none_or(|group| group == found.gid());
    if !is_owned
        || found.mode() & 0o7777 != access.mode
        || found.len() != content.expose().len() as u64
    {
        return false;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(content.expose().len() + 1));
    file.read_to_end(&mut bytes).is_ok() && bytes.as_slice() == content.expose()
}

impl Prepared {
    /// Moves the file into place with one rename. Returns whether anything changed.
    ///
    /// # Errors
    /// 78 if the file cannot be put there.
    pub(crate) fn put(mut self) -> Result<bool, Error> {
        let Some(beside) = &self.beside else { return Ok(false) };
        fs::rename(beside, &self.place)
            .map_err(|error| unwritten(&error).at(self.place.display()))?;
        self.beside = None;
        Ok(true)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // If it cannot be removed, it could not be written either.
            let _ = fs::remove_file(beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Access = Access { mode: 0o400, user: None, group: None };

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_sealed_file_has_its_content_to_the_byte_and_cannot_be_changed() {
        let content = Secret::from(b"a\0b\n".to_vec());
        let path = sealed(OsStr::new("DB_KEY"), &content, OURS).expect("a file");
        assert_eq!(fs::read(&path).expect("read"), content.expose());
        assert_eq!(fs::read(&path).expect("read twice"), content.expose());
        let number: RawFd = path.file_name().unwrap().to_str().unwrap().parse().expect("a number");
        assert!(number >= LOWEST);
        let target = fs::read_link(&path).expect("a link");
        assert_eq!(target, Path::new("/memfd:DB_KEY (deleted)"));
        assert_eq!(fs::metadata(&path).expect("metadata").mode() & 0o7777, 0o400);
        // Root may open it despite its mode; the seals hold for root, too.
        let written =
            OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"x"));
        assert!(written.is_err());
    }

    #[test]
    fn the_longest_name_is_cut_and_not_refused() {
        let name = "N".repeat(1000);
        assert!(sealed(OsStr::new(&name), &"x".into(), OURS).is_ok());
    }

    #[test]
    fn nothing_is_in_the_place_before_it_is_put_there_and_nothing_beside_it_afterwards() {
        let directory = directory();
        let place = directory.path().join("key.pem");
        let prepared = prepare(&place, &"one".into(), OURS).expect("prepared");
        assert!(!place.exists());
        assert!(prepared.put().expect("put"));
        assert_eq!(fs::read(&place).expect("read"), b"one");
        assert_eq!(fs::metadata(&place).expect("metadata").mode() & 0o7777, 0o400);
        drop(prepare(&place, &"two".into(), OURS).expect("prepared"));
        assert_eq!(fs::read(&place).expect("read"), b"one");
        assert_eq!(names(directory.path()), ["key.pem"]);
    }

    #[test]
    fn what_is_the_same_already_is_not_touched() {
        let directory = directory();
        let place = directory.path().join("x");
        assert!(prepare(&place, &"one".into(), OURS).unwrap().put().unwrap());
        let before = fs::metadata(&place).expect("metadata");
        assert!(!prepare(&place, &"one".into(), OURS).unwrap().put().unwrap());
        let after = fs::metadata(&place).expect("metadata");
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
        for (content, mode) in [("two", 0o400), ("two", 0o440), ("three", 0o440)] {
            let access = Access { mode, ..OURS };
            assert!(prepare(&place, &content.into(), access).unwrap().put().unwrap());
            assert_eq!(fs::metadata(&place).expect("metadata").mode() & 0o7777, mode);
        }
    }

    #[test]
    fn what_is_in_the_way_is_an_error_and_stays() {
        let directory = directory();
        let (link, target) = (directory.path().join("link"), directory.path().join("target"));
        fs::write(&target, "old").expect("a file");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        let inside = directory.path().join("directory");
        fs::create_dir(&inside).expect("a directory");
        for (place, part) in [
            (&link, "symbolic link"),
            (&inside, "no file"),
            (&directory.path().join("none/x"), "cannot be written"),
        ] {
            let error = prepare(place, &"new".into(), OURS).expect_err(part);
            assert_eq!(error.code.status(), 78);
            assert!(error.message.contains(part) && !error.message.contains("new"), "{error:?}");
        }
        assert_eq!(fs::read(&target).expect("read"), b"old");
        assert_eq!(names(directory.path()).len(), 3);
    }

    #[test]
    fn owners_are_names_or_numbers() {
        assert_eq!(owner("0:0"), Ok((Some(0), Some(0))));
        assert_eq!(owner("65534"), Ok((Some(65534), None)));
        assert_eq!(owner(":12"), Ok((None, Some(12))));
        assert_eq!(owner("root"), Ok((Some(0), None)));
        assert!(owner("nobody-of-this-name").is_err());
        assert!(owner("0:-1").is_err());
    }
}
