//! What happened in a run, as data: for those who judge runs, and for diagrams.

use std::fmt;

use dtx_core::{
    answer::PhaseAnswer,
    ids::{Epoch, OperationIndex, ShardId, TxId, Version},
    name::ParticipantName,
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Verdict},
    transaction::{Gate, StepKind, Transaction},
};
use serde::{Deserialize, Serialize};

/// The version of the format of journals. Another one is not read.
pub const HISTORY_VERSION: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Happening {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// Who did it.
    pub from: String,
    /// To whom; the same when it concerns nobody else.
    pub to: String,
    /// Of which transaction, if of one.
    pub tx: Option<TxId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The first line.
    Began {
        /// The version of the format.
        version: u32,
    },
    /// The last line: the run is over, and everything is written down.
    Ended {
        /// How many lines there are, this one too.
        lines: u64,
    },
    /// A client handed a transaction in.
    Submitted {
        /// Which client.
        client: usize,
        /// The transaction.
        plan: Plan,
    },
    /// A command left. It may be lost.
    Command {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// Which attempt.
        attempt: u32,
        /// Under which lease.
        epoch: Epoch,
    },
    /// A reply left. It may be lost.
    Reply {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// What it says.
        answer: PhaseAnswer,
    },
    /// A participant's answer became durable.
    Kept {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// The answer.
        answer: PhaseAnswer,
    },
    /// A write landed in the store.
    Landed {
        /// Which record.
        record: RecordKind,
        /// The version that it made.
        version: Version,
        /// The verdict that it carries.
        verdict: Option<Verdict>,
        /// The lease under which it was written; `None` for one of the unfenced writes.
        epoch: Option<Epoch>,
        /// Where the transaction stands then.
        status: Status,
    },
    /// The outcome was told.
    Told {
        /// Which.
        outcome: Outcome,
    },
    /// A shard was leased.
    Leased {
        /// Which.
        shard: ShardId,
        /// The number of the lease.
        epoch: Epoch,
    },
    /// An inquiry was answered.
    Inquired {
        /// With this verdict; `None`: nothing is decided.
        verdict: Option<Verdict>,
    },
    /// Something broke, was repaired, or was said.
    Note {
        /// What.
        text: String,
    },
    /// Something that must hold did not.
    Violated {
        /// What.
        text: String,
    },
}

/// What must be known of a transaction to judge what is done for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its pattern.
    pub pattern: Pattern,
    /// What its executions wait for.
    pub gate: Gate,
    /// Its operations.
    pub operations: Vec<Planned>,
}

/// One operation of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// What kind of step it is.
    pub step: StepKind,
    /// Those that it depends on.
    pub after: Vec<OperationIndex>,
    /// Whether the verdict depends on it.
    pub critical: bool,
    /// Whether its participant keeps its answers.
    pub inbox: bool,
}

impl Plan {
    /// Of a transaction; `inbox` says which participants keep their answers.
    pub(crate) fn of(transaction: &Transaction, inbox: impl Fn(&ParticipantName) -> bool) -> Self {
        let planned = |o: &dtx_core::transaction::Operation| Planned {
            step: o.step(),
            after: o.depends_on().to_vec(),
            critical: o.consistency().is_critical(),
            inbox: inbox(o.participant()),
        };
        Self {
            pattern: transaction.pattern(),
            gate: transaction.gate(),
            operations: transaction.operations().iter().map(planned).collect(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { version } => write!(f, "begins, version {version}"),
            Self::Ended { lines } => write!(f, "ends, {lines} lines"),
            Self::Submitted { client, .. } => write!(f, "submitted by client {client}"),
            Self::Command { operation, phase, attempt, epoch } => {
                write!(f, "{operation} {phase} attempt {attempt} epoch {epoch}")
            }
            Self::Reply { operation, phase, answer } => {
                write!(f, "{operation} {phase} {}", Said(answer))
            }
            Self::Kept { operation, phase, answer } => {
                write!(f, "keeps {operation} {phase} {}", Said(answer))
            }
            Self::Landed { record, version, verdict, epoch, .. } => {
                write!(f, "{record:?} v{}", version.0)?;
                if let Some(verdict) = verdict {
                    write!(f, " {verdict:?}")?;
                }
                match epoch {
                    Some(epoch) => write!(f, " epoch {epoch}"),
                    None => f.write_str(" without a lease"),
                }
            }
            Self::Told { outcome } => write!(f, "{outcome}"),
            Self::Leased { shard, epoch } => write!(f, "leases shard {shard} epoch {epoch}"),
            Self::Inquired { verdict: Some(verdict) } => write!(f, "inquiry, it is {verdict:?}"),
            Self::Inquired { verdict: None } => f.write_str("inquiry, ask again later"),
            Self::Note { text } => f.write_str(text),
            Self::Violated { text } => write!(f, "VIOLATED {text}"),
        }
    }
}

/// An answer in short.
struct Said<'a>(&'a PhaseAnswer);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(done) if done.read_only => f.write_str("done, read only"),
            Ok(done) if done.reversed => f.write_str("done, reversed"),
            Ok(_) => f.write_str("done"),
            Err(no) => write!(f, "{no:?}"),
        }
    }
}

/// A run as a Mermaid sequence diagram.
pub(crate) fn mermaid(journal: &[Happening]) -> String {
    use fmt::Write;
    let mut text = String::from("sequenceDiagram\n");
    for Happening { at_us, from, to, tx, what } in journal {
        let tx = tx.map_or_else(String::new, |tx| format!("{} ", short(tx)));
        // A colon, a semicolon or a number sign would end the text of a Mermaid message.
        let what = what.to_string().replace([':', ';', '#'], " ");
        let millis = at_us / 1_000;
        let written = if from == to {
            writeln!(text, "    Note over {from}: {millis} ms {tx}{what}")
        } else {
            writeln!(text, "    {from}->>{to}: {millis} ms {tx}{what}")
        };
        written.expect("writing to a string never fails");
    }
    text
}

/// The last digits of a transaction's id, for people.
fn short(tx: TxId) -> String {
    let text = tx.to_string();
    text[text.len() - 6..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagram_has_a_line_for_each_happening_and_no_text_breaks_it() {
        let happening = |at_us, from: &str, to: &str, text: &str| Happening {
            at_us,
            from: from.to_owned(),
            to: to.to_owned(),
            tx: None,
            what: What::Note { text: text.to_owned() },
        };
        let journal = [
            happening(1_500, "c0", "bank", "execute: a;b"),
            happening(2_000, "store", "store", "landed"),
        ];
        let expected = "sequenceDiagram\n    c0->>bank: 1 ms execute  a b\n    \
                        Note over store: 2 ms landed\n";
        assert_eq!(mermaid(&journal), expected);
    }
}
