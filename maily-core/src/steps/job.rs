//! A Kubernetes Job that runs once per run, and the Job that takes it back.

use std::time::Duration;

use super::{
    context::{Context, End, Past, Trouble},
    rollout::{time_for, wait},
    writer::Writer,
};
use crate::{
    object::Object,
    provider::Effect,
    rollout::Target,
    run::{Change, Direction, Failure, JOB_FAILED, Operation, Reversibility, RunId, Step, VANISHED, sha256},
    runtime::Moment,
};

/// Longest name of a Job that leaves room for the suffix of its pods.
const NAME: usize = 52;

/// How long the end of a Job that is deleted is waited for.
const ENDING: Duration = Duration::from_secs(120);

/// Seconds by which the clocks may differ of whoever began a Job and of whoever asks how it ended.
const CLOCKS_S: i64 = 3_600;

/// Takes a step back: the Job that undoes it runs after the forward one, and only if that ever ran.
pub(super) async fn undo(context: &Context, step: &Step, job: &Object, undo: &Object, past: Past) -> End {
    let deadline = context.runtime.now() + time_for(step, Direction::Back);
    match settled(context, step, job, undo, past, deadline).await {
        Ok(Forward::NeverRan) => End::Done(context.result(&step.id)),
        Ok(Forward::Ended) => run(context, step, undo, Direction::Back, past).await,
        Ok(Forward::Suspended) => match run(context, step, undo, Direction::Back, past).await {
            End::Done(_) => end(context, step, job, past).await,
            end => end,
        },
        Err(Trouble::Halted) => End::Halted,
        Err(Trouble::Failed(failure)) => End::Failed(failure, context.result(&step.id)),
    }
}

/// How a forward Job is when what takes it back may run.
enum Forward {
    /// It never ran.
    NeverRan,
    /// It has ended.
    Ended,
    /// It had not ended, and is suspended: it bears witness that it ran until it is taken back.
    Suspended,
}

/// Deletes a Job with its pods: of one that only looks nothing outlives a run that has turned.
pub(super) async fn end(context: &Context, step: &Step, job: &Object, past: Past) -> End {
    let deadline = context.runtime.now() + time_for(step, Direction::Back);
    let change = change(context, job, Direction::Forward);
    match Writer::new(context, step, Direction::Back, deadline, past).end_job(&change).await {
        Ok(()) => End::Done(context.result(&step.id)),
        Err(Trouble::Halted) => End::Halted,
        Err(Trouble::Failed(failure)) => End::Failed(failure, context.result(&step.id)),
    }
}

/// Waits until the forward Job has ended; one that does not end by itself is suspended.
async fn settled(
    context: &Context,
    step: &Step,
    job: &Object,
    undo: &Object,
    past: Past,
    deadline: Moment,
) -> Result<Forward, Trouble> {
    let change = change(context, job, Direction::Forward);
    let mut writer = Writer::new(context, step, Direction::Back, deadline, past);
    let Some(live) = writer.find(&change.key).await? else {
        return ran(context, step, job, undo, past).await;
    };
    let Some(target) = Target::pin(&live) else { return Ok(Forward::Ended) };
    let mut ended = false;
    // One that is being deleted may have pods still.
    if !live.is_suspended() && !live.is_terminating() {
        let follower = context.watcher.follow(target);
        match wait(context, step, Direction::Back, &follower, deadline).await {
            Err(Trouble::Halted) => return Err(Trouble::Halted),
            Ok(()) => ended = true,
            // A migration that failed half-way is what the other Job is for. Otherwise it had its time twice, cannot begin
            // for now, is being deleted, or nobody may watch it.
            Err(Trouble::Failed(failure)) => ended = failure.cause == JOB_FAILED,
        }
    }
    // What takes it back must not run beside it; and whoever finds it deleted could not tell that it ever ran. One that
    // has ended stays as it is, but up to Kubernetes 1.30 it may have failed before its pods have ended.
    let limit = context.runtime.now() + ENDING;
    Writer::new(context, step, Direction::Back, limit, past).suspend_job(&change).await?;
    Ok(if ended { Forward::Ended } else { Forward::Suspended })
}

/// Whether a forward Job that is not there ever ran. Jobs go some time after their end, and people delete them.
async fn ran(
    context: &Context,
    step: &Step,
    job: &Object,
    undo: &Object,
    past: Past,
) -> Result<Forward, Trouble> {
    let forward = change(context, job, Direction::Forward);
    let made = context.written(&step.id, &forward.key).is_some();
    let told = past == Past::Unknown && context.begun(&step.id).told;
    let limit = context.runtime.now() + ENDING;
    let mut writer = Writer::new(context, step, Direction::Back, limit, past);
    if !made && !told {
        let back = change(context, undo, Direction::Back);
        // What it has left bears witness, and what a former process has begun to take back.
        let traced = past == Past::Unknown
            && (writer.has_pods(&forward).await? || writer.find(&back.key).await?.is_some());
        let doubtful = past == Past::Unknown && may_have_gone(context, step, job, Direction::Forward);
        match (traced, doubtful) {
            (true, _) => {}
            (false, true) => return Err(vanished(&forward).into()),
            (false, false) => return Ok(Forward::NeverRan),
        }
    }
    // Whoever deleted it may have left its pods, beside which nothing takes it back.
    writer.end_job(&forward).await?;
    Ok(Forward::Ended)
}

