//! What the healer decides about a stored transaction, by its record alone.

use std::time::Duration;

use crate::{
    engine::{SettingsError, Signal, StoredState, Unreadable, readable},
    store::{Status, TxRecord, Verdict},
    time::Timestamp,
};

/// As whom the healer signals.
pub const HEALER: &str = "healer";

/// The named bounds of healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealSettings {
    /// How long between two passes while there is something to heal.
    pub interval: Duration,
    /// The pause between two passes doubles up to this while there is nothing to heal.
    pub interval_max: Duration,
    /// An open transaction that nobody has written to for this long is looked after.
    pub orphan_age: Duration,
    /// After how long what is stuck is tried again by itself; the pause doubles each time.
    pub stuck_retry_after: Duration,
    /// How often what is stuck is tried again by itself. After that only an operator helps.
    pub stuck_retries_max: usize,
    /// The most records that one pass looks at; the next one goes on from there.
    pub records_max: usize,
    /// The most transactions that a report names in each of its lists; it counts all.
    pub listed_max: usize,
}

impl Default for HealSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            interval_max: Duration::from_secs(300),
            orphan_age: Duration::from_secs(300),
            stuck_retry_after: Duration::from_secs(600),
            stuck_retries_max: 3,
            records_max: 10_000,
            listed_max: 1_000,
        }
    }
}

impl HealSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SettingsError`] naming the first setting that cannot be.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (field, value) in [
            ("healing.interval", self.interval),
            ("healing.orphan_age", self.orphan_age),
            ("healing.stuck_retry_after", self.stuck_retry_after),
        ] {
            if value.is_zero() {
                return Err(SettingsError { field, reason: "it is zero; give a positive time" });
            }
        }
        if self.interval_max < self.interval {
            let reason = "it is below healing.interval";
            return Err(SettingsError { field: "healing.interval_max", reason });
        }
        if self.records_max == 0 {
            let reason = "it is zero; give at least 1";
            return Err(SettingsError { field: "healing.records_max", reason });
        }
        Ok(())
    }
}

/// How an open transaction stands, to a healer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has ended.
    Ended,
    /// Somebody wrote to it not long ago, or it waits in the store for its time.
    Healthy,
    /// Nobody has written to it for `orphan_age`: it is taken up, if nobody has it in memory.
    Orphan {
        /// Its verdict, which is carried out; without one it runs forward again, or goes back.
        verdict: Option<Verdict>,
        /// It is undecided past its deadline: it goes back.
        overdue: bool,
    },
    /// It waits for an operator, and is due to be tried again by itself.
    RetryStuck {
        /// Which of the tries this is, from 1.
        number: usize,
    },
    /// It waits for an operator, and for nobody else.
    NeedsOperator,
    /// Its record cannot be read; it is left as it is.
    Quarantined(Unreadable),
}

/// Looks at a record.
pub fn examine(record: &TxRecord, store_now: Timestamp, settings: &HealSettings) -> Condition {
    if record.due.is_none() {
        return Condition::Ended;
    }
    let state = match readable(record) {
        Ok((state, _)) => state,
        Err(unreadable) => return Condition::Quarantined(unreadable),
    };
    let idle = store_now.since(record.written_at);
    match record.summary.status {
        Status::NeedsAttention => stuck(&state, record, idle, settings),
        Status::Parked => {
            let late = record.due.map_or(Duration::ZERO, |due| store_now.since(due));
            orphan_if(late >= settings.orphan_age, &state, record, store_now)
        }
        Status::Open | Status::Finished(_) => {
            orphan_if(idle >= settings.orphan_age, &state, record, store_now)
        }
    }
}

fn orphan_if(
    is_orphan: bool,
    state: &StoredState,
    record: &TxRecord,
    store_now: Timestamp,
) -> Condition {
    if !is_orphan {
        return Condition::Healthy;
    }
    let undecided = record.verdict.is_none() && state.point_of_no_return.is_none();
    let overdue = undecided && record.accepted_at + state.deadline < store_now;
    Condition::Orphan { verdict: record.verdict, overdue }
}

/// What failed for want of an answer may work now. What was answered with a no will not, and what
/// was taken up too often may be what kills the coordinators.
fn stuck(
    state: &StoredState,
    record: &TxRecord,
    idle: Duration,
    settings: &HealSettings,
) -> Condition {
    let undecided = record.verdict.is_none() && state.point_of_no_return.is_none();
    let unanswered = |phase: crate::pattern::Phase| undecided || phase.is_backward();
    let may_work = !state.stuck.is_empty() && state.stuck.iter().all(|of| unanswered(of.1));
    let is_own = |entry: &&crate::engine::SignalEntry| {
        entry.signal == Signal::Retry && entry.by.as_str() == HEALER
    };
    let made = state.signals.iter().filter(is_own).count();
    let doublings = u32::try_from(made).unwrap_or(u32::MAX).min(16);
    let pause = settings.stuck_retry_after.saturating_mul(1 << doublings);
    if may_work && made < settings.stuck_retries_max && idle >= pause {
        Condition::RetryStuck { number: made + 1 }
    } else {
        Condition::NeedsOperator
    }
}

/// The pause before the next pass: short after one that healed something, and twice as long after
/// each that did not.
pub fn next_pause(pause: Duration, found: bool, shortest: Duration, longest: Duration) -> Duration {
    if found { shortest } else { pause.saturating_mul(2).min(longest) }
}
