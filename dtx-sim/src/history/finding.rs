//! What a history was found to be, and why.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use dtx_core::{ids::TxId, pattern::Pattern, store::Status};
use serde::Serialize;
use thiserror::Error;

use super::{
    checker::is_effect,
    line::{HISTORY_VERSION, Said, What},
};

/// What a history was found to be. Only `Valid` is a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nothing is broken, and the history is whole.
    Valid,
    /// It cannot be said: the history is cut, tests nothing, or cannot be read.
    Unknown,
    /// A rule is broken.
    Invalid,
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
    #[error("a history does not begin on line {0}, and none has begun before")]
    NoBeginning(u64),
    /// The format is another one.
    #[error("the history has version {0}, and only {HISTORY_VERSION} is known")]
    Version(u32),
    /// The last line does not end the history.
    #[error("the history is cut after line {0}: its end is missing")]
    NoEnd(u64),
    /// Something follows the end, or the end counts other lines than there are.
    #[error("line {0}: the end does not stand at the end, or lines are missing")]
    MisplacedEnd(u64),
    /// The kind of a line is not that of what it says.
    #[error("line {0}: its kind is not that of what it says")]
    Kind(u64),
    /// A line cannot be read.
    #[error("line {line} cannot be read: {why}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// More transactions than are held in memory.
    #[error("there are more than {0} transactions")]
    Transactions(usize),
    /// Nothing was judged.
    #[error("nothing was tested: no {0}")]
    Empty(&'static str),
    /// A fault was announced and is not there.
    #[error("nothing was tested: the fault {0:?} was announced and is not in the history")]
    NoFault(String),
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The name of the rule.
    pub rule: &'static str,
    /// What it says.
    pub says: &'static str,
    /// The transaction, if it is about one.
    pub tx: Option<TxId>,
    /// The pool or the shard, if it is about one.
    pub of: Option<String>,
    /// The lines that show it, from 1: those of the accept, the verdict and the outcome, and last
    /// the line on which it broke.
    pub lines: Vec<u64>,
}

impl Breach {
    pub(super) fn new(
        rule: (&'static str, &'static str),
        tx: Option<TxId>,
        lines: Vec<u64>,
    ) -> Self {
        Self { rule: rule.0, says: rule.1, tx, of: None, lines }
    }

    pub(super) fn of(self, of: String) -> Self {
        Self { of: Some(of), ..self }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.says)?;
        if let Some(tx) = self.tx {
            write!(f, "; transaction {tx}")?;
        }
        if let Some(of) = &self.of {
            write!(f, "; {of}")?;
        }
        let lines: Vec<_> = self.lines.iter().map(ToString::to_string).collect();
        write!(f, "; lines {}", lines.join(", "))
    }
}

/// What of a protocol a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Lines that were read.
    pub lines: u64,
    /// How often the writer was started.
    pub incarnations: u64,
    /// Last lines of incarnations that were killed while they wrote.
    pub torn: u64,
    /// Transactions that were accepted.
    pub accepted: u64,
    /// Of those: how many have ended.
    pub ended: u64,
    /// And how many have not.
    pub open: u64,
    /// Commands that left.
    pub commands: u64,
    /// Answers that became durable.
    pub kept: u64,
    /// Executions that became durable.
    pub executed: u64,
    /// Effects on pools.
    pub effects: u64,
    /// Outcomes that were told.
    pub told: u64,
    /// Patterns of the submitted transactions.
    pub patterns: BTreeSet<Pattern>,
    /// Faults that happened.
    pub faults: BTreeSet<String>,
    /// How many transactions ended in which way.
    pub outcomes: BTreeMap<String, u64>,
}

impl Coverage {
    pub(super) fn lacks(&self) -> Option<&'static str> {
        [
            (self.accepted, "transaction was accepted"),
            (self.executed + self.effects, "effect was executed"),
        ]
        .into_iter()
        .find_map(|(count, what)| (count == 0).then_some(what))
    }

    pub(super) fn has_fault(&self, name: &str) -> bool {
        self.faults.contains(name)
    }

    pub(super) fn end(&mut self, status: Option<Status>) {
        match status {
            Some(Status::Finished(outcome)) => {
                self.ended += 1;
                *self.outcomes.entry(outcome.to_string()).or_default() += 1;
            }
            Some(_) => self.open += 1,
            None => {}
        }
    }

    pub(super) fn count(&mut self, what: &What) {
        match what {
            What::Submitted { plan } => {
                self.patterns.insert(plan.pattern);
            }
            What::Command { .. } => self.commands += 1,
            What::Kept { phase, answer, .. } => {
                self.kept += 1;
                self.executed += u64::from(answer.is_done() && is_effect(*phase));
                if *answer == Said::Rejected {
                    self.faults.insert("refusal".to_owned());
                }
            }
            What::Effect { .. } => self.effects += 1,
            What::Told { .. } => self.told += 1,
            What::Fault { fault } => {
                self.faults.insert(fault.clone());
            }
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
