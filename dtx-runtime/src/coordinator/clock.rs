//! The clocks of a coordinator: its own monotonic one, and a guess at the store's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx_core::time::Timestamp;
use tokio::time::Instant;

/// The coordinator's clock. Cheap to clone; all clones show the same.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    origin: Instant,
    /// What the store's clock showed at the origin, as it was last learnt.
    store_origin: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn new(store_now: Timestamp) -> Self {
        let store_origin = Arc::new(AtomicU64::new(store_now.as_micros()));
        Self { origin: Instant::now(), store_origin }
    }

    /// Microseconds since the start.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.origin.elapsed()
    }

    /// About what the store's clock shows. Only for what is shown, and for when to look again.
    pub(super) fn store_now(&self) -> Timestamp {
        self.store_at(self.now())
    }

    /// As [`store_now`](Self::store_now), at a moment of this clock.
    pub(super) fn store_at(&self, now: Timestamp) -> Timestamp {
        let origin = Timestamp::from_micros(self.store_origin.load(Ordering::Relaxed));
        origin + now.since(Timestamp::ZERO)
    }

    /// The store's clock showed this just now.
    pub(super) fn learn(&self, store_now: Timestamp) {
        let elapsed = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let origin = store_now.as_micros().saturating_sub(elapsed);
        self.store_origin.store(origin, Ordering::Relaxed);
    }

    /// Milliseconds since the Unix epoch, for ids.
    pub(super) fn unix_millis(&self) -> u64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(now.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
    }
}
