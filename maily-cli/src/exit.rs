//! Exit codes, and errors that carry one.

use std::{fmt, process::ExitCode};

use maily_core::{
    engine::{
        EnvironmentError, FenceError, LeaseError, Outcome, PlanFileError, RunEnd, journal::JournalError,
    },
    model::{LoadError, WhoseName},
    provider::{ProviderError, with_causes},
    release::{PhaseError, PrepareError, RemoveError, RollbackError},
    source::SourceErrors,
};
use maily_testkit::sim::SandboxError;

use crate::render::{by_the_clock, several};

/// How the program ends. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done, or nothing to do.
    Done = 0,
    /// Failed before any change.
    Failed = 1,
    /// Wrong use, or an invalid file.
    Usage = 2,
    /// Rolled back.
    RolledBack = 3,
    /// Needs a person.
    Stuck = 4,
    /// Held by another run.
    Held = 5,
    /// The plan is out of date.
    OutOfDate = 6,
    /// Waits for approval.
    Approval = 7,
    /// There are changes (`plan --exit-code`).
    Changes = 8,
    /// Interrupted, and can be resumed.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Code {
    /// The code for the end of a run.
    pub(crate) fn of(end: &RunEnd) -> Self {
        match end {
            RunEnd::Over { outcome, .. } if !outcome.not_serving().is_empty() => Self::Stuck,
            RunEnd::Over { outcome: Outcome::Succeeded { .. } | Outcome::Unchanged { .. }, .. } => Self::Done,
            RunEnd::Over { outcome: Outcome::RolledBack { .. }, .. } => Self::RolledBack,
            RunEnd::Over { outcome: Outcome::Stuck { .. }, .. } | RunEnd::Stuck { .. } => Self::Stuck,
            RunEnd::Over { outcome: Outcome::Cancelled { .. }, .. } => Self::Failed,
            RunEnd::Paused { .. } => Self::Interrupted,
        }
    }
}

/// An error as the user sees it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl CliError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A command line that was not understood: its first paragraph says what is wrong, the others what is right.
impl From<clap::Error> for CliError {
    fn from(error: clap::Error) -> Self {
        use clap::error::ErrorKind;
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            return Self::usage("a command is missing").help("`mailyctl --help` lists them");
        }
        let text = error.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let help: Vec<&str> = rest
            .split("\n\n")
            .map(str::trim)
            .filter(|part| !part.is_empty() && !part.starts_with("For more information"))
            .collect();
        let error = Self::usage(message.trim_start_matches("error: ").trim_end());
        if help.is_empty() { error } else { error.help(help.join("\n")) }
    }
}

impl From<EnvironmentError> for CliError {
    fn from(error: EnvironmentError) -> Self {
        // A wish that stands is no reason of its own.
        let cause = match &error {
            EnvironmentError::Asked { because, .. } => &**because,
            error => error,
        };
        let code = match cause {
            EnvironmentError::Interrupted => Code::Interrupted,
            EnvironmentError::Lease(LeaseError::Held { .. } | LeaseError::Lost { .. })
            | EnvironmentError::Unfinished { .. } => Code::Held,
            EnvironmentError::Journal(JournalError::NotHolder { .. }) => Code::Held,
            EnvironmentError::OutOfDate(_) => Code::OutOfDate,
            EnvironmentError::OtherEnvironment { .. }
            | EnvironmentError::Unbound(_)
            | EnvironmentError::NoRun(_) => Code::Usage,
            EnvironmentError::NoReturn(_) => Code::Stuck,
            EnvironmentError::Fence(FenceError::Raised { .. }) => Code::Held,
            EnvironmentError::Fence(FenceError::Provider { .. } | FenceError::Forbidden { .. }) => {
                Code::Failed
            }
            EnvironmentError::Fence(_) => Code::Stuck,
            _ => Code::Failed,
        };
        let message = match &error {
            // Who is waited for is named everywhere in the same words.
            EnvironmentError::Lease(LeaseError::Held { .. }) | EnvironmentError::Asked { .. } => {
                by_the_clock(&with_causes(&error))
            }
            EnvironmentError::Provider(error)
            | EnvironmentError::Lease(LeaseError::Provider(error))
            | EnvironmentError::Journal(JournalError::Store(error))
                if error.is_transient() =>
            {
                error.brief()
            }
            _ => with_causes(&error),
        };
        Self { code, message, help: error.hint() }
    }
}

