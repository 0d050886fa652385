//! Releases of many small workloads: `mailyctl` beside kubectl, helm and a bare loop, on the same servers, with the
//! same objects, in one run.
//!
//! `cargo bench -p maily-cli --profile bench-release --bench peers` brings up a test stack of its own and ends it;
//! `-- --stack DIR` uses one that runs. See `--help` for the rest.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark lives by the machine's clock and prints"
)]

mod bare;
mod measure;
mod place;
mod servers;
mod table;
mod tools;

use std::{path::PathBuf, time::Duration};

use place::Place;
use servers::Servers;
use table::{Scene, Table};
use tools::Tool;

/// A cell that takes longer is given up.
const CAP: Duration = Duration::from_secs(180);
/// From this many workloads on, one run has to do, and tools that would meet the cap are left out.
const MANY: usize = 1000;

const USAGE: &str = "usage: cargo bench -p maily-cli --profile bench-release --bench peers [-- OPTION...]
  --stack DIR             use the test stack that runs there; else one is brought up and ended
  --sizes 12,200,1000     numbers of workloads
  --rounds N              measure every cell N times instead of 5 (below 100 workloads), 3 (below 1,000) or once
  --tools NAME,...        bare, mailyctl, mailyctl-plan, kubectl, helm, helm-raised";

struct Wanted {
    stack: Option<PathBuf>,
    sizes: Vec<usize>,
    tools: Vec<Tool>,
    rounds: Option<usize>,
}

fn wanted() -> Option<Wanted> {
    // `cargo bench` adds `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut wanted =
        Wanted { stack: None, sizes: vec![12, 200, MANY], tools: Tool::ALL.to_vec(), rounds: None };
    while let Some(arg) = args.next() {
        let value = args.next()?;
        match arg.as_str() {
            "--stack" => wanted.stack = Some(PathBuf::from(value)),
            "--sizes" => wanted.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>().ok()?,
            "--tools" => wanted.tools = value.split(',').map(Tool::parse).collect::<Option<_>>()?,
            "--rounds" => wanted.rounds = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    Some(wanted)
}

fn rounds(size: usize) -> usize {
    match size {
        0..100 => 5,
        100..MANY => 3,
        _ => 1,
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((bare::NAME, rest)) = args.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        if let Err(error) = bare::main(rest).await {
            eprintln!("{error}");
            std::process::exit(1);
        }
        return;
    }
    let Some(wanted) = wanted() else {
        eprintln!("{USAGE}");
        std::process::exit(2);
    };
    let servers = Servers::new(wanted.stack.as_deref(), &wanted.tools);
    let place = Place::prepare(&servers).await;
    println!("{}\n", place.versions());
    // What runs first on fresh servers pays for their start.
    eprintln!("warming up");
    let site = place.site(12, "warm").await;
    site.cell(Tool::Bare, Scene::Install).await;
    site.cell(Tool::Bare, Scene::Upgrade).await;
    site.remove().await;

    let mut table = Table::new(&wanted.tools);
    for &size in &wanted.sizes {
        // Round by round, so that a slow minute of the machine meets every tool.
        let rounds = wanted.rounds.unwrap_or_else(|| rounds(size));
        for round in 1..=rounds {
            for &tool in &wanted.tools {
                if size >= MANY && matches!(tool, Tool::Kubectl | Tool::Helm) {
                    continue;
                }
                eprintln!("{size} workloads, round {round} of {rounds}: {}", tool.name());
                let site = place.site(size, &format!("{}-{round}", tool.name())).await;
                for scene in Scene::ALL {
                    let cell = site.cell(tool, scene).await;
                    let goes_on = cell.is_complete();
                    table.add(size, scene, tool, cell);
                    if !goes_on {
                        break;
                    }
                }
                site.remove().await;
            }
            if round < rounds {
                eprintln!("so far:\n{}", table.rows(size));
            }
        }
        println!("{}", table.rows(size));
    }
    println!("{}", place.starts());
}
