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
use dtx_geo::pool::{Cells, RowName};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::plan::NAMES;

/// Which write hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum At {
    /// One that gives units to another region.
    Gift,
    /// One that changes a hold.
    Hold,
}

/// How the next write of a kind hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hang {
    pub(crate) at: At,
    /// Whether it lands before, and nobody knows.
    pub(crate) lands: bool,
}

#[derive(Debug)]
pub(crate) struct Hanging {
    inner: Arc<dyn ParticipantStore>,
    next: Mutex<Next>,
}

#[derive(Debug, Default)]
struct Next {
    hang: Option<(Hang, oneshot::Sender<()>)>,
    /// What was given up to now, in all.
    given: u64,
}

impl Next {
    /// Looks at what is written, and says whether that hangs.
    fn take(&mut self, sets: &[RowSet]) -> Option<(Hang, oneshot::Sender<()>)> {
        let (mut given, mut has_hold) = (self.given, false);
        for change in sets.iter().flat_map(|set| &set.changes) {
            match (RowName::of(&change.key.0), &change.value) {
                (Some(RowName::Totals), Some(value)) => {
                    let mut cells = Cells::new(NAMES.len());
                    cells.load_totals(value).expect("the row is good");
                    given = cells.given();
                }
                (Some(RowName::Hold(_)), _) => has_hold = true,
                _ => {}
            }
        }
        let gives = given > std::mem::replace(&mut self.given, given);
        self.hang.take_if(|(hang, _)| match hang.at {
            At::Gift => gives,
            At::Hold => has_hold,
        })
    }
}

impl Hanging {
    pub(crate) fn new(inner: Arc<dyn ParticipantStore>) -> Self {
        Self { inner, next: Mutex::default() }
    }

    /// Lets the next such write hang for ever, and waits until it does.
    pub(crate) async fn hang(&self, hang: Hang) {
        let (hangs, is_hanging) = oneshot::channel();
        self.next.lock().unwrap_or_else(PoisonError::into_inner).hang = Some((hang, hangs));
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

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.inner.read_durable(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let hang = self.next.lock().unwrap_or_else(PoisonError::into_inner).take(sets);
        let Some((hang, hangs)) = hang else { return self.inner.write(sets).await };
        if hang.lands {
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
