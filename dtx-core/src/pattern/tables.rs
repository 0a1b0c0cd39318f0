//! Which table a transaction runs by.

use crate::{
    pattern::{
        Pattern, Phase, critical_eventual, fire_and_forget, saga, table::Table, three_phase_saga,
        two_phase_commit, two_phase_saga,
    },
    transaction::{Consistency, Gate, Operation, StepKind, Transaction},
};

/// All tables.
pub const ALL: [&Table<'static>; 7] = [
    &fire_and_forget::TABLE,
    &saga::TABLE,
    &critical_eventual::TABLE,
    &two_phase_saga::TABLE,
    &three_phase_saga::TABLE,
    &three_phase_saga::INDEPENDENT,
    &two_phase_commit::TABLE,
];

/// The table that a transaction runs by.
pub fn of(transaction: &Transaction) -> &'static Table<'static> {
    match (transaction.pattern(), transaction.gate()) {
        (Pattern::FireAndForget, _) => &fire_and_forget::TABLE,
        (Pattern::Saga, _) => &saga::TABLE,
        (Pattern::CriticalEventual, _) => &critical_eventual::TABLE,
        (Pattern::TwoPhaseSaga, _) => &two_phase_saga::TABLE,
        (Pattern::ThreePhaseSaga, Gate::AllValidated) => &three_phase_saga::TABLE,
        (Pattern::ThreePhaseSaga, Gate::Independent) => &three_phase_saga::INDEPENDENT,
        (Pattern::TwoPhaseCommit, _) => &two_phase_commit::TABLE,
    }
}

/// The phases that an operation's participant may be asked for.
pub fn phases_of(
    transaction: &Transaction,
    operation: &Operation,
) -> impl Iterator<Item = Phase> + use<> {
    let table = of(transaction);
    let critical = operation.consistency().is_critical();
    let forward = if critical { table.phases } else { &[Phase::Deliver] };
    let compensatable = operation.step() == StepKind::Compensatable;
    let verified = transaction.modifiers().is_some_and(|m| m.verification.is_some())
        || operation.consistency() == Consistency::Immediate;
    let forward = forward.iter().copied();
    forward
        .chain(table.drop.filter(|_| critical))
        .chain(table.reverse.filter(|_| critical && compensatable))
        .chain((critical && verified).then_some(Phase::Status))
}
