//! `phased-deploy`: phase by phase, one plan and one run per environment.

use maily_core::{
    engine::history,
    model::{Phase, PhaseName, Version},
};

use super::deploy::{MODE, part, version};
use crate::{
    args::{Globals, PhasedCommand},
    exit::{CliError, Code},
    render::{Ui, several},
    session::ask,
    wire::Workshop,
};

/// The environment that the platform tries a version on first.
const STAGING: &str = "staging";

pub(super) async fn deploy(ui: &Ui, globals: &Globals, args: &PhasedCommand) -> Result<Code, CliError> {
    if args.canary || args.canary_weight.is_some() {
        return Err(CliError::usage(
            "traffic cannot be shifted step by step yet: no traffic provider is there",
        )
        .help("leave `--canary` and `--canary-weight` away: every phase then rolls out completely"));
    }
    let version = version(&args.version)?;
    let workshop = Workshop::open(globals, MODE)?;
    let parts = parts(&workshop, args)?;
    let result = run(ui, &workshop, &parts, &version, args).await;
    workshop.close();
    result
}

/// Phases that follow each other in one environment.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    environment: String,
    /// None: all of the environment's phases.
    phases: Option<Vec<PhaseName>>,
}

fn parts(workshop: &Workshop, args: &PhasedCommand) -> Result<Vec<Part>, CliError> {
    let project = &workshop.project;
    let count = project.phases.len();
    let (start, end) = (usize::from(args.start_phase), args.end_phase.map_or(count, usize::from));
    if start > end {
        return Err(CliError::usage(format!("`--start-phase {start}` comes after `--end-phase {end}`")));
    }
    if end > count {
        return Err(CliError::usage(format!("there is no phase {end}"))
            .help(format!("the project has {}", several(count, "phase"))));
    }
    let limit = args.env.as_deref();
    if let Some(name) = limit {
        project.resolve(name).map_err(|error| CliError::usage(error.to_string()).help(error.help))?;
        if args.skip_staging && name == STAGING {
            return Err(CliError::usage("`--env staging` and `--skip-staging` contradict each other"));
        }
    }
    // The phases of an environment that the file does not declare are left out.
    let declared = |phase: &&Phase| project.environments.contains_key(&phase.environment);
    let chosen: Vec<&Phase> = project.phases[start - 1..end]
        .iter()
        .filter(declared)
        .filter(|phase| limit.is_none_or(|name| *phase.environment == *name))
        .filter(|phase| !(args.skip_staging && &*phase.environment == STAGING))
        .collect();
    let mut parts: Vec<(String, Vec<PhaseName>)> = Vec::new();
    for phase in chosen {
        match parts.last_mut() {
            Some((environment, phases)) if *environment == *phase.environment => {
                phases.push(phase.name.clone())
            }
            _ => parts.push((phase.environment.to_string(), vec![phase.name.clone()])),
        }
    }
    if parts.is_empty() {
        if !project.phases.iter().any(|phase| declared(&phase)) {
            let mut wanted: Vec<&str> = project.phases.iter().map(|phase| &*phase.environment).collect();
            wanted.dedup();
            return Err(CliError::usage(format!(
                "no phase has an environment: the phases are for {}",
                wanted.join(", ")
            ))
            .help(
                "write one of these under `environments`, or `phases` for the environments that there are",
            ));
        }
        return Err(
            CliError::usage("no phase is left to deploy").help("`mailyctl show project` lists the phases")
        );
    }
    let all =
        |environment: &str| project.phases.iter().filter(|phase| *phase.environment == *environment).count();
    Ok(parts
        .into_iter()
        .map(|(environment, phases)| {
            let phases = if phases.len() == all(&environment) { None } else { Some(phases) };
            Part { environment, phases }
        })
        .collect())
}

