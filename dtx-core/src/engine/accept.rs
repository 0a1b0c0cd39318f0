//! The accept of whoever owns no shard (rule 8): expected absent, unfenced, and found by the
//! owner of its shard on its next scan.

use std::time::Duration;

use crate::{
    engine::StoredState,
    ids::{Epoch, TxId, WriteId},
    pattern::Pattern,
    store::{Expect, JournalEntry, JournalEvent, RecordKind, Status, Summary, TxWrite, Verdict},
    time::Timestamp,
    transaction::{Transaction, codec},
};

/// The write that accepts a transaction without owning its shard. `deadline` is for a transaction
/// that has none of its own.
pub fn accept_write(
    transaction: &Transaction,
    tx: TxId,
    id: WriteId,
    store_now: Timestamp,
    deadline: Duration,
) -> TxWrite {
    let state =
        StoredState { deadline: transaction.deadline_or(deadline), ..StoredState::default() };
    let event = JournalEvent::Recorded(RecordKind::Accepted);
    let fire = transaction.pattern() == Pattern::FireAndForget;
    TxWrite {
        id,
        tx,
        kind: RecordKind::Accepted,
        expect: Expect::Absent,
        fence: None,
        key: transaction.key().cloned(),
        definition: Some(codec::encode(transaction)),
        // The accept of a 0.5PS is its verdict.
        verdict: fire.then_some(Verdict::Completed),
        state: state.encode(),
        due: Some(store_now),
        summary: Summary {
            pattern: transaction.pattern(),
            status: Status::Open,
            operations: transaction.operations().len() as u16,
            dead_letters: 0,
            resumes: 0,
            exceptions: Vec::new(),
        },
        journal: [JournalEntry { at: store_now, epoch: Epoch::default(), event }].into(),
        lazy: false,
    }
}
