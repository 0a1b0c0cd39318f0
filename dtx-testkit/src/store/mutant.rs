//! Stores that break one guarantee each, to prove that the suite notices.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    ids::{Epoch, ShardId, TxId, Version},
    store::{
        Catalog, CommitResult, Cursor, Expect, Filter, JournalEntry, Lease, LeaseRequest, OpenPage,
        Page, ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows,
        StateStore, StoreInfo, StoredRow, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::Key,
};

use super::{MemoryHarness, StoreHarness};

/// What a mutant does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A repeat is evaluated as if it were a new write.
    ForgetsWriteIds,
    /// The fence of a write is replaced by the newest lease.
    IgnoresFences,
    /// The verdict of a row is overwritten.
    OverwritesVerdicts,
    /// The version of a write is replaced by that of the row.
    IgnoresVersions,
    /// Writes after the first conflict of a batch are refused.
    StopsAtConflicts,
    /// Keys are not stored.
    DropsKeys,
    /// Only the newest entries of the journal are kept.
    ForgetsHistory,
    /// Open transactions come in the order of their ids.
    IgnoresDueOrder,
    /// Pages end, but say that they go on nowhere.
    CutsPages,
    /// A renewal of a lost lease is answered.
    RenewsLostLeases,
    /// Everything finished is forgotten at once.
    IgnoresAges,
    /// Every grant has the same epoch.
    RepeatsEpochs,
    /// The rows that should be unchanged are not looked at.
    IgnoresUnchanged,
    /// `not_after` is not looked at.
    IgnoresNotAfter,
    /// The changes of a set are written one by one.
    TearsSets,
    /// Versions of rows begin at 1 again after a deletion.
    RepeatsRowVersions,
}

thread_local! {
    /// Not a type parameter: the cases would be compiled once per bug.
    static BUG: Cell<Bug> = const { Cell::new(Bug::ForgetsWriteIds) };
}

/// Sets the bug of the mutants that this thread opens from now on.
pub fn plant(bug: Bug) {
    BUG.set(bug);
}

/// A store in memory with the bug that was planted last.
#[derive(Debug)]
pub struct Mutant {
    sound: MemoryHarness,
    store: Arc<MutantStore>,
}

#[async_trait]
impl StoreHarness for Mutant {
    async fn open() -> Self {
        let sound = MemoryHarness::open().await;
        let store = MutantStore {
            bug: BUG.get(),
            state: sound.state(),
            catalog: sound.catalog(),
            rows: sound.participants(),
            fresh: AtomicU64::new(1 << 40),
            newest: Mutex::default(),
        };
        Self { sound, store: Arc::new(store) }
    }

    fn state(&self) -> Arc<dyn StateStore> {
        self.store.clone()
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        self.store.clone()
    }

    fn participants(&self) -> Arc<dyn ParticipantStore> {
        self.store.clone()
    }

    async fn reopen(&mut self) {}

    async fn pass(&self, by: Duration) {
        self.sound.pass(by).await;
    }

    async fn jump(&self, by: Duration) -> bool {
        self.sound.jump(by).await
    }
}

#[derive(Debug)]
struct MutantStore {
    bug: Bug,
    state: Arc<dyn StateStore>,
    catalog: Arc<dyn Catalog>,
    rows: Arc<dyn ParticipantStore>,
    fresh: AtomicU64,
    newest: Mutex<BTreeMap<ShardId, Lease>>,
}

impl MutantStore {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn true_epoch(&self, lease: &Lease) -> Lease {
        let newest = self.newest.lock().expect("no panics");
        let same = newest.get(&lease.shard).filter(|newest| newest.holder == lease.holder);
        Lease { ttl: lease.ttl, ..same.unwrap_or(lease).clone() }
    }

    async fn damage(&self, write: &mut TxWrite) {
        let row = self.state.load(&[write.tx]).await.expect("memory never fails").remove(0);
        match (self.bug, row) {
            (Bug::ForgetsWriteIds, _) => {
                write.id.number = self.fresh.fetch_add(1, Ordering::Relaxed);
            }
            (Bug::IgnoresFences | Bug::RepeatsEpochs, _) => {
                let newest = self.newest.lock().expect("no panics");
                if let (Some(fence), Some(lease)) =
                    (&mut write.fence, newest.get(&write.tx.shard(self.state.info().shards)))
                    && (self.has(Bug::IgnoresFences) || fence.holder == lease.holder)
                {
                    *fence = lease.fence();
                }
            }
            (Bug::OverwritesVerdicts, Some(row)) if row.verdict.is_some() => {
                // As close as a wrapper comes to it: the other verdict is taken and lost.
                write.verdict = None;
                write.kind = dtx_core::store::RecordKind::Signal;
            }
            (Bug::IgnoresVersions, Some(row)) if write.expect != Expect::Absent => {
                write.expect = Expect::Version(row.version);
            }
            (Bug::DropsKeys, _) => write.key = None,
            (Bug::ForgetsHistory, Some(_)) => write.journal = [].into(),
            _ => {}
        }
    }
}

