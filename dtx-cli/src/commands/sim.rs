//! `dtx sim`.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Args;
use dtx_sim::{Counters, Report, Sim, replay};
use serde::Serialize;

use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
    progress::{Progress, ProgressMode},
};

const EXAMPLES: &str = "Examples:
  dtx sim --seeds 10000
  dtx sim --seed 42
  dtx sim --seed 42 --trace > run.mmd

Exit code 1 says that something that must hold was violated.";

/// The most failing seeds that are listed.
const FAILING_MAX: usize = 32;

/// The options of `dtx sim`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct SimArgs {
    /// Run this seed again, and say what happened
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "first_seed"],
          required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first of these seeds
    #[arg(long, value_name = "S", default_value_t = 0)]
    first_seed: u64,
    /// Print the run of --seed as a Mermaid sequence diagram
    #[arg(long, requires = "seed", conflicts_with = "json")]
    trace: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressMode,
}

/// What `dtx sim --seed N --json` prints.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    seed: u64,
    violations: Vec<String>,
    trace_hash: String,
    counters: &'a Counters,
}

/// What `dtx sim --seeds N --json` prints.
#[derive(Debug, Default, Serialize)]
struct Explored {
    first_seed: u64,
    seeds: u64,
    /// How many seeds were not sound.
    failed: u64,
    violations: u64,
    /// The first of them, in their order.
    failing_seeds: Vec<u64>,
    /// What was wrong in them.
    first_violations: Vec<String>,
    seconds: f64,
    seeds_per_s: f64,
    /// How many events the seed in the middle had.
    events_median: u64,
    counters: Counters,
}

/// Runs the simulator.
pub(crate) async fn sim(args: SimArgs) -> Result<Exit, Failure> {
    match (args.seed, args.seeds) {
        (Some(seed), _) => one(seed, &args),
        (None, seeds) => many(args.first_seed, seeds.unwrap_or(1), &args),
    }
}

fn one(seed: u64, args: &SimArgs) -> Result<Exit, Failure> {
    let report = replay(seed);
    let violations = texts(&report);
    if args.json {
        let trace_hash = format!("{:016x}", report.trace_hash);
        let counters = &report.counters;
        output::json(&Replayed { seed, violations: violations.clone(), trace_hash, counters })?;
    } else if args.trace {
        output::line(&report.diagram)?;
    } else {
        output::line(format_args!("seed {seed}, trace {:016x}", report.trace_hash))?;
        output::line(counters_text(&report.counters))?;
    }
    // Next to a diagram, which must stay one, and next to JSON they go to stderr.
    for text in &violations {
        eprintln!("violated: {text}");
    }
    Ok(if report.is_sound() { Exit::Sound } else { Exit::Failed })
}

fn many(first: u64, seeds: u64, args: &SimArgs) -> Result<Exit, Failure> {
    let end = first.checked_add(seeds).ok_or_else(|| {
        Failure::usage(format!("--first-seed {first} and --seeds {seeds} go over the last seed"))
    })?;
    let explored = {
        let count = usize::try_from(seeds).map_err(Failure::usage)?;
        let progress = Progress::new(args.progress, "seeds", count);
        explore(first..end, &progress)
    };
    if args.json {
        output::json(&explored)?;
    } else {
        let Explored { seeds, failed, violations, seconds, seeds_per_s, events_median, .. } =
            &explored;
        output::line(format_args!(
            "{seeds} seeds from {first}: {failed} failed, {violations} violations, \
             {events_median} events at the median, {seconds:.1} s, {seeds_per_s:.0} seeds/s"
        ))?;
        output::line(counters_text(&explored.counters))?;
    }
    for text in &explored.first_violations {
        eprintln!("violated: {text}");
    }
    if let Some(seed) = explored.failing_seeds.first() {
        eprintln!("run it again with: dtx sim --seed {seed} --trace");
    }
    Ok(if explored.failed == 0 { Exit::Sound } else { Exit::Failed })
}

/// What one thread found.
#[derive(Debug, Default)]
struct Part {
    events: Vec<u64>,
    failing: Vec<(u64, Vec<String>)>,
    counters: Counters,
}

