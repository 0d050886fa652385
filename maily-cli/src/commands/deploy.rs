//! `plan`, `apply`, `deploy`, `rollback`, `remove`.

use futures::FutureExt as _;
use maily_core::{
    engine::{Depth, Goal, Plan, ReleaseId, Storage, history},
    model::{LoadError, Project, Version},
    release::{self, DeployRequest, DeployScope, RollbackError, RollbackTo},
};

use super::in_environment;
use crate::{
    args::{
        ApplyCommand, DeployCommand, Globals, PlanArgs, PlanCommand, RemoveCommand, RollbackCommand,
        VersionArgs,
    },
    exit::{CliError, Code},
    file,
    render::{Ui, quoted},
    session::{self, carry_out, components, deploy_request, depth, fulfil, look, prepare, take_up},
    signals::unless_stopped,
    wire::{Wired, Workshop, project_path},
};

/// What to say where nobody can be asked for a deploy: the plan that can be saved is that of the same deploy.
fn saved(environment: &str, version: &Version, components: &[String], args: &VersionArgs) -> String {
    let PlanArgs { force_conflicts, allow_replace, timeout } = &args.plan;
    let mut plan = format!("mailyctl plan --env {environment} --version {version}");
    if !components.is_empty() {
        plan.push_str(&format!(" --components {}", quoted(&components.join(","))));
    }
    if args.accept_new {
        plan.push_str(" --accept-new");
    }
    match force_conflicts.as_deref() {
        None => {}
        Some([]) => plan.push_str(" --force-conflicts"),
        Some(whose) => plan.push_str(&format!(" --force-conflicts={}", quoted(&whose.join(",")))),
    }
    for object in allow_replace {
        plan.push_str(&format!(" --allow-replace {}", quoted(object)));
    }
    if let Some(time) = timeout {
        plan.push_str(&format!(" --timeout {}", quoted(time)));
    }
    format!(
        "say `--yes`; a deploy can also be saved by `{plan} --out FILE`, reviewed, and carried out by \
         `mailyctl apply FILE --yes`"
    )
}
/// The same for what cannot be saved.
const LOOK_FIRST: &str = "look at it with `--dry-run`, and say `--yes`";
/// What a rollback needs beside the cluster.
const NEEDS_FILE: &str = "a rollback needs the project file, which says where the releases are on record, and no manifests: \
                          get it from where the project is kept, and name its place with `-C DIR` or `--file`";

pub(super) fn version(text: &str) -> Result<Version, CliError> {
    version_of("--version", text)
}

/// A version of the command line, and where it stands there.
pub(super) fn version_of(place: &str, text: &str) -> Result<Version, CliError> {
    text.parse().map_err(|error: maily_core::model::NameError| {
        // What an image tag cannot have, as the `+` of a build, is a hyphen in most registries' names.
        let fits = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' };
        let tag: String = text.chars().map(fits).collect();
        let near = tag.trim_matches(['-', '.']).parse::<Version>().ok();
        let help = match near {
            Some(near) => format!("write it as an image's tag, such as `{place} {near}`"),
            None => format!("write the tag that the images of the version have, such as `{place} v1.2.0`"),
        };
        CliError::usage(format!("`{place} {text}`: {error}")).help(help)
    })
}

pub(super) async fn plan(ui: &Ui, globals: &Globals, args: &PlanCommand) -> Result<Code, CliError> {
    let version = version(&args.version)?;
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let scope = DeployScope { phases: None, components: components(wired, &args.components)? };
        let storage = if args.out.is_some() { Storage::Lasting } else { Storage::Passing };
        let request = deploy_request(&version, scope, &args.plan, (Depth::DryRun, storage))?;
        let planned = prepare(ui, wired, &request, &args.wait).await?;
        ui.plan(&planned)?;
        if let Some(path) = &args.out {
            wired.environment.keep_values(&planned).await?;
            file::write(path, &planned.plan.to_text())?;
            let apply = ui.tool.call(&format!("apply {}", quoted(&path.display().to_string())));
            ui.tell(&format!("saved; carry it out with `{apply}`"));
        }
        // Without a step a deploy of it would only look, and find that out.
        let unwell = planned.plan.steps.is_empty()
            && planned.plan.notes.iter().any(|note| note.topic == "not-serving");
        Ok(match args.exit_code {
            true if unwell => Code::Stuck,
            true if !planned.plan.is_empty() => Code::Changes,
            _ => Code::Done,
        })
    })
    .await
}

