//! Tables: status, a run, a release, what a project says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use jiff::Timestamp;
use maily_core::{
    engine::{
        FenceSight, FenceState, Outcome, ReleaseId, RunId, StepId, Work,
        history::Release,
        journal::{JournalEvent, Recorded},
    },
    model::Project,
    release::{MovedImage, RunSummary, Status, UnfinishedRun},
};

use super::{
    log::word,
    outcome,
    paint::Paint,
    text::{between, by_the_clock, clock, elapsed, plain, short},
    tool::Tool,
};

/// Lays out rows in columns; widths count characters, not bytes of colours.
pub(super) fn columns(rows: &[Vec<String>], paints: impl Fn(usize, usize, &str) -> String) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for (line, row) in rows.iter().enumerate() {
        let mut cells = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = widths[column] - cell.chars().count();
            cells.push_str(&paints(line, column, cell));
            if column + 1 < row.len() {
                cells.push_str(&" ".repeat(gap + 2));
            }
        }
        let _ = writeln!(text, "{}", cells.trim_end());
    }
    text
}

/// A fence in words: what is seen, and what to do.
pub(crate) fn fence(sight: FenceSight, environment: &str) -> (String, Option<String>) {
    let at = sight.epoch.map(|epoch| format!(" at epoch {epoch}")).unwrap_or_default();
    let install = format!("`mailyctl env bind {environment} --install-fence`");
    let repair =
        format!("{install} repairs it, `mailyctl env bind {environment} --remove-fence` goes on without it");
    match sight.state {
        FenceState::Installed => (format!("fence installed{at}"), None),
        FenceState::Unseen => {
            let help = "`mailyctl doctor` proves it".to_owned();
            (format!("fence recorded{at}, its policy may not be read by these credentials"), Some(help))
        }
        FenceState::NotInstalled => {
            let help = format!("{install} installs it, or prints the manifest for somebody who may");
            ("fence not installed".to_owned(), Some(help))
        }
        FenceState::Unrecorded => (
            format!("fence in the cluster{at}, not in the project file"),
            Some(format!("{install} records it")),
        ),
        FenceState::Open => {
            ("fence open: its ConfigMap is missing or holds no epoch".to_owned(), Some(repair))
        }
        FenceState::Gone => (format!("fence gone{at}: its policy or binding is missing"), Some(repair)),
        FenceState::Unknown => {
            ("no fence recorded, and these credentials may not see whether there is one".to_owned(), None)
        }
        _ => ("fence unknown".to_owned(), None),
    }
}

/// What an unfinished run does, and whether somebody carries it out.
fn in_progress(
    run: &RunId,
    unfinished: &UnfinishedRun,
    environment: &str,
    paint: Paint,
    tool: &Tool,
) -> String {
    let UnfinishedRun { title, by, since, alive, stuck, holder, seen } = unfinished;
    let told = format!("{} (run {run}) by {} since {}", plain(title), plain(by), clock(*since));
    if let (true, Some(holder)) = (alive, holder) {
        return paint.busy(&format!("{told}: under way, held by {}", by_the_clock(&plain(holder))));
    }
    if let Some(why) = stuck {
        let next = see_run(run, environment);
        return paint.warn(&tool.in_text(&format!("{told}: stuck: {}: {next}", plain(why))));
    }
    let since = seen.map(|seen| format!(" since {}", clock(seen))).unwrap_or_default();
    let state = match holder {
        Some(holder) => format!("its holder {} shows no life{since}", by_the_clock(&plain(holder))),
        None => "nobody carries it out".to_owned(),
    };
    paint.warn(&tool.in_text(&format!("{told}: {state}: {}", ways_on(environment))))
}

/// What a person can do about a run that nobody carries out.
pub(crate) fn ways_on(environment: &str) -> String {
    format!("`mailyctl resume --env {environment}` or `mailyctl abort --env {environment}`")
}