impl From<FenceError> for CliError {
    fn from(error: FenceError) -> Self {
        Self::from(EnvironmentError::from(error))
    }
}

impl From<ProviderError> for CliError {
    fn from(error: ProviderError) -> Self {
        Self { code: Code::Failed, message: error.brief(), help: error.hint().map(str::to_owned) }
    }
}

impl From<WhoseName> for CliError {
    fn from(error: WhoseName) -> Self {
        Self::usage(error.to_string()).help(error.help())
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let help = match &error {
            LoadError::Read { .. } => {
                Some("`mailyctl init` writes one; `-C DIR` and `--file` choose another".to_owned())
            }
            LoadError::NotUtf8(_) => Some("save it as UTF-8".to_owned()),
            _ => None,
        };
        Self { code: Code::Usage, message: with_causes(&error), help }
    }
}

impl From<SourceErrors> for CliError {
    fn from(error: SourceErrors) -> Self {
        Self::usage(error.to_string())
    }
}

impl CliError {
    /// Why there is no way back in this environment.
    pub(crate) fn of_rollback(error: RollbackError, environment: &str) -> Self {
        let error = match error {
            // That of the release in force could be read: to begin anew is no way out.
            RollbackError::Journal(error @ JournalError::Damaged { .. }) => {
                let help = format!(
                    "bring it back from a backup of the namespace's Secrets, or go back to another release: `mailyctl history \
                     --env {environment}` lists them"
                );
                return Self::from(error).help(help);
            }
            RollbackError::Journal(error) => return error.into(),
            error => error,
        };
        let help = match &error {
            RollbackError::Frontend(_) => {
                "the project file says where a frontend is shown: write it there again; \
                                           `--components` brings the other services back"
                    .to_owned()
            }
            RollbackError::VersionForgotten { version, others, .. } if !others.is_empty() => format!(
                "`mailyctl rollback --env {environment} --components {} --to-version {version}` brings what can be \
                 brought",
                others.join(",")
            ),
            RollbackError::NeverHad { had, .. } if !had.is_empty() => format!("it had {}", had.join(", ")),
            RollbackError::VersionForgotten { had, .. } if !had.is_empty() => {
                format!("on record are {}", had.join(", "))
            }
            RollbackError::NotInRelease { component, .. } => format!(
                "where it came later, `mailyctl remove --env {environment} --components {component}` takes it out, by a \
                 plan; `mailyctl history --env {environment}` lists what is on record"
            ),
            RollbackError::NothingBefore { component } => format!(
                "`mailyctl remove --env {environment} --components {}` takes it out, by a plan",
                component.as_deref().unwrap_or("all")
            ),
            _ => format!(
                "`mailyctl history --env {environment}` lists what is on record; `history` in the project file says how \
                 long it stays"
            ),
        };
        Self::usage(with_causes(&error)).help(help)
    }
}

impl From<PhaseError> for CliError {
    fn from(error: PhaseError) -> Self {
        let help = match &error {
            PhaseError::Unknown(unknown) => unknown.help.clone(),
            PhaseError::Backwards { .. } => "`--start-phase` is the first, `--end-phase` the last".to_owned(),
            PhaseError::NoSuchPhase { count, .. } => format!("the project has {}", several(*count, "phase")),
            PhaseError::Contradiction => "leave `--env staging` or `--skip-staging` away".to_owned(),
            PhaseError::NoEnvironment { .. } => {
                "write one of these under `environments`, or `phases` for the environments that there are"
                    .to_owned()
            }
            PhaseError::NothingLeft => "`mailyctl show project` lists the phases".to_owned(),
        };
        Self::usage(error.to_string()).help(help)
    }
}

