//! The one place where the address of a store becomes a store.

use std::{path::Path, sync::Arc};

#[cfg(feature = "postgres")]
use dtx::{PgConfig, PgStore};
use dtx::{
    RedbReader, RedbStore,
    error::{ErrorKind, StoreError},
    ids::TxId,
    store::{Catalog, MemoryStore, ParticipantStore, StateStore, TxRecord},
};
#[cfg(feature = "redis")]
use dtx::{RedisSettings, RedisStore};
#[cfg(any(feature = "postgres", feature = "redis"))]
use dtx_shop::ServerUrl;
use dtx_shop::StoreAddress;

use crate::exit::Failure;

/// A store that this process runs on.
#[derive(Debug)]
pub(crate) enum Opened {
    Memory(MemoryStore),
    Redb(RedbStore),
    #[cfg(feature = "postgres")]
    Postgres(PgStore),
    #[cfg(feature = "redis")]
    Redis(RedisStore),
}

/// Evaluates an expression with the store itself, whose type the rest of the program is generic
/// over.
macro_rules! on {
    ($opened:expr, $store:ident => $work:expr) => {
        match $opened {
            $crate::commands::store::Opened::Memory($store) => $work,
            $crate::commands::store::Opened::Redb($store) => $work,
            #[cfg(feature = "postgres")]
            $crate::commands::store::Opened::Postgres($store) => $work,
            #[cfg(feature = "redis")]
            $crate::commands::store::Opened::Redis($store) => $work,
        }
    };
}
pub(crate) use on;

/// Opens a store to run on it: a file as its owner.
pub(crate) async fn open(address: &StoreAddress) -> Result<Opened, Failure> {
    match address {
        StoreAddress::Memory => Ok(Opened::Memory(MemoryStore::new())),
        StoreAddress::Redb(path) => open_redb(path).await.map(Opened::Redb),
        #[cfg(feature = "postgres")]
        StoreAddress::Postgres(url) => open_postgres(url).await.map(Opened::Postgres),
        #[cfg(not(feature = "postgres"))]
        StoreAddress::Postgres(_) => Err(left_out("postgres")),
        #[cfg(feature = "redis")]
        StoreAddress::Redis(url) => open_redis(url).await.map(Opened::Redis),
        #[cfg(not(feature = "redis"))]
        StoreAddress::Redis(_) => Err(left_out("redis")),
    }
}

impl Opened {
    /// The rows of participants on it, for as long as they are used.
    pub(crate) fn rows(self) -> Arc<dyn ParticipantStore> {
        on!(self, store => Arc::new(store))
    }

    /// Gives the store up.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Redb(store) => store.close().await.map_err(Failure::failed),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => {
                store.close().await;
                Ok(())
            }
            // Its connections end with its last handle.
            #[cfg(feature = "redis")]
            Self::Redis(_) => Ok(()),
        }
    }
}

/// Opens a file as its owner.
pub(crate) async fn open_redb(path: &Path) -> Result<RedbStore, Failure> {
    RedbStore::open(path).await.map_err(|error| {
        if error.kind() == ErrorKind::Busy {
            let text = format!(
                "--store redb:{} is owned by another process; wait for it, or give another file",
                path.display()
            );
            return Failure::busy(text);
        }
        Failure::failed(error)
    })
}

/// The settings for the server that a URL names.
#[cfg(feature = "postgres")]
pub(crate) fn postgres(url: &ServerUrl) -> Result<PgConfig, Failure> {
    PgConfig::from_url(url.expose()).map_err(Failure::usage)
}

#[cfg(feature = "postgres")]
async fn open_postgres(url: &ServerUrl) -> Result<PgStore, Failure> {
    PgStore::connect(postgres(url)?).await.map_err(Failure::failed)
}

/// The store on the server or the cluster that a URL names.
#[cfg(feature = "redis")]
async fn open_redis(url: &ServerUrl) -> Result<RedisStore, Failure> {
    let settings = RedisSettings::new(url.expose()).map_err(Failure::usage)?;
    settings.open().await.map_err(Failure::failed)
}

/// A store that this program was built without.
#[cfg(not(all(feature = "postgres", feature = "redis")))]
pub(crate) fn left_out(feature: &str) -> Failure {
    Failure::usage(format!("this program was built without the feature `{feature}`"))
        .fix(format!("build it with `cargo build --package dtx-cli --features {feature}`"))
}

/// A store that is only looked at: the owner of a file is not disturbed.
#[derive(Debug)]
pub(crate) enum Reader {
    Redb(RedbReader),
    Shared(Opened),
}

/// Opens a store to look at it.
pub(crate) async fn look_at(address: &StoreAddress) -> Result<Reader, Failure> {
    match address {
        StoreAddress::Memory => Err(of_one_process()),
        StoreAddress::Redb(path) => {
            RedbReader::open(path).map(Reader::Redb).map_err(Failure::failed)
        }
        StoreAddress::Postgres(_) | StoreAddress::Redis(_) => {
            open(address).await.map(Reader::Shared)
        }
    }
}

impl Reader {
    /// Its listings.
    pub(crate) fn catalog(&self) -> &dyn Catalog {
        match self {
            Self::Redb(reader) => reader,
            Self::Shared(opened) => on!(opened, store => store),
        }
    }

    /// Newest records.
    pub(crate) async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        match self {
            Self::Redb(reader) => reader.load(ids),
            Self::Shared(opened) => on!(opened, store => StateStore::load(store, ids).await),
        }
    }

    /// The transactions whose rows cannot be read at all. A server has none of these: it keeps
    /// its own pages.
    pub(crate) fn unreadable(&self, limit: usize) -> Result<Vec<TxId>, Failure> {
        match self {
            Self::Redb(reader) => reader.unreadable(limit).map_err(Failure::failed),
            Self::Shared(_) => Ok(Vec::new()),
        }
    }
}

/// A store in memory is nothing to other processes.
pub(crate) fn of_one_process() -> Failure {
    Failure::usage("a memory store is seen by its own process alone")
        .fix("give redb:PATH, postgres://USER@HOST/DATABASE or redis://HOST:PORT")
}
