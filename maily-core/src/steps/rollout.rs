//! Writing the objects of a service in order and waiting until they serve; and all of it back.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};

use super::{
    clearing::Clearing,
    context::{Context, End, Past, Trouble},
    evidence,
    grace::longest_grace,
    more_time::{more_time, what_helps},
    presence::Presence,
    waited::Waited,
    watcher::{Follower, Unready},
    writer::{Writer, goes_by_itself},
};
use crate::{
    object::Object,
    planted::{Defect, is_planted},
    provider::{Effect, ErrorKind, ProviderError},
    rollout::{Health, Obstacle, Reason, Target, serves},
    run::{Change, Direction, Failure, Operation, Step, StepId},
    runtime::Moment,
};

/// How long the old state is waited for after it was written back: what was captured may itself never have served.
const RESTORED_LIMIT: Duration = Duration::from_secs(120);

/// Time until what could not be read is read again: no watch tells of it.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Least time for taking a step back, however little the way forward had.
const LEAST_BACK_S: u64 = 60;

/// Time for a step.
pub(super) fn time_for(step: &Step, direction: Direction) -> Duration {
    Duration::from_secs(match direction {
        Direction::Forward => step.timeout_s,
        Direction::Back => step.timeout_s.max(LEAST_BACK_S),
    })
}

/// Writes and deletes, and waits.
pub(super) async fn apply(context: &Context, step: &Step, changes: &[Change], past: Past) -> End {
    let deadline = context.runtime.now() + Duration::from_secs(step.timeout_s);
    let (effect, end) = forward(context, step, changes, deadline, past).await;
    match end {
        Ok(()) => End::Done(context.result(&step.id)),
        Err(Trouble::Halted) => End::Halted,
        Err(Trouble::Failed(mut failure)) => {
            // What other objects of the step have met counts for the whole step.
            failure.effect = if past == Past::Unknown { Effect::Unknown } else { effect };
            End::Failed(failure, context.result(&step.id))
        }
    }
}

async fn forward(
    context: &Context,
    step: &Step,
    changes: &[Change],
    deadline: Moment,
    past: Past,
) -> (Effect, Result<(), Trouble>) {
    let mut effect = Effect::None;
    let mut followers = Vec::new();
    let mut deadline = deadline;
    for wave in changes.chunk_by(|one, next| goes_along(one) && goes_along(next)) {
        let puts = wave.iter().map(|change| async move {
            let mut writer = Writer::new(context, step, Direction::Forward, deadline, past);
            let put = writer.put(change).await;
            ((writer.effect, writer.deadline()), put)
        });
        // All of them come to their end before the step does: none may write behind its back.
        let (met, done): (Vec<_>, Vec<_>) = futures::future::join_all(puts).await.into_iter().unzip();
        for (met, until) in met {
            (effect, deadline) = (effect.with(met), deadline.max(until));
        }
        let mut halted = false;
        for (put, change) in done.into_iter().zip(wave) {
            match put {
                Ok(written) => {
                    let desired = change.desired.as_ref().filter(|desired| is_followed(Some(desired)));
                    let target = written
                        .as_ref()
                        .zip(desired)
                        .and_then(|(written, desired)| Some(Target::pin(written)?.meant_as(desired)));
                    followers.extend(target.map(|target| context.watcher.follow(target)));
                }
                Err(Trouble::Halted) => halted = true,
                Err(trouble) => return (effect, Err(trouble)),
            }
        }
        if halted {
            return (effect, Err(Trouble::Halted));
        }
        // What comes next may live in it, or be of its kind.
        if matches!(wave[0].key.kind.kind.as_str(), "Namespace" | "CustomResourceDefinition")
            && let Err(trouble) = wait_all(context, step, Direction::Forward, &followers, deadline).await
        {
            return (effect, Err(trouble));
        }
    }
    if is_planted(Defect::ReadinessNotAwaited) {
        return (effect, Ok(()));
    }
    let waited = wait_all(context, step, Direction::Forward, &followers, deadline).await;
    if waited.is_ok() {
        for follower in &followers {
            context.ran(&step.id, follower.target().key(), follower.digests());
        }
    }
    (effect, waited)
}

