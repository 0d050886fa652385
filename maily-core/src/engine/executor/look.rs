//! The last look before a run is over: whether what it brought is still there, or what it took back serves again.

use std::{collections::BTreeMap, fmt::Display, sync::Arc};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Either, select},
    pin_mut,
};

use super::{APPEND_LIMIT, Executor, lost::lost};
use crate::{
    engine::{
        Direction, Failure, RunEnd, Step, StepId, Stuck, What,
        journal::{JournalEvent, ReleaseHead},
        name_added,
        observe::read,
        patience::{OfProvider, patiently_until},
        state::{Conclusion, Course, Progress},
    },
    object::{Object, ObjectKey},
    provider::ProviderError,
    runtime::Moment,
    steps::{
        Context, Halt, Presence, brought, failed_since, is_idle, missing, not_serving, put_back, restored,
    },
};

pub(super) type Look = BoxFuture<'static, Seen>;

/// What the last look has shown.
pub(super) enum Seen {
    /// All that the run brought is there, but for this.
    Brought {
        missing: Option<(StepId, Failure)>,
        /// What it left as it was, and does not serve.
        not_serving: Vec<Failure>,
    },
    /// What was taken back is there and serves, but for this.
    Back(Vec<Failure>),
    /// Nothing, for this reason: a look without an answer is none that found everything in its place.
    Nothing(String),
    /// Nothing: it was told to stop.
    Halted,
}

/// The first of what a run brought that is not there any more as it was, or cannot serve any more.
async fn first_missing(
    context: &Context,
    presence: &Presence,
) -> Result<Option<(StepId, Failure)>, ProviderError> {
    match missing(context, presence).await?.into_iter().next() {
        None => failed_since(context, presence).await,
        missing => Ok(missing),
    }
}

/// What the run left as it was, did not serve when this process began, and does not serve until this moment either.
async fn still_idle(
    context: &Context,
    aside: &BTreeMap<ObjectKey, Object>,
    until: Moment,
) -> Result<Vec<Failure>, Seen> {
    if aside.is_empty() {
        return Ok(Vec::new());
    }
    let cluster = &context.providers.cluster;
    let live = answered(context, Direction::Forward, || read(&**cluster, aside.keys()).boxed()).await?;
    let tell = |why| context.tell(What::Waiting { why });
    let targets = aside.iter().filter_map(|(key, desired)| is_idle(desired, live.get(key)?));
    let followed = not_serving(cluster, &context.runtime, targets, until, tell);
    let mut failures = unless_stopped(context, Direction::Forward, followed).await?;
    let workloads: Vec<_> =
        aside.iter().filter_map(|(key, desired)| Some((live.get(key)?.clone(), desired))).collect();
    name_added(&mut failures, &workloads);
    failures.extend(aside.keys().filter(|key| !live.contains_key(*key)).map(|key| {
        let message = format!("{key} was deleted while the run was at work");
        Failure::new("gone", message).with_object(key.to_string()).with_hint("find out who deleted it")
    }));
    failures.sort_by(|one, other| one.object.cmp(&other.object));
    Ok(failures)
}

/// Looks until there is an answer, for as long as a run waits for its records; else with the last error.
pub(super) async fn asked<'a, T: Send, E: OfProvider + Send>(
    context: &'a Context,
    direction: Direction,
    look: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send,
) -> Result<Result<T, E>, Seen> {
    let until = context.runtime.now() + APPEND_LIMIT;
    let looked = patiently_until(&*context.runtime, until, look);
    unless_stopped(context, direction, looked).await
}

/// The same where nothing is known without an answer.
async fn answered<'a, T: Send, E: OfProvider + Display + Send>(
    context: &'a Context,
    direction: Direction,
    look: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send,
) -> Result<T, Seen> {
    asked(context, direction, look).await?.map_err(|error| {
        let brief = error.of_provider().map_or_else(|| error.to_string(), ProviderError::brief);
        Seen::Nothing(format!("whether everything is in its place could not be seen: {brief}"))
    })
}

/// What comes of it, unless the process is told to stop first.
async fn unless_stopped<T>(
    context: &Context,
    direction: Direction,
    work: impl Future<Output = T>,
) -> Result<T, Seen> {
    let stopped = context.stopped(direction);
    pin_mut!(stopped, work);
    match select(stopped, work).await {
        Either::Left(_) => Err(Seen::Halted),
        Either::Right((done, _)) => Ok(done),
    }
}

