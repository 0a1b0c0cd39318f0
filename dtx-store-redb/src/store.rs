//! The handle of the owner.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use async_trait::async_trait;
use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    ids::{ShardId, TxId},
    store::{
        Catalog, CommitResult, Cursor, Filter, JournalEntry, Lease, LeaseRequest, OpenPage, Page,
        ParticipantStore, Purge, RowKey, RowSet, RowWriteResult, Scope, ScopeRead, ScopeRows,
        StateStore, StoreInfo, StoredRow, TxRecord, TxWrite, check_batch, page_items,
    },
    time::Timestamp,
    transaction::Key,
};
use tokio::sync::{mpsc, oneshot};

#[cfg(unix)]
use crate::owner::OwnerSocket;
use crate::{
    apply::{Prepared, PurgeIds},
    builder::RedbStoreBuilder,
    error::{NAME, closed, invalid},
    snapshot::Snapshot,
    writer::{Answer, Job, Shared, locked},
};

type ReadJob = Box<dyn FnOnce() + Send>;

/// How many listings wait for the reader thread; further ones wait for a place.
const READ_CALLS_MAX: usize = 64;

/// A file with the records of coordinators and the rows of participants, owned by this process.
/// Clones share it.
///
/// Dropping the last clone waits for the batch that is being written, so that the file is free
/// afterwards; [`close`](Self::close) does the same without blocking and says whether it went
/// well.
///
/// # Cancel safety
/// Every method may be dropped at any time: what was handed to the writer is done all the same,
/// and only the answer is lost.
#[derive(Clone)]
pub struct RedbStore {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// `None` only while the last handle is being dropped.
    channels: Option<(mpsc::Sender<Job>, mpsc::Sender<ReadJob>)>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(unix)]
    socket: Option<OwnerSocket>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(socket) = &self.socket {
            socket.stop();
        }
        self.channels = None;
        for thread in locked(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the redb store panicked");
            }
        }
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("info", &self.inner.shared.info).finish_non_exhaustive()
    }
}

impl RedbStore {
    /// Opens a file with the default settings; see [`RedbStoreBuilder::open`].
    ///
    /// # Errors
    /// Those of [`RedbStoreBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::builder().open(path).await
    }

    /// The settings, to change them.
    pub fn builder() -> RedbStoreBuilder {
        RedbStoreBuilder::default()
    }

    pub(crate) fn start(
        shared: Arc<Shared>,
        jobs: mpsc::Sender<Job>,
        writer: JoinHandle<()>,
        file: &Path,
    ) -> Result<Self, StoreError> {
        let (reads, mut queue) = mpsc::channel::<ReadJob>(READ_CALLS_MAX);
        let reader = std::thread::Builder::new().name("dtx-redb-reader".into()).spawn(move || {
            while let Some(job) = queue.blocking_recv() {
                job();
            }
        });
        let reader = reader.map_err(|error| {
            StoreError::new(ErrorKind::Unavailable, NAME, "open").with_source(error)
        })?;
        let threads = Mutex::new(vec![writer, reader]);
        #[cfg(unix)]
        let socket = OwnerSocket::open(file, &shared, &jobs);
        #[cfg(not(unix))]
        let _ = file;
        let inner = Inner {
            shared,
            channels: Some((jobs, reads)),
            threads,
            #[cfg(unix)]
            socket,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the store says of itself. No I/O.
    pub fn info(&self) -> &StoreInfo {
        &self.inner.shared.info
    }

    /// Finishes what was handed to the writer before, and gives the file back. Every later call
    /// of any clone fails with `Closed`.
    ///
    /// # Errors
    /// `Closed` when it was closed already; `Internal` when the file could not be closed well,
    /// in which case the next opening checks it.
    pub async fn close(&self) -> Result<(), StoreError> {
        #[cfg(unix)]
        if let Some(socket) = &self.inner.socket {
            // Gone before the file is free, so that it is never taken for the next owner's.
            socket.stop();
        }
        self.ask("close", Job::Close).await
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    fn channels(&self) -> &(mpsc::Sender<Job>, mpsc::Sender<ReadJob>) {
        self.inner.channels.as_ref().expect("a handle is alive")
    }

    /// Hands a job to the writer and waits for its answer.
    async fn ask<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(Answer<T>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.channels().0.send(job(answer)).await;
        sent.map_err(|_| closed(operation, Effect::None))?;
        answered.await.map_err(|_| closed(operation, Effect::Unknown))?
    }

    /// Runs a listing on the reader thread.
    async fn list_with<T: Send + 'static>(
        &self,
        operation: &'static str,
        list: impl FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let snapshot = self.shared().snapshot(operation)?;
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || drop(answer.send(list(&snapshot))));
        let sent = self.channels().1.send(job).await;
        sent.map_err(|_| closed(operation, Effect::None))?;
        answered.await.map_err(|_| closed(operation, Effect::None))?
    }

    fn check_shard(&self, operation: &'static str, shard: ShardId) -> Result<(), StoreError> {
        let shards = self.info().shards.get();
        if shard.0 < shards {
            return Ok(());
        }
        Err(invalid(operation, format!("shard {shard} does not exist; there are {shards}")))
    }
}

