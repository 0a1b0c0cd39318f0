//! The healer: walks what is open in the owned shards, takes up what nobody looks after, tries
//! again what is stuck, and says what it found. What it decides is decided in the core.

use std::sync::Arc;

use dtx_core::{
    engine::{Condition, HEALER, HealSettings, Input, Signal, examine, next_pause},
    error::StoreError,
    ids::{ShardId, TxId},
    store::{Cursor, TxRecord},
    time::Timestamp,
};
use serde::Serialize;

use super::{lanes::Shared, stats::Counters};

/// Transactions in a report: all are counted, and the first of them named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// How many there are.
    pub count: u64,
    /// The first of them, at most `listed_max`.
    pub transactions: Vec<TxId>,
}

/// A record that cannot be read. It is left as it is and stops nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The transaction.
    pub tx: TxId,
    /// Why it cannot be read.
    pub reason: String,
}

/// What a healer found in one pass over open transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HealReport {
    /// How many records were looked at.
    pub examined: u64,
    /// Whether all were looked at; else there are more than `records_max`, and the next pass goes
    /// on from there.
    pub complete: bool,
    /// Nobody had written to them for `orphan_age`. A running coordinator takes up those that are
    /// not in its memory.
    pub orphans: Found,
    /// Those of the orphans that are undecided past their deadline: they go back.
    pub overdue: u64,
    /// They waited for an operator and are tried again.
    pub retried: Found,
    /// They wait for an operator.
    pub needs_operator: Found,
    /// How many records cannot be read.
    pub quarantined_count: u64,
    /// The first of them, at most `listed_max`.
    pub quarantined: Vec<Quarantined>,
}

impl HealReport {
    /// Notes how a record stands, and says what is to be done about it.
    ///
    /// The same for a healer that runs and for one that only looks.
    pub fn note(
        &mut self,
        record: &TxRecord,
        store_now: Timestamp,
        settings: &HealSettings,
    ) -> Condition {
        self.examined += 1;
        let condition = examine(record, store_now, settings);
        let most = settings.listed_max;
        match &condition {
            Condition::Ended | Condition::Healthy => {}
            Condition::Orphan { overdue, .. } => {
                self.overdue += u64::from(*overdue);
                self.orphans.add(record.tx, most);
            }
            Condition::RetryStuck { .. } => self.retried.add(record.tx, most),
            Condition::NeedsOperator => self.needs_operator.add(record.tx, most),
            Condition::Quarantined(why) => self.quarantine(record.tx, why.0.clone(), most),
        }
        condition
    }

    /// Adds a record that cannot be read.
    pub fn quarantine(&mut self, tx: TxId, reason: String, listed_max: usize) {
        self.quarantined_count += 1;
        if self.quarantined.len() < listed_max {
            self.quarantined.push(Quarantined { tx, reason });
        }
    }

    /// Whether a healer had anything to do.
    pub fn has_work(&self) -> bool {
        self.orphans.count > 0 || self.retried.count > 0
    }
}

impl Found {
    fn add(&mut self, tx: TxId, most: usize) {
        self.count += 1;
        if self.transactions.len() < most {
            self.transactions.push(tx);
        }
    }
}

/// Heals until the coordinator stops.
pub(super) async fn run(shared: Arc<Shared>) {
    let settings = shared.settings.healing.clone();
    let mut pause = settings.interval;
    loop {
        tokio::time::sleep(pause).await;
        let found = match pass(&shared).await {
            Ok(report) => report.has_work() || !report.complete,
            Err(error) => {
                tracing::warn!(%error, "the healer could not look; again soon");
                true
            }
        };
        pause = next_pause(pause, found, settings.interval, settings.interval_max);
    }
}

/// One pass over the open transactions of the owned shards.
pub(super) async fn pass(shared: &Shared) -> Result<HealReport, StoreError> {
    let settings = &shared.settings.healing;
    // One pass at a time: two would count and signal the same things twice.
    let mut healing = shared.healing.lock().await;
    let mut report = HealReport::default();
    let from = healing.next.take();
    let owned: Vec<_> = shared.owned().into_keys().collect();
    let start = from.as_ref().map_or(0, |(shard, _)| owned.partition_point(|s| s < shard));
    let mut resume = from;
    'shards: for &shard in &owned[start..] {
        let mut cursor = match resume.take() {
            Some((of, cursor)) if of == shard => cursor,
            _ => None,
        };
        loop {
            let left = settings.records_max.saturating_sub(report.examined as usize);
            if left == 0 {
                healing.next = Some((shard, cursor));
                break 'shards;
            }
            let most = shared.settings.scan_records_max.min(left);
            let page = shared.store.open(shard, Timestamp::MAX, cursor.as_ref(), most).await?;
            for record in page.records {
                heal(shared, record, page.now, &mut report).await;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    report.complete = healing.next.is_none();
    Counters::add(&shared.counters.heal_passes, 1);
    Counters::add(&shared.counters.heal_retries, report.retried.count);
    healing.last = report.clone();
    Ok(report)
}

async fn heal(shared: &Shared, record: TxRecord, now: Timestamp, report: &mut HealReport) {
    let tx = record.tx;
    match report.note(&record, now, &shared.settings.healing) {
        Condition::Orphan { .. } => {
            let shard = tx.shard(shared.store.info().shards);
            let input = Input::Recovered { record: Box::new(record), store_now: now };
            shared.engine(shard, input).await;
        }
        Condition::RetryStuck { number } => {
            let most = shared.settings.healing.stuck_retries_max;
            let reason = format!("try {number} of {most} by itself");
            match shared.operator.signal(tx, Signal::Retry, HEALER, &reason).await {
                Ok(()) => shared.poke(tx).await,
                // It went on by itself, or an operator came first.
                Err(error) => tracing::debug!(%tx, %error, "what was stuck is not tried again"),
            }
        }
        Condition::Quarantined(why) => tracing::warn!(%tx, %why, "a record is quarantined"),
        Condition::Ended | Condition::Healthy | Condition::NeedsOperator => {}
    }
}

/// Where the healer is.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// Where the next pass goes on.
    next: Option<(ShardId, Option<Cursor>)>,
    pub(super) last: HealReport,
}
