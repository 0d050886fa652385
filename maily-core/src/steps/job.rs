//! A Kubernetes Job that runs once per run, and the Job that takes it back.

use std::time::Duration;

use super::{
    context::{Context, End, Past, Trouble},
    rollout::wait,
    writer::Writer,
};
use crate::{
    engine::{Change, Direction, Operation, Reversibility, Step},
    object::{Object, ObjectKey},
    provider::Effect,
    rollout::Target,
};

/// Longest name of a Job that leaves room for the suffix of its pods.
const NAME: usize = 52;

/// Runs the Job of a step in one direction.
pub(super) async fn run(
    context: &Context,
    step: &Step,
    job: &Object,
    direction: Direction,
    past: Past,
) -> End {
    let deadline = context.runtime.now() + Duration::from_secs(step.timeout_s);
    let change = change(context, job, direction);
    let mut writer = Writer::new(context, step, direction, deadline, past);
    let result = async {
        let Some(written) = writer.put(&change).await? else { return Ok(()) };
        let Some(target) = Target::pin(&written) else { return Ok(()) };
        wait(context, step, direction, &context.watcher.follow(&target, &written), deadline).await
    }
    .await;
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

/// The Job under a name of its own for each run and direction: a second run must not find the first one's Job done.
fn change(context: &Context, job: &Object, direction: Direction) -> Change {
    let suffix = match direction {
        Direction::Forward => context.run.to_string(),
        Direction::Back => format!("{}-undo", context.run),
    };
    let room = NAME.saturating_sub(suffix.len() + 1);
    let stem: String = job.name().chars().take(room).collect();
    let name = format!("{}-{suffix}", stem.trim_end_matches('-'));
    let mut body = job.to_value();
    body["metadata"]["name"] = name.clone().into();
    // Another name leaves everything else of a well-formed object as it is.
    let object = Object::from_value(body).unwrap_or_else(|_| job.clone());
    let key = ObjectKey::new(job.key().kind.clone(), job.namespace(), name);
    Change {
        key,
        operation: Operation::Create,
        before: None,
        desired: Some(object),
        migrate: std::collections::BTreeSet::new(),
        hand_over_replicas: None,
        fields: Vec::new(),
    }
}
