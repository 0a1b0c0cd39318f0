//! `dtx sim`.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::Args;
use dtx::pattern::Pattern;
use dtx_sim::{Counters, Explorer, Faults, KeptSeed, Report, Sim, Summary};
use serde::Serialize;

use crate::{
    exit::{EXIT_HELP, Exit, Failure},
    output,
    progress::{Progress, ProgressMode},
};

const EXAMPLES: &str = "Examples:
  dtx sim --seeds 10000
  dtx sim --seeds 10000 --seed 5000000 --pattern 3ps --faults loss,partition
  dtx sim --seed 42 > run.mmd
  dtx sim --seeds 10000 --regions aws
  dtx sim --seed 42 --history run.jsonl

Exit code 1 says that something that must hold was violated.";

/// The options of `dtx sim`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_HELP}"))]
pub(crate) struct SimArgs {
    /// Run this seed again, and print it as a Mermaid sequence diagram; with --seeds: the first
    #[arg(long, value_name = "N", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Only transactions of this pattern
    #[arg(long, value_name = "P")]
    pattern: Option<Pattern>,
    /// Only these faults: all, none, or some names with commas; see docs/cli.md
    #[arg(long, value_name = "F,..", default_value_t)]
    faults: Faults,
    /// Lay coordinators, store and participants out over the shipped regions of this provider, with
    /// GA: aws, azure, gcp or ibm
    #[cfg(feature = "geo")]
    #[arg(long, value_name = "P", conflicts_with = "keep")]
    regions: Option<dtx::geo::model::Provider>,
    /// Write what happened in the run of --seed into this file, for dtx check-history
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    history: Option<PathBuf>,
    /// Run each seed again for every node and every event, with a crash of that node there
    #[arg(long, requires = "seeds")]
    crash_everywhere: bool,
    /// Write a file for each failing seed into this folder
    #[arg(long, value_name = "DIR", requires = "seeds")]
    keep: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
    /// How progress is shown on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressMode,
}

impl SimArgs {
    fn explorer(&self, seeds: Range<u64>) -> Explorer {
        let explorer = Sim::explore(seeds).faults(self.faults);
        let explorer = match self.pattern {
            Some(pattern) => explorer.pattern(pattern),
            None => explorer,
        };
        #[cfg(feature = "geo")]
        let explorer = match self.regions {
            Some(provider) => explorer.regions(super::sim_regions::regions(provider)),
            None => explorer,
        };
        if self.crash_everywhere { explorer.crash_everywhere() } else { explorer }
    }

    /// The provider of the regions, where there are some.
    fn regions(&self) -> Option<String> {
        #[cfg(feature = "geo")]
        return self.regions.map(|provider| provider.to_string());
        #[cfg(not(feature = "geo"))]
        None
    }
}

/// What `dtx sim --seed N --json` prints.
#[derive(Debug, Serialize)]
struct Replayed<'a> {
    seed: u64,
    pattern: Option<Pattern>,
    faults: Faults,
    regions: Option<String>,
    violations: Vec<String>,
    trace_hash: String,
    counters: &'a Counters,
}

/// What `dtx sim --seeds N --json` prints.
#[derive(Debug, Serialize)]
struct Explored {
    first_seed: u64,
    pattern: Option<Pattern>,
    faults: Faults,
    regions: Option<String>,
    seconds: f64,
    seeds_per_s: f64,
    #[serde(flatten)]
    summary: Summary,
}

/// Runs the simulator.
pub(crate) async fn sim(args: SimArgs) -> Result<Exit, Failure> {
    match (args.seed, args.seeds) {
        (Some(seed), None) => one(seed, &args),
        (first, seeds) => many(first.unwrap_or(0), seeds.unwrap_or(1), &args),
    }
}

fn one(seed: u64, args: &SimArgs) -> Result<Exit, Failure> {
    let report = args.explorer(seed..seed).replay(seed);
    let violations = texts(&report);
    if let Some(path) = &args.history {
        let mut text = Vec::new();
        for happening in &report.journal {
            serde_json::to_writer(&mut text, happening).map_err(Failure::failed)?;
            text.push(b'\n');
        }
        fs::write(path, text)
            .map_err(|error| Failure::usage(format!("--history {}: {error}", path.display())))?;
    }
    if args.json {
        output::json(&Replayed {
            seed,
            pattern: args.pattern,
            faults: args.faults,
            regions: args.regions(),
            violations: violations.clone(),
            trace_hash: format!("{:016x}", report.trace_hash),
            counters: &report.counters,
        })?;
    } else if args.history.is_none() {
        output::line(report.diagram().trim_end())?;
    }
    // Next to a diagram, which must stay one, and next to JSON they go to stderr.
    for text in &violations {
        eprintln!("violated: {text}");
    }
    Ok(if report.is_sound() { Exit::Sound } else { Exit::Failed })
}

