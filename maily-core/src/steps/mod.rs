//! What the steps of a plan do. Each converges, may be repeated, and can take back what it did.

mod check;
mod clearing;
mod context;
mod evidence;
mod frontend;
mod grace;
mod job;
mod more_time;
mod patience;
mod presence;
mod rollout;
mod run;
mod serving;
mod stamping;
mod stopping;
mod waited;
mod watcher;
mod writer;

pub(crate) use context::{Context, End, Halt, Licence, PARALLEL, Past, Trouble, Unrenewed};
pub use context::{MayWrite, Providers};
pub(crate) use frontend::is_made_by;
pub(crate) use job::job_name;
pub(crate) use presence::{Presence, brought, missing, put_back};
pub(crate) use rollout::{failed_since, restored};
pub(crate) use run::execute;
pub(crate) use serving::{SERVES_WITHIN, idle, is_idle, left_alone, not_serving};
pub(crate) use stamping::{stamp, stamp_pods};
