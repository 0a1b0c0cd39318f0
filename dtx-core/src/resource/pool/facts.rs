//! What a pool's row says, for those who judge a run from outside.

use bytes::Bytes;

use crate::{
    frame::FrameError,
    ids::{OperationIndex, TxId},
    resource::{
        codec,
        holds::HoldKind,
        pool::row::{PoolRow, pool_key},
    },
    store::RowKey,
    time::Timestamp,
};

/// One claim on a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Whose it is.
    pub tx: TxId,
    /// Which operation's.
    pub operation: OperationIndex,
    /// How much it claims.
    pub amount: u64,
    /// What it claims is there for it, pinned or not.
    pub strict: bool,
    /// It claims room for what will be added, and takes nothing.
    pub incoming: bool,
    /// No clock may release it.
    pub pinned: bool,
    /// When it ends by itself if it is not pinned, on the participant store's clock.
    pub expires_at: Timestamp,
}

/// What the one row of a pool says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFacts {
    /// What it was opened with.
    pub opened: u64,
    /// What is there, claimed or not.
    pub level: u64,
    /// The latest time that a change saw, on the participant store's clock.
    pub latest: Timestamp,
    /// The claims, by number.
    pub claims: Vec<ClaimFacts>,
}

impl PoolFacts {
    /// What a row of a pool's scope says; `None` for a row of another kind.
    ///
    /// # Errors
    /// [`FrameError`] when the row cannot be read.
    pub fn of(key: &RowKey, value: &Bytes) -> Option<Result<Self, FrameError>> {
        if *key != pool_key() {
            return None;
        }
        let row = codec::decode::<PoolRow>(crate::frame::Kind::PoolRow, value);
        Some(row.map(|row| {
            Self {
                opened: row.opened,
                level: row.level,
                latest: row.latest,
                claims: row
                    .holds
                    .iter()
                    .map(|hold| ClaimFacts {
                        tx: hold.owner.0,
                        operation: hold.owner.1,
                        amount: hold.amount,
                        strict: hold.kind == HoldKind::Strict,
                        incoming: hold.kind == HoldKind::Incoming,
                        pinned: hold.pinned,
                        expires_at: hold.expires_at,
                    })
                    .collect(),
            }
        }))
    }
}
