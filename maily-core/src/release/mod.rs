//! From a wish (deploy, roll back, remove) to what the planner takes, and from records and live objects to reports.

mod chosen;
mod claims;
mod container_log;
mod deploy;
mod frontends;
mod images;
mod last_good;
mod logs;
mod past;
mod phased;
mod prepare;
mod remove;
mod rights;
mod rollback;
mod runs;
mod status;

pub use deploy::{DeployScope, deploy};
pub use images::{MovedImage, moved_images, moved_images_of};
pub use logs::{Logs, PodLine, PodLines, logs};
pub use phased::{Part, PhaseChoice, PhaseError, STAGING, never_had, parts, past_staging};
pub use prepare::{DeployRequest, PrepareError, prepare};
pub use remove::{RemoveError, note_found, remove};
pub use rights::{Rights, Unknown, rights};
pub use rollback::{RollbackError, RollbackTo, rollback};
pub use runs::{RunSummary, run, runs};
pub use status::{ServiceHealth, ServiceState, Status, UnfinishedRun, status, unfinished};
