//! What must hold while a run goes on.

use dtx_core::{
    engine::Signal,
    ids::{AcceptSequence, OperationIndex, TxId},
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::{Consistency, Gate, Operation, StepKind, Transaction},
    transport::Command,
};

use crate::{
    landing::{goes_back, is_operated},
    view::{Broken, Sight, View},
};

/// Whether a command may leave, by what is durable at that moment (rules 2, 4, 6 and 7).
pub(crate) fn command(view: Option<&View>, command: &Command) -> Result<(), Broken> {
    let Some(view) = view.filter(|view| view.is_accepted()) else {
        return Err("persist before send: a command left before its accept was durable");
    };
    if !view.epochs.contains(&command.epoch) {
        return Err("rule 6: a command left before its resume was durable");
    }
    let (needed, broken) = needs(&view.transaction, command);
    if !needed.is_met(view) {
        return Err(broken);
    }
    if command.deadline.is_some() && needed != Needed::Nothing && needed != Needed::Verified {
        return Err("rule 7: a command after the decision carries a deadline");
    }
    order(view, command)
}

/// Whether a command carries out what the last gate is in front of.
pub(crate) fn is_execution(command: &Command) -> bool {
    match command.phase {
        Phase::Commit => !command.one_phase,
        Phase::Execute => {
            matches!(command.pattern, Pattern::TwoPhaseSaga | Pattern::ThreePhaseSaga)
        }
        _ => false,
    }
}

/// Whether the last gate may have been passed: a person has agreed where one is asked, and what
/// was verified stands. An operator's word stands in place of both.
pub(crate) fn gate(view: &View, command: &Command) -> Result<(), Broken> {
    if !is_execution(command) || is_operated(&view.state) {
        return Ok(());
    }
    let asked = view.transaction.modifiers().is_some_and(|m| m.approval.is_some());
    let agreed = view.state.signals.iter().any(|entry| entry.signal == Signal::Approve);
    if asked && !agreed {
        return Err("OV: an execution left without the approval");
    }
    if view.is_fallen {
        return Err("OV: an execution left although a verification had failed");
    }
    Ok(())
}

/// Whether a command takes back what others that were not taken back yet depend on (rule 3).
pub(crate) fn order(view: &View, command: &Command) -> Result<(), Broken> {
    if !command.phase.is_backward() || is_operated(&view.state) {
        return Ok(());
    }
    let nothing = Sight::default();
    let stands = |(index, definition): (u16, &Operation)| {
        let operation = OperationIndex(index);
        let sight = view.operations.get(&operation).unwrap_or(&nothing);
        definition.depends_on().contains(&command.operation)
            && goes_back(view, operation, sight)
            && !sight.is_undone()
    };
    if (0..).zip(view.transaction.operations()).any(stands) {
        return Err("rule 3: an operation goes back before those that depend on it");
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    Nothing,
    Backward,
    Verdict(Verdict),
    Point(RecordKind),
    Verified,
}

impl Needed {
    fn is_met(self, view: &View) -> bool {
        match self {
            Self::Nothing => true,
            Self::Backward => view.verdict.is_some_and(Verdict::is_backward),
            Self::Verdict(verdict) => view.verdict == Some(verdict),
            Self::Point(kind) => view.state.point_of_no_return == Some(kind),
            Self::Verified => view.state.verified == Some(true),
        }
    }
}

fn needs(transaction: &Transaction, command: &Command) -> (Needed, Broken) {
    let step = transaction.operation(command.operation).step();
    match (command.phase, transaction.pattern()) {
        (phase, _) if phase.is_backward() => {
            (Needed::Backward, "rule 2: a backward command left before its verdict was durable")
        }
        (Phase::Deliver, _) => (
            Needed::Verdict(Verdict::Completed),
            "persist before send: a delivery left before the verdict was durable",
        ),
        (Phase::Commit, _) if command.one_phase => (
            Needed::Point(RecordKind::Delegated),
            "rule 4: a one-phase commit left before its record was durable",
        ),
        (Phase::Execute, Pattern::ThreePhaseSaga) if transaction.gate() == Gate::Independent => {
            (Needed::Nothing, "")
        }
        (Phase::Commit, _) | (Phase::Execute, Pattern::ThreePhaseSaga) => (
            Needed::Verdict(Verdict::Commit),
            "persist before send: an execution left before the commit was durable",
        ),
        (Phase::Execute, Pattern::Saga) if step != StepKind::Compensatable => (
            Needed::Point(RecordKind::PivotSent),
            "rule 4: the pivot left before its record was durable",
        ),
        (Phase::Execute, Pattern::TwoPhaseSaga) if is_verified(transaction) => (
            Needed::Verified,
            "OV: an execution left before what the verification found was durable",
        ),
        _ => (Needed::Nothing, ""),
    }
}

fn is_verified(transaction: &Transaction) -> bool {
    let immediate = |o: &Operation| o.consistency() == Consistency::Immediate;
    transaction.modifiers().is_some_and(|m| m.verification.is_some())
        || transaction.operations().iter().any(immediate)
}

/// Whether the watermark of a command says that a transaction has finished that has not (rule 14).
pub(crate) fn watermark<'a>(
    open: impl IntoIterator<Item = &'a View>,
    watermark: AcceptSequence,
) -> Result<(), Broken> {
    let is_below = |view: &View| {
        let sequence = view.state.sequence;
        view.is_open && sequence != AcceptSequence::default() && sequence < watermark
    };
    if open.into_iter().any(is_below) {
        return Err("rule 14: a watermark is above an open transaction");
    }
    Ok(())
}

