//! Runs: carried out, gone on with, or taken back, and their ends reported.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use maily_core::engine::{
    EnvironmentError, Event, Goal, Listener, Note, Outcome, Planned, RunEnd, RunId, RunOptions, What, Wish,
};

use super::{consent::approve, moved::tell_moved, turn::wait_at_most};
use crate::{
    args::{RunArgs, TurnArgs},
    exit::{CliError, Code},
    render::{Form, Ui},
    signals::UnderWay,
    wire::{Wired, whoami},
};

/// Carries a wish out. Where another run has changed the environment between the plan and our turn, plans anew: the
/// wish is as good as before, and who has to say yes is asked again.
pub(crate) async fn fulfil(
    ui: &Ui,
    wired: &Wired,
    run: &RunArgs,
    dry_run: bool,
    again: &str,
    plan: impl AsyncFn() -> Result<Planned, CliError>,
) -> Result<Code, CliError> {
    let tell =
        || ui.tell(&format!("{} has changed since the plan was made: plans anew", wired.environment.name));
    once_more(tell, async || carry_out(ui, wired, plan().await?, run, dry_run, again).await).await
}

/// Tries again what was out of date, once: whoever changes an environment without end is not raced.
async fn once_more(
    tell: impl Fn(),
    attempt: impl AsyncFn() -> Result<Code, CliError>,
) -> Result<Code, CliError> {
    match attempt().await {
        Err(error) if error.code == Code::OutOfDate => {
            tell();
            attempt().await
        }
        end => end,
    }
}

/// Shows a plan where somebody reads it, asks where somebody has to say yes, and carries it out. `again` is what to say
/// where nobody can be asked.
pub(crate) async fn carry_out(
    ui: &Ui,
    wired: &Wired,
    planned: Planned,
    run: &RunArgs,
    dry_run: bool,
    again: &str,
) -> Result<Code, CliError> {
    let name = &wired.environment.name;
    let title = planned.plan.goal.title();
    if dry_run {
        ui.plan(&planned)?;
        return Ok(Code::Done);
    }
    if !planned.plan.is_empty() && !run.yes {
        approve(ui, wired, &planned, again)?;
    } else if !planned.plan.is_empty() {
        ui.brief_plan(&planned);
    } else {
        // Of a plan that changes nothing only the reason for that is worth a line.
        let told = |note: &&Note| {
            matches!(
                note.topic.as_str(),
                "last-good" | "version" | "frontend" | "option" | "shared-left-out" | "left"
            )
        };
        for note in planned.plan.notes.iter().filter(told) {
            let text = ui.tool.in_text(&crate::render::plain(&note.text));
            ui.tell(&format!("{} {}: {text}", ui.beside.warn("!"), note.topic));
        }
    }
    let back = matches!(planned.plan.goal, Goal::Rollback { .. });
    let before = planned.head.release.as_ref().map(|(_, release)| release.versions.clone());
    let show = ui.show(&title, name, Some(before.unwrap_or_default()));
    let begun = Begun::default();
    let under_way = run_under_way(ui);
    let options = options(wired, &run.turn, &under_way, begun.watch(show.listener()))?;
    let end = wired.environment.run(planned, &options).await.map_err(|error| begun.error(ui, name, error))?;
    ui.finished(show, name, &end);
    if let RunEnd::Over { outcome: Outcome::Succeeded { release, .. }, .. } = &end
        && back
    {
        tell_moved(ui, wired, *release).await;
    }
    Ok(Code::of(&end))
}

/// The versions in force, where they can be read; what cannot, the run itself tells.
async fn versions(wired: &Wired) -> Option<BTreeMap<String, String>> {
    wired.environment.check().await.ok()?;
    let head = wired.environment.head().await.ok()?;
    head.release.map(|(_, release)| release.versions)
}

/// Goes on with, or takes back, a run that has not ended.
pub(crate) async fn take_over(
    ui: &Ui,
    wired: &Wired,
    only: Option<&RunId>,
    wish: Wish,
    turn: &TurnArgs,
) -> Result<Code, CliError> {
    let name = &wired.environment.name;
    let title = title(wish);
    // Only a tree shows them, and nobody else pays for the look.
    let before = if ui.form == Form::Live { versions(wired).await } else { None };
    let show = ui.show(title, name, before);
    let begun = Begun::default();
    let under_way = run_under_way(ui);
    let options = options(wired, turn, &under_way, begun.watch(show.listener()))?;
    let taken = wired.environment.take_over(only, wish, &options).await;
    match taken.map_err(|error| begun.error(ui, name, error))? {
        Some(end) => {
            ui.finished(show, name, &end);
            if let RunEnd::Over { outcome: Outcome::Succeeded { release, .. }, .. } = &end {
                tell_moved(ui, wired, *release).await;
            }
            Ok(Code::of(&end))
        }
        None => {
            drop(show);
            nothing_to(ui, name, wish, only)
        }
    }
}

