//! The store of a process that breaks as the suite of participants says: whatever would become
//! durable asks the suite's own rows first what shall become of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx::{
    error::{Effect, StoreError},
    store::{
        Begun, Cursor, Page, ParticipantStore, RowChange, RowExpect, RowKey, RowSet,
        RowWriteResult, Scope, ScopeRead, ScopeRows, StoreInfo, StoredRow, UnitStore,
    },
};
use dtx_store_redis::{RedisOpen, RedisStore, RedisUnit};

use super::children::park;

/// Where a process stops, to be killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Never,
    BeforeCommit,
    AfterCommit,
}

#[derive(Clone, Debug)]
pub(crate) struct Brittle {
    inner: RedisStore,
    fuse: Arc<dyn ParticipantStore>,
    written: Arc<AtomicU64>,
    parked_at: Place,
}

impl Brittle {
    pub(crate) fn new(inner: RedisStore, fuse: Arc<dyn ParticipantStore>) -> Self {
        Self { inner, fuse, written: Arc::default(), parked_at: Place::Never }
    }

    pub(crate) fn parked_at(self, place: Place) -> Self {
        Self { parked_at: place, ..self }
    }

    async fn pass(&self, place: Place) {
        if self.parked_at == place {
            park().await;
        }
    }

    /// What the suite lets happen: all, nothing, or all without an answer.
    async fn break_at(&self) -> Result<(), StoreError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let unique = NUMBER.fetch_add(1, Ordering::SeqCst);
        let key = RowKey(Bytes::from(format!("{number}/{unique}")));
        let change = RowChange { key, expect: RowExpect::Absent, value: Some(Bytes::new()) };
        let set = RowSet {
            scope: Scope::new("fuse").expect("valid"),
            changes: vec![change],
            unchanged: Vec::new(),
            not_after: None,
        };
        match self.fuse.write(&[set]).await.pop() {
            Some(RowWriteResult::Written) => Ok(()),
            Some(RowWriteResult::Failed(error)) => Err(error),
            other => panic!("the rows of the suite: {other:?}"),
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.fuse.read(&[]).await.map(drop)
    }
}

#[async_trait]
impl ParticipantStore for Brittle {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.check().await?;
        self.inner.read(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        self.inner.write(sets).await
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.check().await?;
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.check().await?;
        self.inner.scopes(prefix, cursor, limit).await
    }
}

#[async_trait]
impl UnitStore for Brittle {
    type Unit = RedisUnit;

    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<RedisOpen>, StoreError> {
        self.check().await?;
        self.inner.begin(scope, key, mark).await
    }

    async fn undo(&self, open: &mut RedisOpen) -> Result<(), StoreError> {
        self.inner.undo(open).await
    }

    async fn commit(&self, open: RedisOpen, value: Bytes) -> RowWriteResult {
        self.pass(Place::BeforeCommit).await;
        match self.break_at().await {
            Ok(()) => {
                let written = self.inner.commit(open, value).await;
                self.pass(Place::AfterCommit).await;
                written
            }
            Err(error) if error.effect() == Effect::None => RowWriteResult::Failed(error),
            Err(error) => {
                self.inner.commit(open, value).await;
                RowWriteResult::Failed(error)
            }
        }
    }

    async fn roll_back(&self, open: RedisOpen) {
        self.inner.roll_back(open).await;
    }
}
