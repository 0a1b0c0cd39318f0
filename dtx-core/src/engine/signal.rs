//! Signals: what callers and operators say to a transaction. Durable before acknowledged, and
//! reaching the owner wherever they were given (rule 8).

use serde::{Deserialize, Serialize};

use crate::{
    answer::Reason,
    engine::{EngineSettings, StoredState},
    ids::{OperationIndex, WriteId},
    store::{Expect, JournalEntry, JournalEvent, RecordKind, Status, TxRecord, TxWrite},
    time::Timestamp,
};

/// What can be said to a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// A person agrees.
    Approve,
    /// A person refuses: it goes back.
    Reject,
    /// The caller wants it to go back, if it is not decided.
    Cancel,
    /// An operator: try again what failed.
    Retry,
    /// An operator: count this operation's current phase as done.
    Skip(OperationIndex),
    /// An operator: stop, whatever was done.
    Abandon,
    /// An operator has dealt with the exceptions.
    ClearExceptions,
}

/// A signal, by whom and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalEntry {
    /// What.
    pub signal: Signal,
    /// Who gave it.
    pub by: Reason,
    /// Why. An operator's move needs a reason.
    pub reason: Reason,
}

impl Signal {
    /// Whether it is an operator's move.
    pub fn is_operator_move(&self) -> bool {
        matches!(self, Self::Retry | Self::Skip(_) | Self::Abandon | Self::ClearExceptions)
    }
}

/// What giving a signal means for a record.
#[derive(Debug)]
pub enum SignalStep {
    /// Write this; on a conflict read again and ask again.
    Write(Box<TxWrite>),
    /// It was given before, or an earlier one contradicts it, which stands.
    Settled(Signal),
    /// The transaction is decided or ended: too late for this signal.
    TooLate,
    /// It cannot be given, and why.
    Invalid(&'static str),
}

/// The write that makes a signal durable. Unfenced: it is accepted by the version alone, and the
/// owner finds it there.
pub fn signal_write(
    record: &TxRecord,
    entry: SignalEntry,
    id: WriteId,
    at: Timestamp,
    settings: &EngineSettings,
) -> SignalStep {
    let Ok(mut state) = StoredState::decode(&record.state) else {
        return SignalStep::Invalid("the stored state cannot be read");
    };
    let ended = record.due.is_none();
    let clears = entry.signal == Signal::ClearExceptions;
    if entry.signal.is_operator_move() && entry.reason.as_str().is_empty() {
        return SignalStep::Invalid("an operator's move needs a reason");
    }
    if ended && !clears {
        return SignalStep::TooLate;
    }
    if !entry.signal.is_operator_move() {
        if record.verdict.is_some() || state.point_of_no_return.is_some() {
            return SignalStep::TooLate;
        }
        let stands = state.signals.iter().find(|given| !given.signal.is_operator_move());
        if let Some(stands) = stands
            && (stands.signal != Signal::Approve || entry.signal != Signal::Cancel)
        {
            return SignalStep::Settled(stands.signal.clone());
        }
    }
    if state.signals.len() >= settings.signals_max {
        return SignalStep::Invalid("the transaction has got signals_max signals already");
    }
    let mut summary = record.summary.clone();
    if clears {
        summary.exceptions.clear();
    }
    if summary.status == Status::Parked {
        summary.status = Status::Open;
    }
    let text = format!("{:?} by {}: {}", entry.signal, entry.by, entry.reason);
    let event = JournalEvent::Signalled(text);
    state.signals.push(entry);
    SignalStep::Write(Box::new(TxWrite {
        id,
        tx: record.tx,
        kind: RecordKind::Signal,
        expect: Expect::Version(record.version),
        fence: None,
        key: None,
        definition: None,
        verdict: None,
        state: state.encode(),
        // Due at once, so that an owner that misses the wake finds it on its next scan.
        due: record.due.map(|_| record.written_at),
        summary,
        journal: [JournalEntry { at, epoch: crate::ids::Epoch::default(), event }].into(),
        lazy: false,
    }))
}
