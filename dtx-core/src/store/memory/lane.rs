//! The transactions and leases of the shards of one lane.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use crate::{
    ids::{ShardCount, ShardId, TxId, Version},
    mutant,
    store::{Expect, Facts, Filter, JournalEntry, LeaseTable, Purge, RowFacts, TxRecord, TxWrite},
    time::Timestamp,
    transaction::Key,
};

/// A transaction with its history.
#[derive(Debug)]
struct Row {
    record: TxRecord,
    /// One part per write.
    journal: Vec<Arc<[JournalEntry]>>,
}

/// Boxed, so that a row moves from the open ones to the finished ones as a pointer.
type Rows = BTreeMap<TxId, Box<Row>>;

#[derive(Debug)]
pub(super) struct Lane {
    shards: ShardCount,
    open: Rows,
    /// Open transactions by shard and due time.
    due: BTreeSet<(ShardId, Timestamp, TxId)>,
    finished: Rows,
    /// Finished transactions by their last write.
    ended: BTreeSet<(Timestamp, TxId)>,
    pub(super) leases: LeaseTable,
}

impl Lane {
    pub(super) fn new(shards: ShardCount) -> Self {
        Self {
            shards,
            open: Rows::new(),
            due: BTreeSet::new(),
            finished: Rows::new(),
            ended: BTreeSet::new(),
            leases: LeaseTable::new(shards),
        }
    }

    fn row(&self, tx: TxId) -> Option<&Row> {
        self.open.get(&tx).or_else(|| self.finished.get(&tx)).map(Box::as_ref)
    }

    pub(super) fn record(&self, tx: TxId) -> Option<&TxRecord> {
        self.row(tx).map(|row| &row.record)
    }

    pub(super) fn history(&self, tx: TxId) -> Vec<JournalEntry> {
        self.row(tx).map_or_else(Vec::new, |row| row.journal.concat())
    }

    /// What a write is compared with, but for the key.
    pub(super) fn facts(&self, write: &TxWrite, shard: ShardId) -> Facts {
        let row = self.record(write.tx).map(|record| RowFacts {
            version: record.version,
            verdict: record.verdict,
            last_write: record.last_write,
        });
        Facts { row, lease: self.leases.newest(shard), key: None }
    }

    /// Applies a write that was decided to apply.
    pub(super) fn apply(
        &mut self,
        write: &TxWrite,
        shard: ShardId,
        version: Version,
        now: Timestamp,
    ) {
        if write.expect == Expect::Absent {
            let row =
                Row { record: new_record(write, version, now), journal: parts(&write.journal) };
            return self.put(Box::new(row), shard);
        }
        if let Some(row) = self.open.get_mut(&write.tx)
            && let (Some(before), Some(after)) = (row.record.due, write.due)
        {
            // The usual progress of an open transaction: nothing moves but its due time.
            change(row, write, version, now);
            if before != after {
                self.due.remove(&(shard, before, write.tx));
                self.due.insert((shard, after, write.tx));
            }
            return;
        }
        let mut row = self.take(write.tx, shard).expect("a write that applies has its row");
        change(&mut row, write, version, now);
        self.put(row, shard);
    }

    fn take(&mut self, tx: TxId, shard: ShardId) -> Option<Box<Row>> {
        if let Some(row) = self.open.remove(&tx) {
            self.due.remove(&(shard, row.record.due.unwrap_or_default(), tx));
            return Some(row);
        }
        let row = self.finished.remove(&tx)?;
        self.ended.remove(&(row.record.written_at, tx));
        Some(row)
    }

    fn put(&mut self, row: Box<Row>, shard: ShardId) {
        let tx = row.record.tx;
        if let Some(due) = row.record.due {
            self.due.insert((shard, due, tx));
            self.open.insert(tx, row);
        } else {
            self.ended.insert((row.record.written_at, tx));
            self.finished.insert(tx, row);
        }
    }

    /// Up to `limit` open transactions of a shard after a place, due at or before `due_before`.
    pub(super) fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        after: Option<(Timestamp, TxId)>,
        limit: usize,
    ) -> Vec<TxRecord> {
        let from = match after {
            Some((due, tx)) => Bound::Excluded((shard, due, tx)),
            None => Bound::Included((shard, Timestamp::ZERO, TxId::from_bytes([0; 16]))),
        };
        let to = Bound::Included((shard, due_before, TxId::from_bytes([0xFF; 16])));
        if after.is_some_and(|(due, _)| due > due_before) {
            return Vec::new();
        }
        let due = self.due.range((from, to)).take(limit);
        due.filter_map(|(_, _, tx)| self.open.get(tx)).map(|row| row.record.clone()).collect()
    }

    /// Up to `limit` transactions before a place, the newest first.
    pub(super) fn list(
        &self,
        filter: &Filter,
        before: Option<TxId>,
        limit: usize,
    ) -> Vec<TxRecord> {
        let upper = before.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for rows in [&self.open, &self.finished] {
            let newest = rows.range((Bound::Unbounded, upper)).rev().map(|(_, row)| &row.record);
            let wanted = newest.filter(|row| filter.matches(&row.summary, row.key.as_ref()));
            found.extend(wanted.take(limit).cloned());
        }
        found
    }

    /// Forgets up to `limit` finished transactions, the oldest first, and returns their keys
    /// with the time of their last write, one item per transaction.
    pub(super) fn purge(
        &mut self,
        purge: &Purge,
        limit: usize,
        now: Timestamp,
    ) -> Vec<(Timestamp, Option<Key>)> {
        let mut forgotten = Vec::new();
        while forgotten.len() < limit
            && let Some((written_at, tx)) = self.ended.first().copied()
            && written_at + purge.older_than <= now
        {
            let row = self.take(tx, tx.shard(self.shards));
            forgotten.push((written_at, row.and_then(|row| row.record.key)));
        }
        forgotten
    }
}

fn new_record(write: &TxWrite, version: Version, now: Timestamp) -> TxRecord {
    TxRecord {
        tx: write.tx,
        version,
        last_write: write.id,
        key: write.key.clone(),
        definition: write.definition.clone().unwrap_or_default(),
        verdict: write.verdict,
        state: write.state.clone(),
        due: write.due,
        summary: write.summary.clone(),
        accepted_at: now,
        written_at: now,
    }
}

fn change(row: &mut Row, write: &TxWrite, version: Version, now: Timestamp) {
    let record = &mut row.record;
    record.version = version;
    record.last_write = write.id;
    record.verdict =
        if mutant!(VerdictForgotten) { write.verdict } else { write.verdict.or(record.verdict) };
    record.state.clone_from(&write.state);
    record.due = write.due;
    record.summary.clone_from(&write.summary);
    record.written_at = now;
    if !write.journal.is_empty() {
        row.journal.push(write.journal.clone());
    }
}

/// The first part of a journal, with room for those of the other writes of most transactions.
fn parts(first: &Arc<[JournalEntry]>) -> Vec<Arc<[JournalEntry]>> {
    let mut parts = Vec::with_capacity(3);
    parts.push(first.clone());
    parts
}
