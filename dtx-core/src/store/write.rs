//! What is written about a transaction.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    error::StoreError,
    ids::{TxId, Version, WriteId},
    pattern::Pattern,
    store::{Fence, JournalEntry, Outcome, Summary},
    time::Timestamp,
    transaction::Key,
};

/// The durable record that decides a transaction. Once there, it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Everything that the outcome depends on was executed (Saga, 1.5PS, 2PS; 0.5PS: accepted).
    Completed,
    /// It goes back (Saga, 1.5PS, 2PS, independent 3PS).
    Turned,
    /// It is carried out (3PS, 2PC).
    Commit,
    /// Nothing is carried out (3PS, 2PC).
    Abort,
}

impl Verdict {
    /// Whether this verdict takes the transaction back.
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Turned | Self::Abort)
    }

    /// The outcome that it fixes, whatever comes after it. `Turned` fixes none: what was reversed
    /// decides.
    pub fn fixes(self, pattern: Pattern) -> Option<Outcome> {
        match self {
            Self::Completed | Self::Commit if pattern == Pattern::FireAndForget => {
                Some(Outcome::Dispatched)
            }
            Self::Completed | Self::Commit => Some(Outcome::Committed),
            Self::Abort => Some(Outcome::Aborted),
            Self::Turned => None,
        }
    }
}

/// Which record a write makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordKind {
    /// The transaction exists.
    Accepted,
    /// An owner takes it up again after a crash or a take-over; counts as an attempt.
    Resumed,
    /// What must survive between the accept and the verdict: attempt counts, what a verification
    /// found, answers of participants without an inbox.
    Progress,
    /// A durable signal of a caller or an operator.
    Signal,
    /// The pivot of a Saga may leave.
    PivotSent,
    /// A one-phase commit may leave; the participant's stored answer decides.
    Delegated,
    /// The verdict.
    Verdict,
    /// Everything is done and told.
    Finished,
}

/// What a write expects of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It has this version.
    Version(Version),
}

/// One write of one transaction. Atomic by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TxWrite {
    /// Its id. A repeat carries the same id, and is applied once.
    pub id: WriteId,
    /// The transaction.
    pub tx: TxId,
    /// Which record it makes.
    pub kind: RecordKind,
    /// What the row must be for the write to apply.
    pub expect: Expect,
    /// Proof of ownership. `None` only for the three unfenced writes of rule 8: an accept, an
    /// inquiry's going back, a signal.
    pub fence: Option<Fence>,
    /// The caller's key, claimed together with an accept.
    pub key: Option<Key>,
    /// The encoded definition; only an accept has it.
    pub definition: Option<Bytes>,
    /// The verdict, if the write decides or repeats one. `None` keeps what the row has.
    pub verdict: Option<Verdict>,
    /// The encoded state of the engine. Replaces what the row has.
    pub state: Bytes,
    /// When the transaction wants attention at the latest. `None`: nothing is left to do, and
    /// the row leaves the open ones.
    pub due: Option<Timestamp>,
    /// What lists show.
    pub summary: Summary,
    /// What happened since the last write. Appended to the history. Shared, so that the writer
    /// keeps what it may have to send again without a copy.
    pub journal: Arc<[JournalEntry]>,
    /// Nobody waits for it: it may share a later batch. Never a reason to drop it.
    pub lazy: bool,
}

/// What became of a write.
#[derive(Debug)]
pub enum CommitResult {
    /// Applied, now or by an earlier send of the same id. The row has this version.
    Committed(Version),
    /// The row is not what the write expected, or has another verdict. Nothing was changed.
    Conflict {
        /// The version of the row; `None` if there is none.
        found: Option<Version>,
        /// The verdict of the row.
        verdict: Option<Verdict>,
    },
    /// The writer does not own the shard any more. Nothing was changed.
    Fenced,
    /// The caller's key belongs to another transaction. Nothing was changed.
    DuplicateKey {
        /// The transaction that has the key.
        tx: TxId,
    },
    /// The write failed; `effect()` says whether it may have been applied.
    Failed(StoreError),
}

/// A transaction as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TxRecord {
    /// The transaction.
    pub tx: TxId,
    /// The version of the row.
    pub version: Version,
    /// The id of the write that made this version.
    pub last_write: WriteId,
    /// The caller's key.
    pub key: Option<Key>,
    /// The encoded definition; empty for the tombstone that an inquiry about an unknown
    /// transaction writes.
    pub definition: Bytes,
    /// The verdict.
    pub verdict: Option<Verdict>,
    /// The encoded state of the engine.
    pub state: Bytes,
    /// When it wants attention; `None` when it is finished.
    pub due: Option<Timestamp>,
    /// What lists show.
    pub summary: Summary,
    /// When the store first saw it, on the store's clock.
    pub accepted_at: Timestamp,
    /// When it was last written, on the store's clock.
    pub written_at: Timestamp,
}