/// Whether a Job that a former process may have made would be gone by now if it had ended: its absence says nothing.
fn may_have_gone(context: &Context, step: &Step, job: &Object, direction: Direction) -> bool {
    let begun = context.begun(&step.id);
    let since = match direction {
        Direction::Forward => begun.forward,
        Direction::Back => begun.back,
    };
    let (Some(since), Some(stays)) = (since, job.int("/spec/ttlSecondsAfterFinished")) else { return false };
    context.runtime.wall().duration_since(since).as_secs() >= stays.saturating_sub(CLOCKS_S)
}

/// The failure of a Job of which nobody knows whether it ran.
pub(super) fn vanished(change: &Change) -> Failure {
    let message = format!(
        "{} was begun, nobody saw how it ended, and it would not be there any more: whether it ran is not known",
        change.key
    );
    Failure::new(VANISHED, message).with_object(change.key.to_string())
}

/// The objects that a step may have written, in both directions.
pub(super) fn changes(context: &Context, job: &Object, undo: Option<&Object>) -> Vec<Change> {
    let back = undo.map(|undo| change(context, undo, Direction::Back));
    std::iter::once(change(context, job, Direction::Forward)).chain(back).collect()
}

/// Runs the Job of a step in one direction.
pub(super) async fn run(
    context: &Context,
    step: &Step,
    job: &Object,
    direction: Direction,
    past: Past,
) -> End {
    let deadline = context.runtime.now() + time_for(step, direction);
    let change = change(context, job, direction);
    let mut writer = Writer::new(context, step, direction, deadline, past);
    let result = async {
        if past == Past::Unknown {
            let gone = !step.is_gate() && may_have_gone(context, step, job, direction);
            if gone && writer.find(&change.key).await?.is_none() {
                return Err(vanished(&change).into());
            }
            // A gate looks anew, and what failed on record runs again: its cause was mended since. What failed and
            // nobody saw it is told first, as by a process that had lived.
            let runs_again: &[&str] = match (step.is_gate(), context.begun(&step.id).anew) {
                (true, _) => &["Failed", "Complete"],
                (false, true) => &["Failed"],
                (false, false) => &[],
            };
            if writer.clear_ended(&change, runs_again).await? {
                return Ok(());
            }
            // Whoever deleted it may have left its pods.
            if !step.is_gate() && writer.find(&change.key).await?.is_none() {
                writer.until_no_pod_runs(&change).await?;
            }
        }
        let Some(written) = writer.put(&change).await? else { return Ok(()) };
        let Some(target) = Target::pin(&written) else { return Ok(()) };
        wait(context, step, direction, &context.watcher.follow(target), deadline).await
    }
    .await;
    if step.is_gate() && direction == Direction::Forward {
        match &result {
            Ok(()) => context.decide(&step.id, "pass", &format!("{} was completed", change.key.short())),
            Err(Trouble::Failed(failure)) if failure.cause == "deadline" => {
                context.decide(&step.id, "insufficient", &failure.message);
            }
            Err(Trouble::Failed(failure)) => context.decide(&step.id, "fail", &failure.message),
            Err(Trouble::Halted) => {}
        }
    }
    match result {
        Ok(()) => End::Done(context.result(&step.id)),
        Err(Trouble::Halted) => End::Halted,
        Err(Trouble::Failed(mut failure)) => {
            failure.effect = if past == Past::Unknown { Effect::Unknown } else { writer.effect };
            // A gate's Job only looks: what it did cannot keep the run from turning.
            if step.reversibility == Reversibility::NoEffect {
                failure.effect = Effect::Done;
            }
            End::Failed(failure, context.result(&step.id))
        }
    }
}

/// What a Job is called in a run and a direction: a second run must not find the first one's Job done.
pub(crate) fn job_name(job: &str, run: &RunId, direction: Direction) -> String {
    let suffix = match direction {
        Direction::Forward => run.to_string(),
        Direction::Back => format!("{run}-undo"),
    };
    let room = NAME.saturating_sub(suffix.len() + 1);
    format!("{}-{suffix}", stem(job, room))
}

/// The Job under a name of its own.
fn change(context: &Context, job: &Object, direction: Direction) -> Change {
    let name = job_name(job.name(), &context.run, direction);
    let object = job.clone().called(&name);
    Change {
        key: object.key().clone(),
        operation: Operation::Create,
        before: None,
        desired: Some(object),
        migrate: std::collections::BTreeSet::new(),
        hand_over_replicas: None,
        fields: Vec::new(),
    }
}

/// A name in so many bytes; of a longer one what is cut off still tells it from others.
fn stem(name: &str, room: usize) -> String {
    if name.len() <= room {
        return name.to_owned();
    }
    let digest = &sha256(name.as_bytes())[..6];
    let kept: String = name.chars().take(room.saturating_sub(digest.len() + 1)).collect();
    format!("{}-{digest}", kept.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn long_names_that_begin_alike_stay_apart() {
        assert_eq!(stem("migrate", 10), "migrate");
        let (a, b) = (stem("shop-orders-migrate-a", 16), stem("shop-orders-migrate-b", 16));
        assert!(a != b && a.starts_with("shop-orde") && a.len() <= 16, "{a} {b}");
    }
}
