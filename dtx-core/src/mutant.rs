//! Protocol bugs that can be switched on by name, to see that each of them is found.
//!
//! Without the feature `mutants` a [`mutant!`](macro@crate::mutant) is `false` and compiles to nothing.
//! With it, `DTX_MUTANT=NAME` switches one of them on for the whole process.

/// Whether a bug is switched on: `mutant!(Name)`, with a name of
/// [`Mutant`](crate::mutant::Mutant).
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutant::is_on($crate::mutant::Mutant::$name)
    };
}

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug: a rule of design section 3 that is broken at one place.
        #[doc(hidden)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            fn of(name: &str) -> Option<Self> {
                [$((stringify!($name), Self::$name),)*]
                    .into_iter()
                    .find_map(|(own, mutant)| (own == name).then_some(mutant))
            }
        }
    };
}

// `cargo xtask mutants` reads this list, and that of the simulator, as text. Where both have a
// name it is one bug, planted at two places.
mutants! {
    /// Rule 1: a write that meets another verdict is taken for committed.
    VerdictConflictIgnored,
    /// Rule 1: the store lets a verdict be changed by whoever knows its version.
    VerdictOverwritten,
    /// Rule 1: a record without a verdict takes the stored verdict away.
    VerdictForgotten,
    /// Rule 1: a verdict is written as a record that nobody waits for.
    VerdictLazy,
    /// Rule 1: the finish that follows a turn is written as a record that nobody waits for.
    FinishLazy,
    /// Rule 1: the outcome is told before the verdict is durable.
    ToldBeforeDurable,
    /// Rule 1: an abandoned transaction is told before its record is durable.
    AbandonedToldEarly,
    /// Section 3, OV: what the verification found is acted on before it is durable.
    VerifiedUnwritten,
    /// Rule 2: backward commands leave before their verdict is durable.
    BackwardBeforeVerdict,
    /// Rule 2: a forward repeat after going back is answered with its stored `Done`.
    StoredDoneAfterUndone,
    /// Rule 3: backward before forward leaves no tombstone.
    NoTombstone,
    /// Rule 3: what was never sent is not taken back.
    UnsentNotTakenBack,
    /// Rule 3: what was sent and not answered is not taken back.
    UnansweredNotTakenBack,
    /// Rule 3: a `Refused` takes an operation out of what goes back.
    RefusedIsRejected,
    /// Rule 3: an operation goes back before those that depend on it.
    UndoneInAnyOrder,
    /// Rule 3: what may have been executed is cancelled in place of compensated.
    ExecutedCancelled,
    /// Rule 3: a cancel that is answered `Executed` counts as done.
    ExecutedIsCancelled,
    /// Rule 3: the barrier lets an intent be dropped that was executed.
    DropLeavesEffect,
    /// Rule 3: a no to going back counts as done.
    FailedUndoIsDone,
    /// Rule 4: a pivot that was sent does not count as decided.
    PivotUndecided,
    /// Rule 4: whoever takes a transaction up does not know that its pivot was sent.
    PivotForgotten,
    /// Rule 4: an inquiry aborts what was delegated to its only participant.
    InquiryIgnoresDelegated,
    /// Rule 5: an unknown answer counts as the handler's no.
    UnknownIsNo,
    /// Rule 5: a time-out counts as the handler's no.
    TimeOutIsNo,
    /// Rule 5: an answer to a command of an earlier epoch is heard.
    StaleReplyHeard,
    /// Rule 5: a command of an earlier epoch is run.
    StaleEpochRuns,
    /// Rule 12: an `Unknown` of the handler leaves nothing in the row.
    UnknownForgotten,
    /// Rule 6: a resume is not written.
    ResumeUnwritten,
    /// Rule 6: a resume does not count as an attempt.
    ResumeNotCounted,
    /// Rule 7: commands carry a deadline after the decision.
    DeadlineAfterDecision,
    /// Rule 8: a signal is written over whatever version it finds.
    SignalOverAnything,
    /// Rule 8: a verdict overtakes a signal that was durable first.
    SignalOvertaken,
    /// Rule 8: a cancel is taken after the decision.
    CancelAfterDecision,
    /// Rule 9: the store does not know a write again that it has applied.
    RepeatNotKnown,
    /// Rule 9: a write is applied whatever version it expects.
    VersionIgnored,
    /// Rule 9: a write whose answer was lost counts as not applied.
    UnknownWriteIsFailed,
    /// Rule 10: the caller's key is not claimed with the accept.
    KeyNotClaimed,
    /// Rule 10: the caller's key is forgotten with its transaction.
    KeyForgottenWithRow,
    /// Rule 12: a repeat runs the handler again.
    RepeatRunsAgain,
    /// Rule 12: a claim is taken over while its claimant may be running.
    ClaimTakenOver,
    /// Rule 12: a participant's row is written whatever version is expected.
    RowVersionIgnored,
    /// Rule 13: a no that no inbox keeps takes an operation out of what goes back.
    UnkeptNoTrusted,
    /// Rule 13: the answer of a participant without an inbox is not written.
    ForeignAnswerUnwritten,
    /// Rule 14: rows are forgotten before their transaction has finished.
    ForgottenEarly,
    /// Rule 14: rows are forgotten before their retention has passed.
    RetentionIgnored,
    /// Rule 14: a command below the watermark is run as if it were new.
    ForgottenRunsAgain,
    /// Rule 14: the watermark does not wait for what is open.
    WatermarkTooHigh,
    /// Rule 14: the watermark does not wait until all that is open was seen.
    WatermarkBeforeRecovery,
    /// Fencing: the store takes writes under an old lease.
    NotFenced,
    /// Fencing: a lease is granted while another holder has it.
    LeaseStolen,
    /// Fencing: a lease that changes hands keeps its epoch.
    EpochNotRaised,
    /// Section 3, clocks: a row is written after the moment that it was allowed until.
    NotAfterIgnored,
    /// Section 3, clocks: a pinned reservation is released by a clock.
    PinnedExpires,
    /// Section 3, clocks: an unpinned reservation never expires.
    HoldNeverExpires,
    /// Section 3, clocks: an inquiry aborts before the deadline of the transaction.
    InquiryAbortsEarly,
    /// Section 3, clocks: an inquiry about an unknown transaction answers `Abort` unwritten.
    InquiryWritesNoTombstone,
    /// Section 3, gate: a phase counts as done by all when one is missing.
    GateOneMissing,
    /// Section 3, OV: a transaction that needs an approval does not wait for it.
    ApprovalIgnored,
    /// Section 3, OV: a delayed execution begins at once.
    DelayIgnored,
    /// Section 3, OV: a verification that fails opens the gate.
    VerificationIgnored,
    /// Section 3, reservations: strict claims take no room.
    StrictNotCounted,
    /// Section 3, reservations: pinned claims take no room.
    PinnedNotCounted,
    /// Section 3, reservations: a validation does not count the reservations before its own.
    EarlierNotCounted,
    /// Section 3, reservations: a validation passes whatever is there.
    ValidatedUnchecked,
    /// Section 3, reservations: a strict claim does not count optimistic ones.
    StrictIgnoresOptimistic,
    /// Section 3, reservations: a release gives back what was never taken.
    ReleaseGivesBack,
    /// Section 3, reservations: a compensation gives back what was not executed.
    UnexecutedGivenBack,
    /// Section 3, locks: an exclusive lock is shared.
    LockShared,
    /// Section 3, locks: a newcomer overtakes who waits for the lock.
    QueueOvertaken,
    /// Section 3, retries: a delivery that was refused counts as delivered.
    DeadLetterDelivered,
    /// Liveness: a command without an answer is never sent again.
    NeverSentAgain,
    /// Liveness: a backoff has no bound.
    BackoffUnbounded,
    /// Liveness: what waits in the store is never due.
    ParkedForgotten,
}

/// Whether a bug is switched on: never, in a program without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
#[doc(hidden)]
#[inline(always)]
pub const fn is_on(_: Mutant) -> bool {
    false
}

/// Whether a bug is the one that the environment names.
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub fn is_on(mutant: Mutant) -> bool {
    static ON: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    *ON.get_or_init(|| Mutant::of(&std::env::var("DTX_MUTANT").ok()?)) == Some(mutant)
}

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_found_by_its_name_and_no_other_text_is_one() {
        assert_eq!(Mutant::of("NotFenced"), Some(Mutant::NotFenced));
        assert_eq!(Mutant::of("notfenced"), None);
        assert_eq!(Mutant::of(""), None);
    }
}
