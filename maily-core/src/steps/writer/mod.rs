//! Writing one object so that nothing is lost and nobody is overwritten: every write carries uid and resource
//! version of what was read, every attempt its own stamp, and whatever does not fit what was captured or what this
//! run wrote last is somebody else's and is left alone.

mod back;
mod delete;
mod forward;
mod look;
mod pods;
mod send;
mod ways;

use std::time::Duration;

pub(crate) use back::goes_by_itself;

use super::context::{Context, Past};
use crate::{
    object::Object,
    provider::Effect,
    run::{Change, Direction, Step},
    runtime::Moment,
};

/// The server aborts a mutating request by itself after this time, so that after it absence is certain.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// So long after a call without an answer, with a margin for two clocks.
const QUIET_AFTER: Duration = Duration::from_secs(REQUEST_LIMIT.as_secs() + 1);

/// First pause after a call that failed; doubles up to some seconds.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Leaves a Job that is there as suspended, or as running, as it is: it is suspended to be let run by somebody else.
fn keep_suspended(object: &mut Object, live: &Object) {
    let now = live.at("/spec/suspend").cloned();
    object.edit(|body| {
        if let Some(spec) = body.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            match now {
                Some(now) => spec.insert("suspend".to_owned(), now),
                None => spec.remove("suspend"),
            };
        }
    });
}

/// Writes the objects of one step in one direction.
pub(crate) struct Writer<'a> {
    context: &'a Context,
    step: &'a Step,
    direction: Direction,
    deadline: Moment,
    past: Past,
    /// A call of this step had an effect.
    pub(crate) effect: Effect,
    /// A create, write or delete of this step may be unanswered, here or in a former process.
    unanswered: bool,
    /// From then on nothing that was sent can take effect any more.
    quiet_from: Moment,
    pause: Duration,
    /// Conflicts since a write of this step was taken.
    conflicts: u32,
}

impl<'a> Writer<'a> {
    /// A writer for a step.
    pub(crate) fn new(
        context: &'a Context,
        step: &'a Step,
        direction: Direction,
        deadline: Moment,
        past: Past,
    ) -> Self {
        let unanswered = past == Past::Unknown || context.result(&step.id).unanswered;
        let quiet_from = context.runtime.now() + QUIET_AFTER;
        Self {
            context,
            step,
            direction,
            deadline,
            past,
            effect: Effect::None,
            unanswered,
            quiet_from,
            pause: FIRST_PAUSE,
            conflicts: 0,
        }
    }

    /// Until when it has time; later where pods of before had to stop first.
    pub(crate) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether a call on this very object may be unanswered, here or in a former process. That another one of its step
    /// has got no answer says nothing of it.
    fn is_doubtful(&self, change: &Change) -> bool {
        self.past == Past::Unknown || self.context.is_doubtful(&self.step.id, &change.key)
    }
}