impl Executor {
    /// The look that is due before the run is over; none where it is not about to be, or was looked at already.
    pub(super) fn last_look(&self) -> Option<Look> {
        if self.looked {
            return None;
        }
        let context = Arc::clone(&self.context);
        match self.state.conclusion() {
            Conclusion::Succeeded => {
                let presence = brought(&context, self.state.plan());
                let unchanged = self.state.plan().unchanged.iter().map(|kept| &kept.desired);
                let aside: BTreeMap<ObjectKey, Object> = unchanged
                    .filter(|desired| self.aside.contains(desired.key()))
                    .map(|desired| (desired.key().clone(), desired.clone()))
                    .collect();
                let until = self.aside_until;
                let look = async move {
                    let not_serving = match still_idle(&context, &aside, until).await {
                        Ok(not_serving) => not_serving,
                        Err(seen) => return seen,
                    };
                    let look = || first_missing(&context, &presence).boxed();
                    match answered(&context, Direction::Forward, look).await {
                        Ok(missing) => Seen::Brought { missing, not_serving },
                        Err(seen) => seen,
                    }
                };
                Some(look.boxed())
            }
            Conclusion::RolledBack { .. } => {
                let undone = |step: &&Step| {
                    self.state.of(&step.id).is_some_and(|state| state.progress == Progress::Undone)
                };
                let steps: Vec<Step> = self.state.plan().steps.iter().filter(undone).cloned().collect();
                let began = |step: &Step| self.state.of(&step.id).and_then(|state| state.started_at);
                let began: Vec<_> = steps.iter().map(|step| (step.clone(), began(step))).collect();
                let look = async move {
                    let Some(mut failures) = restored(&context, &steps).await else { return Seen::Halted };
                    let lost = match lost(&context, &began).await {
                        Ok(lost) => lost,
                        Err(seen) => return seen,
                    };
                    let before = steps.iter().flat_map(|step| step.work.changes()).filter_map(|change| {
                        Some((context.seen(&change.key)?, &change.before.as_ref()?.object))
                    });
                    name_added(&mut failures, &before.collect::<Vec<_>>());
                    let presence = put_back(&context, &steps);
                    let look = || missing(&context, &presence).boxed();
                    match answered(&context, Direction::Back, look).await {
                        Ok(missing) => {
                            failures.extend(missing.into_iter().map(|(_, failure)| failure).chain(lost));
                            failures.sort_by(|one, other| one.object.cmp(&other.object));
                            Seen::Back(failures)
                        }
                        Err(seen) => seen,
                    }
                };
                Some(look.boxed())
            }
            Conclusion::Stuck(_) | Conclusion::Unfinished => None,
        }
    }

    /// Takes in what the last look has shown; with the end where this process has nothing more to do.
    pub(super) fn looked(&mut self, seen: Seen, interrupted: bool) -> Option<(RunEnd, Option<ReleaseHead>)> {
        match seen {
            // The run has turned meanwhile, and takes back itself what is missing: the way back has its own look.
            Seen::Brought { .. } if self.state.course != Course::Forward => {}
            Seen::Halted if self.context.ordered() == Halt::Turn => {}
            Seen::Brought { missing: None, not_serving } | Seen::Back(not_serving) => {
                self.looked = true;
                self.not_serving = not_serving;
            }
            Seen::Brought { missing: Some((step, why)), .. } if !self.state.past_return() => {
                let at = Some(self.context.runtime.wall());
                self.push(JournalEvent::Turned { why, step: Some(step), by: "maily".to_owned(), at });
                self.context.halt(Halt::Turn);
            }
            Seen::Brought { missing: Some((step, why)), .. } => {
                let remedy = remedy(&why, &self.context.environment);
                return Some(self.stuck(vec![Stuck { step, why, remedy }]));
            }
            Seen::Nothing(why) => return Some(self.paused(why)),
            Seen::Halted => return Some(self.conclude(interrupted)),
        }
        None
    }
}

/// What a person has to do where the run cannot go back.
fn remedy(why: &Failure, environment: &str) -> String {
    let first = match why.cause.as_str() {
        "gone" => "put it back",
        "replaced" => {
            return format!(
                "see that it is as it should be, then `mailyctl abort --leave --env {environment} --yes`, which ends the run \
                 with everything as it is; the next deploy or rollback brings a whole release"
            );
        }
        "scaled-down" => "scale it up again",
        _ => "mend the cause",
    };
    format!("{first}, then `mailyctl resume --env {environment}`")
}
