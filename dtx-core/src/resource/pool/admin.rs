//! What people and services do with a pool outside transactions.

use std::time::Duration;

use thiserror::Error;

use crate::{
    frame::FrameError,
    ids::{OperationIndex, TxId},
    resource::{
        holds::{ExtendError, HoldSettings, Holds},
        pool::row::{LEVEL_MAX, PoolRow, pool_key},
    },
    store::{RowChange, RowExpect, RowSet, Scope, StoredRow},
    time::Timestamp,
};

/// Why a pool could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It was opened before with another quantity.
    #[error("it was opened before with {opened}, not with {asked}")]
    Differs {
        /// What it was opened with.
        opened: u64,
        /// What was asked for now.
        asked: u64,
    },
    /// The quantity is too large.
    #[error("{0} is over the largest quantity, {LEVEL_MAX}")]
    TooMuch(u64),
    /// The row cannot be read.
    #[error(transparent)]
    Row(#[from] FrameError),
}

fn row_set(scope: &Scope, expect: RowExpect, row: &PoolRow) -> RowSet {
    let change = RowChange { key: pool_key(), expect, value: Some(row.encode()) };
    RowSet { scope: scope.clone(), changes: vec![change], unchanged: Vec::new(), not_after: None }
}

/// The write that opens a pool; `None` when it is open already.
pub(in crate::resource) fn open(
    scope: &Scope,
    found: Option<&StoredRow>,
    now: Timestamp,
    quantity: u64,
) -> Result<Option<RowSet>, OpenError> {
    if quantity > LEVEL_MAX {
        return Err(OpenError::TooMuch(quantity));
    }
    if let Some(found) = found {
        let row = PoolRow::decode(found).map_err(|damaged| damaged.error)?;
        return if row.opened == quantity {
            Ok(None)
        } else {
            Err(OpenError::Differs { opened: row.opened, asked: quantity })
        };
    }
    let row = PoolRow {
        opened: quantity,
        level: quantity,
        hold_count: 0,
        effect_count: 0,
        latest: now,
        holds: Vec::new(),
    };
    Ok(Some(row_set(scope, RowExpect::Absent, &row)))
}

/// The write that extends the claim of an operation.
pub(in crate::resource) fn extend(
    settings: &HoldSettings,
    scope: &Scope,
    found: Option<&StoredRow>,
    now: Timestamp,
    (tx, operation): (TxId, OperationIndex),
    by: Duration,
) -> Result<RowSet, ExtendError> {
    let found = found.ok_or(ExtendError::Gone)?;
    let mut row = PoolRow::decode(found).map_err(|damaged| damaged.error)?;
    row.latest = row.latest.max(now);
    let mut holds = Holds::new(std::mem::take(&mut row.holds));
    holds.expire(row.latest);
    holds.extend(settings, (tx, operation), by)?;
    row.holds = holds.into_vec();
    Ok(row_set(scope, RowExpect::Version(found.version), &row))
}
