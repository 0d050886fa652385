//! `logs`.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use maily_core::{
    engine::Environment,
    model::{Project, ServiceName, UnknownService},
    provider::{Follow, LogOptions},
    release::{self, Logs},
};
use maily_testkit::sim::Mode;
use serde_json::json;

use crate::{
    args::{Globals, LogsCommand},
    exit::{CliError, Code},
    render::{self, Ui, plain},
    session::hearing,
    wire::{Workshop, span},
};

pub(super) async fn logs(ui: &Ui, globals: &Globals, args: &LogsCommand) -> Result<Code, CliError> {
    let options = LogOptions {
        container: None,
        follow: if args.follow { Follow::Yes } else { Follow::No },
        since: args.since.as_deref().map(|text| span(text, "since")).transpose()?,
        since_time: None,
        tail: args.tail,
        previous: args.previous,
        bytes: None,
    };
    let wired = Workshop::open(globals, Mode::Read)?.wire(args.env.env.as_deref()).await?;
    let environment = wired.environment.told_to(&hearing(ui));
    let known = wired.resolved.project.find_services(std::slice::from_ref(&args.service));
    let service = match &known {
        Ok(names) => names.first().map(ToString::to_string).unwrap_or_default(),
        // The release may have a service that the file has lost, and hooks and gates are no services.
        Err(_) => args.service.clone(),
    };
    environment.check().await?;
    let mut found = release::logs(&environment, &service, &options).await?;
    let mut released = None;
    if found.is_none() {
        released =
            released_as(&environment, &wired.resolved.project, &args.service, known.as_deref()).await?;
        if let Some(name) = released.as_ref().filter(|name| **name != service) {
            found = release::logs(&environment, name, &options).await?;
        }
    }
    let Some(logs) = found else {
        if let (Err(error), None) = (known, &released) {
            return Err(CliError::usage(error.to_string()).help(error.help));
        }
        let message = format!("`{service}` has nothing in the release in force that runs in pods");
        return Err(CliError::new(Code::Failed, message)
            .help(format!("`mailyctl status --env {}`", environment.name)));
    };
    let service = released.unwrap_or(service);
    tokio::select! {
        biased;
        // Who follows ends it so; who does not has not had all.
        _ = tokio::signal::ctrl_c() => Ok(if args.follow { Code::Done } else { Code::Interrupted }),
        () = render::unread() => Ok(Code::Done),
        told = tell(ui, args, &service, &environment.name, logs) => told.map(|()| Code::Done),
    }
}

/// The name by which the release in force has what is asked for: the one that was said, or the one by which a service was
/// released before it was renamed.
async fn released_as(
    environment: &Environment,
    project: &Project,
    said: &str,
    known: Result<&[ServiceName], &UnknownService>,
) -> Result<Option<String>, CliError> {
    let head = environment.head().await?;
    let Some((_, release)) = &head.release else { return Ok(None) };
    let has = |name: &str| release.versions.contains_key(name);
    if has(said) {
        return Ok(Some(said.to_owned()));
    }
    match known.ok().and_then(<[_]>::first) {
        Some(name) => Ok(project.released_as(name, has)?.map(str::to_owned)),
        None => Ok(None),
    }
}

/// Prints lines to their end.
async fn tell(
    ui: &Ui,
    args: &LogsCommand,
    service: &str,
    environment: &str,
    Logs { mut lines, lost }: Logs,
) -> Result<(), CliError> {
    let mut any = false;
    // Each container has a colour by its turn: by its name two of a service might have the same.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(line) = lines.next().await {
        let line = line?;
        any = true;
        if ui.is_json() {
            let text = json!({"format": 1, "pod": line.pod, "container": line.container, "time": line.line.time, "line": line.line.text});
            ui.print(&text.to_string())?;
        } else {
            let prefix = format!("{} {}", line.pod, line.container);
            let next = seen.len();
            let number = *seen.entry(prefix.clone()).or_insert(next);
            let prefix = ui.paint.nth(number, &prefix);
            ui.print(&format!("{prefix} {}", plain(&line.line.text)))?;
        }
    }
    if !lost.is_empty() {
        ui.tell(&ui.tool.in_text(&gone(service, environment, &lost)));
    } else if !any && args.previous {
        ui.tell(&format!("no container of `{service}` was restarted: there is no earlier instance"));
    } else if !any {
        let when = if args.since.is_some() { " in that time" } else { "" };
        ui.tell(&format!("no pod of `{service}` that is still there has said anything{when}"));
    }
    Ok(())
}

/// What is said of containers that had an earlier instance, whose log is not there any more.
fn gone(service: &str, environment: &str, lost: &[String]) -> String {
    let names: Vec<String> = lost.iter().map(|name| format!("`{}`", plain(name))).collect();
    let (was, node) = if lost.len() == 1 { ("was", "its node has") } else { ("were", "their nodes have") };
    format!(
        "{} {was} restarted, and {node} no earlier log any more: `mailyctl logs {service} --env {environment}` shows \
         the one of now",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_its_node_has_lost_is_told_with_the_one_that_is_there() {
        assert_eq!(
            gone("store", "production", &["store-1 store".to_owned()]),
            "`store-1 store` was restarted, and its node has no earlier log any more: `mailyctl logs store --env production` \
             shows the one of now"
        );
    }
}
