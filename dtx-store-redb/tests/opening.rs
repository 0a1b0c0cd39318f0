//! Owners, readers and files.
#![allow(missing_docs)]

use dtx_core::{
    error::{Effect, ErrorKind},
    ids::ShardCount,
    store::{Catalog, CommitResult, Filter, Purge, StateStore},
};
use dtx_store_redb::{RedbReader, RedbStore};
use dtx_testkit::store::{Pen, committed, one, own, record, tx};

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    (directory, path)
}

#[tokio::test]
async fn a_second_owner_is_told_that_the_file_is_busy() {
    let (_directory, path) = file();
    let first = RedbStore::open(&path).await.expect("opens");
    let error = RedbStore::open(&path).await.expect_err("one owner at a time");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("store.redb is owned by another"), "{error}");
    committed(&one(&first, &Pen::new(1).accept(tx(1))).await);
    first.close().await.expect("closes");
    let second = RedbStore::open(&path).await.expect("free now");
    assert_eq!(record(&second, tx(1)).await.tx, tx(1));
    drop(second);
    RedbStore::open(&path).await.expect("dropping the last handle frees it too");
}

#[tokio::test]
async fn the_number_of_shards_is_fixed_when_the_file_is_made() {
    let (_directory, path) = file();
    let eight = ShardCount::new(8).expect("valid");
    let store = RedbStore::builder().shards(eight).open(&path).await.expect("opens");
    store.close().await.expect("closes");
    let other = RedbStore::builder().shards(ShardCount::DEFAULT).open(&path).await;
    let error = other.expect_err("another number");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("shards"), "{error}");
    let same = RedbStore::open(&path).await.expect("takes what the file has");
    assert_eq!(same.info().shards, eight);
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_and_left_alone() {
    let (_directory, path) = file();
    std::fs::write(&path, b"order,amount\n1,2\n").expect("writes");
    RedbStore::open(&path).await.expect_err("no store");
    RedbReader::open(&path).expect_err("no store");
    assert_eq!(std::fs::read(&path).expect("reads"), b"order,amount\n1,2\n");
    let missing = RedbReader::open(path.with_extension("none")).expect_err("no file");
    assert_eq!(missing.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn readers_follow_the_owner() {
    let (_directory, path) = file();
    let (owner, mut pen) = (RedbStore::open(&path).await.expect("opens"), Pen::new(1));
    let reader = RedbReader::open(&path).expect("beside the owner");
    assert_eq!(reader.load(&[tx(1)]).expect("load"), [None]);
    let accept = pen.accept_key(tx(1), "shop", "a");
    committed(&one(&owner, &accept).await);
    let fence = own(&owner, tx(1), 1).await;
    committed(&one(&owner, &pen.finish(tx(1), 1, fence)).await);
    let seen = reader.load(&[tx(1)]).expect("load").remove(0);
    assert_eq!(seen, Some(record(&owner, tx(1)).await));
    assert_eq!(reader.list(&Filter::default()).await.expect("list").items.len(), 1);
    assert_eq!(reader.history(tx(1)).await.expect("history").len(), 2);
    let key = accept.key.expect("has a key");
    assert_eq!(reader.by_key(&key).await.expect("by_key"), Some(tx(1)));
    let purge = Purge {
        older_than: std::time::Duration::ZERO,
        key_retention: std::time::Duration::ZERO,
        limit: 1,
    };
    let refused = reader.purge(&purge).await.expect_err("only read");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    owner.close().await.expect("closes beside a reader");
    assert!(reader.load(&[tx(1)]).expect("load")[0].is_some());
    drop(reader);
    assert!(RedbReader::open(&path).expect("without an owner").load(&[tx(1)]).is_ok());
}

#[tokio::test]
async fn a_closed_store_says_so_everywhere() {
    let (_directory, path) = file();
    let store = RedbStore::open(&path).await.expect("opens");
    let clone = store.clone();
    store.close().await.expect("closes");
    let result = one(&clone, &Pen::new(1).accept(tx(1))).await;
    let CommitResult::Failed(error) = result else { panic!("taken: {result:?}") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::None));
    assert_eq!(clone.load(&[tx(1)]).await.expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(clone.renew(&[]).await.expect_err("closed").kind(), ErrorKind::Closed);
    let listed = clone.list(&Filter::default()).await;
    assert_eq!(listed.expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(clone.close().await.expect_err("closed").kind(), ErrorKind::Closed);
}

/// A record whose bytes are damaged is named, and everything else goes on.
#[tokio::test]
async fn an_unreadable_record_stops_nothing_else() {
    const OPEN: redb::TableDefinition<'static, &[u8; 16], &[u8]> =
        redb::TableDefinition::new("open");
    let (_directory, path) = file();
    let (store, mut pen) = (RedbStore::open(&path).await.expect("opens"), Pen::new(1));
    for n in 1..=3 {
        committed(&one(&store, &pen.accept(tx(n))).await);
    }
    store.close().await.expect("closes");
    let database = redb::Database::open(&path).expect("opens");
    let transaction = database.begin_write().expect("begins");
    for (n, bytes) in [(2, &[9_u8, 1, 2][..]), (3, &[1, 200][..])] {
        let mut open = transaction.open_table(OPEN).expect("opens");
        open.insert(tx(n).as_bytes(), bytes).expect("inserts");
    }
    transaction.commit().expect("commits");
    drop(database);

    let store = RedbStore::open(&path).await.expect("opens all the same");
    for n in [2, 3] {
        let error = store.load(&[tx(n)]).await.expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(&tx(n).to_string()), "{error}");
    }
    let results = store.commit(&[pen.signal(tx(2), 1), pen.signal(tx(1), 1)]).await;
    let CommitResult::Failed(error) = &results[0] else { panic!("taken: {results:?}") };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::None));
    assert_eq!(committed(&results[1]), 2);
    let listed = store.list(&Filter::default()).await.expect("list");
    assert_eq!(listed.items.iter().map(|row| row.tx).collect::<Vec<_>>(), [tx(1)]);
    for shard in store.info().shards.shards() {
        store.open(shard, dtx_core::time::Timestamp::MAX, None, 10).await.expect("open");
    }
}

/// With room for one call the others wait for a place, and all are answered.
#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let (_directory, path) = file();
    let store = RedbStore::builder().queue_calls_max(1).open(&path).await.expect("opens");
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        calls.spawn(async move { one(&store, &Pen::new(n.into()).accept(tx(n))).await });
    }
    assert!(calls.join_all().await.iter().all(|result| committed(result) == 1));
}
