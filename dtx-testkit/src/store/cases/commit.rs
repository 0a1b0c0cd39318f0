//! One write, and a batch of them.

use bytes::Bytes;
use dtx_core::{
    error::{Effect, ErrorKind},
    ids::Version,
    store::{CommitResult, TxWrite},
    time::Timestamp,
};

use crate::store::{Pen, StoreHarness, committed, one, record, tx};

/// The kind of a failed write, which must have changed nothing.
pub(super) fn failure(result: &CommitResult) -> ErrorKind {
    match result {
        CommitResult::Failed(error) => {
            assert_eq!(error.effect(), Effect::None);
            error.kind()
        }
        other => panic!("did not fail: {other:?}"),
    }
}

/// A store has a name, room and shards, and says the same each time.
pub async fn info_is_complete_and_the_same<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let info = store.info().clone();
    assert!(!info.name.is_empty() && info.lanes > 0 && info.shards.get() > 0, "{info:?}");
    assert!(info.limits.batch_writes_max > 0 && info.limits.value_bytes_max > 0, "{info:?}");
    for _ in 0..3 {
        assert_eq!(store.info(), &info);
        assert_eq!(harness.participants().info(), &info);
    }
}

/// The first write makes version 1, and everything of it can be read back.
pub async fn accept_makes_version_one<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let write = Pen::new(1).accept_key(tx(1), "shop", "order-1");
    assert_eq!(committed(&one(&*store, &write).await), 1);
    let row = record(&*store, tx(1)).await;
    assert_eq!((row.tx, row.version, row.last_write), (tx(1), Version(1), write.id));
    assert_eq!((Some(row.definition), row.state), (write.definition, write.state));
    assert_eq!((row.key, row.verdict, row.due), (write.key, None, write.due));
    assert_eq!(row.summary, write.summary);
}

/// `Absent` meets a row: a conflict that shows its version.
pub async fn accept_of_an_existing_row_conflicts<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let first = pen.accept(tx(1));
    committed(&one(&*store, &first).await);
    let second = one(&*store, &pen.accept(tx(1))).await;
    assert!(matches!(second, CommitResult::Conflict { found: Some(Version(1)), verdict: None }));
    assert_eq!(record(&*store, tx(1)).await.last_write, first.id);
}

/// Each applied write makes the next version and replaces the state.
pub async fn a_write_raises_the_version_by_one<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    for version in 1..5 {
        let mut write = pen.signal(tx(1), version);
        write.summary.resumes = version as u16;
        assert_eq!(committed(&one(&*store, &write).await), version + 1);
        let row = record(&*store, tx(1)).await;
        assert_eq!((row.version, row.state), (Version(version + 1), write.state));
        assert_eq!(row.summary, write.summary);
    }
}

/// A version that is too low or too high is a conflict, and the row stays as it is.
pub async fn another_version_conflicts_and_changes_nothing<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    committed(&one(&*store, &pen.signal(tx(1), 1)).await);
    let before = record(&*store, tx(1)).await;
    for version in [0, 1, 3] {
        let result = one(&*store, &pen.signal(tx(1), version)).await;
        let found = Some(Version(2));
        assert!(matches!(result, CommitResult::Conflict { found: f, .. } if f == found));
    }
    assert_eq!(record(&*store, tx(1)).await, before);
    assert_eq!(harness.catalog().history(tx(1)).await.expect("history").len(), 2);
}

/// A version is expected where there is no row.
pub async fn a_version_without_a_row_conflicts<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let result = one(&*store, &Pen::new(1).signal(tx(1), 1)).await;
    assert!(matches!(result, CommitResult::Conflict { found: None, verdict: None }));
    assert_eq!(store.load(&[tx(1)]).await.expect("load"), [None]);
}

/// The same write again is `Committed` with the same version, and its journal is there once.
pub async fn a_repeat_answers_the_same_and_changes_nothing<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for write in [pen.accept_key(tx(1), "shop", "order-1"), pen.signal(tx(1), 1)] {
        let version = committed(&one(&*store, &write).await);
        let before = record(&*store, tx(1)).await;
        for _ in 0..3 {
            assert_eq!(committed(&one(&*store, &write).await), version);
        }
        assert_eq!(record(&*store, tx(1)).await, before);
    }
    assert_eq!(harness.catalog().history(tx(1)).await.expect("history").len(), 2);
}

/// Only the last write of a row is known as a repeat; an older one is evaluated anew.
pub async fn a_repeat_after_a_later_write_conflicts<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let accept = pen.accept(tx(1));
    committed(&one(&*store, &accept).await);
    committed(&one(&*store, &pen.signal(tx(1), 1)).await);
    let result = one(&*store, &accept).await;
    assert!(matches!(result, CommitResult::Conflict { found: Some(Version(2)), .. }));
}

/// `load` answers per id, in order, also for ids that are there twice or not at all.
pub async fn load_keeps_the_order<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    committed(&one(&*store, &pen.accept(tx(2))).await);
    let ids = [tx(2), tx(9), tx(1), tx(2)];
    let rows = store.load(&ids).await.expect("load");
    let found: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row.tx)).collect();
    assert_eq!(found, [Some(tx(2)), None, Some(tx(1)), Some(tx(2))]);
    assert!(store.load(&[]).await.expect("load").is_empty());
}

/// No writes, no results.
pub async fn an_empty_batch_is_nothing<H: StoreHarness>(harness: &mut H) {
    assert!(harness.state().commit(&[]).await.is_empty());
}

