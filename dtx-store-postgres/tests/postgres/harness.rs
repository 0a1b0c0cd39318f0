//! A store in a schema of its own.

use std::{
    env, fmt,
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dtx_core::store::{Catalog, ParticipantStore, StateStore};
use dtx_store_postgres::{PgConfig, PgStore, SchemaName};
use dtx_testkit::{
    servers::{Postgres, Service},
    store::{StoreHarness, fresh_name, wait},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The URL of the server.
pub(crate) fn url() -> String {
    let variable = Postgres.variable();
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec postgres -- COMMAND sets it")
    })
}

/// An empty folder for a server of one test alone.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    std::fs::create_dir_all(&folder).expect("it is made");
    folder
}

/// A schema that no other test has. It is dropped with this value, unless the test failed.
#[derive(Debug)]
pub(crate) struct Fresh(SchemaName);

pub(crate) fn schema() -> Fresh {
    Fresh(SchemaName::new(fresh_name()).expect("it is valid"))
}

impl Deref for Fresh {
    type Target = SchemaName;

    fn deref(&self) -> &SchemaName {
        &self.0
    }
}

impl fmt::Display for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let drop = format!("SET lock_timeout = '2s'; DROP SCHEMA IF EXISTS {} CASCADE", self.0);
        // The runtime of the test cannot be waited for here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("it starts").block_on(async {
                let mut connection = PgConnection::connect(&url()).await?;
                sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await
            })
        });
        // A transaction that the test left open keeps its schema.
        if let Err(error) = dropping.join().expect("it does not panic") {
            println!("{} stays: {error}", self.0);
        }
    }
}

/// The settings of a test.
pub(crate) fn config(schema: &SchemaName) -> PgConfig {
    let config = PgConfig::from_url(&url()).expect("it is valid").schema(schema.clone());
    config.batch_writes_max(64).value_bytes_max(1 << 16).connections_max(4)
}

#[derive(Debug)]
pub(crate) struct PgHarness {
    store: PgStore,
    schema: Fresh,
    /// By how much the clock of the schema was moved, in microseconds.
    moved: AtomicU64,
}

impl PgHarness {
    async fn sql(&self, sql: String) {
        let query = sqlx::raw_sql(AssertSqlSafe(sql));
        query.execute(self.store.pool()).await.expect("it is right");
    }
}

#[async_trait]
impl StoreHarness for PgHarness {
    async fn open() -> Self {
        let schema = schema();
        let store = PgStore::connect(config(&schema)).await.expect("it opens");
        Self { store, schema, moved: AtomicU64::new(0) }
    }

    fn state(&self) -> Arc<dyn StateStore> {
        Arc::new(self.store.clone())
    }

    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(self.store.clone())
    }

    fn participants(&self) -> Arc<dyn ParticipantStore> {
        Arc::new(self.store.clone())
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = PgStore::connect(config(&self.schema)).await.expect("it opens again");
    }

    async fn pass(&self, by: Duration) {
        wait(&self.store, by).await;
    }

    /// The clock is a function of the schema, which this schema alone has.
    async fn jump(&self, by: Duration) -> bool {
        let by = u64::try_from(by.as_micros()).expect("it is not that long");
        let moved = self.moved.fetch_add(by, Ordering::Relaxed) + by;
        let schema = &self.schema;
        self.sql(format!(
            "CREATE OR REPLACE FUNCTION {schema}.now_us() RETURNS bigint LANGUAGE sql VOLATILE AS
             $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + {moved} $$"
        ))
        .await;
        true
    }

    async fn close(self) {
        self.store.close().await;
    }
}
