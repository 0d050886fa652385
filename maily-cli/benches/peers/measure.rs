//! What is measured of one command.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) took: Duration,
    /// Requests that the server counted for our user, per workload.
    pub(crate) requests: f64,
    pub(crate) peak_mib: f64,
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Runs commands one after the other; returns the largest resident memory of any of them.
pub(crate) async fn run(commands: Vec<Command>) -> f64 {
    let until = Instant::now() + super::CAP;
    let mut peak: f64 = 0.0;
    for mut command in commands {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        loop {
            peak = peak.max(resident(&child));
            match child.try_wait().expect("is ours") {
                Some(status) if status.success() => break,
                Some(status) => panic!("{name} ended with {status}: {}", said(&mut child)),
                None if Instant::now() > until => {
                    child.kill().expect("is ours");
                    child.wait().expect("is ours");
                    return peak;
                }
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
    peak
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = std::io::Read::read_to_string(stderr, &mut text);
    }
    text
}

/// High-water mark of the resident memory in MiB.
fn resident(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok()).unwrap_or_default()
        / 1024.0
}
