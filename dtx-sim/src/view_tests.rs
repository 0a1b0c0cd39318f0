//! Landings that are wrong, and those that are right.

use dtx_core::{
    answer::{Done, Reason},
    engine::{Signal, SignalEntry},
    ids::{HolderId, TxId, WriteId},
    pattern::Pattern,
    store::{Expect, Fence, Summary},
    time::Timestamp,
    transaction::OperationDraft,
};

use super::*;

fn view() -> View {
    let draft = OperationDraft::new("svc", "work");
    let built = Transaction::builder(Pattern::Saga).operation(draft).build();
    View::new(Arc::new(built.expect("a valid definition")), ShardId(0))
}

fn write(kind: RecordKind, epoch: u64) -> TxWrite {
    let holder = HolderId(1);
    TxWrite {
        id: WriteId { writer: holder, number: 1 },
        tx: TxId::from_parts(1, [7; 10]),
        kind,
        expect: Expect::Absent,
        fence: Some(Fence { shard: ShardId(0), holder, epoch: Epoch(epoch) }),
        key: None,
        definition: None,
        verdict: None,
        state: StoredState::default().encode(),
        due: Some(Timestamp::MAX),
        summary: Summary {
            pattern: Pattern::Saga,
            status: Status::Open,
            operations: 1,
            dead_letters: 0,
            resumes: 0,
            exceptions: Vec::new(),
        },
        journal: [].into(),
        lazy: false,
    }
}

/// Lands one write after the other and says what was wrong with the last.
fn land(writes: &[TxWrite], foreign: bool) -> Vec<Broken> {
    let mut view = view();
    let landed = writes.iter().zip(1..).map(|(w, number)| view.land(w, Version(number), foreign));
    landed.last().unwrap_or_default()
}

#[test]
fn a_verdict_stays_and_the_end_stays() {
    let accept = write(RecordKind::Accepted, 1);
    let decide = |verdict| TxWrite { verdict: Some(verdict), ..write(RecordKind::Verdict, 1) };
    let (turned, completed) = (decide(Verdict::Turned), decide(Verdict::Completed));
    assert!(land(&[accept.clone(), turned.clone(), turned.clone()], false).is_empty());
    assert!(land(&[accept.clone(), turned, completed], false)[0].contains("rule 1"));
    let end = TxWrite { due: None, ..write(RecordKind::Finished, 1) };
    let again = land(&[accept.clone(), end.clone(), write(RecordKind::Resumed, 2)], false);
    assert!(again[0].contains("opened again"));
    assert!(land(&[accept.clone(), end.clone(), end.clone()], false)[0].contains("finished again"));
    let cleared = TxWrite { due: None, fence: None, ..write(RecordKind::Signal, 1) };
    assert!(land(&[accept, end, cleared], false).is_empty());
}

#[test]
fn epochs_only_rise() {
    let state = StoredState { resumes: 1, ..StoredState::default() }.encode();
    let counted = |kind, epoch| TxWrite { state: state.clone(), ..write(kind, epoch) };
    let (first, second) = (write(RecordKind::Accepted, 2), counted(RecordKind::Resumed, 3));
    assert!(land(&[first.clone(), second.clone()], false).is_empty());
    let stale = land(&[first, second, counted(RecordKind::Progress, 2)], false);
    assert!(stale[0].contains("fencing"));
}

#[test]
fn what_was_durable_is_not_overwritten() {
    let (by, reason) = (Reason::new("x"), Reason::new("x"));
    let answer = (OperationIndex(0), Phase::Execute, Ok(Done::default()));
    let states = [
        StoredState { point_of_no_return: Some(RecordKind::PivotSent), ..StoredState::default() },
        StoredState { verified: Some(true), ..StoredState::default() },
        StoredState {
            signals: [SignalEntry { signal: Signal::Cancel, by, reason }].into(),
            ..StoredState::default()
        },
        StoredState { answers: [answer].into(), ..StoredState::default() },
        StoredState { resumes: 2, ..StoredState::default() },
    ];
    for state in states {
        let full = TxWrite { state: state.encode(), ..write(RecordKind::Progress, 1) };
        assert!(land(&[full.clone(), full.clone()], false).is_empty(), "{state:?}");
        let broken = land(&[full, write(RecordKind::Progress, 1)], false);
        assert!(broken[0].contains("rule 8"), "{state:?}");
    }
}

#[test]
fn without_an_inbox_the_answers_are_in_the_record() {
    let verdict = Some(Verdict::Completed);
    let bare = TxWrite { verdict, ..write(RecordKind::Verdict, 1) };
    assert!(land(std::slice::from_ref(&bare), false).is_empty());
    assert!(land(std::slice::from_ref(&bare), true)[0].contains("rule 13"));
    let answers = vec![(OperationIndex(0), Phase::Execute, Ok(Done::default()))];
    let state = StoredState { answers: answers.into(), ..StoredState::default() }.encode();
    assert!(land(&[TxWrite { state, ..bare }], true).is_empty());
}

#[test]
fn a_repeat_lands_once() {
    let mut view = view();
    let accept = write(RecordKind::Accepted, 1);
    view.land(&accept, Version(1), false);
    view.land(&accept, Version(1), false);
    assert_eq!((view.awaited, view.lazy), (1, 0));
}
