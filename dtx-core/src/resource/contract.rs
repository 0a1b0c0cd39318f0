//! What a built-in participant implements.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    answer::{Done, NotDone, PhaseAnswer},
    frame::FrameError,
    ids::TxId,
    resource::barrier::InboxRow,
    store::{RowKey, Scope, StoredRow},
    time::Timestamp,
    transport::Command,
};

/// The rows of one scope that were there when it was read.
pub type ReadRows = BTreeMap<RowKey, StoredRow>;

/// A built-in participant: claim, effect and answer of a command are one write, because all of
/// it is a pure function of the rows of one scope. Driven by [`plan`](super::plan).
pub trait Resource: Debug + Send + Sync + 'static {
    /// The scope that the command touches: `{participant}/` and what the resource adds.
    ///
    /// # Errors
    /// `Unknown` for an action or a version that this resource does not know, `Rejected` for a
    /// payload that can never be right.
    fn scope(&self, command: &Command) -> Result<Scope, NotDone>;

    /// The rows that the command may read or change, without its inbox row. A row that is not
    /// named here may only be added, never changed.
    fn keys(&self, command: &Command) -> Vec<RowKey>;

    /// Decodes the rows of one scope, once for a batch of commands, as they are at `now`.
    ///
    /// # Errors
    /// [`DamagedRow`] when a row cannot be read.
    fn load(&self, rows: &ReadRows, now: Timestamp) -> Result<Box<dyn ScopeState>, DamagedRow>;
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row {key:?}: {error}")]
pub struct DamagedRow {
    /// Which row.
    pub key: RowKey,
    /// What is wrong with it.
    pub error: FrameError,
}

/// The decoded rows of one scope.
pub trait ScopeState: Debug + Send {
    /// Carries a command out that the barrier let through; `Status` changes nothing. `inbox` is
    /// the operation's row as it was before the command. An answer other than `Done` has no
    /// effect on the resource; what may stay is the loss of the operation's own claim
    /// (`Rejected`) or its place in a queue (`Unknown`).
    fn apply(&mut self, command: &Command, inbox: Option<&InboxRow>) -> PhaseAnswer;

    /// How many changes were made so far.
    fn change_count(&self) -> u64;

    /// What is to be written. `None` deletes a row.
    fn into_changes(self: Box<Self>) -> Vec<(RowKey, Option<Bytes>)>;
}

/// What a built-in participant says about an operation, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusOutput {
    /// How far it is.
    pub state: StatusState,
    /// The transactions that it waits for, oldest claim first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<TxId>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusState {
    /// It waits for others.
    Waiting,
    /// It has a claim that ends by itself.
    Held,
    /// It has a claim that does not end by itself.
    Pinned,
    /// It was carried out.
    Executed,
}

impl StatusOutput {
    /// As the answer of a `status`.
    pub(super) fn answer(state: StatusState, waits_for: Vec<TxId>) -> PhaseAnswer {
        let output = serde_json::to_vec(&Self { state, waits_for })?;
        Ok(Done::with(output))
    }
}