/// Whether anybody waits for an object: not for a Job that is to be suspended, until somebody else lets it run.
fn is_followed(wanted: Option<&Object>) -> bool {
    !wanted.is_some_and(Object::is_suspended)
}

/// Whether an object is written beside its neighbours: servers give Services their addresses one by one, and no pod
/// needs its own.
fn goes_along(change: &Change) -> bool {
    let kind = &change.key.kind;
    !matches!(change.operation, Operation::Delete | Operation::Replace)
        && (kind.keeps_pods() || kind.kind == "Service")
}

/// Brings the objects back to what was captured, the last one first.
pub(super) async fn undo(context: &Context, step: &Step, changes: &[Change], past: Past) -> End {
    let deadline = context.runtime.now() + time_for(step, Direction::Back);
    let mut writer = Writer::new(context, step, Direction::Back, deadline, past);
    let mut rest = changes.iter().rev();
    while let Some(change) = rest.next() {
        match writer.restore(change).await {
            Ok(()) => {}
            Err(Trouble::Halted) => return End::Halted,
            Err(Trouble::Failed(failure)) => {
                let rest = left_behind(context, step, rest, past);
                return match with_rest(&mut writer, failure, rest).await {
                    Some(failure) => End::Failed(failure, context.result(&step.id)),
                    None => End::Halted,
                };
            }
        }
    }
    let mut followers = Vec::new();
    for change in changes.iter().filter(|change| change.before.is_some()) {
        let Some(live) = context.seen(&change.key) else { continue };
        if !is_followed(Some(&live)) || change.is_of_suspended() {
            continue;
        }
        if let Some(target) = Target::pin(&live) {
            followers.push(context.watcher.follow(target));
        }
    }
    let limit = RESTORED_LIMIT.min(Duration::from_secs(step.timeout_s));
    let grace = longest_grace(changes);
    let mut waits: FuturesUnordered<_> =
        followers.iter().map(|follower| wait_restored(context, step, follower, limit, grace)).collect();
    while let Some(waited) = waits.next().await {
        match waited {
            Ok(()) => {}
            Err(Trouble::Halted) => return End::Halted,
            // The objects are as they were; whether they served before is not ours to judge.
            Err(Trouble::Failed(_)) => break,
        }
    }
    End::Done(context.result(&step.id))
}

/// The first workload that was brought and seen to serve, and of which watches tell by now that a pod of it is doomed.
/// One that only is not ready at this moment may be scaled, or on its way to another node.
///
/// # Errors
/// When it cannot be read for the moment whose pod that is.
pub(crate) async fn failed_since(
    context: &Context,
    presence: &Presence,
) -> Result<Option<(StepId, Failure)>, ProviderError> {
    for (key, expected) in presence {
        let brought = expected.brought && key.kind.keeps_pods();
        let live = context.watcher.known(key).filter(|_| brought);
        if live.is_none_or(|live| serves(&live) != Some(false)) {
            continue;
        }
        // As it was written: what a person has made of it since is his.
        let target = context.seen(key).as_ref().and_then(Target::pin);
        let Some(follower) = target.and_then(|target| context.watcher.follow_on(target)) else { continue };
        let failure = match follower.health().await {
            Ok(Health::Failed(reason)) if reason.object.kind.kind == "Pod" => {
                failed(context, &follower, *reason, expected.service.as_deref()).await
            }
            Ok(Health::Ask(set)) => {
                let message = "it cannot be read for the moment";
                let resource = set.to_string();
                return Err(ProviderError::new(ErrorKind::Unavailable, "cluster", "read", resource, message));
            }
            Ok(_) => continue,
            Err(failure) => failure,
        };
        return Ok(Some((expected.step.clone(), failure)));
    }
    Ok(None)
}

/// What was taken back and is not as it was before the run, now that everything is back: what served does not, or
/// somebody has changed it since. None where it was told to stop. Steps go back one by one and need each other: only now
/// can all of them be expected to serve.
pub(crate) async fn restored(context: &Context, steps: &[Step]) -> Option<Vec<Failure>> {
    let put_back = |change: &&Change| change.before.is_some();
    let looks = steps.iter().flat_map(|step| {
        step.work.changes().iter().filter(put_back).map(move |change| is_as_before(context, step, change))
    });
    let looks: FuturesUnordered<_> = looks.collect();
    let mut failures = Vec::new();
    for look in looks.collect::<Vec<_>>().await {
        match look {
            Ok(()) => {}
            Err(Trouble::Failed(failure)) => failures.push(*failure),
            Err(Trouble::Halted) => return None,
        }
    }
    failures.sort_by(|one, other| one.object.cmp(&other.object));
    Some(failures)
}