/// Each item stands for itself, and the results are in the order of the writes.
pub async fn a_batch_with_conflicts_applies_the_rest<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(2))).await);
    let batch = [pen.accept(tx(1)), pen.accept(tx(2)), pen.signal(tx(7), 1), pen.accept(tx(3))];
    let results = store.commit(&batch).await;
    assert_eq!(results.len(), 4);
    assert_eq!((committed(&results[0]), committed(&results[3])), (1, 1));
    assert!(matches!(results[1], CommitResult::Conflict { found: Some(Version(1)), .. }));
    assert!(matches!(results[2], CommitResult::Conflict { found: None, .. }));
    assert_eq!(record(&*store, tx(3)).await.last_write, batch[3].id);
}

/// A later item of a batch is evaluated after the earlier ones.
pub async fn items_see_earlier_items<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let batch =
        [pen.accept(tx(1)), pen.signal(tx(1), 1), pen.signal(tx(1), 1), pen.signal(tx(1), 2)];
    let results = store.commit(&batch).await;
    assert_eq!((committed(&results[0]), committed(&results[1])), (1, 2));
    assert!(matches!(results[2], CommitResult::Conflict { found: Some(Version(2)), .. }));
    assert_eq!(committed(&results[3]), 3);
    let row = record(&*store, tx(1)).await;
    assert_eq!((row.version, row.last_write), (Version(3), batch[3].id));
}

/// The same write id twice in one batch is one write.
pub async fn a_write_twice_in_one_batch_applies_once<H: StoreHarness>(harness: &mut H) {
    let (store, write) = (harness.state(), Pen::new(1).accept(tx(1)));
    let results = store.commit(&[write.clone(), write]).await;
    assert_eq!((committed(&results[0]), committed(&results[1])), (1, 1));
    assert_eq!(harness.catalog().history(tx(1)).await.expect("history").len(), 1);
}

/// The definition and the key come from the accept and stay.
pub async fn the_definition_is_kept<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let accept = pen.accept_key(tx(1), "shop", "order-1");
    let mut finish = pen.signal(tx(1), 2);
    finish.due = None;
    let batch = [accept.clone(), pen.signal(tx(1), 1), finish];
    for write in &batch {
        committed(&one(&*store, write).await);
        let row = record(&*store, tx(1)).await;
        assert_eq!(
            (Some(row.definition), row.key),
            (accept.definition.clone(), accept.key.clone())
        );
    }
}

/// `accepted_at` is set once, `written_at` with each write, both from the store's clock.
pub async fn times_are_those_of_the_store<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let before = store.now().await.expect("now");
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let first = record(&*store, tx(1)).await;
    assert_eq!(first.accepted_at, first.written_at);
    assert!(first.accepted_at >= before && first.accepted_at <= store.now().await.expect("now"));
    harness.pass(std::time::Duration::from_millis(5)).await;
    committed(&one(&*store, &pen.signal(tx(1), 1)).await);
    let second = record(&*store, tx(1)).await;
    assert_eq!(second.accepted_at, first.accepted_at);
    assert!(second.written_at > first.written_at);
    assert!(second.accepted_at > Timestamp::from_millis(1_600_000_000_000), "Unix epoch");
}

/// A value of the largest size is stored; one byte more is `Invalid`, names its field and does
/// not stop the others.
pub async fn values_at_the_limit_and_one_past_it<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let limit = store.info().limits.value_bytes_max;
    let sized = |bytes: usize| Bytes::from(vec![7; bytes]);
    let full = TxWrite { definition: Some(sized(limit)), state: sized(limit), ..pen.accept(tx(1)) };
    let definition = TxWrite { definition: Some(sized(limit + 1)), ..pen.accept(tx(2)) };
    let state = TxWrite { state: sized(limit + 1), ..pen.accept(tx(3)) };
    let results = store.commit(&[definition, full, state]).await;
    assert_eq!(committed(&results[1]), 1);
    for (index, field) in [(0, "definition"), (2, "state")] {
        assert_eq!(failure(&results[index]), ErrorKind::Invalid);
        assert!(format!("{:?}", results[index]).contains(field), "the field is named");
    }
    let row = record(&*store, tx(1)).await;
    assert_eq!((row.definition.len(), row.state.len()), (limit, limit));
    assert_eq!(store.load(&[tx(2), tx(3)]).await.expect("load"), [None, None]);
}

/// A batch of the largest size is taken; one write more is refused as a whole.
pub async fn a_batch_at_the_limit_and_one_past_it<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let limit = store.info().limits.batch_writes_max;
    let mut batch: Vec<_> = (0..=limit as u64).map(|n| pen.accept(tx(n))).collect();
    let refused = store.commit(&batch).await;
    assert_eq!(refused.len(), limit + 1);
    assert!(refused.iter().all(|result| failure(result) == ErrorKind::Invalid));
    assert_eq!(store.load(&[tx(0)]).await.expect("load"), [None]);
    batch.pop();
    assert!(store.commit(&batch).await.iter().all(|result| committed(result) == 1));
}

/// Writers that meet on one version: exactly one of them wins.
pub async fn of_two_writers_of_one_version_one_wins<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    committed(&one(&*store, &Pen::new(1).accept(tx(1))).await);
    let mut racers = tokio::task::JoinSet::new();
    for writer in 2..10 {
        let store = store.clone();
        racers.spawn(async move { one(&*store, &Pen::new(writer).signal(tx(1), 1)).await });
    }
    let results = racers.join_all().await;
    let won = results.iter().filter(|result| matches!(result, CommitResult::Committed(_)));
    assert_eq!(won.count(), 1);
    assert_eq!(record(&*store, tx(1)).await.version, Version(2));
}
