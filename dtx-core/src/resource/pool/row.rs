//! The rows of a pool.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{NotDone, rejected},
    frame::{FrameError, Kind},
    ids::{OperationIndex, TxId},
    name::ParticipantName,
    resource::{DamagedRow, codec, holds::Hold},
    store::{RowKey, Scope, StoredRow},
    time::Timestamp,
};

/// The largest quantity of a pool: 2^50. Every number up to it is exact in JSON.
pub const LEVEL_MAX: u64 = 1 << 50;

/// The longest name of an item, an account or a lock, in bytes.
pub const NAME_MAX: usize = 128;

/// What the keys of effect rows begin with.
pub(super) const EFFECT_PREFIX: &[u8] = b"e";

/// The one row of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PoolRow {
    /// What it was opened with.
    pub(super) opened: u64,
    /// What is there now, claimed or not.
    pub(super) level: u64,
    /// How many claims were ever made: the number of the last one.
    pub(super) hold_count: u64,
    /// How many effects were ever recorded: the number of the last one.
    pub(super) effect_count: u64,
    /// The latest time that a change saw; time never goes back for a pool.
    pub(super) latest: Timestamp,
    /// The live claims, by number.
    pub(super) holds: Vec<Hold>,
}

/// One change of the quantity. Written once and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectRow {
    /// Whose change it is.
    pub tx: TxId,
    /// Which operation of it.
    pub operation: OperationIndex,
    /// What was added; negative when it was taken.
    pub change: i64,
    /// It reverses an earlier one.
    pub is_reversal: bool,
    /// When, on the participant store's clock.
    pub at: Timestamp,
}

impl EffectRow {
    /// The effect that a row of a pool's scope records; `None` for a row of another kind.
    ///
    /// # Errors
    /// [`FrameError`] when the row cannot be read.
    pub fn of(key: &RowKey, stored: &StoredRow) -> Option<Result<Self, FrameError>> {
        key.0.starts_with(EFFECT_PREFIX).then(|| codec::decode(Kind::EffectRow, &stored.value))
    }
}

/// What an execution gives back, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolOutput {
    /// What was there after it, claimed by others or not.
    pub left: u64,
}

impl PoolRow {
    pub(super) fn decode(stored: &StoredRow) -> Result<Self, DamagedRow> {
        codec::decode(Kind::PoolRow, &stored.value)
            .map_err(|error| DamagedRow { key: pool_key(), error })
    }

    pub(super) fn encode(&self) -> Bytes {
        codec::encode(Kind::PoolRow, self)
    }
}

/// The key of the one row of a pool.
pub(in crate::resource) fn pool_key() -> RowKey {
    RowKey(Bytes::from_static(b"p"))
}

pub(super) fn effect_key(number: u64) -> RowKey {
    let mut key = BytesMut::with_capacity(EFFECT_PREFIX.len() + 8);
    key.put_slice(EFFECT_PREFIX);
    key.put_u64(number);
    RowKey(key.freeze())
}

/// The scope of a named thing of a participant.
pub(in crate::resource) fn scope_of(
    participant: &ParticipantName,
    name: &str,
) -> Result<Scope, NotDone> {
    if name.is_empty() || name.len() > NAME_MAX {
        return rejected(format!("the name has {} bytes; give 1 to {NAME_MAX}", name.len()));
    }
    Scope::new(format!("{participant}/{name}")).or_else(|error| rejected(error.to_string()))
}
