//! Stores and transports by their address, for programs that are told at run time what to use.

use std::sync::Arc;

use dtx_core::{
    error::{StoreError, TransportError},
    store::MemoryStore,
    transport::Transport,
};
use dtx_runtime::coordinator::Store;
use thiserror::Error;

/// What an address names, when it is no store or no transport, or cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing is written so. Only the scheme is shown: the rest may hold a password.
    #[error("{scheme:?} is no {what}; give {known}")]
    Scheme {
        /// `store` or `transport`.
        what: &'static str,
        /// What the address begins with.
        scheme: String,
        /// The forms that there are.
        known: &'static str,
    },
    /// This program was built without it.
    #[error("{what} {scheme:?} needs the feature `{feature}` of the crate dtx; build with it")]
    Feature {
        /// `store` or `transport`.
        what: &'static str,
        /// What the address begins with.
        scheme: &'static str,
        /// The feature that is missing.
        feature: &'static str,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The transport cannot be opened.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

const STORES: &str = "memory, redb:PATH, postgres://.., redis://.. or rediss://..";
const TRANSPORTS: &str = "inmem, kafka://.., kafkas://.., nats://.. or tls://..";

/// Opens the store that an address names: `memory`, `redb:PATH`, `postgres://USER@HOST/DATABASE`,
/// `redis://HOST:PORT` or `rediss://HOST:PORT`.
///
/// ```
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use dtx::prelude::*;
///
/// let store = dtx::open_store("memory").await?;
/// let transport = dtx::open_transport("inmem").await?;
/// let dtx = Dtx::builder().shared_store(store).shared_transport(transport);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`OpenError`]; it names the feature that is missing where this program was built without the
/// store.
///
/// # Cancel safety
/// As the `open` of the store itself.
pub async fn open_store(address: &str) -> Result<Arc<dyn Store>, OpenError> {
    match split(address) {
        ("memory", "") => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "redb")]
        ("redb", path) => Ok(Arc::new(dtx_store_redb::RedbStore::open(path).await?)),
        #[cfg(not(feature = "redb"))]
        ("redb", _) => Err(missing("store", "redb", "redb")),
        #[cfg(feature = "postgres")]
        ("postgres" | "postgresql", _) => {
            let config = dtx_store_postgres::PgConfig::from_url(address)?;
            Ok(Arc::new(dtx_store_postgres::PgStore::connect(config).await?))
        }
        #[cfg(not(feature = "postgres"))]
        ("postgres" | "postgresql", _) => Err(missing("store", "postgres", "postgres")),
        #[cfg(feature = "redis")]
        ("redis" | "rediss", _) => {
            Ok(Arc::new(dtx_store_redis::RedisStore::connect(address).await?))
        }
        #[cfg(not(feature = "redis"))]
        ("redis" | "rediss", _) => Err(missing("store", "redis", "redis")),
        (scheme, _) => Err(unknown("store", scheme, STORES)),
    }
}

/// Opens the transport that an address names: `inmem`, inside of this process, or
/// `kafka://HOST:PORT` (`kafkas://` with TLS) or
/// `nats://[USER:PASSWORD@]HOST[:PORT][?prefix=NAME]` (`tls://` with TLS).
///
/// # Errors
/// [`OpenError`]; it names the feature that is missing where this program was built without the
/// transport.
///
/// # Cancel safety
/// As the `connect` of the transport itself.
pub async fn open_transport(address: &str) -> Result<Arc<dyn Transport>, OpenError> {
    match split(address) {
        #[cfg(feature = "inmem")]
        ("inmem", "") => Ok(Arc::new(dtx_transport_inmem::InMemoryTransport::new())),
        #[cfg(not(feature = "inmem"))]
        ("inmem", "") => Err(missing("transport", "inmem", "inmem")),
        #[cfg(feature = "kafka")]
        ("kafka" | "kafkas", _) => {
            let settings = dtx_transport_kafka::KafkaSettings::new(address)?;
            Ok(Arc::new(settings.connect().await?))
        }
        #[cfg(not(feature = "kafka"))]
        ("kafka" | "kafkas", _) => Err(missing("transport", "kafka", "kafka")),
        #[cfg(feature = "nats")]
        ("nats" | "tls", _) => {
            let settings = dtx_transport_nats::NatsSettings::new(address)?;
            Ok(Arc::new(dtx_transport_nats::NatsTransport::connect(settings).await?))
        }
        #[cfg(not(feature = "nats"))]
        ("nats" | "tls", _) => Err(missing("transport", "nats", "nats")),
        (scheme, _) => Err(unknown("transport", scheme, TRANSPORTS)),
    }
}

/// The scheme of an address, and what follows its colon.
fn split(address: &str) -> (&str, &str) {
    address.split_once(':').unwrap_or((address, ""))
}

#[cfg(not(all(
    feature = "redb",
    feature = "postgres",
    feature = "redis",
    feature = "inmem",
    feature = "kafka",
    feature = "nats"
)))]
fn missing(what: &'static str, scheme: &'static str, feature: &'static str) -> OpenError {
    OpenError::Feature { what, scheme, feature }
}

fn unknown(what: &'static str, scheme: &str, known: &'static str) -> OpenError {
    OpenError::Scheme { what, scheme: scheme.chars().take(32).collect(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(address: &str) -> String {
        let store = open_store(address).await.expect_err(address).to_string();
        let transport = open_transport(address).await.expect_err(address).to_string();
        format!("{store}\n{transport}")
    }

    #[tokio::test]
    async fn what_is_no_address_is_told_without_its_password() {
        for address in ["", "memori", "postgre://ann:s3cret@h", "http://ann:s3cret@h"] {
            let error = refused(address).await;
            assert!(error.contains("is no store; give memory, redb:PATH"), "{error}");
            assert!(error.contains("is no transport; give inmem"), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_store_opens_by_its_name() {
        let store = open_store("memory").await.expect("it opens");
        assert_eq!(dtx_core::store::StateStore::info(store.as_ref()).name, "memory");
    }

    #[cfg(not(feature = "postgres"))]
    #[tokio::test]
    async fn a_missing_feature_is_named() {
        let error = open_store("postgres://ann:s3cret@h/d").await.expect_err("it is missing");
        let expected =
            "store \"postgres\" needs the feature `postgres` of the crate dtx; build with it";
        assert_eq!(error.to_string(), expected);
    }

    #[cfg(not(feature = "nats"))]
    #[tokio::test]
    async fn a_missing_feature_of_a_transport_is_named() {
        let error = open_transport("tls://ann:s3cret@h").await.expect_err("it is missing");
        let expected =
            "transport \"nats\" needs the feature `nats` of the crate dtx; build with it";
        assert_eq!(error.to_string(), expected);
    }
}
