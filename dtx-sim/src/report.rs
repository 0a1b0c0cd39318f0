//! What a run, or many, came to.

use std::collections::BTreeMap;

use dtx_core::pattern::Pattern;
use serde::{Deserialize, Serialize};

use crate::{
    check::Violation, counters::Counters, faults::Faults, history::Happening, journal::mermaid,
    sim::Sim,
};

/// What one run came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong; empty when the run was sound.
    pub violations: Vec<Violation>,
    /// What happened, counted.
    pub counters: Counters,
    /// A number that two runs can be compared by.
    pub trace_hash: u64,
    /// What happened, in its order; empty unless it was asked for.
    pub journal: Vec<Happening>,
    /// What clients submitted, in their order.
    pub ends: Vec<End>,
    /// The names of all nodes: coordinators, the store, participants.
    pub nodes: Vec<String>,
    /// How long after the end of the faults the last transaction was seen to have ended, in
    /// microseconds of virtual time.
    pub settled_after_us: u64,
}

/// How the transaction of one client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// The outcome that was told; `None` when the transaction was not accepted or has not ended.
    pub outcome: Option<dtx_core::store::Outcome>,
    /// Records that its coordinator waited for.
    pub awaited_writes: u32,
    /// Records that nobody waited for.
    pub lazy_writes: u32,
}

impl Report {
    /// The journal as a Mermaid sequence diagram.
    pub fn diagram(&self) -> String {
        mermaid(&self.journal)
    }

    /// Whether nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many runs that were: more than seeds when each was run again with crashes.
    pub runs: u64,
    /// How many seeds were not sound.
    pub failed: u64,
    /// How many violations they had.
    pub violations: u64,
    /// The first of them, in their order.
    pub failing_seeds: Vec<u64>,
    /// What was wrong in the first of them.
    pub first_violations: Vec<String>,
    /// How many events the run in the middle had.
    pub median_events: u64,
    /// The longest time, in microseconds of virtual time, from the end of the faults to the end of
    /// the last transaction of a run.
    pub longest_settling_us: u64,
    /// Sums over all runs.
    pub counters: Counters,
    /// In how many runs each counter was not zero.
    pub sometimes: BTreeMap<&'static str, u64>,
}

/// A seed that was not sound once, with what is needed to run it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSeed {
    /// The seed.
    pub seed: u64,
    /// The one pattern of the run, if it was kept to one.
    #[serde(default)]
    pub pattern: Option<Pattern>,
    /// The faults that the run was kept to.
    #[serde(default)]
    pub faults: Faults,
    /// What it showed.
    pub shows: String,
}

impl KeptSeed {
    /// Runs it again, with a journal.
    pub fn run(&self) -> Report {
        let explorer = Sim::explore(self.seed..self.seed + 1).faults(self.faults);
        match self.pattern {
            Some(pattern) => explorer.pattern(pattern).replay(self.seed),
            None => explorer.replay(self.seed),
        }
    }
}
