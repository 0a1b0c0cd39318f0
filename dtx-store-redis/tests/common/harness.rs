//! A store with a key prefix of its own.

use std::{env, fmt::Debug, marker::PhantomData, ops::Deref, sync::Arc, time::Duration};

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

/// A prefix that no other test has. Its keys are removed with it, unless the test failed.
#[derive(Debug)]
pub(crate) struct Fresh(KeyPrefix);

pub(crate) fn prefix() -> Fresh {
    Fresh(KeyPrefix::new(fresh_name()).expect("it is valid"))
}

impl Deref for Fresh {
    type Target = KeyPrefix;

    fn deref(&self) -> &KeyPrefix {
        &self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            remove(&url::<crate::SharedServer>(), &self.0).expect("the server is there");
        }
    }
}

/// Removes the keys of a prefix from a server, or from all of a cluster.
fn remove(url: &str, prefix: &KeyPrefix) -> redis::RedisResult<()> {
    let seed = redis::Client::open(url)?.get_connection_info().clone();
    let mut connection = redis::Client::open(seed.clone())?.get_connection()?;
    // Start, end, and the master with host and port, per range of slots.
    let slots: redis::RedisResult<Vec<Vec<redis::Value>>> =
        redis::cmd("CLUSTER").arg("SLOTS").query(&mut connection);
    let mut nodes = vec![seed.addr().clone()];
    for range in slots.unwrap_or_default() {
        let (host, port): (String, u16) = match range.get(2) {
            Some(redis::Value::Array(master)) => (
                redis::from_redis_value(master[0].clone())?,
                redis::from_redis_value(master[1].clone())?,
            ),
            other => panic!("no master: {other:?}"),
        };
        nodes.push(redis::ConnectionAddr::Tcp(host, port));
    }
    for node in nodes {
        let mut connection = redis::Client::open(seed.clone().set_addr(node))?.get_connection()?;
        // Another prefix may begin with this one.
        let pattern = format!("*{prefix}[:}}]*");
        let found: Vec<Vec<u8>> = redis::cmd("KEYS").arg(pattern).query(&mut connection)?;
        for key in found {
            redis::cmd("UNLINK").arg(key).exec(&mut connection)?;
        }
    }
    Ok(())
}

/// The settings of a test.
pub(crate) fn settings<S: Kind>(prefix: &KeyPrefix) -> RedisSettings {
    let settings = RedisSettings::new(&url::<S>()).expect("it is valid").prefix(prefix.clone());
    settings.batch_writes_max(64).value_bytes_max(1 << 16)
}

#[derive(Debug)]
pub(crate) struct Harness<S> {
    store: RedisStore,
    prefix: Fresh,
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
