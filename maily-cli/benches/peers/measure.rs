//! What is measured of one command.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Time between looks at the memory of a command.
const LOOK: Duration = Duration::from_millis(5);

/// Less than this share of the processors' time is nothing to do.
const QUIET_PERCENT: u64 = 15;
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// One measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) took: Duration,
    /// Requests that the server counted for our user, per workload.
    pub(crate) requests: f64,
    pub(crate) peak_mib: f64,
    /// Why it did not come to its end.
    pub(crate) failure: Option<String>,
}

impl Cell {
    pub(crate) fn seconds(&self) -> f64 {
        self.took.as_secs_f64()
    }

    /// Whether what comes next finds what it needs.
    pub(crate) fn is_complete(&self) -> bool {
        self.failure.is_none() && self.took < super::CAP
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Runs commands one after the other until the cap; answers the largest resident memory of any of them in MiB.
pub(crate) async fn run(commands: Vec<Command>) -> Result<f64, String> {
    let until = tokio::time::Instant::now() + super::CAP;
    let mut peak: f64 = 0.0;
    for mut command in commands {
        let name = command.get_program().to_string_lossy().into_owned();
        let errors = tempfile::tempfile().map_err(|error| error.to_string())?;
        let told = errors.try_clone().map_err(|error| error.to_string())?;
        // To a file: a pipe that nobody empties would stop a program that has much to say.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(told);
        let mut child =
            tokio::process::Command::from(command).spawn().map_err(|error| format!("{name}: {error}"))?;
        let pid = child.id().unwrap_or_default();
        // The end is told by a signal; only the memory has to be looked at again and again.
        let status = loop {
            peak = peak.max(resident(pid));
            tokio::select! {
                status = child.wait() => break status.map_err(|error| error.to_string())?,
                () = tokio::time::sleep_until(until) => {
                    let _ = child.kill().await;
                    return Ok(peak);
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        };
        if !status.success() {
            return Err(format!("{name} ended with {status}: {}", last_line(errors)));
        }
    }
    Ok(peak)
}

fn last_line(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().replace('|', "/")
}

/// Waits until the machine has nothing to do: what a tool has left to the controllers is not the next one's.
pub(crate) async fn quiet() {
    let until = Instant::now() + QUIET_LIMIT;
    let mut before = processor();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = processor();
        let (busy, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        // Also where the system does not say.
        if busy * 100 <= all * QUIET_PERCENT {
            return;
        }
        before = now;
    }
}

/// Time that the processors were busy since the start of the machine, and all of their time.
fn processor() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let times: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    let all = times.iter().take(8).sum();
    // The fourth and fifth are idle, and idle because of a disk.
    (all - times.iter().skip(3).take(2).sum::<u64>(), all)
}

/// Median time of a command that answers at once.
pub(crate) fn start(mut command: impl FnMut() -> Command) -> Option<Duration> {
    const TIMES: usize = 21;
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let begun = Instant::now();
        let status =
            command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        times.push(begun.elapsed());
        status.success().then_some(())?;
    }
    times.sort();
    times.get(TIMES / 2).copied()
}

/// High-water mark of the resident memory in MiB.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or_default()
        / 1024.0
}
