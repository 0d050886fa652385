//! The servers and programs that are measured: from the test stack's cache, built where they are missing.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::tools::Tool;

/// First of the six ports of a stack of our own.
const PORT: &str = "27443";

pub(crate) struct Servers {
    folder: PathBuf,
    programs: PathBuf,
    /// A stack that was brought up here ends here.
    own: Option<TempDir>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../maily-testkit/stack/stack")
}

fn stack(args: &[&str]) {
    // The servers inherit our streams: a pipe would stay open as long as they live.
    let status = Command::new(script()).args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.unwrap_or_else(|error| panic!("the stack's script does not start: {error}"));
    assert!(status.success(), "`stack {}` failed", args.join(" "));
}

impl Servers {
    pub(crate) fn new(folder: Option<&Path>, tools: &[Tool]) -> Self {
        if tools.iter().any(|tool| matches!(tool, Tool::Helm | Tool::HelmRaised)) {
            stack(&["build", "helm"]);
        }
        let path = Command::new(script()).arg("path").output().expect("the stack's script starts");
        let programs = PathBuf::from(String::from_utf8_lossy(&path.stdout).trim());
        if Command::new("kubectl").arg("version").arg("--client").output().is_err() {
            stack(&["build", "kubectl"]);
        }
        let own = folder.is_none().then(|| TempDir::new().expect("can be made"));
        let folder = match (&own, folder) {
            (Some(own), _) => {
                let folder = own.path().join("stack");
                eprintln!("bringing up a test stack");
                stack(&["up", &folder.display().to_string(), PORT]);
                folder
            }
            (None, Some(folder)) => folder.to_owned(),
            (None, None) => unreachable!("one of them is there"),
        };
        Self { folder, programs, own }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig").canonicalize().expect("the stack runs")
    }

    /// A program of the cache, else the machine's own.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let built = self.programs.join(name);
        if built.is_file() { built } else { PathBuf::from(name) }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if self.own.is_some() {
            let folder = self.folder.display().to_string();
            let _ = Command::new(script()).args(["down", &folder]).status();
        }
    }
}