/// An error that stands for each item of a batch.
fn again(error: &StoreError, operation: &'static str) -> StoreError {
    StoreError::new(error.kind(), NAME, operation)
        .with_effect(error.effect())
        .with_context(error.to_string())
}

#[async_trait]
impl StateStore for RedbStore {
    fn info(&self) -> &StoreInfo {
        Self::info(self)
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.shared().clock.now())
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let info = self.info();
        let failed = |error: StoreError| {
            let failed = || CommitResult::Failed(again(&error, "commit"));
            writes.iter().map(|_| failed()).collect()
        };
        if let Err(error) = check_batch(writes.len(), &info.limits) {
            return failed(error.into_error(NAME, "commit"));
        }
        if writes.is_empty() {
            return Vec::new();
        }
        // Encoded here, where several callers work side by side, and not by the one writer.
        let prepared = writes.iter().map(|write| Prepared::new(write, info)).collect();
        self.ask("commit", |answer| Job::Commit(prepared, answer)).await.unwrap_or_else(failed)
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.shared().snapshot("load")?.load(ids)
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.check_shard("open", shard)?;
        let (cursor, now) = (cursor.cloned(), self.shared().clock.now());
        self.list_with("open", move |snapshot| {
            snapshot.open(shard, due_before, cursor.as_ref(), limit, now)
        })
        .await
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        for &shard in &request.shards {
            self.check_shard("acquire", shard)?;
        }
        let request = request.clone();
        self.ask("acquire", |answer| Job::Acquire(request, answer)).await
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        // The end of a lease is of this opening alone, so nothing waits for the disk.
        self.shared().snapshot("renew")?;
        let now = self.shared().clock.now();
        let mut table = locked(&self.shared().leases);
        Ok(leases.iter().filter_map(|lease| table.renew(lease, now)).collect())
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let mut table = locked(&self.shared().leases);
        leases.iter().for_each(|lease| table.release(lease));
        Ok(())
    }
}

#[async_trait]
impl Catalog for RedbStore {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        let filter = filter.clone();
        self.list_with("list", move |snapshot| snapshot.list(&filter)).await
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.shared().snapshot("history")?.history(tx)
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.shared().snapshot("by_key")?.by_key(key)
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        let now = self.shared().clock.now();
        let mut ids = PurgeIds {
            ids: Vec::new(),
            older_than: purge.older_than,
            key_retention: purge.key_retention,
            limit: page_items(purge.limit),
        };
        // Found by the reader and checked again by the writer, which is not held up by the search.
        let ids =
            self.list_with("purge", move |snapshot| snapshot.old(&mut ids, now).map(|()| ids));
        let ids = ids.await?;
        self.ask("purge", |answer| Job::Purge(ids, answer)).await
    }
}

#[async_trait]
impl ParticipantStore for RedbStore {
    fn info(&self) -> &StoreInfo {
        Self::info(self)
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        let snapshot = self.shared().snapshot("read")?;
        let now = self.shared().clock.now();
        let scopes = snapshot.read(reads)?;
        Ok(scopes.into_iter().map(|rows| ScopeRows { rows, now }).collect())
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let failed = |error: StoreError| {
            let failed = || RowWriteResult::Failed(again(&error, "write"));
            sets.iter().map(|_| failed()).collect()
        };
        if let Err(error) = check_batch(sets.len(), &self.info().limits) {
            return failed(error.into_error(NAME, "write"));
        }
        if sets.is_empty() {
            return Vec::new();
        }
        let owned = sets.to_vec();
        self.ask("write", |answer| Job::Write(owned, answer)).await.unwrap_or_else(failed)
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        let (scope, prefix, cursor) = (scope.clone(), prefix.to_vec(), cursor.cloned());
        self.list_with("scan", move |snapshot| {
            snapshot.scan(&scope, &prefix, cursor.as_ref(), limit)
        })
        .await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        let (prefix, cursor) = (prefix.to_owned(), cursor.cloned());
        self.list_with("scopes", move |snapshot| snapshot.scopes(&prefix, cursor.as_ref(), limit))
            .await
    }
}
