//! Records and leases.

use std::sync::LazyLock;

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    ids::{Epoch, ShardId, TxId},
    store::{
        CommitResult, Cursor, Lease, LeaseRequest, OpenPage, StateStore, StoreInfo, TxRecord,
        TxWrite, page_items,
    },
    time::Timestamp,
};
use redis::cmd;

use crate::{
    codec::{self, RECORD_FIELDS, number},
    error::{Failure, invalid, unreadable, unreadable_record},
    link::{Request, Writes},
    scripts::{ACQUIRE, Call, Lua, OPEN, RELEASE, RENEW},
    store::RedisStore,
    values::{bytes, count, fields, list, maybe, texts},
};

/// The longest time that a lease is given for: beyond it the server's numbers are not exact.
const LEASE_MICROS_MAX: u128 = 1 << 52;

fn micros(time: std::time::Duration) -> String {
    time.as_micros().min(LEASE_MICROS_MAX).to_string()
}

impl RedisStore {
    /// Reads records, side by side.
    pub(crate) async fn records(
        &self,
        operation: &'static str,
        ids: &[TxId],
    ) -> Result<Vec<Option<TxRecord>>, StoreError> {
        let request = |&tx: &TxId| {
            let place = self.inner.keys.shard(self.shard_of(tx));
            let mut command = cmd("HMGET");
            command.arg(place.row(tx)).arg(&RECORD_FIELDS);
            Request::new(place.slot, command)
        };
        let answers = self.inner.link.call(ids.iter().map(request).collect(), Writes::No).await;
        let mut records = Vec::with_capacity(ids.len());
        for (&tx, answer) in ids.iter().zip(answers) {
            let found = answer.and_then(fields).map_err(|failure| failure.of_read(operation))?;
            let record = codec::read_record(tx, found);
            records.push(record.map_err(|_| unreadable_record(operation, tx))?);
        }
        Ok(records)
    }
}

#[async_trait]
impl StateStore for RedisStore {
    fn info(&self) -> &StoreInfo {
        Self::info(self)
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.clock("now").await
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        self.commit_batch(writes).await
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.records("load", ids).await
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.check_shard("open", shard)?;
        let foreign = || invalid("open", "the cursor is not one of this listing");
        let after = cursor.map(|cursor| cursor.due().ok_or_else(foreign)).transpose()?;
        let from = match after {
            Some((due, tx)) => [b"(", &codec::due(due)[..], tx.as_bytes()].concat(),
            None => b"-".to_vec(),
        };
        let to = [b"[", &codec::due(due_before)[..], &[0xFF; 17]].concat();
        let limit = page_items(limit);
        let place = self.inner.keys.shard(shard);
        let call = Call::new(&OPEN, &place).key(place.key("lease")).key(place.key("due"));
        let call = call.arg(from).arg(to).arg((limit + 1).to_string());
        let answer = self.inner.link.one(call.request(), Writes::No).await;
        let (now, mut places) =
            answer.and_then(read_places).map_err(|failure| failure.of_read("open"))?;
        let more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().filter(|_| more).map(|&(due, tx)| Cursor::at_due(due, tx));
        let ids: Vec<_> = places.into_iter().map(|(_, tx)| tx).collect();
        let records = self.records("open", &ids).await?;
        // What has moved since the index was read is judged by what it is now.
        let due = |record: &TxRecord| record.due.is_some_and(|due| due <= due_before);
        let records = records.into_iter().flatten().filter(due).collect();
        Ok(OpenPage { records, next, now })
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        for &shard in &request.shards {
            self.check_shard("acquire", shard)?;
        }
        let call = |&shard: &ShardId| {
            let place = self.inner.keys.shard(shard);
            let call = Call::new(&ACQUIRE, &place).key(place.key("lease"));
            call.arg(request.holder.0.to_be_bytes()).arg(micros(request.ttl)).request()
        };
        let calls = request.shards.iter().map(call).collect();
        let answers = self.inner.link.call(calls, Writes::Yes).await;
        let mut granted = Vec::new();
        for (&shard, answer) in request.shards.iter().zip(answers) {
            let epoch = answer.and_then(maybe).map_err(|failure| failure.of_write("acquire"))?;
            if let Some(epoch) = epoch {
                let epoch = number(&epoch).ok_or_else(|| unreadable("acquire", "the epoch"))?;
                granted.push(Lease {
                    shard,
                    holder: request.holder,
                    epoch: Epoch(epoch),
                    ttl: request.ttl,
                });
            }
        }
        Ok(granted)
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        let calls = leases.iter().map(|lease| {
            let call = self.lease_call(&RENEW, lease);
            call.arg(micros(lease.ttl)).request()
        });
        let answers = self.inner.link.call(calls.collect(), Writes::Yes).await;
        let mut renewed = Vec::new();
        for (lease, answer) in leases.iter().zip(answers) {
            if answer.and_then(count).map_err(|failure| failure.of_write("renew"))? == 1 {
                renewed.push(lease.clone());
            }
        }
        Ok(renewed)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let calls = leases.iter().map(|lease| self.lease_call(&RELEASE, lease).request());
        for answer in self.inner.link.call(calls.collect(), Writes::Yes).await {
            answer.map_err(|failure| failure.of_write("release"))?;
        }
        Ok(())
    }
}

impl RedisStore {
    fn lease_call(&self, script: &'static LazyLock<Lua>, lease: &Lease) -> Call {
        let place = self.inner.keys.shard(lease.shard);
        let call = Call::new(script, &place).key(place.key("lease"));
        call.arg(lease.holder.0.to_be_bytes()).arg(lease.epoch.0.to_string())
    }
}

type Places = (Timestamp, Vec<(Timestamp, TxId)>);

/// The time, and due times with their transactions.
fn read_places(value: redis::Value) -> Result<Places, Failure> {
    let [now, places] = <[_; 2]>::try_from(list(value)?).map_err(|_| Failure::strange())?;
    let now = number(&bytes(now)?).ok_or_else(Failure::strange)?;
    let place = |member: Vec<u8>| Cursor(member.into()).due().ok_or_else(Failure::strange);
    let places = texts(places)?.into_iter().map(place).collect::<Result<_, _>>()?;
    Ok((Timestamp::from_micros(now), places))
}
