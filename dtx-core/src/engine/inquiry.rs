//! Inquiries: a participant that holds something past its deadline asks what was decided.
//!
//! The answer comes from the store, never from a memory. `Abort` is answered only once it is
//! written (presumed abort made safe): else the owner could still commit.

use std::time::Duration;

use crate::{
    engine::StoredState,
    ids::{Epoch, WriteId},
    mutant,
    pattern::Pattern,
    store::{
        Expect, JournalEntry, JournalEvent, RecordKind, Status, Summary, TxRecord, TxWrite, Verdict,
    },
    time::Timestamp,
    transaction::{Gate, codec},
    transport::Inquiry,
};

/// How long a participant waits before it asks again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What an inquiry means for a record.
#[derive(Debug)]
pub enum InquiryStep {
    /// This was decided.
    Answer(Verdict),
    /// Nothing was decided; ask again after this long.
    Pending(Duration),
    /// Going back must be written first; on a conflict read again and ask again.
    Write(Box<TxWrite>),
}

/// Answers an inquiry from what the store holds.
pub fn answer_inquiry(
    inquiry: &Inquiry,
    record: Option<&TxRecord>,
    store_now: Timestamp,
    id: WriteId,
) -> InquiryStep {
    let Some(record) = record else {
        if mutant!(InquiryWritesNoTombstone) {
            return InquiryStep::Answer(Verdict::Abort);
        }
        return InquiryStep::Write(Box::new(tombstone(inquiry, store_now, id)));
    };
    if let Some(verdict) = record.verdict {
        return InquiryStep::Answer(verdict);
    }
    let Ok(state) = StoredState::decode(&record.state) else {
        return InquiryStep::Pending(RETRY_AFTER);
    };
    // The pivot or the delegated commit may have left: that counts as decided (rule 4).
    if state.point_of_no_return.is_some() && !mutant!(InquiryIgnoresDelegated) {
        return InquiryStep::Pending(RETRY_AFTER);
    }
    let ends = record.accepted_at + state.deadline;
    if store_now <= ends && !mutant!(InquiryAbortsEarly) {
        return InquiryStep::Pending(ends.since(store_now).max(Duration::from_millis(1)));
    }
    let Some(verdict) = going_back(record) else {
        return InquiryStep::Pending(RETRY_AFTER);
    };
    let mut summary = record.summary.clone();
    if summary.status == Status::Parked {
        summary.status = Status::Open;
    }
    InquiryStep::Write(Box::new(TxWrite {
        id,
        tx: record.tx,
        kind: RecordKind::Verdict,
        expect: Expect::Version(record.version),
        fence: None,
        key: None,
        definition: None,
        verdict: Some(verdict),
        state: record.state.clone(),
        // The owner must carry it out. One that an operator has abandoned stays over: its outcome
        // was told, and the verdict is there only for what a participant still holds.
        due: record.due.map(|_| store_now),
        summary,
        journal: [decided(verdict, store_now)].into(),
        lazy: false,
    }))
}

/// The verdict by which an inquiry may take a transaction back. `None` where nothing blocks: what
/// a Saga or a 2PS holds expires by itself.
fn going_back(record: &TxRecord) -> Option<Verdict> {
    match record.summary.pattern {
        Pattern::TwoPhaseCommit => Some(Verdict::Abort),
        Pattern::ThreePhaseSaga => match codec::decode(&record.definition).ok()?.gate() {
            Gate::AllValidated => Some(Verdict::Abort),
            Gate::Independent => Some(Verdict::Turned),
        },
        _ => None,
    }
}

/// Abort of a transaction that the store does not know: a late accept meets it and adopts it.
fn tombstone(inquiry: &Inquiry, store_now: Timestamp, id: WriteId) -> TxWrite {
    TxWrite {
        id,
        tx: inquiry.tx,
        kind: RecordKind::Verdict,
        expect: Expect::Absent,
        fence: None,
        key: None,
        definition: None,
        verdict: Some(Verdict::Abort),
        state: StoredState::default().encode(),
        due: None,
        summary: Summary {
            pattern: inquiry.pattern,
            status: Status::Finished(crate::store::Outcome::Aborted),
            operations: 0,
            dead_letters: 0,
            resumes: 0,
            exceptions: Vec::new(),
        },
        journal: [decided(Verdict::Abort, store_now)].into(),
        lazy: false,
    }
}

fn decided(verdict: Verdict, at: Timestamp) -> JournalEntry {
    JournalEntry { at, epoch: Epoch::default(), event: JournalEvent::Decided(verdict) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{HolderId, OperationIndex, TxId, Version},
        name::ParticipantName,
        store::Outcome,
    };

    fn record(status: Status, due: Option<Timestamp>) -> TxRecord {
        let state = StoredState { deadline: Duration::from_secs(1), ..StoredState::default() };
        TxRecord {
            tx: TxId::from_bytes([1; 16]),
            version: Version(3),
            last_write: WriteId { writer: HolderId(1), number: 1 },
            key: None,
            definition: bytes::Bytes::new(),
            verdict: None,
            state: state.encode(),
            due,
            summary: Summary {
                pattern: Pattern::TwoPhaseCommit,
                status,
                operations: 1,
                dead_letters: 0,
                resumes: 0,
                exceptions: Vec::new(),
            },
            accepted_at: Timestamp::ZERO,
            written_at: Timestamp::ZERO,
        }
    }

    fn ask(record: &TxRecord, millis: u64) -> InquiryStep {
        let inquiry = Inquiry {
            tx: record.tx,
            pattern: Pattern::TwoPhaseCommit,
            operation: OperationIndex(0),
            participant: ParticipantName::new("bank").expect("a name"),
            host: HolderId(2),
        };
        let id = WriteId { writer: HolderId(2), number: 1 };
        answer_inquiry(&inquiry, Some(record), Timestamp::from_millis(millis), id)
    }

    #[test]
    fn abort_is_written_one_past_the_deadline_and_not_at_it() {
        let open = record(Status::Open, Some(Timestamp::MAX));
        assert!(matches!(ask(&open, 1_000), InquiryStep::Pending(_)));
        let InquiryStep::Write(write) = ask(&open, 1_001) else { panic!("it is overdue") };
        assert_eq!(write.verdict, Some(Verdict::Abort));
        assert_eq!(write.due, Some(Timestamp::from_millis(1_001)), "the owner is to see it");
    }

    #[test]
    fn an_abandoned_transaction_is_not_opened_again() {
        let status = Status::Finished(Outcome::Abandoned);
        let InquiryStep::Write(write) = ask(&record(status, None), 2_000) else {
            panic!("what is still held must be released")
        };
        assert_eq!((write.due, write.summary.status), (None, status));
    }
}