/// Whether an outcome may be told: a record fixes it, and nobody was told another one (rule 1).
pub(crate) fn told(view: Option<&View>, outcome: Outcome) -> Result<(), Broken> {
    let Some(view) = view.filter(|view| view.is_accepted()) else {
        return Err("rule 1: an outcome was told of what was never accepted");
    };
    let delegated = view.state.point_of_no_return == Some(RecordKind::Delegated);
    // An operator gave up on the only participant, whose answer an earlier owner had heard.
    let is_heuristic = delegated && outcome == Outcome::Abandoned && view.exceptions > 0;
    if view.told.is_some_and(|told| told != outcome) && !is_heuristic {
        return Err("rule 1: two outcomes were told");
    }
    let first = view.operations.get(&OperationIndex(0));
    let ended = view.status == Status::Finished(outcome);
    let is_fixed = ended
        || match (outcome, view.verdict) {
            (Outcome::Committed, Some(Verdict::Completed | Verdict::Commit)) => true,
            (Outcome::Aborted, Some(Verdict::Abort)) => true,
            (Outcome::Dispatched, Some(Verdict::Completed)) => true,
            (Outcome::Committed, None) => delegated && first.is_some_and(|s| s.is_executed()),
            (Outcome::Aborted, None) => delegated && first.is_none_or(|s| !s.is_executed()),
            _ => false,
        };
    if is_fixed { Ok(()) } else { Err("rule 1: an outcome was told before a record fixed it") }
}

/// Whether a participant may have carried a phase out, by what is durable (agreement).
pub(crate) fn carried_out(
    view: Option<&View>,
    operation: OperationIndex,
    phase: Phase,
    pattern: Pattern,
    one_phase: bool,
) -> Result<(), Broken> {
    let Some(view) = view.filter(|view| view.is_accepted()) else {
        return Err("something was carried out for what was never accepted");
    };
    let gated = pattern == Pattern::TwoPhaseCommit
        || (pattern == Pattern::ThreePhaseSaga && view.transaction.gate() == Gate::AllValidated);
    match phase {
        Phase::Execute | Phase::Commit if gated && !one_phase => {
            if view.verdict != Some(Verdict::Commit) {
                return Err("agreement: executed without a durable commit");
            }
            if view.operations.iter().any(|(_, s)| s.rejected.contains(&Phase::Validate)) {
                return Err("3PS: executed although a validation had failed");
            }
        }
        Phase::Validate if gated => {}
        phase if phase.is_backward() && !view.verdict.is_some_and(Verdict::is_backward) => {
            return Err("agreement: taken back without a durable backward verdict");
        }
        _ => {}
    }
    let sight = view.operations.get(&operation);
    if matches!(phase, Phase::Execute | Phase::Commit) && sight.is_some_and(|s| s.is_undone()) {
        return Err("hanging: executed after it was taken back");
    }
    Ok(())
}

/// What is wrong, of which transaction and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// Of which transaction, if of one.
    pub tx: Option<TxId>,
    /// What.
    pub what: String,
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
