//! The engine: a plan becomes a run, a run becomes a release or leaves everything as it was.
//!
//! `plan` and `state` are pure; `executor` is the one effectful loop; everything that is written down stands in
//! `journal`.

mod canonical;
mod difference;
mod environment;
mod epoch;
mod event;
mod executor;
mod fence;
mod foreign;
pub mod history;
mod ids;
pub mod journal;
mod lease;
mod observe;
mod outcome;
mod patience;
mod plan;
pub mod planner;
mod seal;
mod silence;
mod stamp;
mod state;
mod takeover;

pub(crate) use canonical::object_digest;
pub use canonical::{canonical, digest, sha256};
pub use difference::difference;
pub(crate) use difference::{drifted, told};
pub use environment::{Environment, EnvironmentError, Planned, RunEnd, RunOptions};
pub use epoch::Claim;
pub use event::{EVENT_FORMAT, Event, Listener, StepInfo, What};
pub use fence::{FENCE_POLICY, Fence, FenceError, FenceSight, FenceState, fence_manifest, fence_objects};
pub use ids::{Epoch, ReleaseId, RunId, StepId};
pub use lease::{Lease, LeaseError, LeaseRequest, MayWrite, holder};
pub use observe::Depth;
pub use outcome::{Failure, Outcome, Stuck};
pub use plan::{
    Before, Change, FieldChange, Goal, Kept, Note, Operation, PLAN_FORMAT, Plan, PlanFileError,
    Reversibility, Step, Work,
};
pub(crate) use seal::decoded;
pub use seal::{Sealer, Storage, is_secret};
pub use stamp::{
    Direction, ENVIRONMENT, EPOCH, MANAGER, NAMESPACE, PROJECT, RECORDS_MANAGER, SCALE_MANAGER, SERVICE,
    STAMP, Stamp, epoch_of, run_of,
};
pub use state::{Conclusion, Course, GATE_VALID, Next, Progress, RunState, StepState};

pub use takeover::Wish;

pub(crate) use foreign::{digest_of_all, last_editor, told_added};
pub use history::Head;
pub(crate) use lease::exactly;
pub(crate) use observe::{read as read_objects, released_view};
pub(crate) use stamp::{strip_bookkeeping, without_bookkeeping};
