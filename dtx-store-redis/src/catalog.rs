//! What people ask for.

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    ids::{ShardId, TxId},
    store::{Catalog, Cursor, Filter, JournalEntry, Page, Purge, TxRecord, page_items},
    transaction::Key,
};
use redis::cmd;

use crate::{
    codec,
    error::{invalid, unreadable_record},
    link::{Request, Writes},
    store::RedisStore,
    values::{fields, maybe, texts},
};

/// How many ids are read from each shard at once.
const LIST_CHUNK: usize = 256;

#[async_trait]
impl Catalog for RedisStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let foreign = || invalid("list", "the cursor is not one of this listing");
        let mut before =
            filter.cursor.as_ref().map(|cursor| cursor.tx().ok_or_else(foreign)).transpose()?;
        let limit = page_items(filter.limit);
        let mut items: Vec<TxRecord> = Vec::new();
        while items.len() <= limit {
            let (ids, more) = self.newest(before, LIST_CHUNK.min(limit + 1)).await?;
            before = ids.last().copied();
            let records = self.records("list", &ids).await?;
            let wanted = |row: &TxRecord| filter.matches(&row.summary, row.key.as_ref());
            items.extend(records.into_iter().flatten().filter(wanted));
            if !more {
                break;
            }
        }
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| Cursor::at_tx(row.tx));
        Ok(Page { items, next })
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        let place = self.inner.keys.shard(self.shard_of(tx));
        let mut command = cmd("HGETALL");
        command.arg(place.row(tx));
        let answer = self.inner.link.one(Request::new(place.slot, command), Writes::No).await;
        let found = answer.and_then(texts).map_err(|failure| failure.of_read("history"))?;
        let mut parts = Vec::new();
        for pair in found.chunks_exact(2) {
            let version = pair[0].strip_prefix(b"j").and_then(codec::number);
            if let Some(version) = version {
                let entries = codec::read_journal(&pair[1]);
                parts.push((version, entries.map_err(|_| unreadable_record("history", tx))?));
            }
        }
        parts.sort_unstable_by_key(|(version, _)| *version);
        Ok(parts.into_iter().flat_map(|(_, entries)| entries).collect())
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        let (place, name) = self.inner.keys.caller(key);
        let mut command = cmd("HMGET");
        command.arg(name).arg(&["t", "s", "c"]);
        let answer = self.inner.link.one(Request::new(place.slot, command), Writes::No).await;
        let found = answer.and_then(fields).map_err(|failure| failure.of_read("by_key"))?;
        let Ok([Some(owner), Some(state), token]) = <[_; 3]>::try_from(found) else {
            return Ok(None);
        };
        let owner = <[u8; 16]>::try_from(owner).map(TxId::from_bytes);
        let owner =
            owner.map_err(|_| crate::error::unreadable("by_key", "the owner of the key"))?;
        if state == b"f" {
            return Ok(Some(owner));
        }
        // Only the row says that the reservation was used.
        let place = self.inner.keys.shard(self.shard_of(owner));
        let mut command = cmd("HGET");
        command.arg(place.row(owner)).arg("c");
        let answer = self.inner.link.one(Request::new(place.slot, command), Writes::No).await;
        let used = answer.and_then(maybe).map_err(|failure| failure.of_read("by_key"))?;
        Ok((used.is_some() && used == token).then_some(owner))
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let limit = page_items(purge.limit);
        let (mut forgotten, mut keys) = (0, 0);
        for shard in self.info().shards.shards() {
            forgotten += self.forget(shard, purge.older_than, limit - forgotten).await?;
            keys += self.drop_keys(shard, purge.key_retention, limit - keys).await?;
        }
        Ok(forgotten as u64)
    }
}

impl RedisStore {
    /// The newest transactions before one, up to `chunk` of every shard, as far as no shard has
    /// others in between. Says whether there are more.
    async fn newest(
        &self,
        before: Option<TxId>,
        chunk: usize,
    ) -> Result<(Vec<TxId>, bool), StoreError> {
        let from = before.map_or_else(|| b"+".to_vec(), |tx| [b"(", &tx.as_bytes()[..]].concat());
        let request = |shard: ShardId| {
            let place = self.inner.keys.shard(shard);
            let mut command = cmd("ZREVRANGEBYLEX");
            command.arg(place.key("all")).arg(&from).arg("-").arg("LIMIT").arg(0).arg(chunk);
            Request::new(place.slot, command)
        };
        let requests = self.info().shards.shards().map(request).collect();
        let (mut ids, mut horizon) = (Vec::new(), None);
        for answer in self.inner.link.call(requests, Writes::No).await {
            let found = answer.and_then(texts).map_err(|failure| failure.of_read("list"))?;
            let found = found.into_iter().map(|id| <[u8; 16]>::try_from(id).map(TxId::from_bytes));
            let found = found.collect::<Result<Vec<_>, _>>();
            let found =
                found.map_err(|_| crate::error::unreadable("list", "a place in the list"))?;
            if found.len() == chunk {
                horizon = horizon.max(found.last().copied());
            }
            ids.extend(found);
        }
        ids.sort_unstable_by(|one, other| other.cmp(one));
        if let Some(horizon) = horizon {
            ids.retain(|&tx| tx >= horizon);
        }
        Ok((ids, horizon.is_some()))
    }
}
