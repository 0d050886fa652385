//! Plans, as the command line wants them.

use maily_core::{
    engine::{
        Depth, EnvironmentError, Planned, Storage,
        planner::{Force, PlanOptions, Wanted},
    },
    model::{Seconds, ServiceName, Version},
    release::{self, DeployRequest, DeployScope, PrepareError},
};

use super::turn::{Seen, turn};
use crate::{
    args::{PlanArgs, RunArgs, VersionArgs, WaitArgs},
    exit::CliError,
    programs::ToldTools,
    render::Ui,
    signals,
    wire::Wired,
};

/// A deploy, as the command line wants it.
pub(crate) fn deploy_request(
    version: &Version,
    scope: DeployScope,
    args: &VersionArgs,
    (depth, storage): (Depth, Storage),
) -> Result<DeployRequest, CliError> {
    Ok(DeployRequest {
        scope,
        accept_new: args.accept_new,
        options: plan_options(&args.plan)?,
        depth,
        storage,
        ..DeployRequest::new(version.clone())
    })
}

/// Makes the plan of a deploy.
pub(crate) async fn prepare(
    ui: &Ui,
    wired: &Wired,
    request: &DeployRequest,
    wait: &WaitArgs,
) -> Result<Planned, CliError> {
    let (turn, tools) = (turn(ui, wired, wait)?, ToldTools::new(ui));
    let planned = release::prepare(&wired.environment, &wired.resolved, request, &tools, &turn);
    let planned = signals::unless_stopped(planned).await?;
    if let Err(PrepareError::Environment(error)) = &planned {
        show_hidden(ui, error)?;
    }
    Ok(planned?)
}

/// Makes a plan from what is wanted.
pub(crate) async fn plan(
    ui: &Ui,
    wired: &Wired,
    seen: Seen,
    wanted: &Wanted,
    args: &PlanArgs,
    (depth, storage): (Depth, Storage),
) -> Result<Planned, CliError> {
    let (environment, base, options) = (&wired.environment, seen.base.as_ref(), plan_options(args)?);
    let planned = environment.plan(wanted, seen.head, base, &options, depth, storage).await;
    if let Err(error) = &planned {
        show_hidden(ui, error)?;
    }
    Ok(planned?)
}

/// Shows what would change besides where what others have set is all that is in the way; it stays refused. A machine gets
/// no plan that it could take for one that may be carried out.
fn show_hidden(ui: &Ui, error: &EnvironmentError) -> Result<(), CliError> {
    if let EnvironmentError::Problems(_, Some(forced)) = error
        && !ui.is_json()
    {
        ui.plan(forced)?;
        ui.tell("this is the plan with `--force-conflicts`; without it:");
    }
    Ok(())
}

fn plan_options(args: &PlanArgs) -> Result<PlanOptions, CliError> {
    for object in &args.allow_replace {
        if object.split_once('/').is_none_or(|(kind, name)| kind.is_empty() || name.is_empty()) {
            return Err(CliError::usage(format!("`--allow-replace {object}` names no object"))
                .help("write KIND/NAME, such as `Deployment/api`"));
        }
    }
    Ok(PlanOptions {
        force: match &args.force_conflicts {
            None => Force::Nothing,
            Some(named) if named.is_empty() => Force::All,
            Some(named) => Force::Only(named.iter().cloned().collect()),
        },
        replace: args.allow_replace.iter().cloned().collect(),
        timeout_s: timeout(args)?,
        ..PlanOptions::default()
    })
}

fn timeout(args: &PlanArgs) -> Result<Option<u64>, CliError> {
    let Some(text) = args.timeout.as_deref() else { return Ok(None) };
    let time = text.parse::<Seconds>().and_then(Seconds::at_least_one);
    time.map(|time| Some(time.0)).map_err(|error| {
        CliError::usage(format!("`--timeout`: {error}"))
            .help("whole numbers of `s`, `m`, `h` or `d`, at least `1s`")
    })
}

/// Names of services on the command line; `all` and none mean all.
pub(crate) fn components(wired: &Wired, names: &[String]) -> Result<Option<Vec<ServiceName>>, CliError> {
    if names.is_empty() || (names.len() == 1 && names[0] == "all") {
        return Ok(None);
    }
    let found = wired.resolved.project.find_components(names);
    found.map(Some).map_err(|error| CliError::usage(error.to_string()).help(error.help()))
}

/// How deep to look: a plan that somebody reads is dry-run, one that is carried out at once is not.
pub(crate) fn depth(run: &RunArgs, dry_run: bool) -> (Depth, Storage) {
    match (dry_run, run.yes) {
        (true, _) => (Depth::DryRun, Storage::Passing),
        (false, true) => (Depth::Read, Storage::Lasting),
        (false, false) => (Depth::DryRun, Storage::Lasting),
    }
}
