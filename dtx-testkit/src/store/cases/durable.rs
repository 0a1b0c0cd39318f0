//! What is there after reopening, and after a caller went away.

use std::{
    future::Future,
    task::{Context, Waker},
    time::Duration,
};

use dtx_core::{
    ids::HolderId,
    store::{Durability, LeaseRequest, RowExpect, RowWriteResult, TxWrite},
    time::Timestamp,
};

use super::rows::{change, make, read, set, write, written};
use crate::store::{Pen, StoreHarness, committed, one, own, record, tx};

/// Records, histories, keys and the open ones are as they were acknowledged.
pub async fn transactions_are_there_after_reopening<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let open = pen.accept_key(tx(1), "shop", "a");
    committed(&one(&*store, &open).await);
    committed(&one(&*store, &pen.signal(tx(1), 1)).await);
    committed(&one(&*store, &pen.accept(tx(2))).await);
    let fence = own(&*store, tx(2), 1).await;
    committed(&one(&*store, &pen.finish(tx(2), 1, fence)).await);
    let before = store.load(&[tx(1), tx(2)]).await.expect("load");
    let history = harness.catalog().history(tx(1)).await.expect("history");
    drop(store);
    harness.reopen().await;
    let store = harness.state();
    assert_eq!(store.load(&[tx(1), tx(2)]).await.expect("load"), before);
    assert_eq!(harness.catalog().history(tx(1)).await.expect("history"), history);
    let key = open.key.clone().expect("has a key");
    assert_eq!(harness.catalog().by_key(&key).await.expect("by_key"), Some(tx(1)));
    let shard = tx(1).shard(store.info().shards);
    let page = store.open(shard, Timestamp::MAX, None, 10).await.expect("open");
    let open: Vec<_> = page.records.iter().map(|row| row.tx).collect();
    assert_eq!(open, [tx(1)]);
}

/// Rows of participants are as they were acknowledged.
pub async fn rows_are_there_after_reopening<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "r", "one")).await);
    let before = read(&*store, "s", "r").await;
    drop(store);
    harness.reopen().await;
    let store = harness.participants();
    assert_eq!(read(&*store, "s", "r").await, before);
    let row = before.expect("made");
    let update = change("r", RowExpect::Version(row.version), Some("two"));
    written(&write(&*store, set("s", vec![update])).await);
}

/// An epoch that was given once is never given again, and the old owner is fenced.
pub async fn epochs_go_on_after_reopening<H: StoreHarness>(harness: &mut H) {
    let ttl = Duration::from_millis(20);
    let store = harness.state();
    let (opening, mut pen) = (store.info().opening, Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let shards = vec![tx(1).shard(store.info().shards)];
    let request = LeaseRequest { holder: HolderId(1), shards, ttl };
    let old = store.acquire(&request).await.expect("acquire").remove(0);
    let volatile = store.info().capabilities.durability == Durability::Nothing;
    drop(store);
    harness.reopen().await;
    let store = harness.state();
    if !volatile && opening.is_some() {
        assert_ne!(store.info().opening, opening, "each opening has its own id");
    } else {
        // Only where one process owns the store does reopening end what was leased.
        harness.pass(ttl).await;
    }
    let new = own(&*store, tx(1), 2).await;
    assert!(new.epoch > old.epoch, "{new:?} after {old:?}");
    let stale = one(&*store, &pen.progress(tx(1), 1, old.fence())).await;
    assert!(matches!(stale, dtx_core::store::CommitResult::Fenced), "{stale:?}");
}

/// A row made after a deletion and a reopening does not take up an old version.
pub async fn versions_go_on_after_reopening<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "r", "one")).await);
    let old = read(&*store, "s", "r").await.expect("made");
    let delete = change("r", RowExpect::Version(old.version), None);
    written(&write(&*store, set("s", vec![delete])).await);
    drop(store);
    harness.reopen().await;
    let store = harness.participants();
    written(&write(&*store, make("s", "r", "two")).await);
    let new = read(&*store, "s", "r").await.expect("made");
    assert!(new.version > old.version, "{new:?} after {old:?}");
    let stale = change("r", RowExpect::Version(old.version), None);
    let result = write(&*store, set("s", vec![stale])).await;
    assert!(matches!(result, RowWriteResult::Conflict), "{result:?}");
}

/// The store's clock only moves forward, also over a reopening.
pub async fn the_clock_never_goes_back<H: StoreHarness>(harness: &mut H) {
    let mut last = Timestamp::ZERO;
    for _ in 0..3 {
        let store = harness.state();
        for _ in 0..20 {
            let now = store.now().await.expect("now");
            assert!(now >= last);
            last = now;
        }
        let accept = Pen::new(last.as_micros().into()).accept(tx(last.as_micros()));
        committed(&one(&*store, &accept).await);
        last = record(&*store, accept.tx).await.written_at;
        drop(store);
        harness.reopen().await;
    }
}

/// Polls a future once and drops it.
fn poll_once_and_drop(future: impl Future) {
    let mut future = Box::pin(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

/// Whether a dropped commit was applied or not, the same ids again settle it, once.
pub async fn a_dropped_commit_can_be_repeated<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    for n in 0..20 {
        let batch = [pen.accept_key(tx(n), "shop", &format!("k{n}")), pen.signal(tx(n), 1)];
        drop(store.commit(&batch));
        poll_once_and_drop(store.commit(&batch));
        let last = TxWrite { ..batch[1].clone() };
        let accepted = store.commit(&batch[..1]).await;
        // Either the accept is applied or repeated, or the signal was applied after it already.
        match &accepted[0] {
            dtx_core::store::CommitResult::Conflict { found: Some(version), .. } => {
                assert_eq!(version.0, 2);
            }
            other => assert_eq!(committed(other), 1),
        }
        assert_eq!(committed(&one(&*store, &last).await), 2);
        let history = harness.catalog().history(tx(n)).await.expect("history");
        assert_eq!(history.len(), 2, "nothing is there twice");
    }
}

/// A dropped write of rows is there wholly or not at all, and reading again shows which.
pub async fn a_dropped_write_can_be_read_again<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    for n in 0..20 {
        let scope = format!("s{n}");
        let both: Vec<_> = ["a", "b"].map(|row| change(row, RowExpect::Absent, Some("v"))).into();
        let sets = [set(&scope, both)];
        poll_once_and_drop(store.write(&sets));
        let settled = write(&*store, sets[0].clone()).await;
        let conflict = matches!(settled, RowWriteResult::Conflict);
        assert!(conflict || matches!(settled, RowWriteResult::Written), "{settled:?}");
        for row in ["a", "b"] {
            assert!(read(&*store, &scope, row).await.is_some());
        }
    }
}

/// Two handles of one store see each other's writes as soon as they are acknowledged.
pub async fn another_handle_sees_the_same<H: StoreHarness>(harness: &mut H) {
    let (one_handle, other) = (harness.state(), harness.state());
    let mut pen = Pen::new(1);
    for n in 0..20 {
        committed(&one(&*one_handle, &pen.accept(tx(n))).await);
        assert_eq!(record(&*other, tx(n)).await.version.0, 1);
        assert_eq!(committed(&one(&*other, &pen.signal(tx(n), 1)).await), 2);
        assert_eq!(record(&*one_handle, tx(n)).await.version.0, 2);
    }
    let (rows, same) = (harness.participants(), harness.participants());
    written(&write(&*rows, make("s", "r", "v")).await);
    assert!(read(&*same, "s", "r").await.is_some());
}
