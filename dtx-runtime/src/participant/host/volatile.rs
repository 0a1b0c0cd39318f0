//! The memory of a participant that lives in this process alone.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use dtx_core::{
    answer::{NotDone, PhaseAnswer},
    ids::{AcceptSequence, HolderId, ShardId},
    resource::barrier::{self, Claim, ClaimContext, InboxRow},
    store::RowExpect,
    time::Timestamp,
    transport::Command,
};
use foldhash::HashMap;
use tokio::time::Instant;

use super::{
    inbox::{Claimed, Held, Running},
    job::{Job, OperationKey, expired},
};

/// How many of the oldest operations are looked at when one comes in.
const SWEEP: usize = 4;

/// Rows of the barrier in memory, bounded. What is finished is forgotten at once.
#[derive(Debug)]
pub(crate) struct VolatileInbox {
    host: HolderId,
    running: Running,
    began: Instant,
    rows_max: usize,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    by_key: HashMap<OperationKey, InboxRow>,
    /// The keys, those that came first in front.
    order: VecDeque<OperationKey>,
    watermarks: HashMap<ShardId, AcceptSequence>,
}

impl Rows {
    fn watermark(&self, shard: ShardId) -> AcceptSequence {
        self.watermarks.get(&shard).copied().unwrap_or_default()
    }

    /// Forgets some of what is finished. One that is still open goes to the back, so that it
    /// does not hide the others.
    fn sweep(&mut self) {
        for _ in 0..SWEEP {
            let Some(key) = self.order.pop_front() else { return };
            let Some(row) = self.by_key.get(&key) else { continue };
            let is_finished = row.sequence() < self.watermark(row.shard());
            if is_finished && row.recall().is_none() {
                self.by_key.remove(&key);
            } else {
                self.order.push_back(key);
            }
        }
    }
}

impl VolatileInbox {
    pub(crate) fn new(host: HolderId, rows_max: usize) -> Self {
        Self {
            host,
            running: Running::default(),
            began: Instant::now(),
            rows_max,
            rows: Mutex::default(),
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Rows) -> T) -> T {
        use_it(&mut self.rows.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.began.elapsed()
    }

    pub(crate) fn claim(&self, jobs: &[&Job]) -> Vec<Claimed> {
        let now = Instant::now();
        self.with(|rows| jobs.iter().map(|job| self.claim_one(rows, job, now)).collect())
    }

    fn claim_one(&self, rows: &mut Rows, job: &Job, now: Instant) -> Claimed {
        if job.is_expired(now) {
            return Claimed::Answer(Err(expired()));
        }
        let (key, command) = (job.key(), &job.command);
        let watermark = rows.watermarks.entry(command.shard).or_default();
        *watermark = (*watermark).max(command.watermark);
        let forgotten_below = *watermark;
        let is_new = !rows.by_key.contains_key(&key);
        if is_new {
            rows.sweep();
            if rows.by_key.len() >= self.rows_max {
                return Claimed::Answer(Err(NotDone::unknown("the volatile inbox is full")));
            }
        }
        let ended = |host: HolderId| host != self.host || !self.running.holds(key);
        let context =
            ClaimContext { host: self.host, ended: &ended, forgotten_below, now: self.now() };
        let (row, claimed) = match barrier::claim(rows.by_key.get(&key), &context, command) {
            Claim::Run { row, forward } => {
                self.running.begin(key);
                let held = Held { row: row.clone(), expect: RowExpect::Absent };
                (Some(row), Claimed::Run { held, forward })
            }
            Claim::Ask { forward } => (None, Claimed::Ask { forward }),
            Claim::Answer { row, answer } => (row, Claimed::Answer(answer)),
        };
        if let Some(row) = row {
            rows.by_key.insert(key, row);
            if is_new {
                rows.order.push_back(key);
            }
        }
        claimed
    }

    pub(crate) fn finish(&self, items: &[(&Command, Held, PhaseAnswer)]) -> Vec<PhaseAnswer> {
        self.with(|rows| {
            for (command, _, answer) in items {
                let key = (command.tx, command.operation);
                if let Some(row) = rows.by_key.remove(&key) {
                    rows.by_key.insert(key, barrier::finish(row, command, answer));
                }
                self.running.end(key);
            }
        });
        items.iter().map(|(_, _, answer)| answer.clone()).collect()
    }

    /// What is remembered of an operation.
    pub(crate) fn row(&self, key: OperationKey) -> Option<InboxRow> {
        self.with(|rows| rows.by_key.get(&key).cloned())
    }
}
