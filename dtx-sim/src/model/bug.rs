//! Rules taken out on purpose, to see that the search finds it.

/// A rule that is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub enum Bug {
    /// Commands of the way back leave before its verdict is durable.
    BackwardBeforeVerdict,
    /// The last phase begins, and the outcome is told, before the verdict is durable.
    ForwardBeforeVerdict,
    /// The pivot and the one-phase commit leave before their record is durable.
    PointBeforeRecord,
    /// A resume goes on before it is durable.
    ResumeUnwritten,
    /// The store writes a verdict over another one.
    VerdictOverwritten,
    /// The store does not compare the version that a write expects with that of the row.
    NotCompared,
    /// The store takes what is written under an old lease.
    NotFenced,
    /// A participant takes commands of a lower epoch than it has seen.
    OldEpochRun,
    /// Only what has answered is taken back.
    UnansweredNotTakenBack,
    /// A way back that comes first leaves nothing behind.
    NoTombstone,
    /// A participant carries every copy of a command out.
    NotDeduplicated,
    /// A participant answers what was taken back with its stored answer.
    StoredDoneAfterUndone,
    /// A participant takes back what it never did.
    EmptyCompensationRuns,
    /// A clock releases what is pinned.
    PinnedExpires,
    /// An inquiry past the deadline is answered with a going back that is not written.
    PresumedWithoutRecord,
    /// No answer in time counts as the handler's no.
    TimeoutIsNo,
    /// A failed validation counts as passed.
    NoIsYes,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::BackwardBeforeVerdict,
        Self::ForwardBeforeVerdict,
        Self::PointBeforeRecord,
        Self::ResumeUnwritten,
        Self::VerdictOverwritten,
        Self::NotCompared,
        Self::NotFenced,
        Self::OldEpochRun,
        Self::UnansweredNotTakenBack,
        Self::NoTombstone,
        Self::NotDeduplicated,
        Self::StoredDoneAfterUndone,
        Self::EmptyCompensationRuns,
        Self::PinnedExpires,
        Self::PresumedWithoutRecord,
        Self::TimeoutIsNo,
        Self::NoIsYes,
    ];
}
