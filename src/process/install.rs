//! `--install`: copies the program itself, for images that have no `cp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::unistd::geteuid;

use crate::error::Error;

const NAME: &str = "vault-exec";
/// The running program (proc(5)).
const OWN: &str = "/proc/self/exe";

/// Copies the program to a path, or into a directory. An existing file is replaced in one step:
/// nobody ever sees a partial copy.
///
/// # Errors
/// 78 if the program cannot be read or the copy cannot be written.
pub(crate) fn install(to: &Path) -> Result<(), Error> {
    let target = if to.is_dir() { to.join(NAME) } else { to.to_owned() };
    let directory = match target.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        Some(directory) => directory,
        None => Path::new("/"),
    };
    if to.as_os_str().as_encoded_bytes().ends_with(b"/") && target == to {
        return Err(no_directory(to));
    }
    let program = fs::read(OWN).map_err(|error| unreadable(&error))?;
    let unique = RandomState::new().build_hasher().finish();
    let temporary = directory.join(format!(".{NAME}.{unique:016x}"));
    let copied = write(&temporary, &program).and_then(|()| fs::rename(&temporary, &target));
    copied.map_err(|error| {
        let _ = fs::remove_file(&temporary);
        unwritable(&target, directory, program.len(), &error)
    })?;
    // Not every file system supports this, and the copy is there without it.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

fn write(path: &Path, program: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(program)?;
    file.set_permissions(Permissions::from_mode(mode()))?;
    file.sync_all()
}

/// Returns the mode of the copy. If its user cannot read the file, other processes of that user
/// cannot look into the running process (prctl(2), `PR_SET_DUMPABLE`). A copy made by root can
/// still be started by everyone.
fn mode() -> u32 {
    if geteuid().is_root() { 0o711 } else { 0o555 }
}

fn unreadable(error: &io::Error) -> Error {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => {
            "its file has a mode that only its owner can read it with: run --install as root, or \
             start from a copy of mode 0755"
        }
        _ => "it is read at /proc/self/exe: mount /proc",
    };
    Error::config(format!("--install: cannot read the program itself: {error}")).hint(hint)
}

fn no_directory(path: &Path) -> Error {
    Error::config(format!("--install: {} is no directory", path.display()))
        .hint("make it or mount a volume there, or leave out the slash at the end for a file")
}

fn unwritable(target: &Path, directory: &Path, size: usize, error: &io::Error) -> Error {
    let place = directory.display();
    let failed = Error::config(format!("--install: cannot write {}: {error}", target.display()));
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            failed.hint(format!("{place} is no directory: make it, or mount a volume there"))
        }
        ErrorKind::PermissionDenied => failed.hint(format!(
            "user {} must be able to write to {place}: chown it, or set fsGroup in a pod",
            geteuid()
        )),
        ErrorKind::ReadOnlyFilesystem => {
            failed.hint(format!("mount a volume at {place} that can be written to"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            failed.hint(format!("the copy has {size} bytes"))
        }
        _ => failed,
    }
}
