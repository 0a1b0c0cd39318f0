//! The transactions of the mutants.

use std::{
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
        Page, ParticipantStore, Purge, RecordKind, StateStore, StoreInfo, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::Key,
};

use super::{MemoryHarness, StoreHarness, mutant::Bug};

#[derive(Debug)]
pub(super) struct MutantStore {
    pub(super) bug: Bug,
    state: Arc<dyn StateStore>,
    catalog: Arc<dyn Catalog>,
    pub(super) rows: Arc<dyn ParticipantStore>,
    fresh: AtomicU64,
    newest: Mutex<BTreeMap<ShardId, Lease>>,
    first: Mutex<BTreeMap<TxId, TxRecord>>,
    other_info: StoreInfo,
}

impl MutantStore {
    pub(super) fn new(bug: Bug, sound: &MemoryHarness) -> Self {
        let mut other_info = sound.state().info().clone();
        other_info.lanes += 1;
        Self {
            bug,
            state: sound.state(),
            catalog: sound.catalog(),
            rows: sound.participants(),
            fresh: AtomicU64::new(1 << 40),
            newest: Mutex::default(),
            first: Mutex::default(),
            other_info,
        }
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
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
                write.kind = RecordKind::Signal;
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
        if self.has(Bug::ChangesItsInfo)
            && self.fresh.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
        {
            return &self.other_info;
        }
        self.state.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let now = self.state.now().await?;
        if self.has(Bug::ClockGoesBack) {
            let back = self.fresh.fetch_add(1, Ordering::Relaxed) % 1_000;
            return Ok(Timestamp::from_micros(now.as_micros() - back));
        }
        Ok(now)
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let limit = self.state.info().limits.batch_writes_max;
        if writes.len() > limit {
            return self.state.commit(writes).await;
        }
        let mut results = Vec::new();
        let mut stopped = false;
        for (i, write) in writes.iter().enumerate() {
            let is_second = writes[..i].iter().any(|earlier| earlier.tx == write.tx);
            let mut write = write.clone();
            self.damage(&mut write).await;
            if self.has(Bug::AnswersWithoutWriting) && write.kind == RecordKind::Signal {
                results.push(self.promise(&write));
                continue;
            }
            if stopped || (is_second && self.has(Bug::IsBlindToEarlierItems)) {
                results.push(CommitResult::Conflict { found: None, verdict: None });
                continue;
            }
            let result = self.state.commit(std::slice::from_ref(&write)).await.remove(0);
            if self.has(Bug::ClaimsKeysOfRefused) && !matches!(result, CommitResult::Committed(_)) {
                self.claim_anyway(write).await;
            }
            let conflict = matches!(result, CommitResult::Conflict { .. });
            stopped |= conflict && self.has(Bug::StopsAtConflicts);
            results.push(result);
        }
        if self.has(Bug::ReversesResults) {
            results.reverse();
        }
        results
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        let mut rows = self.state.load(ids).await?;
        match self.bug {
            Bug::ReversesLoads => rows.reverse(),
            Bug::HidesTheAbsent if rows.len() > 1 => rows.retain(Option::is_some),
            Bug::LoadsWhatWas => {
                let mut first = self.first.lock().expect("no panics");
                for row in rows.iter_mut().flatten() {
                    *row = first.entry(row.tx).or_insert_with(|| row.clone()).clone();
                }
            }
            _ => {}
        }
        Ok(rows)
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        let due_before = if self.has(Bug::OpensTheUndue) { Timestamp::MAX } else { due_before };
        let mut page = self.state.open(shard, due_before, cursor, limit).await?;
        if self.has(Bug::OpensOtherShards) {
            let next = ShardId((shard.0 + 1) % self.state.info().shards.get());
            page.records.extend(self.state.open(next, due_before, None, limit).await?.records);
        }
        if self.has(Bug::IgnoresDueOrder) {
            page.records.sort_by_key(|row| row.tx);
        }
        if self.has(Bug::CutsPages) {
            page.next = None;
        }
        Ok(page)
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        let mut request = request.clone();
        match self.bug {
            Bug::NeverEndsLeases => request.ttl *= 1_000,
            Bug::RaisesEpochsAnew => {
                let newest = self.newest.lock().expect("no panics").clone();
                let own: Vec<_> =
                    newest.into_values().filter(|lease| lease.holder == request.holder).collect();
                self.state.release(&own).await?;
            }
            _ => {}
        }
        let mut leases = self.state.acquire(&request).await?;
        match self.bug {
            Bug::GrantsOnlyTheFirst => leases.truncate(1),
            Bug::AnswersAllWanted => {
                let wanted = request.shards.iter().map(|shard| Lease {
                    shard: *shard,
                    holder: request.holder,
                    epoch: Epoch(1),
                    ttl: request.ttl,
                });
                return Ok(wanted.collect());
            }
            _ => {}
        }
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
            Bug::RenewsLostLeases | Bug::RenewsNothing => Ok(leases.to_vec()),
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
        let mut known: Vec<_> = leases.iter().map(|lease| self.true_epoch(lease)).collect();
        match self.bug {
            Bug::ReleasesNothing => return Ok(()),
            Bug::ReleasesWhoeverHasIt => {
                let newest = self.newest.lock().expect("no panics");
                known = leases
                    .iter()
                    .map(|lease| newest.get(&lease.shard).unwrap_or(lease).clone())
                    .collect();
            }
            _ => {}
        }
        self.state
            .release(if self.has(Bug::ReleasesWhoeverHasIt) || self.has(Bug::RepeatsEpochs) {
                &known
            } else {
                leases
            })
            .await
    }
}

#[async_trait]
impl Catalog for MutantStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let mut filter = filter.clone();
        if self.has(Bug::IgnoresFilters) {
            filter = Filter { cursor: filter.cursor, limit: filter.limit, ..Filter::default() };
        }
        let mut page = self.catalog.list(&filter).await?;
        if self.has(Bug::ListsTheOldestFirst) {
            page.items.reverse();
        }
        if self.has(Bug::CutsPages) {
            page.next = None;
        }
        Ok(page)
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.catalog.history(tx).await
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        let found = self.catalog.by_key(key).await?;
        Ok(found.filter(|_| !self.has(Bug::ForgetsWhoHasKeys)))
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let mut purge = purge.clone();
        if self.has(Bug::IgnoresAges) {
            purge.older_than = Duration::ZERO;
        }
        match self.bug {
            Bug::DropsKeysAtOnce => purge.key_retention = Duration::ZERO,
            Bug::PurgesWithoutLimit => purge.limit = 1_000,
            _ => {}
        }
        Ok(self.catalog.purge(&purge).await? + u64::from(self.has(Bug::MiscountsPurges)))
    }
}

impl MutantStore {
    /// What a store would answer that writes it.
    fn promise(&self, write: &TxWrite) -> CommitResult {
        match write.expect {
            Expect::Version(version) => CommitResult::Committed(version.next()),
            Expect::Absent => CommitResult::Committed(Version(1)),
        }
    }

    /// Another transaction gets the key of a refused accept.
    async fn claim_anyway(&self, write: TxWrite) {
        if write.key.is_some() && write.definition.is_some() {
            let number = self.fresh.fetch_add(1, Ordering::Relaxed);
            let mut claim = TxWrite { tx: super::tx(number), fence: None, ..write };
            claim.id.number = number;
            self.state.commit(&[claim]).await;
        }
    }
}
