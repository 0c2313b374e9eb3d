//! Determines what the kernel would make of a program's file, as far as that is possible without
//! running it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How the kernel sees a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// It has a `#!` line; `None` if the line names no interpreter.
    Script(Option<PathBuf>),
    /// A program for this machine, with the loader that it names.
    Program(Option<PathBuf>),
    /// Text, or an empty file: no machine runs that.
    Text,
    /// Anything else: only the kernel knows, and it may have been taught the format (binfmt_misc).
    Unknown,
}

/// How much of a file the kernel reads to determine its format (`BINPRM_BUF_SIZE`).
const START: usize = 256;
/// `e_machine` of the programs that this machine is certain to run (elf.h).
const MACHINE: Option<u64> = if cfg!(target_arch = "x86_64") {
    Some(62)
} else if cfg!(target_arch = "aarch64") {
    Some(183)
} else {
    None
};

/// Determines the format of a file. A file that cannot be read may still be executable.
pub(crate) fn of(program: &Path) -> Format {
    let Some((file, start)) =
        File::open(program).ok().and_then(|file| bytes(&file, 0, START).map(|start| (file, start)))
    else {
        return Format::Unknown;
    };
    match start.strip_prefix(b"#!") {
        Some(line) => Format::Script(interpreter(line)),
        None if start.starts_with(b"\x7fELF") => Format::Program(loader(&file, &start)),
        None if !start.contains(&0) => Format::Text,
        None => Format::Unknown,
    }
}

/// Returns the first word of the line. Only blanks separate words: a carriage return is part of the
/// name, as it is for the kernel.
fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|&byte| byte == b'\n').next()?;
    let word = line.split(|byte| b" \t\0".contains(byte)).find(|word| !word.is_empty())?;
    Some(Path::new(OsStr::from_bytes(word)).to_owned())
}

/// Returns the `PT_INTERP` of a 64-bit little-endian program for this machine (elf(5)).
fn loader(file: &File, header: &[u8]) -> Option<PathBuf> {
    const PT_INTERP: u64 = 3;
    let is_native = header.get(4..6)? == [2, 1] && Some(number(header, 18, 2)?) == MACHINE;
    let (table, size, count) =
        (number(header, 32, 8)?, number(header, 54, 2)?, number(header, 56, 2)?);
    let entry = |index| bytes(file, table.checked_add(index * size)?, 56);
    let is_loader = |entry: &Vec<u8>| number(entry, 0, 4) == Some(PT_INTERP);
    let entry = (0..count).filter(|_| is_native).filter_map(entry).find(is_loader)?;
    let length = usize::try_from(number(&entry, 32, 8)?).ok().filter(|length| *length <= 4096)?;
    let name = bytes(file, number(&entry, 8, 8)?, length)?;
    let name = name.split(|&byte| byte == 0).next().filter(|name| !name.is_empty())?;
    Some(Path::new(OsStr::from_bytes(name)).to_owned())
}

fn number(bytes: &[u8], at: usize, width: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + width)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Reads up to `length` bytes starting at `at`; fewer if the file ends before that.
fn bytes(file: &File, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, at).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interpreter_is_what_the_kernel_takes_for_it() {
        for (line, name) in [
            ("/bin/sh", Some("/bin/sh")),
            (" \t/bin/sh -e -x\nrest", Some("/bin/sh")),
            ("/bin/sh\r\n", Some("/bin/sh\r")),
            ("env\n", Some("env")),
            ("", None),
            (" \n/bin/sh", None),
        ] {
            assert_eq!(interpreter(line.as_bytes()).as_deref(), name.map(Path::new), "{line:?}");
        }
    }

    #[test]
    fn a_program_names_its_loader_and_a_broken_one_names_none() {
        let own = std::env::current_exe().expect("a program");
        let Format::Program(Some(loader)) = of(&own) else {
            return assert_eq!(of(&own), Format::Program(None));
        };
        assert!(loader.is_absolute() && loader.exists(), "{}", loader.display());
        let whole = std::fs::read(&own).expect("readable");
        let file = tempfile::NamedTempFile::new().expect("a file");
        for length in [4, 18, 55, 63, 64, 100, 200] {
            std::fs::write(&file, &whole[..length]).expect("writable");
            assert_eq!(of(file.path()), Format::Program(None), "{length} bytes");
        }
        let mut wrong = whole[..64].to_vec();
        wrong[32..40].fill(0xff);
        std::fs::write(&file, &wrong).expect("writable");
        assert_eq!(of(file.path()), Format::Program(None));
    }

    #[test]
    fn text_and_nothing_are_told_from_what_only_the_kernel_knows() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (content, format) in [
            (&b""[..], Format::Text),
            (b"echo", Format::Text),
            (b"MZ\0", Format::Unknown),
            (b"#!", Format::Script(None)),
        ] {
            std::fs::write(&file, content).expect("writable");
            assert_eq!(of(file.path()), format, "{content:?}");
        }
        assert_eq!(of(Path::new("/nowhere")), Format::Unknown);
    }
}
