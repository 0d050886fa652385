//! A folder with a project, and commands in it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::terminal;

pub(crate) struct Desk {
    folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// The same command, which hears of a terminal that closes also where these tests run under `nohup`.
pub(crate) fn hearing_hangups(command: &Command) -> Command {
    let mut heard = Command::new("env");
    heard.arg("--default-signal=HUP").arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        heard.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => heard.env(name, value),
            None => heard.env_remove(name),
        };
    }
    heard
}

impl Desk {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { folder: TempDir::new().expect("can be made") }
    }

    /// The example of the documentation.
    pub(crate) fn example() -> Self {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/maily/maily.yaml");
        Self::with(&std::fs::read_to_string(example).expect("can be read"))
    }

    /// A project file of this text.
    pub(crate) fn with(text: &str) -> Self {
        let desk = Self::empty();
        desk.write("maily.yaml", text);
        desk
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        self.write_bytes(path, text.as_bytes());
    }

    pub(crate) fn write_bytes(&self, path: &str, bytes: &[u8]) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("can be made");
        std::fs::write(path, bytes).expect("can be written");
    }

    /// A pipe with a name: who opens it waits for the other end.
    pub(crate) fn pipe(&self, path: &str) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, self.path().join(path), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("can be made");
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailyctl"));
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        for variable in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "KUBECONFIG", "CLICOLOR_FORCE", "MAILY_LOG"]
        {
            command.env_remove(variable);
        }
        command.env("HOME", self.path()).env("USER", "tester");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        done(self.command(args))
    }

    /// In the sandbox.
    pub(crate) fn sandbox(&self, args: &[&str]) -> Done {
        let mut all = vec!["--sandbox"];
        all.extend(args);
        self.run(&all)
    }

    /// On a terminal of 80 columns, with a line for the first question; both streams go to the one screen.
    pub(crate) fn on_terminal(&self, args: &[&str], answer: Option<&str>) -> Done {
        let mut command = self.command(args);
        command.env("NO_COLOR", "1");
        let (code, seen) = terminal::run(command, 80, answer);
        Done { code, out: seen.replace('\r', ""), err: String::new() }
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
    }
}

pub(crate) fn done(mut command: Command) -> Done {
    let output = command.output().expect("starts");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
