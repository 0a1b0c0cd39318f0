//! Counters of a coordinator. They never decide anything.

use std::sync::atomic::{AtomicU64, Ordering};

use dtx_core::store::Outcome;

/// Counts since the start of the coordinator.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) committed: AtomicU64,
    pub(super) aborted: AtomicU64,
    pub(super) compensated: AtomicU64,
    pub(super) dispatched: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) needs_attention: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) recovered: AtomicU64,
    pub(super) writes_awaited: AtomicU64,
    pub(super) writes_lazy: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) commands_unsent: AtomicU64,
    pub(super) events_missed: AtomicU64,
    pub(super) replies: AtomicU64,
    pub(super) heal_passes: AtomicU64,
    pub(super) heal_retries: AtomicU64,
}

/// A copy of the counters of a coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoordinatorStats {
    /// Transactions accepted by this coordinator.
    pub accepted: u64,
    /// Outcomes told: committed.
    pub committed: u64,
    /// Outcomes told: aborted.
    pub aborted: u64,
    /// Outcomes told: compensated.
    pub compensated: u64,
    /// Outcomes told: dispatched.
    pub dispatched: u64,
    /// Outcomes told: abandoned.
    pub abandoned: u64,
    /// Operations that ended in the dead letters.
    pub dead_letters: u64,
    /// How often a transaction came to wait for an operator.
    pub needs_attention: u64,
    /// Records that could not be read.
    pub quarantined: u64,
    /// Open transactions that were found in the store and taken up.
    pub recovered: u64,
    /// Records written that something waited for.
    pub writes_awaited: u64,
    /// Records written that nothing waited for.
    pub writes_lazy: u64,
    /// Commits of batches of records.
    pub commits: u64,
    /// Commands given to the transport.
    pub commands: u64,
    /// Commands that the transport did not take, or not within `publish_timeout`, and repeats for
    /// which `commands_max` left no room. They are sent again as if they had got lost.
    pub commands_unsent: u64,
    /// Answers that readers of `Handle::events` missed because they were too slow.
    pub events_missed: u64,
    /// Replies received.
    pub replies: u64,
    /// Passes of the healer.
    pub heal_passes: u64,
    /// Stuck transactions that the healer tried again.
    pub heal_retries: u64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn told(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Committed => &self.committed,
            Outcome::Aborted => &self.aborted,
            Outcome::Compensated => &self.compensated,
            Outcome::Dispatched => &self.dispatched,
            Outcome::Abandoned => &self.abandoned,
        };
        Self::add(counter, 1);
    }

    pub(super) fn snapshot(&self) -> CoordinatorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CoordinatorStats {
            accepted: read(&self.accepted),
            committed: read(&self.committed),
            aborted: read(&self.aborted),
            compensated: read(&self.compensated),
            dispatched: read(&self.dispatched),
            abandoned: read(&self.abandoned),
            dead_letters: read(&self.dead_letters),
            needs_attention: read(&self.needs_attention),
            quarantined: read(&self.quarantined),
            recovered: read(&self.recovered),
            writes_awaited: read(&self.writes_awaited),
            writes_lazy: read(&self.writes_lazy),
            commits: read(&self.commits),
            commands: read(&self.commands),
            commands_unsent: read(&self.commands_unsent),
            events_missed: read(&self.events_missed),
            replies: read(&self.replies),
            heal_passes: read(&self.heal_passes),
            heal_retries: read(&self.heal_retries),
        }
    }
}
