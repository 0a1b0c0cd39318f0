//! The typed way to a transaction.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    ids::TxId,
    json,
    modifier::{Approval, Modifiers, TimeBounds, Verification, VerifyWhen},
    pattern::Pattern,
    transaction::{
        Action, Consistency, DefinitionError, Gate, Limits, Payload, RetryPolicy, StepKind,
        Transaction, checks, resolve,
    },
};

/// The namespace of a key that is given without one.
pub(super) const NAMESPACE_DEFAULT: &str = "default";

/// Builds a [`Transaction`]. Nothing is checked before [`build`](Self::build), which finds
/// everything.
#[derive(Clone, Debug)]
#[must_use]
pub struct TransactionBuilder {
    pub(super) pattern: Pattern,
    pub(super) operations: Vec<OperationDraft>,
    pub(super) in_sequence: bool,
    /// Namespace and key.
    pub(super) key: Option<(String, String)>,
    pub(super) deadline: Option<Duration>,
    pub(super) gate: Gate,
    pub(super) undo_of: Option<TxId>,
    pub(super) modifiers: Modifiers,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Transaction {
    /// Begins a transaction of this pattern.
    pub fn builder(pattern: Pattern) -> TransactionBuilder {
        TransactionBuilder {
            pattern,
            operations: Vec::new(),
            in_sequence: false,
            key: None,
            deadline: None,
            gate: Gate::default(),
            undo_of: None,
            modifiers: Modifiers::default(),
            metadata: BTreeMap::new(),
        }
    }
}

impl TransactionBuilder {
    /// The caller's key in the namespace `default`: the same key is the same transaction.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.key_in(NAMESPACE_DEFAULT, key)
    }

    /// The caller's key in a namespace of its own.
    pub fn key_in(mut self, namespace: impl Into<String>, key: impl Into<String>) -> Self {
        self.key = Some((namespace.into(), key.into()));
        self
    }

    /// Adds an operation: `participant` carries `A` out with this input. It is named after the
    /// action, with `-2`, `-3` and so on when that name is taken.
    pub fn call<A: Action>(self, participant: impl Into<String>, input: A::Input) -> Self {
        self.operation(OperationDraft::call::<A>(participant, input))
    }

    /// Adds an operation with options of its own.
    pub fn operation(mut self, operation: OperationDraft) -> Self {
        self.operations.push(operation);
        self
    }

    /// Makes the operations a sequence: each that names no dependency itself depends on the one
    /// added before it. In 1.5PS that goes for the critical ones. Without this, operations that
    /// do not depend on each other run in parallel.
    pub fn in_sequence(mut self) -> Self {
        self.in_sequence = true;
        self
    }

    /// How long the transaction may stay undecided, waits for approvals and delays included.
    /// Rounded up to milliseconds, as every time here.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// 3PS: what the execution waits for.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// All modifiers at once. Replaces what was set.
    pub fn modifiers(mut self, modifiers: Modifiers) -> Self {
        self.modifiers = modifiers;
        self
    }

    /// OV: asks the participants for their status at the last gate, when the condition holds.
    /// `amount` is what `AmountOver` looks at, in the transaction's own minor units.
    pub fn verify(mut self, when: VerifyWhen, amount: i64) -> Self {
        self.modifiers.verification = Some(Verification { when, amount });
        self
    }

    /// OV: waits at the last gate for a person, for so long at the most.
    pub fn approval(mut self, timeout: Duration) -> Self {
        self.modifiers.approval = Some(Approval { timeout });
        self
    }

    /// OV: passes the last gate no sooner than this long after the accept.
    pub fn execute_after(mut self, delay: Duration) -> Self {
        self.modifiers.execute_after = Some(delay);
        self
    }

    /// TBS: how long the phases may take.
    pub fn time_bounds(mut self, bounds: TimeBounds) -> Self {
        self.modifiers.time_bounds = Some(bounds);
        self
    }

    /// Links the transaction to the one that it reverses.
    pub fn undo_of(mut self, tx: TxId) -> Self {
        self.undo_of = Some(tx);
        self
    }

    /// Attaches an entry for people and tools. The same name replaces the value.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Checks everything, under [`Limits::DEFAULT`].
    ///
    /// # Errors
    /// The first thing that is wrong, with its field and what would be right.
    pub fn build(self) -> Result<Transaction, DefinitionError> {
        self.build_within(&Limits::DEFAULT)
    }

    /// Checks everything, under limits of one's own.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn build_within(self, limits: &Limits) -> Result<Transaction, DefinitionError> {
        let limits = limits.within_ceiling();
        let transaction = resolve::resolve(self, &limits)?;
        checks::check(&transaction, &limits)?;
        Ok(transaction)
    }
}

/// An operation on its way into a transaction.
#[derive(Clone, Debug)]
#[must_use]
pub struct OperationDraft {
    pub(super) name: Option<String>,
    pub(super) participant: String,
    pub(super) action: String,
    pub(super) action_version: u32,
    /// The bytes, or why the input could not be written.
    pub(super) payload: Result<Payload, String>,
    pub(super) depends_on: Vec<String>,
    pub(super) consistency: Option<Consistency>,
    pub(super) step: StepKind,
    pub(super) retry: Option<RetryPolicy>,
    pub(super) region: Option<String>,
}

impl OperationDraft {
    /// `participant` carries `action` out, in version 1 and with an empty payload.
    pub fn new(participant: impl Into<String>, action: impl Into<String>) -> Self {
        Self {
            name: None,
            participant: participant.into(),
            action: action.into(),
            action_version: 1,
            payload: Ok(Payload::new()),
            depends_on: Vec::new(),
            consistency: None,
            step: StepKind::default(),
            retry: None,
            region: None,
        }
    }

    /// `participant` carries `A` out with this input, which is written as JSON.
    pub fn call<A: Action>(participant: impl Into<String>, input: A::Input) -> Self {
        Self::new(participant, A::NAME).version(A::VERSION).json(&input)
    }

    /// Its name, unique in its transaction. Else it is named after its action.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The version of the action.
    pub fn version(mut self, version: u32) -> Self {
        self.action_version = version;
        self
    }

    /// The payload, written as JSON.
    pub fn json<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.payload = json::encode(input).map_err(|error| error.to_string());
        self
    }

    /// The payload as it is.
    pub fn payload(mut self, payload: impl Into<Payload>) -> Self {
        self.payload = Ok(payload.into());
        self
    }

    /// The operations that must be done before this one, and whose outputs it gets.
    pub fn depends_on<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.depends_on.extend(names.into_iter().map(Into::into));
        self
    }

    /// How strictly it belongs to its transaction. Else `Eventual` under 0.5PS and `Strong`
    /// elsewhere.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = Some(consistency);
        self
    }

    /// Saga: what may be done about it after it was executed.
    pub fn step(mut self, step: StepKind) -> Self {
        self.step = step;
        self
    }

    /// Its own retry policy.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// The region in which it runs.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }
}