async fn is_as_before(context: &Context, step: &Step, change: &Change) -> Result<(), Trouble> {
    let limit = Duration::from_secs(step.timeout_s).clamp(Duration::from_secs(LEAST_BACK_S), RESTORED_LIMIT);
    let grace = longest_grace(std::slice::from_ref(change));
    let deadline = context.runtime.now() + limit + grace;
    let mut writer = Writer::new(context, step, Direction::Back, deadline, Past::Known);
    // As this process has written it, where it did: what somebody else adds to its pods since is another rollout.
    let written = context.seen(&change.key);
    let live = writer.taken_back(change).await?;
    if change.before.as_ref().is_none_or(|before| before.served != Some(true)) {
        return Ok(());
    }
    let Some(live) = live else {
        if goes_by_itself(change) {
            return Ok(());
        }
        let message = format!("{} was deleted meanwhile", change.key);
        return Err(Failure::new("gone", message).with_object(change.key.to_string()).into());
    };
    let Some(target) = Target::pin(written.as_ref().unwrap_or(&live)) else { return Ok(()) };
    let follower = context.watcher.follow(target);
    wait_restored(context, step, &follower, limit, grace).await
}

/// Follows what was put back for so long a time, in which none counts in which a pod of it stops and is in its grace.
async fn wait_restored(
    context: &Context,
    step: &Step,
    follower: &Follower,
    limit: Duration,
    grace: Duration,
) -> Result<(), Trouble> {
    let begun = context.runtime.now();
    let last = begun + limit + grace;
    let mut until = begun + limit;
    let until = || {
        if follower.is_stopping() {
            until = until.max(context.runtime.now() + limit).min(last);
        }
        until
    };
    wait_until(context, step, Direction::Back, follower, last, until).await
}

/// What a step that could not be taken back has written as well, and did not come to.
fn left_behind<'a>(
    context: &Context,
    step: &Step,
    rest: impl Iterator<Item = &'a Change>,
    past: Past,
) -> Vec<&'a Change> {
    rest.filter(|change| past == Past::Unknown || context.written(&step.id, &change.key).is_some()).collect()
}

/// The failure with what else was not taken back: nobody is to come back for each object that somebody has changed. None
/// where the step was told to stop.
async fn with_rest(
    writer: &mut Writer<'_>,
    mut failure: Box<Failure>,
    rest: Vec<&Change>,
) -> Option<Box<Failure>> {
    let mut left = Vec::new();
    for change in rest {
        // Where it is no edit that holds the step up, there may be nobody to ask.
        let foreign = match failure.cause == "changed" {
            true => writer.edited_too(change).await,
            false => Ok(None),
        };
        match foreign {
            Ok(Some(too)) => {
                failure.message.push_str(&format!("; {}", too.message));
                let ways = [failure.hint.take(), too.hint].into_iter().flatten().collect::<Vec<_>>();
                failure.hint = Some(ways.join("; and "));
            }
            Ok(None) | Err(Trouble::Failed(_)) => left.push(change.key.short()),
            Err(Trouble::Halted) => return None,
        }
    }
    if !left.is_empty() {
        failure.message.push_str(&format!("; not taken back either: {}", left.join(", ")));
    }
    Some(failure)
}

async fn wait_all(
    context: &Context,
    step: &Step,
    direction: Direction,
    followers: &[Follower],
    deadline: Moment,
) -> Result<(), Trouble> {
    let mut waits: FuturesUnordered<_> =
        followers.iter().map(|follower| wait(context, step, direction, follower, deadline)).collect();
    while let Some(result) = waits.next().await {
        result?;
    }
    Ok(())
}

