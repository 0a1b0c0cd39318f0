//! Every single fault of every scenario, and every pair of some; and the loss of a mechanism shows.

use std::collections::BTreeSet;

use dtx_sim::{Mutation, Planned, Scenario, StepFault, explore_faults, replay_faults};

fn named(name: &str) -> Scenario {
    let all = Scenario::all();
    all.into_iter().find(|scenario| scenario.name() == name).expect("a known scenario")
}

#[test]
fn scenarios_cover_every_pattern_and_have_names_of_their_own() {
    let all = Scenario::all();
    let names: BTreeSet<_> = all.iter().map(Scenario::name).collect();
    assert_eq!(names.len(), all.len());
    let shapes: BTreeSet<_> = names.iter().filter_map(|name| name.split('/').next()).collect();
    assert_eq!(shapes.len(), 12, "{shapes:?}");
    for part in [
        "/refused",
        "/cancelled",
        "/no-inquiry",
        "verify-always",
        "approval",
        "delay",
        "immediate",
        "progressive",
        "adaptive",
        "on-attention",
        "/disapproved",
        "/unanswered",
    ] {
        assert!(names.iter().any(|name| name.contains(part)), "no scenario has {part}");
    }
}

#[test]
fn every_single_fault_without_modifiers_is_survived() {
    let mut struck = BTreeSet::new();
    for scenario in Scenario::all() {
        if scenario.name().split('/').count() > 2 {
            continue;
        }
        let explored = explore_faults(&scenario, 1);
        assert!(explored.is_sound(), "{explored:#?}");
        assert!(explored.schedules > explored.steps, "{explored:#?}");
        struck.extend(explored.struck.keys().copied());
    }
    assert_eq!(struck.len(), 9, "a fault was never done: {struck:?}");
}

#[test]
fn every_pair_of_faults_of_a_one_phase_commit_is_survived() {
    let explored = explore_faults(&named("onephase/good"), 2);
    assert!(explored.is_sound(), "{explored:#?}");
    assert!(explored.schedules > 1_000, "{explored:#?}");
}

#[test]
fn without_faults_nothing_is_explored_and_that_is_not_sound() {
    let explored = explore_faults(&named("saga/good"), 0);
    assert_eq!((explored.schedules, explored.failed), (1, 0));
    assert!(!explored.is_sound());
}

#[test]
fn a_run_with_faults_is_the_same_every_time_and_can_be_drawn() {
    let scenario = named("twophasecommit/good");
    let plan = [
        Planned { step: 3, fault: StepFault::CrashCoordinator(0) },
        Planned { step: 7, fault: StepFault::Drop },
    ];
    let (first, second) = (replay_faults(&scenario, &plan), replay_faults(&scenario, &plan));
    assert_eq!(first.trace_hash, second.trace_hash);
    assert!(first.diagram().contains("CrashCoordinator"), "{}", first.diagram());
    assert_ne!(first.trace_hash, replay_faults(&scenario, &[]).trace_hash);
}

/// Rules taken out, and a scenario in which a single fault shows it. The others need several
/// transactions, a participant without an inbox, or a handler that breaks its promise.
const SHOWN: [(Mutation, &str); 13] = [
    (Mutation::BackwardBeforeVerdict, "saga/good/no-retries"),
    (Mutation::StoredDoneAfterUndone, "saga/refused"),
    (Mutation::NoTombstone, "saga/refused"),
    (Mutation::UnsentNotTakenBack, "saga/refused"),
    (Mutation::PivotBeforeRecord, "sagapivot/good"),
    (Mutation::ResumeUnwritten, "fireandforget/good"),
    (Mutation::DeadlineAfterDecision, "fireandforget/good"),
    (Mutation::UnknownWriteIsFailed, "fireandforget/good"),
    (Mutation::KeyNotClaimed, "fireandforget/good"),
    (Mutation::ReplyBeforeRow, "sagapivot/good/no-onestep"),
    (Mutation::ForgottenEarly, "fireandforget/good"),
    (Mutation::NotFenced, "fireandforget/good"),
    (Mutation::PinnedExpires, "threephasesaga/good/fixed"),
];

#[test]
fn a_rule_that_is_taken_out_is_missed_by_a_single_fault() {
    for (mutation, name) in SHOWN {
        let explored = explore_faults(&named(name).with_mutation(mutation), 1);
        assert!(explored.failed > 0, "{mutation:?} was not found in {name}");
        assert!(!explored.is_sound() && !explored.violations.is_empty(), "{explored:#?}");
    }
}
