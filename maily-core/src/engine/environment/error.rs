//! Why nothing could be planned or run, and what a person can do.

use super::Planned;
use crate::{
    engine::{
        FenceError, LeaseError, ReleaseId, RunId, journal::JournalError, patience::OfProvider as _,
        planner::PlanProblems,
    },
    provider::{ProviderError, with_causes},
};

/// Why nothing could be planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// The environment is bound to no cluster.
    #[error("environment `{0}` is not bound to a cluster")]
    Unbound(String),
    /// It is another cluster, or the same one by another certificate authority.
    #[error("environment `{environment}` is bound to {bound}; {server} {found}")]
    WrongCluster {
        /// The environment.
        environment: String,
        /// What it is bound to, as [`ClusterIdentity::mismatch`](crate::provider::ClusterIdentity::mismatch) tells it.
        bound: String,
        /// What was met.
        found: String,
        /// Its address.
        server: String,
    },
    /// The namespace does not exist.
    #[error("namespace `{namespace}` does not exist")]
    NoNamespace {
        /// The environment.
        environment: String,
        /// Its namespace.
        namespace: String,
    },
    /// The namespace is being deleted.
    #[error("namespace `{0}` is being deleted")]
    NamespaceTerminating(String),
    /// A run has to be resumed or aborted first.
    #[error("run {run} of environment `{environment}` {}", how(stuck.as_ref()))]
    Unfinished {
        /// The environment.
        environment: String,
        /// The run.
        run: RunId,
        /// What keeps it, where it waits for a person.
        stuck: Option<String>,
    },
    /// Another project releases to this environment.
    #[error("environment `{environment}` in namespace `{namespace}` belongs to project `{project}`")]
    OtherProject {
        /// The environment.
        environment: String,
        /// Its namespace.
        namespace: String,
        /// The project that has released to it.
        project: String,
    },
    /// The plan is for another environment.
    #[error("the plan is for environment `{found}` of project `{project}`")]
    OtherEnvironment {
        /// The plan's environment.
        found: String,
        /// The plan's project.
        project: String,
    },
    /// The plan does not fit what is there any more.
    #[error("the plan is out of date:\n  {}", .0.join("\n  "))]
    OutOfDate(Vec<String>),
    /// There is no plan. Where nothing but what others have set is in the way of one that somebody wants to read, with the
    /// plan that takes it.
    #[error("{0}")]
    Problems(PlanProblems, Option<Box<Planned>>),
    /// Somebody else works on the environment.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The records failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A provider failed.
    #[error("failed to read the state of the environment")]
    Provider(#[source] ProviderError),
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// The objects of the release in force are not on record any more.
    #[error("release {release} is in force, and the records of run {run}, which made it, are gone")]
    ReleaseLost {
        /// The release.
        release: ReleaseId,
        /// Its run.
        run: RunId,
    },
    /// The fence does not hold.
    #[error(transparent)]
    Fence(#[from] FenceError),
    /// A run cannot go back any more.
    #[error("run {0} cannot go back: a step that cannot be undone has begun")]
    NoReturn(RunId),
    /// A run succeeded before whoever carries it out heard of the wish to go back.
    #[error("run {run} had succeeded before it could go back: release {release} is in force")]
    TooLate {
        /// The environment.
        environment: String,
        /// The run.
        run: RunId,
        /// The release that it made.
        release: ReleaseId,
    },
    /// Nobody waits any more for a run to go back that was asked to.
    #[error("{}; run {run} was asked to go back, and that {}", told(because), if *stands { "stands" } else { "may stand" })]
    Asked {
        /// The environment.
        environment: String,
        /// The run.
        run: RunId,
        /// Whether that is on record; else the request had no answer.
        stands: bool,
        /// Why nobody waits for it, or goes on with it.
        because: Box<EnvironmentError>,
    },
    /// Interrupted before a run of ours had begun.
    #[error("interrupted before any change")]
    Interrupted,
}

fn how(stuck: Option<&String>) -> String {
    stuck.map_or_else(|| "has not ended".to_owned(), |why| format!("is stuck: {why}"))
}

/// What stands before other words brings its causes along.
fn told(because: &EnvironmentError) -> String {
    match because.of_provider() {
        Some(error) if error.is_transient() => error.brief(),
        _ => with_causes(because),
    }
}

/// The way out where records are gone for good.
const ANEW: &str = "without one, `mailyctl deploy --env NAME --version VERSION --anew` begins again from what is in the cluster";

impl EnvironmentError {
    /// What a person can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unbound(name) => {
                format!("bind it: `mailyctl env bind {name} --context CONTEXT --namespace NAMESPACE`")
            }
            Self::WrongCluster { environment, .. } => format!(
                "choose the right context, or bind the environment anew: `mailyctl env bind {environment} --rebind`"
            ),
            Self::NoNamespace { environment, .. } => format!(
                "make it: `mailyctl env bind {environment} --create-namespace`, also where the manifests bring it: the records \
                 of a release stand in it, and come before its objects"
            ),
            Self::NamespaceTerminating(_) => "wait until it is gone, and make it again".to_owned(),
            Self::Unfinished { environment, run, stuck: Some(_) } => {
                format!("`mailyctl show run {run} --env {environment}` tells what is to do first")
            }
            Self::Unfinished { environment, .. } => format!(
                "`mailyctl resume --env {environment}` goes on, `mailyctl abort --env {environment}` goes back"
            ),
            Self::OtherProject { .. } => {
                "two projects in one namespace need environments of different names; after a change of the project's \
                 own name put the old one back"
                    .to_owned()
            }
            Self::OtherEnvironment { .. } => "make a plan for this environment".to_owned(),
            Self::OutOfDate(_) => "make a new plan".to_owned(),
            Self::Lease(LeaseError::Held { environment, .. }) => format!(
                "wait for your turn with `--wait-lock`; if that process has died, its lease runs out within half a minute, and \
                 `mailyctl resume --env {environment}` takes over the run that it had begun, if any"
            ),
            Self::Lease(LeaseError::Lost { environment, .. }) => format!(
                "the run stopped where it was: look with `mailyctl status --env {environment}`; where nobody works on \
                 it, `mailyctl resume --env {environment}` goes on"
            ),
            Self::NoRun(_) => "`mailyctl history` lists the runs on record".to_owned(),
            Self::ReleaseLost { run, .. } => {
                format!("bring the records of run {run} back from a backup of the namespace's Secrets; {ANEW}")
            }
            Self::Journal(JournalError::Damaged { .. }) => {
                format!("bring it back from a backup of the namespace's Secrets; {ANEW}")
            }
            Self::Fence(error) => return error.hint(),
            Self::NoReturn(_) => "it goes forward: where it has stopped, mend the cause, then `mailyctl resume`".to_owned(),
            Self::TooLate { environment, .. } => format!(
                "`mailyctl rollback --env {environment} --last-good` plans the way back to the release before"
            ),
            Self::Asked { environment, stands: false, because, .. } => {
                let again = format!(
                    "`mailyctl abort --env {environment}` asks once more, and `mailyctl status --env {environment}` shows \
                     whether it goes back"
                );
                because.hint().map_or(again.clone(), |first| format!("{first}; then {again}"))
            }
            Self::Asked { environment, because, .. } => {
                let stands = format!(
                    "`mailyctl status --env {environment} --watch` shows it; if its process has died, \
                     `mailyctl resume --env {environment}` takes it back"
                );
                match because.hint() {
                    // Who holds it is to be waited for, which is what he did.
                    Some(first) if !matches!(**because, Self::Lease(LeaseError::Held { .. })) => {
                        format!("{first}; then {stands}")
                    }
                    _ => stands,
                }
            }
            Self::Provider(error)
            | Self::Lease(LeaseError::Provider(error))
            | Self::Journal(JournalError::Store(error)) => {
                return error.hint().map(str::to_owned);
            }
            Self::Journal(JournalError::NotHolder { .. }) => {
                "somebody else took the environment over: look with `mailyctl status`".to_owned()
            }
            Self::Problems(..) | Self::Journal(_) | Self::Interrupted => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_absent_is_made_by_the_command_that_binds_it() {
        let (environment, namespace) = ("production".to_owned(), "shop".to_owned());
        let hint = EnvironmentError::NoNamespace { environment, namespace }.hint();
        assert!(hint.is_some_and(|hint| hint.contains("`mailyctl env bind production --create-namespace`")));
    }
}
