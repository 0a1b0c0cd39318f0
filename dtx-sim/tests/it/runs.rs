//! Runs: sound, long enough, and the same again.

use dtx_sim::{Fault, Faults, KeptSeed, Sim};

/// Seeds of the run that every change goes through; more are run by the program.
const SEEDS: u64 = 2_000;

#[test]
fn seeds_are_sound_and_long_enough() {
    let summary = Sim::explore(0..SEEDS).run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert_eq!(summary.violations, 0);
    assert_eq!(summary.seeds, SEEDS);
    assert!(summary.median_events >= 500, "{} events at the median", summary.median_events);
}

#[test]
fn seeds_that_were_not_sound_once_are_sound() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("there is a folder of seeds") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a file");
        let kept: KeptSeed = serde_json::from_str(&text).expect("a kept seed");
        let report = kept.run();
        assert!(report.is_sound(), "{kept:?}: {:#?}", report.violations);
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn every_kind_of_trouble_and_every_end_is_reached() {
    let summary = Sim::explore(0..SEEDS).run();
    // Lost regions need regions: regions.rs.
    let rest = summary.sometimes.into_iter().filter(|(name, _)| *name != "region_losses");
    for (name, runs) in rest {
        assert!(runs * 1_000 > SEEDS, "{name} happened in {runs} of {SEEDS} seeds");
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..1_000 {
        let (first, second) = (Sim::new(seed).run(), Sim::new(seed).run());
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.counters, second.counters, "seed {seed}");
    }
    assert_ne!(Sim::new(1).run().trace_hash, Sim::new(2).run().trace_hash);
}

#[test]
fn a_replay_is_the_same_run_with_a_diagram() {
    let (run, again) = (Sim::new(3).run(), Sim::explore(3..4).faults(Faults::all()).replay(3));
    assert_eq!(run.trace_hash, again.trace_hash);
    assert!(run.journal.is_empty());
    assert!(again.diagram().starts_with("sequenceDiagram\n"));
    assert!(again.diagram().lines().count() > 100);
}

#[test]
fn threads_do_not_change_the_counts() {
    let mut events = 0;
    for seed in 40..80 {
        events += Sim::new(seed).run().counters.events;
    }
    let explored = Sim::explore(40..80).faults(Faults::all()).run();
    assert_eq!(explored.counters.events, events);
}

#[test]
fn a_store_that_loses_what_it_acknowledged_is_found_out() {
    let summary = Sim::explore(0..50).faults(Faults::none().with(Fault::Volatile)).run();
    assert!(summary.failed > 25, "{} of 50 seeds were found", summary.failed);
}

#[test]
fn without_faults_nothing_goes_wrong() {
    let summary = Sim::explore(0..100).faults(Faults::none()).run();
    let counters = &summary.counters;
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert_eq!((counters.lost, counters.duplicates, counters.crashes), (0, 0, 0));
    assert_eq!((counters.partitions, counters.outages, counters.store_faults), (0, 0, 0));
    assert_eq!((counters.stalls, counters.poisoned, counters.clock_steps), (0, 0, 0));
}

#[test]
fn a_run_is_kept_to_its_pattern() {
    use dtx_core::pattern::Pattern;
    for pattern in Pattern::ALL {
        let summary = Sim::explore(0..40).pattern(pattern).run();
        assert_eq!(summary.failed, 0, "{pattern}: {:#?}", summary.first_violations);
        let dispatched = summary.counters.dispatched > 0;
        assert_eq!(dispatched, pattern == Pattern::FireAndForget, "{pattern}");
    }
}

#[test]
fn every_node_may_crash_at_every_event() {
    let summary = Sim::explore(0..1).faults(Faults::none()).crash_everywhere().run();
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert!(summary.runs > 1_000, "{} runs", summary.runs);
}
