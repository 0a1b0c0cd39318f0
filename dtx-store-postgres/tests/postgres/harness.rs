//! A store in a schema of its own.

use std::{
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dtx_core::store::{Catalog, ParticipantStore, StateStore};
use dtx_store_postgres::{PgConfig, PgStore, SchemaName};
use dtx_testkit::{
    servers::{Postgres, Service},
    store::StoreHarness,
};
use uuid::Uuid;

/// The URL of the server.
pub(crate) fn url() -> String {
    let variable = Postgres.variable();
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec postgres -- COMMAND sets it")
    })
}

/// A schema that no other test has.
pub(crate) fn schema() -> SchemaName {
    SchemaName::new(format!("t_{}", Uuid::new_v4().simple())).expect("it is valid")
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
}

#[async_trait]
impl StoreHarness for PgHarness {
    async fn open() -> Self {
        let schema = schema();
        let store = PgStore::connect(config(&schema)).await.expect("it opens");
        Self { store, schema }
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
        let clock = self.store.now().await.expect("it answers");
        let end = Instant::now() + by + Duration::from_secs(20);
        while self.store.now().await.expect("it answers") < clock + by {
            assert!(Instant::now() < end, "the server's clock stands still");
            tokio::task::yield_now().await;
        }
    }
}