impl From<RemoveError> for CliError {
    fn from(error: RemoveError) -> Self {
        let RemoveError::Frontend { project, .. } = &error;
        let project =
            project.as_ref().map_or_else(|| "its project".to_owned(), |name| format!("project `{name}`"));
        let help =
            format!("take the domain off {project} at the host; `--components` removes the other services");
        Self::usage(error.to_string()).help(help)
    }
}

impl From<PrepareError> for CliError {
    fn from(error: PrepareError) -> Self {
        let help = match error {
            PrepareError::Environment(error) => return error.into(),
            PrepareError::Source(error) => return error.into(),
            PrepareError::NewServices { .. } => {
                "add a line for each under `services`, or take them along with `--accept-new`"
            }
            PrepareError::NotAnew(_) => "leave `--anew` away",
            _ => "describe what is released under `services`; `mailyctl remove` takes services out",
        };
        Self::usage(error.to_string()).help(help)
    }
}

impl From<PlanFileError> for CliError {
    fn from(error: PlanFileError) -> Self {
        Self::usage(with_causes(&error))
            .help("make a new plan: `mailyctl plan --env NAME --version VERSION --out FILE`")
    }
}

impl From<SandboxError> for CliError {
    fn from(error: SandboxError) -> Self {
        let (code, help) = match &error {
            SandboxError::Busy { .. } => (Code::Held, "wait for it, or use another folder"),
            SandboxError::File { .. } => (Code::Failed, "check the folder's permissions and the disk"),
            SandboxError::Damaged { .. } => {
                (Code::Failed, "`mailyctl sandbox reset` begins with a new world")
            }
        };
        Self { code, message: with_causes(&error), help: Some(help.to_owned()) }
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        Self::from(EnvironmentError::from(error))
    }
}

#[cfg(test)]
mod tests {
    use maily_core::{
        engine::{Epoch, Failure, ReleaseId, RunId, StepId, Stuck, planner::PlanProblems},
        provider::ErrorKind,
    };

    use super::*;

    fn refusal() -> ProviderError {
        ProviderError::new(ErrorKind::PermissionDenied, "kubernetes", "apply", "ConfigMap a", "forbidden")
    }

