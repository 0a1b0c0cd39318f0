//! Judges a history as it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use dtx_core::{ids::TxId, pattern::Pattern};
use serde::Serialize;
use thiserror::Error;

use super::{
    past::Past,
    rules::{Moment, RULES, Rule},
};
use crate::journal::{HISTORY_VERSION, Happening, What};

/// The most breaches that are kept; all are counted.
const BREACHES_MAX: usize = 100;

/// What a history was found to be. Only `Valid` is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nothing is broken, and the history is whole.
    Valid,
    /// A rule is broken.
    Invalid,
    /// It cannot be said: the history is cut, empty or not readable.
    Unknown,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unknown => "unknown",
        })
    }
}

/// Why it cannot be said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The first line does not begin a history.
    #[error("line 1 does not begin a history")]
    NoBeginning,
    /// The format is another one.
    #[error("the history has version {0}, and only {HISTORY_VERSION} is known")]
    Version(u32),
    /// The last line does not end the history.
    #[error("the history is cut: its end is missing")]
    NoEnd,
    /// Something follows the end, or the end counts other lines than there are.
    #[error("line {0}: the end does not stand at the end")]
    MisplacedEnd(u64),
    /// A line cannot be read.
    #[error("line {line} cannot be read: {why}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// Nothing was judged.
    #[error("the history covers nothing: no {0}")]
    Empty(&'static str),
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The name of the rule.
    pub rule: &'static str,
    /// What it says.
    pub says: &'static str,
    /// The transaction.
    pub tx: TxId,
    /// The lines that show it, from 1: those of the accept, the verdict and the outcome, and last
    /// the line on which it broke.
    pub lines: Vec<u64>,
}

/// What of a protocol a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Lines.
    pub lines: u64,
    /// Transactions that were accepted.
    pub accepted: u64,
    /// Commands that left.
    pub commands: u64,
    /// Answers that became durable.
    pub kept: u64,
    /// Outcomes that were told.
    pub told: u64,
    /// Patterns of the submitted transactions.
    pub patterns: BTreeSet<Pattern>,
}

impl Coverage {
    fn lacks(&self) -> Option<&'static str> {
        [(self.accepted, "accepted transaction"), (self.commands, "command")]
            .into_iter()
            .find_map(|(count, what)| (count == 0).then_some(what))
    }

    fn count(&mut self, what: &What) {
        match what {
            What::Submitted { plan, .. } => {
                self.patterns.insert(plan.pattern);
            }
            What::Command { .. } => self.commands += 1,
            What::Kept { .. } => self.kept += 1,
            What::Told { .. } => self.told += 1,
            _ => {}
        }
    }
}

/// What a history was found to be, and why.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The finding.
    pub finding: Finding,
    /// The first hundred broken rules.
    pub breaches: Vec<Breach>,
    /// How many there are.
    pub breach_count: u64,
    /// Why it cannot be said, if so; may stand beside breaches.
    pub doubt: Option<Doubt>,
    /// What was covered.
    pub coverage: Coverage,
}

/// Takes a history in, line by line.
#[derive(Debug, Default)]
pub struct Checker {
    pasts: BTreeMap<TxId, Past>,
    breaches: Vec<Breach>,
    breach_count: u64,
    doubt: Option<Doubt>,
    coverage: Coverage,
    is_ended: bool,
}

impl Checker {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether something makes the rest not worth reading.
    pub(super) fn is_lost(&self) -> bool {
        self.doubt.is_some()
    }

    /// The reader cannot go on.
    pub(super) fn doubt(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
    }

    /// Takes the next line in.
    pub fn see(&mut self, happening: &Happening) {
        if self.is_lost() {
            return;
        }
        self.coverage.lines += 1;
        let line = self.coverage.lines;
        match (line, &happening.what) {
            (1, What::Began { version }) if *version == HISTORY_VERSION => {}
            (1, What::Began { version }) => self.doubt(Doubt::Version(*version)),
            (1, _) => self.doubt(Doubt::NoBeginning),
            _ if self.is_ended => self.doubt(Doubt::MisplacedEnd(line)),
            (_, What::Ended { lines }) if *lines == line => self.is_ended = true,
            (_, What::Ended { .. }) => self.doubt(Doubt::MisplacedEnd(line)),
            (_, what) => {
                self.coverage.count(what);
                if let Some(tx) = happening.tx {
                    self.ask(tx, line, what);
                }
            }
        }
    }

    fn ask(&mut self, tx: TxId, line: u64, what: &What) {
        let past = self.pasts.entry(tx).or_default();
        let broken = RULES.iter().filter(|rule| (rule.is_broken)(past, Moment::At(what)));
        let found: Vec<_> = broken.map(|rule| breach(rule, tx, past, line)).collect();
        let was_accepted = past.is_accepted();
        past.apply(line, what);
        self.coverage.accepted += u64::from(!was_accepted && past.is_accepted());
        self.keep(found);
    }

    fn keep(&mut self, found: Vec<Breach>) {
        for breach in found {
            self.breach_count += 1;
            if self.breaches.len() < BREACHES_MAX {
                self.breaches.push(breach);
            }
        }
    }

    /// The last rules, and the finding. A broken rule stays broken however the history goes on,
    /// so it counts in a cut one too.
    pub fn finish(mut self) -> Judgement {
        if !self.is_ended {
            self.doubt(Doubt::NoEnd);
        }
        if let Some(what) = self.coverage.lacks() {
            self.doubt(Doubt::Empty(what));
        }
        if self.doubt.is_none() {
            let line = self.coverage.lines;
            let asked = self.pasts.iter().flat_map(|(tx, past)| {
                let broken = RULES.iter().filter(|rule| (rule.is_broken)(past, Moment::End));
                broken.map(|rule| breach(rule, *tx, past, line))
            });
            let found = asked.collect();
            self.keep(found);
        }
        let finding = match (&self.doubt, self.breach_count) {
            (_, 1..) => Finding::Invalid,
            (Some(_), 0) => Finding::Unknown,
            (None, 0) => Finding::Valid,
        };
        let Self { breaches, breach_count, doubt, coverage, .. } = self;
        Judgement { finding, breaches, breach_count, doubt, coverage }
    }
}

fn breach(rule: &Rule, tx: TxId, past: &Past, line: u64) -> Breach {
    let mut lines = past.landmarks.clone();
    lines.push(line);
    lines.dedup();
    Breach { rule: rule.name, says: rule.says, tx, lines }
}
