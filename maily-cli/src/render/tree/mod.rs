//! A run as a tree: folded from its events, laid out for a terminal of a given size.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maily_core::engine::{Event, LEASE, Outcome, StepId, StepInfo, What};

use super::{
    log::word,
    paint::Paint,
    text::{between, by_the_clock, doing, elapsed, plain, short, subject},
};

/// How a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Waits,
    Busy,
    Done,
    Failed,
    Undoing,
    Undone,
}

/// What a row is for, as the most telling of its steps says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Removal,
    Job,
    Other,
}

impl Kind {
    fn of(step: &StepInfo) -> Self {
        match step.kind.as_str() {
            "prune" => Self::Removal,
            "job" => Self::Job,
            _ => Self::Other,
        }
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    version: String,
    phase: Option<String>,
    steps: usize,
    applied: usize,
    /// What its steps are for.
    work: Kind,
    step: String,
    mark: Mark,
    /// Why it failed, whatever came after that.
    failed: Option<String>,
    /// The step that could not be undone.
    stuck: Option<StepId>,
    ready: Option<(u32, u32)>,
    why: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Row {
    /// Whether it says what went wrong, which nothing on the way may hide.
    fn is_red(&self) -> bool {
        self.failed.is_some() || self.stuck.is_some()
    }

    /// The phase, or what is done before all phases and after them.
    fn heading(&self) -> &str {
        match (&self.phase, self.work) {
            (Some(phase), _) => phase,
            (None, Kind::Removal) => "removed at the end",
            (None, _) => "shared",
        }
    }
}

/// The state of a run as it is shown.
#[derive(Debug)]
pub(super) struct Tree {
    title: String,
    environment: String,
    /// Versions that were in force when it began, where they are known.
    before: Option<BTreeMap<String, String>>,
    run: Option<String>,
    began: Option<Timestamp>,
    ended: Option<Timestamp>,
    headline: Option<String>,
    /// Whether it goes on with nothing that has not begun.
    turned: bool,
    /// What kept the run waiting when it was last heard of.
    waiting: Option<String>,
    /// What the person at the terminal was told.
    notice: Option<String>,
    /// The holder that is waited for, and until when his lease lasts where nothing renews it.
    queued: Option<(String, Timestamp)>,
    rows: Vec<Row>,
    steps: BTreeMap<StepId, (usize, String)>,
}

impl Tree {
    pub(super) fn new(title: &str, environment: &str, before: Option<BTreeMap<String, String>>) -> Self {
        Self {
            title: title.to_owned(),
            environment: environment.to_owned(),
            before,
            run: None,
            began: None,
            ended: None,
            headline: None,
            turned: false,
            waiting: None,
            notice: None,
            queued: None,
            rows: Vec::new(),
            steps: BTreeMap::new(),
        }
    }

    /// Says something to who watches, until the run ends.
    pub(super) fn notice(&mut self, line: &str) {
        self.notice = Some(line.to_owned());
    }

    pub(super) fn fold(&mut self, event: &Event) {
        let at = event.at;
        self.waiting = self.after_all(&event.what);
        if !matches!(event.what, What::Queued { .. }) {
            self.queued = None;
        }
        match &event.what {
            What::Queued { holder } => {
                let holder = by_the_clock(&plain(holder));
                if self.queued.as_ref().is_none_or(|(known, _)| *known != holder) {
                    self.queued = at.checked_add(LEASE).ok().map(|until| (holder, until));
                }
            }
            What::Waiting { why } => self.waiting = Some(format!("waits: {}", plain(why))),
            What::RunStarted { title, versions, steps, .. } => {
                self.title.clone_from(title);
                self.run = Some(event.run.to_string());
                self.began = Some(at);
                self.headline = None;
                for step in steps.iter().filter(|step| step.kind != "barrier") {
                    self.add(step, versions);
                }
            }
            What::Resumed { by, .. } => {
                self.headline = Some(format!("taken over by {}", plain(by)));
                self.ended = None;
            }
            What::StepStarted { step } => self.touch(step, |row, kind| {
                row.mark = Mark::Busy;
                kind.clone_into(&mut row.step);
                row.why.clear();
                row.since.get_or_insert(at);
            }),
            What::StepProgress { step, ready, desired, why } => self.touch(step, |row, kind| {
                kind.clone_into(&mut row.step);
                // What is seen on the way back must not hide why it failed, and what is waited for at last stands above.
                if !row.is_red() && row.mark != Mark::Undone {
                    row.why = plain(why);
                }
                if let (Some(ready), Some(desired)) = (ready, desired) {
                    row.ready = Some((*ready, *desired));
                }
            }),
            What::StepRetried { step, error, .. } => self.touch(step, |row, _| {
                if !row.is_red() {
                    row.why = format!("tries again: {}", plain(error));
                }
            }),
            What::PodDeleted { step, pod, why } => self.touch(step, |row, _| {
                if !row.is_red() {
                    row.why = format!("deleted {pod}: {}", plain(why));
                }
            }),
            What::StepApplied { step, .. } => self.touch(step, |row, _| {
                row.applied += 1;
                row.why.clear();
                if let Some((ready, desired)) = &mut row.ready {
                    *ready = *desired;
                }
                if row.applied >= row.steps {
                    row.mark = Mark::Done;
                    row.until = Some(at);
                }
            }),
            What::StepFailed { step, failure } => self.touch(step, |row, _| {
                row.mark = Mark::Failed;
                row.why = plain(&failure.message);
                row.failed = Some(row.why.clone());
                row.until = Some(at);
            }),
            What::Turned { why, .. } => {
                self.turned = true;
                self.headline = Some(format!("goes back: {}", plain(&why.message)));
            }
            What::UndoStarted { step } => self.touch(step, |row, _| {
                row.stuck.take_if(|stuck| stuck == step);
                if row.stuck.is_some() {
                    return;
                }
                // The way there, and how long somebody thought about it, are no part of the way back.
                if !matches!(row.mark, Mark::Undoing | Mark::Undone) {
                    row.since = Some(at);
                }
                row.mark = Mark::Undoing;
                // What was counted before were replicas of the version that goes.
                row.ready = None;
                row.until = None;
                row.why = row.failed.clone().unwrap_or_default();
            }),
            What::Undone { step } => self.touch(step, |row, _| {
                if row.stuck.is_some() {
                    return;
                }
                row.mark = Mark::Undone;
                if row.failed.is_none() {
                    row.why = "as it was".to_owned();
                }
                // Whether all of the old ones serve again by now, no event says.
                row.ready = None;
                row.until = Some(at);
            }),
            What::UndoFailed { step, failure, .. } => self.touch(step, |row, _| {
                row.mark = Mark::Failed;
                row.stuck = Some(step.clone());
                row.why = format!("cannot be undone: {}", plain(&failure.message));
            }),
            What::GateDecided { step, verdict, evidence } => self.touch(step, |row, _| {
                row.why = format!("{verdict}: {}", plain(evidence));
            }),
            // Who goes on with a run hears of the pause from before.
            What::Paused { .. } if event.replayed => {}
            What::Paused { why, .. } => {
                self.notice = None;
                self.headline = Some(format!("paused: {}", plain(why)));
                self.ended = Some(at);
            }
            What::RunFinished { outcome, .. } => {
                match outcome {
                    Outcome::Succeeded { not_serving, .. } if !not_serving.is_empty() => {
                        self.headline = Some(word(outcome).to_owned());
                    }
                    Outcome::Succeeded { .. } => self.headline = None,
                    Outcome::Unchanged { .. } => {}
                    _ => self.turned = true,
                }
                self.notice = None;
                self.ended = Some(at);
            }
        }
    }

    /// What is waited for when everything is taken back: until what served before serves again.
    fn after_all(&self, what: &What) -> Option<String> {
        let What::StepProgress { step, why, .. } = what else { return None };
        let row = &self.rows[self.steps.get(step)?.0];
        let last = row.mark == Mark::Undone;
        last.then(|| format!("waits until `{}` serves again: {}", row.name, plain(why)))
    }

    fn add(&mut self, step: &StepInfo, versions: &BTreeMap<String, String>) {
        let name = subject(step);
        let index = match self.rows.iter().position(|row| row.name == name && row.phase == step.phase) {
            Some(index) => index,
            None => {
                self.rows.push(Row {
                    version: versions.get(&name).cloned().unwrap_or_default(),
                    phase: step.phase.clone(),
                    steps: 0,
                    applied: 0,
                    work: Kind::of(step),
                    step: doing(step),
                    mark: Mark::Waits,
                    failed: None,
                    stuck: None,
                    ready: None,
                    why: String::new(),
                    since: None,
                    until: None,
                    name,
                });
                self.rows.len() - 1
            }
        };
        let row = &mut self.rows[index];
        row.steps += 1;
        row.work = row.work.max(Kind::of(step));
        self.steps.insert(step.id.clone(), (index, doing(step)));
    }

    fn touch(&mut self, step: &StepId, change: impl FnOnce(&mut Row, &str)) {
        if let Some((index, kind)) = self.steps.get(step) {
            change(&mut self.rows[*index], kind);
        }
    }

    /// The lines of the tree, at most so many and so long.
    pub(super) fn lines(&self, now: Timestamp, width: usize, height: usize, paint: Paint) -> Vec<String> {
        let mut lines = vec![self.head(now, width, paint)];
        let queued = self.queued.as_ref().map(|(holder, until)| queued(holder, *until, now));
        for headline in self.headline.iter().chain(&queued).chain(&self.waiting).chain(&self.notice) {
            lines.push(format!("  {}", paint.warn(&short(headline, width.saturating_sub(2)))));
        }
        let room = height.saturating_sub(lines.len() + 1).max(1);
        let phases = self.rows.iter().map(Row::heading).collect::<std::collections::BTreeSet<_>>().len();
        let headings = if phases > 1 { phases } else { 0 };
        let all = self.rows.len() + headings <= room;
        let mut phase = None;
        let mut shown = 0;
        for row in &self.rows {
            let quiet = matches!(row.mark, Mark::Waits | Mark::Done | Mark::Undone);
            if !all && (quiet || shown >= room) {
                continue;
            }
            shown += 1;
            if all && phases > 1 && phase != Some(row.heading()) {
                phase = Some(row.heading());
                lines.push(format!("  {}", paint.strong(row.heading())));
            }
            lines.push(self.row(row, now, width, paint));
        }
        if !all {
            let count = |mark| self.rows.iter().filter(|row| row.mark == mark).count();
            let (done, waits) = (count(Mark::Done), count(Mark::Waits));
            lines.push(paint.faint(&format!("  {done} done, {waits} wait, {} in all", self.rows.len())));
        }
        lines
    }

    fn head(&self, now: Timestamp, width: usize, paint: Paint) -> String {
        let mut text = format!("{} → {}", self.title, self.environment);
        let mut rest = String::new();
        if let Some(run) = &self.run {
            rest = format!("  run {run}");
        }
        if let Some(began) = self.began {
            rest.push_str(&format!("  {}", elapsed(between(began, self.ended.unwrap_or(now)))));
        }
        text = short(&text, width.saturating_sub(rest.chars().count()));
        format!("{}{}", paint.strong(&text), paint.faint(&rest))
    }

    /// The version that a row stands for: what was taken back, or will not begin any more, is at the one before.
    fn version<'a>(&'a self, row: &'a Row) -> &'a str {
        let Some(before) = self.before.as_ref().filter(|_| !row.version.is_empty()) else {
            return &row.version;
        };
        let before = before.get(&row.name).map(String::as_str);
        match row.mark {
            Mark::Undone => before.unwrap_or("gone"),
            Mark::Waits if self.turned => before.unwrap_or_default(),
            _ => &row.version,
        }
    }

    fn row(&self, row: &Row, now: Timestamp, width: usize, paint: Paint) -> String {
        const SPIN: [&str; 4] = ["◐", "◓", "◑", "◒"];
        let frame = usize::try_from(now.as_millisecond() / 250 % 4).unwrap_or_default();
        let mark = match row.mark {
            Mark::Waits => paint.faint("·"),
            Mark::Busy if self.ended.is_none() => paint.busy(SPIN[frame]),
            Mark::Busy => paint.warn("◌"),
            Mark::Done => paint.good("✓"),
            Mark::Failed => paint.bad("✗"),
            Mark::Undoing => paint.warn("↩"),
            Mark::Undone => paint.warn("↩"),
        };
        let names = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).min(32);
        let versions =
            self.rows.iter().map(|row| self.version(row).chars().count()).max().unwrap_or(0).min(16);
        let step = match row.mark {
            Mark::Waits if self.turned => "not begun",
            Mark::Waits => "",
            Mark::Done => match row.work {
                Kind::Removal => "removed",
                Kind::Job => "completed",
                Kind::Other if row.ready.is_some() => "serves",
                Kind::Other => "done",
            },
            Mark::Undone => "taken back",
            Mark::Undoing => "going back",
            Mark::Busy | Mark::Failed => row.step.as_str(),
        };
        let ready = row.ready.map(|(ready, desired)| format!("{ready}/{desired}")).unwrap_or_default();
        let time =
            row.since.map(|since| elapsed(between(since, row.until.unwrap_or(now)))).unwrap_or_default();
        let fixed = format!(
            " {:names$}  {:versions$}  {step:10} {ready:>5} {time:>7}  ",
            short(&row.name, names),
            short(self.version(row), versions),
        );
        let left = width.saturating_sub(fixed.chars().count() + 5);
        let why = short(&row.why, left);
        let why = if row.is_red() { paint.bad(&why) } else { paint.faint(&why) };
        format!("  {mark} {}{why}", fixed).trim_end().to_owned()
    }
}

/// Who is waited for, and for how long if nobody is there any more.
fn queued(holder: &str, until: Timestamp, now: Timestamp) -> String {
    match between(now, until).as_secs_f64().ceil() {
        left if left >= 1.0 => format!("waits for {holder}: its lease runs out in {left:.0} s if it is dead"),
        _ => format!("waits for {holder}: it shows life"),
    }
}

#[cfg(test)]
mod tests;
