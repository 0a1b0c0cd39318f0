//! What a backend hands to the suite.

use std::{fmt::Debug, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::{
    store::{Catalog, ManualClock, MemorySettings, MemoryStore, ParticipantStore, StateStore},
    time::Timestamp,
};

/// A backend under test. Each case opens its own.
#[async_trait]
pub trait StoreHarness: Debug + Send + Sync + Sized + 'static {
    /// An empty store.
    async fn open() -> Self;

    /// The store as a coordinator sees it.
    fn state(&self) -> Arc<dyn StateStore>;

    /// The store as people see it.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// The store as participants see it.
    fn participants(&self) -> Arc<dyn ParticipantStore>;

    /// Closes the store and opens it again on the same data. A volatile store stays open.
    async fn reopen(&mut self);

    /// Returns when at least this much time has passed on the store's clock. A backend with a
    /// clock that can be set moves it; another polls `now` with a deadline. Cases ask for seconds
    /// at the most.
    async fn pass(&self, by: Duration);
}

/// Runs one case to its end.
///
/// # Panics
/// When the case fails.
pub fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(case);
}

/// The harness of the store in memory.
#[derive(Debug)]
pub struct MemoryHarness {
    store: MemoryStore,
    clock: Arc<ManualClock>,
}

impl MemoryHarness {
    /// The store itself.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }
}

#[async_trait]
impl StoreHarness for MemoryHarness {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let store = MemoryStore::with_clock(MemorySettings::default(), clock.clone());
        Self { store, clock }
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

    async fn reopen(&mut self) {}

    async fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }
}
