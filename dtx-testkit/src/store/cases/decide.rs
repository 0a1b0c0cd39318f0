//! Verdicts (rule 1) and the writes that go without a fence (rule 8).

use dtx_core::{
    error::ErrorKind,
    ids::Version,
    pattern::Pattern,
    store::{CommitResult, Expect, RecordKind, TxWrite, Verdict},
};

use super::commit::failure;
use crate::store::{Pen, StoreHarness, committed, one, own, record, tx};

const VERDICTS: [Verdict; 4] =
    [Verdict::Completed, Verdict::Turned, Verdict::Commit, Verdict::Abort];

/// Whatever version a write expects, a row with a verdict refuses another one and shows its own.
pub async fn a_verdict_never_changes<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for (n, stored) in VERDICTS.into_iter().enumerate() {
        let tx = tx(n as u64);
        let fence = own(&*store, tx, 1).await;
        committed(&one(&*store, &pen.accept(tx)).await);
        committed(&one(&*store, &pen.verdict(tx, 1, stored, Some(fence))).await);
        for written in VERDICTS.into_iter().filter(|verdict| *verdict != stored) {
            for version in 1..4 {
                let result = one(&*store, &pen.verdict(tx, version, written, Some(fence))).await;
                let shown = (Some(Version(2)), Some(stored));
                assert!(matches!(
                    result,
                    CommitResult::Conflict { found, verdict } if (found, verdict) == shown
                ));
            }
        }
        let row = record(&*store, tx).await;
        assert_eq!((row.version, row.verdict), (Version(2), Some(stored)));
    }
}

/// `None` keeps the verdict of the row, for progress, signals and the finish.
pub async fn a_write_without_a_verdict_keeps_it<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let fence = own(&*store, tx(1), 1).await;
    let batch = [
        pen.accept(tx(1)),
        pen.verdict(tx(1), 1, Verdict::Commit, Some(fence)),
        pen.progress(tx(1), 2, fence),
        pen.signal(tx(1), 3),
        pen.finish(tx(1), 4, fence),
    ];
    for write in &batch {
        committed(&one(&*store, write).await);
    }
    assert_eq!(record(&*store, tx(1)).await.verdict, Some(Verdict::Commit));
}

/// A write that repeats the verdict of the row is no contradiction.
pub async fn the_same_verdict_again_applies<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let fence = own(&*store, tx(1), 1).await;
    committed(&one(&*store, &pen.accept(tx(1))).await);
    committed(&one(&*store, &pen.verdict(tx(1), 1, Verdict::Abort, Some(fence))).await);
    let again = pen.verdict(tx(1), 2, Verdict::Abort, Some(fence));
    assert_eq!(committed(&one(&*store, &again).await), 3);
}

/// An inquiry may turn or abort what is undecided, and nothing else.
pub async fn going_back_unfenced_needs_an_undecided_row<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for (n, back) in [Verdict::Abort, Verdict::Turned].into_iter().enumerate() {
        let tx = tx(n as u64);
        committed(&one(&*store, &pen.accept(tx)).await);
        assert_eq!(committed(&one(&*store, &pen.verdict(tx, 1, back, None)).await), 2);
        assert_eq!(record(&*store, tx).await.verdict, Some(back));
        let again = one(&*store, &pen.verdict(tx, 2, back, None)).await;
        assert!(matches!(again, CommitResult::Conflict { verdict: Some(v), .. } if v == back));
    }
    let fence = own(&*store, tx(9), 1).await;
    committed(&one(&*store, &pen.accept(tx(9))).await);
    committed(&one(&*store, &pen.verdict(tx(9), 1, Verdict::Commit, Some(fence))).await);
    let late = one(&*store, &pen.verdict(tx(9), 2, Verdict::Abort, None)).await;
    assert!(matches!(late, CommitResult::Conflict { verdict: Some(Verdict::Commit), .. }));
}

/// Every other kind of record needs a fence, and a forward verdict does too.
pub async fn nothing_else_goes_unfenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let at = Expect::Version(Version(1));
    let kinds = [
        RecordKind::Resumed,
        RecordKind::Progress,
        RecordKind::PivotSent,
        RecordKind::Delegated,
        RecordKind::Finished,
    ];
    for kind in kinds {
        assert_eq!(failure(&one(&*store, &pen.write(tx(1), kind, at)).await), ErrorKind::Invalid);
    }
    for forward in [Verdict::Completed, Verdict::Commit] {
        let write = pen.verdict(tx(1), 1, forward, None);
        assert_eq!(failure(&one(&*store, &write).await), ErrorKind::Invalid);
    }
    assert_eq!(record(&*store, tx(1)).await.version, Version(1));
}

/// A signal never carries a forward verdict, under a fence or not.
pub async fn a_signal_decides_nothing_forward<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let fence = own(&*store, tx(1), 1).await;
    committed(&one(&*store, &pen.accept(tx(1))).await);
    for fence in [None, Some(fence)] {
        let verdict = Some(Verdict::Commit);
        let write = TxWrite { verdict, fence, ..pen.signal(tx(1), 1) };
        assert_eq!(failure(&one(&*store, &write).await), ErrorKind::Invalid);
    }
    assert_eq!(record(&*store, tx(1)).await.verdict, None);
}

/// The accept of 0.5PS is its verdict; that of no other pattern is, without a fence.
pub async fn fire_and_forget_is_decided_by_its_accept<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for (n, pattern) in Pattern::ALL.into_iter().enumerate() {
        let mut accept = pen.accept(tx(n as u64));
        (accept.summary.pattern, accept.verdict) = (pattern, Some(Verdict::Completed));
        let result = one(&*store, &accept).await;
        if pattern == Pattern::FireAndForget {
            committed(&result);
            assert_eq!(record(&*store, accept.tx).await.verdict, Some(Verdict::Completed));
        } else {
            assert_eq!(failure(&result), ErrorKind::Invalid);
        }
    }
}

/// An abort of an unknown transaction is durable, and the accept that comes later meets it.
pub async fn a_tombstone_refuses_a_late_accept<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let mut tombstone = pen.write(tx(1), RecordKind::Verdict, Expect::Absent);
    (tombstone.verdict, tombstone.due) = (Some(Verdict::Abort), None);
    assert_eq!(committed(&one(&*store, &tombstone).await), 1);
    let late = one(&*store, &pen.accept_key(tx(1), "shop", "order-1")).await;
    assert!(matches!(
        late,
        CommitResult::Conflict { found: Some(Version(1)), verdict: Some(Verdict::Abort) }
    ));
    let row = record(&*store, tx(1)).await;
    assert!(row.definition.is_empty() && row.key.is_none());
    tombstone.id = pen.accept(tx(1)).id;
    tombstone.verdict = Some(Verdict::Turned);
    tombstone.tx = tx(2);
    assert_eq!(failure(&one(&*store, &tombstone).await), ErrorKind::Invalid);
}

/// Signals are ordered by the version; the second one must look again.
pub async fn of_two_contradictory_signals_the_first_stands<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let (approve, reject) = (pen.signal(tx(1), 1), pen.signal(tx(1), 1));
    assert_eq!(committed(&one(&*store, &approve).await), 2);
    let second = one(&*store, &reject).await;
    assert!(matches!(second, CommitResult::Conflict { found: Some(Version(2)), .. }));
    assert_eq!(record(&*store, tx(1)).await.state, approve.state);
}
