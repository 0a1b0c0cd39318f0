//! A store that hangs at a write, so that its process is killed there.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use dtx_core::{
    error::StoreError,
    store::{
        Cursor, Page, ParticipantStore, RowKey, RowSet, RowWriteResult, Scope, ScopeRead,
        ScopeRows, StoreInfo, StoredRow,
    },
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// When the next write hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Hang {
    /// It does not land.
    Before,
    /// It has landed, and nobody knows.
    After,
}

#[derive(Debug)]
pub(crate) struct Hanging {
    inner: Arc<dyn ParticipantStore>,
    next: Mutex<Option<(Hang, oneshot::Sender<()>)>>,
}

impl Hanging {
    pub(crate) fn new(inner: Arc<dyn ParticipantStore>) -> Self {
        Self { inner, next: Mutex::new(None) }
    }

    /// Lets the next write hang for ever, and waits until it does.
    pub(crate) async fn hang(&self, when: Hang) {
        let (hangs, is_hanging) = oneshot::channel();
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((when, hangs));
        is_hanging.await.expect("the store is there");
    }
}

#[async_trait]
impl ParticipantStore for Hanging {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.inner.read(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((when, hangs)) = next else { return self.inner.write(sets).await };
        if when == Hang::After {
            self.inner.write(sets).await;
        }
        // Whoever waits for it may be gone.
        let _ = hangs.send(());
        pending().await
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.inner.scopes(prefix, cursor, limit).await
    }
}
