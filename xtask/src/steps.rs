//! Steps: run one after another, timed, counted, and summed up in one closing line.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Whether what is said goes to stderr: stdout is for one JSON object.
static ON_STDERR: AtomicBool = AtomicBool::new(false);

/// Keeps stdout free for one JSON object: everything else goes to stderr.
pub(crate) fn keep_stdout_free() {
    ON_STDERR.store(true, Ordering::Relaxed);
}

/// Prints a line for people.
pub(crate) fn say(text: &str) {
    if ON_STDERR.load(Ordering::Relaxed) {
        eprintln!("{text}");
    } else {
        println!("{text}");
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It ran: so many checks have passed and failed, and so many inside it were skipped.
    Ran(Counts),
    /// It did not run, and why.
    Skipped(String),
}

/// How many checks passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Ending {
    /// One check, passed or failed.
    pub(crate) fn of(passed: bool) -> Self {
        let failed = u64::from(!passed);
        Self::Ran(Counts { passed: u64::from(passed), failed, skipped: 0 })
    }

    /// One failed check, whose reason is printed at once.
    pub(crate) fn failed(reason: impl AsRef<str>) -> Self {
        say(&format!("FAILED: {}", reason.as_ref()));
        Self::of(false)
    }

    /// Not run.
    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self::Skipped(reason.into())
    }
}

/// The steps of one command, and what has come of them.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    counts: Counts,
    skipped: Vec<String>,
    failed: Vec<String>,
    stop_at_first_failure: bool,
}

impl Steps {
    /// No steps yet; every step is run, whatever came of the ones before.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// From here on a step is skipped when an earlier one has failed.
    pub(crate) fn stop_at_first_failure(&mut self) {
        self.stop_at_first_failure = true;
    }

    /// Runs one step, prints its duration, and counts it.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> Ending) {
        if self.stop_at_first_failure && self.counts.failed > 0 {
            self.add(name, Ending::skipped("an earlier step has failed"), Duration::ZERO);
            return;
        }
        say(&format!("== {name}"));
        let start = Instant::now();
        let ending = work();
        self.add(name, ending, start.elapsed());
    }

    fn add(&mut self, name: &str, ending: Ending, took: Duration) {
        match ending {
            Ending::Ran(counts) => {
                self.counts.passed += counts.passed;
                self.counts.failed += counts.failed;
                self.counts.skipped += counts.skipped;
                if counts.skipped > 0 {
                    self.skipped.push(format!("{name}: {} inside it", counts.skipped));
                }
                let word = if counts.failed > 0 { "FAILED" } else { "passed" };
                if counts.failed > 0 {
                    self.failed.push(name.to_owned());
                }
                say(&format!("== {name}: {word} in {:.1} s", took.as_secs_f64()));
            }
            Ending::Skipped(reason) => {
                self.counts.skipped += 1;
                say(&format!("== {name}: SKIPPED: {reason}"));
                self.skipped.push(format!("{name}: {reason}"));
            }
        }
    }

    /// Prints the summary. Its last line is `N passed, N failed`.
    pub(crate) fn close(self) -> ExitCode {
        say("");
        if self.counts.skipped > 0 {
            say(&format!("{} skipped:", self.counts.skipped));
            self.skipped.iter().for_each(|line| say(&format!("  {line}")));
        }
        if !self.failed.is_empty() {
            say("failed steps:");
            self.failed.iter().for_each(|line| say(&format!("  {line}")));
        }
        say(&format!("{} passed, {} failed", self.counts.passed, self.counts.failed));
        if self.counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_runs_and_is_counted() {
        let mut steps = Steps::new();
        steps.run("a", || Ending::of(false));
        steps.run("b", || Ending::Ran(Counts { passed: 3, failed: 0, skipped: 2 }));
        steps.run("c", || Ending::skipped("no tool"));
        assert_eq!(steps.counts, Counts { passed: 3, failed: 1, skipped: 3 });
        assert_eq!(steps.close(), ExitCode::FAILURE);
    }

    #[test]
    fn after_a_failure_nothing_runs_when_asked_to_stop() {
        let mut steps = Steps::new();
        steps.stop_at_first_failure();
        steps.run("a", || Ending::failed("planted"));
        steps.run("b", || panic!("must not run"));
        assert_eq!(steps.counts, Counts { passed: 0, failed: 1, skipped: 1 });
    }

    #[test]
    fn skipped_alone_is_no_failure() {
        let mut steps = Steps::new();
        steps.run("a", || Ending::skipped("no tool"));
        assert_eq!(steps.close(), ExitCode::SUCCESS);
    }
}
