//! The inbox in the handler's own transaction.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::Version,
    store::{Begun, Opened, RowKey, RowWriteResult, Scope, StoredRow, Unit, UnitStore},
};
use sqlx::{PgConnection, Postgres, Row, Transaction, postgres::PgRow};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    codec,
    error::Failure,
    store::{Inner, PgStore, owned},
};

/// A transaction of PostgreSQL as the unit of work: `cx.tx()` is its connection.
///
/// `sqlx::query(..).execute(&mut **cx.tx())` does something in it. `begin` on it makes a
/// savepoint. A handler must not end the transaction by a statement of its own: nothing is
/// answered then, and the next attempt runs again.
#[derive(Clone, Copy, Debug)]
pub struct Pg;

/// An open transaction, with the row that its first statement claimed.
pub struct PgOpen {
    pub(crate) transaction: Transaction<'static, Postgres>,
    pub(crate) claim: Claim,
    _permit: OwnedSemaphorePermit,
}

/// The row that a transaction claimed.
#[derive(Clone)]
pub(crate) struct Claim {
    began: i64,
    scope: Scope,
    key: RowKey,
    expect: Option<Version>,
}

impl fmt::Debug for PgOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgOpen").field("scope", &self.claim.scope).finish_non_exhaustive()
    }
}

impl Unit for Pg {
    type Open = PgOpen;
    type Tx<'a> = &'a mut PgConnection;

    fn tx(open: &mut PgOpen) -> &mut PgConnection {
        &mut open.transaction
    }
}

/// The name of no other savepoint: those of sqlx are numbered.
const SAVEPOINT: &str = "SAVEPOINT dtx_claimed";
const UNDO: &str = "ROLLBACK TO SAVEPOINT dtx_claimed";

type Opening = Result<Begun<PgOpen>, Failure>;

async fn begin(inner: Arc<Inner>, scope: Scope, key: RowKey, mark: RowKey) -> Opening {
    let permit = inner.units.clone().acquire_owned().await;
    let closed = || Failure::new(ErrorKind::Closed, Effect::None, "the store was closed");
    let permit = permit.map_err(|_| closed())?;
    let limit = inner.call_timeout;
    let work = async {
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
        let mut transaction =
            inner.pool.begin_with(begin).await.map_err(|error| Failure::of_connecting(&error))?;
        let query = inner.sql.claim_row.query().bind(scope.as_str().to_owned());
        let query = query.bind(key.0.to_vec()).bind(mark.0.to_vec());
        let failed = |error: sqlx::Error| Failure::of(&error, Effect::None);
        let row = query.fetch_one(&mut *transaction).await.map_err(failed)?;
        if !row.try_get::<bool, _>(0).map_err(failed)? {
            transaction.rollback().await.map_err(failed)?;
            return Ok(Begun::Busy);
        }
        sqlx::raw_sql(SAVEPOINT).execute(&mut *transaction).await.map_err(failed)?;
        let began = row.try_get(1).map_err(failed)?;
        let now = inner.seen(row.try_get(2).map_err(failed)?);
        let stored_row = stored(&row, 3).map_err(failed)?;
        let mark = stored(&row, 5).map_err(failed)?;
        let expect = stored_row.as_ref().map(|row| row.version);
        let claim = Claim { began, scope, key, expect };
        let open = PgOpen { transaction, claim, _permit: permit };
        Ok(Begun::Open(Opened { open, row: stored_row, mark, now }))
    };
    let begun = tokio::time::timeout(limit, work).await;
    begun.unwrap_or_else(|_| Err(Failure::late(limit, Effect::None)))
}

fn stored(row: &PgRow, at: usize) -> Result<Option<StoredRow>, sqlx::Error> {
    let version: Option<i64> = row.try_get(at)?;
    let value: Option<Vec<u8>> = row.try_get(at + 1)?;
    Ok(version.zip(value).map(|(version, value)| StoredRow {
        version: Version(codec::read_number(version)),
        value: codec::bytes(value),
    }))
}

