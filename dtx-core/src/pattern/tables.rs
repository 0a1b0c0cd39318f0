//! Which table a transaction runs by.

use crate::{
    pattern::{
        Pattern, critical_eventual, fire_and_forget, saga, table::Table, three_phase_saga,
        two_phase_commit, two_phase_saga,
    },
    transaction::{Gate, Transaction},
};

/// All tables.
pub const ALL: [&Table; 7] = [
    &fire_and_forget::TABLE,
    &saga::TABLE,
    &critical_eventual::TABLE,
    &two_phase_saga::TABLE,
    &three_phase_saga::TABLE,
    &three_phase_saga::INDEPENDENT,
    &two_phase_commit::TABLE,
];

/// The table that a transaction runs by.
pub fn of(transaction: &Transaction) -> &'static Table {
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
