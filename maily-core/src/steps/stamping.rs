//! The barrier of a takeover: what a former holder may still change is marked, so that his late requests are refused.

use std::time::Duration;

use super::{
    context::{Context, Past, Trouble},
    job,
    writer::Writer,
};
use crate::run::{Direction, Step, Work};

/// Time for the objects of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Stamps what an open step of a former process may still write.
pub(crate) async fn stamp(context: &Context, step: &Step, direction: Direction) -> Result<(), Trouble> {
    let mut writer = writer(context, step, direction);
    let of_job;
    let changes = match &step.work {
        Work::Job { job, undo, .. } => {
            of_job = job::changes(context, job, undo.as_ref());
            &of_job[..]
        }
        _ => step.work.changes(),
    };
    for change in changes {
        writer.stamp(change).await?;
    }
    Ok(())
}

/// Marks the pods that a former process may still delete, because they were in the way of a StatefulSet of a step: also of
/// one that was taken back, which is followed until all of them serve again.
pub(crate) async fn stamp_pods(context: &Context, step: &Step, direction: Direction) -> Result<(), Trouble> {
    let mut writer = writer(context, step, direction);
    let sets = step.work.changes().iter().filter(|change| change.key.kind.kind == "StatefulSet");
    for change in sets {
        writer.stamp_pods(&change.key).await?;
    }
    Ok(())
}

fn writer<'a>(context: &'a Context, step: &'a Step, direction: Direction) -> Writer<'a> {
    Writer::new(context, step, direction, context.runtime.now() + LIMIT, Past::Unknown)
}
