//! The state of a memory store. Every method is a pure function of the state, its arguments and
//! the time that is handed in.

use std::sync::{Mutex, MutexGuard};

use super::{keys::Keys, lane::Lane, rows::Rows};
use crate::{
    error::{ErrorKind, StoreError},
    ids::{HolderId, ShardCount, ShardId, TxId},
    store::{
        CommitResult, Cursor, Decision, Durability, Filter, JournalEntry, Lease, LeaseRequest,
        OpenPage, Page, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows,
        StoreCapabilities, StoreInfo, StoreLimits, StoredRow, TxRecord, TxWrite, WriteClaim,
        check_batch, check_write, evaluate, page_items,
    },
    time::Timestamp,
    transaction::Key,
};

pub(super) const NAME: &str = "memory";

/// The settings of a memory store.
#[derive(Clone, Debug)]
pub struct MemorySettings {
    /// How many commits run side by side; at least 1.
    pub lanes: usize,
    /// How many shards there are.
    pub shards: ShardCount,
    /// What it takes.
    pub limits: StoreLimits,
    /// The id of this opening.
    pub opening: HolderId,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            lanes: 4,
            shards: ShardCount::DEFAULT,
            limits: StoreLimits { batch_writes_max: 4096, value_bytes_max: 1 << 20 },
            opening: HolderId(1),
        }
    }
}

/// The data of a memory store. Methods take `&self`: each lane has its own lock, so that lanes
/// do not wait for each other. Used from one thread it is deterministic.
#[derive(Debug)]
pub struct MemoryState {
    info: StoreInfo,
    lanes: Box<[Mutex<Lane>]>,
    /// Locked after a lane, never before one.
    keys: Mutex<Keys>,
    rows: Rows,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock of the memory store")
}

pub(super) fn invalid(operation: &'static str, context: impl Into<String>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, NAME, operation).with_context(context)
}

impl MemoryState {
    /// An empty store.
    pub fn new(settings: MemorySettings) -> Self {
        let lanes = settings.lanes.max(1);
        let lane = || Mutex::new(Lane::new(settings.shards));
        Self {
            lanes: std::iter::repeat_with(lane).take(lanes).collect(),
            keys: Mutex::default(),
            rows: Rows::new(settings.limits.clone()),
            info: StoreInfo {
                name: NAME,
                capabilities: StoreCapabilities { durability: Durability::Nothing, shared: false },
                limits: settings.limits,
                lanes,
                shards: settings.shards,
                opening: Some(settings.opening),
            },
        }
    }

    /// What the store says of itself.
    pub fn info(&self) -> &StoreInfo {
        &self.info
    }

