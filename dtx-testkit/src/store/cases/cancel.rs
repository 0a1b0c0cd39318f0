//! Callers that go away at every point at which they could: a call that was dropped is done or
//! not done, never in between, and the next one works.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    ids::HolderId,
    store::{CommitResult, Filter, LeaseRequest, Purge, RowExpect, ScopeRead, StateStore},
    time::Timestamp,
};

use super::rows::{change, key, make, read, scope, set, write, written};
use crate::{
    cancel::{at_every_poll, drop_after_polls},
    store::{Pen, StoreHarness, committed, one, own, record, tx},
};

/// More polls than any call needs.
const POLLS_MAX: usize = 10_000;

/// A dropped batch leaves whole rows or none, and the same ids again settle it, once.
pub async fn a_commit_dropped_at_any_point_is_whole_or_not_there<H: StoreHarness>(harness: &mut H) {
    let (store, catalog) = (harness.state(), harness.catalog());
    at_every_poll(POLLS_MAX, |polls| {
        let (store, catalog) = (store.clone(), catalog.clone());
        async move {
            let n = 10 * polls as u64;
            let mut pen = Pen::new(1 + polls as u128);
            let batch = [
                pen.accept_key(tx(n), "shop", &format!("k{n}")),
                pen.accept_key(tx(n + 1), "shop", &format!("k{}", n + 1)),
            ];
            let results = drop_after_polls(store.commit(&batch), polls).await;
            for write in &batch {
                // Read first, so that what lands in between is seen by the later reads too.
                if let Some(row) = store.load(&[write.tx]).await.expect("load").remove(0) {
                    assert_eq!((row.version.0, &row.state), (1, &write.state));
                    let key = write.key.as_ref().expect("it has one");
                    assert_eq!(catalog.by_key(key).await.expect("by_key"), Some(write.tx));
                }
                assert_eq!(committed(&one(&*store, write).await), 1);
                assert_eq!(catalog.history(write.tx).await.expect("history").len(), 1);
            }
            results.is_some()
        }
    })
    .await;
}

/// A dropped set of rows is there wholly or not at all.
pub async fn a_write_of_rows_dropped_at_any_point_is_whole_or_not_there<H: StoreHarness>(
    harness: &mut H,
) {
    let store = harness.participants();
    at_every_poll(POLLS_MAX, |polls| {
        let store = store.clone();
        async move {
            let name = format!("s{polls}");
            let both = ["a", "b"].map(|row| change(row, RowExpect::Absent, Some("v")));
            let sets = [set(&name, both.into())];
            let results = drop_after_polls(store.write(&sets), polls).await;
            let keys = vec![key(b"a"), key(b"b")];
            let reads = [ScopeRead { scope: scope(&name), keys }];
            let rows = store.read(&reads).await.expect("read").remove(0).rows;
            assert_eq!(rows[0].is_some(), rows[1].is_some(), "after {polls} polls: {rows:?}");
            write(&*store, sets[0].clone()).await;
            assert!(read(&*store, &name, "a").await.is_some());
            assert!(read(&*store, &name, "b").await.is_some());
            results.is_some()
        }
    })
    .await;
}

/// Whether or not a dropped `acquire` was granted, its holder can ask again and write.
pub async fn a_lease_asked_for_by_one_who_went_is_his_or_free<H: StoreHarness>(harness: &mut H) {
    let store = harness.state();
    at_every_poll(POLLS_MAX, |polls| {
        let store = store.clone();
        async move {
            let n = polls as u64;
            let mut pen = Pen::new(1 + polls as u128);
            committed(&one(&*store, &pen.accept(tx(n))).await);
            let shards = vec![tx(n).shard(store.info().shards)];
            let ttl = Duration::from_secs(60);
            let request = LeaseRequest { holder: HolderId(7), shards, ttl };
            let granted = drop_after_polls(store.acquire(&request), polls).await;
            let fence = own(&*store, tx(n), 7).await;
            committed(&one(&*store, &pen.progress(tx(n), 1, fence)).await);
            let leases = store.acquire(&request).await.expect("acquire");
            drop_after_polls(store.renew(&leases), polls).await;
            drop_after_polls(store.release(&leases), polls).await;
            store.release(&leases).await.expect("release");
            let late = one(&*store, &pen.progress(tx(n), 2, fence)).await;
            assert!(matches!(late, CommitResult::Fenced), "{late:?}");
            let other = own(&*store, tx(n), 8).await;
            assert!(other.epoch > fence.epoch);
            let leases = store.acquire(&LeaseRequest { holder: HolderId(8), ..request }).await;
            store.release(&leases.expect("acquire")).await.expect("release");
            granted.is_some()
        }
    })
    .await;
}

