#![allow(missing_docs, unreachable_pub)]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    store::{Catalog, ManualClock, ParticipantStore, StateStore},
    time::Timestamp,
};
use dtx_store_redb::RedbStore;
use dtx_testkit::store::StoreHarness;

#[derive(Debug)]
pub struct RedbHarness {
    store: RedbStore,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
}

async fn open(directory: &tempfile::TempDir, clock: &Arc<ManualClock>) -> RedbStore {
    let builder = RedbStore::builder().batch_writes_max(64).value_bytes_max(1 << 16);
    builder.clock(clock.clone()).open(directory.path().join("store.redb")).await.expect("opens")
}

#[async_trait]
impl StoreHarness for RedbHarness {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        Self { store: open(&directory, &clock).await, clock, directory }
    }

    fn state(&self) -> Arc<dyn StateStore> {
        Arc::new(self.store.clone())
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(self.store.clone())
    }

    fn participants(&self) -> Arc<dyn ParticipantStore> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&mut self) {
        self.store.close().await.expect("closes");
        // Set back: the store must not follow.
        self.clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_600_000_000_001)));
        self.store = open(&self.directory, &self.clock).await;
    }

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn jump(&self, by: Duration) -> bool {
        self.clock.advance(by);
        true
    }
}
