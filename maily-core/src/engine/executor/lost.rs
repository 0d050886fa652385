//! What a way back does not bring: claims that went with their pods.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};

use super::look::{Seen, asked};
use crate::{
    engine::{
        Change, Direction, Failure, Step, StepId,
        planner::{claim, gone_when_scaled, in_words},
        run_of,
    },
    object::{Object, ObjectKey},
    provider::{Effect, ProviderError},
    steps::Context,
};

/// A claim that is older than its step by this is the one that was there: two clocks say so.
const OLDER: SignedDuration = SignedDuration::from_secs(60);

/// Claims that went when the run gave a StatefulSet fewer pods. Each step with when it began.
pub(super) async fn lost(
    context: &Context,
    steps: &[(Step, Option<Timestamp>)],
) -> Result<Vec<Failure>, Seen> {
    let mut failures = Vec::new();
    for (step, began) in steps {
        for change in step.work.changes() {
            failures.extend(lost_by(context, &step.id, *began, change).await?);
        }
    }
    Ok(failures)
}

async fn lost_by(
    context: &Context,
    step: &StepId,
    began: Option<Timestamp>,
    change: &Change,
) -> Result<Option<Failure>, Seen> {
    let key = &change.key;
    let seen = context.seen(key);
    // What a process wrote that died before it could note so was taken back under our stamp.
    let stamped = seen.as_ref().and_then(run_of).is_some_and(|run| run == context.run);
    let is_written = stamped || context.written(step, key).is_some() || context.is_doubtful(step, key);
    let (Some(before), Some(desired)) = (change.before.as_ref().filter(|_| is_written), &change.desired)
    else {
        return Ok(None);
    };
    // A policy that no release sets has what is there alone.
    let live = seen.as_ref().unwrap_or(&before.object);
    let mut names = gone_when_scaled(&before.object, live, desired);
    let found = asked(context, Direction::Back, || read(context, key, &names).boxed()).await?;
    let failure = match found {
        Ok(found) => {
            found.iter().filter(|claim| stayed(claim, began)).for_each(|claim| {
                names.remove(claim.name());
            });
            in_words(names).map(|claims| {
                let message = format!(
                    "{key} had fewer pods meanwhile, and with `whenScaled: Delete` their claims went with them ({claims}): \
                     those that are there now are new and empty"
                );
                Failure::new("data-gone", message).with_hint("bring the data from a backup")
            })
        }
        Err(error) => in_words(names).map(|claims| {
            let message = format!(
                "{key} had fewer pods meanwhile, and with `whenScaled: Delete` their claims may have gone with them \
                 ({claims}): they could not be looked at: {}",
                error.brief()
            );
            Failure::new("data-unknown", message).with_hint(
                "look at them first: one that is younger than the run is new and empty, and its data has to come from a \
                 backup",
            )
        }),
    };
    Ok(failure.map(|failure| failure.with_object(key.to_string()).with_effect(Effect::Done)))
}

/// Those of these claims that are there.
async fn read(
    context: &Context,
    set: &ObjectKey,
    names: &BTreeSet<String>,
) -> Result<Vec<Object>, ProviderError> {
    let mut found = Vec::new();
    for name in names {
        found.extend(context.providers.cluster.get(&claim(set, name)).await?);
    }
    Ok(found)
}

/// Whether a claim was there before the run: its controller need not have come to delete it.
fn stayed(claim: &Object, began: Option<Timestamp>) -> bool {
    let made: Option<Timestamp> =
        claim.text("/metadata/creationTimestamp").and_then(|time| time.parse().ok());
    !claim.is_terminating() && made.zip(began).is_some_and(|(made, began)| made + OLDER < began)
}
