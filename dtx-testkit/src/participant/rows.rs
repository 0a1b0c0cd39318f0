//! The rows of the participant under test, which break as they are told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    store::{
        Cursor, Page, ParticipantStore, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        ScopeRows, StoreInfo, StoredRow,
    },
};
use tokio::sync::Notify;

/// How a write breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The process is gone before it.
    CrashBefore,
    /// The process is gone after it, before its answer.
    CrashAfter,
    /// It fails and changes nothing.
    Fail,
    /// It is done, and its answer is lost.
    LoseAnswer,
}

/// What one process sees of the rows. After a crash nothing of it gets through any more.
#[derive(Debug)]
pub struct BrittleRows {
    inner: Arc<dyn ParticipantStore>,
    broken: Option<(Break, u64)>,
    writes: AtomicU64,
    is_gone: AtomicBool,
    was_reached: AtomicBool,
    gone: Notify,
}

impl BrittleRows {
    /// Rows of which the write with this number breaks, from 0.
    pub fn new(inner: Arc<dyn ParticipantStore>, broken: Option<(Break, u64)>) -> Self {
        Self {
            inner,
            broken,
            writes: AtomicU64::new(0),
            is_gone: AtomicBool::new(false),
            was_reached: AtomicBool::new(false),
            gone: Notify::new(),
        }
    }

    /// From now on nothing gets through.
    pub fn cut(&self) {
        self.is_gone.store(true, SeqCst);
        self.gone.notify_waiters();
    }

    /// Whether nothing gets through any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(SeqCst)
    }

    /// Whether the write that was to break was made.
    pub fn was_reached(&self) -> bool {
        self.was_reached.load(SeqCst)
    }

    /// Returns when nothing gets through any more.
    pub async fn until_gone(&self) {
        let mut gone = std::pin::pin!(self.gone.notified());
        gone.as_mut().enable();
        if !self.is_gone() {
            gone.await;
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.is_gone() {
            return Err(StoreError::new(ErrorKind::Closed, "brittle", "reach the rows"));
        }
        Ok(())
    }
}

fn failed(sets: &[RowSet], kind: ErrorKind, effect: Effect) -> Vec<RowWriteResult> {
    let error = || StoreError::new(kind, "brittle", "write").with_effect(effect);
    sets.iter().map(|_| RowWriteResult::Failed(error())).collect()
}

#[async_trait]
impl ParticipantStore for BrittleRows {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.check()?;
        self.inner.read(reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.check()?;
        self.inner.read_durable(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        // Others run between a read and the write that follows from it.
        tokio::task::yield_now().await;
        if self.is_gone() {
            return failed(sets, ErrorKind::Closed, Effect::None);
        }
        let number = self.writes.fetch_add(1, SeqCst);
        let broken = self.broken.filter(|(_, at)| *at == number).map(|(how, _)| how);
        self.was_reached.fetch_or(broken.is_some(), SeqCst);
        match broken {
            None => self.inner.write(sets).await,
            Some(Break::CrashBefore) => {
                self.cut();
                failed(sets, ErrorKind::Closed, Effect::None)
            }
            Some(Break::CrashAfter) => {
                self.inner.write(sets).await;
                self.cut();
                failed(sets, ErrorKind::Closed, Effect::Unknown)
            }
            Some(Break::Fail) => failed(sets, ErrorKind::Unavailable, Effect::None),
            Some(Break::LoseAnswer) => {
                self.inner.write(sets).await;
                failed(sets, ErrorKind::Timeout, Effect::Unknown)
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
        self.check()?;
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.check()?;
        self.inner.scopes(prefix, cursor, limit).await
    }
}
