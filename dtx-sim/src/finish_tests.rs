//! Ends that are wrong, and the same made right.

use dtx_core::transaction::{Consistency, OperationDraft};

use super::*;

fn transaction(pattern: Pattern, levels: &[Consistency]) -> Transaction {
    let draft = |index: usize| OperationDraft::new("svc", "work").name(format!("o{index}"));
    let operations = levels.iter().enumerate();
    operations
        .fold(Transaction::builder(pattern), |builder, (index, level)| {
            builder.operation(draft(index).consistency(*level))
        })
        .build()
        .expect("a valid definition")
}

/// What is wrong when the operations took effect and were reversed so often.
fn found(transaction: &Transaction, outcome: Outcome, effects: &[(u64, u64)]) -> Option<String> {
    with_dead_letters(transaction, outcome, effects, 0)
}

fn with_dead_letters(
    transaction: &Transaction,
    outcome: Outcome,
    effects: &[(u64, u64)],
    dead_letters: u16,
) -> Option<String> {
    let effect = |(index, of): (usize, &(u64, u64))| {
        (OperationIndex(index as u16), Effects { executed: of.0, reversed: of.1 })
    };
    let effects = &effects.iter().enumerate().map(effect).collect();
    let skipped = Vec::new();
    judge(&Case { transaction, outcome, effects, dead_letters, skipped, is_exact: true })
}

#[test]
fn all_or_nothing_takes_effect() {
    let two = transaction(Pattern::Saga, &[Consistency::Strong; 2]);
    assert_eq!(found(&two, Outcome::Committed, &[(1, 0), (1, 0)]), None);
    assert_eq!(found(&two, Outcome::Aborted, &[(0, 0), (0, 0)]), None);
    assert_eq!(found(&two, Outcome::Compensated, &[(1, 1), (0, 0)]), None);
    for (outcome, effects) in [
        (Outcome::Committed, [(1, 0), (0, 0)]),
        (Outcome::Committed, [(1, 0), (1, 1)]),
        (Outcome::Aborted, [(1, 0), (0, 0)]),
        (Outcome::Aborted, [(1, 1), (0, 0)]),
        (Outcome::Compensated, [(1, 1), (1, 0)]),
        (Outcome::Compensated, [(0, 0), (0, 0)]),
    ] {
        assert!(found(&two, outcome, &effects).is_some(), "{outcome} {effects:?}");
    }
}

#[test]
fn nothing_takes_effect_twice_and_nothing_is_reversed_that_was_not_there() {
    let one = transaction(Pattern::Saga, &[Consistency::Strong]);
    for (outcome, effects) in [
        (Outcome::Committed, [(2, 0)]),
        (Outcome::Committed, [(2, 1)]),
        (Outcome::Compensated, [(2, 2)]),
        (Outcome::Aborted, [(0, 1)]),
    ] {
        assert!(found(&one, outcome, &effects).is_some(), "{outcome} {effects:?}");
    }
}

#[test]
fn what_was_not_delivered_is_in_the_dead_letters() {
    let levels = [Consistency::Strong, Consistency::Eventual];
    let mixed = transaction(Pattern::CriticalEventual, &levels);
    assert_eq!(found(&mixed, Outcome::Committed, &[(1, 0), (1, 0)]), None);
    assert!(found(&mixed, Outcome::Committed, &[(1, 0), (0, 0)]).is_some());
    assert_eq!(with_dead_letters(&mixed, Outcome::Committed, &[(1, 0), (0, 0)], 1), None);
    assert!(with_dead_letters(&mixed, Outcome::Committed, &[(0, 0), (0, 0)], 2).is_some());
}
