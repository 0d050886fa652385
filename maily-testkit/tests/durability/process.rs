//! Tests that need a process of their own, because its limits or its user are others.

use std::{
    os::unix::fs::MetadataExt as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Names the folder that such a test works in.
const FOLDER: &str = "MAILY_TEST_FOLDER";
/// `nobody`, who owns nothing.
const NOBODY: u32 = 65_534;

/// The folder of a test that another one runs.
pub(crate) fn folder() -> PathBuf {
    std::env::var_os(FOLDER).map(PathBuf::from).expect("another test runs this one, and says where")
}

/// A shell that becomes this program with one test, after what is to be prepared.
fn shell(program: &Path, test: &str, folder: &Path, prepare: &str) -> Command {
    let mut command = Command::new("sh");
    let script = format!("{prepare} exec \"$0\" --exact {test} --ignored --nocapture");
    command.args(["-c", &script]).arg(program).env(FOLDER, folder);
    command
}

#[track_caller]
fn passes(mut command: Command) {
    let output = command.output().expect("starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// Runs a test where no file may grow beyond a few kilobytes, as on a disk that is full.
#[track_caller]
pub(crate) fn without_room(test: &str, folder: &Path) {
    let program = std::env::current_exe().expect("is a file");
    // Blocks have 512 or 1,024 bytes. Without the trap the signal would end the process.
    passes(shell(&program, test, folder, "trap '' XFSZ; ulimit -f 8;"));
}

/// Runs a test as a user to whom the modes of files matter: to root they do not.
#[track_caller]
pub(crate) fn unprivileged(test: &str, folder: &Path) {
    let mut program = std::env::current_exe().expect("is a file");
    let root = std::fs::metadata(folder).expect("is there").uid() == 0;
    if root {
        // The target folder may stand where nobody else can look.
        let copy = folder.with_file_name("program");
        std::fs::copy(&program, &copy).expect("can be copied");
        program = copy;
    }
    let mut command = shell(&program, test, folder, "");
    if root {
        command.uid(NOBODY).current_dir("/");
    }
    passes(command);
}
