//! The rules of a write (design sections 3 and 6), as pure functions that every store in this
//! workspace uses inside its own atomic step.
//!
//! [`check_write`] looks at a write alone: its shape and its size. [`evaluate`] compares it with
//! what is stored and decides. A backend whose server decides (SQL, Lua) is held to the same
//! answers by the conformance suite.

use thiserror::Error;

use crate::{
    error::{ErrorKind, StoreError},
    ids::{Epoch, HolderId, ShardCount, TxId, Version, WriteId},
    mutant,
    pattern::Pattern,
    store::{CommitResult, Expect, Fence, RecordKind, StoreLimits, TxWrite, Verdict},
    transaction::KEY_BYTES_MAX,
};

/// The part of a write that decides whether it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteClaim {
    /// The id of the write.
    pub id: WriteId,
    /// The transaction.
    pub tx: TxId,
    /// Which record it makes.
    pub kind: RecordKind,
    /// What it expects of the row.
    pub expect: Expect,
    /// Proof of ownership.
    pub fence: Option<Fence>,
    /// The verdict that it writes.
    pub verdict: Option<Verdict>,
}

impl From<&TxWrite> for WriteClaim {
    fn from(write: &TxWrite) -> Self {
        Self {
            id: write.id,
            tx: write.tx,
            kind: write.kind,
            expect: write.expect,
            fence: write.fence,
            verdict: write.verdict,
        }
    }
}

/// What is stored of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFacts {
    /// Its version.
    pub version: Version,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// The id of the write that made this version.
    pub last_write: WriteId,
}

/// The newest lease of a shard that was not given back. Its time does not matter: a lease that
/// has ended but was not granted again still owns the shard, because safety rests on the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseFacts {
    /// Who has it.
    pub holder: HolderId,
    /// Its number.
    pub epoch: Epoch,
}

/// Who has a caller's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The transaction that claimed it.
    pub tx: TxId,
    /// Whether that transaction is finished and forgotten, and only its key is kept.
    pub forgotten: bool,
}

/// All that is stored and that a write is compared with, read in the write's own atomic step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The row of the transaction.
    pub row: Option<RowFacts>,
    /// The newest lease of its shard.
    pub lease: Option<LeaseFacts>,
    /// The owner of the write's key; `None` if the key is free or the write has none.
    pub key: Option<KeyFacts>,
}

/// What a store does with a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It applies and makes this version.
    Apply(Version),
    /// It was applied before and made this version; nothing changes.
    Repeat(Version),
    /// The row is not what the write expected, or has another verdict.
    Conflict {
        /// The version of the row.
        found: Option<Version>,
        /// The verdict of the row.
        verdict: Option<Verdict>,
    },
    /// The writer does not own the shard.
    Fenced,
    /// The key belongs to another transaction, or to this one after it was forgotten.
    DuplicateKey(TxId),
}

impl From<Decision> for CommitResult {
    /// The answer to a write that was decided and, if it applies, made durable.
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Apply(version) | Decision::Repeat(version) => Self::Committed(version),
            Decision::Conflict { found, verdict } => Self::Conflict { found, verdict },
            Decision::Fenced => Self::Fenced,
            Decision::DuplicateKey(tx) => Self::DuplicateKey { tx },
        }
    }
}

/// A write that can never apply, whatever is stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidWrite {
    /// A value is over the store's limit.
    #[error("{field} has {bytes} bytes; {limit} are the most")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A batch is over the store's limit.
    #[error("{field} has {items} items; {limit} are the most")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// How many it has.
        items: usize,
        /// The limit.
        limit: usize,
    },
    /// A field that the write may not have, or must have, or that contradicts another one.
    #[error("{field} is not valid: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

impl InvalidWrite {
    /// The error that a backend answers: nothing was changed, and sent again it fails again.
    pub fn into_error(self, backend: &'static str, operation: &'static str) -> StoreError {
        StoreError::new(ErrorKind::Invalid, backend, operation).with_context(self.to_string())
    }
}

fn field(field: &'static str, reason: &'static str) -> InvalidWrite {
    InvalidWrite::Field { field, reason }
}

/// Checks how many writes are in one call.
///
/// # Errors
/// [`InvalidWrite::TooMany`] when there are more than the store takes.
pub fn check_batch(items: usize, limits: &StoreLimits) -> Result<(), InvalidWrite> {
    if items > limits.batch_writes_max {
        return Err(InvalidWrite::TooMany {
            field: "batch",
            items,
            limit: limits.batch_writes_max,
        });
    }
    Ok(())
}

