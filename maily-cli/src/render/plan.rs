//! A plan for people: what changes, object by object.

use std::fmt::Write as _;

use maily_core::engine::{
    Change, FieldChange, Operation, Plan, Reversibility, Step, Work, journal::ReleaseHead,
};
use maily_core::provider::ProbeRequest;

use super::{
    paint::Paint,
    text::{plain, short},
};

/// Fields of one object that are shown without `-v`.
const FIELDS: usize = 12;

pub(super) fn plan(plan: &Plan, before: Option<&ReleaseHead>, verbose: bool, paint: Paint) -> String {
    let mut text = String::new();
    let from = before
        .map_or_else(|| "nothing released yet".to_owned(), |release| format!("from release {}", release.id));
    let title = format!("{} → {}", plan.goal.title(), plan.environment);
    let _ = writeln!(
        text,
        "{}  {}",
        paint.strong(&title),
        paint.faint(&format!("namespace {}, {from}", plan.namespace))
    );
    let mut phase = None;
    let phases =
        plan.steps.iter().filter_map(|step| step.phase.as_ref()).collect::<std::collections::BTreeSet<_>>();
    let mut service: Option<&str> = None;
    for step in plan.steps.iter().filter(|step| !matches!(step.work, Work::Barrier {})) {
        if phases.len() > 1 && step.phase.is_some() && phase != step.phase.as_ref() {
            phase = step.phase.as_ref();
            let _ = writeln!(
                text,
                "\n{}",
                paint.strong(&format!("phase {}", step.phase.as_deref().unwrap_or_default()))
            );
            service = None;
        }
        let subject =
            step.service.as_deref().or_else(|| step.id.as_str().split('/').nth(1)).unwrap_or_default();
        if service != Some(subject) {
            service = Some(subject);
            let _ = writeln!(text, "\n  {}{}", paint.strong(subject), versions(plan, before, subject, paint));
        }
        work(&mut text, step, verbose, paint);
    }
    if !plan.notes.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("good to know"));
        for note in &plan.notes {
            let _ = writeln!(text, "  {} {}: {}", paint.warn("!"), note.topic, plain(&note.text));
        }
    }
    let _ = writeln!(text, "\n{}", sum(plan, paint));
    text
}

fn versions(plan: &Plan, before: Option<&ReleaseHead>, service: &str, paint: Paint) -> String {
    let old = before.and_then(|release| release.versions.get(service));
    let text = match (old, plan.versions.get(service)) {
        (Some(old), Some(new)) if old == new => format!("  {new}"),
        (Some(old), Some(new)) => format!("  {old} → {new}"),
        (None, Some(new)) => format!("  {new}"),
        (Some(old), None) => format!("  {old} → gone"),
        (None, None) => return String::new(),
    };
    paint.busy(&text)
}

fn work(text: &mut String, step: &Step, verbose: bool, paint: Paint) {
    match &step.work {
        Work::Rollout { changes } | Work::Prune { changes } => {
            for change in changes {
                one(text, change, verbose, paint);
            }
        }
        Work::Job { job, .. } => {
            let back = match step.reversibility {
                Reversibility::Irreversible => paint.warn(" (cannot be undone)"),
                _ => String::new(),
            };
            let _ = writeln!(text, "    {} run Job {}{back}", paint.busy("▸"), job.key().name);
        }
        Work::Check { probe, .. } => {
            let what = match probe {
                ProbeRequest::Http { url, expect, .. } => format!("GET {url} answers {expect}"),
                ProbeRequest::Command { argv } => format!("`{}` succeeds", argv.join(" ")),
            };
            let _ = writeln!(text, "    {} {}: {}", paint.busy("?"), step.work.kind(), plain(&what));
        }
        Work::Frontend { project, version, domain, .. } => {
            let domain = domain.as_ref().map(|domain| format!(" on {domain}")).unwrap_or_default();
            let _ = writeln!(text, "    {} frontend {project} {version}{domain}", paint.warn("~"));
        }
        Work::Barrier {} => {}
    }
}

fn one(text: &mut String, change: &Change, verbose: bool, paint: Paint) {
    let (sign, note) = match change.operation {
        Operation::Create => (paint.good("+"), ""),
        Operation::Update => (paint.warn("~"), ""),
        Operation::Adopt => (paint.warn("~"), " (adopted)"),
        Operation::Replace => (paint.bad("±"), " (deleted and made again)"),
        Operation::Delete => (paint.bad("-"), ""),
    };
    let _ = writeln!(text, "    {sign} {} {}{}", change.key.kind.kind, change.key.name, paint.warn(note));
    for manager in &change.migrate {
        let _ = writeln!(text, "        takes over the fields of `{}`", plain(manager));
    }
    if matches!(change.operation, Operation::Create | Operation::Delete) && !verbose {
        return;
    }
    let most = if verbose { usize::MAX } else { FIELDS };
    for field in change.fields.iter().take(most) {
        let _ = writeln!(text, "        {}", field_line(field, verbose, paint));
    }
    if change.fields.len() > most {
        let _ = writeln!(
            text,
            "        {}",
            paint.faint(&format!("… and {} more fields (-v shows all)", change.fields.len() - most))
        );
    }
}

fn field_line(field: &FieldChange, verbose: bool, paint: Paint) -> String {
    let most = if verbose { 2000 } else { 100 };
    let cut = |text: &String| short(&plain(text), most);
    let path = &field.path;
    match (&field.from, &field.to) {
        (Some(from), Some(to)) => format!("{path}: {} → {}", paint.bad(&cut(from)), paint.good(&cut(to))),
        (None, Some(to)) => format!("{path}: {}", paint.good(&cut(to))),
        (Some(from), None) => format!("{path}: {} → unset", paint.bad(&cut(from))),
        (None, None) => path.clone(),
    }
}

fn sum(plan: &Plan, paint: Paint) -> String {
    if plan.is_empty() {
        return format!("nothing to do: {} objects are as they should be", plan.unchanged.len());
    }
    let count = |wanted: &[Operation]| {
        plan.steps
            .iter()
            .flat_map(|step| step.work.changes())
            .filter(|change| wanted.contains(&change.operation))
            .count()
    };
    let parts = [
        (count(&[Operation::Create]), "to create"),
        (count(&[Operation::Update, Operation::Adopt]), "to change"),
        (count(&[Operation::Replace]), "to replace"),
        (count(&[Operation::Delete]), "to delete"),
        (plan.unchanged.len(), "unchanged"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let mut text = paint.strong(&parts.join(", "));
    if plan.steps.iter().any(|step| step.reversibility == Reversibility::Irreversible) {
        text.push_str(&paint.warn("\nsome of it cannot be undone"));
    }
    text
}