/// Runs the seeds, each on the next thread that is free.
fn explore(seeds: Range<u64>, progress: &Progress) -> Explored {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (next, done) = (AtomicU64::new(seeds.start), Mutex::new(0));
    let end = seeds.end;
    let start = Instant::now();
    let work = || {
        let mut part = Part::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Not `>=` alone: a counter that ran over the end of the range must stop as well.
            if seed >= end || seed < seeds.start {
                return part;
            }
            let report = Sim::new(seed).run();
            part.events.push(report.counters.events);
            part.counters.add(&report.counters);
            if !report.is_sound() {
                part.failing.push((seed, texts(&report)));
            }
            // Told under the lock, so that it never goes back.
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done += 1;
            progress.set(*done);
        }
    };
    let parts: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = running.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|part| part.expect("a run of the simulator does not panic")).collect()
    });
    sum(seeds.start, parts, start.elapsed().as_secs_f64())
}

fn sum(first_seed: u64, parts: Vec<Part>, seconds: f64) -> Explored {
    let mut all = Part::default();
    for part in parts {
        all.events.extend(part.events);
        all.failing.extend(part.failing);
        all.counters.add(&part.counters);
    }
    all.events.sort_unstable();
    all.failing.sort_unstable();
    let listed = all.failing.iter().take(FAILING_MAX);
    let first = listed.clone().map(|(seed, texts)| format!("seed {seed}: {}", texts[0]));
    let seeds = all.events.len() as u64;
    Explored {
        first_seed,
        seeds,
        failed: all.failing.len() as u64,
        violations: all.failing.iter().map(|(_, texts)| texts.len() as u64).sum(),
        failing_seeds: listed.map(|(seed, _)| *seed).collect(),
        first_violations: first.collect(),
        seconds,
        seeds_per_s: seeds as f64 / seconds.max(f64::MIN_POSITIVE),
        events_median: all.events.get(all.events.len() / 2).copied().unwrap_or_default(),
        counters: all.counters,
    }
}

fn texts(report: &Report) -> Vec<String> {
    let text = |violation: &dtx_sim::Violation| {
        let tx = violation.tx.map_or_else(String::new, |tx| format!("{tx}: "));
        format!("{} ms: {tx}{}", violation.at / 1_000, violation.what)
    };
    report.violations.iter().map(text).collect()
}

fn counters_text(counters: &Counters) -> String {
    let counts = counters.list();
    let counts = counts.iter().map(|(name, count)| format!("{name} {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(events: &[u64], failing: &[u64]) -> Part {
        let failing = failing.iter().map(|seed| (*seed, vec!["a".to_owned(), "b".to_owned()]));
        Part { events: events.to_vec(), failing: failing.collect(), counters: Counters::default() }
    }

    #[test]
    fn the_parts_of_all_threads_are_summed_in_the_order_of_seeds() {
        let sum = sum(3, vec![part(&[9, 1], &[4]), part(&[5], &[3])], 0.5);
        assert_eq!((sum.seeds, sum.failed, sum.violations, sum.events_median), (3, 2, 4, 5));
        assert_eq!((sum.failing_seeds, sum.seeds_per_s), (vec![3, 4], 6.0));
        assert_eq!(sum.first_violations, ["seed 3: a", "seed 4: a"]);
    }

    #[test]
    fn no_more_failing_seeds_are_listed_than_allowed() {
        let failing: Vec<u64> = (0..=FAILING_MAX as u64).collect();
        let sum = sum(0, vec![part(&failing, &failing)], 1.0);
        assert_eq!(sum.failing_seeds.len(), FAILING_MAX);
        assert_eq!(sum.failed, FAILING_MAX as u64 + 1);
    }

    #[test]
    fn every_seed_is_run_once() {
        let explored = explore(7..12, &Progress::Silent);
        assert_eq!((explored.seeds, explored.failed), (5, 0));
        let events: u64 = (7..12).map(|seed| Sim::new(seed).run().counters.events).sum();
        assert_eq!(explored.counters.events, events);
    }
}
