//! Plays seeds on all cores and tells what came of them.
#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use maily_testkit::harness::{Report, Stages, Tally};

/// A simulation makes and drops small values more than anything else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A line of the result. Who stops reading has read enough: the seeds are played all the same.
macro_rules! say {
    ($($line:tt)*) => {{
        let _ = writeln!(std::io::stdout().lock(), $($line)*);
    }};
}

const USAGE: &str = "usage: simulate [--seeds N] [--from SEED] [--seed SEED] [--threads N] [--planted DEFECT|all]
                [--stage platform|gated|ordered]
  plays N seeds (default 1000) from SEED on, on all cores; --seed plays one and prints all that happened;
  --stage plays all seeds with one project: twelve services, few with migrations and gates, or few that are
  StatefulSets in order; else every fourth seed is about the second or the third in turn; --planted takes a rule of the engine away, or each in turn, and plays up to N seeds until one turns red
  (needs the feature `planted`)";

struct Options {
    from: u64,
    count: u64,
    one: Option<u64>,
    threads: usize,
    planted: Option<String>,
    stage: Option<String>,
}

fn options() -> Option<Options> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options =
        Options { from: 0, count: 1_000, one: None, threads: cores, planted: None, stage: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--seeds" => options.count = value.parse().ok()?,
            "--from" => options.from = value.parse().ok()?,
            "--seed" => options.one = Some(value.parse().ok()?),
            "--threads" => options.threads = value.parse().ok()?,
            "--stage" => options.stage = Some(value),
            "--planted" => options.planted = Some(value),
            _ => return None,
        }
    }
    // Where no seed is played nothing is shown.
    (options.count > 0 && options.threads > 0).then_some(options)
}

#[derive(Default)]
struct Sum {
    seeds: u64,
    time: Duration,
    steps: u64,
    faults: Tally,
    ends: BTreeMap<String, u64>,
    violations: usize,
    /// Of all logs, whatever the order in which the seeds were played.
    digest: u64,
    /// Seeds with violations.
    red: u64,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.time += report.time;
        self.steps += report.steps;
        self.digest ^= report.digest.rotate_left(u32::try_from(report.seed % 64).unwrap_or_default());
        self.faults.add(&report.faults);
        for (end, count) in &report.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
        if !report.violations.is_empty() {
            self.violations += report.violations.len();
            self.red += 1;
            if self.red <= 20 {
                say!("seed {} at {}:", report.seed, commit());
                for violation in report.violations.iter().take(5) {
                    say!("  {violation}");
                }
            }
        }
    }
}

/// The sources that are played, so that a seed can be played again: the commit, and whether it was changed since.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"]);
    let said = git.output().ok().filter(|output| output.status.success());
    let commit = said.and_then(|output| String::from_utf8(output.stdout).ok());
    commit.map_or_else(|| format!("version {}", env!("CARGO_PKG_VERSION")), |commit| commit.trim().to_owned())
}

/// Shows for each defect which seed turns red.
#[cfg(feature = "planted")]
fn planted(stages: &Stages, wanted: &str, options: &Options) -> ExitCode {
    use maily_core::planted::Defect;
    use maily_testkit::harness::prove;

    let defects: Vec<Defect> = match (wanted, Defect::of(wanted)) {
        ("all", _) => Defect::ALL.to_vec(),
        (_, Some(defect)) => vec![defect],
        (_, None) => {
            let names: Vec<&str> = Defect::ALL.iter().map(|defect| defect.name()).collect();
            eprintln!("`{wanted}` is no defect: {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let next = AtomicU64::new(0);
    let unnoticed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                let claim = || usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
                while let Some(defect) = claim().and_then(|index| defects.get(index)) {
                    let proof = prove(stages, *defect, options.from, options.count);
                    match proof.red {
                        Some(red) => {
                            let what = red.violations.first().map(String::as_str).unwrap_or_default();
                            say!("{}: seed {} turns red: {what}", defect.name(), red.seed);
                        }
                        None => {
                            unnoticed.fetch_add(1, Ordering::Relaxed);
                            say!("{}: unnoticed in {} seeds", defect.name(), proof.tried);
                        }
                    }
                }
            });
        }
    });
    if unnoticed.load(Ordering::Relaxed) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "planted"))]
fn planted(_: &Stages, _: &str, _: &Options) -> ExitCode {
    eprintln!("this program was built without the feature `planted`");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut stages = match Stages::new() {
        Ok(stages) => stages,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(stage) = &options.stage {
        let Some(only) = stages.only(stage) else {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        };
        stages = only;
    }
    if let Some(wanted) = &options.planted {
        return planted(&stages, wanted, &options);
    }
    if let Some(seed) = options.one {
        let report = stages.simulate(seed, true);
        for line in &report.log {
            say!("{line}");
        }
        say!(
            "seed {seed} at {}: digest {:016x}, {} violations",
            commit(),
            report.digest,
            report.violations.len()
        );
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
                    let report = stages.simulate(seed, false);
                    sum.lock().unwrap_or_else(PoisonError::into_inner).add(&report);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = begun.elapsed();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let per_minute = sum.seeds as f64 * 60.0 / took.as_secs_f64();
    say!(
        "{} phased deploys{} in {:.1} s: {per_minute:.0} a minute",
        sum.seeds,
        if options.stage.as_deref() == Some("platform") { " of 12 services" } else { "" },
        took.as_secs_f64()
    );
    say!("{:.1} simulated hours, {} steps", sum.time.as_secs_f64() / 3600.0, sum.steps);
    say!("digest of all logs: {:016x}", sum.digest);
    say!("runs that ended, as whoever was asked told it:");
    for (end, count) in &sum.ends {
        say!("  {end}: {count}");
    }
    say!("{} faults:", sum.faults.0.values().sum::<u64>());
    for (fault, count) in &sum.faults.0 {
        say!("  {fault}: {count}");
    }
    say!("{} violations in {} of {} seeds", sum.violations, sum.red, sum.seeds);
    if sum.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
