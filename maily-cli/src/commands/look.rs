//! `status`, `history`, `show run`, `show release`.

use std::{collections::BTreeSet, time::Duration};

use futures::{FutureExt as _, future::join};
use maily_core::{
    engine::{ENVIRONMENT, ReleaseId, RunId, history as releases},
    object::{Object, ObjectKind},
    provider::ListQuery,
    release,
};
use maily_testkit::sim::Mode;
use serde_json::json;

use crate::{
    args::{EnvArg, Globals, HistoryCommand, StatusCommand},
    exit::{CliError, Code},
    render::{self, Ui},
    session::hearing,
    wire::{Wired, Workshop, runtime},
};

/// Time between two looks of `status --watch`.
const LOOK: Duration = Duration::from_secs(2);

/// An environment to look at: what a command waits for is told.
async fn wired(ui: &Ui, globals: &Globals, env: &EnvArg) -> Result<Wired, CliError> {
    let wired = Workshop::open(globals, Mode::Read)?.wire(env.env.as_deref()).await?;
    Ok(Wired { environment: wired.environment.told_to(&hearing(ui)), ..wired })
}

pub(super) async fn status(ui: &Ui, globals: &Globals, args: &StatusCommand) -> Result<Code, CliError> {
    if !args.watch {
        return shown(ui, globals, args).await.map(|()| Code::Done);
    }
    tokio::select! {
        biased;
        // The whole time: a key that is pressed while the cluster is asked counts, too.
        _ = tokio::signal::ctrl_c() => {
            // The terminal has echoed the key: the prompt begins on a line of its own.
            if ui.form == render::Form::Live {
                ui.print("")?;
            }
            Ok(Code::Done)
        }
        () = render::unread() => Ok(Code::Done),
        failed = watch(ui, globals, args) => failed,
    }
}

/// Looks again and again.
async fn watch(ui: &Ui, globals: &Globals, args: &StatusCommand) -> Result<Code, CliError> {
    loop {
        shown(ui, globals, args).await?;
        runtime().sleep(LOOK).await;
        if !ui.is_json() && ui.form != render::Form::Live {
            ui.print("")?;
        }
    }
}

/// Looks once, and shows it.
async fn shown(ui: &Ui, globals: &Globals, args: &StatusCommand) -> Result<(), CliError> {
    // A sandbox that another process works on is read anew; a cluster's connection would serve again and again.
    let wired = wired(ui, globals, &args.env).await?;
    let status = release::status(&wired.environment, &wired.resolved).await?;
    if ui.is_json() {
        return ui.document("status", &status);
    }
    let clear = if args.watch && ui.form == render::Form::Live { "\u{1b}[H\u{1b}[2J" } else { "" };
    if status.release.is_none() && status.run.is_none() && globals.sandbox {
        elsewhere(ui, &wired).await?;
    }
    let text = render::status(&status, runtime().wall(), ui.paint, &ui.tool);
    let looked = if args.watch { render::looked(runtime().wall(), ui) } else { String::new() };
    ui.print_text(&format!("{clear}{looked}{text}"))
}

/// Of an environment of the sandbox with nothing on record, in which other namespaces it has something: the file may
/// have named one of them before. On a cluster nobody may look into those.
async fn elsewhere(ui: &Ui, wired: &Wired) -> Result<(), CliError> {
    let environment = &wired.environment;
    let query = ListQuery::new(ObjectKind::new("v1", "Secret"), None).label(ENVIRONMENT, &environment.name);
    let records = environment.providers.cluster.list_metadata(&query).await?;
    let places: BTreeSet<&str> = records.iter().filter_map(Object::namespace).collect();
    if !places.is_empty() {
        let places: Vec<String> = places.iter().map(|name| format!("`{name}`")).collect();
        ui.tell(&format!(
            "{} nothing is on record in namespace `{}`, but in {}: `namespace` in the project file says which one is meant",
            ui.beside.warn("!"),
            environment.namespace,
            places.join(", ")
        ));
    }
    Ok(())
}

pub(super) async fn history(ui: &Ui, globals: &Globals, args: &HistoryCommand) -> Result<Code, CliError> {
    let wired = wired(ui, globals, &args.env).await?;
    let read = wired.environment.read(|records| release::runs(records, args.limit).boxed());
    let (checked, runs) = join(wired.environment.check(), read).await;
    // Records of another cluster are none of this environment.
    checked?;
    let runs = runs?;
    if ui.is_json() {
        ui.document("history", &json!({"environment": wired.environment.name, "runs": runs}))?;
    } else {
        if runs.is_empty() && globals.sandbox {
            elsewhere(ui, &wired).await?;
        }
        let history = render::history(&runs, runtime().wall(), render::columns_of_terminal(), ui.paint);
        ui.print(&ui.tool.in_text(&history))?;
    }
    Ok(Code::Done)
}

pub(super) async fn run(
    ui: &Ui,
    globals: &Globals,
    env: &EnvArg,
    id: Option<&str>,
) -> Result<Code, CliError> {
    let wired = wired(ui, globals, env).await?;
    let environment = &wired.environment;
    let read = async {
        let id = match id {
            Some(id) => RunId::from(id),
            None => match environment.read(|records| release::runs(records, 1).boxed()).await?.pop() {
                Some(newest) => newest.run,
                None => return Err(CliError::usage("there is no run on record yet")),
            },
        };
        let wanted = &id;
        let found = environment.read(move |records| release::run(records, wanted).boxed()).await?;
        Ok((id, found))
    };
    let (checked, read) = join(wired.environment.check(), read).await;
    checked?;
    let (id, found) = read?;
    let Some((summary, recorded)) = found else {
        return Err(CliError::usage(format!("there is no run `{id}` on record"))
            .help(format!("`mailyctl history --env {}` lists them", wired.environment.name)));
    };
    if ui.is_json() {
        let events: Vec<_> =
            recorded.events.iter().map(|(epoch, event)| json!({"epoch": epoch, "entry": event})).collect();
        ui.document("run", &json!({"summary": summary, "plan": recorded.plan, "events": events}))?;
    } else {
        ui.print_text(&ui.tool.in_text(&render::run(&summary, &recorded, ui.paint)))?;
    }
    Ok(Code::Done)
}

pub(super) async fn release(
    ui: &Ui,
    globals: &Globals,
    env: &EnvArg,
    id: Option<u64>,
) -> Result<Code, CliError> {
    let wired = wired(ui, globals, env).await?;
    // Before the records are read: what is missing among them is written again.
    wired.environment.check().await?;
    let head = wired.environment.head().await?;
    let in_force = head.release.as_ref().map(|(_, release)| release.id);
    let Some(id) = id.map(ReleaseId).or(in_force) else {
        return Err(CliError::usage("nothing was released to this environment yet"));
    };
    let read = |records| releases::release(records, id).boxed();
    let Some(found) = wired.environment.read(read).await? else {
        let known: Vec<String> = head.releases.iter().map(ToString::to_string).collect();
        return Err(
            CliError::usage(format!("there is no release {id} on record")).help(render::there_are(&known))
        );
    };
    let moved = wired.environment.read(|records| release::moved_images(records, &found).boxed()).await?;
    if ui.is_json() {
        let objects: Vec<_> = found
            .objects
            .values()
            .map(|object| json!({"service": object.service, "object": object.desired.to_value()}))
            .collect();
        ui.document(
            "release",
            &json!({"release": found.head, "run": found.run, "objects": objects, "moved_images": moved}),
        )?;
    } else {
        ui.print_text(&render::release(&found, in_force, &moved, ui.paint))?;
    }
    Ok(Code::Done)
}
