//! Rules taken out on purpose, so that it can be seen that their loss is found.

/// A rule of design section 3 that is broken from outside of the engine.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Rule 1: a write that meets another verdict is taken for committed.
    VerdictConflictIgnored,
    /// Rule 2: backward commands leave before their verdict is durable.
    BackwardBeforeVerdict,
    /// Rule 2: a forward repeat after going back is answered with its stored `Done`.
    StoredDoneAfterUndone,
    /// Rule 3: backward before forward leaves no tombstone.
    NoTombstone,
    /// Rule 3: what was never sent is not taken back.
    UnsentNotTakenBack,
    /// Rule 4: the pivot and the one-phase commit leave before their record is durable.
    PivotBeforeRecord,
    /// Rule 5: an unknown answer counts as the handler's no.
    UnknownIsNo,
    /// Rule 6: a resume is not written.
    ResumeUnwritten,
    /// Rule 7: commands carry a deadline after the decision.
    DeadlineAfterDecision,
    /// Rule 8: a signal is written over whatever version it finds.
    SignalOverAnything,
    /// Rule 9: a write whose answer was lost counts as not applied.
    UnknownWriteIsFailed,
    /// Rule 10: the caller's key is not claimed with the accept.
    KeyNotClaimed,
    /// Rule 11: a no after the decision releases the others.
    NoAfterDecisionReleases,
    /// Rule 12: a reply leaves before the row holds it.
    ReplyBeforeRow,
    /// Rule 12: a claim is taken over while its claimant may be running.
    ClaimTakenOver,
    /// Rule 13: a participant without an inbox is not declared.
    ForeignNotDeclared,
    /// Rule 14: rows are forgotten before their transaction has finished.
    ForgottenEarly,
    /// Fencing: the store takes writes under an old lease.
    NotFenced,
    /// Section 3, clocks: a pinned reservation is released by a clock.
    PinnedExpires,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::VerdictConflictIgnored,
        Self::BackwardBeforeVerdict,
        Self::StoredDoneAfterUndone,
        Self::NoTombstone,
        Self::UnsentNotTakenBack,
        Self::PivotBeforeRecord,
        Self::UnknownIsNo,
        Self::ResumeUnwritten,
        Self::DeadlineAfterDecision,
        Self::SignalOverAnything,
        Self::UnknownWriteIsFailed,
        Self::KeyNotClaimed,
        Self::NoAfterDecisionReleases,
        Self::ReplyBeforeRow,
        Self::ClaimTakenOver,
        Self::ForeignNotDeclared,
        Self::ForgottenEarly,
        Self::NotFenced,
        Self::PinnedExpires,
    ];

    /// The rule that it takes out; `None` for what section 3 asks for beside the fourteen.
    pub fn rule(self) -> Option<u8> {
        Some(match self {
            Self::VerdictConflictIgnored => 1,
            Self::BackwardBeforeVerdict | Self::StoredDoneAfterUndone => 2,
            Self::NoTombstone | Self::UnsentNotTakenBack => 3,
            Self::PivotBeforeRecord => 4,
            Self::UnknownIsNo => 5,
            Self::ResumeUnwritten => 6,
            Self::DeadlineAfterDecision => 7,
            Self::SignalOverAnything => 8,
            Self::UnknownWriteIsFailed => 9,
            Self::KeyNotClaimed => 10,
            Self::NoAfterDecisionReleases => 11,
            Self::ReplyBeforeRow | Self::ClaimTakenOver => 12,
            Self::ForeignNotDeclared => 13,
            Self::ForgottenEarly => 14,
            Self::NotFenced | Self::PinnedExpires => return None,
        })
    }
    /// What the environment asks for by `DTX_MUTANT`, in a program that was built for that.
    pub(crate) fn of_environment() -> Option<Self> {
        if !cfg!(feature = "mutants") {
            return None;
        }
        let name = std::env::var("DTX_MUTANT").ok()?;
        Self::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name)
    }
}
