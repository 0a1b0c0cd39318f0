//! The checker of histories judges the simulator's runs as its own checks do, and finds that rules
//! are taken out.

use std::collections::BTreeMap;

use dtx_sim::{
    Mutation, Report, Sim,
    history::{CheckSettings, Checker, Finding, Judgement},
};

/// How many seeds are judged.
const SEEDS: u64 = 200;

/// Within so many seeds the checker of histories must find, by one of these rules, that a rule of
/// the protocol is missing.
const FOUND: [(Mutation, u64, &[&str]); 8] = [
    (Mutation::BackwardBeforeVerdict, 20, &["persist-before-send"]),
    (Mutation::PivotBeforeRecord, 50, &["persist-before-send"]),
    (Mutation::ResumeUnwritten, 50, &["persist-before-send"]),
    (Mutation::ReplyBeforeRow, 200, &["row-before-reply"]),
    (Mutation::UnsentNotTakenBack, 100, &["way-back"]),
    (Mutation::PinnedExpires, 100, &["agreement", "pinned", "atomicity"]),
    (Mutation::NoAfterDecisionReleases, 400, &["persist-before-send", "agreement"]),
    (Mutation::NoTombstone, 400, &["way-back", "agreement", "atomicity"]),
];

fn judged(report: &Report) -> Judgement {
    let mut checker = Checker::new(CheckSettings::default());
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
    // A run in which nothing took effect tests nothing.
    assert!(findings["valid"] > SEEDS * 9 / 10, "{findings:?}");
}

#[test]
fn rules_that_are_taken_out_are_missed() {
    for (mutation, seeds, rules) in FOUND {
        let explorer = Sim::explore(0..seeds).mutant(mutation);
        let is_found = |seed| {
            let judged = judged(&explorer.replay(seed));
            judged.breaches.iter().any(|breach| rules.contains(&breach.rule))
        };
        assert!((0..seeds).any(is_found), "{mutation:?} was not found in {seeds} seeds");
    }
}
