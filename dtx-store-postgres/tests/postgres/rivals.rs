//! Several processes on one store, as far as they differ from several tasks: each has a pool.

use std::time::Duration;

use dtx_core::{
    ids::{HolderId, Version},
    store::{
        CommitResult, LeaseRequest, ParticipantStore, RowChange, RowExpect, RowKey, RowSet,
        RowWriteResult, Scope, StateStore, Verdict,
    },
};
use dtx_store_postgres::{PgStore, SchemaName};
use dtx_testkit::store::{Pen, committed, one, own, record, tx};
use sqlx::AssertSqlSafe;

use super::harness::{config, schema};

async fn two(schema: &SchemaName) -> (PgStore, PgStore) {
    let first = PgStore::connect(config(schema)).await.expect("it opens");
    (first, PgStore::connect(config(schema)).await.expect("it opens"))
}

/// Waits until a statement of the schema waits for a lock.
async fn until_one_waits(store: &PgStore) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query \
        LIKE '%' || $1 || '%'";
    let end = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let query = sqlx::query_scalar::<_, i64>(waiting).bind(store.schema().as_str());
        if query.fetch_one(store.pool()).await.expect("it answers") > 0 {
            return;
        }
        assert!(std::time::Instant::now() < end, "nothing waits");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_commit_waits_for_a_take_over_that_is_under_way_and_is_fenced_by_it() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    let mut pen = Pen::new(1);
    committed(&one(&first, &pen.accept(tx(1))).await);
    let fence = own(&first, tx(1), 1).await;
    let mut taking = second.pool().begin().await.expect("a transaction");
    let take = format!(
        "UPDATE {schema}.lease SET epoch = epoch + 1, holder = gen_random_uuid() WHERE shard = {}",
        fence.shard
    );
    sqlx::raw_sql(AssertSqlSafe(take)).execute(&mut *taking).await.expect("taken");
    let write = pen.verdict(tx(1), 1, Verdict::Commit, Some(fence));
    let committing = {
        let first = first.clone();
        async move { one(&first, &write).await }
    };
    let committing = tokio::spawn(committing);
    until_one_waits(&second).await;
    taking.commit().await.expect("taken over");
    let result = committing.await.expect("it ends");
    assert!(matches!(result, CommitResult::Fenced), "{result:?}");
    assert_eq!(record(&first, tx(1)).await.version, Version(1));
}

#[tokio::test]
async fn a_take_over_waits_for_a_commit_that_is_under_way() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    let mut pen = Pen::new(1);
    let shard = tx(1).shard(StateStore::info(&first).shards);
    let request = |holder, ttl| LeaseRequest { holder: HolderId(holder), shards: vec![shard], ttl };
    let short = request(1, Duration::ZERO);
    let fence = first.acquire(&short).await.expect("free")[0].fence();
    committed(&one(&first, &pen.accept(tx(1))).await);
    // The commit has locked the lease and waits for the transaction's row.
    let mut holding = second.pool().begin().await.expect("a transaction");
    let hold = format!("SELECT 1 FROM {}.open FOR UPDATE", first.schema());
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *holding).await.expect("locked");
    let write = pen.progress(tx(1), 1, fence);
    let committing = {
        let first = first.clone();
        async move { one(&first, &write).await }
    };
    let committing = tokio::spawn(committing);
    until_one_waits(&second).await;
    let later = request(2, Duration::from_secs(60));
    let taking = {
        let second = second.clone();
        async move { second.acquire(&later).await }
    };
    let taking = tokio::spawn(taking);
    holding.rollback().await.expect("let go");
    assert_eq!(committed(&committing.await.expect("it ends")), 2);
    assert_eq!(taking.await.expect("it ends").expect("granted").len(), 1);
    let late = one(&first, &pen.progress(tx(1), 2, fence)).await;
    assert!(matches!(late, CommitResult::Fenced), "{late:?}");
}

#[tokio::test]
async fn the_same_write_from_two_processes_at_once_is_committed_once_for_both() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    for n in 0..20 {
        let mut pen = Pen::new(1);
        let accept = pen.accept_key(tx(n), "shop", &n.to_string());
        let (one_way, other) = tokio::join!(one(&first, &accept), one(&second, &accept));
        assert_eq!([committed(&one_way), committed(&other)], [1, 1]);
        let signal = pen.signal(tx(n), 1);
        let (one_way, other) = tokio::join!(one(&first, &signal), one(&second, &signal));
        assert_eq!([committed(&one_way), committed(&other)], [2, 2]);
    }
}

#[tokio::test]
async fn of_two_keys_claimed_at_once_one_is_granted_and_the_other_accept_leaves_nothing() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    let (mut a, mut b) = (Pen::new(1), Pen::new(2));
    for n in 0..20 {
        let (left, right) = (tx(2 * n), tx(2 * n + 1));
        let key = n.to_string();
        let (left_write, right_write) =
            (a.accept_key(left, "shop", &key), b.accept_key(right, "shop", &key));
        let results = tokio::join!(one(&first, &left_write), one(&second, &right_write));
        let won = [&results.0, &results.1].map(|r| matches!(r, CommitResult::Committed(_)));
        assert!(won[0] != won[1], "{results:?}");
        let there = first.load(&[left, right]).await.expect("load");
        assert_eq!([there[0].is_some(), there[1].is_some()], won);
    }
}

#[tokio::test]
async fn of_two_that_each_need_the_other_row_to_be_absent_one_wins() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    let key = |name: &str| RowKey(bytes::Bytes::copy_from_slice(name.as_bytes()));
    for round in 0..30 {
        let set = |makes: &str, needs: &str| RowSet {
            scope: Scope::new(format!("s{round}")).expect("valid"),
            changes: vec![RowChange {
                key: key(makes),
                expect: RowExpect::Absent,
                value: Some(bytes::Bytes::from_static(b"v")),
            }],
            unchanged: vec![(key(needs), RowExpect::Absent)],
            not_after: None,
        };
        let (left, right) = ([set("a", "b")], [set("b", "a")]);
        let (left, right) = tokio::join!(
            ParticipantStore::write(&first, &left),
            ParticipantStore::write(&second, &right)
        );
        let won = [&left[0], &right[0]].map(|r| matches!(r, RowWriteResult::Written));
        assert!(won[0] != won[1], "{left:?} {right:?}");
    }
}

#[tokio::test]
async fn batches_that_touch_the_same_transactions_in_other_orders_all_end() {
    let schema = schema();
    let (first, second) = two(&schema).await;
    let mut pen = Pen::new(1);
    let accepts: Vec<_> = (0..40).map(|n| pen.accept(tx(n))).collect();
    first.commit(&accepts).await.iter().for_each(|result| assert_eq!(committed(result), 1));
    for version in 1..=10 {
        let forward: Vec<_> = (0..40).map(|n| pen.signal(tx(n), version)).collect();
        let backward: Vec<_> = (0..40).rev().map(|n| pen.signal(tx(n), version)).collect();
        let (left, mut right) = tokio::join!(first.commit(&forward), second.commit(&backward));
        right.reverse();
        for (left, right) in left.iter().zip(&right) {
            let won = [left, right].map(|r| matches!(r, CommitResult::Committed(_)));
            assert!(won[0] != won[1], "{left:?} {right:?}");
        }
    }
}
