//! One line of a history.

use dtx_core::{
    answer::{NotDone, PhaseAnswer, Reason, Refusal},
    engine::StoredState,
    ids::{Epoch, OperationIndex, ShardId, TxId, Version},
    name::ParticipantName,
    pattern::{Pattern, Phase},
    store::{Outcome, RecordKind, Status, Summary, Verdict},
    transaction::{Consistency, Gate, StepKind, Transaction},
};
use serde::{Deserialize, Serialize};

/// The version of the format of histories. Another one is not read.
pub const HISTORY_VERSION: u32 = 2;

/// What became of what was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is wanted.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// It may have happened, or somebody looked.
    Info,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Happening {
    /// When, in microseconds: of virtual time, or since the Unix epoch.
    pub at_us: u64,
    /// Who did it.
    pub node: String,
    /// To whom; absent when it concerns nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Which run of the node, from 1; 0 where nobody counts.
    #[serde(default)]
    pub incarnation: u64,
    /// What became of it.
    pub kind: Kind,
    /// Of which transaction, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx: Option<TxId>,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

impl Happening {
    /// One thing that happened, of the kind that belongs to it.
    pub fn new(
        at_us: u64,
        node: impl Into<String>,
        incarnation: u64,
        tx: Option<TxId>,
        what: What,
    ) -> Self {
        let (node, peer, kind) = (node.into(), None, what.kind());
        Self { at_us, node, peer, incarnation, kind, tx, what }
    }

    /// With the one to whom it was said.
    pub fn to(self, peer: impl Into<String>) -> Self {
        let peer = peer.into();
        let peer = (peer != self.node).then_some(peer);
        Self { peer, ..self }
    }
}

/// What a record says of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The version of the row.
    pub version: Version,
    /// The verdict that it carries.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Where the transaction stands.
    pub status: Status,
    /// `PivotSent` or `Delegated`, once that is durable.
    #[serde(default)]
    pub point: Option<RecordKind>,
    /// What a verification found.
    #[serde(default)]
    pub verified: Option<bool>,
    /// How many exceptions stand beside it.
    #[serde(default)]
    pub exceptions: usize,
    /// How many operations are dead letters, or lost as best effort.
    #[serde(default)]
    pub dead_letters: u16,
}

impl Facts {
    /// What a row of a version says.
    pub fn of(version: Version, verdict: Option<Verdict>, state: &[u8], summary: &Summary) -> Self {
        let state = StoredState::decode(state).unwrap_or_default();
        Self {
            version,
            verdict,
            status: summary.status,
            point: state.point_of_no_return,
            verified: state.verified,
            exceptions: summary.exceptions.len(),
            dead_letters: summary.dead_letters,
        }
    }
}

/// A change of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose.
    pub tx: TxId,
    /// Which operation's.
    pub operation: OperationIndex,
    /// What was added; negative when it was taken.
    pub change: i64,
    /// It reverses an earlier one.
    #[serde(default)]
    pub reversal: bool,
}

/// A claim on a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Whose.
    pub tx: TxId,
    /// Which operation's.
    pub operation: OperationIndex,
    /// How much.
    pub amount: u64,
    /// It is there for it, pinned or not.
    #[serde(default)]
    pub strict: bool,
    /// It claims room, and takes nothing.
    #[serde(default)]
    pub incoming: bool,
    /// No clock may release it.
    #[serde(default)]
    pub pinned: bool,
    /// When it ends by itself, in microseconds on the participant store's clock.
    pub expires_us: u64,
}

