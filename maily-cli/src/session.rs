//! From a wish to its end: look, plan, ask, run, report.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt as _;
use maily_core::{
    engine::{
        Depth, EnvironmentError, Event, Goal, Head, Listener, Note, Outcome, Planned, ReleaseId, RunEnd,
        RunOptions, Storage, What, Wish,
        history::Release,
        planner::{Force, PlanOptions, Wanted},
    },
    model::{Approval, Seconds, ServiceName, Version},
    release::{self, DeployRequest, DeployScope, MovedImage, PrepareError},
};

use crate::{
    args::{PlanArgs, RunArgs, TurnArgs, VersionArgs, WaitArgs},
    exit::{CliError, Code},
    programs::ToldTools,
    render::{Form, Ui},
    signals::{self, UnderWay},
    wire::{Wired, span, whoami},
};

/// What is on record of an environment.
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) base: Option<Release>,
}

/// Reads the records, in one's turn; somebody else's unfinished run is an error.
pub(crate) async fn look(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<Seen, CliError> {
    let head = in_turn(ui, wired, wait).await?;
    let base = wired.environment.released(&head).await?;
    Ok(Seen { head, base })
}

/// Waits for one's turn, and reads the records' head in it.
pub(crate) async fn in_turn(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<Head, CliError> {
    Ok(wired.environment.turn(&turn(ui, wired, wait)?).await?)
}

/// How to wait for one's turn: as long as the command line says, telling who is waited for.
fn turn(ui: &Ui, wired: &Wired, wait: &WaitArgs) -> Result<RunOptions, CliError> {
    let mut options = RunOptions::new(whoami());
    wait_at_most(&mut options, wired, wait)?;
    let (name, tells, hears) = (wired.environment.name.clone(), ui.teller(), hearing(ui));
    options.listener = Arc::new(move |event: &Event| match &event.what {
        What::Queued { holder } => {
            let holder = crate::render::by_the_clock(&crate::render::plain(holder));
            tells(&format!("waits for {holder} to end with {name}"));
        }
        _ => hears.event(event),
    });
    Ok(options)
}

/// Tells what a cluster that does not answer keeps waiting.
pub(crate) fn hearing(ui: &Ui) -> Arc<dyn Listener> {
    let (tells, last) = (ui.teller(), Mutex::new(String::new()));
    Arc::new(move |event: &Event| {
        if let What::Waiting { why } = &event.what
            && is_news(&last, why)
        {
            tells(&format!("waits: {}", crate::render::plain(why)));
        }
    })
}

/// Whether something is said for the first time in a row: a server that hangs fails in the same words again and again.
fn is_news(last: &Mutex<String>, text: &str) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let is_news = *last != text;
    text.clone_into(&mut last);
    is_news
}

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
    if let Err(PrepareError::Environment(error)) = &planned
        && hides_plan(ui, error, request.depth)
    {
        let options = PlanOptions { force: Force::All, ..request.options.clone() };
        let request = DeployRequest { options, storage: Storage::Passing, ..request.clone() };
        let forced = release::prepare(&wired.environment, &wired.resolved, &request, &tools, &turn);
        show_hidden(ui, signals::unless_stopped(forced).await?.ok())?;
    }
    Ok(planned?)
}

/// Whether a plan that somebody wants to read is refused for nothing but what others have set. A machine gets no plan
/// that it could take for one that may be carried out.
fn hides_plan(ui: &Ui, error: &EnvironmentError, depth: Depth) -> bool {
    let conflicts = matches!(error, EnvironmentError::Problems(problems) if problems.are_conflicts());
    conflicts && depth == Depth::DryRun && !ui.is_json()
}

