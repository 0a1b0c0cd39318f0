//! Records from rows.

use std::collections::HashMap;

use dtx_core::{
    error::StoreError,
    ids::{HolderId, TxId, Version, WriteId},
    name::Namespace,
    store::TxRecord,
    transaction::Key,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::{codec, error::corrupt, store::column};

/// The record in a row with the columns of `RECORD`.
pub(crate) fn record(row: &PgRow, operation: &'static str) -> Result<TxRecord, StoreError> {
    let tx = codec::read_id(column(row, 0, operation)?);
    let unreadable = |what: &str| corrupt(operation, format!("{what} of {tx} cannot be read"));
    let namespace: Option<String> = column(row, 1, operation)?;
    let key: Option<Vec<u8>> = column(row, 2, operation)?;
    let key = match (namespace, key) {
        (Some(namespace), Some(key)) => Some(Key {
            namespace: Namespace::new(namespace).map_err(|_| unreadable("the namespace"))?,
            key: String::from_utf8(key).map_err(|_| unreadable("the key"))?,
        }),
        _ => None,
    };
    let verdict: Option<i16> = column(row, 8, operation)?;
    let verdict = verdict.map(codec::read_verdict).transpose();
    let summary: &[u8] = column(row, 11, operation)?;
    Ok(TxRecord {
        tx,
        version: Version(codec::read_number(column(row, 5, operation)?)),
        last_write: WriteId {
            writer: HolderId(column::<Uuid>(row, 6, operation)?.as_u128()),
            number: codec::read_number(column(row, 7, operation)?),
        },
        key,
        definition: codec::bytes(column(row, 4, operation)?),
        verdict: verdict.map_err(|_| unreadable("the verdict"))?,
        state: codec::bytes(column(row, 12, operation)?),
        due: column::<Option<i64>>(row, 10, operation)?.map(codec::read_time),
        summary: codec::read_summary(summary).map_err(|_| unreadable("the summary"))?,
        accepted_at: codec::read_time(column(row, 3, operation)?),
        written_at: codec::read_time(column(row, 9, operation)?),
    })
}

/// The records of rows that are in no order, by transaction.
pub(crate) fn by_id(
    rows: &[PgRow],
    operation: &'static str,
) -> Result<HashMap<TxId, TxRecord>, StoreError> {
    let records = rows.iter().map(|row| record(row, operation));
    records.map(|record| record.map(|record| (record.tx, record))).collect()
}
