//! Partitions by day: found by id, dropped as a whole, and kept when something of them must stay.

use std::time::Duration;

use dtx_core::{
    error::ErrorKind,
    ids::TxId,
    name::Namespace,
    store::{Catalog, CommitResult, Expect, Purge, RecordKind, StateStore},
    transaction::Key,
};
use dtx_store_postgres::PgStore;
use dtx_testkit::store::{Pen, committed, one, own};
use sqlx::{AssertSqlSafe, Row};

use super::harness::{Fresh, config, schema};

const DAY: Duration = Duration::from_secs(86_400);

/// Some day long ago that has partitions of its own.
const LONG_AGO: i32 = 19_000;

/// The transaction number `n` of a day.
fn tx(day: i32, n: u8) -> TxId {
    TxId::from_parts(u64::from(day.unsigned_abs()) * 86_400_000 + u64::from(n), [n; 10])
}

struct Days {
    store: PgStore,
    pen: Pen,
    _schema: Fresh,
}

impl Days {
    async fn new() -> Self {
        let schema = schema();
        let store = PgStore::connect(config(&schema)).await.expect("it opens");
        let add = format!("SELECT {schema}.add_day_1({LONG_AGO})");
        let days = Self { store, pen: Pen::new(1), _schema: schema };
        days.sql(&add).await;
        days
    }

    async fn sql(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(self.store.pool()).await.expect("it is right");
    }

    async fn count(&self, sql: &str) -> i64 {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
        query.fetch_one(self.store.pool()).await.expect("it is right").get(0)
    }

    async fn accept(&mut self, tx: TxId) {
        let accept = self.pen.accept_key(tx, "shop", &tx.to_string());
        committed(&one(&self.store, &accept).await);
    }

    async fn end(&mut self, tx: TxId) {
        self.accept(tx).await;
        let fence = own(&self.store, tx, 1).await;
        committed(&one(&self.store, &self.pen.finish(tx, 1, fence)).await);
    }

    /// As if everything had ended so long ago.
    async fn age(&self, by: Duration) {
        let schema = self.store.schema();
        let micros = by.as_micros();
        self.sql(&format!("UPDATE {schema}.ended SET written_at = written_at - {micros}")).await;
    }

    async fn purge(&self, key_retention: Duration) -> u64 {
        let purge = Purge { older_than: DAY * 2, key_retention, limit: 100 };
        self.store.purge(&purge).await.expect("purge")
    }

    async fn has_day(&self) -> bool {
        let schema = self.store.schema();
        let sql = format!("SELECT count(to_regclass('{schema}.ended_{LONG_AGO}'))");
        self.count(&sql).await == 1
    }
}

#[tokio::test]
async fn a_day_whose_transactions_have_all_ended_is_dropped_whole_and_its_keys_stay() {
    let mut days = Days::new().await;
    for n in 0..5 {
        days.end(tx(LONG_AGO, n)).await;
    }
    let schema = days.store.schema().clone();
    let there = format!("SELECT count(*) FROM {schema}.ended_{LONG_AGO}");
    assert_eq!(days.count(&there).await, 5, "they are in the partition of their day");
    assert_eq!(days.purge(DAY * 10).await, 0, "they have ended just now");
    assert!(days.has_day().await);

    days.age(DAY * 3).await;
    assert_eq!(days.purge(DAY * 10).await, 5);
    assert!(!days.has_day().await);
    let ids: Vec<_> = (0..5).map(|n| tx(LONG_AGO, n)).collect();
    assert_eq!(days.store.load(&ids).await.expect("load"), vec![None; 5]);
    let namespace = Namespace::new("shop").expect("valid");
    let key = Key { namespace, key: ids[0].to_string() };
    assert_eq!(days.store.by_key(&key).await.expect("by_key"), Some(ids[0]));
    let again = days.pen.accept_key(tx(LONG_AGO, 9), "shop", &ids[0].to_string());
    let again = one(&days.store, &again).await;
    assert!(matches!(again, CommitResult::DuplicateKey { tx } if tx == ids[0]), "{again:?}");

    assert_eq!(days.purge(DAY).await, 0);
    assert_eq!(days.store.by_key(&key).await.expect("by_key"), None, "three days are over one");
}

#[tokio::test]
async fn a_day_with_an_open_transaction_stays_and_the_others_of_it_go_one_by_one() {
    let mut days = Days::new().await;
    days.accept(tx(LONG_AGO, 0)).await;
    days.end(tx(LONG_AGO, 1)).await;
    days.age(DAY * 9).await;
    assert_eq!(days.purge(DAY * 20).await, 1);
    assert!(days.has_day().await);
    let left = days.store.load(&[tx(LONG_AGO, 0), tx(LONG_AGO, 1)]).await.expect("load");
    assert_eq!([left[0].is_some(), left[1].is_some()], [true, false]);
}

#[tokio::test]
async fn what_ended_later_keeps_its_day() {
    let mut days = Days::new().await;
    days.end(tx(LONG_AGO, 0)).await;
    days.age(DAY * 9).await;
    days.end(tx(LONG_AGO, 1)).await;
    assert_eq!(days.purge(DAY * 20).await, 1, "the old one alone");
    assert!(days.has_day().await);
    assert!(days.store.load(&[tx(LONG_AGO, 1)]).await.expect("load")[0].is_some());
}

#[tokio::test]
async fn a_day_in_use_is_not_waited_for() {
    let mut days = Days::new().await;
    days.end(tx(LONG_AGO, 0)).await;
    days.age(DAY * 3).await;
    let schema = days.store.schema().clone();
    let mut reader = days.store.pool().begin().await.expect("a transaction");
    let look = format!("SELECT count(*) FROM {schema}.ended");
    sqlx::query(AssertSqlSafe(look)).fetch_one(&mut *reader).await.expect("counted");
    // It is not dropped; one by one goes beside a reader.
    assert_eq!(days.purge(DAY * 20).await, 1);
    assert!(days.has_day().await);
    reader.commit().await.expect("given up");
    assert_eq!(days.purge(DAY * 20).await, 0);
    assert!(!days.has_day().await, "an empty day goes as well");
}

#[tokio::test]
async fn an_ended_one_that_is_written_again_keeps_its_history_in_its_day() {
    let mut days = Days::new().await;
    days.end(tx(LONG_AGO, 0)).await;
    let id = tx(LONG_AGO, 0);
    let mut clear = days.pen.signal(id, 2);
    clear.due = None;
    assert_eq!(committed(&one(&days.store, &clear).await), 3);
    let mut open = days.pen.signal(id, 3);
    open.expect = Expect::Version(dtx_core::ids::Version(3));
    assert_eq!(committed(&one(&days.store, &open).await), 4);
    let history = days.store.history(id).await.expect("history");
    let kinds: Vec<_> = history.iter().map(|entry| entry.event.clone()).collect();
    let recorded = dtx_core::store::JournalEvent::Recorded;
    let expected =
        [RecordKind::Accepted, RecordKind::Finished, RecordKind::Signal, RecordKind::Signal];
    assert_eq!(kinds, expected.map(recorded));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_corrupt_and_not_another() {
    let mut days = Days::new().await;
    days.accept(tx(LONG_AGO, 0)).await;
    let schema = days.store.schema().clone();
    days.sql(&format!("UPDATE {schema}.open SET summary = '\\xff'::bytea")).await;
    let error = days.store.load(&[tx(LONG_AGO, 0)]).await.expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
