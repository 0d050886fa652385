//! Files that are written as a whole or not at all, and nobody else's on the way; and read to an end.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::exit::{CliError, Code};

/// Writes a file: one that is there is replaced in one go, with its mode and behind its links; what is no regular
/// file, such as a pipe or a device, is written to.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), CliError> {
    put(path, text.as_bytes()).map_err(|error| {
        let error = CliError::new(Code::Failed, format!("failed to write `{}`: {error}", path.display()));
        error.help(
            "make room and see that it may be written, or choose another place; what was there is as it was",
        )
    })
}

/// Bytes that a plan may have: some fifty times the largest release that is tested.
const MOST: u64 = 256 * 1024 * 1024;

/// Reads a text, also from a pipe. A device may have no end.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MOST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MOST {
        return Err(io::Error::other(format!("it has more than {MOST} bytes")));
    }
    Ok(text)
}

/// Names of streams of this process.
const STREAMS: &[&str] = &["/dev/stdout", "/dev/stderr", "/dev/fd", "/proc"];

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let there = match fs::metadata(path) {
        Ok(there) => Some(there),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // A stream of this process may lead to a file, whose place is not ours to give to another one.
    let stream = STREAMS.iter().any(|stream| path.starts_with(stream));
    if there.as_ref().is_some_and(|there| stream || !there.is_file()) {
        return File::options().append(true).open(path)?.write_all(bytes);
    }
    let target = match &there {
        Some(_) => fs::canonicalize(path)?,
        None => end_of_links(path)?,
    };
    let (temporary, mut file) = beside(&target)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Some(there) = there {
            file.set_permissions(there.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Links that are followed one after the other.
const LINKS: usize = 40;

/// Where a link points to that nothing is behind yet.
fn end_of_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(next) => path = path.parent().unwrap_or(Path::new("")).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links"))
}

/// A new file in the same folder, of a name that nobody has.
fn beside(target: &Path) -> io::Result<(PathBuf, File)> {
    let name = target
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a file"))?;
    let mut number = 0;
    loop {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}-{number}", std::process::id()));
        let temporary = target.with_file_name(hidden);
        match File::options().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}