#[async_trait]
impl StateStore for MutantStore {
    fn info(&self) -> &StoreInfo {
        self.state.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.state.now().await
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let limit = self.state.info().limits.batch_writes_max;
        if writes.len() > limit {
            return self.state.commit(writes).await;
        }
        let mut results = Vec::new();
        let mut stopped = false;
        for write in writes {
            let mut write = write.clone();
            self.damage(&mut write).await;
            if stopped {
                results.push(CommitResult::Conflict { found: None, verdict: None });
                continue;
            }
            let result = self.state.commit(&[write]).await.remove(0);
            let conflict = matches!(result, CommitResult::Conflict { .. });
            stopped |= conflict && self.has(Bug::StopsAtConflicts);
            results.push(result);
        }
        results
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.state.load(ids).await
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        let mut page = self.state.open(shard, due_before, cursor, limit).await?;
        if self.has(Bug::IgnoresDueOrder) {
            page.records.sort_by_key(|row| row.tx);
        }
        if self.has(Bug::CutsPages) {
            page.next = None;
        }
        Ok(page)
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        let mut leases = self.state.acquire(request).await?;
        let mut newest = self.newest.lock().expect("no panics");
        for lease in &mut leases {
            newest.insert(lease.shard, lease.clone());
            if self.has(Bug::RepeatsEpochs) {
                lease.epoch = Epoch(1);
            }
        }
        Ok(leases)
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        match self.bug {
            Bug::RenewsLostLeases => Ok(leases.to_vec()),
            Bug::RepeatsEpochs => {
                let known: Vec<_> = leases.iter().map(|lease| self.true_epoch(lease)).collect();
                let mut renewed = self.state.renew(&known).await?;
                renewed.iter_mut().for_each(|lease| lease.epoch = Epoch(1));
                Ok(renewed)
            }
            _ => self.state.renew(leases).await,
        }
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let known: Vec<_> = leases.iter().map(|lease| self.true_epoch(lease)).collect();
        self.state.release(if self.has(Bug::RepeatsEpochs) { &known } else { leases }).await
    }
}

#[async_trait]
impl Catalog for MutantStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let mut page = self.catalog.list(filter).await?;
        if self.has(Bug::CutsPages) {
            page.next = None;
        }
        Ok(page)
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.catalog.history(tx).await
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.catalog.by_key(key).await
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let mut purge = purge.clone();
        if self.has(Bug::IgnoresAges) {
            purge.older_than = Duration::ZERO;
        }
        self.catalog.purge(&purge).await
    }
}

#[async_trait]
impl ParticipantStore for MutantStore {
    fn info(&self) -> &StoreInfo {
        self.rows.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let mut answers = self.rows.read(reads).await?;
        if self.has(Bug::RepeatsRowVersions) {
            for row in answers.iter_mut().flat_map(|scope| scope.rows.iter_mut().flatten()) {
                row.version = Version(1);
            }
        }
        Ok(answers)
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let mut sets = sets.to_vec();
        for set in &mut sets {
            match self.bug {
                Bug::IgnoresUnchanged => set.unchanged.clear(),
                Bug::IgnoresNotAfter => set.not_after = None,
                Bug::TearsSets => return self.write_torn(&sets).await,
                _ => {}
            }
        }
        self.rows.write(&sets).await
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.rows.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.rows.scopes(prefix, cursor, limit).await
    }
}

impl MutantStore {
    async fn write_torn(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let mut results = Vec::new();
        for set in sets {
            let mut result = RowWriteResult::Written;
            for change in &set.changes {
                let single = RowSet { changes: vec![change.clone()], ..set.clone() };
                let answer = self.rows.write(&[single]).await.remove(0);
                if !matches!(answer, RowWriteResult::Written) {
                    result = answer;
                }
            }
            results.push(result);
        }
        results
    }
}
