//! `plan`, `apply`, `deploy`, `rollback`, `remove`.

use maily_core::{
    engine::{Depth, Plan, ReleaseId, Storage},
    model::Version,
    release::{self, DeployScope, RollbackTo},
};
use maily_testkit::sim::Mode;

use super::in_environment;
use crate::{
    args::{ApplyCommand, DeployCommand, Globals, PlanArgs, PlanCommand, RemoveCommand, RollbackCommand},
    exit::{CliError, Code},
    file,
    render::Ui,
    session::{self, carry_out, components, depth, look, prepare},
    wire::{Wired, Workshop},
};

pub(super) fn version(text: &str) -> Result<Version, CliError> {
    version_of("--version", text)
}

/// A version of the command line, and where it stands there.
pub(super) fn version_of(place: &str, text: &str) -> Result<Version, CliError> {
    text.parse()
        .map_err(|error: maily_core::model::NameError| CliError::usage(format!("`{place} {text}`: {error}")))
}

pub(super) async fn plan(ui: &Ui, globals: &Globals, args: &PlanCommand) -> Result<Code, CliError> {
    let version = version(&args.version)?;
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let scope = DeployScope { phases: None, components: components(wired, &args.components)? };
        let storage = if args.out.is_some() { Storage::Lasting } else { Storage::Passing };
        let how = (Depth::DryRun, storage);
        let planned = prepare(ui, wired, &version, scope, &args.plan, None, how).await?;
        ui.plan(&planned)?;
        if let Some(path) = &args.out {
            wired.environment.keep_values(&planned).await?;
            file::write(path, &planned.plan.to_text())?;
            let apply = ui.tool.call(&format!("apply {}", path.display()));
            ui.tell(&format!("saved; carry it out with `{apply}`"));
        }
        Ok(if args.exit_code && !planned.plan.is_empty() { Code::Changes } else { Code::Done })
    })
    .await
}

pub(super) async fn apply(ui: &Ui, globals: &Globals, args: &ApplyCommand) -> Result<Code, CliError> {
    let text = file::read(&args.plan).map_err(|error| {
        CliError::usage(format!("failed to read the plan `{}`: {error}", args.plan.display()))
    })?;
    let plan = Plan::parse(&text)?;
    let name = plan.environment.clone();
    in_environment(globals, Some(&name), async |wired| {
        look(ui, wired, Some(&args.run)).await?;
        let planned = wired.environment.adopt_plan(plan).await?;
        carry_out(ui, wired, planned, &args.run, false).await
    })
    .await
}

pub(super) async fn deploy(ui: &Ui, globals: &Globals, args: &DeployCommand) -> Result<Code, CliError> {
    let version = version(&args.version)?;
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let scope = DeployScope { phases: None, components: components(wired, &args.components)? };
        let how = depth(&args.run, args.dry_run);
        let planned = prepare(ui, wired, &version, scope, &args.plan, Some(&args.run), how).await?;
        carry_out(ui, wired, planned, &args.run, args.dry_run).await
    })
    .await
}

pub(super) async fn rollback(ui: &Ui, globals: &Globals, args: &RollbackCommand) -> Result<Code, CliError> {
    let to = match (&args.to_version, args.release) {
        (Some(text), _) => RollbackTo::Version(version_of("--to-version", text)?.to_string()),
        (None, Some(release)) => RollbackTo::Release(ReleaseId(release)),
        (None, None) => RollbackTo::LastGood,
    };
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let seen = look(ui, wired, Some(&args.run)).await?;
        let only = released(wired, &seen, &args.components)?;
        let records = &*wired.environment.records;
        let wanted =
            release::rollback(records, &wired.resolved, &seen.head, seen.base.as_ref(), &to, only.as_deref())
                .await?;
        let how = depth(&args.run, args.dry_run);
        let planned = session::plan(wired, seen, &wanted, &args.plan, how).await?;
        carry_out(ui, wired, planned, &args.run, args.dry_run).await
    })
    .await
}

pub(super) async fn remove(ui: &Ui, globals: &Globals, args: &RemoveCommand) -> Result<Code, CliError> {
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let seen = look(ui, wired, Some(&args.run)).await?;
        let only = released(wired, &seen, &args.components)?;
        let Some(base) = &seen.base else {
            ui.unchanged(&wired.environment.name, "nothing was released yet: nothing to remove")?;
            return Ok(Code::Done);
        };
        let gone = only.unwrap_or_else(|| base.head.versions.keys().cloned().collect());
        let wanted = release::remove(&wired.resolved, base, &gone);
        let how = depth(&args.run, args.dry_run);
        let planned = session::plan(wired, seen, &wanted, &PlanArgs::default(), how).await?;
        carry_out(ui, wired, planned, &args.run, args.dry_run).await
    })
    .await
}

/// Components of the release in force, which the file may not know any more; none for all.
fn released(wired: &Wired, seen: &session::Seen, names: &[String]) -> Result<Option<Vec<String>>, CliError> {
    if names.len() == 1 && names[0] == "all" {
        return Ok(None);
    }
    let on_record =
        |name: &String| seen.base.as_ref().is_some_and(|base| base.head.versions.contains_key(name));
    let mut found = Vec::new();
    for name in names {
        if on_record(name) {
            found.push(name.clone());
        } else {
            let known = wired.resolved.project.find_services(std::slice::from_ref(name));
            let known = known.map_err(|error| CliError::usage(error.to_string()).help(error.help))?;
            found.extend(known.iter().map(ToString::to_string));
        }
    }
    Ok(Some(found))
}

/// One environment of a phased deploy: how it ended, and whether there was anything to change in it.
pub(super) async fn part(
    ui: &Ui,
    workshop: &Workshop,
    environment: &str,
    phases: Option<Vec<maily_core::model::PhaseName>>,
    version: &Version,
    args: &crate::args::PhasedCommand,
) -> Result<(Code, bool), CliError> {
    let wired = workshop.wire(Some(environment)).await?;
    let scope = DeployScope { phases, components: None };
    let how = depth(&args.run, args.dry_run);
    let planned = prepare(ui, &wired, version, scope, &args.plan, Some(&args.run), how).await?;
    if args.dry_run {
        ui.one_plan(&planned)?;
        return Ok((Code::Done, false));
    }
    let changes = !planned.plan.is_empty();
    Ok((carry_out(ui, &wired, planned, &args.run, false).await?, changes))
}

/// The sandbox is written to by everything that goes through here.
pub(super) const MODE: Mode = Mode::Write;