async fn run(
    ui: &Ui,
    workshop: &Workshop,
    parts: &[Part],
    version: &Version,
    args: &PhasedCommand,
) -> Result<Code, CliError> {
    let project = &workshop.project;
    let has_staging = project.environments.contains_key(STAGING)
        && project.phases.iter().any(|phase| &*phase.environment == STAGING);
    let begins_later = parts.iter().all(|part| part.environment != STAGING);
    if has_staging && begins_later && !args.dry_run {
        seen_on_staging(ui, workshop, version, args).await?;
    }
    // Environments that this command has brought to the version.
    let mut brought: Vec<&str> = Vec::new();
    for (index, Part { environment, phases }) in parts.iter().enumerate() {
        let ended = part(ui, workshop, environment, phases.clone(), version, args).await;
        if let Ok((Code::Done, changed)) = ended {
            if changed && !brought.contains(&environment.as_str()) {
                brought.push(environment);
            }
            continue;
        }
        let rest: Vec<&str> = parts[index + 1..].iter().map(|part| part.environment.as_str()).collect();
        if !rest.is_empty() {
            ui.tell(&format!("not begun: {}", rest.join(", ")));
        }
        let ended = ended.map(|(code, _)| code);
        return if brought.is_empty() { ended } else { halfway(ui, environment, &brought, version, ended) };
    }
    Ok(Code::Done)
}

/// How a command ends that has brought other environments to the version before this one ended otherwise: that nothing
/// was changed is true of this one alone.
fn halfway(
    ui: &Ui,
    environment: &str,
    brought: &[&str],
    version: &Version,
    ended: Result<Code, CliError>,
) -> Result<Code, CliError> {
    let are = if brought.len() == 1 { "is" } else { "are" };
    let others = format!("{} {are} at {version}", brought.join(" and "));
    let back: Vec<String> = brought
        .iter()
        .map(|name| format!("`{}`", ui.tool.call(&format!("rollback --env {name} --last-good"))))
        .collect();
    let back = back.join(" and ");
    let help = |first: Option<&str>| {
        let first = first.unwrap_or("mend the cause");
        format!(
            "{first}; then the same command goes on, and has nothing to do where the version is; or go back: {back}"
        )
    };
    match ended {
        Err(error) if error.code == Code::Failed => {
            let message = format!("{others}, {environment} is as it was: {}", error.message);
            Err(CliError::new(Code::Stuck, message).help(help(error.help.as_deref())))
        }
        Ok(Code::Failed) => {
            let message = format!("{others}, {environment} is as it was");
            Err(CliError::new(Code::Stuck, message).help(help(None)))
        }
        other => {
            ui.tell(&format!("{others}; back: {back}"));
            other
        }
    }
}

/// Without a recorded success on staging a person has to say so, with a reason where nobody can be asked.
async fn seen_on_staging(
    ui: &Ui,
    workshop: &Workshop,
    version: &Version,
    args: &PhasedCommand,
) -> Result<(), CliError> {
    if succeeded(workshop, version).await? {
        return Ok(());
    }
    let message = format!("version {version} was never seen to succeed on staging");
    if args.run.yes && args.run.turn.reason.is_some() {
        ui.tell(&format!("{} {message}", ui.paint.warn("!")));
        return Ok(());
    }
    if !args.run.yes && ui.can_ask() {
        return match ask(&format!("{message}. Go on?"))? {
            true => Ok(()),
            false => Err(CliError::new(Code::Failed, "not approved: nothing was changed")),
        };
    }
    Err(CliError::new(Code::Approval, message)
        .help("deploy it to staging first, or say `--yes --reason TEXT`"))
}

async fn succeeded(workshop: &Workshop, version: &Version) -> Result<bool, CliError> {
    let staging = workshop.wire(Some(STAGING)).await?.environment;
    let head = staging.head().await?;
    for id in head.releases.iter().rev() {
        let release = history::release(&*staging.records, *id).await?;
        if release.is_some_and(|release| release.head.versions.values().any(|had| *had == **version)) {
            return Ok(true);
        }
    }
    Ok(false)
}