/// Where a person reads what to do about a run that is stuck.
pub(crate) fn see_run(run: &RunId, environment: &str) -> String {
    format!("`mailyctl show run {run} --env {environment}` tells what is to do first")
}

/// When `status --watch` looked last, and on a terminal how it ends.
pub(crate) fn looked(at: Timestamp, ui: &super::Ui) -> String {
    let line = match ui.form {
        super::Form::Live => format!("as of {at:.0}, Ctrl-C ends"),
        _ => format!("{at:.0}"),
    };
    format!("{}\n", ui.paint.faint(&line))
}

/// The last run, where it made no release.
fn last_run(run: &RunSummary, in_force: Option<ReleaseId>, now: Timestamp) -> String {
    let how = match &run.outcome {
        Some(Outcome::RolledBack { not_serving, .. }) if not_serving.is_empty() => {
            // "Roll back" twice in one line would be read as the way back that was wanted.
            if run.title.starts_with("roll back ") { "was taken back itself" } else { "was rolled back" }
        }
        Some(outcome) => word(outcome),
        None => "has not ended",
    };
    let ago = run.ended.map(|at| format!(" {} ago", elapsed(between(at, now)))).unwrap_or_default();
    // The version of that run may be in force all the same, as another release brought it.
    let stays = in_force.map(|release| format!(": release {release} stays in force")).unwrap_or_default();
    format!("last run: {} {how}{ago}{stays}", plain(&run.title))
}

pub(crate) fn status(status: &Status, now: Timestamp, paint: Paint, tool: &Tool) -> String {
    let mut text = String::new();
    let release =
        status.release.map_or_else(|| "nothing released yet".to_owned(), |id| format!("release {id}"));
    let _ = writeln!(text, "{}  {release}", paint.strong(&status.environment));
    if let Some(holder) = status.holder.as_ref().filter(|_| status.unfinished.is_none()) {
        let _ = writeln!(text, "{}", paint.busy(&format!("held by {}", by_the_clock(&plain(holder)))));
    }
    let (said, help) = fence(status.fence, &status.environment);
    let line = help.map_or_else(|| said.clone(), |help| format!("{said}: {help}"));
    match status.fence.state {
        FenceState::NotInstalled => {}
        FenceState::Installed | FenceState::Unknown => {
            let _ = writeln!(text, "{}", paint.faint(&said));
        }
        _ => {
            let _ = writeln!(text, "{}", paint.warn(&tool.in_text(&line)));
        }
    }
    if let (Some(run), Some(unfinished)) = (&status.run, &status.unfinished) {
        let _ = writeln!(text, "{}", in_progress(run, unfinished, &status.environment, paint, tool));
    }
    if let Some(run) = &status.last_run {
        let _ = writeln!(text, "{}", paint.warn(&last_run(run, status.release, now)));
    }
    if status.services.is_empty() && status.release.is_some() {
        let _ = writeln!(text, "no services");
    }
    if !status.services.is_empty() {
        let mut rows = vec![["SERVICE", "VERSION", "READY", "STATE", ""].map(str::to_owned).to_vec()];
        for service in &status.services {
            let ready = match service.desired {
                0 => "-".to_owned(),
                desired => format!("{}/{desired}", service.ready),
            };
            let why = service.why.as_deref().map(plain).unwrap_or_default();
            rows.push(vec![
                service.name.clone(),
                match (&service.version, &service.next) {
                    (Some(version), Some(next)) => format!("{version} > {next}"),
                    (None, Some(next)) => format!("> {next}"),
                    (version, None) => version.clone().unwrap_or_default(),
                },
                ready,
                service.state.to_string(),
                why,
            ]);
        }
        text.push_str(&columns(&rows, |line, column, cell| match (line, column, cell) {
            (0, ..) => paint.faint(cell),
            (_, 3, "serving") => paint.good(cell),
            (_, 3, "progressing") => paint.busy(cell),
            (_, 3, "drifted" | "unknown") => paint.warn(cell),
            (_, 3, _) => paint.bad(cell),
            _ => cell.to_owned(),
        }));
    }
    let drift: Vec<(&str, &String)> = status
        .services
        .iter()
        .flat_map(|service| service.drift.iter().map(move |drift| (service.name.as_str(), drift)))
        .chain(status.drift.iter().map(|drift| ("shared", drift)))
        .collect();
    if !drift.is_empty() {
        let _ = writeln!(text, "{}", paint.warn("changed since the release:"));
        for (service, drift) in drift {
            let _ = writeln!(text, "  {service}: {}", plain(drift));
        }
    }
    if let Some(hint) = status.services.iter().find_map(|service| service.hint.as_ref()) {
        let _ = writeln!(text, "{}: {}", paint.strong("next"), tool.in_text(hint));
    }
    text
}