/// How a plan is made again that does not fit any more. With which options it was made no plan says.
fn anew(plan: &Plan, path: &std::path::Path) -> Option<String> {
    let Goal::Deploy { version, only } = &plan.goal else { return None };
    let components = only.as_ref().map(|only| format!(" --components {}", quoted(&only.join(","))));
    Some(format!(
        "make a new plan: `mailyctl plan --env {} --version {version}{} --out {}`, with the options that the first one had \
         besides, such as `--force-conflicts`",
        plan.environment,
        components.unwrap_or_default(),
        quoted(&path.display().to_string())
    ))
}

pub(super) async fn apply(ui: &Ui, globals: &Globals, args: &ApplyCommand) -> Result<Code, CliError> {
    let text = file::read(&args.plan).map_err(|error| {
        CliError::usage(format!("failed to read the plan `{}`: {error}", args.plan.display()))
    })?;
    let plan = Plan::parse(&text)?;
    let name = plan.environment.clone();
    let anew = anew(&plan, &args.plan);
    let applied = in_environment(globals, Some(&name), async |wired| {
        let planned = unless_stopped(take_up(ui, wired, plan, &args.run.turn.wait)).await??;
        let again = ui.tool.call(&format!("apply {} --yes", quoted(&args.plan.display().to_string())));
        let again = format!("say `--yes` once the plan is reviewed: `{again}`");
        carry_out(ui, wired, planned, &args.run, false, &again).await
    });
    applied.await.map_err(|error| match anew {
        Some(anew) if error.code == Code::OutOfDate => error.help(anew),
        _ => error,
    })
}

pub(super) async fn deploy(ui: &Ui, globals: &Globals, args: &DeployCommand) -> Result<Code, CliError> {
    let version = version(&args.version)?;
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let scope = DeployScope { phases: None, components: components(wired, &args.components)? };
        let how = depth(&args.run, args.dry_run);
        let request = DeployRequest { anew: args.anew, ..deploy_request(&version, scope, &args.plan, how)? };
        let plan = async || prepare(ui, wired, &request, &args.run.turn.wait).await;
        // No plan begins anew.
        let again = match args.anew {
            true => LOOK_FIRST.to_owned(),
            false => saved(&wired.environment.name, &version, &args.components, &args.plan),
        };
        fulfil(ui, wired, &args.run, args.dry_run, &again, plan).await
    })
    .await
}

pub(super) async fn rollback(ui: &Ui, globals: &Globals, args: &RollbackCommand) -> Result<Code, CliError> {
    Project::load(&project_path(globals)).map_err(|error| match &error {
        // None that could be written now would say where the releases are.
        LoadError::Read { .. } => CliError::from(error).help(NEEDS_FILE),
        _ => error.into(),
    })?;
    let to = match (&args.to_version, args.release) {
        (Some(text), _) => RollbackTo::Version(version_of("--to-version", text)?.to_string()),
        (None, Some(release)) => RollbackTo::Release(ReleaseId(release)),
        (None, None) => RollbackTo::LastGood,
    };
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let how = depth(&args.run, args.dry_run);
        let plan = async || {
            let seen = look(ui, wired, &args.run.turn.wait).await?;
            let only = released(wired, &seen, &args.components)?;
            let (environment, base) = (&wired.environment.told_to(&session::hearing(ui)), seen.base.as_ref());
            let wanted =
                release::rollback(environment, &wired.resolved, &seen.head, base, &to, only.as_deref()).await;
            let wanted = wanted.map_err(|error| CliError::of_rollback(error, &environment.name))?;
            session::plan(ui, wired, seen, &wanted, &args.plan, how).await
        };
        let plan = async || unless_stopped(plan()).await?;
        fulfil(ui, wired, &args.run, args.dry_run, LOOK_FIRST, plan).await
    })
    .await
}

