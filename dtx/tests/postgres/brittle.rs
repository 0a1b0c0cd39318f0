//! The store of a process that breaks as the suite of participants says: whatever would become
//! durable asks the suite's own rows first what shall become of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx::{
    Pg, PgOpen, PgStore,
    error::{Effect, ErrorKind, StoreError},
    ids::{OperationIndex, TxId},
    name::ParticipantName,
    store::{
        Begun, Branch, BranchEnd, BranchStore, Cursor, Page, ParticipantStore, RowChange,
        RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows, StoreInfo,
        StoredRow, UnitStore,
    },
};

use super::children::park;

/// Where a process stops, to be killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Never,
    BeforeCommit,
    AfterCommit,
    AfterPrepare,
    AfterEnd,
}

#[derive(Clone, Debug)]
pub(crate) struct Brittle {
    inner: PgStore,
    fuse: Arc<dyn ParticipantStore>,
    written: Arc<AtomicU64>,
    parked_at: Place,
    rolls_back_by_hand: bool,
}

impl Brittle {
    pub(crate) fn new(inner: PgStore, fuse: Arc<dyn ParticipantStore>) -> Self {
        let (parked_at, rolls_back_by_hand) = (Place::Never, false);
        Self { inner, fuse, written: Arc::default(), parked_at, rolls_back_by_hand }
    }

    /// Somebody rolls every branch back just before it is to be committed.
    pub(crate) fn rolled_back_by_hand(self) -> Self {
        Self { rolls_back_by_hand: true, ..self }
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
        let number = self.written.fetch_add(1, Ordering::SeqCst);
        let unique = uuid::Uuid::new_v4();
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
        ParticipantStore::info(&self.inner)
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
    type Unit = Pg;

    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<PgOpen>, StoreError> {
        self.check().await?;
        self.inner.begin(scope, key, mark).await
    }

    async fn undo(&self, open: &mut PgOpen) -> Result<(), StoreError> {
        self.inner.undo(open).await
    }

    async fn commit(&self, open: PgOpen, value: Bytes) -> RowWriteResult {
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

    async fn roll_back(&self, open: PgOpen) {
        self.inner.roll_back(open).await;
    }
}

#[async_trait]
impl BranchStore for Brittle {
    fn check_branches(&self) -> Result<(), StoreError> {
        self.inner.check_branches()
    }

    async fn prepare(&self, open: PgOpen, value: Bytes, branch: &Branch) -> RowWriteResult {
        self.pass(Place::BeforeCommit).await;
        match self.break_at().await {
            Ok(()) => {
                let written = self.inner.prepare(open, value, branch).await;
                self.pass(Place::AfterPrepare).await;
                written
            }
            Err(error) if error.effect() == Effect::None => RowWriteResult::Failed(error),
            Err(error) => {
                self.inner.prepare(open, value, branch).await;
                RowWriteResult::Failed(error)
            }
        }
    }

    async fn branches(
        &self,
        participant: &ParticipantName,
        of: Option<(TxId, OperationIndex)>,
    ) -> Result<Vec<Branch>, StoreError> {
        self.check().await?;
        self.inner.branches(participant, of).await
    }

    async fn end(&self, branch: &Branch, end: BranchEnd) -> Result<bool, StoreError> {
        if self.rolls_back_by_hand {
            self.inner.end(branch, BranchEnd::RollBack).await?;
        }
        match self.break_at().await {
            Ok(()) => {
                let ended = self.inner.end(branch, end).await;
                self.pass(Place::AfterEnd).await;
                ended
            }
            Err(error) if error.effect() == Effect::None => Err(error),
            Err(error) => {
                self.inner.end(branch, end).await?;
                assert_ne!(error.kind(), ErrorKind::Invalid);
                Err(error)
            }
        }
    }
}