/// Checks a write alone: sizes, and which fields go together.
///
/// # Errors
/// [`InvalidWrite`], which names the field.
pub fn check_write(
    write: &TxWrite,
    limits: &StoreLimits,
    shards: ShardCount,
) -> Result<(), InvalidWrite> {
    check_sizes(write, limits)?;
    let accepts = write.kind == RecordKind::Accepted;
    if accepts && write.expect != Expect::Absent {
        return Err(field("expect", "an accept expects that there is no row"));
    }
    if accepts != write.definition.is_some() {
        return Err(field("definition", "an accept has one, no other write does"));
    }
    if !accepts && write.key.is_some() {
        return Err(field("key", "only an accept claims a key"));
    }
    let tombstone = write.kind == RecordKind::Verdict && write.verdict == Some(Verdict::Abort);
    if write.expect == Expect::Absent && !accepts && !tombstone {
        return Err(field("expect", "only an accept and an abort make a row"));
    }
    if write.kind == RecordKind::Verdict && write.verdict.is_none() {
        return Err(field("verdict", "a verdict record has a verdict"));
    }
    match write.fence {
        Some(fence) if fence.shard != write.tx.shard(shards) => {
            Err(field("fence", "it is of another shard than the transaction"))
        }
        Some(_) if write.kind == RecordKind::Signal => check_no_forward_verdict(write),
        Some(_) => Ok(()),
        None => check_unfenced(write),
    }
}

fn check_sizes(write: &TxWrite, limits: &StoreLimits) -> Result<(), InvalidWrite> {
    let definition = write.definition.as_ref().map_or(0, bytes::Bytes::len);
    for (field, bytes) in [("definition", definition), ("state", write.state.len())] {
        if bytes > limits.value_bytes_max {
            return Err(InvalidWrite::TooLarge { field, bytes, limit: limits.value_bytes_max });
        }
    }
    if let Some(key) = &write.key {
        if key.key.len() > KEY_BYTES_MAX {
            let (field, bytes) = ("key", key.key.len());
            return Err(InvalidWrite::TooLarge { field, bytes, limit: KEY_BYTES_MAX });
        }
        if key.key.is_empty() {
            return Err(field("key", "it is empty"));
        }
    }
    Ok(())
}

/// The three unfenced writes of rule 8.
fn check_unfenced(write: &TxWrite) -> Result<(), InvalidWrite> {
    match (write.kind, write.expect, write.verdict) {
        (RecordKind::Accepted, Expect::Absent, _) | (RecordKind::Signal, Expect::Version(_), _) => {
            check_no_forward_verdict(write)
        }
        (RecordKind::Verdict, Expect::Version(_), Some(verdict)) if verdict.is_backward() => Ok(()),
        (RecordKind::Verdict, Expect::Absent, Some(Verdict::Abort)) => Ok(()),
        _ => Err(field(
            "fence",
            "only an accept, a going back of an undecided transaction and a signal go without",
        )),
    }
}

/// A signal and an unfenced write decide nothing forward. The one exception is 0.5PS, whose
/// accept is its verdict.
fn check_no_forward_verdict(write: &TxWrite) -> Result<(), InvalidWrite> {
    let dispatch = write.kind == RecordKind::Accepted
        && write.summary.pattern == Pattern::FireAndForget
        && write.verdict == Some(Verdict::Completed);
    if dispatch || write.verdict.is_none_or(Verdict::is_backward) {
        return Ok(());
    }
    Err(field("verdict", "a signal or a write without a fence decides nothing forward"))
}

/// Decides what becomes of a write that [`check_write`] has passed.
///
/// In this order: **E1** A repeat of the write that made the row is `Repeat`, also after a
/// take-over. **E2** A fence that is not exactly the newest lease is `Fenced`. **E3** Another
/// verdict than the row's is `Conflict`. **E4** Another version than the expected one is
/// `Conflict`. **E5** A key of another transaction is `DuplicateKey`. **E6** Everything else
/// applies and makes the next version.
pub fn evaluate(write: &WriteClaim, facts: &Facts) -> Decision {
    if let Some(row) =
        facts.row.filter(|row| row.last_write == write.id && !mutant!(RepeatNotKnown))
    {
        return Decision::Repeat(row.version);
    }
    if let Some(fence) = write.fence {
        let owner = LeaseFacts { holder: fence.holder, epoch: fence.epoch };
        if facts.lease != Some(owner) && !mutant!(NotFenced) {
            return Decision::Fenced;
        }
    }
    let conflict = Decision::Conflict {
        found: facts.row.map(|row| row.version),
        verdict: facts.row.and_then(|row| row.verdict),
    };
    let next = match (facts.row, write.expect) {
        (None, Expect::Absent) => Version(1),
        (Some(row), Expect::Version(expected))
            if row.version == expected
                || mutant!(VersionIgnored)
                || (mutant!(SignalOverAnything) && write.kind == RecordKind::Signal) =>
        {
            if contradicts(write, row.verdict) && !mutant!(VerdictOverwritten) {
                return conflict;
            }
            row.version.next()
        }
        _ => return conflict,
    };
    match facts.key {
        Some(key) if (key.tx != write.tx || key.forgotten) && !mutant!(KeyNotClaimed) => {
            Decision::DuplicateKey(key.tx)
        }
        _ => Decision::Apply(next),
    }
}

/// Whether a write would change the row's verdict, or goes back unfenced where it is decided.
fn contradicts(write: &WriteClaim, stored: Option<Verdict>) -> bool {
    match (stored, write.verdict) {
        (Some(stored), Some(written)) => stored != written || write.fence.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
