//! What others write is told, and only that.

use std::time::Duration;

use dtx_core::store::{Hints, StateStore};
use dtx_store_postgres::PgStore;
use dtx_testkit::store::{Pen, committed, one, own, tx};

use super::harness::{config, schema};

const PATIENCE: Duration = Duration::from_secs(20);

async fn next(hints: &mut dyn Hints) {
    tokio::time::timeout(PATIENCE, hints.next()).await.expect("a hint");
}

/// Those who listen for the schema's hints.
async fn listeners(store: &PgStore) -> Vec<i32> {
    let listening = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' \
        AND query LIKE '%' || $1 || '%'";
    let query = sqlx::query_scalar(listening).bind(store.schema().as_str());
    query.fetch_all(store.pool()).await.expect("it answers")
}

#[tokio::test]
async fn a_write_without_a_lease_is_told_to_everybody_and_that_of_an_owner_to_nobody() {
    let schema = schema();
    let here = PgStore::connect(config(&schema)).await.expect("it opens");
    let there = PgStore::connect(config(&schema)).await.expect("it opens");
    let (mut first, mut second) = (here.hints().expect("hints"), here.hints().expect("hints"));
    // That it listens from now on is a hint too.
    next(&mut *first).await;
    next(&mut *second).await;
    let mut pen = Pen::new(1);
    committed(&one(&there, &pen.accept(tx(1))).await);
    next(&mut *first).await;
    next(&mut *second).await;
    assert_eq!(listeners(&here).await.len(), 1, "one connection for all");
    let fence = own(&there, tx(1), 1).await;
    committed(&one(&there, &pen.progress(tx(1), 1, fence)).await);
    // Notifications keep the order of the commits: the one that is awaited comes after it.
    let (told, channel) = (there.pool().clone(), format!("dtx_{schema}"));
    let mut raw = sqlx::postgres::PgListener::connect_with(&told).await.expect("it listens");
    raw.listen(&channel).await.expect("it listens");
    committed(&one(&there, &pen.progress(tx(1), 2, fence)).await);
    sqlx::query("SELECT pg_notify($1, 'last')").bind(&channel).execute(&told).await.expect("sent");
    let heard = tokio::time::timeout(PATIENCE, raw.recv()).await.expect("in time").expect("heard");
    assert_eq!(heard.payload(), "last", "nothing of the owner's write");
}

#[tokio::test]
async fn a_listener_whose_connection_dies_listens_again() {
    let schema = schema();
    let here = PgStore::connect(config(&schema)).await.expect("it opens");
    let mut hints = here.hints().expect("hints");
    next(&mut *hints).await;
    let before = listeners(&here).await;
    let kill = sqlx::query("SELECT pg_terminate_backend($1)").bind(before[0]);
    kill.execute(here.pool()).await.expect("it is killed");
    // What was written meanwhile may have been missed, so it is a hint that it listens again.
    next(&mut *hints).await;
    committed(&one(&here, &Pen::new(1).accept(tx(1))).await);
    next(&mut *hints).await;
    assert_ne!(listeners(&here).await, before);
}

#[tokio::test]
async fn a_store_that_is_gone_listens_no_longer() {
    let schema = schema();
    let other = PgStore::connect(config(&schema)).await.expect("it opens");
    let here = PgStore::connect(config(&schema)).await.expect("it opens");
    let mut hints = here.hints().expect("hints");
    next(&mut *hints).await;
    drop(here);
    let end = std::time::Instant::now() + PATIENCE;
    while !listeners(&other).await.is_empty() {
        assert!(std::time::Instant::now() < end, "its connection stays");
        tokio::task::yield_now().await;
    }
    let waits = tokio::time::timeout(Duration::from_millis(20), hints.next()).await;
    assert!(waits.is_err(), "nobody is left to tell anything");
}
