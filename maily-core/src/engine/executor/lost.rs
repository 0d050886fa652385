//! What a way back does not bring: claims that went with their pods.

use jiff::{SignedDuration, Timestamp};

use crate::{
    engine::{
        Change, Failure, Step, StepId,
        planner::{gone_when_scaled, in_words},
        run_of,
    },
    object::{ObjectKey, ObjectKind},
    provider::Effect,
    steps::Context,
};

/// A claim that is older than its step by this is the one that was there: two clocks say so.
const OLDER: SignedDuration = SignedDuration::from_secs(60);

/// Claims that went when the run gave a StatefulSet fewer pods. Each step with when it began.
pub(super) async fn lost(context: &Context, steps: &[(Step, Option<Timestamp>)]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (step, began) in steps {
        for change in step.work.changes() {
            failures.extend(lost_by(context, &step.id, *began, change).await);
        }
    }
    failures
}

async fn lost_by(
    context: &Context,
    step: &StepId,
    began: Option<Timestamp>,
    change: &Change,
) -> Option<Failure> {
    let key = &change.key;
    // What a process wrote that died before it could note so was taken back under our stamp.
    let stamped = context.seen(key).as_ref().and_then(run_of).is_some_and(|run| run == context.run);
    let is_written = stamped || context.written(step, key).is_some() || context.is_doubtful(step, key);
    let (before, desired) = (change.before.as_ref().filter(|_| is_written)?, change.desired.as_ref()?);
    let mut claims = gone_when_scaled(&before.object, &before.object, desired);
    for name in claims.clone() {
        if stayed(context, key, &name, began).await {
            claims.remove(&name);
        }
    }
    let claims = in_words(claims)?;
    let message = format!(
        "{key} had fewer pods meanwhile, and with `whenScaled: Delete` their claims went with them ({claims}): those that \
         are there now are new and empty"
    );
    let failure = Failure::new("data-gone", message).with_object(key.to_string()).with_effect(Effect::Done);
    Some(failure.with_hint("bring the data from a backup"))
}

/// Whether a claim was there before the run: its controller need not have come to delete it. Who may not look takes it for
/// gone.
async fn stayed(context: &Context, set: &ObjectKey, name: &str, began: Option<Timestamp>) -> bool {
    let kind = ObjectKind::new("v1", "PersistentVolumeClaim");
    let claim = ObjectKey::new(kind, set.namespace.as_deref(), name);
    let Ok(Some(claim)) = context.providers.cluster.get(&claim).await else { return false };
    let made: Option<Timestamp> =
        claim.text("/metadata/creationTimestamp").and_then(|time| time.parse().ok());
    !claim.is_terminating() && made.zip(began).is_some_and(|(made, began)| made + OLDER < began)
}
