//! Many seeds, and one again.

use std::{num::NonZeroUsize, thread};

use crate::{
    mutation::Mutation,
    report::{Counters, Report, Summary},
    sim::Sim,
};

/// The most failing seeds that are listed.
const FAILING_MAX: usize = 32;

/// Runs `seeds` seeds from `first` on, on all processors.
pub fn explore(first: u64, seeds: u64) -> Summary {
    explore_with(first, seeds, Sim::new)
}

/// As [`explore`], with a rule taken out.
#[doc(hidden)]
pub fn explore_mutant(first: u64, seeds: u64, mutation: Mutation) -> Summary {
    explore_with(first, seeds, |seed| Sim::mutant(seed, mutation, false))
}

/// Runs one seed with a trace.
pub fn replay(seed: u64) -> Report {
    Sim::traced(seed).run()
}

/// What is kept of a run.
struct Kept {
    seed: u64,
    events: u64,
    violations: Vec<String>,
}

fn explore_with(first: u64, seeds: u64, make: impl Fn(u64) -> Sim + Sync) -> Summary {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get) as u64;
    let make = &make;
    let run_all = |thread: u64| {
        let mut counters = Counters::default();
        // Each thread takes every so-manieth seed, so that all have the same to do.
        let kept: Vec<Kept> = (first + thread..first + seeds)
            .step_by(threads as usize)
            .map(|seed| {
                let report = make(seed).run();
                counters.add(&report.counters);
                let violations = report.violations.iter().map(|violation| {
                    let tx = violation.tx.map_or_else(String::new, |tx| format!("{tx}: "));
                    format!("{tx}{}", violation.what)
                });
                Kept { seed, events: report.counters.events, violations: violations.collect() }
            })
            .collect();
        (kept, counters)
    };
    let parts = thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || run_all(thread))).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.map(|part| part.expect("a run does not panic")).collect::<Vec<_>>()
    });
    sum(seeds, parts)
}

fn sum(seeds: u64, parts: Vec<(Vec<Kept>, Counters)>) -> Summary {
    let mut summary = Summary { seeds, ..Summary::default() };
    let mut kept = Vec::new();
    for (part, counters) in parts {
        summary.counters.add(&counters);
        kept.extend(part);
    }
    kept.sort_unstable_by_key(|run| run.seed);
    for run in kept.iter().filter(|run| !run.violations.is_empty()) {
        summary.failed += 1;
        summary.violations += run.violations.len() as u64;
        if summary.failing_seeds.len() < FAILING_MAX {
            summary.failing_seeds.push(run.seed);
            summary.first_violations.push(format!("seed {}: {}", run.seed, run.violations[0]));
        }
    }
    let mut events: Vec<u64> = kept.iter().map(|run| run.events).collect();
    events.sort_unstable();
    summary.events_median = events.get(events.len() / 2).copied().unwrap_or_default();
    summary
}
