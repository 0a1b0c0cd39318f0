//! The definition of a transaction. It can only be had from the builder or by parsing, so a
//! value of this type has passed every check.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{OperationIndex, TxId},
    modifier::Modifiers,
    name::{ActionName, Namespace, OperationName, ParticipantName, RegionName},
    pattern::Pattern,
};

/// The bytes that a participant's action gets. JSON by default; dtx never looks inside.
pub type Payload = Bytes;

/// A checked transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    pub(crate) pattern: Pattern,
    pub(crate) operations: Box<[Operation]>,
    pub(crate) key: Option<Key>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) gate: Gate,
    pub(crate) undo_of: Option<TxId>,
    pub(crate) modifiers: Option<Box<Modifiers>>,
    pub(crate) metadata: Option<Box<BTreeMap<String, String>>>,
}

impl Transaction {
    /// How it is coordinated.
    pub fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// Its operations, in the order in which they were added.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// One operation.
    ///
    /// # Panics
    /// When `index` is not an index of this transaction.
    pub fn operation(&self, index: OperationIndex) -> &Operation {
        &self.operations[index.get()]
    }

    /// The caller's key, if one was given.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// How long it may stay undecided, counted from its accept on the store's clock.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// What the execution of a 3PS waits for.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// Its modifiers; `None` when it has none.
    pub fn modifiers(&self) -> Option<&Modifiers> {
        self.modifiers.as_deref()
    }

    /// Whether something must be waited for at the last gate: an approval, a time, or a
    /// verification of the operations.
    pub fn has_gate(&self) -> bool {
        let verified = |o: &Operation| o.consistency == Consistency::Immediate;
        self.modifiers().is_some_and(|m| {
            m.verification.is_some() || m.approval.is_some() || m.execute_after.is_some()
        }) || self.operations.iter().any(verified)
    }

    /// The transaction that this one reverses.
    pub fn undo_of(&self) -> Option<TxId> {
        self.undo_of
    }

    /// What the caller attached.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.metadata.iter().flat_map(|map| map.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }
}

/// A caller's own name for a transaction: the same key is the same transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The space in which the key is unique.
    pub namespace: Namespace,
    /// The key, 1 to 128 bytes.
    pub key: String,
}

/// The longest caller's key, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// What the execution of a 3PS waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// For the validation of all operations: if one fails, nothing is executed.
    #[default]
    AllValidated,
    /// For nothing: each operation runs through its three phases at its own pace, and what was
    /// executed is compensated when another fails. Weaker: effects may become visible and be
    /// reversed.
    Independent,
}

/// One participant's part of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    pub(crate) name: OperationName,
    pub(crate) participant: ParticipantName,
    pub(crate) action: ActionName,
    pub(crate) action_version: u32,
    pub(crate) payload: Payload,
    pub(crate) depends_on: Box<[OperationIndex]>,
    pub(crate) consistency: Consistency,
    pub(crate) step: StepKind,
    pub(crate) retry: Option<Box<RetryPolicy>>,
    pub(crate) region: Option<RegionName>,
}

impl Operation {
    /// Its name, unique in its transaction.
    pub fn name(&self) -> &OperationName {
        &self.name
    }

    /// Who carries it out.
    pub fn participant(&self) -> &ParticipantName {
        &self.participant
    }

    /// What the participant is asked for.
    pub fn action(&self) -> &ActionName {
        &self.action
    }

    /// The version of the action.
    pub fn action_version(&self) -> u32 {
        self.action_version
    }

    /// The input of the action.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The operations that must be done before this one, whose outputs it gets.
    pub fn depends_on(&self) -> &[OperationIndex] {
        &self.depends_on
    }

    /// How strictly it belongs to the transaction.
    pub fn consistency(&self) -> Consistency {
        self.consistency
    }

    /// What may be done about it after it was executed (Saga).
    pub fn step(&self) -> StepKind {
        self.step
    }

    /// Its own retry policy; `None` means the coordinator's.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.retry.as_deref()
    }

    /// The region in which it runs.
    pub fn region(&self) -> Option<&RegionName> {
        self.region.as_ref()
    }
}

/// How strictly an operation belongs to its transaction (selective consistency).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// In the critical part, and verified before the verdict.
    Immediate,
    /// In the critical part.
    #[default]
    Strong,
    /// Durable and retried until it is done, after the critical part.
    Eventual,
    /// Tried once after the critical part; a loss is allowed and counted.
    BestEffort,
}

impl Consistency {
    /// Whether the outcome of the transaction depends on the operation.
    pub fn is_critical(self) -> bool {
        matches!(self, Self::Immediate | Self::Strong)
    }
}

/// What may be done about a step of a Saga after it was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// It can be compensated.
    #[default]
    Compensatable,
    /// The point of no return: at most one, after every compensatable step.
    Pivot,
    /// It comes after the pivot and is retried until it is done.
    Retriable,
}

/// How often and how fast an operation is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// How many times a command is sent before the operation counts as given up.
    pub attempts_max: u32,
    /// The first pause, in milliseconds; it doubles with each attempt.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_ms_max: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts_max: 20, backoff_ms: 50, backoff_ms_max: 30_000 }
    }
}