fn many(first_seed: u64, seeds: u64, args: &SimArgs) -> Result<Exit, Failure> {
    let end = first_seed.checked_add(seeds).ok_or_else(|| {
        Failure::usage(format!("--seed {first_seed} and --seeds {seeds} go over the last seed"))
    })?;
    let start = Instant::now();
    let summary = {
        let count = usize::try_from(seeds).map_err(Failure::usage)?;
        let progress = Progress::new(args.progress, "seeds", count);
        let explorer = args.explorer(first_seed..end);
        explorer.run_with(|done| progress.set(usize::try_from(done).unwrap_or(usize::MAX)))
    };
    let seconds = start.elapsed().as_secs_f64();
    let (pattern, faults) = (args.pattern, args.faults);
    let seeds_per_s = summary.seeds as f64 / seconds.max(f64::MIN_POSITIVE);
    let regions = args.regions();
    let explored = Explored { first_seed, pattern, faults, regions, seconds, seeds_per_s, summary };
    if args.json {
        output::json(&explored)?;
    } else {
        say(&explored)?;
    }
    let summary = &explored.summary;
    if let Some(folder) = &args.keep {
        keep(folder, &explored)?;
    }
    for text in &summary.first_violations {
        eprintln!("violated: {text}");
    }
    if let Some(seed) = summary.failing_seeds.first() {
        let pattern = pattern.map_or_else(String::new, |p| format!(" --pattern {}", p.name()));
        let regions =
            explored.regions.as_ref().map_or_else(String::new, |p| format!(" --regions {p}"));
        eprintln!("run it again with: dtx sim --seed {seed}{pattern} --faults {faults}{regions}");
    }
    Ok(if summary.failed == 0 { Exit::Sound } else { Exit::Failed })
}

fn say(explored: &Explored) -> Result<(), Failure> {
    let Explored { first_seed, seconds, seeds_per_s, summary, .. } = explored;
    let Summary { seeds, failed, violations, median_events, .. } = summary;
    output::line(format_args!(
        "{seeds} seeds from {first_seed}: {failed} failed, {violations} violations, \
         {median_events} events at the median, {seconds:.1} s, {seeds_per_s:.0} seeds/s"
    ))?;
    let counts = summary.counters.list().into_iter();
    let counts = counts.map(|(name, count)| format!("{name} {count}"));
    output::line(counts.collect::<Vec<_>>().join(", "))
}

/// A file for each failing seed, so that it becomes a test.
fn keep(folder: &Path, explored: &Explored) -> Result<(), Failure> {
    let Summary { failing_seeds, first_violations, .. } = &explored.summary;
    for (seed, shows) in failing_seeds.iter().zip(first_violations) {
        let Explored { pattern, faults, .. } = *explored;
        let kept = KeptSeed { seed: *seed, pattern, faults, shows: shows.clone() };
        let text = serde_json::to_string_pretty(&kept).map_err(Failure::failed)?;
        fs::create_dir_all(folder).map_err(Failure::failed)?;
        fs::write(folder.join(format!("{seed}.json")), text + "\n").map_err(Failure::failed)?;
    }
    Ok(())
}

fn texts(report: &Report) -> Vec<String> {
    let text = |violation: &dtx_sim::Violation| {
        let tx = violation.tx.map_or_else(String::new, |tx| format!("{tx}: "));
        format!("{} ms: {tx}{}", violation.at / 1_000, violation.what)
    };
    report.violations.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_seed_is_kept_as_a_file_that_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut summary = Sim::explore(0..1).run();
        summary.failing_seeds = vec![7];
        summary.first_violations = vec!["seed 7: odd".to_owned()];
        let (pattern, faults) = (Some(Pattern::Saga), Faults::none());
        let explored = Explored {
            first_seed: 0,
            pattern,
            faults,
            regions: None,
            seconds: 1.0,
            seeds_per_s: 1.0,
            summary,
        };
        keep(folder.path(), &explored).expect("it can be written");
        let text = fs::read_to_string(folder.path().join("7.json")).expect("a file");
        let kept: KeptSeed = serde_json::from_str(&text).expect("a kept seed");
        let shows = "seed 7: odd".to_owned();
        assert_eq!(kept, KeptSeed { seed: 7, pattern, faults, shows });
    }
}
