//! The memory store behind the asynchronous traits.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use async_trait::async_trait;

use super::{Clock, MemorySettings, MemoryState, SystemClock};
use crate::{
    error::StoreError,
    ids::{HolderId, ShardId, TxId},
    store::{
        Catalog, CommitResult, Cursor, Filter, JournalEntry, Lease, LeaseRequest, OpenPage, Page,
        ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows,
        StateStore, StoreInfo, StoredRow, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::Key,
};

/// A store in memory, for tests and for what need not survive. Clones share the data. No method
/// ever waits for anything but a short lock.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<MemoryState>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("info", self.state.info()).finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store with the default settings, the clock of the machine and an opening of its
    /// own.
    pub fn new() -> Self {
        let hash = |half: u64| RandomState::new().hash_one(half);
        let opening = HolderId(u128::from(hash(0)) << 64 | u128::from(hash(1)));
        Self::with_settings(MemorySettings { opening, ..MemorySettings::default() })
    }

    /// An empty store with the clock of the machine.
    pub fn with_settings(settings: MemorySettings) -> Self {
        Self::with_clock(settings, Arc::new(SystemClock::default()))
    }

    /// An empty store.
    pub fn with_clock(settings: MemorySettings, clock: Arc<dyn Clock>) -> Self {
        Self { state: Arc::new(MemoryState::new(settings)), clock }
    }

    /// What the store says of itself. No I/O.
    pub fn info(&self) -> &StoreInfo {
        self.state.info()
    }

    /// The data, for synchronous use.
    pub fn state(&self) -> &MemoryState {
        &self.state
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    fn info(&self) -> &StoreInfo {
        self.state.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        self.state.commit(writes, self.clock.now())
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        Ok(self.state.load(ids))
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.state.open(shard, due_before, cursor, limit, self.clock.now())
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        self.state.acquire(request, self.clock.now())
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        Ok(self.state.renew(leases, self.clock.now()))
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.state.release(leases);
        Ok(())
    }
}

#[async_trait]
impl Catalog for MemoryStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.state.list(filter)
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        Ok(self.state.history(tx))
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        Ok(self.state.by_key(key))
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        Ok(self.state.purge(purge, self.clock.now()))
    }
}

#[async_trait]
impl ParticipantStore for MemoryStore {
    fn info(&self) -> &StoreInfo {
        self.state.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.state.read(reads, self.clock.now())
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        self.state.write(sets, self.clock.now())
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        Ok(self.state.scan(scope, prefix, cursor, limit))
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.state.scopes(prefix, cursor, limit)
    }
}