/// Shows what would change besides; it stays refused.
fn show_hidden(ui: &Ui, planned: Option<Planned>) -> Result<(), CliError> {
    let Some(planned) = planned else { return Ok(()) };
    ui.plan(&planned)?;
    ui.tell("this is the plan with `--force-conflicts`; without it:");
    Ok(())
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
    let planned = environment.plan(wanted, seen.head.clone(), base, &options, depth, storage).await;
    if let Err(error) = &planned
        && hides_plan(ui, error, depth)
    {
        let options = PlanOptions { force: Force::All, ..options };
        let forced = environment.plan(wanted, seen.head, base, &options, depth, Storage::Passing).await;
        show_hidden(ui, forced.ok())?;
    }
    Ok(planned?)
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

/// How deep to look: a plan that somebody reads is dry-run, one that is carried out at once is not.
pub(crate) fn depth(run: &RunArgs, dry_run: bool) -> (Depth, Storage) {
    match (dry_run, run.yes) {
        (true, _) => (Depth::DryRun, Storage::Passing),
        (false, true) => (Depth::Read, Storage::Lasting),
        (false, false) => (Depth::DryRun, Storage::Lasting),
    }
}

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
            ui.tell(&format!("{} {}: {text}", ui.paint.warn("!"), note.topic));
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

/// Says where a way back brought other images than there were. The run is over, and its end stays what it is.
async fn tell_moved(ui: &Ui, wired: &Wired, id: ReleaseId) {
    let moved = wired.environment.read(|records| release::moved_images_of(records, id).boxed()).await;
    for told in told_moved(moved, &wired.environment.name, id) {
        ui.caution(&ui.tool.in_text(&told));
    }
}

fn told_moved(
    moved: Result<Vec<MovedImage>, EnvironmentError>,
    environment: &str,
    id: ReleaseId,
) -> Vec<String> {
    match moved {
        Ok(moved) => moved.iter().map(MovedImage::told).collect(),
        Err(error) => vec![format!(
            "whether images are others than they were could not be read ({}): `mailyctl show release --env \
             {environment} {id}` tells it",
            CliError::from(error)
        )],
    }
}

fn approve(ui: &Ui, wired: &Wired, planned: &Planned, again: &str) -> Result<(), CliError> {
    let name = &wired.environment.name;
    let needed = wired.resolved.environment.approval == Approval::Required;
    if !ui.can_ask() {
        ui.brief_plan(planned);
        let (code, message) = if needed {
            (Code::Approval, format!("`{name}` needs approval, and nobody can be asked here"))
        } else {
            (
                Code::Usage,
                "this needs a yes, and nobody can be asked here: standard input is no terminal".to_owned(),
            )
        };
        return Err(CliError::new(code, message).help(again));
    }
    ui.plan(planned)?;
    let question =
        if needed { format!("`{name}` needs approval. Carry it out?") } else { "Carry it out?".to_owned() };
    if wired.aside(|| ask(&question))? {
        Ok(())
    } else {
        Err(CliError::new(Code::Failed, "not approved: nothing was changed"))
    }
}

/// Asks a question on the terminal; no answer is a no.
pub(crate) fn ask(question: &str) -> Result<bool, CliError> {
    let failed = |error: std::io::Error| {
        CliError::usage(format!("failed to ask: {error}")).help("with `--yes` nobody is asked")
    };
    let mut err = std::io::stderr().lock();
    let question = crate::render::beside_results(&format!("{question} [y/N]"));
    write!(err, "{question} ").and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// One time for all that a command waits for: for the plan, for the run, for both anew.
fn wait_at_most(options: &mut RunOptions, wired: &Wired, wait: &WaitArgs) -> Result<(), CliError> {
    options.wait = wait.wait_lock.as_deref().map(|text| span(text, "wait-lock")).transpose()?;
    options.since = options.wait.map(|_| wired.since.get());
    Ok(())
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
    listener: std::sync::Arc<dyn maily_core::engine::Listener>,
) -> Result<RunOptions, CliError> {
    let mut options = RunOptions::new(whoami());
    options.reason.clone_from(&turn.reason);
    wait_at_most(&mut options, wired, &turn.wait)?;
    options.cancel = under_way.token();
    options.listener = listener;
    Ok(options)
}

/// Asks whether the run that has not ended is to end otherwise than it began: the approval on which it began was for what
/// it brings, so that going on needs none, and everything else needs one of its own.
pub(crate) async fn consent(ui: &Ui, wired: &Wired, wish: Wish) -> Result<(), CliError> {
    let name = &wired.environment.name;
    let needed = wired.resolved.environment.approval == Approval::Required;
    if wish == Wish::Resume || (wish == Wish::Abort && !needed) {
        return Ok(());
    }
    // Before the records are read: what is missing among them is written again.
    wired.environment.check().await?;
    let Some(unfinished) = wired.environment.head().await?.unfinished else { return Ok(()) };
    let run = &unfinished.recorded.run;
    if !ui.can_ask() {
        let (code, message) = if needed {
            (Code::Approval, format!("`{name}` needs approval, and nobody can be asked here"))
        } else {
            (Code::Usage, "to end a run with everything as it is now needs a yes".to_owned())
        };
        return Err(CliError::new(code, message).help("say `--yes`"));
    }
    let question = match wish {
        Wish::Leave => format!("End run {run} and leave everything as it is now, neither new nor old?"),
        _ => format!("`{name}` needs approval. Take run {run} back?"),
    };
    match wired.aside(|| ask(&question))? {
        true => Ok(()),
        false => Err(CliError::new(Code::Failed, "not approved: the run is as it was")),
    }
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
    only: Option<&str>,
    wish: Wish,
    turn: &TurnArgs,
) -> Result<Code, CliError> {
    let name = &wired.environment.name;
    let title = match wish {
        Wish::Resume => "resume",
        Wish::Abort => "abort",
        Wish::Leave => "leave",
    };
    // Only a tree shows them, and nobody else pays for the look.
    let before = if ui.form == Form::Live { versions(wired).await } else { None };
    let show = ui.show(title, name, before);
    let begun = Begun::default();
    let under_way = run_under_way(ui);
    let options = options(wired, turn, &under_way, begun.watch(show.listener()))?;
    let only = only.map(maily_core::engine::RunId::from);
    let taken = wired.environment.take_over(only.as_ref(), wish, &options).await;
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
            if ui.is_json() {
                ui.document(title, &serde_json::json!({"environment": name, "run": null}))?;
            } else {
                let why = match &only {
                    Some(run) => format!("run {run} has ended"),
                    None => format!("no run of `{name}` is unfinished"),
                };
                ui.print_text(&format!("nothing to {title}: {why}"))?;
            }
            Ok(Code::Done)
        }
    }
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
    fn the_same_wait_is_told_once() {
        let last = Mutex::new(String::new());
        let told = ["no answer", "no answer", "no answer", "503", "no answer"].map(|why| is_news(&last, why));
        assert_eq!(told, [true, false, false, true, true]);
    }

    #[test]
    fn images_that_could_not_be_compared_are_not_called_the_same() {
        use maily_core::{
            engine::journal::JournalError,
            provider::{ErrorKind, ProviderError},
        };
        let away = ProviderError::new(ErrorKind::Unavailable, "kubernetes", "get", "release/3", "is away");
        let error = EnvironmentError::from(JournalError::Store(away));
        let told = told_moved(Err(error), "production", ReleaseId(3));
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(told.contains("could not be read (") && told.contains("is away"), "{told}");
        assert!(told.contains("`mailyctl show release --env production 3`"), "{told}");
        assert_eq!(told_moved(Ok(Vec::new()), "production", ReleaseId(3)), [""; 0]);
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
            what,
        };
        heard.event(&event(What::Queued { holder: "somebody".to_owned() }));
        heard.event(&event(What::Waiting { why: "no answer".to_owned() }));
        assert!(!begun.0.load(Ordering::Relaxed));
        heard.event(&event(What::Paused { why: String::new(), items: Vec::new() }));
        assert!(begun.0.load(Ordering::Relaxed));
    }
}
