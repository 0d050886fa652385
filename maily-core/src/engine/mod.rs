//! The engine: a plan becomes a run, a run becomes a release or leaves everything as it was.
//!
//! `planner` and `state` are pure; `executor` is the one effectful loop; everything that is written down stands in
//! `journal`. The engine carries steps out and knows nothing of what is in them; they know nothing of the engine.

mod ailment;
mod environment;
mod epoch;
mod executor;
mod fence;
mod foreign;
pub mod history;
mod hold;
mod interrupt;
pub mod journal;
mod lease;
mod observe;
mod origins;
mod patience;
mod placed;
pub mod planner;
mod silence;
mod state;
mod sweep;
mod takeover;
mod wish;

pub(crate) use ailment::Ailment;
pub use environment::{Environment, EnvironmentError, Loss, LostValue, Planned, RunOptions, StoredValues};
pub use epoch::Claim;
pub(crate) use epoch::{claimants, runs_after};
pub use fence::{FENCE_POLICY, Fence, FenceError, FenceSight, FenceState, fence_manifest, fence_objects};
pub(crate) use foreign::{
    digest_of_all, left_over, name_added, told_added, told_left_over, told_written_over,
};
pub use history::Head;
pub use lease::{LEASE, Lease, LeaseError, LeaseRequest};
pub(crate) use lease::{LeaseSight, sight as sight_of_lease};
pub use observe::Depth;
pub(crate) use observe::{read as read_objects, read_otherwise, released_view};
pub use origins::Origins;
pub(crate) use origins::{is_exact, known_origins, last_good, way_back};
pub(crate) use patience::{OfProvider, patiently};
pub use state::{Conclusion, Course, GATE_VALID, Next, Progress, RunState, StepState};
pub use wish::Wish;

pub use crate::run::{
    Before, Begun, Change, Digests, Direction, ENVIRONMENT, EPOCH, EVENT_FORMAT, Epoch, Event, Failure,
    FieldChange, Goal, Kept, Left, Listener, MANAGER, NAMESPACE, Note, Operation, Outcome, PLAN_FORMAT,
    PROJECT, Plan, PlanFileError, RECORDS_MANAGER, ReleaseId, Reversibility, RunEnd, RunId, SCALE_MANAGER,
    SERVICE, STAMP, Sealer, Stamp, Step, StepId, StepInfo, Storage, Stuck, What, Work, canonical, difference,
    digest, epoch_of, is_secret, run_of, sha256,
};
pub(crate) use crate::run::{
    LAST_APPLIED, SUSPEND, belongs_to, changed_by, compared, drifted, edited, foreign_labels, forward_run_of,
    is_beyond_any_epoch, is_deployer, is_left_since, object_digest, strip_bookkeeping, told, told_edit,
    without_bookkeeping,
};
pub use crate::steps::MayWrite;