/// Follows one object until it serves, is known to fail, or the time is up.
pub(super) async fn wait(
    context: &Context,
    step: &Step,
    direction: Direction,
    follower: &Follower,
    deadline: Moment,
) -> Result<(), Trouble> {
    wait_until(context, step, direction, follower, deadline, || deadline).await
}

/// The same until a time that may move, and that ends at a deadline.
async fn wait_until(
    context: &Context,
    step: &Step,
    direction: Direction,
    follower: &Follower,
    deadline: Moment,
    mut until: impl FnMut() -> Moment,
) -> Result<(), Trouble> {
    let begun = context.runtime.now();
    let mut waited = Waited::new(context, &step.id);
    let mut clearing = Clearing::new(context, &step.id, direction, deadline);
    loop {
        let mut hint = None;
        let health = follower.health().await.map_err(|failure| Trouble::Failed(Box::new(failure)))?;
        let until = until();
        let mut pause = context.left(until);
        let now = match health {
            Health::Done => return Ok(()),
            Health::Failed(reason) => {
                return Err(failed(context, follower, *reason, step.service.as_deref()).await.into());
            }
            Health::Waiting { ready, desired, why } => (ready, desired, why),
            // All of the old state serves: no more can be seen of it before somebody tends to that node.
            Health::HeldUp { ready, desired, obstacle: Obstacle::Lost, .. }
                if direction == Direction::Back && ready >= desired =>
            {
                return Ok(());
            }
            Health::HeldUp { ready, desired, why, pod, obstacle, way_on } => {
                let why = clearing.clear(&pod, obstacle, why, &way_on).await?;
                hint = Some(way_on).filter(|_| clearing.needs_help(&pod));
                pause = pause.min(READ_AGAIN);
                (ready, desired, why)
            }
            Health::Ask(key) => {
                pause = pause.min(READ_AGAIN);
                (0, 0, format!("{} cannot be read for the moment", key.short()))
            }
        };
        let (ready, desired, why) = now;
        waited.tell(Some(ready), Some(desired), &why);
        if context.runtime.now() >= until {
            let given = match direction {
                Direction::Forward => step.timeout_s,
                Direction::Back => context.runtime.now().since(begun).as_secs(),
            };
            let key = follower.target().key();
            let message =
                format!("{} is not ready after {given} s: {ready} of {desired} ready; {why}", key.short());
            let unready = follower.unready();
            let seen = unready.as_ref().map_or(key, |unready| &unready.pod);
            let mut failure = Failure::new("deadline", message).with_object(seen.to_string()).with_hint(
                hint.unwrap_or_else(|| {
                    what_helps(&why, key, unready.as_ref(), direction, &more_time(context, step))
                }),
            );
            if let Some(Unready { pod, since, log }) = &unready {
                failure.evidence_at = *since;
                // Before the step goes back: then the pod goes, and its log with it.
                if let Some((container, previous)) = log {
                    failure.log = evidence::last_lines(context, pod, container.clone(), *previous).await;
                }
            }
            failure.events = evidence::events(context, &follower.involved(key)).await;
            return Err(failure.into());
        }
        let changed = follower.changed();
        let stopped = context.stopped(direction);
        let timer = context.runtime.sleep(pause.min(waited.left()));
        futures::pin_mut!(changed, stopped);
        tokio::select! {
            biased;
            () = &mut stopped => return Err(Trouble::Halted),
            () = &mut changed => {}
            () = timer => {}
        }
    }
}

async fn failed(context: &Context, follower: &Follower, reason: Reason, service: Option<&str>) -> Failure {
    let mut failure = Failure::new(reason.cause, reason.message)
        .with_object(reason.object.to_string())
        .with_hint(reason.hint);
    failure.evidence_at = reason.at;
    // Before the step goes back: then the pod goes, and its log with it.
    if let Some((container, previous)) = reason.container {
        failure.log = evidence::last_lines(context, &reason.object, container, previous).await;
    }
    if let (true, Some(service)) = (reason.cause == "crash-loop", service) {
        let why = if failure.log.is_empty() {
            "nothing of its log could be read"
        } else {
            "the end of its log tells why"
        };
        failure = failure.with_hint(format!("{why}: mend `{service}` and deploy again"));
    }
    failure.events = evidence::events(context, &follower.involved(&reason.object)).await;
    failure
}
