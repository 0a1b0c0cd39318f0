//! The store as a coordinator sees it.

use std::time::Duration;

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, StoreError},
    ids::{Epoch, ShardId, TxId},
    store::{
        CommitResult, Cursor, Hints, Lease, LeaseRequest, OpenPage, StateStore, StoreInfo,
        TxRecord, TxWrite, check_batch, page_items,
    },
    time::Timestamp,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::{
    batch, codec,
    error::{NAME, corrupt, invalid},
    records,
    statements::Statement,
    store::{PgStore, Rows, column, owned},
};

/// The longest lease: later times would not fit into the column.
const TTL_MICROS_MAX: i64 = i64::MAX / 4;

fn ttl(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_micros()).unwrap_or(TTL_MICROS_MAX).min(TTL_MICROS_MAX)
}

impl PgStore {
    fn check_shard(&self, shard: ShardId, operation: &'static str) -> Result<(), StoreError> {
        let shards = self.inner.info.shards.get();
        if shard.0 < shards {
            return Ok(());
        }
        Err(invalid(operation, format!("shard {shard} does not exist; there are {shards}")))
    }

    /// Changes leases that the caller has, in a task of its own.
    async fn change_leases(
        &self,
        operation: &'static str,
        statement: Statement,
        leases: &[Lease],
        with_ttl: bool,
    ) -> Result<Vec<PgRow>, StoreError> {
        let shards: Vec<_> = leases.iter().map(|lease| i32::from(lease.shard.0)).collect();
        let holders: Vec<_> = leases.iter().map(|lease| codec::holder(lease.holder)).collect();
        let epochs: Vec<_> = leases.iter().map(|lease| codec::number(lease.epoch.0)).collect();
        let ttls: Vec<_> = leases.iter().map(|lease| ttl(lease.ttl)).collect();
        let inner = self.inner.clone();
        let work = async move {
            let query = statement.query().bind(shards).bind(holders).bind(epochs);
            let query = if with_ttl { query.bind(ttls) } else { query };
            inner.fetch(query, Effect::Unknown).await
        };
        flat(owned(work).await).map_err(|failure| failure.into_error(operation))
    }
}

pub(crate) fn flat(answer: Result<Rows, crate::error::Failure>) -> Rows {
    answer.and_then(|rows| rows)
}

#[async_trait]
impl StateStore for PgStore {
    fn info(&self) -> &StoreInfo {
        &self.inner.info
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let rows = self.inner.read("now", self.inner.sql.now.query()).await?;
        let row = rows.first().ok_or_else(|| corrupt("now", "the server has no time"))?;
        Ok(self.inner.seen(column(row, 0, "now")?))
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        if let Err(error) = check_batch(writes.len(), &self.inner.info.limits) {
            let failed = || CommitResult::Failed(error.clone().into_error(NAME, "commit"));
            return writes.iter().map(|_| failed()).collect();
        }
        batch::commit(&self.inner, writes).await
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<_> = ids.iter().copied().map(codec::id).collect();
        let query = self.inner.sql.load.query().bind(wanted);
        let rows = self.inner.read("load", query).await?;
        let found = records::by_id(&rows, "load")?;
        Ok(ids.iter().map(|tx| found.get(tx).cloned()).collect())
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.check_shard(shard, "open")?;
        let foreign = || invalid("open", "the cursor is not one of this listing");
        let after = cursor.map(|cursor| cursor.due().ok_or_else(foreign)).transpose()?;
        let (due, tx) = match after {
            Some((due, tx)) => (codec::time(due), codec::id(tx)),
            None => (-1, Uuid::nil()),
        };
        let limit = page_items(limit);
        let query = self.inner.sql.open.query();
        let query = query.bind(i32::from(shard.0)).bind(codec::time(due_before));
        let query = query.bind(due).bind(tx).bind(codec::number(limit as u64 + 1));
        let rows = self.inner.read("open", query).await?;
        let first = rows.first().ok_or_else(|| corrupt("open", "the server has no time"))?;
        let now = self.inner.seen(column(first, 13, "open")?);
        let mut records = Vec::with_capacity(rows.len());
        for row in &rows {
            // The time is there also when no transaction is.
            if column::<Option<Uuid>>(row, 0, "open")?.is_some() {
                records.push(records::record(row, "open")?);
            }
        }
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|row| Cursor::at_due(row.due.unwrap_or_default(), row.tx));
        Ok(OpenPage { records, next, now })
    }

    async fn earliest(&self, shards: &[ShardId]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        for &shard in shards {
            self.check_shard(shard, "earliest")?;
        }
        let shards: Vec<_> = shards.iter().map(|shard| i32::from(shard.0)).collect();
        let query = self.inner.sql.earliest.query().bind(shards);
        let rows = self.inner.read("earliest", query).await?;
        let due = |row| Ok(column::<Option<i64>>(row, 0, "earliest")?.map(codec::read_time));
        rows.iter().map(due).collect()
    }

    fn hints(&self) -> Option<Box<dyn Hints>> {
        Some(Box::new(self.inner.hints.subscribe(&self.inner)))
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        for &shard in &request.shards {
            self.check_shard(shard, "acquire")?;
        }
        let shards: Vec<_> = request.shards.iter().map(|shard| i32::from(shard.0)).collect();
        let (inner, holder, micros) =
            (self.inner.clone(), codec::holder(request.holder), ttl(request.ttl));
        let work = async move {
            let query = inner.sql.acquire.query().bind(shards).bind(holder).bind(micros);
            inner.fetch(query, Effect::Unknown).await
        };
        let rows = flat(owned(work).await).map_err(|failure| failure.into_error("acquire"))?;
        let mut granted = Vec::with_capacity(rows.len());
        for row in &rows {
            let shard: i32 = column(row, 0, "acquire")?;
            let epoch = Epoch(codec::read_number(column(row, 1, "acquire")?));
            granted.push((shard, epoch));
        }
        let lease = |&shard: &ShardId| {
            let (_, epoch) = granted.iter().find(|(of, _)| *of == i32::from(shard.0))?;
            Some(Lease { shard, holder: request.holder, epoch: *epoch, ttl: request.ttl })
        };
        Ok(request.shards.iter().filter_map(lease).collect())
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        let renew = self.inner.sql.renew.clone();
        let rows = self.change_leases("renew", renew, leases, true).await?;
        let mut renewed = Vec::with_capacity(rows.len());
        for row in &rows {
            renewed.push(column::<i64>(row, 0, "renew")?);
        }
        renewed.sort_unstable();
        let lease = |place: i64| leases.get(usize::try_from(place - 1).ok()?).cloned();
        Ok(renewed.into_iter().filter_map(lease).collect())
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let release = self.inner.sql.release.clone();
        self.change_leases("release", release, leases, false).await.map(drop)
    }
}
