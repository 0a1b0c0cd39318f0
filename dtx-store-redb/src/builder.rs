//! Opening a file as its owner.

use std::{
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use dtx_core::{
    crash_point,
    error::{Effect, ErrorKind, StoreError},
    ids::{Epoch, HolderId, ShardCount, ShardId, Version},
    store::{
        Clock, Durability, LeaseTable, StoreCapabilities, StoreInfo, StoreLimits, SystemClock,
    },
    time::Timestamp,
};
use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable};
use tokio::sync::{mpsc, oneshot};

use crate::{
    codec::{framed_value, read_framed_value},
    error::{Failure, NAME, closed, invalid, of_open},
    snapshot::Snapshot,
    store::RedbStore,
    tables::{
        DUE, FINISHED, FORGOTTEN, HEADS, JOURNAL, KEYS, LEASES, META, META_FORMAT, META_PROGRESS,
        OPEN, ROWS,
    },
    writer::{Shared, Writer},
};

/// The default size of the page cache, in bytes.
pub const CACHE_BYTES_DEFAULT: usize = 64 << 20;
/// The default of the most writes, or row sets, in one call and in one transaction of the file.
pub const BATCH_WRITES_MAX_DEFAULT: usize = 4096;
/// The default size of the largest definition, state or row, in bytes.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 1 << 20;
/// The default of how many calls wait for the writer before further ones wait for a place.
pub const QUEUE_CALLS_MAX_DEFAULT: usize = 4096;

/// The format of the tables. Raised when an older program could not read a newer file.
const TABLES_FORMAT: u16 = 1;

/// The settings of a [`RedbStore`].
#[derive(Clone, Debug)]
pub struct RedbStoreBuilder {
    shards: Option<ShardCount>,
    cache_bytes: usize,
    limits: StoreLimits,
    queue_calls_max: usize,
    clock: Option<Arc<dyn Clock>>,
}

impl Default for RedbStoreBuilder {
    fn default() -> Self {
        Self {
            shards: None,
            cache_bytes: CACHE_BYTES_DEFAULT,
            limits: StoreLimits {
                batch_writes_max: BATCH_WRITES_MAX_DEFAULT,
                value_bytes_max: VALUE_BYTES_MAX_DEFAULT,
            },
            queue_calls_max: QUEUE_CALLS_MAX_DEFAULT,
            clock: None,
        }
    }
}

impl RedbStoreBuilder {
    /// How many shards a new file has; [`ShardCount::DEFAULT`] if not given. A file keeps its
    /// number: opening it with another one fails.
    #[must_use]
    pub fn shards(mut self, shards: ShardCount) -> Self {
        self.shards = Some(shards);
        self
    }

    /// How much memory the page cache takes at the most, in bytes.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// The most writes, or row sets, in one call; the writer also takes about this many into
    /// one transaction of the file. At least 1.
    #[must_use]
    pub fn batch_writes_max(mut self, writes: usize) -> Self {
        self.limits.batch_writes_max = writes.max(1);
        self
    }

    /// The largest definition, state or row, in bytes.
    #[must_use]
    pub fn value_bytes_max(mut self, bytes: usize) -> Self {
        self.limits.value_bytes_max = bytes;
        self
    }

    /// How many calls wait for the writer; further ones wait for a place. At least 1.
    #[must_use]
    pub fn queue_calls_max(mut self, calls: usize) -> Self {
        self.queue_calls_max = calls.max(1);
        self
    }

    /// The clock; that of the machine if not given. The store never shows less than it showed
    /// before it was last closed, whatever the clock says.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens a file as its owner, and makes it if there is none. All leases of earlier openings
    /// have ended then. After a crash the whole file is checked first.
    ///
    /// # Errors
    /// `Busy` when it has an owner already, in this process or another; `Invalid` when it has
    /// another number of shards than was asked for; `Corrupt` when it cannot be read;
    /// `Unsupported` when its format is newer than this program; `Unavailable` when the file
    /// system refuses.
    ///
    /// # Cancel safety
    /// Dropping the future gives the file up again.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<RedbStore, StoreError> {
        let path = path.as_ref().to_owned();
        let file = path.clone();
        let (jobs, queue) = mpsc::channel(self.queue_calls_max);
        let (opened, opening) = oneshot::channel();
        // Opening may check the whole file, so it is done where blocking harms nobody.
        let thread = std::thread::Builder::new().name("dtx-redb-writer".into()).spawn(move || {
            let (shared, writer) = match open_file(&self, path) {
                Ok(parts) => parts,
                Err(error) => {
                    let _ = opened.send(Err(error));
                    return;
                }
            };
            if opened.send(Ok(shared)).is_ok() {
                writer.run(queue);
            }
        });
        let thread = thread.map_err(|error| {
            StoreError::new(ErrorKind::Unavailable, NAME, "open").with_source(error)
        })?;
        let shared = opening.await.map_err(|_| closed("open", Effect::None))??;
        RedbStore::start(shared, jobs, thread, &file)
    }
}

/// Never shows less than the file recorded.
#[derive(Debug)]
pub(crate) struct StoreClock {
    clock: Arc<dyn Clock>,
    floor: Timestamp,
}

impl StoreClock {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().max(self.floor)
    }
}

struct Stored {
    shards: ShardCount,
    clock: Timestamp,
    deleted: Version,
    leases: LeaseTable,
}