fn said_once<'r>(said: &mut BTreeSet<&'r str>, remedy: &'r str) -> String {
    if said.insert(remedy) { format!("; to do: {}", plain(remedy)) } else { "; to do: as above".to_owned() }
}

pub(crate) fn run(summary: &RunSummary, recorded: &Recorded, paint: Paint) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "{}  {} by {}", paint.strong(summary.run.as_str()), summary.title, plain(&summary.by));
    if let Some(reason) = &summary.reason {
        let _ = writeln!(text, "reason: {}", plain(reason));
    }
    let _ = writeln!(
        text,
        "{}",
        paint.faint("eN: the epoch of who wrote it; epochs count on in the environment, and each process that takes the run over has a higher one")
    );
    // What a person has to do about a step is said once.
    let mut to_do: BTreeSet<&str> = BTreeSet::new();
    // When each step, or taking it back, began last.
    let mut began: BTreeMap<&StepId, Timestamp> = BTreeMap::new();
    let barriers: Vec<&StepId> = recorded
        .plan
        .iter()
        .flat_map(|plan| &plan.steps)
        .filter(|step| matches!(step.work, Work::Barrier {}))
        .map(|step| &step.id)
        .collect();
    for (epoch, event) in &recorded.events {
        // A barrier does nothing, and no plan shows it.
        if let JournalEvent::StepStarted { step, .. }
        | JournalEvent::StepApplied { step, .. }
        | JournalEvent::UndoStarted { step, .. }
        | JournalEvent::Undone { step, .. } = event
            && barriers.contains(&step)
        {
            continue;
        }
        if let JournalEvent::StepStarted { step, at } | JournalEvent::UndoStarted { step, at: Some(at) } =
            event
        {
            began.insert(step, *at);
        }
        let took = |step: &StepId, at: &Timestamp| {
            began.get(step).map(|began| format!(" ({})", elapsed(between(*began, *at)))).unwrap_or_default()
        };
        let (at, line) = match event {
            JournalEvent::RunStarted { plan, .. } => {
                (summary.started.as_ref(), format!("begin, plan {}", short(plan, 12)))
            }
            JournalEvent::EpochClaimed { by, reason, at, .. } => {
                let why = reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
                (at.as_ref(), format!("taken over by {}{why}", plain(by)))
            }
            JournalEvent::StepStarted { step, at } => (Some(at), format!("{} {step}", paint.busy("start"))),
            JournalEvent::StepApplied { step, at, .. } => {
                (Some(at), format!("{} {step}{}", paint.good("done "), took(step, at)))
            }
            JournalEvent::StepFailed { step, failure, at, .. } => {
                let mut line = format!("{} {step}\n", paint.bad("fail "));
                outcome::failure(&mut line, failure, paint);
                (Some(at), line.trim_end().replace('\n', "\n                       "))
            }
            JournalEvent::Turned { why, by, at, .. } => {
                (at.as_ref(), format!("{} {} ({})", paint.warn("turn "), plain(&why.message), plain(by)))
            }
            JournalEvent::UndoStarted { step, at } => {
                (at.as_ref(), format!("{} {step}", paint.warn("undo ")))
            }
            JournalEvent::Undone { step, at } => {
                (Some(at), format!("{} {step}{}", paint.warn("undid"), took(step, at)))
            }
            JournalEvent::UndoFailed { step, failure, remedy, at } => {
                let told = said_once(&mut to_do, remedy);
                (at.as_ref(), format!("{} {step}: {}{told}", paint.bad("stuck"), plain(&failure.message)))
            }
            JournalEvent::GateDecided { step, verdict, evidence, at, .. } => {
                (Some(at), format!("{} {step}: {verdict}: {}", paint.strong("gate "), plain(evidence)))
            }
            JournalEvent::Paused { why, items, at } => {
                let told = items.first().map(|item| said_once(&mut to_do, &item.remedy)).unwrap_or_default();
                (at.as_ref(), format!("{} {}{told}", paint.warn("pause"), plain(why)))
            }
            JournalEvent::RunFinished { outcome, release, at } => {
                let release =
                    release.as_ref().map(|release| format!(", release {}", release.id)).unwrap_or_default();
                (Some(at), format!("{} {}{release}", paint.strong("end  "), word(outcome)))
            }
        };
        let at = at.map(|at| format!("{at:.0}")).unwrap_or_default();
        let _ = writeln!(text, "{:20} {} {line}", at, paint.faint(&format!("e{epoch}")));
    }
    text
}

