//! The one thread that writes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use dtx_core::{
    crash_point,
    error::{Effect, ErrorKind, StoreError},
    ids::Version,
    store::{
        CommitResult, Decision, Lease, LeaseRequest, LeaseTable, RowSet, RowWriteResult, StoreInfo,
    },
    time::Timestamp,
};
use redb::{Database, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use crate::{
    apply::{Prepared, PurgeIds, Transactions},
    builder::{StoreClock, snapshot_of},
    codec::framed_value,
    error::{Failure, NAME, closed},
    rows::Rows,
    snapshot::Snapshot,
    tables::{LEASES, Lazy, META, META_PROGRESS},
};

/// What the writer and the handles share.
pub(crate) struct Shared {
    pub(crate) info: StoreInfo,
    /// The state after the last commit; `None` once the store is closed.
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    pub(crate) leases: Mutex<LeaseTable>,
    pub(crate) clock: StoreClock,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("info", &self.info).finish_non_exhaustive()
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds a lock of the redb store")
}

impl Shared {
    /// The state after the last commit that was answered, or a later one.
    pub(crate) fn snapshot(&self, operation: &'static str) -> Result<Arc<Snapshot>, StoreError> {
        locked(&self.snapshot).clone().ok_or_else(|| closed(operation, Effect::None))
    }
}

pub(crate) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call that waits for the writer.
pub(crate) enum Job {
    Commit(Vec<Result<Prepared, StoreError>>, Answer<Vec<CommitResult>>),
    Write(Vec<RowSet>, Answer<Vec<RowWriteResult>>),
    Acquire(LeaseRequest, Answer<Vec<Lease>>),
    Purge(PurgeIds, Answer<u64>),
    Close(Answer<()>),
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Commit(writes, _) => writes.len(),
            Self::Write(sets, _) => sets.len(),
            Self::Acquire(request, _) => request.shards.len(),
            Self::Purge(purge, _) => purge.ids.len(),
            Self::Close(_) => 1,
        }
    }

    fn fail(self, error: &dyn Fn() -> StoreError) {
        match self {
            Self::Commit(_, answer) => drop(answer.send(Err(error()))),
            Self::Write(_, answer) => drop(answer.send(Err(error()))),
            Self::Acquire(_, answer) => drop(answer.send(Err(error()))),
            Self::Purge(_, answer) => drop(answer.send(Err(error()))),
            Self::Close(answer) => drop(answer.send(Err(error()))),
        }
    }
}

/// An answer that waits for the commit of its batch.
enum Reply {
    Commit(Answer<Vec<CommitResult>>, Vec<CommitResult>),
    Write(Answer<Vec<RowWriteResult>>, Vec<RowWriteResult>),
    Acquire(Answer<Vec<Lease>>, Vec<Lease>),
    Purge(Answer<u64>, u64),
}

impl Reply {
    /// A caller that went away misses its answer; what it asked for was done.
    fn send(self, failure: Option<&dyn Fn() -> StoreError>) {
        fn send<T>(answer: Answer<T>, value: T, failure: Option<&dyn Fn() -> StoreError>) {
            let _ = answer.send(failure.map_or(Ok(value), |error| Err(error())));
        }
        match self {
            Self::Commit(answer, value) => send(answer, value, failure),
            Self::Write(answer, value) => send(answer, value, failure),
            Self::Acquire(answer, value) => send(answer, value, failure),
            Self::Purge(answer, value) => send(answer, value, failure),
        }
    }
}

/// The owner of the file.
pub(crate) struct Writer {
    database: Database,
    shared: Arc<Shared>,
    /// The highest version of any deleted row of a participant.
    deleted: Version,
    /// Why nothing is written any more. After an error of the disk only reopening says what is
    /// durable.
    failed: Option<String>,
}

impl Writer {
    pub(crate) fn new(database: Database, shared: Arc<Shared>, deleted: Version) -> Self {
        Self { database, shared, deleted, failed: None }
    }

