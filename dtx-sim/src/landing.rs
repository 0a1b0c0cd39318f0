//! What a write may say, by what was durable before it.

use dtx_core::{
    engine::{Signal, StoredState},
    ids::OperationIndex,
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, TxWrite, Verdict},
    transaction::StepKind,
};

use crate::view::{Broken, Sight, View};

/// What is wrong with a write that has landed on what was there before.
pub(crate) fn landing(before: &View, write: &TxWrite, state: &StoredState) -> Option<Broken> {
    awaited(before, write)
        .or_else(|| overtaken(before, write))
        .or_else(|| late(before, state))
        .or_else(|| resumed(before, write, state))
        .or_else(|| left_out(before, write, state))
}

/// Rule 1: verdicts, and the end of what was turned, are waited for.
fn awaited(before: &View, write: &TxWrite) -> Option<Broken> {
    let verdict = write.verdict.or(before.verdict);
    match write.kind {
        _ if !write.lazy => None,
        RecordKind::Verdict => Some("rule 1: nobody waits for a verdict"),
        RecordKind::Finished if verdict == Some(Verdict::Turned) => {
            Some("rule 1: nobody waits for the end of what was turned")
        }
        _ => None,
    }
}

/// Rule 8: a signal that was durable first stands.
fn overtaken(before: &View, write: &TxWrite) -> Option<Broken> {
    let undecided = before.verdict.is_none() && before.state.point_of_no_return.is_none();
    let decides = match write.kind {
        RecordKind::Verdict => write.verdict.is_some_and(|verdict| !verdict.is_backward()),
        RecordKind::PivotSent | RecordKind::Delegated => true,
        _ => false,
    };
    let wants_back =
        |signal: &Signal| matches!(signal, Signal::Reject | Signal::Cancel | Signal::ForceAbort);
    let is_wanted_back = before.state.signals.iter().any(|entry| wants_back(&entry.signal));
    (undecided && decides && is_wanted_back)
        .then_some("rule 8: a decision has overtaken a signal that was durable first")
}

/// Rule 8: what is decided takes no cancel any more.
fn late(before: &View, state: &StoredState) -> Option<Broken> {
    let decided = before.verdict.is_some() || before.state.point_of_no_return.is_some();
    let mut new = state.signals.iter().skip(before.state.signals.len());
    let is_late = decided && new.any(|e| matches!(e.signal, Signal::Cancel | Signal::Reject));
    is_late.then_some("rule 8: a cancel was taken after the decision")
}

/// Rule 6: a resume counts as an attempt.
fn resumed(before: &View, write: &TxWrite, state: &StoredState) -> Option<Broken> {
    // An operator's move begins to count anew.
    let is_moved = state.signals.iter().any(|entry| entry.signal.is_operator_move());
    let counts = write.kind == RecordKind::Resumed && !before.was_parked && !is_moved;
    (counts && state.resumes <= before.state.resumes).then_some("rule 6: a resume is not counted")
}

/// Rule 3: what has ended backward was taken back at every participant, but where the handler
/// itself said no at first.
fn left_out(before: &View, write: &TxWrite, state: &StoredState) -> Option<Broken> {
    let is_end = write.kind == RecordKind::Finished
        && matches!(
            write.summary.status,
            Status::Finished(Outcome::Aborted | Outcome::Compensated)
        );
    let delegated = state.point_of_no_return == Some(RecordKind::Delegated);
    if !is_end || delegated || is_operated(state) {
        return None;
    }
    let nothing = Sight::default();
    let count = before.transaction.operations().len() as u16;
    let is_left = |operation: OperationIndex| {
        let sight = before.operations.get(&operation).unwrap_or(&nothing);
        goes_back(before, operation, sight) && !sight.is_undone()
    };
    (0..count)
        .map(OperationIndex)
        .any(is_left)
        .then_some("rule 3: it has ended, and an operation was not taken back")
}

/// Whether an operator has counted something as done that may not be.
pub(crate) fn is_operated(state: &StoredState) -> bool {
    let counts = |signal: &Signal| {
        matches!(
            signal,
            Signal::Skip(_) | Signal::ForceAbort | Signal::ForceCommit | Signal::Abandon
        )
    };
    state.signals.iter().any(|entry| counts(&entry.signal))
}

/// Whether going back must address an operation.
pub(crate) fn goes_back(view: &View, operation: OperationIndex, sight: &Sight) -> bool {
    let definition = view.transaction.operation(operation);
    let first = match view.transaction.pattern() {
        Pattern::TwoPhaseCommit | Pattern::TwoPhaseSaga => Phase::Prepare,
        Pattern::ThreePhaseSaga => Phase::Reserve,
        _ => Phase::Execute,
    };
    definition.step() == StepKind::Compensatable
        && definition.consistency().is_critical()
        && !sight.rejected.contains(&first)
}

#[cfg(test)]
#[path = "landing_tests.rs"]
mod tests;