pub(crate) fn release(
    release: &Release,
    in_force: Option<ReleaseId>,
    moved: &[MovedImage],
    paint: Paint,
) -> String {
    let mut text = String::new();
    let force = if in_force == Some(release.head.id) { ", in force" } else { "" };
    let title = format!("release {}", release.head.id);
    let _ = writeln!(
        text,
        "{}  {} ({:.0}, run {}{force})",
        paint.strong(&title),
        release.head.title,
        release.head.at,
        release.run
    );
    for (service, version) in &release.head.versions {
        let _ = writeln!(text, "  {} {version}", paint.strong(service));
        for (key, _) in release.objects.iter().filter(|(_, object)| object.service.as_ref() == Some(service))
        {
            let _ = writeln!(text, "    {} {}", key.kind.named(), key.name);
            for (image, digests) in release.head.images.get(&key.to_string()).into_iter().flatten() {
                // What is written with its digest says it itself.
                for digest in digests.iter().filter(|digest| !image.ends_with(digest.as_str())) {
                    let _ = writeln!(text, "      {}", paint.faint(&format!("{image} is {digest}")));
                }
            }
        }
        if let Some(deployment) = release.head.frontends.get(service) {
            let _ = writeln!(text, "    frontend deployment {deployment}");
        }
    }
    let mut shared = release.objects.iter().filter(|(_, object)| object.service.is_none()).peekable();
    if shared.peek().is_some() {
        let _ = writeln!(text, "  {}", paint.strong("shared"));
        for (key, _) in shared {
            let _ = writeln!(text, "    {} {}", key.kind.named(), key.name);
        }
    }
    for image in moved {
        let _ = writeln!(text, "  {} {}", paint.warn("!"), image.told());
    }
    text
}

/// What holds for an environment, each with its place in the file. What few lines need is no reason to move the places
/// of all others out of sight: where a value leaves no room for its place, that stands below it.
pub(crate) fn values(values: &[(String, String)], wide: Option<usize>, paint: Paint) -> String {
    let length = |text: &str| text.chars().count();
    let places = values.iter().map(|(_, place)| length(place)).max().unwrap_or_default();
    let limit = wide.map_or(60, |wide| wide.saturating_sub(places + 4));
    let column = values.iter().map(|(value, _)| length(value)).filter(|width| *width <= limit).max();
    let column = column.unwrap_or_default();
    let mut text = String::new();
    for (value, place) in values {
        let place = paint.faint(place);
        let _ = match wide {
            Some(_) if length(value) > column => {
                writeln!(text, "  {value}\n{}{place}", " ".repeat(column + 4))
            }
            _ => writeln!(text, "  {value:column$}  {place}"),
        };
    }
    text
}

