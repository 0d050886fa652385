//! Releases of many small workloads: `mailyctl` beside kubectl, helm and a bare loop, on the test stack.
//!
//! `cargo bench -p maily-cli --bench peers -- --stack DIR [--sizes 12,200,1000] [--tools mailyctl,kubectl,helm,helm-raised,bare]`
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark lives by the machine's clock and prints"
)]

mod bare;
mod measure;
mod place;
mod tools;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use measure::{Cell, median};
use place::Place;
use tools::Tool;

/// A cell that takes longer is given up.
const CAP: Duration = Duration::from_secs(180);
const SCENES: [&str; 4] = ["install", "upgrade", "no-op", "rollback"];

struct Wanted {
    stack: PathBuf,
    sizes: Vec<usize>,
    tools: Vec<Tool>,
}

fn wanted() -> Option<Wanted> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (mut stack, mut sizes, mut tools) = (None, vec![12, 200, 1000], Tool::ALL.to_vec());
    while let Some(arg) = args.next() {
        let value = args.next()?;
        match arg.as_str() {
            "--stack" => stack = Some(PathBuf::from(value)),
            "--sizes" => sizes = value.split(',').map(str::parse).collect::<Result<_, _>>().ok()?,
            "--tools" => tools = value.split(',').map(Tool::parse).collect::<Option<_>>()?,
            _ => return None,
        }
    }
    Some(Wanted { stack: stack?, sizes, tools })
}

#[tokio::main]
async fn main() {
    let Some(wanted) = wanted() else {
        eprintln!(
            "usage: --stack DIR [--sizes 12,200,1000] [--tools mailyctl,kubectl,helm,helm-raised,bare]"
        );
        return;
    };
    let place = Place::prepare(&wanted.stack).await;
    println!("| workloads | tool | scene | seconds | requests per workload | peak MiB |");
    println!("|---|---|---|---|---|---|");
    for size in &wanted.sizes {
        let rounds = match size {
            0..100 => 5,
            100..1000 => 3,
            _ => 1,
        };
        let mut cells: BTreeMap<(usize, usize), Vec<Cell>> = BTreeMap::new();
        // Round by round, so that a slow minute of the machine meets every tool.
        for round in 0..rounds {
            for (index, tool) in wanted.tools.iter().enumerate() {
                if *size >= 1000 && matches!(tool, Tool::Kubectl | Tool::Helm) {
                    continue;
                }
                let site = place.site(*size, &format!("{}-{round}", tool.name())).await;
                for (scene, name) in SCENES.iter().enumerate() {
                    let cell = place.measure(*size, site.run(*tool, name)).await;
                    let capped = cell.took >= CAP;
                    cells.entry((index, scene)).or_default().push(cell);
                    if capped {
                        break;
                    }
                }
                site.remove().await;
            }
        }
        for ((tool, scene), cells) in cells {
            let seconds = median(cells.iter().map(|cell| cell.took.as_secs_f64()));
            let seconds =
                if seconds >= CAP.as_secs_f64() { "> 180".to_owned() } else { format!("{seconds:.2}") };
            println!(
                "| {size} | {} | {} | {seconds} | {:.1} | {:.0} |",
                wanted.tools[tool].name(),
                SCENES[scene],
                median(cells.iter().map(|cell| cell.requests)),
                median(cells.iter().map(|cell| cell.peak_mib)),
            );
        }
    }
}
