//! A built-in participant that says no, and remembers when it had to.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use dtx::{
    answer::{NotDone, PhaseAnswer, rejected},
    ids::{OperationIndex, TxId},
    pattern::Phase,
    resource::{DamagedRow, ReadRows, Resource, ScopeState, audit, barrier::InboxRow},
    store::{RowKey, Scope, StoredRow},
    time::Timestamp,
    transport::Command,
};
use serde::{Deserialize, Serialize};

use super::{Draw, Faults};

/// What the keys of refusals begin with; no other row of a scope begins so.
const REFUSAL_PREFIX: &[u8] = b"r";

/// A no of the participant's own, as it is stored: because there was not enough. Written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// No other operation held a claim at that moment.
    pub(crate) alone: bool,
    /// When, on the participant store's clock.
    pub(crate) at: Timestamp,
}

impl Refusal {
    fn key(command: &Command) -> RowKey {
        let mut key = BytesMut::with_capacity(REFUSAL_PREFIX.len() + 18);
        key.put_slice(REFUSAL_PREFIX);
        key.put_slice(command.tx.as_bytes());
        key.put_u16(command.operation.0);
        RowKey(key.freeze())
    }

    /// The refusal that a row records; `None` for a row of another kind, and one that cannot be
    /// read.
    pub(crate) fn of(key: &RowKey, stored: &StoredRow) -> Option<((TxId, OperationIndex), Self)> {
        let rest = key.0.strip_prefix(REFUSAL_PREFIX)?;
        let (tx, operation) = rest.split_first_chunk::<16>()?;
        let operation = OperationIndex(u16::from_be_bytes(operation.try_into().ok()?));
        let refusal = serde_json::from_slice(&stored.value).ok()?;
        Some(((TxId::from_bytes(*tx), operation), refusal))
    }
}

/// A built-in participant that says no as it is drawn. Where `remembers` is set, it also keeps
/// the no of its own that there was not enough.
#[derive(Clone, Debug)]
pub(crate) struct Refusing<R> {
    pub(crate) inner: R,
    pub(crate) faults: Option<Arc<Faults>>,
    pub(crate) remembers: bool,
}

impl<R: Resource> Resource for Refusing<R> {
    fn scope(&self, command: &Command) -> Result<Scope, NotDone> {
        self.inner.scope(command)
    }

    fn keys(&self, command: &Command) -> Vec<RowKey> {
        self.inner.keys(command)
    }

    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow> {
        let inner = self.inner.load(rows, now)?;
        let changes_before = inner.change_count();
        // Rows share their bytes, so this copies little; it is looked at only after a no.
        let rows = if self.remembers { rows.clone() } else { ReadRows::new() };
        Ok(Box::new(RefusingState {
            inner,
            faults: self.faults.clone(),
            remembers: self.remembers,
            rows,
            now,
            changes_before,
            held_before: None,
            refusals: Vec::new(),
        }))
    }
}

#[derive(Debug)]
struct RefusingState {
    inner: Box<dyn ScopeState>,
    faults: Option<Arc<Faults>>,
    remembers: bool,
    rows: ReadRows,
    now: Timestamp,
    changes_before: u64,
    /// How many claims were live when the rows were read.
    held_before: Option<u64>,
    refusals: Vec<(RowKey, Refusal)>,
}

impl RefusingState {
    fn is_drawn(&self, command: &Command) -> bool {
        let Some(faults) = &self.faults else { return false };
        let Some(order) = faults.order(command.tx) else { return false };
        let draw = Draw { order, operation: command.operation.0, phase: command.phase };
        faults.refuses(draw, command.pattern, command.attempt)
    }

    /// Whether no rival held anything. After a change in the same batch nobody knows, which
    /// counts as a rival.
    fn is_alone(&mut self, command: &Command, changes: u64) -> bool {
        let (rows, now) = (&self.rows, self.now);
        let held = self.held_before.get_or_insert_with(|| audit(rows, now).holds);
        // A validation that fails is about a claim of its own.
        let own = u64::from(command.phase == Phase::Validate);
        changes == self.changes_before && *held <= own
    }
}

impl ScopeState for RefusingState {
    fn apply(&mut self, command: &Command, inbox: Option<&InboxRow>) -> PhaseAnswer {
        if self.is_drawn(command) {
            return rejected("the service was told to say no");
        }
        let changes = self.inner.change_count();
        let answer = self.inner.apply(command, inbox);
        // A message is tried again after a no, so its no is not the last word.
        let is_last_word = !command.phase.is_backward()
            && !matches!(command.phase, Phase::Deliver | Phase::Status);
        if self.remembers && is_last_word && matches!(answer, Err(NotDone::Rejected(_))) {
            let refusal = Refusal { alone: self.is_alone(command, changes), at: self.now };
            self.refusals.push((Refusal::key(command), refusal));
        }
        answer
    }

    fn change_count(&self) -> u64 {
        self.inner.change_count() + self.refusals.len() as u64
    }

    fn into_changes(self: Box<Self>) -> Vec<(RowKey, Option<Bytes>)> {
        let mut changes = self.inner.into_changes();
        for (key, refusal) in self.refusals {
            let value = serde_json::to_vec(&refusal).expect("plain fields are always valid JSON");
            changes.push((key, Some(value.into())));
        }
        changes
    }
}
