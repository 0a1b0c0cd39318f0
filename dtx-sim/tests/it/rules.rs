//! Each of the fourteen rules of design section 3 is taken out from outside of the engine, and the
//! simulator finds the loss within so many seeds. The same seeds are sound with the rule.

use std::collections::BTreeSet;

use dtx_sim::{Mutation, Sim};

/// Within how many seeds the loss must be found: some ten times the rate at which it was found
/// when this was written. The first seed that found it then is at the end of each line.
#[rustfmt::skip]
const SEEDS: [(Mutation, u64); 19] = [
    (Mutation::VerdictConflictIgnored, 3_000), // 350
    (Mutation::BackwardBeforeVerdict, 20), // 0
    (Mutation::StoredDoneAfterUndone, 200), // 2
    (Mutation::NoTombstone, 500), // 50
    (Mutation::UnsentNotTakenBack, 200), // 8
    (Mutation::PivotBeforeRecord, 50), // 1
    (Mutation::UnknownIsNo, 200), // 20
    (Mutation::ResumeUnwritten, 50), // 0
    (Mutation::DeadlineAfterDecision, 20), // 0
    (Mutation::SignalOverAnything, 1_500), // 106
    (Mutation::UnknownWriteIsFailed, 100), // 2
    (Mutation::KeyNotClaimed, 1_000), // 107
    (Mutation::NoAfterDecisionReleases, 1_500), // 114
    (Mutation::ReplyBeforeRow, 200), // 6
    (Mutation::ClaimTakenOver, 500), // 28
    (Mutation::ForeignNotDeclared, 200), // 14
    (Mutation::ForgottenEarly, 100), // 1
    (Mutation::NotFenced, 300), // 28
    (Mutation::PinnedExpires, 200), // 6
];

/// How many seeds are run at once.
const CHUNK: usize = 20;

/// The first seed that shows the loss.
fn first_found(mutation: Mutation, seeds: u64) -> Option<u64> {
    let chunk = |first: u64| Sim::explore(first..first + CHUNK as u64).mutant(mutation).run();
    let failing = |first| chunk(first).failing_seeds.first().copied();
    (0..seeds).step_by(CHUNK).find_map(failing)
}

#[test]
fn every_rule_that_is_taken_out_is_missed() {
    for (mutation, seeds) in SEEDS {
        let found = first_found(mutation, seeds);
        assert!(found.is_some(), "{mutation:?} was not found in {seeds} seeds");
    }
}

#[test]
fn with_all_rules_the_same_seeds_are_sound() {
    let most = SEEDS.iter().map(|(_, seeds)| *seeds).max().expect("there are some");
    let summary = Sim::explore(0..most).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
}

#[test]
fn no_rule_is_left_out() {
    let rules: BTreeSet<u8> = SEEDS.iter().filter_map(|(mutation, _)| mutation.rule()).collect();
    assert_eq!(rules, (1..=14).collect());
    let mutations: BTreeSet<_> = SEEDS.iter().map(|(mutation, _)| *mutation).collect();
    assert_eq!(mutations, Mutation::ALL.into_iter().collect());
}

#[test]
fn a_loss_is_named_in_the_summary() {
    let summary = Sim::explore(0..20).mutant(Mutation::BackwardBeforeVerdict).run();
    assert!(summary.failed > 0 && summary.violations >= summary.failed);
    assert!(summary.first_violations[0].contains("rule "), "{:?}", summary.first_violations);
    assert_eq!(
        summary.first_violations[0].split(':').next(),
        Some(format!("seed {}", summary.failing_seeds[0]).as_str())
    );
}