/// Writes the claimed row as the last statement of its transaction.
pub(crate) async fn finish(
    inner: &Inner,
    transaction: &mut Transaction<'static, Postgres>,
    claim: &Claim,
    value: &Bytes,
) -> Result<(), Failure> {
    let query = inner.sql.finish_row.query().bind(claim.began);
    let query = query.bind(claim.scope.as_str().to_owned()).bind(claim.key.0.to_vec());
    let query = query.bind(claim.expect.map(codec::version)).bind(value.to_vec());
    let done = query.execute(&mut **transaction).await;
    done.map(drop).map_err(|error| Failure::of(&error, Effect::None))
}

/// Ends what is left of a transaction before its caller is told anything. The server tells an error
/// before it frees the row, so who began again at once would find it taken.
pub(crate) async fn let_go(transaction: Transaction<'static, Postgres>) {
    // The server does it by itself when the connection is gone.
    if let Err(error) = transaction.rollback().await {
        tracing::debug!(%error, "a transaction was not rolled back");
    }
}

/// What became of a transaction that was to end with its row written.
pub(crate) fn result(done: Result<Result<(), Failure>, Failure>) -> RowWriteResult {
    match done.and_then(|done| done) {
        Ok(()) => RowWriteResult::Written,
        Err(failure) => RowWriteResult::Failed(failure.into_error("commit")),
    }
}

async fn commit(inner: Arc<Inner>, open: PgOpen, value: Bytes) -> Result<(), Failure> {
    let PgOpen { mut transaction, claim, _permit } = open;
    let limit = inner.call_timeout;
    let work = async {
        if let Err(failure) = finish(&inner, &mut transaction, &claim, &value).await {
            let_go(transaction).await;
            return Err(failure);
        }
        // The server may have done it although the connection died before it could say so.
        let done = transaction.commit().await;
        done.map_err(|error| Failure::of(&error, Effect::Unknown))
    };
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(Failure::late(limit, Effect::Unknown)))
}

/// Undoes all, and commits a message in its place, over the connection that has read: the standbys
/// of the same server have what was read before that.
async fn confirm(inner: Arc<Inner>, open: PgOpen) -> Result<(), Failure> {
    let PgOpen { mut transaction, _permit, .. } = open;
    let limit = inner.call_timeout;
    let work = async {
        sqlx::raw_sql(UNDO).execute(&mut *transaction).await?;
        inner.sql.confirm.query().execute(&mut *transaction).await?;
        transaction.commit().await
    };
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| Failure::of(&error, Effect::None)),
        Err(_) => Err(Failure::late(limit, Effect::None)),
    }
}

#[async_trait]
impl UnitStore for PgStore {
    type Unit = Pg;

    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<PgOpen>, StoreError> {
        let work = begin(self.inner.clone(), scope.clone(), key.clone(), mark.clone());
        let begun = owned(work).await.and_then(|begun| begun);
        begun.map_err(|failure| failure.into_error("begin"))
    }

    async fn undo(&self, open: &mut PgOpen) -> Result<(), StoreError> {
        let limit = self.inner.call_timeout;
        let undo = sqlx::raw_sql(UNDO).execute(&mut *open.transaction);
        let undone = match tokio::time::timeout(limit, undo).await {
            Ok(undone) => undone.map(drop).map_err(|error| Failure::of(&error, Effect::None)),
            Err(_) => Err(Failure::late(limit, Effect::None)),
        };
        undone.map_err(|failure| failure.into_error("undo"))
    }

    async fn commit(&self, open: PgOpen, value: Bytes) -> RowWriteResult {
        result(owned(commit(self.inner.clone(), open, value)).await)
    }

    async fn roll_back(&self, open: PgOpen) {
        let _ = owned(let_go(open.transaction)).await;
    }

    async fn roll_back_durable(&self, open: PgOpen) -> Result<(), StoreError> {
        let confirmed = owned(confirm(self.inner.clone(), open)).await.and_then(|done| done);
        confirmed.map_err(|failure| failure.into_error("roll_back"))
    }
}
