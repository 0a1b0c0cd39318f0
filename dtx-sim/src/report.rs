//! What a run, or many, came to.

use serde::Serialize;

use crate::check::Violation;

/// What happened in a run, counted. Sums in a [`Summary`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counters {
    /// Events.
    pub events: u64,
    /// Transactions whose accept was told.
    pub accepted: u64,
    /// Outcomes that were told, repeats by later owners included.
    pub told: u64,
    /// Transactions that committed.
    pub committed: u64,
    /// Transactions that were aborted.
    pub aborted: u64,
    /// Transactions that were compensated.
    pub compensated: u64,
    /// Transactions that were dispatched.
    pub dispatched: u64,
    /// Commands that left.
    pub commands: u64,
    /// Replies that left.
    pub replies: u64,
    /// Messages that were lost.
    pub lost: u64,
    /// Messages that came twice.
    pub duplicates: u64,
    /// Commits that were sent.
    pub commits: u64,
    /// Commits that failed in one way or another.
    pub store_faults: u64,
    /// Crashes of coordinators and participants.
    pub crashes: u64,
    /// Coordinators that stood still for a while.
    pub stalls: u64,
    /// Shards that were given back.
    pub handovers: u64,
    /// Shards whose loss was found by a write.
    pub leases_lost: u64,
    /// Transactions that were found open by a new owner.
    pub recovered: u64,
    /// Transactions that were parked.
    pub parked: u64,
    /// Signals that became durable.
    pub signals: u64,
    /// Inquiries of participants.
    pub inquiries: u64,
    /// Inquiries that wrote a going back.
    pub inquiry_aborts: u64,
    /// Submissions that met their own key.
    pub duplicate_keys: u64,
    /// Times that a transaction began to wait for an operator.
    pub needs_attention: u64,
    /// What operators did after the faults.
    pub operator_moves: u64,
    /// Operations that ended in the dead letters.
    pub dead_letters: u64,
    /// Writes of participants that had to be planned again.
    pub replans: u64,
    /// Rows that participants forgot.
    pub collected: u64,
    /// Records that coordinators waited for.
    pub awaited_writes: u64,
    /// Records that nobody waited for.
    pub lazy_writes: u64,
}

impl Counters {
    /// All counters with their names.
    pub fn list(&self) -> [(&'static str, u64); 30] {
        [
            ("events", self.events),
            ("accepted", self.accepted),
            ("told", self.told),
            ("committed", self.committed),
            ("aborted", self.aborted),
            ("compensated", self.compensated),
            ("dispatched", self.dispatched),
            ("commands", self.commands),
            ("replies", self.replies),
            ("lost", self.lost),
            ("duplicates", self.duplicates),
            ("commits", self.commits),
            ("store_faults", self.store_faults),
            ("crashes", self.crashes),
            ("stalls", self.stalls),
            ("handovers", self.handovers),
            ("leases_lost", self.leases_lost),
            ("recovered", self.recovered),
            ("parked", self.parked),
            ("signals", self.signals),
            ("inquiries", self.inquiries),
            ("inquiry_aborts", self.inquiry_aborts),
            ("duplicate_keys", self.duplicate_keys),
            ("needs_attention", self.needs_attention),
            ("operator_moves", self.operator_moves),
            ("dead_letters", self.dead_letters),
            ("replans", self.replans),
            ("collected", self.collected),
            ("awaited_writes", self.awaited_writes),
            ("lazy_writes", self.lazy_writes),
        ]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.accepted += other.accepted;
        self.told += other.told;
        self.committed += other.committed;
        self.aborted += other.aborted;
        self.compensated += other.compensated;
        self.dispatched += other.dispatched;
        self.commands += other.commands;
        self.replies += other.replies;
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.commits += other.commits;
        self.store_faults += other.store_faults;
        self.crashes += other.crashes;
        self.stalls += other.stalls;
        self.handovers += other.handovers;
        self.leases_lost += other.leases_lost;
        self.recovered += other.recovered;
        self.parked += other.parked;
        self.signals += other.signals;
        self.inquiries += other.inquiries;
        self.inquiry_aborts += other.inquiry_aborts;
        self.duplicate_keys += other.duplicate_keys;
        self.needs_attention += other.needs_attention;
        self.operator_moves += other.operator_moves;
        self.dead_letters += other.dead_letters;
        self.replans += other.replans;
        self.collected += other.collected;
        self.awaited_writes += other.awaited_writes;
        self.lazy_writes += other.lazy_writes;
    }
}

/// What one run came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was wrong; empty when the run was sound.
    pub violations: Vec<Violation>,
    /// What happened, counted.
    pub counters: Counters,
    /// A number that two runs can be compared by.
    pub trace_hash: u64,
    /// The run as a Mermaid sequence diagram; empty unless it was asked for.
    pub diagram: String,
    /// What clients submitted, in their order.
    pub ends: Vec<End>,
}

/// How the transaction of one client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// The outcome that was told; `None` when the transaction was not accepted or has not ended.
    pub outcome: Option<dtx_core::store::Outcome>,
    /// Records that its coordinator waited for.
    pub awaited_writes: u32,
    /// Records that nobody waited for.
    pub lazy_writes: u32,
}

impl Report {
    /// Whether nothing was wrong.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many of them were not sound.
    pub failed: u64,
    /// How many violations they had.
    pub violations: u64,
    /// The first of them, in their order.
    pub failing_seeds: Vec<u64>,
    /// What was wrong in the first of them.
    pub first_violations: Vec<String>,
    /// How many events the seed in the middle had.
    pub events_median: u64,
    /// Sums over all seeds.
    pub counters: Counters,
}
