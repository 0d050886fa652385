//! `phased-deploy`: phase by phase, one plan and one run per environment.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use maily_core::{
    engine::EnvironmentError,
    model::{ServiceName, Version},
    release::{Part, PhaseChoice, PhaseError, STAGING, never_had, parts, past_staging},
};
use maily_testkit::sim::Mode;

use super::deploy::{PartEnd, part, version};
use crate::{
    args::{Globals, PhasedCommand},
    exit::{CliError, Code},
    render::Ui,
    session::{ask, hearing},
    signals::has_done,
    wire::Workshop,
};

pub(super) async fn deploy(ui: &Ui, globals: &Globals, args: &PhasedCommand) -> Result<Code, CliError> {
    if args.canary || args.canary_weight.is_some() {
        return Err(CliError::usage(
            "traffic cannot be shifted step by step yet: no traffic provider is there",
        )
        .help("leave `--canary` and `--canary-weight` away: every phase then rolls out completely"));
    }
    let version = version(&args.version)?;
    let workshop = Workshop::open(globals, Mode::Write)?;
    let parts = parts(&workshop.project, &choice(args))?;
    let result = run(ui, &workshop, &parts, &version, args).await;
    workshop.close();
    result
}

fn choice(args: &PhasedCommand) -> PhaseChoice {
    PhaseChoice {
        environment: args.env.clone(),
        skip_staging: args.skip_staging,
        first: Some(usize::from(args.start_phase)),
        last: args.end_phase.map(usize::from),
    }
}

async fn run(
    ui: &Ui,
    workshop: &Workshop,
    parts: &[Part],
    version: &Version,
    args: &PhasedCommand,
) -> Result<Code, CliError> {
    if !args.dry_run {
        seen_on_staging(ui, workshop, parts, version, args).await?;
    }
    // Environments that this command has brought to the version.
    let mut brought: Vec<&str> = Vec::new();
    for (index, Part { environment, phases }) in parts.iter().enumerate() {
        let ended = part(ui, workshop, environment, phases.clone(), version, args).await;
        if let Ok(PartEnd { code: Code::Done, changed, .. }) = ended {
            if changed && !brought.contains(&&**environment) {
                brought.push(environment);
                let (others, back) = others(ui, &brought, version);
                has_done(format!("{others}; back: {back}"));
            }
            continue;
        }
        let rest: Vec<&str> = parts[index + 1..].iter().map(|part| &*part.environment).collect();
        // Events are what a machine sees of the others.
        if !rest.is_empty() && !ui.is_json() {
            ui.insist(&format!("not begun: {}", rest.join(", ")));
        }
        let is_there = ended.as_ref().is_ok_and(|end| end.is_there);
        let ended = ended.map(|end| end.code);
        return if brought.is_empty() {
            ended
        } else {
            halfway(ui, (environment, is_there), &brought, version, ended)
        };
    }
    Ok(Code::Done)
}

/// Where the other environments are, and the commands that take them back.
fn others(ui: &Ui, brought: &[&str], version: &Version) -> (String, String) {
    let are = if brought.len() == 1 { "is" } else { "are" };
    let back: Vec<String> = brought
        .iter()
        .map(|name| format!("`{}`", ui.tool.call(&format!("rollback --env {name} --last-good"))))
        .collect();
    (format!("{} {are} at {version}", brought.join(" and ")), back.join(" and "))
}

/// How a command ends that has brought other environments to the version before this one ended otherwise: that nothing
/// was changed is true of this one alone.
fn halfway(
    ui: &Ui,
    (environment, is_there): (&str, bool),
    brought: &[&str],
    version: &Version,
    ended: Result<Code, CliError>,
) -> Result<Code, CliError> {
    let (others, back) = others(ui, brought, version);
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
        // A machine gets one document.
        Err(error) if ui.is_json() => {
            let first = error.help.as_ref().map(|help| format!("{help}; ")).unwrap_or_default();
            let help = format!("{first}{others}; back: {back}");
            Err(error.help(help))
        }
        Ok(code) if ui.is_json() => {
            let message = match is_there {
                true => format!("{others}, {environment} as well, but not all that it left as it was serves"),
                false => format!("{others}, {environment} is not"),
            };
            Err(CliError::new(code, message).help(format!("back: {back}")))
        }
        other => {
            ui.insist(&format!("{others}; back: {back}"));
            other
        }
    }
}

/// Without a recorded success on staging a person has to say so, with a reason where nobody can be asked.
async fn seen_on_staging(
    ui: &Ui,
    workshop: &Workshop,
    parts: &[Part],
    version: &Version,
    args: &PhasedCommand,
) -> Result<(), CliError> {
    let services = past_staging(&workshop.project, parts).map_err(PhaseError::from)?;
    if services.is_empty() {
        return Ok(());
    }
    let count = services.len();
    // Others of the command are about to be seen there.
    let is_part = parts.iter().any(|part| &*part.environment == STAGING);
    let (message, help) = match missing_on_staging(ui, workshop, version, services).await? {
        Ok(missing) if missing.is_empty() => return Ok(()),
        Ok(missing) => {
            let what = if missing.len() == count && !is_part {
                format!("version {version}")
            } else {
                let names: Vec<&str> = missing.iter().map(|name| &**name).collect();
                format!("version {version} of {}", names.join(", "))
            };
            (format!("{what} was never seen to succeed on staging"), None)
        }
        Err(error) => {
            (format!("version {version} could not be looked for on staging: {}", error.message), error.help)
        }
    };
    if args.run.yes && args.run.turn.reason.is_some() {
        ui.tell(&format!("{} {message}", ui.beside.warn("!")));
        return Ok(());
    }
    if !args.run.yes && ui.can_ask() {
        return match ask(&format!("{message}. Go on?"))? {
            true => Ok(()),
            false => Err(CliError::new(Code::Failed, "not approved: nothing was changed")),
        };
    }
    let first = help.unwrap_or_else(|| "deploy it to staging first".to_owned());
    Err(CliError::new(Code::Approval, message).help(format!("{first}, or say `--yes --reason TEXT`")))
}

/// What staging has not seen of a version; or why that cannot be found out: it may be away, which is what going past it
/// is for. What another cluster has seen says nothing, and is no reason to go on either.
async fn missing_on_staging(
    ui: &Ui,
    workshop: &Workshop,
    version: &Version,
    services: BTreeSet<ServiceName>,
) -> Result<Result<BTreeSet<ServiceName>, CliError>, CliError> {
    let staging = match workshop.wire(Some(STAGING)).await {
        Ok(staging) => staging.environment.told_to(&hearing(ui)),
        Err(error) => return Ok(Err(error)),
    };
    let seen = async {
        staging.check().await?;
        let head = staging.head().await?;
        staging.read(|records| never_had(records, &head, version, services.clone()).boxed()).await
    };
    match seen.await {
        Err(error @ EnvironmentError::WrongCluster { .. }) => Err(error.into()),
        seen => Ok(seen.map_err(CliError::from)),
    }
}