    fn lane_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.lanes.len()
    }

    fn lane(&self, shard: ShardId) -> MutexGuard<'_, Lane> {
        locked(&self.lanes[self.lane_of(shard)])
    }

    fn lane_of_tx(&self, tx: TxId) -> MutexGuard<'_, Lane> {
        self.lane(tx.shard(self.info.shards))
    }

    /// As [`StateStore::commit`](crate::store::StateStore::commit).
    pub fn commit(&self, writes: &[TxWrite], now: Timestamp) -> Vec<CommitResult> {
        if let Err(error) = check_batch(writes.len(), &self.info.limits) {
            let failed = || CommitResult::Failed(error.clone().into_error(NAME, "commit"));
            return writes.iter().map(|_| failed()).collect();
        }
        let mut results = Vec::with_capacity(writes.len());
        // Kept from write to write: the writes of one call are mostly of one lane.
        let mut held: Option<(usize, MutexGuard<'_, Lane>)> = None;
        for write in writes {
            if let Err(error) = check_write(write, &self.info.limits, self.info.shards) {
                results.push(CommitResult::Failed(error.into_error(NAME, "commit")));
                continue;
            }
            let shard = write.tx.shard(self.info.shards);
            let index = self.lane_of(shard);
            let lane = match held.take() {
                Some(current) if current.0 == index => &mut held.insert(current).1,
                other => {
                    // Given back before the next is taken: two lanes are never held together.
                    drop(other);
                    &mut held.insert((index, locked(&self.lanes[index]))).1
                }
            };
            results.push(self.commit_one(lane, write, shard, now).into());
        }
        results
    }

    fn commit_one(
        &self,
        lane: &mut Lane,
        write: &TxWrite,
        shard: ShardId,
        now: Timestamp,
    ) -> Decision {
        let mut facts = lane.facts(write, shard);
        let mut keys = write.key.as_ref().map(|key| (key, locked(&self.keys)));
        if let Some((key, keys)) = &keys {
            facts.key = keys.owner(key);
        }
        let decision = evaluate(&WriteClaim::from(write), &facts);
        if let Decision::Apply(version) = decision {
            if let Some((key, keys)) = &mut keys {
                keys.claim(key, write.tx);
            }
            lane.apply(write, shard, version, now);
        }
        decision
    }

    /// As [`StateStore::load`](crate::store::StateStore::load).
    pub fn load(&self, ids: &[TxId]) -> Vec<Option<TxRecord>> {
        ids.iter().map(|&tx| self.lane_of_tx(tx).record(tx).cloned()).collect()
    }

    /// As [`StateStore::open`](crate::store::StateStore::open).
    ///
    /// # Errors
    /// `Invalid` for a shard that does not exist and for a foreign cursor.
    pub fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<OpenPage, StoreError> {
        self.check_shard(shard, "open")?;
        let place = |cursor: &Cursor| {
            cursor.due().ok_or_else(|| invalid("open", "the cursor is not one of this listing"))
        };
        let after = cursor.map(place).transpose()?;
        let limit = page_items(limit);
        let mut records = self.lane(shard).open(shard, due_before, after, limit + 1);
        let more = records.len() > limit;
        records.truncate(limit);
        let last = records.last().filter(|_| more);
        let next = last.map(|row| Cursor::at_due(row.due.unwrap_or_default(), row.tx));
        Ok(OpenPage { records, next, now })
    }

    fn check_shard(&self, shard: ShardId, operation: &'static str) -> Result<(), StoreError> {
        if shard.0 < self.info.shards.get() {
            return Ok(());
        }
        let shards = self.info.shards.get();
        Err(invalid(operation, format!("shard {shard} does not exist; there are {shards}")))
    }

    /// As [`StateStore::acquire`](crate::store::StateStore::acquire).
    ///
    /// # Errors
    /// `Invalid` for a shard that does not exist.
    pub fn acquire(
        &self,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Result<Vec<Lease>, StoreError> {
        for &shard in &request.shards {
            self.check_shard(shard, "acquire")?;
        }
        let grant = |&shard: &ShardId| {
            self.lane(shard).leases.acquire(shard, request.holder, request.ttl, now)
        };
        Ok(request.shards.iter().filter_map(grant).collect())
    }

    /// As [`StateStore::renew`](crate::store::StateStore::renew).
    pub fn renew(&self, leases: &[Lease], now: Timestamp) -> Vec<Lease> {
        let renew = |lease: &Lease| self.lane(lease.shard).leases.renew(lease, now);
        leases.iter().filter_map(renew).collect()
    }

    /// As [`StateStore::release`](crate::store::StateStore::release).
    pub fn release(&self, leases: &[Lease]) {
        for lease in leases {
            self.lane(lease.shard).leases.release(lease);
        }
    }

    /// As [`Catalog::list`](crate::store::Catalog::list).
    ///
    /// # Errors
    /// `Invalid` for a foreign cursor.
    pub fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let place = |cursor: &Cursor| {
            cursor.tx().ok_or_else(|| invalid("list", "the cursor is not one of this listing"))
        };
        let before = filter.cursor.as_ref().map(place).transpose()?;
        let limit = page_items(filter.limit);
        let mut items = Vec::new();
        for lane in &self.lanes {
            items.extend(locked(lane).list(filter, before, limit + 1));
        }
        items.sort_unstable_by_key(|row: &TxRecord| std::cmp::Reverse(row.tx));
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|row| Cursor::at_tx(row.tx));
        Ok(Page { items, next })
    }

    /// As [`Catalog::history`](crate::store::Catalog::history).
    pub fn history(&self, tx: TxId) -> Vec<JournalEntry> {
        self.lane_of_tx(tx).history(tx)
    }

    /// As [`Catalog::by_key`](crate::store::Catalog::by_key).
    pub fn by_key(&self, key: &Key) -> Option<TxId> {
        locked(&self.keys).owner(key).map(|owner| owner.tx)
    }

    /// As [`Catalog::purge`](crate::store::Catalog::purge).
    pub fn purge(&self, purge: &Purge, now: Timestamp) -> u64 {
        let limit = page_items(purge.limit);
        let mut count = 0;
        for lane in &self.lanes {
            let mut lane = locked(lane);
            let forgotten = lane.purge(purge, limit - count, now);
            count += forgotten.len();
            let mut keys = locked(&self.keys);
            for (written_at, key) in forgotten {
                if let Some(key) = key {
                    keys.keep(key, written_at);
                }
            }
        }
        locked(&self.keys).purge(purge.key_retention, limit, now);
        count as u64
    }

    /// As [`ParticipantStore::read`](crate::store::ParticipantStore::read).
    ///
    /// # Errors
    /// `Invalid` for an empty or too long key.
    pub fn read(&self, reads: &[ScopeRead], now: Timestamp) -> Result<Vec<ScopeRows>, StoreError> {
        self.rows.read(reads, now)
    }

    /// As [`ParticipantStore::write`](crate::store::ParticipantStore::write).
    pub fn write(&self, sets: &[RowSet], now: Timestamp) -> Vec<RowWriteResult> {
        self.rows.write(sets, now)
    }

    /// As [`ParticipantStore::scan`](crate::store::ParticipantStore::scan).
    pub fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Page<(RowKey, StoredRow)> {
        self.rows.scan(scope, prefix, cursor, page_items(limit))
    }

    /// As [`ParticipantStore::scopes`](crate::store::ParticipantStore::scopes).
    ///
    /// # Errors
    /// `Invalid` for a foreign cursor.
    pub fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.rows.scopes(prefix, cursor, page_items(limit))
    }
}
