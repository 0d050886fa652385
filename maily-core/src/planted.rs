//! Defects that can be put back, one at a time, to show that the checks can fail.
//!
//! A rule of the engine is worth what a test is that turns red without it. Each [`Defect`] takes one rule away; the
//! simulation, a drill or a named test has to notice. Without the feature `planted-defects`, which nothing that is
//! shipped carries, [`is_planted`] is the constant `false` and the rules stand as they are written.

macro_rules! defects {
    ($($(#[doc = $what:literal])+ $defect:ident = $name:literal,)+) => {
        /// A rule that is taken away.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Defect {
            $($(#[doc = $what])+ $defect,)+
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$defect),+];

            /// Name on the command line and in the page of tests.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$defect => $name,)+
                }
            }
        }
    };
}

defects! {
    /// Effects begin before their announcement is durable.
    EffectBeforeJournal = "effect-before-journal",
    /// A step counts as applied before it has had its effect.
    AppliedBeforeEffect = "applied-before-effect",
    /// A step counts as applied before its pods serve.
    ReadinessNotAwaited = "readiness-not-awaited",
    /// A segment is sent before the one before it is durable.
    SegmentsOverlap = "segments-overlap",
    /// A process goes on when the journal cannot be written.
    JournalFailureIgnored = "journal-failure-ignored",
    /// What a retry finds counts as the captured state.
    CapturedAgain = "captured-again",
    /// A first write lands on whatever is there, be it as captured or not.
    CaptureNotCompared = "capture-not-compared",
    /// A create takes what is there for its own.
    CreateUnguarded = "create-unguarded",
    /// A write carries neither uid nor resource version.
    WriteUnguarded = "write-unguarded",
    /// A conflict ends a step, although what is there is still as captured.
    ConflictFails = "conflict-fails",
    /// A delete carries neither uid nor resource version.
    DeleteUnguarded = "delete-unguarded",
    /// What is deleted counts as gone, although its finalizers are not through.
    DeletedIsGone = "deleted-is-gone",
    /// What this run has written counts as somebody else's where the answer was lost.
    OwnWriteUnknown = "own-write-unknown",
    /// A takeover neither stamps what may still be written nor writes again what already is as captured.
    NoStampingBarrier = "no-stamping-barrier",
    /// A takeover ends at an object that it would stamp and that is not there.
    AbsentNotStamped = "absent-not-stamped",
    /// A takeover leaves pods as they are that a late deletion may take.
    PodsNotStamped = "pods-not-stamped",
    /// A takeover stamps by an apply, which takes away what it does not name.
    StampErases = "stamp-erases",
    /// Absence counts while a create may be on its way.
    AbsenceAssumed = "absence-assumed",
    /// What already equals the captured state is not written by an undo, although a late call may change it.
    UndoSkipsEqual = "undo-skips-equal",
    /// An undo writes under the stamp that is there, so that the same content is no new version.
    UndoUnstamped = "undo-unstamped",
    /// A call of this process that got no answer is forgotten.
    UnansweredForgotten = "unanswered-forgotten",
    /// A newer epoch on an object is read past.
    NewerEpochIgnored = "newer-epoch-ignored",
    /// A refusal because of a newer epoch is a failure of the step.
    StaleEpochFails = "stale-epoch-fails",
    /// A fence is also lowered.
    FenceLowered = "fence-lowered",
    /// A fence that was raised is not asked whether it refuses.
    FenceUnproven = "fence-unproven",
    /// A holder that could not renew its lease goes on writing.
    LeaseIgnored = "lease-ignored",
    /// A holder that lost the environment goes on renewing its lease.
    LostHolderRenews = "lost-holder-renews",
    /// A segment that somebody else wrote is stepped over.
    TakenSegmentIgnored = "taken-segment-ignored",
    /// A takeover ends at a late segment of the holder before it.
    LateSegmentStops = "late-segment-stops",
    /// A segment whose answer was lost counts as somebody else's.
    OwnSegmentUnknown = "own-segment-unknown",
    /// A claimer does not look for a higher claim after its own.
    ClaimNotCompared = "claim-not-compared",
    /// Claims that wrote nothing stay open when somebody else begins.
    PendingNotClosed = "pending-not-closed",
    /// A release whose record is missing is not written down again.
    ReleaseNotDerived = "release-not-derived",
    /// Only what was seen to be applied is undone.
    OnlyAppliedUndone = "only-applied-undone",
    /// A step of which every call was refused, and an object that none has changed, is undone as any other.
    RefusedUndone = "refused-undone",
    /// One undo that failed keeps everything else from being undone.
    UndoFailureStops = "undo-failure-stops",
    /// Undo does not wait for what depends on a step.
    UndoOutOfOrder = "undo-out-of-order",
    /// One object stands in two steps of a plan.
    TwicePlanned = "twice-planned",
    /// A plan without steps claims the environment and is written down.
    UnchangedClaims = "unchanged-claims",
    /// A step begins before what it needs.
    NeedsIgnored = "needs-ignored",
    /// An undo makes objects anew.
    UndoRecreates = "undo-recreates",
    /// An undo makes again what somebody else has deleted meanwhile.
    GoneRemade = "gone-remade",
    /// What somebody else changed meanwhile is taken for this run's own.
    ForeignTaken = "foreign-taken",
    /// A run turns although a step that cannot be undone has begun.
    TurnPastReturn = "turn-past-return",
    /// A gate that has not passed keeps nothing from going on.
    GatesIgnored = "gates-ignored",
    /// What a host without preconditions may have made is made again without a look.
    CreateRepeatedBlindly = "create-repeated-blindly",
    /// Sweeping takes all epochs, the highest among them.
    HighestEpochSwept = "highest-epoch-swept",
    /// Sweeping takes the latest release, too, where none is to be kept.
    LatestReleaseSwept = "latest-release-swept",
    /// Sweeping takes the claims that a takeover wrote into a journal as well.
    ClaimsSwept = "claims-swept",
    /// Values of Secrets stand in plans.
    SecretsUnsealed = "secrets-unsealed",
    /// What is told again is not marked.
    ReplayUnmarked = "replay-unmarked",
    /// A pod that is in the way of its own controller is waited for.
    HeldUpAwaited = "held-up-awaited",
    /// T1: a status that tells of the rollout before counts.
    StatusOfBefore = "status-of-before",
    /// T2: a Job that has failed is waited for.
    FailedJobAwaited = "failed-job-awaited",
    /// T3: a deadline that the rollout before has exceeded counts.
    StaleDeadlineCounts = "stale-deadline-counts",
    /// T4: a Deployment that is paused is waited for.
    PausedAwaited = "paused-awaited",
    /// T5: old pods that still run or end are not waited for.
    OldPodsForgotten = "old-pods-forgotten",
    /// T6: an object of another uid is taken for what was written.
    OtherUidTaken = "other-uid-taken",
    /// T6: somebody else's rollout is taken for our own.
    SupersededIgnored = "superseded-ignored",
    /// T7: pods of a StatefulSet that are ready count as available.
    ReadyIsAvailable = "ready-is-available",
    /// T8: a load balancer without an address counts as done.
    AddressNotAwaited = "address-not-awaited",
    /// T9: a pod that no node has room for is a failure.
    UnschedulableDooms = "unschedulable-dooms",
    /// T10: what cannot become ready by waiting is waited for.
    DoomedAwaited = "doomed-awaited",
    /// T10: a start that failed for the node's own reasons is a failure.
    TransientDooms = "transient-dooms",
    /// T11: a watch that is closed has ended.
    ClosedWatchEnds = "closed-watch-ends",
    /// T11: what a watch has missed is not listed again.
    LostHistoryKept = "lost-history-kept",
    /// T11: a watch that says nothing any more is believed.
    SilentWatchBelieved = "silent-watch-believed",
    /// T12: a read may go back in time.
    OldReadsTaken = "old-reads-taken",
    /// T13: the client asks again where the server has too much to do.
    LoadHidden = "load-hidden",
    /// T14: an answer is waited for however long it takes.
    AnswersAwaited = "answers-awaited",
    /// T14: the server is not told when to end its own work on a change.
    ServerUnlimited = "server-unlimited",
    /// T15: a write that the server gave up has changed nothing.
    GivenUpIsRefused = "given-up-is-refused",
    /// T16: another configuration leaves the pods as they are.
    ConfigRestartsNothing = "config-restarts-nothing",
    /// T17: fields of a client-side apply stay with it.
    FieldsNotMigrated = "fields-not-migrated",
    /// T18: a pod ends at once when it is told to.
    NoTimeToEnd = "no-time-to-end",
}

