//! What is open, by its due time.

use bytes::Bytes;
use dtx_core::{
    error::ErrorKind,
    ids::{ShardId, TxId},
    store::{Cursor, StateStore, TxWrite},
    time::Timestamp,
};

use crate::store::{Pen, StoreHarness, committed, one, own, record, tx_of};

const SHARD: ShardId = ShardId(3);

fn at(micros: u64) -> Timestamp {
    Timestamp::from_micros(micros)
}

async fn due(store: &dyn StateStore, shard: ShardId, before: u64) -> Vec<TxId> {
    let page = store.open(shard, at(before), None, 1_000).await.expect("open");
    assert!(page.next.is_none());
    page.records.iter().map(|row| row.tx).collect()
}

/// Accepts one transaction of the shard per due time.
async fn accept(store: &dyn StateStore, pen: &mut Pen, due: &[u64]) -> Vec<TxId> {
    let ids = tx_of(SHARD, store.info().shards, due.len());
    for (&tx, &due) in ids.iter().zip(due) {
        let write = TxWrite { due: Some(at(due)), ..pen.accept(tx) };
        committed(&one(store, &write).await);
    }
    ids
}

/// Ordered by due time and then by id; a time is reached at the time itself.
pub async fn the_earliest_due_comes_first<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let ids = accept(&*store, &mut Pen::new(1), &[30, 10, 20, 10]).await;
    assert_eq!(due(&*store, SHARD, 30).await, [ids[1], ids[3], ids[2], ids[0]]);
    assert_eq!(due(&*store, SHARD, 29).await, [ids[1], ids[3], ids[2]]);
    assert_eq!(due(&*store, SHARD, 10).await, [ids[1], ids[3]]);
    assert!(due(&*store, SHARD, 9).await.is_empty());
    let page = store.open(SHARD, at(10), None, 10).await.expect("open");
    assert_eq!(page.records[0], record(&*store, ids[1]).await, "whole records");
    assert!(page.now <= store.now().await.expect("now"));
}

/// Pages of every size together are the whole listing.
pub async fn pages_have_no_gap_and_no_repeat<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let times = [50, 10, 10, 10, 40, 20, 10, 30, 20];
    accept(&*store, &mut Pen::new(1), &times).await;
    let whole = due(&*store, SHARD, 40).await;
    assert_eq!(whole.len(), 8);
    for limit in 1..=9 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.open(SHARD, at(40), cursor.as_ref(), limit).await.expect("open");
            assert!(page.records.len() <= limit);
            found.extend(page.records.iter().map(|row| row.tx));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, whole, "pages of {limit}");
    }
}

/// A listing shows one shard.
pub async fn only_its_own_shard<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let mine = accept(&*store, &mut pen, &[10, 20]).await;
    let other = tx_of(ShardId(4), store.info().shards, 1)[0];
    committed(&one(&*store, &pen.accept(other)).await);
    assert_eq!(due(&*store, SHARD, u64::MAX).await, mine);
    assert_eq!(due(&*store, ShardId(4), u64::MAX).await, [other]);
    let unknown = ShardId(store.info().shards.get());
    let error = store.open(unknown, at(10), None, 1).await.expect_err("no such shard");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// A write moves its transaction to the new due time, and the old place is gone.
pub async fn a_changed_due_time_moves<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let ids = accept(&*store, &mut pen, &[10, 20]).await;
    let later = TxWrite { due: Some(at(30)), ..pen.signal(ids[0], 1) };
    committed(&one(&*store, &later).await);
    assert_eq!(due(&*store, SHARD, 100).await, [ids[1], ids[0]]);
    assert_eq!(due(&*store, SHARD, 20).await, [ids[1]]);
}

/// Without a due time it is finished: it leaves the open ones at once and can still be loaded.
pub async fn the_finished_leave_the_open<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let ids = accept(&*store, &mut pen, &[10, 20]).await;
    let fence = own(&*store, ids[0], 1).await;
    let finish = pen.finish(ids[0], 1, fence);
    committed(&one(&*store, &finish).await);
    assert_eq!(due(&*store, SHARD, u64::MAX).await, [ids[1]]);
    let row = record(&*store, ids[0]).await;
    assert_eq!((row.due, row.summary, row.state), (None, finish.summary, finish.state));
}

/// A finished transaction takes further writes, such as an operator's, and may become open again.
pub async fn a_finished_one_can_be_opened_again<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    let ids = accept(&*store, &mut pen, &[10]).await;
    let fence = own(&*store, ids[0], 1).await;
    committed(&one(&*store, &pen.finish(ids[0], 1, fence)).await);
    let cleared = TxWrite { due: None, ..pen.signal(ids[0], 2) };
    assert_eq!(committed(&one(&*store, &cleared).await), 3);
    assert!(due(&*store, SHARD, u64::MAX).await.is_empty());
    assert_eq!(committed(&one(&*store, &pen.signal(ids[0], 3)).await), 4);
    assert_eq!(due(&*store, SHARD, u64::MAX).await, ids);
    assert_eq!(harness.catalog().history(ids[0]).await.expect("history").len(), 4);
}

/// A cursor of nothing is an error.
pub async fn a_foreign_cursor_is_invalid<H: StoreHarness>(harness: &mut H) {
    let cursor = Cursor(Bytes::from_static(b"not a place"));
    let opened = harness.state().open(SHARD, at(10), Some(&cursor), 1).await;
    assert_eq!(opened.expect_err("not of this listing").kind(), ErrorKind::Invalid);
    let filter = dtx_core::store::Filter { cursor: Some(cursor), ..Default::default() };
    let listed = harness.catalog().list(&filter).await;
    assert_eq!(listed.expect_err("not of this listing").kind(), ErrorKind::Invalid);
}
