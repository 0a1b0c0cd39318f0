//! The handle.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use dtx_core::{
    error::StoreError,
    ids::{ShardCount, ShardId, TxId},
    store::{Scope, StoreCapabilities, StoreInfo, StoreLimits},
    time::Timestamp,
};
use redis::cmd;

use crate::{
    codec::number,
    durability::{self, Stated},
    error::{Failure, NAME, invalid, unreadable},
    keys::{HASH_TAG_BYTES_MAX, HashTag, Keys},
    link::{COMMITS_AT_ONCE, Link, Request, Timeouts, Writes},
    scripts::{Call, NOW},
    settings::RedisSettings,
    values::{bytes, fields},
};

/// The format of the keys. Raised when an older program could not read a newer store.
const FORMAT: &str = "2";

/// How many scopes a handle remembers as listed already.
const SCOPES_REMEMBERED_MAX: usize = 65_536;

/// The records of coordinators and the rows of participants on a Redis, or on a cluster of them.
/// Clones share the connections.
///
/// # Cancel safety
/// Every method may be dropped at any time; what was sent is done all the same.
#[derive(Clone)]
pub struct RedisStore {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) info: StoreInfo,
    pub(crate) keys: Keys,
    pub(crate) link: Arc<Link>,
    stated: Stated,
    latest: AtomicU64,
    tokens: (u64, AtomicU64),
    listed: Mutex<HashSet<Scope>>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("info", &self.inner.info)
            .field("keys", &self.inner.keys)
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to the default settings for this URL; see [`RedisSettings::new`].
    ///
    /// # Errors
    /// Those of [`RedisSettings::new`] and [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::open(RedisSettings::new(url)?).await
    }

    /// Connects, makes the store if it is not there, and reads what the servers' configuration
    /// makes an acknowledged write survive.
    ///
    /// # Errors
    /// `Unavailable` when no server answers; `Invalid` for a replica, for another format or
    /// number of shards, and for settings that cannot work.
    pub async fn open(settings: RedisSettings) -> Result<Self, StoreError> {
        use_ring();
        let timeouts = Timeouts {
            connect: settings.connect_timeout,
            response: settings.response_timeout,
            replicas: settings.replicas,
            replica: settings.replica_timeout,
        };
        let link = Link::open(settings.connections()?, timeouts).await;
        let link = link.map_err(|failure| failure.of_read("open"))?;
        let nodes = link.nodes().await;
        let stated = durability::state(&nodes).await?;
        for reason in &stated.reasons {
            let survives = stated.durability;
            tracing::warn!(%reason, ?survives, "redis: what is acknowledged may be lost");
        }
        let keys = Keys { prefix: settings.prefix.clone(), tag: None };
        let shards = shards_of(&link, &keys, settings.shards).await?;
        let capabilities = StoreCapabilities { durability: stated.durability, shared: true };
        let limits = StoreLimits {
            batch_writes_max: settings.batch_writes_max,
            value_bytes_max: settings.value_bytes_max,
        };
        let lanes = nodes.len().max(1) * COMMITS_AT_ONCE;
        let info = StoreInfo { name: NAME, capabilities, limits, lanes, shards, opening: None };
        Ok(Self::of(info, keys, Arc::new(link), stated))
    }

    fn of(info: StoreInfo, keys: Keys, link: Arc<Link>, stated: Stated) -> Self {
        let inner = Inner {
            info,
            keys,
            link,
            stated,
            latest: AtomicU64::new(0),
            tokens: (RandomState::new().hash_one(NAME), AtomicU64::new(0)),
            listed: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The same store for participants whose own keys have the hash tag `tag`, as in
    /// `{payment}account:alice`: what it remembers of them is in the slot of these keys, on one
    /// node of a cluster, so that one script can change both. It is another place than that of the
    /// store itself: always take the same one for a participant.
    ///
    /// # Errors
    /// `Invalid` when the tag is empty, over [`HASH_TAG_BYTES_MAX`](crate::HASH_TAG_BYTES_MAX)
    /// bytes, or has a brace.
    pub fn beside(&self, tag: &str) -> Result<Self, StoreError> {
        let Some(tag) = HashTag::new(tag) else {
            let context = format!("tag: give 1 to {HASH_TAG_BYTES_MAX} bytes without braces");
            return Err(invalid("beside", context));
        };
        let Inner { info, keys, link, stated, .. } = &*self.inner;
        let keys = Keys { tag: Some(tag), ..keys.clone() };
        Ok(Self::of(info.clone(), keys, Arc::clone(link), stated.clone()))
    }

    /// What the store says of itself. No I/O.
    pub fn info(&self) -> &StoreInfo {
        &self.inner.info
    }

    /// Why an acknowledged write does not survive the loss of power; empty if it does. As the
    /// configuration was when the store was opened.
    pub fn durability_reasons(&self) -> &[String] {
        &self.inner.stated.reasons
    }

    pub(crate) fn check_shard(
        &self,
        operation: &'static str,
        shard: ShardId,
    ) -> Result<(), StoreError> {
        let shards = self.inner.info.shards.get();
        if shard.0 < shards {
            return Ok(());
        }
        Err(invalid(operation, format!("shard {shard} does not exist; there are {shards}")))
    }

    pub(crate) fn shard_of(&self, tx: TxId) -> ShardId {
        tx.shard(self.inner.info.shards)
    }

    /// A number that no reservation of a key ever had.
    pub(crate) fn token(&self) -> [u8; 16] {
        let (process, count) = &self.inner.tokens;
        let count = count.fetch_add(1, Ordering::Relaxed);
        let mut token = [0; 16];
        token[..8].copy_from_slice(&process.to_be_bytes());
        token[8..].copy_from_slice(&count.to_be_bytes());
        token
    }

    /// The clock of shard 0, and never less than it showed this handle before.
    pub(crate) async fn clock(&self, operation: &'static str) -> Result<Timestamp, StoreError> {
        let place = self.inner.keys.shard(ShardId(0));
        let call = Call::new(&NOW, &place).key(place.key("lease"));
        let answer = self.inner.link.one(call.request(), Writes::No).await;
        let now = answer.and_then(bytes).map_err(|failure| failure.of_read(operation))?;
        let now = number(&now).ok_or_else(|| unreadable(operation, "the clock"))?;
        let before = self.inner.latest.fetch_max(now, Ordering::AcqRel);
        Ok(Timestamp::from_micros(now.max(before)))
    }

    /// Puts scopes into the list of all before they are written to for the first time.
    pub(crate) async fn list_scopes(&self, scopes: BTreeSet<&Scope>) -> Result<(), Failure> {
        let new: Vec<Scope> = {
            let listed = locked(&self.inner.listed);
            scopes.into_iter().filter(|scope| !listed.contains(*scope)).cloned().collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let place = self.inner.keys.scopes();
        let mut command = cmd("ZADD");
        command.arg(place.key(""));
        for scope in &new {
            command.arg(0).arg(scope.as_str());
        }
        self.inner.link.one(Request::new(place.slot, command), Writes::Yes).await?;
        let mut listed = locked(&self.inner.listed);
        if listed.len() + new.len() > SCOPES_REMEMBERED_MAX {
            listed.clear();
        }
        listed.extend(new);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

/// TLS needs a source of its arithmetic: ring, unless the program has chosen another.
fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only when another was chosen meanwhile, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

/// Checks the format and the number of shards of the store, which is made if it is not there.
async fn shards_of(link: &Link, keys: &Keys, wanted: ShardCount) -> Result<ShardCount, StoreError> {
    let place = keys.meta();
    let request = |name: &str, arguments: &[&str]| {
        let mut command = cmd(name);
        command.arg(place.key("")).arg(arguments);
        Request::new(place.slot, command)
    };
    let shards = wanted.get().to_string();
    let mut answer = Ok(redis::Value::Nil);
    for step in [
        request("HSETNX", &["format", FORMAT]),
        request("HSETNX", &["shards", &shards]),
        request("HMGET", &["format", "shards"]),
    ] {
        answer = link.one(step, Writes::No).await;
        if answer.is_err() {
            break;
        }
    }
    let found = answer.and_then(fields).map_err(|failure| failure.of_read("open"))?;
    let [format, shards] =
        <[_; 2]>::try_from(found).map_err(|_| unreadable("open", "the format"))?;
    if format.as_deref() != Some(FORMAT.as_bytes()) {
        return Err(invalid("open", "the store has the format of another version of dtx"));
    }
    let shards = shards.and_then(|text| number(&text)).and_then(|count| u16::try_from(count).ok());
    let shards = shards.and_then(ShardCount::new);
    let shards = shards.ok_or_else(|| unreadable("open", "the number of shards"))?;
    if shards != wanted {
        let (has, wanted) = (shards.get(), wanted.get());
        return Err(invalid("open", format!("the store has {has} shards, not {wanted}")));
    }
    Ok(shards)
}