    /// Works until the store is closed or its last handle is dropped.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let full = self.shared.info.limits.batch_writes_max;
        let mut closing = None;
        while closing.is_none()
            && let Some(first) = queue.blocking_recv()
        {
            let (mut jobs, mut weight, mut next) = (Vec::new(), 0, Some(first));
            // Everything that waits, and nothing that does not wait yet.
            while let Some(job) = next {
                weight += job.weight();
                if let Job::Close(answer) = job {
                    closing = Some(answer);
                    break;
                }
                jobs.push(job);
                next = if weight < full { queue.try_recv().ok() } else { None };
            }
            if !jobs.is_empty() {
                self.batch(jobs);
            }
        }
        // What came after the close was not done, and is told so.
        queue.close();
        while let Some(job) = queue.blocking_recv() {
            job.fail(&|| closed("write", Effect::None));
        }
        *locked(&self.shared.snapshot) = None;
        crash_point!("redb.close.before");
        let result = self.database.close();
        crash_point!("redb.close.after");
        if let Some(answer) = closing {
            let _ = answer.send(result.map_err(|error| {
                StoreError::new(ErrorKind::Internal, NAME, "close").with_source(error)
            }));
        }
    }

    fn batch(&mut self, jobs: Vec<Job>) {
        if let Some(reason) = &self.failed {
            let error = || {
                StoreError::new(ErrorKind::Unavailable, NAME, "write").with_context(format!(
                    "an earlier write failed ({reason}); close the store and open it again"
                ))
            };
            return jobs.into_iter().for_each(|job| job.fail(&error));
        }
        let mut replies = Vec::with_capacity(jobs.len());
        let result = self.try_batch(jobs, &mut replies);
        let Err(failure) = result else {
            replies.into_iter().for_each(|reply| reply.send(None));
            crash_point!("redb.batch.answered");
            return;
        };
        let reason = failure.into_error("write", Effect::Unknown);
        let text = std::error::Error::source(&reason)
            .map_or_else(|| reason.to_string(), |source| source.to_string());
        tracing::error!(error = %text, "the file cannot be written any more");
        let error = || {
            StoreError::new(reason.kind(), NAME, "write")
                .with_effect(Effect::Unknown)
                .with_context(text.clone())
        };
        replies.into_iter().for_each(|reply| reply.send(Some(&error)));
        self.failed = Some(text);
    }

    /// Applies the jobs in order, makes them durable together and shows them to readers.
    fn try_batch(&mut self, jobs: Vec<Job>, replies: &mut Vec<Reply>) -> Result<(), Failure> {
        let now = self.shared.clock.now();
        crash_point!("redb.batch.begin");
        let transaction = self.database.begin_write()?;
        let changed = {
            let mut batch = Batch::new(&transaction, &self.shared, &mut self.deleted, now);
            let mut jobs = jobs.into_iter();
            while let Some(job) = jobs.next() {
                if let Err(failure) = batch.apply(job, replies) {
                    let error = || closed("write", Effect::None);
                    jobs.for_each(|job| job.fail(&error));
                    return Err(failure);
                }
            }
            batch.finish()?
        };
        if !changed {
            transaction.abort()?;
            return Ok(());
        }
        crash_point!("redb.batch.applied");
        transaction.commit()?;
        crash_point!("redb.batch.durable");
        let snapshot = Arc::new(snapshot_of(&self.database)?);
        *locked(&self.shared.snapshot) = Some(snapshot);
        crash_point!("redb.batch.shown");
        Ok(())
    }
}

/// One write transaction.
struct Batch<'t> {
    transactions: Transactions<'t>,
    rows: Rows<'t>,
    leases: Lazy<'t, u16, u64>,
    meta: Lazy<'t, &'static str, &'static [u8]>,
    shared: &'t Shared,
    deleted: &'t mut Version,
    now: Timestamp,
    changed: bool,
}

impl<'t> Batch<'t> {
    fn new(
        transaction: &'t WriteTransaction,
        shared: &'t Shared,
        deleted: &'t mut Version,
        now: Timestamp,
    ) -> Self {
        Self {
            transactions: Transactions::new(transaction),
            rows: Rows::new(transaction),
            leases: Lazy::new(transaction, LEASES),
            meta: Lazy::new(transaction, META),
            shared,
            deleted,
            now,
            changed: false,
        }
    }

