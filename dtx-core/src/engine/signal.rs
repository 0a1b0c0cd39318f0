//! Signals: what callers and operators say to a transaction. Durable before acknowledged, and
//! reaching the owner wherever they were given (rule 8).

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    answer::Reason,
    engine::{
        EngineSettings, StoredState,
        moves::{No, Standing, Verb},
    },
    ids::{Epoch, OperationIndex, WriteId},
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
    /// An operator: try a stuck operation again, with another input.
    EditInput {
        /// Which operation.
        operation: OperationIndex,
        /// The input that it gets from now on.
        payload: Bytes,
    },
    /// An operator: go forward. Passes the last gate, or counts what is stuck as done; never
    /// against a verdict.
    ForceCommit,
    /// An operator: go back, or count what is stuck on the way back as taken back; never against
    /// a verdict.
    ForceAbort,
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
    /// The word for it.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Approve => Verb::Approve,
            Self::Reject => Verb::Reject,
            Self::Cancel => Verb::Cancel,
            Self::Retry => Verb::Retry,
            Self::Skip(_) => Verb::Skip,
            Self::Abandon => Verb::Abandon,
            Self::ClearExceptions => Verb::ClearExceptions,
            Self::EditInput { .. } => Verb::EditInput,
            Self::ForceCommit => Verb::ForceCommit,
            Self::ForceAbort => Verb::ForceAbort,
        }
    }

    /// The operation that it is about, if it is about one.
    pub fn operation(&self) -> Option<OperationIndex> {
        match self {
            Self::Skip(operation) | Self::EditInput { operation, .. } => Some(*operation),
            _ => None,
        }
    }

    /// Whether it is an operator's move.
    pub fn is_operator_move(&self) -> bool {
        self.verb().is_operator_move()
    }

    /// Whether it is not acted on again after a resume. What decides is, unless the verdict has
    /// answered it: it was meant for whatever comes.
    pub(super) fn is_made_once(&self) -> bool {
        self.is_operator_move() && !matches!(self, Self::ForceCommit | Self::ForceAbort)
    }

    /// Whether it wants an undecided transaction to go back.
    pub(super) fn wants_back(&self) -> bool {
        matches!(self, Self::Reject | Self::Cancel | Self::ForceAbort)
    }
}

impl fmt::Display for Signal {
    /// As histories keep it: the verb, and what it is about. Never an input.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb())?;
        if let Some(operation) = self.operation() {
            write!(f, " {operation}")?;
        }
        if let Self::EditInput { payload, .. } = self {
            write!(f, " ({} bytes)", payload.len())?;
        }
        Ok(())
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
/// owner finds it there. Only a legal move is written ([`legal_moves`](super::legal_moves)).
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
    if entry.signal.is_operator_move() && entry.reason.as_str().is_empty() {
        return SignalStep::Invalid("an operator's move needs a reason");
    }
    let verb = entry.signal.verb();
    match Standing::of(record, &state).allows(verb, entry.signal.operation()) {
        Ok(()) => {}
        Err(No::TooLate) => return SignalStep::TooLate,
        Err(No::Stands(stands)) => return SignalStep::Settled(stands),
        Err(No::Invalid(why)) => return SignalStep::Invalid(why),
    }
    if state.signals.len() >= settings.signals_max {
        return SignalStep::Invalid("the transaction has got signals_max signals already");
    }
    if edited_bytes(&state.signals) + edited_bytes([&entry]) > settings.edited_bytes_max {
        return SignalStep::Invalid("the edited inputs have more than edited_bytes_max bytes");
    }
    let mut summary = record.summary.clone();
    if verb == Verb::ClearExceptions {
        summary.exceptions.clear();
    }
    if summary.status == Status::Parked {
        summary.status = Status::Open;
    }
    let text = format!("{} by {}: {}", entry.signal, entry.by, entry.reason);
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
        journal: [JournalEntry { at, epoch: Epoch::default(), event }].into(),
        lazy: false,
    }))
}

fn edited_bytes<'a>(signals: impl IntoIterator<Item = &'a SignalEntry>) -> usize {
    let bytes = |entry: &SignalEntry| match &entry.signal {
        Signal::EditInput { payload, .. } => payload.len(),
        _ => 0,
    };
    signals.into_iter().map(bytes).sum()
}
