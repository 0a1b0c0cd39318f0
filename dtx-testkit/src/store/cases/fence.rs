//! Fencing: only the newest lease of a shard, exactly, may write.

use std::time::Duration;

use dtx_core::{
    error::ErrorKind,
    ids::{Epoch, HolderId, ShardId, Version},
    store::{CommitResult, Fence, Lease, LeaseRequest, StateStore},
};

use super::commit::failure;
use crate::store::{Pen, StoreHarness, committed, one, own, record, tx};

const SHORT: Duration = Duration::from_millis(20);

async fn short_lease(store: &dyn StateStore, holder: u128) -> Lease {
    let shards = vec![tx(1).shard(store.info().shards)];
    let request = LeaseRequest { holder: HolderId(holder), shards, ttl: SHORT };
    store.acquire(&request).await.expect("acquire").remove(0)
}

/// After a take-over the old owner's writes are refused and the new owner's are taken.
pub async fn a_taken_over_owner_is_fenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let old = short_lease(&*store, 1).await.fence();
    harness.pass(SHORT).await;
    let new = own(&*store, tx(1), 2).await;
    assert!(new.epoch > old.epoch);
    let stale = one(&*store, &pen.progress(tx(1), 1, old)).await;
    assert!(matches!(stale, CommitResult::Fenced), "{stale:?}");
    assert_eq!(record(&*store, tx(1)).await.version, Version(1));
    assert_eq!(committed(&one(&*store, &pen.progress(tx(1), 1, new)).await), 2);
}

/// The right epoch under another holder's name, and another epoch, are refused.
pub async fn another_holder_is_fenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let fence = own(&*store, tx(1), 1).await;
    let forged = [
        Fence { holder: HolderId(2), ..fence },
        Fence { epoch: Epoch(fence.epoch.0 + 1), ..fence },
        Fence { epoch: Epoch(fence.epoch.0 - 1), ..fence },
    ];
    for forged in forged {
        let result = one(&*store, &pen.progress(tx(1), 1, forged)).await;
        assert!(matches!(result, CommitResult::Fenced), "{result:?}");
    }
    assert_eq!(record(&*store, tx(1)).await.version, Version(1));
}

/// Where nobody ever had a lease, no fence is the newest.
pub async fn a_shard_without_a_lease_is_fenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    for epoch in 0..2 {
        let shard = tx(1).shard(store.info().shards);
        let fence = Fence { shard, holder: HolderId(1), epoch: Epoch(epoch) };
        let result = one(&*store, &pen.progress(tx(1), 1, fence)).await;
        assert!(matches!(result, CommitResult::Fenced), "{result:?}");
    }
}

/// A stale owner is told that it lost the shard, not that it should read again.
pub async fn a_stale_owner_is_fenced_before_its_version_counts<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let old = short_lease(&*store, 1).await.fence();
    harness.pass(SHORT).await;
    own(&*store, tx(1), 2).await;
    let result = one(&*store, &pen.progress(tx(1), 9, old)).await;
    assert!(matches!(result, CommitResult::Fenced), "{result:?}");
}

/// Safety rests on the epoch: an ended lease that nobody took still writes.
pub async fn an_ended_lease_writes_until_it_is_taken<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let fence = short_lease(&*store, 1).await.fence();
    harness.pass(SHORT * 2).await;
    assert_eq!(committed(&one(&*store, &pen.progress(tx(1), 1, fence)).await), 2);
}

/// Who gave a lease back does not write any more, also before another has it.
pub async fn a_lease_given_back_is_fenced<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let lease = short_lease(&*store, 1).await;
    store.release(std::slice::from_ref(&lease)).await.expect("release");
    let result = one(&*store, &pen.progress(tx(1), 1, lease.fence())).await;
    assert!(matches!(result, CommitResult::Fenced), "{result:?}");
}

/// A lease of one shard proves nothing about a transaction of another.
pub async fn a_fence_of_another_shard_is_invalid<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let shards = store.info().shards;
    let other = ShardId((tx(1).shard(shards).0 + 1) % shards.get());
    let ttl = Duration::from_secs(60);
    let request = LeaseRequest { holder: HolderId(1), shards: vec![other], ttl };
    let fence = store.acquire(&request).await.expect("acquire")[0].fence();
    let result = one(&*store, &pen.progress(tx(1), 1, fence)).await;
    assert_eq!(failure(&result), ErrorKind::Invalid);
    assert_eq!(record(&*store, tx(1)).await.version, Version(1));
}

/// The write that made the row is `Committed` for ever, also when its writer lost the shard.
pub async fn a_repeat_after_a_take_over_is_committed<H: StoreHarness>(harness: &mut H) {
    let (store, mut pen) = (harness.state(), Pen::new(1));
    committed(&one(&*store, &pen.accept(tx(1))).await);
    let old = short_lease(&*store, 1).await.fence();
    let write = pen.progress(tx(1), 1, old);
    assert_eq!(committed(&one(&*store, &write).await), 2);
    harness.pass(SHORT).await;
    own(&*store, tx(1), 2).await;
    assert_eq!(committed(&one(&*store, &write).await), 2);
    assert_eq!(record(&*store, tx(1)).await.version, Version(2));
}
