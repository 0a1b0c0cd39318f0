//! Landings that break a rule, and the same made legal.

use std::sync::Arc;

use dtx_core::{
    answer::Reason,
    engine::SignalEntry,
    ids::{Epoch, HolderId, ShardId, TxId, Version, WriteId},
    store::{Expect, Fence, Summary},
    time::Timestamp,
    transaction::{OperationDraft, Transaction},
};

use super::*;

/// A record that was accepted, of two operations of which the second depends on the first.
fn accepted() -> View {
    let draft = |name: &str| OperationDraft::new("svc", "work").name(name);
    let builder = Transaction::builder(Pattern::Saga);
    let builder = builder.operation(draft("a")).operation(draft("b").depends_on(["a"]));
    let mut view = View::new(Arc::new(builder.build().expect("a valid definition")), ShardId(0));
    (view.version, view.is_open) = (Version(1), true);
    view
}

fn write(kind: RecordKind, verdict: Option<Verdict>) -> TxWrite {
    let holder = HolderId(1);
    TxWrite {
        id: WriteId { writer: holder, number: 1 },
        tx: TxId::from_parts(1, [7; 10]),
        kind,
        expect: Expect::Version(Version(1)),
        fence: Some(Fence { shard: ShardId(0), holder, epoch: Epoch(1) }),
        key: None,
        definition: None,
        verdict,
        state: StoredState::default().encode(),
        due: Some(Timestamp::MAX),
        summary: Summary {
            pattern: Pattern::Saga,
            status: Status::Open,
            operations: 2,
            dead_letters: 0,
            resumes: 0,
            exceptions: Vec::new(),
        },
        journal: [].into(),
        lazy: false,
    }
}

fn signalled(signal: Signal) -> StoredState {
    let (by, reason) = (Reason::new("x"), Reason::new("x"));
    StoredState { signals: [SignalEntry { signal, by, reason }].into(), ..StoredState::default() }
}

#[track_caller]
fn breaks(found: Option<Broken>, words: &str) {
    let broken = found.expect("it is broken");
    assert!(broken.contains(words), "{broken}");
}

#[test]
fn verdicts_and_the_end_of_what_was_turned_are_waited_for() {
    let view = accepted();
    for (kind, verdict) in
        [(RecordKind::Verdict, Verdict::Completed), (RecordKind::Finished, Verdict::Turned)]
    {
        let write = write(kind, Some(verdict));
        assert_eq!(awaited(&view, &write), None);
        breaks(awaited(&view, &TxWrite { lazy: true, ..write }), "nobody waits");
    }
    let committed = TxWrite { lazy: true, ..write(RecordKind::Finished, Some(Verdict::Commit)) };
    assert_eq!(awaited(&view, &committed), None);
}

#[test]
fn a_decision_does_not_overtake_a_signal() {
    let mut view = accepted();
    let decide = write(RecordKind::Verdict, Some(Verdict::Completed));
    let pivot = write(RecordKind::PivotSent, None);
    let turn = write(RecordKind::Verdict, Some(Verdict::Turned));
    assert_eq!(overtaken(&view, &decide), None);
    view.state = signalled(Signal::Cancel);
    breaks(overtaken(&view, &decide), "rule 8");
    breaks(overtaken(&view, &pivot), "rule 8");
    assert_eq!(overtaken(&view, &turn), None);
    view.state.point_of_no_return = Some(RecordKind::PivotSent);
    assert_eq!(overtaken(&view, &decide), None, "it was decided before");
    view.state = signalled(Signal::Approve);
    assert_eq!(overtaken(&view, &decide), None);
}

#[test]
fn a_cancel_comes_before_the_decision() {
    let mut view = accepted();
    assert_eq!(late(&view, &signalled(Signal::Cancel)), None);
    view.state.point_of_no_return = Some(RecordKind::PivotSent);
    breaks(late(&view, &signalled(Signal::Cancel)), "rule 8");
    assert_eq!(late(&view, &signalled(Signal::Retry)), None);
    view.state = signalled(Signal::Cancel);
    view.verdict = Some(Verdict::Turned);
    assert_eq!(late(&view, &signalled(Signal::Cancel)), None, "it was there before");
}

#[test]
fn a_resume_is_counted_unless_it_was_parked_or_an_operator_moved_it() {
    let mut view = accepted();
    let resume = write(RecordKind::Resumed, None);
    let counted = StoredState { resumes: 1, ..StoredState::default() };
    let same = StoredState::default();
    assert_eq!(resumed(&view, &resume, &counted), None);
    breaks(resumed(&view, &resume, &same), "rule 6");
    assert_eq!(resumed(&view, &resume, &signalled(Signal::Retry)), None);
    view.was_parked = true;
    assert_eq!(resumed(&view, &resume, &same), None);
}

#[test]
fn what_has_ended_backward_was_taken_back() {
    let mut view = accepted();
    let mut end = write(RecordKind::Finished, Some(Verdict::Turned));
    let state = StoredState::default();
    assert_eq!(left_out(&view, &end, &state), None, "it has not ended");
    end.summary.status = Status::Finished(Outcome::Aborted);
    breaks(left_out(&view, &end, &state), "rule 3");
    let undone = Sight { done: vec![Phase::Compensate], ..Sight::default() };
    let refused = Sight { rejected: vec![Phase::Execute], ..Sight::default() };
    view.operations.insert(OperationIndex(0), undone);
    breaks(left_out(&view, &end, &state), "rule 3");
    assert_eq!(left_out(&view, &end, &signalled(Signal::Abandon)), None);
    view.operations.insert(OperationIndex(1), refused);
    assert_eq!(left_out(&view, &end, &state), None);
}