impl Defect {
    /// The defect of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|defect| defect.name() == name)
    }
}

#[cfg(feature = "planted-defects")]
mod switch {
    use std::cell::Cell;

    use super::Defect;

    /// Names the defect for a whole process, so that every test can be run against it.
    const VARIABLE: &str = "MAILY_PLANTED";

    thread_local! {
        static PLANTED: Cell<Option<Defect>> = Cell::new(of_process());
    }

    #[expect(clippy::disallowed_methods, reason = "for tests alone")]
    fn of_process() -> Option<Defect> {
        Defect::of(&std::env::var(VARIABLE).ok()?)
    }

    /// Plants a defect in this thread, or takes it out. A simulation is one thread.
    pub fn plant(defect: Option<Defect>) {
        PLANTED.set(defect);
    }

    /// Plants a defect before a test that has to fail then, and to pass again without it.
    ///
    /// # Panics
    /// When the test passes with the defect, or fails without it.
    pub fn turns_red(defect: Defect, test: fn()) {
        plant(Some(defect));
        let red = std::panic::catch_unwind(test).is_err();
        plant(None);
        assert!(red, "{} is unnoticed", defect.name());
        test();
    }

    /// Whether a defect is planted in this thread.
    pub fn is_planted(defect: Defect) -> bool {
        PLANTED.get() == Some(defect)
    }
}

#[cfg(feature = "planted-defects")]
pub use switch::{is_planted, plant, turns_red};

/// Whether a defect is planted: never.
#[cfg(not(feature = "planted-defects"))]
pub const fn is_planted(_: Defect) -> bool {
    false
}
