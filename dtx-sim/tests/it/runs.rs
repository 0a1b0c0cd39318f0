//! Runs: sound, long enough, and the same again.

use dtx_sim::{Sim, explore, replay};

/// Seeds of the run that every change goes through; more are run by the program.
const SEEDS: u64 = 2_000;

#[test]
fn seeds_are_sound_and_long_enough() {
    let summary = explore(0, SEEDS);
    assert_eq!(summary.failed, 0, "{:#?}", summary.first_violations);
    assert_eq!(summary.violations, 0);
    assert_eq!(summary.seeds, SEEDS);
    assert!(summary.events_median >= 500, "{} events at the median", summary.events_median);
}

#[test]
fn seeds_that_were_not_sound_once_are_sound() {
    let lines = include_str!("../../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let seed = line.split(' ').next().and_then(|word| word.parse().ok()).expect(line);
        let report = Sim::new(seed).run();
        assert!(report.is_sound(), "{line}: {:#?}", report.violations);
    }
}

#[test]
fn every_kind_of_trouble_and_every_end_is_reached() {
    let summary = explore(0, SEEDS);
    for (name, count) in summary.counters.list() {
        assert!(count > 0, "{name} never happened in {SEEDS} seeds");
    }
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    for seed in 0..200 {
        let (first, second) = (Sim::new(seed).run(), Sim::new(seed).run());
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.counters, second.counters, "seed {seed}");
    }
    assert_ne!(Sim::new(1).run().trace_hash, Sim::new(2).run().trace_hash);
}

#[test]
fn a_replay_is_the_same_run_with_a_diagram() {
    let (run, again) = (Sim::new(3).run(), replay(3));
    assert_eq!(run.trace_hash, again.trace_hash);
    assert!(run.diagram.is_empty());
    assert!(again.diagram.starts_with("sequenceDiagram\n"));
    assert!(again.diagram.lines().count() > 100);
}

#[test]
fn threads_do_not_change_the_counts() {
    let mut events = 0;
    for seed in 40..80 {
        events += Sim::new(seed).run().counters.events;
    }
    assert_eq!(explore(40, 40).counters.events, events);
}
