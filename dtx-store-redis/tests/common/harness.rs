//! A store with a key prefix of its own.

use std::{env, fmt::Debug, marker::PhantomData, sync::Arc, time::Duration};

use async_trait::async_trait;
use dtx_core::store::{Catalog, ParticipantStore, StateStore};
use dtx_store_redis::{KeyPrefix, RedisSettings, RedisStore};
use dtx_testkit::{
    servers::Service,
    store::{StoreHarness, fresh_name, wait},
};

/// A service that tests can name as a type.
pub(crate) trait Kind: Service + Default + Debug + 'static {}
impl<S: Service + Default + Debug + 'static> Kind for S {}

/// The URL of the server.
pub(crate) fn url<S: Kind>() -> String {
    let service = S::default();
    let (variable, name) = (service.variable(), service.name());
    env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: cargo xtask services exec {name} -- COMMAND sets it")
    })
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> KeyPrefix {
    KeyPrefix::new(fresh_name()).expect("it is valid")
}

/// The settings of a test.
pub(crate) fn settings<S: Kind>(prefix: &KeyPrefix) -> RedisSettings {
    let settings = RedisSettings::new(&url::<S>()).expect("it is valid").prefix(prefix.clone());
    settings.batch_writes_max(64).value_bytes_max(1 << 16)
}

#[derive(Debug)]
pub(crate) struct Harness<S> {
    store: RedisStore,
    prefix: KeyPrefix,
    service: PhantomData<S>,
}

#[async_trait]
impl<S: Kind> StoreHarness for Harness<S> {
    async fn open() -> Self {
        let prefix = prefix();
        let store = settings::<S>(&prefix).open().await.expect("it opens");
        Self { store, prefix, service: PhantomData }
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
        self.store = settings::<S>(&self.prefix).open().await.expect("it opens again");
    }

    async fn pass(&self, by: Duration) {
        wait(&self.store, by).await;
    }
}
