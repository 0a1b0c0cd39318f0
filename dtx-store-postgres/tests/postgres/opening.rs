//! Opening: what is refused, what is kept, and what is said of the server.

use std::time::Duration;

use dtx_core::{
    error::{Effect, ErrorKind},
    ids::ShardCount,
    store::{Durability, StateStore},
};
use dtx_store_postgres::{PgConfig, PgStore, migrations};
use sqlx::{AssertSqlSafe, Row};

use super::harness::{config, schema, url};

#[tokio::test]
async fn a_new_store_says_what_it_survives_and_keeps_its_shards() {
    let schema = schema();
    let eight = ShardCount::new(8).expect("valid");
    let store = PgStore::connect(config(&schema).shards(eight)).await.expect("it opens");
    assert_eq!(StateStore::info(&store).capabilities.durability, Durability::PowerLoss);
    assert!(StateStore::info(&store).capabilities.shared);
    assert_eq!(StateStore::info(&store).lanes, 4);
    assert!(!store.report().standby && store.report().max_prepared_transactions > 0);
    let again = PgStore::connect(config(&schema)).await.expect("it opens again");
    assert_eq!(StateStore::info(&again).shards, eight);
    let other = config(&schema).shards(ShardCount::DEFAULT);
    let error = PgStore::connect(other).await.expect_err("it has another number");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("the store has 8"), "{error}");
}

#[tokio::test]
async fn a_pool_of_the_callers_is_taken_with_its_settings() {
    let pool = sqlx::PgPool::connect_lazy(&format!("{}?options=-csynchronous_commit%3Doff", url()));
    let schema = schema();
    let store = PgStore::from_pool(pool.expect("valid"), config(&schema)).await.expect("opens");
    assert_eq!(StateStore::info(&store).capabilities.durability, Durability::Nothing);
    assert!(store.report().warnings()[0].contains("synchronous_commit is off"));
    store.now().await.expect("it answers");
}

#[tokio::test]
async fn tables_are_made_only_when_that_is_allowed() {
    let schema = schema();
    let error = PgStore::connect(config(&schema).migrate(false)).await.expect_err("no tables");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("dtx migrate"), "{error}");
    let steps = migrations(&schema);
    assert_eq!(PgStore::migrate(config(&schema)).await.expect("made"), steps);
    assert_eq!(PgStore::migrate(config(&schema)).await.expect("nothing is left"), []);
    PgStore::connect(config(&schema).migrate(false)).await.expect("it opens");
}

#[tokio::test]
async fn printed_steps_applied_by_hand_make_the_same_tables() {
    let schema = schema();
    let pool = sqlx::PgPool::connect_lazy(&url()).expect("valid");
    for step in migrations(&schema) {
        sqlx::raw_sql(AssertSqlSafe(step.sql)).execute(&pool).await.expect(step.title);
    }
    PgStore::connect(config(&schema).migrate(false)).await.expect("it opens");
}

#[tokio::test]
async fn tables_of_a_newer_release_are_left_alone() {
    let schema = schema();
    let store = PgStore::connect(config(&schema)).await.expect("it opens");
    let newer = format!("INSERT INTO {schema}.migration (number, title) VALUES (999, 'newer')");
    sqlx::raw_sql(AssertSqlSafe(newer)).execute(store.pool()).await.expect("written");
    for migrate in [true, false] {
        let opened = PgStore::connect(config(&schema).migrate(migrate)).await;
        assert_eq!(opened.expect_err("it is newer").kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn many_that_open_at_once_make_the_tables_once() {
    let schema = schema();
    let mut openers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        openers.spawn(PgStore::connect(config(&schema)));
    }
    for opened in openers.join_all().await {
        opened.expect("it opens");
    }
    let store = PgStore::connect(config(&schema)).await.expect("it opens");
    let days = "SELECT count(*) FROM pg_class WHERE relnamespace = $1::regnamespace AND relname ~ \
        '^ended_[0-9]+$' AND relkind = 'r'";
    let row = sqlx::query(days).bind(schema.as_str()).fetch_one(store.pool()).await;
    assert_eq!(row.expect("counted").get::<i64, _>(0), 4, "today and three days");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_an_error_that_says_why() {
    let nobody = PgConfig::from_url("postgres://ann:s3cret@127.0.0.1:1/d").expect("valid");
    let error = PgStore::connect(nobody).await.expect_err("nobody listens");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    let database = url().replace("/postgres", "/no_such_database");
    let error = PgStore::connect(PgConfig::from_url(&database).expect("valid")).await;
    let error = error.expect_err("there is no such database");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let secure = format!("{}?sslmode=verify-full", url());
    let error = PgStore::connect(PgConfig::from_url(&secure).expect("valid")).await;
    let error = error.expect_err("the server has no TLS");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
}

#[tokio::test]
async fn a_call_ends_at_its_time_out_and_the_store_goes_on() {
    let schema = schema();
    let wait = Duration::from_millis(300);
    let store = PgStore::connect(config(&schema).call_timeout(wait)).await.expect("it opens");
    let mut other = store.pool().begin().await.expect("a transaction");
    let lock = format!("LOCK TABLE {schema}.lease IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *other).await.expect("locked");
    let request = dtx_core::store::LeaseRequest {
        holder: dtx_core::ids::HolderId(1),
        shards: vec![dtx_core::ids::ShardId(0)],
        ttl: Duration::from_secs(60),
    };
    let error = store.acquire(&request).await.expect_err("it is locked");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
    other.rollback().await.expect("given up");
    assert_eq!(store.acquire(&request).await.expect("free again").len(), 1);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let schema = schema();
    let store = PgStore::connect(config(&schema)).await.expect("it opens");
    store.close().await;
    let error = store.now().await.expect_err("it is closed");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::None));
}
