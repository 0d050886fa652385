//! Programs of the machine, each with all that it starts: what is left of them ends with them, or with who waits.

use std::{
    fmt, io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt as _,
    process::{ChildStderr, ChildStdout, Command},
};

/// So much of the end of standard error is kept.
const SAID: usize = 64 * 1024;
/// So long the last output is waited for after the program's end.
const DRAIN: Duration = Duration::from_secs(1);

/// How far a program may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until its end.
    pub time: Duration,
    /// Bytes on standard output; with 0 that is thrown away unread.
    pub output: usize,
}

/// A program that has ended.
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Said,
    /// Whether all output was read; not where somebody outside of the program's process group holds it open.
    pub whole: bool,
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Output may hold values of Secrets.
        f.debug_struct("Ended").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What a program printed on standard error; of a long text the end.
pub struct Said(Vec<u8>);

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said").finish_non_exhaustive()
    }
}

impl Said {
    /// At most so many lines, the last ones, without empty ones.
    pub fn last(&self, lines: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0);
        let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The system did not start it.
    #[error("cannot be run")]
    Io(#[from] io::Error),
    /// It did not end in time, and was ended.
    #[error("did not end within {} s", limit.as_secs())]
    Late {
        /// The time that it had.
        limit: Duration,
        /// What it had said by then.
        stderr: Said,
    },
    /// It printed more than anybody reads, and was ended.
    #[error("printed more than {0} bytes")]
    TooMuch(usize),
}

/// Runs a program without input to its end. Its end counts, not that of its output, which a program in the background
/// keeps open. All that it started ends with it, at the limit, and when this future is dropped.
///
/// # Errors
/// When it cannot be started, or goes beyond a limit.
#[expect(clippy::disallowed_methods, reason = "a program of the machine lives by the machine's clock")]
pub async fn run(command: std::process::Command, limits: Limits) -> Result<Ended, ProgramError> {
    let mut command = Command::from(command);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command.stdout(if limits.output == 0 { Stdio::null() } else { Stdio::piped() });
    command.process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group(child.id());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut printed, mut said) = (Vec::new(), Vec::new());
    let mut ended = None;
    {
        let reading =
            futures::future::try_join(all(stdout, limits.output, &mut printed), last(stderr, &mut said));
        let mut reading = std::pin::pin!(reading);
        let end = async {
            tokio::select! {
                biased;
                status = child.wait() => Ok::<_, ProgramError>((status?, false)),
                read = &mut reading => {
                    read?;
                    Ok((child.wait().await?, true))
                }
            }
        };
        if let Ok(end) = tokio::time::timeout(limits.time, end).await {
            let (status, mut whole) = end?;
            // Whoever was left behind lets go of the output.
            drop(group);
            if !whole && let Ok(read) = tokio::time::timeout(DRAIN, &mut reading).await {
                read?;
                whole = true;
            }
            ended = Some((status, whole));
        }
    }
    let stderr = Said(said);
    match ended {
        Some((status, whole)) => Ok(Ended { status, stdout: printed, stderr, whole }),
        None => Err(ProgramError::Late { limit: limits.time, stderr }),
    }
}

/// Reads standard output, which may have so many bytes.
async fn all(stream: Option<ChildStdout>, most: usize, kept: &mut Vec<u8>) -> Result<(), ProgramError> {
    let Some(stream) = stream else { return Ok(()) };
    stream.take(most as u64 + 1).read_to_end(kept).await?;
    if kept.len() > most { Err(ProgramError::TooMuch(most)) } else { Ok(()) }
}

/// Reads standard error to its end, so that nobody waits for a reader, and keeps the last of it.
async fn last(stream: Option<ChildStderr>, kept: &mut Vec<u8>) -> Result<(), ProgramError> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut some = vec![0; 8 * 1024];
    loop {
        let length = stream.read(&mut some).await?;
        if length == 0 {
            return Ok(());
        }
        kept.extend_from_slice(&some[..length]);
        if kept.len() > 2 * SAID {
            kept.drain(..kept.len() - SAID);
        }
    }
}

/// The processes of a program; ends them when it is over.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // Mostly there is nobody left.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests of programs live by the machine's clock")]
mod tests {
    use std::{path::PathBuf, time::Instant};

    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(20), output: 1024 * 1024 };

    fn shell(script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A script that leaves a process behind and writes down which.
    fn with_a_child(name: &str, then: &str) -> (std::process::Command, PathBuf) {
        let path = std::env::temp_dir().join(format!("maily-program-{name}-{}", std::process::id()));
        let shown = path.display();
        (shell(&format!("sleep 61 & echo $! > '{shown}.new'; mv '{shown}.new' '{shown}'; {then}")), path)
    }

    /// Waits until the process that the script wrote down is gone.
    async fn gone(path: &PathBuf) {
        let until = Instant::now() + Duration::from_secs(5);
        let child = std::fs::read_to_string(path).expect("was written");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        while !state().is_empty() && !state().contains(") Z ") {
            assert!(Instant::now() < until, "it lives on: {}", state());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = std::fs::remove_file(path);
    }

    #[tokio::test]
    async fn all_that_a_program_started_ends_with_it() {
        let (command, path) = with_a_child("ends", "echo done");
        let ended = run(command, LIMITS).await.expect("runs");
        assert!(ended.status.success() && ended.whole && ended.stdout == b"done\n", "{ended:?}");
        gone(&path).await;
    }

    #[tokio::test]
    async fn all_that_a_program_started_ends_at_the_limit() {
        let (command, path) = with_a_child("late", "echo why >&2; wait");
        let limits = Limits { time: Duration::from_secs(1), ..LIMITS };
        let late = run(command, limits).await.expect_err("does not end");
        assert_eq!(late.to_string(), "did not end within 1 s");
        let ProgramError::Late { stderr, .. } = late else { panic!("{late:?}") };
        assert_eq!(stderr.last(3), ["why"]);
        gone(&path).await;
    }

    #[tokio::test]
    async fn all_that_a_program_started_ends_when_nobody_waits_any_more() {
        let (command, path) = with_a_child("dropped", "wait");
        let until = Instant::now() + Duration::from_secs(5);
        tokio::select! {
            ended = run(command, LIMITS) => panic!("{ended:?}"),
            () = async {
                while !path.exists() {
                    assert!(Instant::now() < until, "never began");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            } => {}
        }
        gone(&path).await;
    }

    #[tokio::test]
    async fn output_is_read_whole_or_refused() {
        let long = "i=0; while [ $i -lt 20000 ]; do echo 'a warning of some length' >&2; i=$((i+1)); done";
        let ended = run(shell(&format!("{long}; echo out; echo last >&2")), LIMITS).await.expect("runs");
        assert_eq!(ended.stdout, b"out\n");
        assert_eq!(ended.stderr.last(2), ["a warning of some length", "last"]);
        assert!(ended.stderr.last(usize::MAX).len() < 20_000, "all of it is kept");
        let endless = run(shell("while :; do echo more; done"), Limits { output: 1000, ..LIMITS }).await;
        assert_eq!(endless.expect_err("is refused").to_string(), "printed more than 1000 bytes");
    }
}
