//! What must hold of every transaction: one pure function each.

use dtx_core::{
    ids::OperationIndex,
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::{Gate, StepKind},
};

use super::{
    line::{Said, What},
    past::Past,
};

/// A place of a history at which a rule is asked.
#[derive(Clone, Copy, Debug)]
pub enum Moment<'a> {
    /// This happens next.
    At(&'a What),
    /// The history has ended.
    End {
        /// From when on nothing was wrong any more, in microseconds.
        healed_us: u64,
        /// How long after that everything must have ended, in microseconds.
        settle_us: u64,
        /// An operator decided something in this history.
        moved: bool,
    },
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

/// The rules about transactions.
#[rustfmt::skip]
pub const RULES: [Rule; 16] = [
    Rule { name: "one-decision", says: "a verdict never changes, and whoever looks sees the same one", is_broken: one_decision },
    Rule { name: "one-outcome", says: "one outcome is told, and a record fixes it", is_broken: one_outcome },
    Rule { name: "fencing", says: "no write and no work under an older lease takes hold", is_broken: fencing },
    Rule { name: "persist-before-send", says: "what a command depends on is durable when it leaves", is_broken: persist_before_send },
    Rule { name: "row-before-reply", says: "a reply says what its participant durably keeps", is_broken: row_before_reply },
    Rule { name: "votes", says: "a commit is decided only when every operation has said yes", is_broken: votes },
    Rule { name: "point-of-no-return", says: "after the pivot has left only its own no turns the transaction", is_broken: point_of_no_return },
    Rule { name: "agreement", says: "nothing is executed or taken back against the verdict", is_broken: agreement },
    Rule { name: "validity", says: "if a gate was refused, nothing behind it is executed", is_broken: validity },
    Rule { name: "once", says: "an operation takes effect once at the most, and is reversed once at the most", is_broken: once },
    Rule { name: "hanging", says: "what was taken back is never executed afterwards", is_broken: hanging },
    Rule { name: "reverse-order", says: "an operation is compensated after those that depend on it", is_broken: reverse_order },
    Rule { name: "way-back", says: "going back reaches every operation but those that said no at first", is_broken: way_back },
    Rule { name: "atomicity", says: "everything that the outcome depends on stands, or nothing does", is_broken: atomicity },
    Rule { name: "nothing-lost", says: "what was acknowledged is there at the end", is_broken: nothing_lost },
    Rule { name: "bounded-end", says: "what was accepted ends in time, or is listed as waiting for an operator", is_broken: bounded_end },
];

fn one_decision(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(what) = moment else { return false };
    let sighted = match what {
        What::Landed { facts, .. } | What::Seen { facts } | What::FinalRecord { facts } => {
            facts.verdict
        }
        What::NotLanded { verdict, .. } => *verdict,
        // What nobody decided may not be told to anybody.
        What::Inquired { verdict: Some(verdict) } => return past.verdict != Some(*verdict),
        _ => None,
    };
    sighted.is_some_and(|sighted| past.verdict.is_some_and(|before| before != sighted))
}

fn one_outcome(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Told { outcome }) = moment else { return false };
    // An operator gave up on the only participant, whose answer an earlier owner had heard.
    let given_up = *outcome == Outcome::Abandoned && past.is_delegated() && past.exceptions > 0;
    if past.told.is_some_and(|told| told != *outcome) && !given_up {
        return true;
    }
    let is_ended = past.status == Some(Status::Finished(*outcome));
    let executed = past.is_executed(OperationIndex(0));
    let is_fixed = match (outcome, past.verdict) {
        (Outcome::Committed, Some(Verdict::Completed | Verdict::Commit))
        | (Outcome::Aborted, Some(Verdict::Abort))
        | (Outcome::Dispatched, Some(Verdict::Completed)) => true,
        (Outcome::Committed, None) => past.is_delegated() && executed,
        (Outcome::Aborted, None) => past.is_delegated() && !executed,
        _ => false,
    };
    !(is_ended || is_fixed)
}

fn fencing(past: &Past, moment: Moment<'_>) -> bool {
    match moment {
        Moment::At(What::Landed { facts, epoch: Some(epoch), .. }) => {
            facts.version > past.version && past.epochs.last().is_some_and(|seen| seen > epoch)
        }
        Moment::At(What::Kept { operation, phase, answer, epoch: Some(epoch), seen: false }) => {
            let of = past.of(*operation);
            let is_new = answer.is_done() && !of.done.contains(phase);
            is_new && *epoch < of.epoch
        }
        _ => false,
    }
}