fn open_file(
    builder: &RedbStoreBuilder,
    path: PathBuf,
) -> Result<(Arc<Shared>, Writer), StoreError> {
    let database =
        open_database(builder.cache_bytes, &path).map_err(|error| of_open(error, &path))?;
    crash_point!("redb.open.locked");
    let read = |failure: Failure| failure.of_read("open");
    let stored = match read_stored(&database).map_err(read)? {
        Some(stored) => stored?,
        None => make(&database, builder.shards.unwrap_or(ShardCount::DEFAULT)).map_err(read)?,
    };
    if builder.shards.is_some_and(|shards| shards != stored.shards) {
        let (file, has) = (path.display(), stored.shards.get());
        return Err(invalid("open", format!("shards: {file} has {has}, and they are fixed")));
    }
    crash_point!("redb.open.read");
    let clock =
        builder.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::starting_at(stored.clock)));
    let snapshot = snapshot_of(&database).map_err(read)?;
    let hash = |half: u64| RandomState::new().hash_one(half);
    let shared = Arc::new(Shared {
        info: StoreInfo {
            name: NAME,
            capabilities: StoreCapabilities { durability: Durability::PowerLoss, shared: false },
            limits: builder.limits.clone(),
            lanes: 1,
            shards: stored.shards,
            opening: Some(HolderId(u128::from(hash(0)) << 64 | u128::from(hash(1)))),
        },
        snapshot: Mutex::new(Some(Arc::new(snapshot))),
        leases: Mutex::new(stored.leases),
        clock: StoreClock { clock, floor: stored.clock },
    });
    Ok((shared.clone(), Writer::new(database, shared, stored.deleted)))
}

fn open_database(cache_bytes: usize, path: &Path) -> Result<Database, redb::DatabaseError> {
    redb::Builder::new()
        .set_cache_size(cache_bytes)
        .set_concurrency_mode(ConcurrencyMode::SingleWriter)
        .create(path)
}

pub(crate) fn snapshot_of(database: &impl ReadableDatabase) -> Result<Snapshot, Failure> {
    Snapshot::new(&database.begin_read()?)
}

/// What a file that was made by this store holds; `None` for a new file.
fn read_stored(database: &Database) -> Result<Option<Result<Stored, StoreError>>, Failure> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let format = meta.get(META_FORMAT)?;
    let format = format.and_then(|value| read_framed_value::<(u16, u16)>(value.value()).ok());
    let shards = match format {
        Some((TABLES_FORMAT, shards)) => ShardCount::new(shards),
        Some((newer, _)) => {
            let error = StoreError::new(ErrorKind::Unsupported, NAME, "open").with_context(
                format!("the file has format {newer}; this program knows {TABLES_FORMAT}"),
            );
            return Ok(Some(Err(error)));
        }
        None => None,
    };
    let progress = meta.get(META_PROGRESS)?;
    let progress = progress.and_then(|value| read_framed_value(value.value()).ok());
    let (Some(shards), Some((clock, deleted))) = (shards, progress) else {
        let error = StoreError::new(ErrorKind::Corrupt, NAME, "open")
            .with_context("the file's own description cannot be read");
        return Ok(Some(Err(error)));
    };
    let mut leases = LeaseTable::new(shards);
    for entry in transaction.open_table(LEASES)?.iter()? {
        let (shard, epoch) = entry?;
        leases.restore(ShardId(shard.value()), Epoch(epoch.value()));
    }
    Ok(Some(Ok(Stored { shards, clock, deleted, leases })))
}

/// Makes the tables of a new file, all at once.
fn make(database: &Database, shards: ShardCount) -> Result<Stored, Failure> {
    let stored = Stored {
        shards,
        clock: Timestamp::ZERO,
        deleted: Version(0),
        leases: LeaseTable::new(shards),
    };
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = framed_value(&(TABLES_FORMAT, shards.get()));
        meta.insert(META_FORMAT, format.as_slice())?;
        meta.insert(META_PROGRESS, framed_value(&(stored.clock, stored.deleted)).as_slice())?;
        transaction.open_table(LEASES)?;
        transaction.open_table(HEADS)?;
        transaction.open_table(OPEN)?;
        transaction.open_table(DUE)?;
        transaction.open_table(FINISHED)?;
        transaction.open_table(JOURNAL)?;
        transaction.open_table(KEYS)?;
        transaction.open_table(FORGOTTEN)?;
        transaction.open_table(ROWS)?;
    }
    crash_point!("redb.make.applied");
    transaction.commit()?;
    crash_point!("redb.make.durable");
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes so many bytes and reads them all: how many are kept then, and how often some had to
    /// leave.
    fn kept(cache_bytes: usize, written: usize) -> (usize, u64) {
        const TABLE: redb::TableDefinition<'_, u64, &[u8]> = redb::TableDefinition::new("t");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("f.redb");
        let fill = || -> Result<(usize, u64), Failure> {
            let database = open_database(cache_bytes, &path).expect("it opens");
            let transaction = database.begin_write()?;
            for key in 0..(written / 1_000) as u64 {
                transaction.open_table(TABLE)?.insert(key, [1; 1_000].as_slice())?;
            }
            transaction.commit()?;
            let table = database.begin_read()?.open_table(TABLE)?;
            for row in table.iter()? {
                assert_eq!(row?.1.value().len(), 1_000);
            }
            let stats = database.cache_stats();
            Ok((stats.used_bytes(), stats.evictions()))
        };
        fill().expect("it works")
    }

    #[test]
    fn up_to_cache_bytes_all_stays_in_memory_and_past_it_something_leaves() {
        const CACHE: usize = 4 * 1_024 * 1_024;
        let (used, evictions) = kept(CACHE, CACHE / 4);
        assert!(used <= CACHE && evictions == 0, "{used} {evictions}");
        let (used, evictions) = kept(CACHE, 4 * CACHE);
        assert!(used <= CACHE && evictions > 0, "{used} {evictions}");
    }
}
