//! A command on a pseudo terminal.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Rows enough for every scene: nothing scrolls away.
pub(crate) const ROWS: u16 = 120;

/// Runs a command to its end, with a line for the first question that it asks; its exit code, and everything that stood on
/// the terminal. Without such a line nobody can be asked.
pub(crate) fn run(
    mut command: Command,
    columns: u16,
    answer: Option<&str>,
) -> io::Result<(Option<i32>, Vec<u8>)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let path = std::ffi::OsStr::from_bytes(name.as_bytes());
    let theirs = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
    tcsetwinsize(&theirs, Winsize { ws_row: ROWS, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
    let theirs = File::from(theirs);
    let mut ours = File::from(ours);
    command.stdin(Stdio::null());
    if let Some(answer) = answer {
        command.stdin(theirs.try_clone()?);
        writeln!(ours, "{answer}")?;
    }
    command.stdout(theirs.try_clone()?).stderr(theirs);
    let mut child = command.spawn()?;
    // The terminal ends when the last copy of its other side is closed: ours, too.
    drop(command);
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    // Linux answers the read after the last close with an error, not with an end.
    while let Ok(read @ 1..) = ours.read(&mut part) {
        seen.extend_from_slice(&part[..read]);
    }
    Ok((child.wait()?.code(), seen))
}
