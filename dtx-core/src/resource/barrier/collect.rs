//! Forgetting what is finished (design rule 14).

use std::{collections::BTreeMap, time::Duration};

use bytes::{BufMut, BytesMut};

use crate::{
    frame::{FrameError, Kind},
    ids::{AcceptSequence, ShardId},
    mutant,
    resource::{
        barrier::{Entry, InboxRow, parse_inbox_key},
        codec,
    },
    store::{RowChange, RowExpect, RowKey, RowSet, Scope, StoredRow},
    time::Timestamp,
};

/// What the keys of marks begin with.
pub const MARK_PREFIX: &[u8] = b"f";

/// The key of the mark of a shard: the sequence below which rows of this scope may be gone.
pub fn mark_key(shard: ShardId) -> RowKey {
    let mut key = BytesMut::with_capacity(MARK_PREFIX.len() + 2);
    key.put_slice(MARK_PREFIX);
    key.put_u16(shard.0);
    RowKey(key.freeze())
}

/// Reads a mark; without one nothing was forgotten.
///
/// # Errors
/// [`FrameError`] when the bytes are damaged or newer than this release.
pub fn forgotten_below(mark: Option<&[u8]>) -> Result<AcceptSequence, FrameError> {
    mark.map_or_else(|| Ok(AcceptSequence::default()), |mark| codec::decode(Kind::InboxMark, mark))
}

/// What may be forgotten, and when.
pub struct Collect<'a> {
    /// The scope that `rows` and `marks` were scanned in.
    pub scope: &'a Scope,
    /// Rows under [`INBOX_PREFIX`](super::INBOX_PREFIX).
    pub rows: &'a [(RowKey, StoredRow)],
    /// All rows under [`MARK_PREFIX`].
    pub marks: &'a [(RowKey, StoredRow)],
    /// The highest watermark that commands of the shard have carried.
    pub watermark: &'a dyn Fn(ShardId) -> AcceptSequence,
    /// The participant store's clock.
    pub now: Timestamp,
    /// The broker's retention plus the longest retry.
    pub retention: Duration,
}

impl std::fmt::Debug for Collect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collect")
            .field("scope", &self.scope)
            .field("rows", &self.rows.len())
            .field("now", &self.now)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// The write that forgets what may be forgotten, with the marks that keep a late command of a
/// forgotten transaction from running; `None` when there is nothing to forget. Rows that cannot
/// be read, and those of a shard whose mark cannot be read, are left alone.
pub fn collect(collect: &Collect<'_>) -> Option<RowSet> {
    let mut changes = Vec::new();
    let mut shards = BTreeMap::new();
    for (key, stored) in collect.rows {
        let Ok(row) = InboxRow::decode(&stored.value) else { continue };
        let below = (collect.watermark)(row.shard);
        if parse_inbox_key(key).is_none() || !may_forget(&row, below, collect) {
            continue;
        }
        if let std::collections::btree_map::Entry::Vacant(slot) = shards.entry(row.shard) {
            slot.insert(mark_change(row.shard, below, collect));
        }
        if shards.get(&row.shard).is_some_and(Option::is_some) {
            changes.push(RowChange {
                key: key.clone(),
                expect: RowExpect::Version(stored.version),
                value: None,
            });
        }
    }
    if changes.is_empty() {
        return None;
    }
    changes.extend(shards.into_values().flatten());
    Some(RowSet { scope: collect.scope.clone(), changes, unchanged: Vec::new(), not_after: None })
}

fn may_forget(row: &InboxRow, below: AcceptSequence, collect: &Collect<'_>) -> bool {
    let is_running = row.entries().iter().any(|(_, e)| matches!(e, Entry::Started { .. }));
    (row.sequence() < below || mutant!(ForgottenEarly))
        && (collect.now >= row.changed_at() + collect.retention || mutant!(RetentionIgnored))
        && !is_running
        && row.recall().is_none()
}

/// The mark only ever rises. `None` when it cannot be read.
fn mark_change(shard: ShardId, below: AcceptSequence, collect: &Collect<'_>) -> Option<RowChange> {
    let key = mark_key(shard);
    let stored = collect.marks.iter().find(|(of, _)| *of == key).map(|(_, row)| row);
    let old = forgotten_below(stored.map(|row| row.value.as_ref())).ok()?;
    let expect = stored.map_or(RowExpect::Absent, |row| RowExpect::Version(row.version));
    Some(RowChange { key, expect, value: Some(codec::encode(Kind::InboxMark, &old.max(below))) })
}
