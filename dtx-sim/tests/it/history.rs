//! The checker of histories judges the simulator's runs as its own checks do, and misses rules that
//! are taken out.

use std::collections::BTreeMap;

use dtx_sim::{
    Mutation, Report, Sim,
    history::{Checker, Finding, Judgement},
};

/// How many seeds are judged.
const SEEDS: u64 = 2_000;

/// Within so many seeds the checker of histories must find that a rule is missing.
const FOUND: [(Mutation, u64); 4] = [
    (Mutation::BackwardBeforeVerdict, 20),
    (Mutation::PivotBeforeRecord, 50),
    (Mutation::ResumeUnwritten, 50),
    (Mutation::ReplyBeforeRow, 200),
];

fn judged(report: &Report) -> Judgement {
    let mut checker = Checker::new();
    report.journal.iter().for_each(|happening| checker.see(happening));
    checker.finish()
}

#[test]
fn sound_runs_are_valid_histories() {
    let explorer = Sim::explore(0..SEEDS);
    let mut findings = BTreeMap::<String, u64>::new();
    for seed in 0..SEEDS {
        let report = explorer.replay(seed);
        let judged = judged(&report);
        assert_eq!(report.violations, [], "seed {seed}");
        assert_ne!(judged.finding, Finding::Invalid, "seed {seed}: {:#?}", judged.breaches);
        *findings.entry(judged.finding.to_string()).or_default() += 1;
    }
    // A run longer than a journal has no end, and one without an accept covers nothing.
    assert!(findings["valid"] > SEEDS * 9 / 10, "{findings:?}");
}

#[test]
fn rules_that_are_taken_out_are_missed() {
    for (mutation, seeds) in FOUND {
        let explorer = Sim::explore(0..seeds).mutant(mutation);
        let is_found = |seed| judged(&explorer.replay(seed)).finding == Finding::Invalid;
        assert!((0..seeds).any(is_found), "{mutation:?} was not found in {seeds} seeds");
    }
}
