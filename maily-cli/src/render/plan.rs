//! A plan for people: what changes, object by object.

use std::{borrow::Cow, fmt::Write as _};

use maily_core::engine::{
    Change, FieldChange, Note, Operation, Plan, Reversibility, Step, Work, difference, journal::ReleaseHead,
};
use maily_core::{object::Object, provider::ProbeRequest};

use super::{
    paint::Paint,
    text::{HIDDEN, plain, several, short},
};

/// Fields of one object that are shown without `-v`.
const FIELDS: usize = 12;

/// Objects that are shown of a plan that nobody asked to see: more would push what comes of it out of sight.
pub(super) const GLANCE: usize = 200;

/// Which fields of an object are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// None: what happens to which object, and nothing that is only good to know.
    None,
    /// The first ones of what changes.
    Few,
    /// All, also of what is new.
    All,
}

/// How much is shown, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    pub(super) fields: Fields,
    /// How many objects.
    pub(super) most: usize,
    /// Columns of the terminal, where there is one.
    pub(super) wide: Option<usize>,
    pub(super) paint: Paint,
}

pub(super) fn plan(plan: &Plan, before: Option<&ReleaseHead>, screen: Screen) -> String {
    let paint = screen.paint;
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
    let only_removes =
        plan.steps.iter().all(|step| matches!(step.work, Work::Prune { .. } | Work::Barrier {}));
    let mut removes = only_removes;
    let mut room = Room { left: screen.most, over: 0 };
    for step in plan.steps.iter().filter(|step| !matches!(step.work, Work::Barrier {})) {
        if room.left == 0 {
            room.over += parts(step);
            continue;
        }
        if phases.len() > 1 && step.phase.is_some() && phase != step.phase.as_ref() {
            phase = step.phase.as_ref();
            let _ = writeln!(
                text,
                "\n{}",
                paint.strong(&format!("phase {}", step.phase.as_deref().unwrap_or_default()))
            );
            service = None;
        }
        if !removes && matches!(step.work, Work::Prune { .. }) {
            removes = true;
            let _ = writeln!(text, "\n{}", paint.strong("removed at the end"));
            service = None;
        }
        let subject =
            step.service.as_deref().or_else(|| step.id.as_str().split('/').nth(1)).unwrap_or_default();
        if service != Some(subject) {
            service = Some(subject);
            let _ = writeln!(text, "\n  {}{}", paint.strong(subject), versions(plan, before, subject, paint));
        }
        work(&mut text, step, screen, &mut room);
    }
    if room.over > 0 {
        let more = several(room.over, "more object");
        let _ = writeln!(text, "\n  … and {more}: `--dry-run` shows all, as does `-v`");
    }
    let told = |note: &&Note| !is_plain(note) || screen.fields != Fields::None;
    let notes: Vec<&Note> = plan.notes.iter().filter(told).collect();
    if !notes.is_empty() {
        let _ = writeln!(text, "\n{}", paint.strong("good to know"));
        for note in notes {
            let sign = if is_plain(note) { paint.faint("·") } else { paint.warn("!") };
            let _ = writeln!(text, "  {sign} {}: {}", note.topic, plain(&note.text));
        }
    }
    let _ = writeln!(text, "\n{}", sum(plan, paint));
    text
}

