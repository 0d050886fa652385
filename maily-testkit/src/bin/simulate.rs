//! Plays seeds on all cores and tells what came of them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use maily_testkit::harness::{PLATFORM, Report, Stage, Tally, simulate};

/// A simulation makes and drops small values more than anything else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: simulate [--seeds N] [--from SEED] [--seed SEED] [--threads N]
  plays N seeds (default 1000) from SEED on, on all cores; --seed plays one and prints all that happened";

struct Options {
    from: u64,
    count: u64,
    one: Option<u64>,
    threads: usize,
}

fn options() -> Option<Options> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options { from: 0, count: 1_000, one: None, threads: cores };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--seeds" => options.count = value.parse().ok()?,
            "--from" => options.from = value.parse().ok()?,
            "--seed" => options.one = Some(value.parse().ok()?),
            "--threads" => options.threads = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    time: Duration,
    steps: u64,
    faults: Tally,
    ends: BTreeMap<String, u64>,
    violations: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.time += report.time;
        self.steps += report.steps;
        self.faults.add(&report.faults);
        for (end, count) in &report.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.violations += 1;
            if self.violations <= 20 {
                println!("seed {} ({}):", report.seed, env!("CARGO_PKG_VERSION"));
                for violation in report.violations.iter().take(5) {
                    println!("  {violation}");
                }
            }
        }
    }
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let stage = match Stage::new(PLATFORM) {
        Ok(stage) => Arc::new(stage),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(seed) = options.one {
        let report = simulate(&stage, seed, true);
        for line in &report.log {
            println!("{line}");
        }
        println!("digest {:016x}, {} violations", report.digest, report.violations.len());
        return if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    #[expect(clippy::disallowed_methods, reason = "how long it takes is measured on the machine's clock")]
    let begun = std::time::Instant::now();
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.count);
    let sum = Mutex::new(Sum::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = simulate(&stage, seed, false);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = begun.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_minute = sum.seeds as f64 * 60.0 / took.as_secs_f64();
    println!(
        "{} phased deploys of 12 services in {:.1} s: {per_minute:.0} a minute",
        sum.seeds,
        took.as_secs_f64()
    );
    println!("{:.1} simulated hours, {} steps", sum.time.as_secs_f64() / 3600.0, sum.steps);
    for (end, count) in &sum.ends {
        println!("  ended {end}: {count}");
    }
    for (fault, count) in &sum.faults.0 {
        println!("  {fault}: {count}");
    }
    println!("{} seeds with violations", sum.violations);
    if sum.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
