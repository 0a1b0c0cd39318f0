//! Looking at a file that another process may own.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use dtx_core::{
    error::{ErrorKind, StoreError},
    ids::TxId,
    store::{Catalog, Filter, JournalEntry, Page, Purge, TxRecord},
    transaction::Key,
};
use redb::{ConcurrencyMode, DatabaseError, ReadOnlyDatabase};

use crate::{
    builder::{CACHE_BYTES_DEFAULT, snapshot_of},
    error::{NAME, of_open},
    snapshot::Snapshot,
};

/// A file that is only read. Its owner, if it has one, goes on beside it and is not disturbed.
///
/// Each call sees everything that was acknowledged before it, and nothing that an owner has only
/// in memory. Calls read the file where they are made and may block for as long as that takes.
pub struct RedbReader {
    database: ReadOnlyDatabase,
    path: PathBuf,
}

impl fmt::Debug for RedbReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RedbReader {
    /// Opens a file for reading. A file whose owner crashed is repaired first, as its next owner
    /// would do, which needs the right to write it.
    ///
    /// # Errors
    /// `Unavailable` when there is no such file or it cannot be read; `Busy` when it is in use in
    /// a way that excludes readers; `Corrupt` when it is damaged or no store of this kind.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let mut builder = redb::Builder::new();
        builder
            .set_cache_size(CACHE_BYTES_DEFAULT)
            .set_concurrency_mode(ConcurrencyMode::SingleWriter);
        let database = match builder.open_read_only(&path) {
            Err(DatabaseError::RepairAborted) => {
                match builder.open(&path) {
                    // A new owner came first and has repaired it.
                    Ok(_) | Err(DatabaseError::DatabaseAlreadyOpen) => {}
                    Err(error) => return Err(of_open(error, &path)),
                }
                builder.open_read_only(&path)
            }
            other => other,
        };
        let database = database.map_err(|error| of_open(error, &path))?;
        let reader = Self { database, path };
        reader.snapshot("open")?;
        Ok(reader)
    }

    fn snapshot(&self, operation: &'static str) -> Result<Snapshot, StoreError> {
        snapshot_of(&self.database).map_err(|failure| {
            let file = self.path.display();
            failure.of_read(operation).with_context(format!("{file} is no store of dtx"))
        })
    }

    /// The durable records, in order; `None` where there is none.
    ///
    /// # Errors
    /// `Corrupt` when a record cannot be read; `Internal` when the file cannot.
    pub fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.snapshot("load")?.load(ids)
    }

    /// The transactions whose records cannot be read, the newest first: they are quarantined, and
    /// no listing shows them. Looks at every record.
    ///
    /// # Errors
    /// `Internal` when the file cannot be read.
    pub fn unreadable(&self, limit: usize) -> Result<Vec<TxId>, StoreError> {
        self.snapshot("unreadable")?.unreadable(limit)
    }
}

#[async_trait]
impl Catalog for RedbReader {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.snapshot("list")?.list(filter)
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.snapshot("history")?.history(tx)
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.snapshot("by_key")?.by_key(key)
    }

    /// Always `Unsupported`: only the owner forgets.
    async fn purge(&self, _: &Purge) -> Result<u64, StoreError> {
        Err(StoreError::new(ErrorKind::Unsupported, NAME, "purge")
            .with_context("a file that is only read forgets nothing; ask its owner"))
    }
}
