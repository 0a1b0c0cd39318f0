//! A commit: writes as arrays, in one statement.

use std::{collections::HashSet, sync::Arc};

use dtx_core::{
    error::{Effect, ErrorKind},
    ids::{TxId, Version},
    store::{CommitResult, StoreInfo, TxWrite, check_write},
    transaction::Key,
};
use sqlx::{PgConnection, Postgres, Row, postgres::PgArguments, query::Query};
use uuid::Uuid;

use crate::{
    codec,
    error::{Failure, NAME},
    parts::{self, Answer, STATEMENT_BYTES},
    store::Inner,
};

/// Writes of different transactions with different keys, column by column.
#[derive(Clone, Default)]
struct Columns {
    tx: Vec<Uuid>,
    shard: Vec<i32>,
    writer: Vec<Uuid>,
    number: Vec<i64>,
    expect: Vec<Option<i64>>,
    holder: Vec<Option<Uuid>>,
    epoch: Vec<Option<i64>>,
    verdict: Vec<Option<i16>>,
    namespace: Vec<Option<String>>,
    key: Vec<Option<Vec<u8>>>,
    definition: Vec<Option<Vec<u8>>>,
    due: Vec<Option<i64>>,
    pattern: Vec<i16>,
    status: Vec<i16>,
    exceptions: Vec<bool>,
    summary: Vec<Vec<u8>>,
    state: Vec<Vec<u8>>,
    journal: Vec<Option<Vec<u8>>>,
}

/// Some writes of a call that go in one statement.
#[derive(Default)]
struct Part {
    /// Where they stand in the call.
    places: Vec<usize>,
    columns: Columns,
    ids: HashSet<TxId>,
    keys: HashSet<Key>,
    bytes: usize,
}

impl Part {
    /// Whether a write has to wait for those in here, or would make the statement too long.
    fn is_closed_to(&self, write: &TxWrite) -> bool {
        self.ids.contains(&write.tx)
            || write.key.as_ref().is_some_and(|key| self.keys.contains(key))
            || self.bytes >= STATEMENT_BYTES
    }

    fn push(&mut self, place: usize, write: &TxWrite, info: &StoreInfo) {
        self.places.push(place);
        self.ids.insert(write.tx);
        self.keys.extend(write.key.clone());
        let columns = &mut self.columns;
        columns.tx.push(codec::id(write.tx));
        columns.shard.push(i32::from(write.tx.shard(info.shards).0));
        columns.writer.push(codec::holder(write.id.writer));
        columns.number.push(codec::number(write.id.number));
        columns.expect.push(match write.expect {
            dtx_core::store::Expect::Absent => None,
            dtx_core::store::Expect::Version(version) => Some(codec::version(version)),
        });
        columns.holder.push(write.fence.map(|fence| codec::holder(fence.holder)));
        columns.epoch.push(write.fence.map(|fence| codec::number(fence.epoch.0)));
        columns.verdict.push(write.verdict.map(codec::verdict));
        let key = write.key.as_ref();
        columns.namespace.push(key.map(|key| key.namespace.as_str().to_owned()));
        columns.key.push(key.map(|key| key.key.as_bytes().to_vec()));
        columns.definition.push(write.definition.as_ref().map(|bytes| bytes.to_vec()));
        columns.due.push(write.due.map(codec::time));
        columns.pattern.push(codec::pattern(write.summary.pattern));
        columns.status.push(codec::status(write.summary.status));
        columns.exceptions.push(!write.summary.exceptions.is_empty());
        columns.summary.push(codec::summary(&write.summary));
        columns.state.push(write.state.to_vec());
        columns.journal.push(codec::journal(&write.journal));
        let last = columns.summary.last().map_or(0, Vec::len)
            + columns.journal.last().and_then(Option::as_ref).map_or(0, Vec::len);
        let definition = write.definition.as_ref().map_or(0, bytes::Bytes::len);
        self.bytes += last + definition + write.state.len();
    }
}