/// A quantity of stock or money, as its row says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// What it is called.
    pub scope: String,
    /// The version of its row, where the writer knows it.
    #[serde(default)]
    pub version: Option<u64>,
    /// What it was opened with.
    pub opened: u64,
    /// What is there.
    pub level: u64,
    /// The latest time that a change saw, in microseconds on the participant store's clock.
    pub latest_us: u64,
    /// The claims.
    #[serde(default)]
    pub claims: Vec<Claim>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum What {
    /// The first line of an incarnation of the writer.
    Began {
        /// The version of the format.
        version: u32,
        /// The faults that must be in the history.
        #[serde(default)]
        faults: Vec<String>,
    },
    /// The last line of an incarnation: it is over, and everything is written down.
    Ended {
        /// How many lines the incarnation wrote, this one too.
        lines: u64,
    },
    /// What a transaction is; a client hands it in.
    Submitted {
        /// The transaction.
        plan: Plan,
    },
    /// The accept was acknowledged to the client.
    Acknowledged,
    /// The outcome was told.
    Told {
        /// Which.
        outcome: Outcome,
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
        /// A digest of what it carries.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// A reply left. It may be lost.
    Reply {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// What it says.
        answer: Said,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// A participant's answer is durable.
    Kept {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// The answer.
        answer: Said,
        /// The highest epoch that the participant has seen of the transaction.
        #[serde(default)]
        epoch: Option<Epoch>,
        /// It was only looked at: when it became durable is not known.
        #[serde(default, skip_serializing_if = "is_false")]
        seen: bool,
    },
    /// An effect outside of any pool.
    Effect {
        /// Which operation.
        operation: OperationIndex,
        /// It reverses an earlier one.
        #[serde(default)]
        reversal: bool,
    },
    /// A pool was written, with these effects.
    Pool {
        /// The row.
        #[serde(flatten)]
        pool: Pool,
        /// What the same write changed.
        #[serde(default)]
        effects: Vec<Change>,
    },
    /// A write landed in the store.
    Landed {
        /// Which record.
        record: RecordKind,
        /// The lease under which it was written; `None` for one of the unfenced writes.
        epoch: Option<Epoch>,
        /// What the row says then.
        #[serde(flatten)]
        facts: Facts,
    },
    /// A record was read.
    Seen {
        /// What it says.
        #[serde(flatten)]
        facts: Facts,
    },
    /// A write was refused, or nobody knows.
    NotLanded {
        /// Which record.
        record: RecordKind,
        /// The verdict that it met.
        #[serde(default)]
        verdict: Option<Verdict>,
        /// It may have landed.
        unknown: bool,
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
        /// What was decided, if anything was.
        verdict: Option<Verdict>,
    },
    /// Something broke.
    Fault {
        /// Its name.
        fault: String,
    },
    /// An operator made a move whose effect nobody can check.
    Moved,
    /// The faults are over.
    Healed,
    /// Of the final tables: a record.
    FinalRecord {
        /// What it says.
        #[serde(flatten)]
        facts: Facts,
    },
    /// Of the final tables: a pool.
    FinalPool {
        /// The row.
        #[serde(flatten)]
        pool: Pool,
    },
    /// Of the final tables: an effect.
    FinalEffect {
        /// Of which pool; empty for one outside of any.
        scope: String,
        /// Which operation's.
        operation: OperationIndex,
        /// What was added; negative when it was taken.
        #[serde(default)]
        change: i64,
        /// It reverses an earlier one.
        #[serde(default)]
        reversal: bool,
    },
    /// Something else, for people.
    Note {
        /// What.
        text: String,
    },
    /// The simulator itself found something.
    Violated {
        /// What.
        text: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl What {
    /// What of the four kinds it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Began { .. } | Self::Submitted { .. } | Self::Command { .. } => Kind::Invoke,
            Self::Reply { answer, .. } | Self::Kept { answer, seen: false, .. } => answer.kind(),
            Self::NotLanded { unknown: false, .. } => Kind::Fail,
            Self::Ended { .. }
            | Self::Acknowledged
            | Self::Told { .. }
            | Self::Effect { .. }
            | Self::Pool { .. }
            | Self::Landed { .. }
            | Self::Leased { .. } => Kind::Ok,
            _ => Kind::Info,
        }
    }
}

/// An answer, without what is the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Done.
    Done,
    /// Done, and nothing was changed: left out of phase two.
    ReadOnly,
    /// Done, and an effect was reversed.
    Reversed,
    /// The handler's own no.
    Rejected,
    /// The barrier's no: it was taken back.
    RefusedUndone,
    /// The barrier's no: it was executed.
    RefusedExecuted,
    /// The barrier's no: the claim has expired.
    RefusedExpired,
    /// It may or may not have happened.
    Unknown,
}

impl Said {
    /// Whether it was carried out.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::ReadOnly | Self::Reversed)
    }

    fn kind(self) -> Kind {
        match self {
            Self::Unknown => Kind::Info,
            said if said.is_done() => Kind::Ok,
            _ => Kind::Fail,
        }
    }

    /// The answer with its reason.
    pub fn of(answer: &PhaseAnswer) -> (Self, Option<Reason>) {
        match answer {
            Ok(done) if done.read_only => (Self::ReadOnly, None),
            Ok(done) if done.reversed => (Self::Reversed, None),
            Ok(_) => (Self::Done, None),
            Err(NotDone::Rejected(reason)) => (Self::Rejected, Some(reason.clone())),
            Err(NotDone::Refused(Refusal::Undone)) => (Self::RefusedUndone, None),
            Err(NotDone::Refused(Refusal::Executed)) => (Self::RefusedExecuted, None),
            Err(NotDone::Refused(Refusal::Expired)) => (Self::RefusedExpired, None),
            Err(NotDone::Unknown(reason)) => (Self::Unknown, Some(reason.clone())),
        }
    }
}

/// What must be known of a transaction to judge what is done for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its pattern.
    pub pattern: Pattern,
    /// What its executions wait for.
    pub gate: Gate,
    /// Something is verified before the first execution.
    #[serde(default)]
    pub verifies: bool,
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
    pub fn of(transaction: &Transaction, inbox: impl Fn(&ParticipantName) -> bool) -> Self {
        let planned = |o: &dtx_core::transaction::Operation| Planned {
            step: o.step(),
            after: o.depends_on().to_vec(),
            critical: o.consistency().is_critical(),
            inbox: inbox(o.participant()),
        };
        let operations = transaction.operations();
        let verifies = transaction.modifiers().is_some_and(|m| m.verification.is_some())
            || operations.iter().any(|o| o.consistency() == Consistency::Immediate);
        Self {
            pattern: transaction.pattern(),
            gate: transaction.gate(),
            verifies,
            operations: operations.iter().map(planned).collect(),
        }
    }
}
