//! Writes that land late, and owners that lose their shard while they write.

use std::time::Duration;

use dtx_core::{
    ids::{Epoch, HolderId},
    store::{CommitResult, LeaseRequest, Purge, RowExpect, RowWriteResult},
};

use super::rows::{change, make, read, set, write, written};
use crate::store::{Pen, StoreHarness, committed, harness::jump, one, own, record, tx};

const SHORT: Duration = Duration::from_millis(20);

/// How often the owner of a race writes at the most.
const WRITES_MAX: u64 = 2_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A write that an owner sent and that lands after the take-over changes nothing.
pub async fn a_late_landing_write_is_fenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let old = own(&*store, tx(1), 1).await;
    let batch = [pen.progress(tx(1), 1, old)];
    // Made now, carried out later: what a delay between the caller and the store does.
    let landing = store.commit(&batch);
    let lost = store.acquire(&request(old.holder, &*store)).await.expect("acquire");
    store.release(&lost).await.expect("release");
    let new = own(&*store, tx(1), 2).await;
    let taken = pen.progress(tx(1), 1, new);
    assert_eq!(committed(&one(&*store, &taken).await), 2);
    let late = landing.await.remove(0);
    assert!(matches!(late, CommitResult::Fenced), "{late:?}");
    assert_eq!(record(&*store, tx(1)).await.last_write, taken.id);
}

fn request(holder: HolderId, store: &dyn dtx_core::store::StateStore) -> LeaseRequest {
    let shards = vec![tx(1).shard(store.info().shards)];
    LeaseRequest { holder, shards, ttl: Duration::from_secs(60) }
}

/// An unfenced write that lands after another one has taken its version is a conflict.
pub async fn a_late_landing_signal_conflicts<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let batch = [pen.signal(tx(1), 1)];
    let landing = store.commit(&batch);
    let first = pen.signal(tx(1), 1);
    assert_eq!(committed(&one(&*store, &first).await), 2);
    let late = landing.await.remove(0);
    assert!(matches!(late, CommitResult::Conflict { .. }), "{late:?}");
    assert_eq!(record(&*store, tx(1)).await.last_write, first.id);
}

/// The same for the rows of participants.
pub async fn a_late_landing_set_of_rows_conflicts<H: StoreHarness>(harness: &mut H) {
    let store = harness.participants();
    written(&write(&*store, make("s", "r", "one")).await);
    let first = read(&*store, "s", "r").await.expect("made").version;
    let update = |value| set("s", vec![change("r", RowExpect::Version(first), Some(value))]);
    let late = [update("late")];
    let landing = store.write(&late);
    written(&write(&*store, update("two")).await);
    let late = landing.await.remove(0);
    assert!(matches!(late, RowWriteResult::Conflict), "{late:?}");
    assert_eq!(&read(&*store, "s", "r").await.expect("there").value[..], b"two");
}

/// An owner writes on and on while others take its shard. Nothing of it is committed after the
/// take-over was granted, and nothing that was committed is lost.
pub async fn an_owner_is_fenced_against_a_concurrent_take_over<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let mut pen = Pen::new(1);
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let mut last = Epoch(0);
    for round in 0..8_u128 {
        let mut wish = request(HolderId(10 + round), &*store);
        wish.ttl = SHORT;
        let lease = store.acquire(&wish).await.expect("acquire").remove(0);
        assert!(lease.epoch > last);
        let version = record(&*store, tx(1)).await.version.0;
        let (writing, fence) = (store.clone(), lease.fence());
        let writer = tokio::spawn(async move {
            let mut pen = Pen::new(1_000 + round);
            for version in version..version + WRITES_MAX {
                match one(&*writing, &pen.progress(tx(1), version, fence)).await {
                    CommitResult::Committed(next) => assert_eq!(next.0, version + 1),
                    CommitResult::Fenced => return version,
                    other => panic!("an owner alone on its shard: {other:?}"),
                }
                tokio::task::yield_now().await;
            }
            panic!("it wrote {WRITES_MAX} times and was never fenced")
        });
        // Some writes first; then the lease ends and another one asks until it is granted.
        while !writer.is_finished() && record(&*store, tx(1)).await.version.0 < version + 3 {
            tokio::task::yield_now().await;
        }
        harness.pass(SHORT).await;
        let next = request(HolderId(100 + round), &*store);
        let taken = store.acquire(&next).await.expect("acquire").remove(0);
        let at_take_over = record(&*store, tx(1)).await;
        let reached = writer.await.expect("no panic");
        assert_eq!(at_take_over.version.0, reached, "a write was committed after the take-over");
        assert_eq!(record(&*store, tx(1)).await, at_take_over);
        last = taken.epoch;
        store.release(&[taken]).await.expect("release");
    }
}

/// A lease of a day holds for a day, and no longer.
pub async fn a_lease_of_a_day_ends_after_a_day<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let long = LeaseRequest { ttl: DAY, ..request(HolderId(1), &*store) };
    assert_eq!(store.acquire(&long).await.expect("acquire").len(), 1);
    let name = "a_lease_of_a_day_ends_after_a_day";
    if jump(harness, name, DAY - Duration::from_secs(60)).await {
        let other = request(HolderId(2), &*store);
        assert!(store.acquire(&other).await.expect("acquire").is_empty());
        jump(harness, name, Duration::from_secs(60)).await;
        assert_eq!(store.acquire(&other).await.expect("acquire").len(), 1);
    }
}

/// A key that is kept for days is refused for days.
pub async fn a_key_is_kept_for_its_days<H: StoreHarness>(harness: &mut H) {
    let (store, catalog, mut pen) = (harness.state(), harness.catalog(), Pen::new(1));
    committed(&one(&*store, &pen.accept_key(tx(1), "shop", "k")).await);
    let fence = own(&*store, tx(1), 1).await;
    committed(&one(&*store, &pen.finish(tx(1), 1, fence)).await);
    let name = "a_key_is_kept_for_its_days";
    let purge = Purge { older_than: DAY, key_retention: 30 * DAY, limit: 10 };
    if !jump(harness, name, DAY).await {
        return;
    }
    assert_eq!(catalog.purge(&purge).await.expect("purge"), 1);
    jump(harness, name, 28 * DAY).await;
    catalog.purge(&purge).await.expect("purge");
    let again = one(&*store, &pen.accept_key(tx(2), "shop", "k")).await;
    assert!(matches!(again, CommitResult::DuplicateKey { .. }), "{again:?}");
    jump(harness, name, DAY).await;
    catalog.purge(&purge).await.expect("purge");
    committed(&one(&*store, &pen.accept_key(tx(2), "shop", "k")).await);
}
