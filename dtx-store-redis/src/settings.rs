//! Where the servers are and how they are used.

use std::{fmt, time::Duration};

use dtx_core::{error::StoreError, ids::ShardCount};
use redis::{Client, ConnectionAddr, ConnectionInfo, TlsCertificates};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{
    error::{invalid, unusable},
    keys::KeyPrefix,
    store::RedisStore,
};

/// The default of how long a connection may take to be made.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The default of how long an answer may take.
pub const RESPONSE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// The default of the most writes, or row sets, in one call.
pub const BATCH_WRITES_MAX_DEFAULT: usize = 1024;
/// The default size of the largest definition, state or row, in bytes.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// The default of how long replicas may take to confirm, where that is asked for.
pub const REPLICA_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);

/// The settings of a [`RedisStore`]. `Debug` shows no secret.
#[derive(Clone)]
pub struct RedisSettings {
    pub(crate) seeds: Vec<ConnectionInfo>,
    root: Option<Vec<u8>>,
    pub(crate) prefix: KeyPrefix,
    pub(crate) shards: ShardCount,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    pub(crate) batch_writes_max: usize,
    pub(crate) value_bytes_max: usize,
    pub(crate) replicas: u32,
    pub(crate) replica_timeout: Duration,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seeds: Vec<_> = self.seeds.iter().map(|seed| seed.addr().to_string()).collect();
        f.debug_struct("RedisSettings")
            .field("seeds", &seeds)
            .field("own_root_certificate", &self.root.is_some())
            .field("prefix", &self.prefix)
            .field("shards", &self.shards)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("batch_writes_max", &self.batch_writes_max)
            .field("value_bytes_max", &self.value_bytes_max)
            .field("replicas", &self.replicas)
            .field("replica_timeout", &self.replica_timeout)
            .finish()
    }
}

impl RedisSettings {
    /// The defaults, for the server or the cluster that this URL leads to:
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS, whose certificate
    /// must be of a known authority and of this host. Of a cluster one node is enough.
    /// `?prefix=NAME` is [`prefix`](Self::prefix).
    ///
    /// # Errors
    /// `Invalid` for a text that is no such URL. The text is not repeated: it may have a password.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            seeds: vec![seed(url)?],
            root: None,
            prefix: prefix_of(url)?,
            shards: ShardCount::DEFAULT,
            connect_timeout: CONNECT_TIMEOUT_DEFAULT,
            response_timeout: RESPONSE_TIMEOUT_DEFAULT,
            batch_writes_max: BATCH_WRITES_MAX_DEFAULT,
            value_bytes_max: VALUE_BYTES_MAX_DEFAULT,
            replicas: 0,
            replica_timeout: REPLICA_TIMEOUT_DEFAULT,
        })
    }

    /// One more node of the cluster to ask when the store is opened.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn node(mut self, url: &str) -> Result<Self, StoreError> {
        self.seeds.push(seed(url)?);
        Ok(self)
    }

    /// Trusts only this authority (PEM) under `rediss://`, instead of those of the system.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root = Some(pem.into());
        self
    }

    /// What all keys begin with. Default `dtx`.
    #[must_use]
    pub fn prefix(mut self, prefix: KeyPrefix) -> Self {
        self.prefix = prefix;
        self
    }

    /// How many shards the store has: fixed when it is made, another number is refused. Default 64.
    #[must_use]
    pub fn shards(mut self, shards: ShardCount) -> Self {
        self.shards = shards;
        self
    }

    /// How long a connection may take to be made. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer may take; after that the effect of the call is unknown. Default 5 s.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// The most writes, or row sets, in one call, at least 1. One script takes them, during which
    /// its node does nothing else. Default 1,024.
    #[must_use]
    pub fn batch_writes_max(mut self, writes: usize) -> Self {
        self.batch_writes_max = writes.max(1);
        self
    }

    /// The largest definition, state or row, in bytes. Default 1 MiB.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.value_bytes_max = bytes;
        self
    }

    /// How many replicas must confirm every write (`WAIT`), on a connection of its own. It makes
    /// the loss of acknowledged writes in a failover rarer, not impossible, so it raises no
    /// durability. Default 0: nothing is asked.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// How long they may take; after that the effect of the call is unknown. Default 1 s.
    #[must_use]
    pub fn replica_timeout(mut self, timeout: Duration) -> Self {
        self.replica_timeout = timeout;
        self
    }

    /// Opens the store; see [`RedisStore::open`].
    ///
    /// # Errors
    /// Those of [`RedisStore::open`].
    pub async fn open(self) -> Result<RedisStore, StoreError> {
        RedisStore::open(self).await
    }

    /// The seeds, with our own authority if there is one.
    pub(crate) fn connections(&self) -> Result<Vec<ConnectionInfo>, StoreError> {
        if let Some(pem) = &self.root {
            let mut found = CertificateDer::pem_slice_iter(pem);
            if !matches!(found.next(), Some(Ok(_))) {
                return Err(invalid("open", "the root certificate is no certificate in PEM"));
            }
        }
        let with_root = |seed: &ConnectionInfo| {
            let certificates = TlsCertificates { client_tls: None, root_cert: self.root.clone() };
            match (seed.addr(), &self.root) {
                (ConnectionAddr::TcpTls { .. }, Some(_)) => {
                    let client = Client::build_with_tls(seed.clone(), certificates);
                    client.map(|client| client.get_connection_info().clone())
                }
                _ => Ok(seed.clone()),
            }
        };
        self.seeds.iter().map(with_root).collect::<Result<_, _>>().map_err(|e| unusable("open", e))
    }
}

/// The prefix that a URL names.
fn prefix_of(url: &str) -> Result<KeyPrefix, StoreError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    let mut values = query.split('&').filter_map(|pair| pair.strip_prefix("prefix="));
    match values.next() {
        None => Ok(KeyPrefix::default()),
        Some(prefix) => KeyPrefix::new(prefix).map_err(|error| invalid("open", error.to_string())),
    }
}

/// Where a URL leads.
fn seed(url: &str) -> Result<ConnectionInfo, StoreError> {
    let client = Client::open(url).map_err(|error| unusable("open", error))?;
    let seed = client.get_connection_info().clone();
    match seed.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            Err(invalid("open", "a connection that checks no certificate is not offered"))
        }
        _ => Ok(seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let settings =
            RedisSettings::new("rediss://user:hunter2@example.org:7000/0").expect("good");
        let shown = format!("{settings:?}");
        assert!(shown.contains("example.org:7000") && !shown.contains("hunter2"), "{shown}");
        let error = RedisSettings::new("redisx://user:hunter2@example.org").expect_err("no such");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_url_may_name_the_prefix() {
        let prefix = |url: &str| RedisSettings::new(url).map(|settings| settings.prefix);
        assert_eq!(prefix("redis://h:1").expect("good"), KeyPrefix::default());
        let shop = KeyPrefix::new("shop").expect("valid");
        assert_eq!(prefix("redis://h:1/2?protocol=resp3&prefix=shop").expect("good"), shop);
        assert!(prefix("redis://h:1?prefix=").is_err());
    }

    #[test]
    fn certificates_are_always_checked() {
        assert!(RedisSettings::new("rediss://example.org/#insecure").is_err());
    }
}
