//! What must hold of every history: one pure function each.

use dtx_core::{
    answer::NotDone,
    ids::OperationIndex,
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::{Gate, StepKind},
};

use super::past::Past;
use crate::journal::{Planned, What};

/// A place of a history at which a rule is asked.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// This happens next.
    At(&'a What),
    /// The history has ended.
    End,
}

/// Something that must hold.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    /// Whether it is broken at that moment, by what was known before.
    pub is_broken: fn(&Past, Moment<'_>) -> bool,
}

/// All rules.
#[rustfmt::skip]
pub const RULES: [Rule; 10] = [
    Rule { name: "one-decision", says: "a verdict never changes", is_broken: one_decision },
    Rule { name: "one-outcome", says: "one outcome is told, and a record fixes it", is_broken: one_outcome },
    Rule { name: "fencing", says: "no write under an older lease lands", is_broken: fencing },
    Rule { name: "persist-before-send", says: "what a command depends on is durable when it leaves", is_broken: persist_before_send },
    Rule { name: "row-before-reply", says: "a reply says what its participant durably keeps", is_broken: row_before_reply },
    Rule { name: "votes", says: "a commit is decided only when every operation has said yes", is_broken: votes },
    Rule { name: "agreement", says: "nothing is executed or taken back against the verdict", is_broken: agreement },
    Rule { name: "hanging", says: "what was taken back is never executed afterwards", is_broken: hanging },
    Rule { name: "reverse-order", says: "an operation is compensated after those that depend on it", is_broken: reverse_order },
    Rule { name: "bounded-end", says: "what was accepted ends, or asks for attention", is_broken: bounded_end },
];

fn one_decision(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Landed { version, verdict: Some(after), .. }) = moment else {
        return false;
    };
    *version > past.version && past.verdict.is_some_and(|before| before != *after)
}

fn one_outcome(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Told { outcome }) = moment else { return false };
    if past.told.is_some_and(|told| told != *outcome) {
        return true;
    }
    let is_ended = past.status == Some(Status::Finished(*outcome));
    let delegated = past.point_of_no_return == Some(RecordKind::Delegated);
    let executed = past.is_executed(OperationIndex(0));
    let is_fixed = match (outcome, past.verdict) {
        (Outcome::Committed, Some(Verdict::Completed | Verdict::Commit))
        | (Outcome::Aborted, Some(Verdict::Abort))
        | (Outcome::Dispatched, Some(Verdict::Completed)) => true,
        (Outcome::Committed, None) => delegated && executed,
        (Outcome::Aborted, None) => delegated && !executed,
        _ => false,
    };
    !(is_ended || is_fixed)
}

fn fencing(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Landed { version, epoch: Some(epoch), .. }) = moment else {
        return false;
    };
    *version > past.version && past.epochs.last().is_some_and(|seen| seen > epoch)
}

fn persist_before_send(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Command { operation, phase, epoch, .. }) = moment else { return false };
    let Some(plan) = past.plan.as_ref().filter(|_| past.is_accepted()) else { return true };
    if !past.epochs.contains(epoch) {
        return true;
    }
    if phase.is_backward() {
        return !past.verdict.is_some_and(Verdict::is_backward);
    }
    let step = plan.operations.get(usize::from(operation.0)).map(|planned| planned.step);
    match (phase, plan.pattern) {
        (Phase::Deliver, _) => past.verdict != Some(Verdict::Completed),
        (Phase::Commit, _) => {
            past.verdict != Some(Verdict::Commit)
                && past.point_of_no_return != Some(RecordKind::Delegated)
        }
        (Phase::Execute, Pattern::ThreePhaseSaga) if plan.gate == Gate::AllValidated => {
            past.verdict != Some(Verdict::Commit)
        }
        (Phase::Execute, Pattern::Saga) if step != Some(StepKind::Compensatable) => {
            past.point_of_no_return != Some(RecordKind::PivotSent)
        }
        _ => false,
    }
}

fn row_before_reply(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Reply { operation, phase, answer }) = moment else { return false };
    let keeps = planned(past, *operation).is_some_and(|planned| planned.inbox);
    if !keeps || *phase == Phase::Status {
        return false;
    }
    match answer {
        Ok(_) => !past.has_done(*operation, *phase),
        Err(NotDone::Rejected(_)) if *phase != Phase::Deliver => {
            !past.has_rejected(*operation, *phase)
        }
        Err(_) => false,
    }
}

fn votes(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Landed { version, verdict: Some(Verdict::Commit), .. }) = moment else {
        return false;
    };
    let Some(plan) = past.plan.as_ref().filter(|_| past.is_gated()) else { return false };
    // A one-phase commit has no votes: its participant's answer decides.
    let delegated = past.point_of_no_return == Some(RecordKind::Delegated);
    if *version <= past.version || past.verdict.is_some() || delegated {
        return false;
    }
    let asked = match plan.pattern {
        Pattern::TwoPhaseCommit => Phase::Prepare,
        _ => Phase::Validate,
    };
    (0u16..).zip(&plan.operations).any(|(index, planned)| {
        let operation = OperationIndex(index);
        planned.inbox && planned.critical && !past.has_done(operation, asked)
    })
}

fn agreement(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Kept { phase, answer: Ok(_), .. }) = moment else { return false };
    let delegated = past.point_of_no_return == Some(RecordKind::Delegated);
    match phase {
        Phase::Execute | Phase::Commit if past.is_gated() && !delegated => {
            past.verdict != Some(Verdict::Commit)
        }
        phase if phase.is_backward() => !past.verdict.is_some_and(Verdict::is_backward),
        _ => !past.is_accepted(),
    }
}

fn hanging(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Kept { operation, phase, answer: Ok(_) }) = moment else { return false };
    matches!(phase, Phase::Execute | Phase::Commit) && past.is_undone(*operation)
}

fn reverse_order(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Kept { operation, phase: Phase::Compensate, answer: Ok(_) }) = moment
    else {
        return false;
    };
    let Some(plan) = &past.plan else { return false };
    (0u16..).zip(&plan.operations).any(|(index, planned)| {
        let dependent = OperationIndex(index);
        planned.inbox
            && planned.after.contains(operation)
            && past.is_executed(dependent)
            && !past.is_undone(dependent)
    })
}

fn bounded_end(past: &Past, moment: Moment<'_>) -> bool {
    let is_ended = matches!(past.status, Some(Status::Finished(_) | Status::NeedsAttention));
    matches!(moment, Moment::End) && past.is_accepted() && !is_ended && past.told.is_none()
}

fn planned(past: &Past, operation: OperationIndex) -> Option<&Planned> {
    past.plan.as_ref()?.operations.get(usize::from(operation.0))
}
