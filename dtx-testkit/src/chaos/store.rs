//! Faults around a store.

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{ShardId, TxId},
    store::{
        Catalog, CommitResult, Cursor, Filter, JournalEntry, Lease, LeaseRequest, OpenPage, Page,
        ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows,
        StateStore, StoreInfo, StoredRow, TxRecord, TxWrite,
    },
    time::Timestamp,
    transaction::Key,
};

use super::{Chaos, layer::Strike};

const NAME: &str = "chaos";

/// A store that fails, is slow, and cannot be reached, as often as the knobs say. A write that
/// ends in a time-out has landed or not, and nobody can tell.
#[derive(Clone, Debug)]
pub struct ChaosStore<S> {
    pub(super) inner: S,
    pub(super) chaos: Chaos,
}

/// What a call ends with that does not reach the store, or whose answer does not come back.
fn error(strike: Strike, operation: &'static str) -> Option<StoreError> {
    let (kind, effect) = match strike {
        Strike::None => return None,
        Strike::Fail | Strike::Cut => (ErrorKind::Unavailable, Effect::None),
        Strike::TimeOut { .. } => (ErrorKind::Timeout, Effect::Unknown),
    };
    Some(StoreError::new(kind, NAME, operation).with_effect(effect))
}

impl<S> ChaosStore<S> {
    /// Whether the call goes on, and what it ends with in any case.
    async fn strike(&self, operation: &'static str) -> (bool, Option<StoreError>) {
        let strike = self.chaos.strike("store").await;
        let lands = matches!(strike, Strike::None | Strike::TimeOut { lands: true });
        (lands, error(strike, operation))
    }

    /// A call that changes nothing.
    async fn read(&self, operation: &'static str) -> Result<(), StoreError> {
        self.strike(operation).await.1.map_or(Ok(()), Err)
    }
}

#[async_trait]
impl<S: StateStore> StateStore for ChaosStore<S> {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read("now").await?;
        self.inner.now().await
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let strike = self.chaos.strike("store").await;
        let failed = |_: &TxWrite| error(strike, "commit").map(CommitResult::Failed);
        if matches!(strike, Strike::None | Strike::TimeOut { lands: true }) {
            let results = self.inner.commit(writes).await;
            if strike == Strike::None {
                return results;
            }
        }
        writes.iter().filter_map(failed).collect()
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.read("load").await?;
        self.inner.load(ids).await
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.read("open").await?;
        self.inner.open(shard, due_before, cursor, limit).await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        let (lands, error) = self.strike("acquire").await;
        let granted = if lands { self.inner.acquire(request).await } else { Ok(Vec::new()) };
        error.map_or(granted, Err)
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        let (lands, error) = self.strike("renew").await;
        let kept = if lands { self.inner.renew(leases).await } else { Ok(Vec::new()) };
        error.map_or(kept, Err)
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let (lands, error) = self.strike("release").await;
        let released = if lands { self.inner.release(leases).await } else { Ok(()) };
        error.map_or(released, Err)
    }
}

#[async_trait]
impl<S: Catalog> Catalog for ChaosStore<S> {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.read("list").await?;
        self.inner.list(filter).await
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.read("history").await?;
        self.inner.history(tx).await
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.read("by_key").await?;
        self.inner.by_key(key).await
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let (lands, error) = self.strike("purge").await;
        let purged = if lands { self.inner.purge(purge).await } else { Ok(0) };
        error.map_or(purged, Err)
    }
}

#[async_trait]
impl<S: ParticipantStore> ParticipantStore for ChaosStore<S> {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        Self::read(self, "read").await?;
        self.inner.read(reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        Self::read(self, "read_durable").await?;
        self.inner.read_durable(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let strike = self.chaos.strike("store").await;
        let failed = |_: &RowSet| error(strike, "write").map(RowWriteResult::Failed);
        if matches!(strike, Strike::None | Strike::TimeOut { lands: true }) {
            let results = self.inner.write(sets).await;
            if strike == Strike::None {
                return results;
            }
        }
        sets.iter().filter_map(failed).collect()
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        Self::read(self, "scan").await?;
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        Self::read(self, "scopes").await?;
        self.inner.scopes(prefix, cursor, limit).await
    }
}