fn persist_before_send(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Command { operation, phase, epoch, .. }) = moment else { return false };
    let Some(plan) = past.plan.as_ref().filter(|_| past.is_accepted()) else { return true };
    if !past.epochs.contains(epoch) {
        return true;
    }
    if phase.is_backward() {
        return !past.is_backward();
    }
    let step = past.planned(*operation).map(|planned| planned.step);
    match (phase, plan.pattern) {
        (Phase::Deliver, _) => past.verdict != Some(Verdict::Completed),
        (Phase::Commit, _) => past.verdict != Some(Verdict::Commit) && !past.is_delegated(),
        (Phase::Execute, Pattern::ThreePhaseSaga) if plan.gate == Gate::AllValidated => {
            past.verdict != Some(Verdict::Commit)
        }
        (Phase::Execute, Pattern::Saga) if step != Some(StepKind::Compensatable) => {
            past.point != Some(RecordKind::PivotSent)
        }
        (Phase::Execute, Pattern::TwoPhaseSaga) if plan.verifies => past.verified != Some(true),
        _ => false,
    }
}

fn row_before_reply(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Reply { operation, phase, answer, .. }) = moment else { return false };
    let keeps = past.planned(*operation).is_some_and(|planned| planned.inbox);
    if !keeps || *phase == Phase::Status {
        return false;
    }
    match answer {
        Said::Rejected if *phase != Phase::Deliver => !past.has_rejected(*operation, *phase),
        said if said.is_done() => !past.has_done(*operation, *phase),
        _ => false,
    }
}

fn votes(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Landed { facts, .. }) = moment else { return false };
    let Some(plan) = &past.plan else { return false };
    let excepted = past.exceptions.max(facts.exceptions) > 0;
    // A one-phase commit has no votes: its participant's answer decides.
    if facts.version <= past.version || past.verdict.is_some() || past.is_delegated() || excepted {
        return false;
    }
    let mut asked = past.kept_operations().filter(|(_, planned)| planned.critical);
    match (facts.verdict, plan.pattern) {
        (Some(Verdict::Commit), Pattern::TwoPhaseCommit) => {
            asked.any(|(operation, _)| !past.has_done(operation, Phase::Prepare))
        }
        (Some(Verdict::Commit), _) => {
            asked.any(|(operation, _)| !past.has_done(operation, Phase::Validate))
        }
        (Some(Verdict::Completed), Pattern::FireAndForget) => false,
        (Some(Verdict::Completed), _) => asked.any(|(operation, _)| !past.stands(operation)),
        _ => false,
    }
}

fn point_of_no_return(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Landed { facts, .. }) = moment else { return false };
    let turns = facts.verdict.is_some_and(Verdict::is_backward) && past.verdict.is_none();
    if !turns || past.exceptions.max(facts.exceptions) > 0 {
        return false;
    }
    match past.point {
        Some(RecordKind::PivotSent) => past.kept_operations().any(|(operation, planned)| {
            let is_pivot = planned.step == StepKind::Pivot;
            is_pivot && !past.has_rejected(operation, Phase::Execute)
        }),
        Some(RecordKind::Delegated) => past.is_executed(OperationIndex(0)),
        _ => false,
    }
}

fn agreement(past: &Past, moment: Moment<'_>) -> bool {
    let goes = match moment {
        Moment::At(What::Kept { operation, phase, answer, .. })
            if answer.is_done() && !past.has_done(*operation, *phase) =>
        {
            match phase {
                Phase::Execute | Phase::Commit => Some(true),
                phase if phase.is_backward() => Some(false),
                _ => return !past.is_accepted(),
            }
        }
        Moment::At(What::Effect { reversal, .. }) => Some(!reversal),
        _ => None,
    };
    match goes {
        Some(true) if past.is_gated() && !past.is_delegated() => {
            past.verdict != Some(Verdict::Commit)
        }
        Some(true) => !past.is_accepted(),
        Some(false) => !past.is_backward(),
        None => false,
    }
}

fn validity(past: &Past, moment: Moment<'_>) -> bool {
    let executes = match moment {
        Moment::At(What::Kept { operation, phase, answer, .. }) => {
            matches!(phase, Phase::Execute | Phase::Commit)
                && answer.is_done()
                && !past.has_done(*operation, *phase)
        }
        Moment::At(What::Effect { reversal, .. }) => !reversal,
        _ => false,
    };
    let Some(plan) = past.plan.as_ref().filter(|_| executes && past.exceptions == 0) else {
        return false;
    };
    let gates: &[Phase] = match plan.pattern {
        Pattern::ThreePhaseSaga if plan.gate == Gate::AllValidated => {
            &[Phase::Reserve, Phase::Validate]
        }
        Pattern::TwoPhaseSaga => &[Phase::Prepare],
        Pattern::TwoPhaseCommit if !past.is_delegated() => &[Phase::Prepare],
        _ => return false,
    };
    past.kept_operations()
        .any(|(operation, _)| gates.iter().any(|gate| past.has_rejected(operation, *gate)))
}

