//! States and records as words.

use clap::ValueEnum;
use dtx::store::{Outcome, RecordKind, Status, Verdict};

/// A status that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusWord {
    /// On its way
    Open,
    /// Waits for a signal or a time
    Parked,
    /// Cannot go on without an operator
    #[value(alias = "needs_attention")]
    NeedsAttention,
    /// Ended: everything happened
    Committed,
    /// Ended: nothing happened
    Aborted,
    /// Ended: something happened and was reversed
    Compensated,
    /// Ended: a fire-and-forget was delivered or is a dead letter
    Dispatched,
    /// Ended: an operator gave it up
    Abandoned,
}

impl From<StatusWord> for Status {
    fn from(word: StatusWord) -> Self {
        match word {
            StatusWord::Open => Self::Open,
            StatusWord::Parked => Self::Parked,
            StatusWord::NeedsAttention => Self::NeedsAttention,
            StatusWord::Committed => Self::Finished(Outcome::Committed),
            StatusWord::Aborted => Self::Finished(Outcome::Aborted),
            StatusWord::Compensated => Self::Finished(Outcome::Compensated),
            StatusWord::Dispatched => Self::Finished(Outcome::Dispatched),
            StatusWord::Abandoned => Self::Finished(Outcome::Abandoned),
        }
    }
}

/// The word of a status; of a finished transaction, that of its outcome.
pub(crate) fn status(status: Status) -> String {
    match status {
        Status::Open => "open".to_owned(),
        Status::Parked => "parked".to_owned(),
        Status::NeedsAttention => "needs_attention".to_owned(),
        Status::Finished(outcome) => outcome.to_string(),
    }
}

/// The word of a verdict.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Completed => "completed",
        Verdict::Turned => "turned",
        Verdict::Commit => "commit",
        Verdict::Abort => "abort",
    }
}

/// The word of a record.
pub(crate) fn record(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Accepted => "accepted",
        RecordKind::Resumed => "resumed",
        RecordKind::Progress => "progress",
        RecordKind::Signal => "signal",
        RecordKind::PivotSent => "pivot_sent",
        RecordKind::Delegated => "delegated",
        RecordKind::Verdict => "verdict",
        RecordKind::Finished => "finished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_can_be_asked_for_by_the_word_that_is_shown() {
        for word in StatusWord::value_variants() {
            let shown = status((*word).into());
            let read = StatusWord::from_str(&shown, false).expect("the word is known");
            assert_eq!(read, *word);
        }
    }
}
