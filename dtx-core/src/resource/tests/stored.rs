//! The stored form of rows: what was stored once must be read like this for ever.

use bytes::Bytes;

use crate::{
    answer::Done,
    ids::{AcceptSequence, HolderId, OperationIndex, Version},
    pattern::{Pattern, Phase},
    resource::{
        EffectRow,
        barrier::{Claim, ClaimContext, InboxRow, claim, finish, forgotten_below},
        testing::{at, command, tx},
    },
    store::{RowKey, StoredRow},
    time::Timestamp,
};

/// A prepare that is done, and an execute that has begun.
fn inbox_row() -> InboxRow {
    let context = ClaimContext {
        host: HolderId(5),
        ended: &|_| false,
        forgotten_below: AcceptSequence::default(),
        now: Timestamp::from_micros(9),
    };
    let claimed = |row: Option<&InboxRow>, phase| {
        let command = command(1, Pattern::TwoPhaseSaga, phase);
        match claim(row, &context, &command) {
            Claim::Run { row, .. } => (row, command),
            other => panic!("{other:?}"),
        }
    };
    let (row, prepare) = claimed(None, Phase::Prepare);
    let row = finish(row, &prepare, &Ok(Done::with("x")));
    claimed(Some(&row), Phase::Execute).0
}

#[test]
fn an_inbox_row_of_version_one_is_read() {
    let stored = [
        0xD7, 3, 1, // frame
        3, 3, 1, 1, 1, 9, // pattern, shard, sequence, epoch, time
        2, 0, 2, 1, b'x', 0, 0, // prepare is done
        3, 0, 5, 0, // execute has begun
        0, // nothing to recall
    ];
    assert_eq!(InboxRow::decode(&stored), Ok(inbox_row()));
    assert_eq!(inbox_row().encode()[..], stored);
}

#[test]
fn a_mark_of_version_one_is_read() {
    assert_eq!(forgotten_below(Some(&[0xD7, 4, 1, 1, 8])), Ok(at(8)));
}

#[test]
fn an_effect_of_version_one_is_read() {
    let mut stored = vec![0xD7, 6, 1];
    stored.extend([16].iter().chain(tx(1).as_bytes()));
    stored.extend([2, 3, 1, 9]);
    let stored = StoredRow { version: Version(1), value: Bytes::from(stored) };
    let effect = EffectRow {
        tx: tx(1),
        operation: OperationIndex(2),
        change: -2,
        is_reversal: true,
        at: Timestamp::from_micros(9),
    };
    assert_eq!(EffectRow::of(&RowKey(Bytes::from_static(b"e1")), &stored), Some(Ok(effect)));
}