fn title(wish: Wish) -> &'static str {
    match wish {
        Wish::Resume => "resume",
        Wish::Abort => "abort",
        Wish::Leave => "leave",
    }
}

/// Says that there is no run to go on with, or that the one that was meant has ended.
pub(crate) fn nothing_to(
    ui: &Ui,
    environment: &str,
    wish: Wish,
    only: Option<&RunId>,
) -> Result<Code, CliError> {
    let title = title(wish);
    if ui.is_json() {
        ui.document(title, &serde_json::json!({"environment": environment, "run": null}))?;
    } else {
        let why = match only {
            Some(run) => format!("run {run} has ended"),
            None => format!("no run of `{environment}` is unfinished"),
        };
        ui.print_text(&format!("nothing to {title}: {why}"))?;
    }
    Ok(Code::Done)
}

/// A run that signals stop in an orderly way; a second one ends the process at once, which a run survives, too.
fn run_under_way(ui: &Ui) -> UnderWay {
    let line = "stops after the current requests; once more ends at once";
    UnderWay::begin((!ui.is_json()).then_some(line))
}

fn options(
    wired: &Wired,
    turn: &TurnArgs,
    under_way: &UnderWay,
    listener: Arc<dyn Listener>,
) -> Result<RunOptions, CliError> {
    let mut options = RunOptions::new(whoami());
    options.reason.clone_from(&turn.reason);
    wait_at_most(&mut options, wired, &turn.wait)?;
    options.cancel = under_way.token();
    options.listener = listener;
    Ok(options)
}

/// Whether a run has begun, as its events tell: what goes wrong from then on is no failure before any change.
#[derive(Clone, Default)]
struct Begun(Arc<AtomicBool>);

impl Begun {
    /// Tells a listener everything, and listens.
    fn watch(&self, listener: Arc<dyn Listener>) -> Arc<dyn Listener> {
        let begun = Arc::clone(&self.0);
        Arc::new(move |event: &Event| {
            if !matches!(event.what, What::Queued { .. } | What::Waiting { .. }) {
                begun.store(true, Ordering::Relaxed);
            }
            listener.event(event);
        })
    }

    /// Why a run ends here that somebody else can go on with.
    fn error(&self, ui: &Ui, environment: &str, error: EnvironmentError) -> CliError {
        let error = CliError::from(error);
        if error.code != Code::Failed || !self.0.load(Ordering::Relaxed) {
            return error;
        }
        let resume = ui.tool.call(&format!("resume --env {environment}"));
        let help = error.help.map(|help| format!("{help}; then ")).unwrap_or_default();
        CliError::new(Code::Interrupted, error.message).help(format!("{help}go on with the run: `{resume}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_out_of_date_is_planned_anew_once() {
        use std::cell::Cell;
        for (outdated, code, plans) in [(0, Code::Done, 1), (1, Code::Done, 2), (9, Code::OutOfDate, 2)] {
            let (made, told) = (Cell::new(0), Cell::new(0));
            let attempt = async || {
                made.set(made.get() + 1);
                let is_old = made.get() <= outdated;
                if is_old { Err(CliError::new(Code::OutOfDate, "old")) } else { Ok(Code::Done) }
            };
            let end = once_more(|| told.set(told.get() + 1), attempt).await;
            assert_eq!(end.unwrap_or_else(|error| error.code), code);
            assert_eq!((made.get(), told.get()), (plans, plans - 1));
        }
        let made = Cell::new(0);
        let refused = once_more(
            || panic!("nothing is planned anew"),
            async || {
                made.set(made.get() + 1);
                Err(CliError::new(Code::Held, "held"))
            },
        );
        assert_eq!(refused.await.err().map(|error| error.code), Some(Code::Held));
        assert_eq!(made.get(), 1);
    }

    #[test]
    fn a_wait_before_the_run_begins_it_not() {
        let begun = Begun::default();
        let heard = begun.watch(Arc::new(|_: &Event| {}));
        let event = |what| Event {
            format: maily_core::engine::EVENT_FORMAT,
            at: maily_core::runtime::Runtime::wall(&maily_core::runtime::TokioRuntime),
            run: maily_core::engine::RunId::from("r"),
            environment: "production".to_owned(),
            replayed: false,
            untimed: false,
            what,
        };
        heard.event(&event(What::Queued { holder: "somebody".to_owned() }));
        heard.event(&event(What::Waiting { why: "no answer".to_owned() }));
        assert!(!begun.0.load(Ordering::Relaxed));
        heard.event(&event(What::Paused { why: String::new(), items: Vec::new() }));
        assert!(begun.0.load(Ordering::Relaxed));
    }
}
