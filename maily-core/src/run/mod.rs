//! What a run is about, as plain values: its plan and steps, the marks that it leaves on objects, what its steps leave
//! behind, how they fail and end, and what is told of it. The engine and the steps both speak in these words; nothing
//! here knows either.

mod by_hand;
mod canonical;
mod difference;
mod event;
mod ids;
mod outcome;
mod plan;
mod result;
pub(crate) mod seal;
mod stamp;
mod work;

pub(crate) use by_hand::{changed_by, changed_since, edited, is_deployer, told_edit};
pub(crate) use canonical::object_digest;
pub use canonical::{canonical, digest, sha256};
pub use difference::difference;
pub(crate) use difference::{differing, drifted, told};
pub use event::{EVENT_FORMAT, Event, Listener, StepInfo, What};
pub use ids::{Epoch, ReleaseId, RunId, StepId};
pub use outcome::{Failure, Outcome, RunEnd, Stuck};
pub use plan::{
    Before, Change, FieldChange, Goal, Kept, Left, Note, Operation, PLAN_FORMAT, Plan, PlanFileError,
    Reversibility, Step,
};
pub use result::{Begun, Digests, StepResult, Written};
pub(crate) use result::{JOB_FAILED, NO_WAY_BACK, VANISHED};
pub use seal::{Sealer, Storage, is_secret};
pub(crate) use seal::{decoded, is_secret_key, sealed_value};
pub use stamp::{
    Direction, ENVIRONMENT, EPOCH, MANAGER, NAMESPACE, PROJECT, RECORDS_MANAGER, SCALE_MANAGER, SERVICE,
    STAMP, Stamp, epoch_of, run_of,
};
pub(crate) use stamp::{
    LAST_APPLIED, SUSPEND, belongs_to, beyond_any_epoch, compared, epoch_from, foreign_labels,
    forward_run_of, is_beyond_any_epoch, is_left_since, strip_bookkeeping, without_bookkeeping,
};
pub use work::Work;
