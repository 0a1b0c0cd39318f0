//! The store of one region as one process sees it: watched, and cut at a write.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    store::{
        Cursor, MemoryStore, Page, ParticipantStore, RowKey, RowSet, RowWriteResult, Scope,
        ScopeRead, ScopeRows, StoreInfo, StoredRow,
    },
};
use dtx_geo::pool::Member;
use dtx_geo_host::{PoolNode, PoolSpec};
use tokio::sync::Notify;

use crate::watch::Watch;

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    CrashBefore,
    CrashAfter,
    Fail,
    LoseAnswer,
}

#[derive(Debug)]
pub(crate) struct Rows {
    inner: MemoryStore,
    spec: PoolSpec,
    own: Member,
    watch: Watch,
    broken: Option<(Break, u64)>,
    pub(crate) writes: AtomicU64,
    is_gone: AtomicBool,
    gone: Notify,
}

fn error(kind: ErrorKind, effect: Effect) -> StoreError {
    StoreError::new(kind, "rows", "write").with_effect(effect)
}

impl Rows {
    pub(crate) fn new(
        inner: &MemoryStore,
        spec: &PoolSpec,
        own: Member,
        watch: &Watch,
        broken: Option<(Break, u64)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: inner.clone(),
            spec: spec.clone(),
            own,
            watch: watch.clone(),
            broken,
            writes: AtomicU64::new(0),
            is_gone: AtomicBool::new(false),
            gone: Notify::new(),
        })
    }

    pub(crate) fn cut(&self) {
        self.is_gone.store(true, SeqCst);
        self.gone.notify_waiters();
    }

    pub(crate) async fn until_gone(&self) {
        let mut gone = std::pin::pin!(self.gone.notified());
        gone.as_mut().enable();
        if !self.is_gone.load(SeqCst) {
            gone.await;
        }
    }

    async fn write_through(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let results = ParticipantStore::write(&self.inner, sets).await;
        if results.iter().any(|result| matches!(result, RowWriteResult::Written)) {
            let store = Arc::new(self.inner.clone());
            let cells = PoolNode::read(store, &self.spec).await.expect("the rows are good");
            self.watch.landed(self.own, cells);
        }
        results
    }
}

#[async_trait]
impl ParticipantStore for Rows {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        if self.is_gone.load(SeqCst) {
            return Err(error(ErrorKind::Closed, Effect::None));
        }
        ParticipantStore::read(&self.inner, reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        if self.is_gone.load(SeqCst) {
            return Err(error(ErrorKind::Closed, Effect::None));
        }
        self.inner.read_durable(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        // Others run between a read and the write that follows from it.
        tokio::task::yield_now().await;
        if self.is_gone.load(SeqCst) {
            return vec![RowWriteResult::Failed(error(ErrorKind::Closed, Effect::None))];
        }
        let number = self.writes.fetch_add(1, SeqCst);
        match self.broken.filter(|(_, at)| *at == number).map(|(how, _)| how) {
            None => self.write_through(sets).await,
            Some(Break::CrashBefore) => {
                self.cut();
                vec![RowWriteResult::Failed(error(ErrorKind::Closed, Effect::None))]
            }
            Some(Break::CrashAfter) => {
                self.write_through(sets).await;
                self.cut();
                vec![RowWriteResult::Failed(error(ErrorKind::Closed, Effect::Unknown))]
            }
            Some(Break::Fail) => {
                vec![RowWriteResult::Failed(error(ErrorKind::Unavailable, Effect::None))]
            }
            Some(Break::LoseAnswer) => {
                self.write_through(sets).await;
                vec![RowWriteResult::Failed(error(ErrorKind::Timeout, Effect::Unknown))]
            }
        }
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        ParticipantStore::scan(&self.inner, scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        ParticipantStore::scopes(&self.inner, prefix, cursor, limit).await
    }
}