    #[test]
    fn every_end_has_its_code() {
        let run = || RunId::from("r");
        let over = |outcome| RunEnd::Over { run: Some(run()), outcome };
        let why = || Failure::new("crash-loop", "crashes again and again");
        let step = || StepId::new("production", "api", "rollout");
        let items = || vec![Stuck { step: step(), why: why(), remedy: "mend it".to_owned() }];
        let back = |step, not_serving| Outcome::RolledBack { step, why: why(), not_serving };
        for (end, code) in [
            (over(Outcome::Succeeded { release: ReleaseId(1), not_serving: Vec::new() }), 0),
            // What the run left as it was does not serve.
            (over(Outcome::Succeeded { release: ReleaseId(1), not_serving: vec![why()] }), 4),
            (over(Outcome::Unchanged { not_serving: Vec::new() }), 0),
            (RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: Vec::new() } }, 0),
            (RunEnd::Over { run: None, outcome: Outcome::Unchanged { not_serving: vec![why()] } }, 4),
            (over(Outcome::Cancelled { why: "nothing was begun".to_owned() }), 1),
            (over(back(Some(step()), Vec::new())), 3),
            // A person asked for it.
            (over(back(None, Vec::new())), 3),
            // What was there before is there again, and does not serve.
            (over(back(Some(step()), vec![why()])), 4),
            (over(Outcome::Stuck { items: items() }), 4),
            (RunEnd::Stuck { run: run(), items: items() }, 4),
            (RunEnd::Paused { run: run(), why: "interrupted".to_owned() }, 130),
        ] {
            assert_eq!(Code::of(&end) as u8, code, "{end:?}");
        }
    }

    #[test]
    fn a_way_back_that_cannot_be_read_is_no_wrong_use() {
        let damaged = || JournalError::Damaged { key: "release/1".to_owned(), message: "cut".to_owned() };
        for (error, code) in [
            (RollbackError::Journal(JournalError::Store(refusal())), 1),
            (RollbackError::Journal(damaged()), 1),
            (RollbackError::Journal(JournalError::Newer { key: "release/1".to_owned(), format: 9 }), 1),
            (RollbackError::NoRelease, 2),
            (RollbackError::UnknownRelease(ReleaseId(9)), 2),
        ] {
            let said = error.to_string();
            let told = CliError::of_rollback(error, "production");
            assert_eq!(told.code as u8, code, "{said}");
            // The release in force is whole, so that nothing is begun anew.
            assert!(!told.help.unwrap_or_default().contains("--anew"), "{said}");
        }
    }

    #[test]
    fn every_refusal_of_an_environment_has_its_code() {
        let (environment, text) = (|| "production".to_owned(), || "-".to_owned());
        let run = || RunId::from("r");
        let fence = EnvironmentError::Fence;
        let asked = |because| EnvironmentError::Asked {
            environment: environment(),
            run: run(),
            stands: true,
            because: Box::new(because),
        };
        for (error, code) in [
            (EnvironmentError::Unbound(environment()), 2),
            (EnvironmentError::OtherEnvironment { found: environment(), project: text() }, 2),
            (EnvironmentError::NoRun(run()), 2),
            (
                EnvironmentError::WrongCluster {
                    environment: environment(),
                    bound: text(),
                    found: text(),
                    server: text(),
                },
                1,
            ),
            (EnvironmentError::NoNamespace { environment: environment(), namespace: text() }, 1),
            (EnvironmentError::NamespaceTerminating(text()), 1),
            (
                EnvironmentError::OtherProject {
                    environment: environment(),
                    namespace: text(),
                    project: text(),
                },
                1,
            ),
            (EnvironmentError::Problems(PlanProblems(Vec::new()), None), 1),
            (EnvironmentError::Provider(refusal()), 1),
            (EnvironmentError::ReleaseLost { release: ReleaseId(1), run: run() }, 1),
            (EnvironmentError::Lease(LeaseError::Provider(refusal())), 1),
            (EnvironmentError::Journal(JournalError::Store(refusal())), 1),
            (EnvironmentError::Journal(JournalError::Damaged { key: text(), message: text() }), 1),
            (EnvironmentError::Journal(JournalError::Newer { key: text(), format: 9 }), 1),
            (EnvironmentError::Unfinished { environment: environment(), run: run(), stuck: None }, 5),
            (EnvironmentError::Lease(LeaseError::Held { environment: environment(), holder: text() }), 5),
            (EnvironmentError::Lease(LeaseError::Lost { environment: environment(), how: text() }), 5),
            (EnvironmentError::Journal(JournalError::NotHolder { epoch: Epoch(1), other: None }), 5),
            (
                asked(EnvironmentError::Lease(LeaseError::Held {
                    environment: environment(),
                    holder: text(),
                })),
                5,
            ),
            (asked(EnvironmentError::Interrupted), 130),
            (asked(EnvironmentError::NamespaceTerminating(text())), 1),
            (asked(fence(FenceError::Damaged { environment: environment(), parameter: text() })), 4),
            (EnvironmentError::Interrupted, 130),
            (EnvironmentError::TooLate { environment: environment(), run: run(), release: ReleaseId(2) }, 1),
            (EnvironmentError::OutOfDate(Vec::new()), 6),
            (EnvironmentError::NoReturn(run()), 4),
            (fence(FenceError::Open { environment: environment(), namespace: text(), parameter: text() }), 4),
            (fence(FenceError::Damaged { environment: environment(), parameter: text() }), 4),
            (fence(FenceError::Silent { environment: environment(), older: Epoch(1), seconds: 30 }), 4),
            (fence(FenceError::Raised { environment: environment(), ours: Epoch(1), found: Epoch(2) }), 5),
            (fence(FenceError::Forbidden { environment: environment(), source: refusal() }), 1),
            (fence(FenceError::Provider { environment: environment(), source: refusal() }), 1),
        ] {
            let said = error.to_string();
            assert_eq!(CliError::from(error).code as u8, code, "{said}");
        }
    }
}
