//! A store in a schema of its own.

use std::{
    env,
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
use sqlx::AssertSqlSafe;

/// The URL of the server.
pub(crate) fn url() -> String {
    let variable = Postgres.variable();
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec postgres -- COMMAND sets it")
    })
}

/// A schema that no other test has.
pub(crate) fn schema() -> SchemaName {
    SchemaName::new(fresh_name()).expect("it is valid")
}

/// The settings of a test.
pub(crate) fn config(schema: &SchemaName) -> PgConfig {
    let config = PgConfig::from_url(&url()).expect("it is valid").schema(schema.clone());
    config.batch_writes_max(64).value_bytes_max(1 << 16).connections_max(4)
}

#[derive(Debug)]
pub(crate) struct PgHarness {
    store: PgStore,
    schema: SchemaName,
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
        let schema = &self.schema;
        self.sql(format!("DROP SCHEMA {schema} CASCADE")).await;
        self.store.close().await;
    }
}
