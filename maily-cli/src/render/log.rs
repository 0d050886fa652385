//! A run as lines that stay.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use maily_core::engine::{Event, Failure, LEASE, Listener, Outcome, StepId, StepInfo, What};

use super::{
    columns_of_terminal, heard,
    paint::Paint,
    text::{between, by_the_clock, doing, elapsed, plain, several, subject},
    wrap::wrapped,
};

/// Events as text, one line each.
pub(super) struct Log {
    paint: Paint,
    names: Mutex<BTreeMap<StepId, String>>,
    /// When a step last said something, and what of its progress.
    said: Mutex<BTreeMap<StepId, (Timestamp, String)>>,
    lost: Arc<AtomicBool>,
}

/// Steps that go on as they should are silent for so long. What lasts longer is told again after 4 s.
const SILENCE: Duration = Duration::from_secs(3);
/// What has not changed is said again after so long.
const AGAIN: Duration = Duration::from_secs(20);

/// Events as JSON, one line each; told where one could not be written.
pub(super) struct JsonLines(pub(super) Arc<AtomicBool>);

/// Writes a line. A run goes on, whoever reads.
fn say(line: &str, json: bool, lost: &AtomicBool) {
    if writeln!(std::io::stdout().lock(), "{}", heard(line, json)).is_err() {
        lost.store(true, Ordering::Relaxed);
    }
}

impl Listener for JsonLines {
    fn event(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            say(&line, true, &self.0);
        }
    }
}

impl Log {
    pub(super) fn new(paint: Paint, lost: Arc<AtomicBool>) -> Self {
        Self { paint, names: Mutex::default(), said: Mutex::default(), lost }
    }

    /// Whether a step's progress is worth a line.
    fn is_news(&self, event: &Event) -> bool {
        let (step, progress) = match &event.what {
            What::StepStarted { step } | What::UndoStarted { step } => (step, None),
            What::StepProgress { step, ready, why, .. } => (step, Some(format!("{ready:?} {why}"))),
            _ => return true,
        };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((at, last)), Some(progress)) = (said.get(step), &progress) {
            let silent = between(*at, event.at);
            if silent < SILENCE || (last == progress && silent < AGAIN) {
                return false;
            }
        }
        said.insert(step.clone(), (event.at, progress.unwrap_or_default()));
        true
    }

    fn line(&self, event: &Event) -> Option<String> {
        if !self.is_news(event) {
            return None;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let What::RunStarted { steps, .. } = &event.what {
            for step in steps {
                names.insert(step.id.clone(), named(step));
            }
        }
        let name = |step: &StepId| names.get(step).cloned().unwrap_or_else(|| step.to_string());
        let hidden = |step: &StepId| names.get(step).is_some_and(|name| name.ends_with(" barrier"));
        let paint = self.paint;
        Some(match &event.what {
            What::Queued { holder } => {
                let holder = by_the_clock(&plain(holder));
                let lease = LEASE.as_secs();
                format!("waits for {holder}: its lease runs out in {lease} s if it is dead")
            }
            What::Waiting { why } => format!("{} {}", paint.warn("wait "), plain(why)),
            What::RunStarted { title, steps, .. } => format!(
                "{} {} to {}: run {}, {}",
                paint.busy("begin"),
                title,
                event.environment,
                event.run,
                several(steps.iter().filter(|step| step.kind != "barrier").count(), "step")
            ),
            What::Resumed { by, .. } => format!("taken over by {}", plain(by)),
            What::StepStarted { step }
            | What::StepApplied { step, .. }
            | What::UndoStarted { step }
            | What::Undone { step }
                if hidden(step) =>
            {
                return None;
            }
            What::StepStarted { step } => format!("{} {}", paint.busy("start"), name(step)),
            What::StepProgress { step, ready, desired, why } => {
                let count = match (ready, desired) {
                    (Some(ready), Some(desired)) => format!(" {ready}/{desired}"),
                    _ => String::new(),
                };
                format!("{} {}{count}: {}", paint.faint("wait "), name(step), plain(why))
            }
            What::StepRetried { step, error, after_ms } => format!(
                "{} {} in {}: {}",
                paint.warn("retry"),
                name(step),
                elapsed(Duration::from_millis(*after_ms)),
                plain(error)
            ),
            What::PodDeleted { step, pod, why } => {
                format!("{} {}: deleted {pod}: {}", paint.warn("clear"), name(step), plain(why))
            }
            What::StepApplied { step, took_ms } => format!(
                "{} {} ({})",
                paint.good("done "),
                name(step),
                elapsed(Duration::from_millis(*took_ms))
            ),
            What::StepFailed { step, failure } => {
                format!("{} {}: {}", paint.bad("fail "), name(step), failed(failure))
            }
            What::Turned { why, .. } => format!("{} goes back: {}", paint.warn("turn "), plain(&why.message)),
            What::UndoStarted { step } => format!("{} {}", paint.warn("undo "), name(step)),
            What::Undone { step } => format!("{} {}", paint.warn("undid"), name(step)),
            What::UndoFailed { step, failure, .. } => {
                format!("{} {} cannot be undone: {}", paint.bad("stuck"), name(step), failed(failure))
            }
            What::GateDecided { step, verdict, evidence } => {
                format!("{} {}: {verdict}: {}", paint.strong("gate "), name(step), plain(evidence))
            }
            What::Paused { why, .. } => format!("{} {}", paint.warn("pause"), plain(why)),
            What::RunFinished { outcome, release } => {
                let release =
                    release.map(|release| format!(", release {release} is in force")).unwrap_or_default();
                format!("{} {}{release}", paint.busy("end  "), word(outcome))
            }
        })
    }
}