/// As [`StateStore::commit`](dtx_core::store::StateStore::commit), of no more writes than a batch
/// may have.
pub(crate) async fn commit(inner: &Arc<Inner>, writes: &[TxWrite]) -> Vec<CommitResult> {
    let mut results: Vec<Option<CommitResult>> = Vec::with_capacity(writes.len());
    let mut parts: Vec<Part> = Vec::new();
    for (place, write) in writes.iter().enumerate() {
        if let Err(error) = check_write(write, &inner.info.limits, inner.info.shards) {
            results.push(Some(CommitResult::Failed(error.into_error(NAME, "commit"))));
            continue;
        }
        results.push(None);
        match parts.last_mut() {
            Some(part) if !part.is_closed_to(write) => part.push(place, write, &inner.info),
            _ => {
                let mut part = Part::default();
                part.push(place, write, &inner.info);
                parts.push(part);
            }
        }
    }
    parts::settle(inner, parts, results).await
}

fn failed(failure: Failure) -> CommitResult {
    CommitResult::Failed(failure.into_error("commit"))
}

impl parts::Part for Part {
    type Result = CommitResult;

    fn places(&self) -> &[usize] {
        &self.places
    }

    /// A statement that met others looks everywhere at once the next time.
    async fn send(&self, inner: &Inner, is_again: bool) -> Answer<CommitResult> {
        let query = query(inner, self.columns.clone(), is_again);
        let rows = inner.fetch(query, Effect::Unknown).await?;
        rows.iter().map(decided).collect()
    }

    fn failed(failure: Failure) -> CommitResult {
        failed(failure)
    }
}

/// Commits one write over a connection of the caller's, as a part of its transaction.
pub(crate) async fn commit_over(
    inner: &Inner,
    connection: &mut PgConnection,
    write: &TxWrite,
) -> CommitResult {
    if let Err(error) = check_write(write, &inner.info.limits, inner.info.shards) {
        return CommitResult::Failed(error.into_error(NAME, "begin_in"));
    }
    let mut part = Part::default();
    part.push(0, write, &inner.info);
    // A failure would cost the caller's transaction, so it is looked for everywhere at once.
    let rows = query(inner, part.columns, true).fetch_all(connection).await;
    let rows = rows.map_err(|error| Failure::of(&error, Effect::None));
    match rows.and_then(|rows| rows.first().map(decided).transpose()) {
        Ok(Some(decided)) => decided,
        Ok(None) => failed(Failure::new(ErrorKind::Internal, Effect::None, "no answer for it")),
        Err(failure) => failed(failure),
    }
}

fn query(inner: &Inner, columns: Columns, careful: bool) -> Query<'static, Postgres, PgArguments> {
    let query = inner.sql.commit.query();
    query
        .bind(careful)
        .bind(columns.tx)
        .bind(columns.shard)
        .bind(columns.writer)
        .bind(columns.number)
        .bind(columns.expect)
        .bind(columns.holder)
        .bind(columns.epoch)
        .bind(columns.verdict)
        .bind(columns.namespace)
        .bind(columns.key)
        .bind(columns.definition)
        .bind(columns.due)
        .bind(columns.pattern)
        .bind(columns.status)
        .bind(columns.exceptions)
        .bind(columns.summary)
        .bind(columns.state)
        .bind(columns.journal)
}

/// Reads what became of one write.
fn decided(row: &sqlx::postgres::PgRow) -> Result<CommitResult, Failure> {
    let failed = |error: sqlx::Error| Failure::of(&error, Effect::Unknown);
    let code: i16 = row.try_get(0).map_err(failed)?;
    let version: Option<i64> = row.try_get(1).map_err(failed)?;
    let found = version.map(|version| Version(codec::read_number(version)));
    match (code, found) {
        (0 | 1, Some(version)) => Ok(CommitResult::Committed(version)),
        (2, found) => {
            let verdict: Option<i16> = row.try_get(2).map_err(failed)?;
            let verdict = verdict.map(codec::read_verdict).transpose();
            let unreadable = |_| {
                let context = "the verdict of the row cannot be read";
                Failure::new(ErrorKind::Corrupt, Effect::None, context)
            };
            Ok(CommitResult::Conflict { found, verdict: verdict.map_err(unreadable)? })
        }
        (3, _) => Ok(CommitResult::Fenced),
        (4, _) => {
            let owner: Uuid = row.try_get(3).map_err(failed)?;
            Ok(CommitResult::DuplicateKey { tx: codec::read_id(owner) })
        }
        _ => {
            let context = format!("the answer {code} is unknown");
            Err(Failure::new(ErrorKind::Internal, Effect::Unknown, context))
        }
    }
}
