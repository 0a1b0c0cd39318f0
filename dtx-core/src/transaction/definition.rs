//! The definition of a transaction. It can only be had from the builder or by parsing, so a
//! value of this type has passed every check.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

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
///
/// Its serde form is JSON; see [`Transaction::from_json`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub(super) pattern: Pattern,
    pub(super) operations: Box<[Operation]>,
    pub(super) gate: Gate,
    /// `None` when none is given, so that a plain transaction is small.
    pub(super) options: Option<Box<Options>>,
}

/// What a transaction may have besides its operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) key: Option<Key>,
    pub(super) deadline: Option<Duration>,
    pub(super) undo_of: Option<TxId>,
    pub(super) modifiers: Option<Modifiers>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The metadata of a transaction that has none.
static NO_METADATA: BTreeMap<String, String> = BTreeMap::new();

impl Options {
    /// As a transaction keeps them.
    pub(super) fn kept(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
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
        self.options.as_ref()?.key.as_ref()
    }

    /// How long it may stay undecided, counted from its accept on the store's clock. It includes
    /// the waits for an approval and for a delayed execution, and has no effect under 0.5PS,
    /// where the accept decides.
    pub fn deadline(&self) -> Option<Duration> {
        self.options.as_ref()?.deadline
    }

    /// Its own deadline; without one, `default` and the longest waits that its modifiers allow.
    pub fn deadline_or(&self, default: Duration) -> Duration {
        self.deadline().unwrap_or_else(|| {
            default.saturating_add(self.modifiers().map_or(Duration::ZERO, Modifiers::gate_wait))
        })
    }

    /// What the execution of a 3PS waits for.
    pub fn gate(&self) -> Gate {
        self.gate
    }

    /// Its modifiers; `None` when it has none.
    pub fn modifiers(&self) -> Option<&Modifiers> {
        self.options.as_ref()?.modifiers.as_ref()
    }

    /// Whether something must be waited for at the last gate: an approval, a time, or a
    /// verification of the operations.
    pub fn has_gate(&self) -> bool {
        let verified = |o: &Operation| o.consistency() == Consistency::Immediate;
        self.modifiers().is_some_and(|m| {
            m.verification.is_some() || m.approval.is_some() || m.execute_after.is_some()
        }) || self.operations.iter().any(verified)
    }

    /// The transaction that this one reverses.
    pub fn undo_of(&self) -> Option<TxId> {
        self.options.as_ref()?.undo_of
    }

    /// What the caller attached.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all_metadata().iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn all_metadata(&self) -> &BTreeMap<String, String> {
        self.options.as_ref().map_or(&NO_METADATA, |options| &options.metadata)
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
///
/// Everything but the payload is the same for most transactions of a program, so it is shared
/// among them: an operation in memory is its payload and one pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub(super) shape: Arc<Shape>,
    pub(super) payload: Payload,
}

/// An operation without its payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) name: OperationName,
    pub(super) participant: ParticipantName,
    pub(super) action: ActionName,
    pub(super) action_version: u32,
    pub(super) depends_on: Box<[OperationIndex]>,
    pub(super) consistency: Consistency,
    pub(super) step: StepKind,
    pub(super) retry: Option<Box<RetryPolicy>>,
    pub(super) region: Option<RegionName>,
}

/// How many shapes a thread remembers for sharing. Past it all are forgotten, which costs memory
/// for a while and nothing else.
const SHAPES_MAX: usize = 1024;

thread_local! {
    // One set per thread needs no lock; what is shared is never seen from outside.
    static SHAPES: RefCell<BTreeSet<Arc<Shape>>> = const { RefCell::new(BTreeSet::new()) };
}

impl Shape {
    /// The shape as one that equal shapes of this thread share.
    pub(super) fn shared(self) -> Arc<Self> {
        SHAPES.with_borrow_mut(|shapes| {
            if let Some(known) = shapes.get(&self) {
                return Arc::clone(known);
            }
            if shapes.len() >= SHAPES_MAX {
                shapes.clear();
            }
            let shape = Arc::new(self);
            shapes.insert(Arc::clone(&shape));
            shape
        })
    }
}

impl Operation {
    /// Its name, unique in its transaction.
    pub fn name(&self) -> &OperationName {
        &self.shape.name
    }

    /// Who carries it out.
    pub fn participant(&self) -> &ParticipantName {
        &self.shape.participant
    }

    /// What the participant is asked for.
    pub fn action(&self) -> &ActionName {
        &self.shape.action
    }

    /// The version of the action.
    pub fn action_version(&self) -> u32 {
        self.shape.action_version
    }

    /// The input of the action.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The operations that must be done before this one, whose outputs it gets.
    pub fn depends_on(&self) -> &[OperationIndex] {
        &self.shape.depends_on
    }

    /// How strictly it belongs to the transaction.
    pub fn consistency(&self) -> Consistency {
        self.shape.consistency
    }

    /// What may be done about it after it was executed (Saga).
    pub fn step(&self) -> StepKind {
        self.shape.step
    }

    /// Its own retry policy; `None` means the coordinator's.
    pub fn retry(&self) -> Option<&RetryPolicy> {
        self.shape.retry.as_deref()
    }

    /// The region in which it runs.
    pub fn region(&self) -> Option<&RegionName> {
        self.shape.region.as_ref()
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
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