pub(super) async fn remove(ui: &Ui, globals: &Globals, args: &RemoveCommand) -> Result<Code, CliError> {
    in_environment(globals, args.env.env.as_deref(), async |wired| {
        let how = depth(&args.run, args.dry_run);
        let seen = unless_stopped(look(ui, wired, &args.run.turn.wait)).await??;
        if seen.base.is_none() {
            released(wired, &seen, &args.components)?;
            let nothing = "nothing was released yet: nothing to remove";
            match args.dry_run && !ui.is_json() {
                true => ui.print_text(&format!("{}: {nothing}", wired.environment.name))?,
                false => ui.unchanged(&wired.environment.name, nothing)?,
            }
            return Ok(Code::Done);
        }
        // What was read is good for the first plan.
        let first = std::cell::Cell::new(Some(seen));
        let plan = async || {
            let seen = match first.take() {
                Some(seen) => seen,
                None => look(ui, wired, &args.run.turn.wait).await?,
            };
            let only = released(wired, &seen, &args.components)?;
            let base = seen.base.as_ref().ok_or(RollbackError::NoRelease);
            let base = base.map_err(|error| CliError::of_rollback(error, &wired.environment.name))?;
            let mut wanted = release::remove(&wired.resolved, base, only.as_deref())?;
            let first = |records| history::release(records, ReleaseId(0)).boxed();
            release::note_found(&mut wanted, base, wired.environment.read(first).await)?;
            session::plan(ui, wired, seen, &wanted, &PlanArgs::default(), how).await
        };
        let plan = async || unless_stopped(plan()).await?;
        fulfil(ui, wired, &args.run, args.dry_run, LOOK_FIRST, plan).await
    })
    .await
}

/// Components of the release in force, which the file may not know any more, or by another name; none for all.
fn released(wired: &Wired, seen: &session::Seen, names: &[String]) -> Result<Option<Vec<String>>, CliError> {
    if names.len() == 1 && names[0] == "all" {
        return Ok(None);
    }
    let on_record = |name: &str| seen.base.as_ref().is_some_and(|base| base.head.versions.contains_key(name));
    let project = &wired.resolved.project;
    let mut found = Vec::new();
    for name in names {
        if on_record(name) {
            found.push(name.clone());
            continue;
        }
        let known = project.find_components(std::slice::from_ref(name));
        let known = known.map_err(|error| CliError::usage(error.to_string()).help(error.help()))?;
        for name in known {
            // One that was renamed and not deployed since runs under the name that it was released by.
            found.push(project.released_as(&name, on_record)?.unwrap_or(&name).to_owned());
        }
    }
    Ok(Some(found))
}

/// How a phased deploy ended in one environment.
pub(super) struct PartEnd {
    pub(super) code: Code,
    /// Whether there was something to do.
    pub(super) changed: bool,
    /// Whether the version is in force there.
    pub(super) is_there: bool,
}

/// One environment of a phased deploy: how it ended, and whether there was anything to change in it.
pub(super) async fn part(
    ui: &Ui,
    workshop: &Workshop,
    environment: &str,
    phases: Option<Vec<maily_core::model::PhaseName>>,
    version: &Version,
    args: &crate::args::PhasedCommand,
) -> Result<PartEnd, CliError> {
    let wired = unless_stopped(workshop.wire(Some(environment))).await??;
    // A plan is of all phases.
    let again = match &phases {
        Some(_) => LOOK_FIRST.to_owned(),
        None => saved(environment, version, &[], &args.plan),
    };
    let scope = DeployScope { phases, components: None };
    let request = deploy_request(version, scope, &args.plan, depth(&args.run, args.dry_run))?;
    let changes = std::cell::Cell::new(false);
    let before = std::cell::Cell::new(None);
    let plan = async || {
        let planned = prepare(ui, &wired, &request, &args.run.turn.wait).await?;
        changes.set(!planned.plan.is_empty());
        before.set(planned.head.release.as_ref().map(|(run, _)| run.clone()));
        Ok(planned)
    };
    if args.dry_run {
        ui.one_plan(&plan().await?)?;
        return Ok(PartEnd { code: Code::Done, changed: false, is_there: false });
    }
    let code = fulfil(ui, &wired, &args.run, false, &again, plan).await?;
    let changed = changes.get();
    let is_there = match code {
        Code::Done => true,
        // Released, or nothing to release, and something that was left as it was does not serve.
        Code::Stuck if changed => {
            let head = wired.environment.head().await.ok();
            head.is_some_and(|head| head.release.map(|(run, _)| run) != before.take())
        }
        Code::Stuck => true,
        _ => false,
    };
    Ok(PartEnd { code, changed, is_there })
}
