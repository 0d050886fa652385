//! The test stack of `stack/stack`: a real API server with controllers and simulated nodes.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names the folder of a running stack.
const VARIABLE: &str = "MAILY_TEST_STACK";
/// What stands in place of a port where a cluster was there before.
const EXISTING: &str = "existing";

/// A stack that runs.
#[derive(Clone, Debug)]
pub struct Stack {
    folder: PathBuf,
}

/// Why a stack cannot be used.
#[derive(thiserror::Error)]
pub enum StackError {
    /// No stack is named.
    #[error("no test stack: run `maily-testkit/stack/stack up DIR` and set {VARIABLE}=DIR")]
    Unset,
    /// The folder holds no stack.
    #[error("`{0}` is no test stack")]
    NoStack(PathBuf),
    /// The cluster is somebody's, of which there is a kubeconfig and nothing else.
    #[error(
        "this cluster was not started by `stack up`, which MAILY_STACK_KUBECONFIG keeps from it: {0} needs one that was"
    )]
    NotOurs(&'static str),
    /// The API server writes no audit log.
    #[error("no `{0}`: start the stack with MAILY_STACK_AUDIT=1")]
    NoAudit(PathBuf),
    /// The script failed.
    #[error("`stack {0}` failed: {1}")]
    Failed(String, String),
}

/// As people read it: tests give up on it.
impl fmt::Debug for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
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

    /// Whether its servers are ours, and not those of a cluster that was there before.
    fn is_ours(&self) -> bool {
        let text = std::fs::read_to_string(self.folder.join("stack")).unwrap_or_default();
        text.trim() != EXISTING
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

    /// Starts a second API server on what stands at this address: its etcd, or a relay before it. It ends with
    /// [`Self::kill`] of `apiserver-2`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn second(&self, etcd: &str) -> Result<PathBuf, StackError> {
        self.script("second", etcd)?;
        Ok(self.folder.join("second.kubeconfig"))
    }

    /// Address of its etcd.
    ///
    /// # Errors
    /// When the cluster is not ours.
    pub fn etcd(&self) -> Result<std::net::SocketAddr, StackError> {
        if !self.is_ours() {
            return Err(StackError::NotOurs("whoever goes between its parts"));
        }
        let text = std::fs::read_to_string(self.folder.join("stack")).unwrap_or_default();
        let port: u16 = text.trim().parse().map_err(|_| StackError::NoStack(self.folder.clone()))?;
        Ok((std::net::Ipv4Addr::LOCALHOST, port + 1).into())
    }

    /// A file of the stack, such as `ca.crt`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Every change that the API servers were asked for, with its outcome, in the order of the answers.
    ///
    /// # Errors
    /// When the stack was not started with `MAILY_STACK_AUDIT`.
    pub fn audit(&self) -> Result<Vec<serde_json::Value>, StackError> {
        if !self.is_ours() {
            return Err(StackError::NotOurs("whoever counts in its audit log"));
        }
        let path = self.folder.join("audit.log");
        let first = std::fs::read_to_string(&path).map_err(|_| StackError::NoAudit(path))?;
        // The second API server may not run.
        let second = std::fs::read_to_string(self.folder.join("audit-2.log")).unwrap_or_default();
        // The last line may be half written.
        let events = first.lines().chain(second.lines()).filter_map(|line| serde_json::from_str(line).ok());
        let mut events: Vec<serde_json::Value> = events.collect();
        events.sort_by_key(|event| event["stageTimestamp"].as_str().unwrap_or_default().to_owned());
        Ok(events)
    }

    fn script(&self, command: &str, part: &str) -> Result<(), StackError> {
        if !self.is_ours() {
            return Err(StackError::NotOurs("whoever ends and starts its parts"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(port: &str) -> (tempfile::TempDir, Stack) {
        let folder = tempfile::TempDir::new().expect("can be made");
        std::fs::write(folder.path().join("stack"), port).expect("can be written");
        let stack = Stack { folder: folder.path().to_owned() };
        (folder, stack)
    }

    #[test]
    fn of_a_cluster_that_was_there_before_only_the_kubeconfig_is_used() {
        let (_folder, theirs) = stack("existing\n");
        assert!(theirs.kubeconfig().ends_with("admin.kubeconfig"));
        let refusals = [
            theirs.kill("etcd").expect_err("is theirs"),
            theirs.start("etcd").expect_err("is theirs"),
            theirs.second("http://127.0.0.1:1").expect_err("is theirs"),
            theirs.etcd().expect_err("is theirs"),
            theirs.audit().expect_err("is theirs"),
        ];
        for refusal in refusals {
            let told = format!("{refusal:?}");
            assert!(told.contains("was not started by `stack up`"), "{told}");
        }
        let (_folder, ours) = stack("16443\n");
        assert_eq!(ours.etcd().expect("is ours").port(), 16_444);
        assert!(matches!(ours.audit(), Err(StackError::NoAudit(_))));
    }
}
