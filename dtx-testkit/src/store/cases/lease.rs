//! Leases, on the store's clock.

use std::time::Duration;

use dtx_core::{
    error::ErrorKind,
    ids::{Epoch, HolderId, ShardId},
    store::{Lease, LeaseRequest, StateStore},
};

use crate::store::StoreHarness;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

async fn take(store: &dyn StateStore, holder: u128, shards: &[u16], ttl: Duration) -> Vec<Lease> {
    let shards = shards.iter().copied().map(ShardId).collect();
    let request = LeaseRequest { holder: HolderId(holder), shards, ttl };
    store.acquire(&request).await.expect("acquire")
}

/// A shard has one owner at a time.
pub async fn a_free_shard_is_granted_to_one<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let granted = take(&*store, 1, &[0], LONG).await;
    assert_eq!(granted.len(), 1);
    let lease = &granted[0];
    assert_eq!((lease.shard, lease.holder, lease.ttl), (ShardId(0), HolderId(1), LONG));
    assert!(lease.epoch > Epoch(0));
    assert!(take(&*store, 2, &[0], LONG).await.is_empty());
}

/// Taking a shard that one has already changes nothing but its end.
pub async fn the_holder_keeps_its_epoch<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let first = take(&*store, 1, &[0], SHORT).await;
    let again = take(&*store, 1, &[0], LONG).await;
    assert_eq!(again[0].epoch, first[0].epoch);
    harness.pass(SHORT).await;
    assert!(take(&*store, 2, &[0], LONG).await.is_empty(), "the longer time counts");
}

/// Another holder gets the shard as soon as the lease has ended there.
pub async fn a_lease_ends_on_the_stores_clock<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    take(&*store, 1, &[0], SHORT).await;
    harness.pass(SHORT).await;
    assert_eq!(take(&*store, 2, &[0], LONG).await.len(), 1);
}

/// Each new grant has a higher epoch than every one before it, however the last one ended.
pub async fn epochs_strictly_increase<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let mut last = Epoch(0);
    for round in 0..6_u128 {
        let lease = take(&*store, 1 + round % 2, &[0], SHORT).await.remove(0);
        assert!(lease.epoch > last, "{lease:?} after {last}");
        last = lease.epoch;
        if round % 3 == 0 {
            store.release(&[lease]).await.expect("release");
        } else {
            harness.pass(SHORT).await;
        }
    }
}

/// A renewed lease lasts its time from the renewal on.
pub async fn renewing_prolongs<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let mut lease = take(&*store, 1, &[0], SHORT).await.remove(0);
    lease.ttl = LONG;
    let renewed = store.renew(std::slice::from_ref(&lease)).await.expect("renew");
    assert_eq!(renewed, [lease]);
    harness.pass(SHORT * 2).await;
    assert!(take(&*store, 2, &[0], LONG).await.is_empty());
}

/// What another holder has got, and what was given back, is not renewed; the rest is.
pub async fn a_lost_lease_is_not_renewed<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let leases = take(&*store, 1, &[0, 1, 2], SHORT).await;
    harness.pass(SHORT).await;
    take(&*store, 2, &[0], LONG).await;
    store.release(&leases[1..2]).await.expect("release");
    let renewed = store.renew(&leases).await.expect("renew");
    assert_eq!(renewed, leases[2..]);
}

/// A shard that was given back is free before the lease would have ended; twice is no error.
pub async fn giving_back_frees_at_once<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let leases = take(&*store, 1, &[0], LONG).await;
    for _ in 0..2 {
        store.release(&leases).await.expect("release");
    }
    assert_eq!(take(&*store, 2, &[0], LONG).await.len(), 1);
}

/// A late release does not end the lease of the next owner.
pub async fn giving_back_a_lost_lease_does_nothing<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let old = take(&*store, 1, &[0], SHORT).await;
    harness.pass(SHORT).await;
    take(&*store, 2, &[0], LONG).await;
    store.release(&old).await.expect("release");
    assert!(take(&*store, 3, &[0], LONG).await.is_empty());
}

/// Of many wanted shards the answer holds those that were free.
pub async fn only_what_was_granted_is_answered<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    take(&*store, 1, &[1], LONG).await;
    let granted = take(&*store, 2, &[0, 1, 2], LONG).await;
    let shards: Vec<_> = granted.iter().map(|lease| lease.shard).collect();
    assert_eq!(shards, [ShardId(0), ShardId(2)]);
    assert!(take(&*store, 2, &[], LONG).await.is_empty());
}

/// A shard that the store does not have is an error, not an empty answer.
pub async fn an_unknown_shard_is_invalid<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    let shards = vec![ShardId(store.info().shards.get())];
    let request = LeaseRequest { holder: HolderId(1), shards, ttl: LONG };
    let error = store.acquire(&request).await.expect_err("there is no such shard");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
