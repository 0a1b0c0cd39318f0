//! What lists and histories show.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{NotDone, PhaseAnswer, Reason, Refusal},
    ids::{Epoch, OperationIndex, TxId},
    pattern::{Pattern, Phase},
    store::{RecordKind, TxRecord, Verdict},
    time::Timestamp,
    transaction::Key,
};

/// How many items a page has when its limit is 0.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
/// The most items of a page; a higher limit is taken as this one.
pub const PAGE_ITEMS_MAX: usize = 10_000;

/// How many items a page has for a wanted `limit`.
pub fn page_items(limit: usize) -> usize {
    if limit == 0 { PAGE_ITEMS_DEFAULT } else { limit.min(PAGE_ITEMS_MAX) }
}

/// How a transaction ended. Told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything happened.
    Committed,
    /// Nothing happened.
    Aborted,
    /// Something happened and was reversed.
    Compensated,
    /// 0.5PS: accepted, and delivered at least once or dead-lettered.
    Dispatched,
    /// An operator gave it up.
    Abandoned,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Committed => "committed",
            Self::Aborted => "aborted",
            Self::Compensated => "compensated",
            Self::Dispatched => "dispatched",
            Self::Abandoned => "abandoned",
        })
    }
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// On its way.
    Open,
    /// It waits for a signal or a time, out of memory.
    Parked,
    /// It cannot go on without an operator.
    NeedsAttention,
    /// Done.
    Finished(Outcome),
}

/// The part of a transaction that lists show and filter by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The pattern.
    pub pattern: Pattern,
    /// Where it stands.
    pub status: Status,
    /// How many operations it has.
    pub operations: u16,
    /// How many operations ended in the dead letters or were lost as best effort.
    pub dead_letters: u16,
    /// How many times it was taken up again.
    pub resumes: u16,
    /// What an operator must look at; stays until it is cleared.
    pub exceptions: Vec<Reason>,
}

/// One thing that happened to a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// When, on the clock of whoever saw it, as microseconds since the Unix epoch.
    pub at: Timestamp,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What.
    pub event: JournalEvent,
}

/// What can happen to a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JournalEvent {
    /// A record was written.
    Recorded(RecordKind),
    /// It was decided.
    Decided(Verdict),
    /// A command was sent.
    Sent {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// An answer came.
    Answered {
        /// Which operation.
        operation: OperationIndex,
        /// Which phase.
        phase: Phase,
        /// Which attempt was answered, from 1: not always the last one that was sent.
        attempt: u32,
        /// What was answered.
        answer: Answered,
    },
    /// A signal was given.
    Signalled(String),
    /// Something that an operator must look at.
    Exception(Reason),
    /// It ended.
    Told(Outcome),
    /// So many entries had no room (`journal_entries_max`) and are not here.
    LeftOut(u32),
}

/// An answer without its output, as histories keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answered {
    /// It is done.
    Done,
    /// A 2PC vote of "I changed nothing".
    ReadOnly,
    /// The handler's own no.
    Rejected(Reason),
    /// The barrier's no.
    Refused(Refusal),
    /// It may or may not have happened.
    Unknown(Reason),
    /// No answer came in time.
    TimedOut,
}

impl From<&PhaseAnswer> for Answered {
    fn from(answer: &PhaseAnswer) -> Self {
        match answer {
            Ok(done) if done.read_only => Self::ReadOnly,
            Ok(_) => Self::Done,
            Err(NotDone::Rejected(reason)) => Self::Rejected(reason.clone()),
            Err(NotDone::Refused(refusal)) => Self::Refused(*refusal),
            Err(NotDone::Unknown(reason)) => Self::Unknown(reason.clone()),
        }
    }
}

/// Where the next page begins. Opaque; made by the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor(pub Bytes);

impl Cursor {
    /// A place in the order of transaction ids.
    pub fn at_tx(tx: TxId) -> Self {
        Self(Bytes::copy_from_slice(tx.as_bytes()))
    }

    /// The place that [`Self::at_tx`] made; `None` for any other cursor.
    pub fn tx(&self) -> Option<TxId> {
        self.0.as_ref().try_into().ok().map(TxId::from_bytes)
    }

    /// A place in the order of due times.
    pub fn at_due(due: Timestamp, tx: TxId) -> Self {
        let mut bytes = due.as_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(tx.as_bytes());
        Self(Bytes::from(bytes))
    }

    /// The place that [`Self::at_due`] made; `None` for any other cursor.
    pub fn due(&self) -> Option<(Timestamp, TxId)> {
        let (due, tx) = self.0.split_first_chunk::<8>()?;
        let tx = tx.try_into().ok().map(TxId::from_bytes)?;
        Some((Timestamp::from_micros(u64::from_be_bytes(*due)), tx))
    }
}

/// A page of a listing.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What was found, in the listing's order.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A page of open transactions.
#[derive(Clone, Debug)]
pub struct OpenPage {
    /// The open transactions that are due, the earliest due first.
    pub records: Vec<TxRecord>,
    /// Where to go on; `None` at the end.
    pub next: Option<Cursor>,
    /// The store's clock.
    pub now: Timestamp,
}

/// Which transactions to list. Everything that is `None` matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this pattern.
    pub pattern: Option<Pattern>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only those of this namespace of keys.
    pub namespace: Option<crate::name::Namespace>,
    /// Only those with exceptions.
    pub with_exceptions: bool,
    /// Where to go on.
    pub cursor: Option<Cursor>,
    /// How many at the most; see [`page_items`].
    pub limit: usize,
}

impl Filter {
    /// Whether a transaction is wanted.
    pub fn matches(&self, summary: &Summary, key: Option<&Key>) -> bool {
        self.pattern.is_none_or(|pattern| pattern == summary.pattern)
            && self.status.is_none_or(|status| status == summary.status)
            && (!self.with_exceptions || !summary.exceptions.is_empty())
            && self
                .namespace
                .as_ref()
                .is_none_or(|space| key.is_some_and(|key| key.namespace == *space))
    }
}

/// Which finished transactions to forget.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Only those whose last write is at least this long ago, on the store's clock.
    pub older_than: Duration,
    /// How long callers' keys are kept, counted from the last write of their transaction. A key
    /// never goes before its transaction.
    pub key_retention: Duration,
    /// How many transactions, and how many keys of transactions that were forgotten earlier, at
    /// the most in this step; see [`page_items`].
    pub limit: usize,
}