pub(crate) fn environments(project: &Project, paint: Paint) -> String {
    let mut rows = vec![
        ["ENVIRONMENT", "NAMESPACE", "CONTEXT", "APPROVAL", "FENCE", "BOUND"].map(str::to_owned).to_vec(),
    ];
    for environment in project.environments.values() {
        let cluster = &environment.cluster;
        let approval = match environment.approval {
            maily_core::model::Approval::Required => "required",
            maily_core::model::Approval::None => "none",
        };
        rows.push(vec![
            environment.name.to_string(),
            environment.namespace.clone(),
            cluster.context.clone().unwrap_or_else(|| "-".to_owned()),
            approval.to_owned(),
            environment.fence.as_str().to_owned(),
            if cluster.identity.is_some() { "yes" } else { "no" }.to_owned(),
        ]);
    }
    columns(&rows, |line, _, cell| if line == 0 { paint.faint(cell) } else { cell.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use maily_core::engine::Failure;

    use super::*;
    use crate::args::Args;

    #[test]
    fn a_way_back_that_failed_does_not_read_as_one_that_did_not() {
        let why = Failure::new("crash-loop", "crashes");
        let mut run = RunSummary {
            run: RunId::from("r"),
            title: "roll back to release 5".to_owned(),
            by: String::new(),
            reason: None,
            started: None,
            ended: None,
            outcome: Some(Outcome::RolledBack { step: None, why, not_serving: Vec::new() }),
            release: None,
            versions: BTreeMap::new(),
            stuck: None,
            damaged: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(last_run(&run, None, now), "last run: roll back to release 5 was taken back itself");
        run.title = "deploy v2".to_owned();
        let stays = "last run: deploy v2 was rolled back: release 5 stays in force";
        assert_eq!(last_run(&run, Some(ReleaseId(5)), now), stays);
    }

    #[test]
    fn of_a_run_that_has_not_ended_it_is_told_whether_somebody_lives_who_carries_it_out() {
        let at = |time: &str| time.parse::<Timestamp>().expect("is a time");
        let mut run = UnfinishedRun {
            title: "deploy v2".to_owned(),
            by: "ops@host/1".to_owned(),
            since: at("2026-11-01T10:00:00Z"),
            alive: true,
            stuck: Some("it was changed meanwhile".to_owned()),
            holder: Some("ops@host/1".to_owned()),
            seen: Some(at("2026-11-01T10:01:07Z")),
        };
        let tool = Tool::of(&Args::try_parse_from(["mailyctl", "status"]).expect("is a command").globals);
        let told =
            |run: &UnfinishedRun| in_progress(&RunId::from("r"), run, "production", Paint::default(), &tool);
        let begun = "deploy v2 (run r) by ops@host/1 since 10:00:00Z: ";
        assert_eq!(told(&run), format!("{begun}under way, held by ops@host/1"));
        run.alive = false;
        let see = "`mailyctl show run r --env production` tells what is to do first";
        assert_eq!(told(&run), format!("{begun}stuck: it was changed meanwhile: {see}"));
        run.stuck = None;
        let next = "`mailyctl resume --env production` or `mailyctl abort --env production`";
        let silent = "its holder ops@host/1 shows no life since 10:01:07Z";
        assert_eq!(told(&run), format!("{begun}{silent}: {next}"));
        run.seen = None;
        assert_eq!(told(&run), format!("{begun}its holder ops@host/1 shows no life: {next}"));
        run.holder = None;
        assert_eq!(told(&run), format!("{begun}nobody carries it out: {next}"));
    }
}
