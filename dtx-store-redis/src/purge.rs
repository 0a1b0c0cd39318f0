//! Forgetting what is finished.
//!
//! The record of a key is told first that its transaction goes, then the row goes: after a crash
//! between the two the row is still there and goes with the next purge.

use std::time::Duration;

use dtx_core::{
    error::StoreError,
    ids::{ShardId, TxId},
    transaction::Key,
};
use redis::{Value, cmd};

use crate::{
    codec,
    error::{unreadable, unreadable_record},
    link::{Request, Writes},
    scripts::{Call, FORGET, FORGET_KEY, OLD},
    store::RedisStore,
    values::{count, maybe, texts},
};

/// A void reservation is kept at least this long, whatever the retention of keys: an accept that
/// was sent with it is not on its way for longer.
const VOID_RETENTION_MIN: Duration = Duration::from_secs(3600);

/// How many transactions one script forgets. A node does nothing else meanwhile.
const FORGET_AT_ONCE: usize = 64;

impl RedisStore {
    /// What is in an index by time and older than this, the oldest first, with its time.
    async fn old(
        &self,
        shard: ShardId,
        index: &str,
        age: Duration,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let place = self.inner.keys.shard(shard);
        let call = Call::new(&OLD, &place).key(place.key("lease")).key(place.key(index));
        let call = call.arg(age.as_micros().to_string()).arg(limit.to_string());
        let answer = self.inner.link.one(call.request(), Writes::No).await;
        let found = answer.and_then(texts).map_err(|failure| failure.of_read("purge"))?;
        Ok(found.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    /// Forgets up to `limit` finished transactions of a shard, a few at a time. Says how many.
    pub(crate) async fn forget(
        &self,
        shard: ShardId,
        older_than: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let mut forgotten = 0;
        while forgotten < limit {
            let few = (limit - forgotten).min(FORGET_AT_ONCE);
            let count = self.forget_few(shard, older_than, few).await?;
            forgotten += count;
            if count < few {
                break;
            }
        }
        Ok(forgotten)
    }

    async fn forget_few(
        &self,
        shard: ShardId,
        older_than: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let old = self.old(shard, "ended", older_than, limit).await?;
        if old.is_empty() {
            return Ok(0);
        }
        let place = self.inner.keys.shard(shard);
        let tx_of = |id: &[u8]| id.try_into().ok().map(TxId::from_bytes);
        let read_key = |(id, _): &(Vec<u8>, Vec<u8>)| {
            let mut command = cmd("HGET");
            command.arg(row(&place.key("t"), id)).arg("k");
            Request::new(place.slot, command)
        };
        let keys = self.inner.link.call(old.iter().map(read_key).collect(), Writes::No).await;
        let mut call = Call::new(&FORGET, &place);
        for name in ["ended", "all", "forgotten"] {
            call.push_key(place.key(name));
        }
        let mut marks = Vec::new();
        for ((id, written), key) in old.iter().zip(keys) {
            let key = key.and_then(maybe).map_err(|failure| failure.of_read("purge"))?;
            if let Some(bytes) = &key {
                let tx = tx_of(id).ok_or_else(|| unreadable("purge", "a place in the list"))?;
                let key = codec::read_key(bytes).map_err(|_| unreadable_record("purge", tx))?;
                marks.push(self.forget_key(&key, id, "keep"));
            }
            call.push_key(row(&place.key("t"), id));
            call.push(id);
            call.push(written);
            call.push(key.unwrap_or_default());
        }
        for mark in self.inner.link.call(marks, Writes::Yes).await {
            mark.map_err(|failure| failure.of_write("purge"))?;
        }
        let answer = self.inner.link.one(call.request(), Writes::Yes).await;
        let forgotten = answer.and_then(count).map_err(|failure| failure.of_write("purge"))?;
        Ok(usize::try_from(forgotten).unwrap_or(limit).min(limit))
    }

    /// Drops up to `limit` keys of a shard's forgotten transactions. Says how many.
    pub(crate) async fn drop_keys(
        &self,
        shard: ShardId,
        retention: Duration,
        limit: usize,
    ) -> Result<usize, StoreError> {
        let old = self.old(shard, "forgotten", retention, limit).await?;
        let place = self.inner.keys.shard(shard);
        let mut calls = Vec::new();
        for (member, _) in &old {
            let split = member.split_first_chunk::<16>();
            let (id, key) = split.ok_or_else(|| unreadable("purge", "a forgotten key"))?;
            let key = codec::read_key(key).map_err(|_| unreadable("purge", "a forgotten key"))?;
            calls.push(self.forget_key(&key, id, "drop"));
        }
        let mut answers = self.inner.link.call(calls, Writes::Yes).await;
        let voids = self.old(shard, "voids", retention.max(VOID_RETENTION_MIN), limit).await?;
        let mut tidy = Vec::new();
        for (index, members) in [("forgotten", &old), ("voids", &voids)] {
            if !members.is_empty() {
                let mut command = cmd("ZREM");
                command.arg(place.key(index));
                for (member, _) in members {
                    command.arg(member.as_slice());
                }
                tidy.push(Request::new(place.slot, command));
            }
        }
        if answers.iter().all(Result::is_ok) {
            answers.extend(self.inner.link.call(tidy, Writes::Yes).await);
        }
        let done: Result<Vec<Value>, _> = answers.into_iter().collect();
        done.map_err(|failure| failure.of_write("purge"))?;
        Ok(old.len())
    }

    fn forget_key(&self, key: &Key, owner: &[u8], what: &str) -> Request {
        let (at, name) = self.inner.keys.caller(key);
        Call::new(&FORGET_KEY, &at).key(name).arg(owner).arg(what).request()
    }
}

fn row(begin: &[u8], id: &[u8]) -> Vec<u8> {
    [begin, id].concat()
}