fn once(past: &Past, moment: Moment<'_>) -> bool {
    match moment {
        Moment::At(What::Effect { operation, reversal: false }) => past.of(*operation).executed > 0,
        Moment::At(What::Effect { operation, reversal: true }) => {
            let of = past.of(*operation);
            // The effect may have landed right before a kill, and only its answer was found.
            of.reversed > 0 || (of.executed == 0 && !past.is_executed(*operation))
        }
        Moment::At(_) => false,
        Moment::End { .. } => past.operations.values().any(|of| {
            of.final_executed > 1 || of.final_reversed > 1 || of.final_reversed > of.final_executed
        }),
    }
}

fn hanging(past: &Past, moment: Moment<'_>) -> bool {
    match moment {
        Moment::At(What::Kept { operation, phase, answer, seen: false, .. }) => {
            let executes = matches!(phase, Phase::Execute | Phase::Commit) && answer.is_done();
            executes && !past.has_done(*operation, *phase) && past.is_undone(*operation)
        }
        // One write may bring an execute, its reversal and both effects, and the answers stand
        // before the effects. An execute that came late was found at its answer.
        Moment::At(What::Effect { operation, reversal: false }) => {
            past.is_undone(*operation) && !past.is_executed(*operation)
        }
        _ => false,
    }
}

fn reverse_order(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::At(What::Kept { operation, phase: Phase::Compensate, answer, seen: false, .. }) =
        moment
    else {
        return false;
    };
    let is_new = answer.is_done() && !past.has_done(*operation, Phase::Compensate);
    is_new
        && past.kept_operations().any(|(dependent, planned)| {
            planned.after.contains(operation)
                && past.is_executed(dependent)
                && !past.is_undone(dependent)
        })
}

fn way_back(past: &Past, moment: Moment<'_>) -> bool {
    let ended =
        matches!(past.status, Some(Status::Finished(Outcome::Aborted | Outcome::Compensated)));
    let ended = ended && past.is_accepted() && past.is_backward();
    if !matches!(moment, Moment::End { .. }) || !ended || past.is_excepted() {
        return false;
    }
    let first = past.first_phase();
    past.kept_operations().any(|(operation, planned)| {
        let goes_back = planned.critical && planned.step == StepKind::Compensatable;
        let of = past.of(operation);
        goes_back && !past.is_undone(operation) && !of.rejected.contains(&first) && !of.read_only
    })
}

fn atomicity(past: &Past, moment: Moment<'_>) -> bool {
    if !matches!(moment, Moment::End { .. }) || past.is_excepted() {
        return false;
    }
    let Some(Status::Finished(outcome)) = past.status else { return false };
    let stands = |operation: &OperationIndex| {
        let of = past.of(*operation);
        past.stands(*operation) && (of.executed == 0 || of.effect_stands())
    };
    let mut kept = past.kept_operations();
    match outcome {
        Outcome::Committed | Outcome::Dispatched => {
            let missing = |critical: bool| {
                let those = past.kept_operations().filter(|(_, of)| of.critical == critical);
                those.filter(|(operation, _)| !stands(operation)).count()
            };
            missing(true) > 0 || missing(false) > usize::from(past.dead_letters)
        }
        Outcome::Aborted => kept
            .any(|(operation, _)| past.is_executed(operation) || past.of(operation).executed > 0),
        Outcome::Compensated => kept.any(|(operation, _)| {
            let of = past.of(operation);
            (past.is_executed(operation) && !past.is_undone(operation)) || of.effect_stands()
        }),
        Outcome::Abandoned => false,
    }
}

fn nothing_lost(past: &Past, moment: Moment<'_>) -> bool {
    if !matches!(moment, Moment::End { .. }) {
        return false;
    }
    let is_known = past.acknowledged || past.is_accepted() || past.told.is_some();
    let Some(facts) = &past.final_facts else { return is_known };
    let decided = past.verdict.is_some() && facts.verdict.is_some();
    let effects = past
        .operations
        .values()
        .any(|of| of.final_executed < of.executed || of.final_reversed < of.reversed);
    let other_end = match (past.told, facts.status) {
        (Some(told), Status::Finished(outcome)) => told != outcome && !past.is_excepted(),
        _ => false,
    };
    facts.version < past.version
        || (decided && facts.verdict != past.verdict)
        || (past.verdict.is_some() && facts.verdict.is_none())
        || effects
        || other_end
}

fn bounded_end(past: &Past, moment: Moment<'_>) -> bool {
    let Moment::End { healed_us, settle_us, moved } = moment else { return false };
    if !past.is_accepted() {
        return false;
    }
    match past.ended_us {
        Some(ended) => ended > healed_us.max(past.accepted_us).saturating_add(settle_us),
        None => past.status != Some(Status::NeedsAttention) && !moved,
    }
}
