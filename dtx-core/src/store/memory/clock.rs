//! Clocks of stores. The only place in this crate that reads one.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::time::Timestamp;

/// The clock of a store: microseconds since the Unix epoch, never going back.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine. When that is set back, this one stands still until it has caught
/// up.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl SystemClock {
    /// A clock that never shows less than `floor`, such as the last time that a store recorded
    /// before it was closed.
    pub fn starting_at(floor: Timestamp) -> Self {
        Self { latest: AtomicU64::new(floor.as_micros()) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let earlier = self.latest.fetch_max(micros, Ordering::AcqRel);
        Timestamp::from_micros(micros.max(earlier))
    }
}

/// A clock that only moves when it is told to, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.as_micros()) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.now.fetch_add(micros, Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_never_shows_less_than_before() {
        let future = Timestamp::from_micros(u64::MAX / 2);
        let clock = SystemClock::starting_at(future);
        assert_eq!(clock.now(), future);
        let clock = SystemClock::default();
        let first = clock.now();
        assert!(first > Timestamp::from_millis(1_600_000_000_000), "since the Unix epoch");
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::new(Timestamp::from_millis(5));
        clock.advance(Duration::from_millis(2));
        assert_eq!(clock.now(), Timestamp::from_millis(7));
    }
}
