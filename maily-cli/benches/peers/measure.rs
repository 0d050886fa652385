//! What is measured of one command.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// One measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) took: Duration,
    /// Requests that the server counted for our user, per workload.
    pub(crate) requests: f64,
    /// Zero where no program was started.
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
    let until = Instant::now() + super::CAP;
    let mut peak: f64 = 0.0;
    for mut command in commands {
        let name = command.get_program().to_string_lossy().into_owned();
        let errors = tempfile::tempfile().map_err(|error| error.to_string())?;
        let told = errors.try_clone().map_err(|error| error.to_string())?;
        // To a file: a pipe that nobody empties would stop a program that has much to say.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(told);
        let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        loop {
            peak = peak.max(resident(&child));
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) if status.success() => break,
                Some(status) => return Err(format!("{name} ended with {status}: {}", last_line(errors))),
                None if Instant::now() > until => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(peak);
                }
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
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
fn resident(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or_default()
        / 1024.0
}
