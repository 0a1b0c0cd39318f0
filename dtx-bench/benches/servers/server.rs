//! The servers, and stores on them that are made and forgotten.

use std::{
    env, fmt, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dtx::coordinator::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::time::{Instant, sleep_until};

/// How long it is waited before the server is asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        })
    }
}

impl Kind {
    /// The variable with the URL of the server.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "DTX_TEST_POSTGRES_URL",
            Self::Redis => "DTX_TEST_REDIS_URL",
        }
    }
}

/// A server that is there.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    url: String,
    stores: AtomicU64,
}

impl Server {
    /// The one that the environment names.
    pub(crate) fn named(kind: Kind) -> Option<Self> {
        let url = env::var(kind.variable()).ok()?;
        Some(Self { kind, url, stores: AtomicU64::new(0) })
    }

    /// A name that no other store on the server has.
    pub(crate) fn name(&self) -> String {
        format!("bench_{}_{}", process::id(), self.stores.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens the store of this name, which is made if it is new.
    pub(crate) async fn open(&self, name: &str) -> Arc<dyn Store> {
        let mark = if self.url.contains('?') { '&' } else { '?' };
        let setting = match self.kind {
            Kind::Postgres => "schema",
            Kind::Redis => "prefix",
        };
        dtx::open_store(&format!("{}{mark}{setting}={name}", self.url)).await.unwrap()
    }

    /// Removes all of a store.
    pub(crate) async fn forget(&self, name: &str) {
        match self.kind {
            Kind::Postgres => self.sql(&format!("DROP SCHEMA {name} CASCADE")).await,
            Kind::Redis => self.forget_keys(&format!("{{{name}:*")).await,
        }
    }

    async fn forget_keys(&self, pattern: &str) {
        let mut connection = self.redis().await;
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(5_000);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                scan.query_async(&mut connection).await.unwrap();
            if !keys.is_empty() {
                redis::cmd("UNLINK").arg(keys).exec_async(&mut connection).await.unwrap();
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }

    pub(crate) async fn postgres(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// Runs statements of this benchmark's own.
    pub(crate) async fn sql(&self, text: &str) {
        let mut connection = self.postgres().await;
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// Makes the server do now what it would do some time after much was written, so that it does
    /// not do it in some window.
    pub(crate) async fn settle(&self, name: &str) {
        if self.kind == Kind::Postgres {
            for table in ["head", "open", "ended", "journal"] {
                self.sql(&format!("VACUUM (ANALYZE) {name}.{table}")).await;
            }
            self.sql("CHECKPOINT").await;
        }
    }

    /// How many pages the server has touched in this database, in its cache or not. Waits until
    /// those who have left have told theirs.
    pub(crate) async fn pages(&self) -> i64 {
        let mut connection = self.postgres().await;
        loop {
            let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dtx'";
            let row = sqlx::query(left).fetch_one(&mut connection).await.unwrap();
            if row.get::<i64, _>(0) == 0 {
                break;
            }
            sleep_until(Instant::now() + AGAIN).await;
        }
        let touched = "SELECT blks_hit + blks_read FROM pg_stat_database \
            WHERE datname = current_database()";
        sqlx::query(touched).fetch_one(&mut connection).await.unwrap().get(0)
    }
}
