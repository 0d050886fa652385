//! The test stack of `stack/stack`: a real API server with controllers and simulated nodes.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names the folder of a running stack.
const VARIABLE: &str = "MAILY_TEST_STACK";

/// A stack that runs.
#[derive(Clone, Debug)]
pub struct Stack {
    folder: PathBuf,
}

/// Why a stack cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// No stack is named.
    #[error("no test stack: run `maily-testkit/stack/stack up DIR` and set {VARIABLE}=DIR")]
    Unset,
    /// The folder holds no stack.
    #[error("`{0}` is no test stack")]
    NoStack(PathBuf),
    /// The script failed.
    #[error("`stack {0}` failed: {1}")]
    Failed(String, String),
}

impl Stack {
    /// The stack that the environment names.
    ///
    /// # Errors
    /// When it names none.
    #[expect(clippy::disallowed_methods, reason = "the harness is configured by the environment")]
    pub fn from_env() -> Result<Self, StackError> {
        let folder = std::env::var_os(VARIABLE).map(PathBuf::from).ok_or(StackError::Unset)?;
        if folder.join("stack").is_file() { Ok(Self { folder }) } else { Err(StackError::NoStack(folder)) }
    }

    /// Kubeconfig of its administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// Kills a part, such as `apiserver`.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn kill(&self, part: &str) -> Result<(), StackError> {
        self.script("kill", part)
    }

    /// Starts a part that was killed, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&self, part: &str) -> Result<(), StackError> {
        self.script("start", part)
    }

    /// Halts a part, which then answers nobody and closes nothing.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn stop(&self, part: &str) -> Result<(), StackError> {
        self.script("stop", part)
    }

    /// Lets a halted part go on.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn cont(&self, part: &str) -> Result<(), StackError> {
        self.script("cont", part)
    }

    fn script(&self, command: &str, part: &str) -> Result<(), StackError> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/stack");
        let what = format!("{command} {part}");
        // The servers inherit our streams: a pipe would stay open as long as they live.
        let status = Command::new(script)
            .arg(command)
            .arg(&self.folder)
            .arg(part)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| StackError::Failed(what.clone(), error.to_string()))?;
        if status.success() { Ok(()) } else { Err(StackError::Failed(what, status.to_string())) }
    }
}