/// What a line calls a step.
fn named(step: &StepInfo) -> String {
    let (subject, doing) = (subject(step), doing(step));
    match step.id.as_str().rsplit('/').next() {
        _ if subject == doing => doing,
        // What belongs to no service is applied; there is nothing of it that rolls out.
        Some("apply") if step.service.is_none() => format!("{subject} objects"),
        // As the journal names it: a service may be called `shared`.
        Some("remove") if step.service.is_none() => format!("{subject} remove"),
        _ => format!("{subject} {doing}"),
    }
}

fn failed(failure: &Failure) -> String {
    let mut text = format!("{} [{}]", plain(&failure.message), failure.cause);
    if let Some(at) = failure.evidence_at {
        text.push_str(&format!(" (evidence of {at:.0})"));
    }
    text
}

/// An outcome in one word.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { not_serving, .. } if !not_serving.is_empty() => "released, not serving",
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::Unchanged { .. } => "unchanged",
        Outcome::RolledBack { not_serving, .. } if !not_serving.is_empty() => "rolled back, not serving",
        Outcome::RolledBack { .. } => "rolled back",
        Outcome::Stuck { .. } => "needs a person",
        Outcome::Cancelled { .. } => "cancelled",
    }
}

impl Listener for Log {
    fn event(&self, event: &Event) {
        if let Some(line) = self.line(event) {
            // Rather none than that of something else.
            let time = if event.untimed { " ".repeat(20) } else { format!("{:.0}", event.at) };
            let time = self.paint.faint(&time);
            let told = if event.replayed { " (earlier)" } else { "" };
            say(&wrapped(&format!("{time} {line}{told}"), columns_of_terminal()), false, &self.lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use maily_core::engine::{EVENT_FORMAT, RunId};

    use super::*;

    /// What a run says of a step at these seconds, and how many lines that makes.
    fn lines(said: &[(i64, &str)]) -> Vec<i64> {
        let log = Log::new(Paint::default(), Arc::default());
        let step = StepId::new("production", "api", "rollout");
        let told = |second: i64, what: What| {
            log.line(&Event {
                format: EVENT_FORMAT,
                at: Timestamp::from_second(second).expect("a time"),
                run: RunId::from("run"),
                environment: "production".into(),
                replayed: false,
                untimed: false,
                what,
            })
        };
        assert!(told(0, What::StepStarted { step: step.clone() }).is_some());
        let progress = |why: &str| What::StepProgress {
            step: step.clone(),
            ready: Some(1),
            desired: Some(2),
            why: why.to_owned(),
        };
        let shown = said.iter().filter(|(second, why)| told(*second, progress(why)).is_some());
        shown.map(|(second, _)| *second).collect()
    }

    #[test]
    fn what_lasts_is_said_within_five_seconds_and_again() {
        assert_eq!(lines(&[(0, "pulls"), (4, "pulls"), (29, "pulls"), (54, "pulls")]), [4, 29, 54]);
        // A reason that changes right after a line is not lost: it is told once more when it lasts.
        assert_eq!(lines(&[(0, "pulls"), (4, "pulls"), (5, "crashes"), (9, "crashes")]), [4, 9]);
        // The same is not said twice in a row.
        assert_eq!(lines(&[(4, "pulls"), (8, "pulls"), (12, "pulls")]), [4]);
    }

    #[test]
    fn nothing_is_called_by_the_same_name_twice() {
        let step = |service: Option<&str>, kind: &str, id: [&str; 3]| StepInfo {
            id: StepId::new(id[0], id[1], id[2]),
            kind: kind.to_owned(),
            service: service.map(str::to_owned),
            phase: None,
            needs: Vec::new(),
        };
        for (info, name) in [
            (step(Some("api"), "rollout", ["e", "api", "rollout"]), "api rollout"),
            (step(Some("frontend"), "frontend", ["e", "frontend", "frontend"]), "frontend"),
            (step(Some("web"), "frontend", ["e", "web", "frontend"]), "web frontend"),
            // Objects that belong to no service are applied, and no service is rolled out.
            (step(None, "rollout", ["e", "shared", "apply"]), "shared objects"),
            (step(None, "prune", ["e", "shared", "remove"]), "shared remove"),
            (step(Some("api"), "check", ["e", "api/check", "1"]), "api check 1"),
        ] {
            assert_eq!(named(&info), name);
        }
    }
}
