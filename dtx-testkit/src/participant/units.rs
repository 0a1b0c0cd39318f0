//! A store with transactions of its own, in a process that breaks: whatever would become durable
//! asks the rows of the suite first what shall become of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    error::{Effect, StoreError},
    ids::{OperationIndex, TxId},
    name::ParticipantName,
    store::{
        Begun, Branch, BranchEnd, BranchStore, Cursor, Page, ParticipantStore, RowChange,
        RowExpect, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows, StoreInfo,
        StoredRow, Unit, UnitStore,
    },
};

use crate::parked::park;

/// Where a process stops, to be killed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Nowhere.
    #[default]
    Never,
    /// Before a commit or a prepare.
    BeforeCommit,
    /// After a commit, before its answer.
    AfterCommit,
    /// After a prepare, before its answer.
    AfterPrepare,
    /// After the end of a branch, before its answer.
    AfterEnd,
}

/// The store of a participant under test. The fuse is what
/// [`ParticipantHarness::start`](super::ParticipantHarness::start) is given: what becomes of a
/// write to it becomes of each commit, prepare and end.
#[derive(Clone, Debug)]
pub struct BrittleUnits<S> {
    inner: S,
    fuse: Arc<dyn ParticipantStore>,
    written: Arc<AtomicU64>,
    parked_at: Stop,
    rolls_back_by_hand: bool,
}

/// Writes one row to the fuse that nobody else writes.
async fn burn(fuse: &dyn ParticipantStore, number: u64) -> Result<(), StoreError> {
    static UNIQUE: AtomicU64 = AtomicU64::new(0);
    let key = RowKey(Bytes::from(format!("{number}/{}", UNIQUE.fetch_add(1, SeqCst))));
    let change = RowChange { key, expect: RowExpect::Absent, value: Some(Bytes::new()) };
    let scope = Scope::new("fuse").expect("it is valid");
    let set = RowSet { scope, changes: vec![change], unchanged: Vec::new(), not_after: None };
    match fuse.write(&[set]).await.pop() {
        Some(RowWriteResult::Written) => Ok(()),
        Some(RowWriteResult::Failed(error)) => Err(error),
        other => panic!("the rows of the suite: {other:?}"),
    }
}

impl<S> BrittleUnits<S> {
    /// Breaks as the fuse does.
    pub fn new(inner: S, fuse: Arc<dyn ParticipantStore>) -> Self {
        let (parked_at, rolls_back_by_hand) = (Stop::Never, false);
        Self { inner, fuse, written: Arc::default(), parked_at, rolls_back_by_hand }
    }

    /// The process is [parked](crate::parked) when it comes to this place.
    #[must_use]
    pub fn parked_at(self, at: Stop) -> Self {
        Self { parked_at: at, ..self }
    }

    /// Somebody rolls every branch back just before it is to be committed.
    #[must_use]
    pub fn rolled_back_by_hand(self) -> Self {
        Self { rolls_back_by_hand: true, ..self }
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.fuse.read(&[]).await.map(drop)
    }

    async fn pass(&self, at: Stop) {
        if self.parked_at == at {
            park().await;
        }
    }

    /// Does what becomes durable, or not, as the fuse says: all, nothing, or all without an answer.
    async fn durably<T>(
        &self,
        after: Stop,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, StoreError> {
        match burn(&*self.fuse, self.written.fetch_add(1, SeqCst)).await {
            Ok(()) => {
                let done = work.await;
                self.pass(after).await;
                Ok(done)
            }
            Err(error) => {
                if error.effect() != Effect::None {
                    work.await;
                }
                Err(error)
            }
        }
    }
}

#[async_trait]
impl<S: ParticipantStore> ParticipantStore for BrittleUnits<S> {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.check().await?;
        self.inner.read(reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.check().await?;
        self.inner.read_durable(reads).await
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
impl<S: UnitStore> UnitStore for BrittleUnits<S> {
    type Unit = S::Unit;

    async fn begin(
        &self,
        scope: &Scope,
        key: &RowKey,
        mark: &RowKey,
    ) -> Result<Begun<<S::Unit as Unit>::Open>, StoreError> {
        self.check().await?;
        self.inner.begin(scope, key, mark).await
    }

    async fn undo(&self, open: &mut <S::Unit as Unit>::Open) -> Result<(), StoreError> {
        self.inner.undo(open).await
    }

    async fn commit(&self, open: <S::Unit as Unit>::Open, value: Bytes) -> RowWriteResult {
        self.pass(Stop::BeforeCommit).await;
        let commit = self.inner.commit(open, value);
        self.durably(Stop::AfterCommit, commit).await.unwrap_or_else(RowWriteResult::Failed)
    }

    async fn roll_back(&self, open: <S::Unit as Unit>::Open) {
        self.inner.roll_back(open).await;
    }

    async fn roll_back_durable(&self, open: <S::Unit as Unit>::Open) -> Result<(), StoreError> {
        self.inner.roll_back_durable(open).await
    }
}

#[async_trait]
impl<S: BranchStore> BranchStore for BrittleUnits<S> {
    fn check_branches(&self) -> Result<(), StoreError> {
        self.inner.check_branches()
    }

    async fn prepare(
        &self,
        open: <S::Unit as Unit>::Open,
        value: Bytes,
        branch: &Branch,
    ) -> RowWriteResult {
        self.pass(Stop::BeforeCommit).await;
        let prepare = self.inner.prepare(open, value, branch);
        self.durably(Stop::AfterPrepare, prepare).await.unwrap_or_else(RowWriteResult::Failed)
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
        self.durably(Stop::AfterEnd, self.inner.end(branch, end)).await?
    }
}
