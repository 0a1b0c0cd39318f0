//! What a backend hands to the suite.

use std::{
    fmt::Debug,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dtx_core::{
    store::{Catalog, ManualClock, MemorySettings, MemoryStore, ParticipantStore, StateStore},
    time::Timestamp,
};

/// A backend under test. Each case opens its own.
#[async_trait]
pub trait StoreHarness: Debug + Send + Sync + Sized + 'static {
    /// An empty store. On a server that cases share, one in a namespace of its own, such as a
    /// schema or a key prefix with a [`fresh_name`].
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
    /// clock that can be set moves it; another calls [`wait`]. Cases ask for less than a second.
    async fn pass(&self, by: Duration);

    /// Moves the store's clock forward by more than a test can wait for, and says whether it
    /// could. Where it cannot, the cases that need it say on the standard error that they were
    /// skipped.
    async fn jump(&self, by: Duration) -> bool {
        let _ = by;
        false
    }

    /// Takes away what [`open`](Self::open) made. Runs after a case that passed; what a failed
    /// one leaves can be looked at.
    async fn close(self) {}
}

/// A name that no other case has, in this process or in another one: lower-case letters, digits
/// and underscores, at most 40 bytes.
pub fn fresh_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("case_{:x}_{:x}_{number:x}", std::process::id(), since.as_micros())
}

/// How long [`wait`] waits beyond what it was asked for.
const WAIT_EXTRA: Duration = Duration::from_secs(10);

/// Waits until the store's own clock has moved on by this much.
///
/// # Panics
/// When it has not, ten seconds later than it should have.
pub async fn wait(store: &dyn StateStore, by: Duration) {
    let begun = Instant::now();
    let until = store.now().await.expect("now") + by;
    while store.now().await.expect("now") < until {
        assert!(begun.elapsed() < by + WAIT_EXTRA, "the clock of the store stands still");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Moves the clock of the store, or says that the case was skipped.
pub(super) async fn jump<H: StoreHarness>(harness: &H, case: &str, by: Duration) -> bool {
    let moved = harness.jump(by).await;
    if !moved {
        // Not by a macro: the test harness would keep it to itself.
        let line = format!("SKIPPED {case}: the clock of the store cannot be set\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    moved
}

/// Opens a store, runs one case to its end, and closes the store.
///
/// # Panics
/// When the case fails.
pub fn run<H: StoreHarness>(case: impl AsyncFnOnce(&mut H)) {
    runtime().block_on(async {
        let mut harness = H::open().await;
        case(&mut harness).await;
        harness.close().await;
    });
}

/// Runs [`differential`](super::differential) to its end.
///
/// # Panics
/// When an answer differs.
pub fn run_differential<H: StoreHarness>(seed: u64) {
    runtime().block_on(super::differential::<H>(seed));
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime starts")
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

    /// An empty store with these settings.
    pub fn with_settings(settings: MemorySettings) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        Self { store: MemoryStore::with_clock(settings, clock.clone()), clock }
    }
}

#[async_trait]
impl StoreHarness for MemoryHarness {
    async fn open() -> Self {
        Self::with_settings(MemorySettings::default())
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

    async fn jump(&self, by: Duration) -> bool {
        self.clock.advance(by);
        true
    }
}