/// Asking and going away changes nothing and holds nothing up.
pub async fn a_dropped_question_changes_nothing<H: StoreHarness>(harness: &mut H) {
    let (store, catalog, rows) = (harness.state(), harness.catalog(), harness.participants());
    let accept = Pen::new(1).accept_key(tx(1), "shop", "k");
    committed(&one(&*store, &accept).await);
    written(&write(&*rows, make("s", "r", "v")).await);
    let before = record(&*store, tx(1)).await;
    let key = accept.key.clone().expect("it has one");
    at_every_poll(POLLS_MAX, |polls| {
        let (store, catalog, rows) = (store.clone(), catalog.clone(), rows.clone());
        let (before, key) = (before.clone(), key.clone());
        async move {
            let all = [
                drop_after_polls(store.now(), polls).await.is_some(),
                drop_after_polls(store.load(&[tx(1)]), polls).await.is_some(),
                drop_after_polls(open_page(&store), polls).await.is_some(),
                drop_after_polls(catalog.list(&Filter::default()), polls).await.is_some(),
                drop_after_polls(catalog.history(tx(1)), polls).await.is_some(),
                drop_after_polls(catalog.by_key(&key), polls).await.is_some(),
                drop_after_polls(read(&*rows, "s", "r"), polls).await.is_some(),
                drop_after_polls(rows.scan(&scope("s"), b"", None, 1), polls).await.is_some(),
                drop_after_polls(rows.scopes("", None, 1), polls).await.is_some(),
            ];
            assert_eq!(record(&*store, tx(1)).await, before);
            assert!(read(&*rows, "s", "r").await.is_some());
            all.iter().all(|is_ready| *is_ready)
        }
    })
    .await;
}

async fn open_page(store: &Arc<dyn StateStore>) -> usize {
    let shard = tx(1).shard(store.info().shards);
    store.open(shard, Timestamp::MAX, None, 1).await.expect("open").records.len()
}

/// What a dropped `purge` was to forget is there with its whole history, or gone with it.
pub async fn a_dropped_purge_forgets_whole_transactions<H: StoreHarness>(harness: &mut H) {
    let (store, catalog) = (harness.state(), harness.catalog());
    at_every_poll(POLLS_MAX, |polls| {
        let (store, catalog) = (store.clone(), catalog.clone());
        async move {
            let n = polls as u64;
            let mut pen = Pen::new(1 + polls as u128);
            committed(&one(&*store, &pen.accept_key(tx(n), "shop", &format!("k{n}"))).await);
            let fence = own(&*store, tx(n), 1).await;
            committed(&one(&*store, &pen.finish(tx(n), 1, fence)).await);
            let purge = Purge {
                older_than: Duration::ZERO,
                key_retention: Duration::from_secs(3_600),
                limit: 10,
            };
            let purged = drop_after_polls(catalog.purge(&purge), polls).await;
            let history = catalog.history(tx(n)).await.expect("history").len();
            match store.load(&[tx(n)]).await.expect("load").remove(0) {
                Some(_) => assert_eq!(history, 2, "after {polls} polls"),
                // It may have gone after its history was read.
                None => assert!(history == 0 || history == 2, "after {polls} polls"),
            }
            catalog.purge(&purge).await.expect("purge");
            assert!(store.load(&[tx(n)]).await.expect("load")[0].is_none());
            assert!(catalog.history(tx(n)).await.expect("history").is_empty());
            purged.is_some()
        }
    })
    .await;
}
