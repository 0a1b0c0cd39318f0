//! Row sets of participants, inside the write transaction of a batch.

use dtx_core::{
    error::{ErrorKind, StoreError},
    ids::Version,
    store::{
        RowDecision, RowExpect, RowKey, RowSet, RowWriteResult, Scope, StoreLimits, check_set,
        evaluate_set,
    },
    time::Timestamp,
};
use redb::{ReadableTable, WriteTransaction};

use crate::{
    codec,
    error::{Failure, NAME},
    tables::{Blob, Lazy, ROWS, row_key},
};

pub(crate) fn unreadable_row(operation: &'static str, scope: &Scope, key: &RowKey) -> StoreError {
    StoreError::new(ErrorKind::Corrupt, NAME, operation)
        .with_context(format!("row {key:?} of scope {scope} cannot be read"))
}

enum Stop {
    Failed(Failure),
    Unreadable(StoreError),
}

/// The table of rows in one write transaction.
pub(crate) struct Rows<'t> {
    rows: Lazy<'t, Blob, Blob>,
    buffer: Vec<u8>,
}

impl<'t> Rows<'t> {
    pub(crate) fn new(transaction: &'t WriteTransaction) -> Self {
        Self { rows: Lazy::new(transaction, ROWS), buffer: Vec::new() }
    }

    /// Decides a set and applies it. `deleted` is the highest version of any deleted row.
    pub(crate) fn write(
        &mut self,
        set: &RowSet,
        limits: &StoreLimits,
        deleted: &mut Version,
        now: Timestamp,
    ) -> Result<RowWriteResult, Failure> {
        if let Err(error) = check_set(set, limits) {
            return Ok(RowWriteResult::Failed(error.into_error(NAME, "write")));
        }
        let rows = self.rows.open()?;
        let decision = evaluate_set(set, now, |key| {
            let stored = rows.get(row_key(&set.scope, key).as_slice());
            match stored.map_err(|error| Stop::Failed(error.into()))? {
                None => Ok(None),
                Some(value) => codec::read_row_version(value.value())
                    .map(Some)
                    .map_err(|_| Stop::Unreadable(unreadable_row("write", &set.scope, key))),
            }
        });
        match decision {
            Ok(RowDecision::Apply) => {}
            Ok(RowDecision::Conflict) => return Ok(RowWriteResult::Conflict),
            Ok(RowDecision::TooLate) => return Ok(RowWriteResult::TooLate),
            Err(Stop::Unreadable(error)) => return Ok(RowWriteResult::Failed(error)),
            Err(Stop::Failed(failure)) => return Err(failure),
        }
        for change in &set.changes {
            let place = row_key(&set.scope, &change.key);
            // What was expected is what is stored, so the version need not be read again.
            let version = match change.expect {
                RowExpect::Absent => *deleted,
                RowExpect::Version(version) => version,
            };
            if let Some(value) = &change.value {
                codec::stored_row(version.next(), value, &mut self.buffer);
                rows.insert(place.as_slice(), self.buffer.as_slice())?;
            } else if change.expect != RowExpect::Absent {
                rows.remove(place.as_slice())?;
                *deleted = version.max(*deleted);
            }
        }
        Ok(RowWriteResult::Written)
    }
}
