//! What is done once, outside of a host.

use std::time::Duration;

use dtx::{Once, PgInbox, error::ErrorKind};
use dtx_testkit::store::tx;

use super::support::{count, store, until};

#[tokio::test]
async fn the_first_that_commits_is_the_only_one() {
    let store = store().await;
    let inbox = PgInbox::on(&store);
    let mut open = store.pool().begin().await.expect("begun");
    assert_eq!(inbox.once(&mut open, tx(1), "pay").await.expect("asked"), Once::First);
    assert_eq!(inbox.once(&mut open, tx(1), "pay").await.expect("asked"), Once::Repeated);
    assert_eq!(inbox.once(&mut open, tx(1), "ship").await.expect("asked"), Once::First);
    assert_eq!(inbox.once(&mut open, tx(2), "pay").await.expect("asked"), Once::First);
    open.rollback().await.expect("nothing was done");
    let mut open = store.pool().begin().await.expect("begun");
    assert_eq!(inbox.once(&mut open, tx(1), "pay").await.expect("asked"), Once::First);
    open.commit().await.expect("done");
    let mut open = store.pool().begin().await.expect("begun");
    assert_eq!(inbox.once(&mut open, tx(1), "pay").await.expect("asked"), Once::Repeated);
}

#[tokio::test]
async fn one_who_comes_meanwhile_waits_for_the_end_of_the_first() {
    for commits in [true, false] {
        let store = store().await;
        let inbox = PgInbox::on(&store);
        let mut first = store.pool().begin().await.expect("begun");
        assert_eq!(inbox.once(&mut first, tx(1), "pay").await.expect("asked"), Once::First);
        let second = {
            let (store, inbox) = (store.clone(), inbox.clone());
            tokio::spawn(async move {
                let mut open = store.pool().begin().await.expect("begun");
                inbox.once(&mut open, tx(1), "pay").await.expect("asked")
            })
        };
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
            query LIKE '%{s}%done_once%'";
        until("it waits", async || count(&store, waiting).await == 1).await;
        if commits {
            first.commit().await.expect("done");
        } else {
            first.rollback().await.expect("undone");
        }
        let expected = if commits { Once::Repeated } else { Once::First };
        assert_eq!(second.await.expect("it ends"), expected);
    }
}

#[tokio::test]
async fn limits_are_kept_and_a_transaction_is_asked_for() {
    let store = store().await;
    let inbox = PgInbox::on(&store);
    let mut open = store.pool().begin().await.expect("begun");
    assert!(inbox.once(&mut open, tx(1), &"o".repeat(256)).await.is_ok());
    for wrong in ["o".repeat(257), String::new(), "\0".to_owned()] {
        let error = inbox.once(&mut open, tx(1), &wrong).await.expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let mut none = store.pool().acquire().await.expect("a connection");
    let error = inbox.once(&mut none, tx(1), "pay").await.expect_err("nothing is open");
    assert!(error.to_string().contains("no open transaction"), "{error}");
}

#[tokio::test]
async fn what_is_old_is_forgotten_in_steps() {
    let store = store().await;
    let inbox = PgInbox::on(&store);
    let mut open = store.pool().begin().await.expect("begun");
    for n in 0..3 {
        inbox.once(&mut open, tx(n), "pay").await.expect("asked");
    }
    open.commit().await.expect("done");
    let hour = Duration::from_secs(3600);
    assert_eq!(inbox.forget(hour, 10).await.expect("asked"), 0, "nothing is so old");
    assert_eq!(inbox.forget(Duration::ZERO, 2).await.expect("asked"), 2);
    assert_eq!(inbox.forget(Duration::ZERO, 2).await.expect("asked"), 1);
}