/// Whether a note only informs: there is nothing to be wary of.
fn is_plain(note: &Note) -> bool {
    note.topic == "shared"
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

/// Room for objects.
struct Room {
    left: usize,
    /// Objects that found none.
    over: usize,
}

/// What a step takes of the room.
fn parts(step: &Step) -> usize {
    match &step.work {
        Work::Rollout { changes } | Work::Prune { changes } => changes.len(),
        _ => 1,
    }
}

fn work(text: &mut String, step: &Step, screen: Screen, room: &mut Room) {
    let paint = screen.paint;
    let shown = parts(step).min(room.left);
    room.left -= shown;
    room.over += parts(step) - shown;
    match &step.work {
        Work::Rollout { changes } | Work::Prune { changes } => {
            for change in &changes[..shown] {
                one(text, change, screen);
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
        Work::Frontend { project, version, domain, before, .. } => {
            let domain = domain.as_ref().map(|domain| format!(" on {domain}")).unwrap_or_default();
            let sign = if before.is_none() { paint.good("+") } else { paint.warn("~") };
            let _ = writeln!(text, "    {sign} frontend {project} {version}{domain}");
        }
        Work::Barrier {} => {}
    }
}

fn one(text: &mut String, change: &Change, screen: Screen) {
    let Screen { fields, paint, .. } = screen;
    let (sign, note) = match change.operation {
        Operation::Create => (paint.good("+"), ""),
        Operation::Update => (paint.warn("~"), ""),
        Operation::Adopt => (paint.warn("~"), " (adopted)"),
        Operation::Replace => (paint.bad("±"), " (deleted and made again)"),
        Operation::Delete => (paint.bad("-"), ""),
    };
    let _ = writeln!(text, "    {sign} {} {}{}", change.key.kind.named(), change.key.name, paint.warn(note));
    for manager in &change.migrate {
        let _ = writeln!(text, "        takes over the fields of `{}`", plain(manager));
    }
    let brief = matches!(change.operation, Operation::Create | Operation::Delete) && fields != Fields::All;
    if brief || fields == Fields::None {
        return;
    }
    let most = if fields == Fields::All { usize::MAX } else { FIELDS };
    for field in all_of(change).iter().take(most) {
        for line in field_lines(field, screen) {
            let _ = writeln!(text, "        {line}");
        }
    }
    if change.fields.len() > most {
        let _ = writeln!(
            text,
            "        {}",
            paint.faint(&format!(
                "… and {} (-v shows all)",
                several(change.fields.len() - most, "more field")
            ))
        );
    }
}

/// The fields of a change; of an object that is new all that it will have, Secrets sealed.
fn all_of(change: &Change) -> Cow<'_, [FieldChange]> {
    let (Operation::Create, [], Some(desired)) = (change.operation, &*change.fields, &change.desired) else {
        return Cow::Borrowed(&change.fields);
    };
    let key = &change.key;
    let nothing = serde_json::json!({
        "apiVersion": desired.body().get("apiVersion"),
        "kind": key.kind.kind,
        "metadata": {"name": key.name, "namespace": key.namespace},
    });
    Object::from_value(nothing).map_or(Cow::Borrowed(&[]), |nothing| {
        let whole = difference(&nothing, desired);
        Cow::Owned(whole.into_iter().filter(|field| field.to.is_some()).collect())
    })
}

/// A field in one line, or, where the terminal is too narrow for that, its values each in one of their own.
fn field_lines(field: &FieldChange, screen: Screen) -> Vec<String> {
    let Screen { fields, wide, paint, .. } = screen;
    let most = if fields == Fields::All { 2000 } else { 100 };
    let cut = |text: &String| short(&plain(text), most);
    let path = &field.path;
    let (from, to) = (field.from.as_ref().map(cut), field.to.as_ref().map(cut));
    if from.as_deref() == Some(HIDDEN) && to.as_deref() == Some(HIDDEN) {
        return vec![format!("{path}: {}", paint.warn(&format!("changed {HIDDEN}")))];
    }
    let length = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
    let all = 8 + path.chars().count() + 2 + length(&from) + 3 + length(&to);
    let (old, new) = (from.map(|text| paint.bad(&text)), to.map(|text| paint.good(&text)));
    if wide.is_some_and(|wide| all > wide) {
        let new = new.unwrap_or_else(|| "unset".to_owned());
        return match old {
            Some(old) => vec![format!("{path}:"), format!("    {old}"), format!("  → {new}")],
            None => vec![format!("{path}:"), format!("    {new}")],
        };
    }
    vec![match (old, new) {
        (Some(old), Some(new)) => format!("{path}: {old} → {new}"),
        (None, Some(new)) => format!("{path}: {new}"),
        (Some(old), None) => format!("{path}: {old} → unset"),
        (None, None) => path.clone(),
    }]
}

fn several_are(count: usize) -> String {
    let are = if count == 1 { "is" } else { "are" };
    format!("{} {are}", several(count, "object"))
}

fn sum(plan: &Plan, paint: Paint) -> String {
    if plan.is_empty() {
        return format!("nothing to do: {} as they should be", several_are(plan.unchanged.len()));
    }
    let count =
        |wanted: &[Operation]| plan.changes().filter(|change| wanted.contains(&change.operation)).count();
    let frontends = |is_new: bool| {
        let wanted =
            |step: &&Step| matches!(&step.work, Work::Frontend { before, .. } if before.is_none() == is_new);
        plan.steps.iter().filter(wanted).count()
    };
    let parts = [
        (count(&[Operation::Create]) + frontends(true), "to create"),
        (count(&[Operation::Update, Operation::Adopt]) + frontends(false), "to change"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(wide: Option<usize>) -> Screen {
        Screen { fields: Fields::Few, most: usize::MAX, wide, paint: Paint::default() }
    }

    #[test]
    fn a_field_that_is_too_long_for_the_terminal_is_broken_between_its_values() {
        let image = |tag: &str| Some(format!("123456789012.dkr.ecr.eu-central-1.amazonaws.com/email:{tag}"));
        let path = "spec.template.spec.containers[email].image".to_owned();
        let field = FieldChange { path, from: image("v1.0.0"), to: image("v1.1.0") };
        let lines = |wide| field_lines(&field, screen(wide));
        assert_eq!(lines(None).len(), 1);
        assert_eq!(lines(Some(200)), lines(None));
        let narrow = lines(Some(80));
        assert_eq!(narrow.len(), 3, "{narrow:?}");
        assert!(narrow.iter().all(|line| 8 + line.chars().count() <= 80), "{narrow:?}");
        let gone = FieldChange { to: None, ..field.clone() };
        let gone = field_lines(&gone, screen(Some(80)));
        assert_eq!(gone.last().map(String::as_str), Some("  → unset"));
    }

    #[test]
    fn values_of_secrets_are_not_even_shown_as_hashes() {
        let sealed = |hash: &str| Some(format!("maily.dev/sealed:{hash}"));
        let field = FieldChange {
            path: "data.password".to_owned(),
            from: sealed("a412224cebb0429d0a12e9eea653178d"),
            to: sealed("40f1659d40f1659d40f1659d40f1659d"),
        };
        for wide in [Some(60), Some(200), None] {
            assert_eq!(field_lines(&field, screen(wide)), ["data.password: changed (value hidden)"]);
        }
        let new = FieldChange { from: None, ..field.clone() };
        assert_eq!(field_lines(&new, screen(None)), ["data.password: (value hidden)"]);
        let gone = FieldChange { to: None, ..field };
        assert_eq!(field_lines(&gone, screen(None)), ["data.password: (value hidden) → unset"]);
    }
}