    fn apply(&mut self, job: Job, replies: &mut Vec<Reply>) -> Result<(), Failure> {
        // A reply is there before its job is applied, so that a failure half-way finds it.
        match job {
            Job::Commit(writes, answer) => {
                replies.push(Reply::Commit(answer, Vec::new()));
                let results = self.commit(writes)?;
                crash_point!("redb.commit.applied");
                set_last(replies, |reply| match reply {
                    Reply::Commit(_, value) => *value = results,
                    _ => unreachable!("the reply of this job is the last one"),
                });
            }
            Job::Write(sets, answer) => {
                replies.push(Reply::Write(answer, Vec::new()));
                let results = self.write(&sets)?;
                crash_point!("redb.rows.applied");
                set_last(replies, |reply| match reply {
                    Reply::Write(_, value) => *value = results,
                    _ => unreachable!("the reply of this job is the last one"),
                });
            }
            Job::Acquire(request, answer) => {
                replies.push(Reply::Acquire(answer, Vec::new()));
                let leases = self.acquire(&request)?;
                crash_point!("redb.leases.applied");
                set_last(replies, |reply| match reply {
                    Reply::Acquire(_, value) => *value = leases,
                    _ => unreachable!("the reply of this job is the last one"),
                });
            }
            Job::Purge(purge, answer) => {
                self.changed = true;
                replies.push(Reply::Purge(answer, 0));
                let count = self.transactions.purge(&purge, self.now)?;
                crash_point!("redb.purge.applied", count > 0);
                set_last(replies, |reply| match reply {
                    Reply::Purge(_, value) => *value = count,
                    _ => unreachable!("the reply of this job is the last one"),
                });
            }
            Job::Close(_) => unreachable!("the loop ends its batch before a close"),
        }
        Ok(())
    }

    fn commit(
        &mut self,
        writes: Vec<Result<Prepared, StoreError>>,
    ) -> Result<Vec<CommitResult>, Failure> {
        let mut results = Vec::with_capacity(writes.len());
        let leases = locked(&self.shared.leases);
        for write in writes {
            let applied = match write {
                Ok(write) => self.transactions.commit(&write, &leases, self.now)?,
                Err(error) => Err(error),
            };
            self.changed |= matches!(applied, Ok(Decision::Apply(_)));
            results.push(applied.map_or_else(CommitResult::Failed, CommitResult::from));
        }
        Ok(results)
    }

    fn write(&mut self, sets: &[RowSet]) -> Result<Vec<RowWriteResult>, Failure> {
        let mut results = Vec::with_capacity(sets.len());
        for set in sets {
            let limits = &self.shared.info.limits;
            let result = self.rows.write(set, limits, self.deleted, self.now)?;
            self.changed |= matches!(result, RowWriteResult::Written) && !set.changes.is_empty();
            results.push(result);
        }
        Ok(results)
    }

    /// Only the epoch is stored: who holds it and until when ends with this opening.
    fn acquire(&mut self, request: &LeaseRequest) -> Result<Vec<Lease>, Failure> {
        let mut granted = Vec::with_capacity(request.shards.len());
        let mut leases = locked(&self.shared.leases);
        for &shard in &request.shards {
            let before = leases.newest(shard).map(|lease| lease.epoch);
            let lease = leases.acquire(shard, request.holder, request.ttl, self.now);
            let Some(lease) = lease else { continue };
            if before != Some(lease.epoch) {
                self.leases.open()?.insert(shard.0, lease.epoch.0)?;
                self.changed = true;
            }
            granted.push(lease);
        }
        Ok(granted)
    }

    /// Records the clock and the highest deleted version. Says whether anything was changed.
    fn finish(mut self) -> Result<bool, Failure> {
        if self.changed {
            let progress = framed_value(&(self.now, *self.deleted));
            self.meta.open()?.insert(META_PROGRESS, progress.as_slice())?;
        }
        Ok(self.changed)
    }
}

fn set_last(replies: &mut [Reply], set: impl FnOnce(&mut Reply)) {
    set(replies.last_mut().expect("a reply was just pushed"));
}
