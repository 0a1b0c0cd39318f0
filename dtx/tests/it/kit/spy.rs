//! A store that is watched, and that fails when it is told to.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use dtx::{
    error::{Effect, ErrorKind, StoreError},
    ids::{ShardId, TxId, WriteId},
    store::{
        Catalog, CommitResult, Cursor, Filter, Hints, JournalEntry, Lease, LeaseRequest,
        MemoryStore, OpenPage, Page, ParticipantStore, Purge, RecordKind, RowKey, RowSet,
        RowWriteResult, Scope, ScopeRead, ScopeRows, StateStore, StoreInfo, StoredRow, TxRecord,
        TxWrite, Verdict,
    },
    time::Timestamp,
    transaction::Key,
};
use tokio::sync::watch;

use super::wire::{Log, Seen};

/// What a watched store remembers of a write.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) tx: TxId,
    pub(crate) id: WriteId,
    pub(crate) kind: RecordKind,
    pub(crate) lazy: bool,
    pub(crate) verdict: Option<Verdict>,
}

impl Note {
    fn of(write: &TxWrite) -> Self {
        let TxWrite { tx, id, kind, lazy, verdict, .. } = *write;
        Self { tx, id, kind, lazy, verdict }
    }
}

/// Which commits wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All.
    All,
    /// Those with a record of this kind.
    Kind(RecordKind),
}

/// How the next commit with a record of a kind fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is applied, and the answer gets lost.
    Landed,
    /// It is not applied, and nobody can tell.
    NotLanded,
}

/// What [`Spy::hint`] sends.
#[derive(Debug)]
struct Hinted(watch::Receiver<()>);

#[async_trait]
impl Hints for Hinted {
    async fn next(&mut self) {
        self.0.changed().await.expect("the switch outlives its readers");
    }
}

/// A store that is watched. Clones are the same store with the same switches.
#[derive(Clone, Debug)]
pub(crate) struct Spy {
    inner: MemoryStore,
    switches: Arc<Switches>,
}

#[derive(Debug)]
struct Switches {
    log: Log,
    /// Commits with such a record wait.
    held: watch::Sender<Option<Held>>,
    frozen: watch::Sender<bool>,
    leases_held: watch::Sender<bool>,
    releases_fail: AtomicBool,
    /// Pages of what is open wait, but for first ones.
    pages_held: watch::Sender<bool>,
    hints: watch::Sender<()>,
    down: AtomicBool,
    pause: Mutex<Duration>,
    faults: Mutex<Vec<(RecordKind, Fault)>>,
    batches: Mutex<Vec<Vec<Note>>>,
    /// Commits in flight now, and the most at once.
    side_by_side: (AtomicUsize, AtomicUsize),
    loads: AtomicUsize,
    /// How often each call was made.
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl Spy {
    pub(crate) fn on(inner: &MemoryStore, log: Log) -> Self {
        let switches = Switches {
            log,
            held: watch::Sender::new(None),
            frozen: watch::Sender::new(false),
            leases_held: watch::Sender::new(false),
            releases_fail: AtomicBool::new(false),
            pages_held: watch::Sender::new(false),
            hints: watch::Sender::new(()),
            down: AtomicBool::new(false),
            pause: Mutex::default(),
            faults: Mutex::default(),
            batches: Mutex::default(),
            side_by_side: (AtomicUsize::new(0), AtomicUsize::new(0)),
            loads: AtomicUsize::new(0),
            calls: Mutex::default(),
        };
        Self { inner: inner.clone(), switches: Arc::new(switches) }
    }

    /// From now on these commits do not go on until this is taken back.
    pub(crate) fn hold(&self, held: Held) {
        self.switches.held.send_replace(Some(held));
    }

    /// All commits go on.
    pub(crate) fn let_go(&self) {
        self.switches.held.send_replace(None);
    }

    /// From now on no call at all goes on until this is taken back: as of a process that stands
    /// still, or that is gone.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.switches.frozen.send_replace(frozen);
    }

    /// Tells that somebody else has written.
    pub(crate) fn hint(&self) {
        self.switches.hints.send_replace(());
    }

    /// From now on no lease is acquired or renewed until this is taken back; all else goes on.
    pub(crate) fn hold_leases(&self, held: bool) {
        self.switches.leases_held.send_replace(held);
    }

    /// From now on, of a list of what is open, only its first page is read until this is taken
    /// back.
    pub(crate) fn hold_pages(&self, held: bool) {
        self.switches.pages_held.send_replace(held);
    }

    async fn grants(&self) {
        let mut held = self.switches.leases_held.subscribe();
        held.wait_for(|held| !held).await.expect("the switch outlives its readers");
    }

    /// From now on no lease can be given back.
    pub(crate) fn fail_releases(&self, fail: bool) {
        self.switches.releases_fail.store(fail, SeqCst);
    }

    /// From now on every call fails.
    pub(crate) fn take_down(&self, down: bool) {
        self.switches.down.store(down, SeqCst);
    }

    /// From now on a commit takes this long.
    pub(crate) fn slow_down(&self, pause: Duration) {
        *self.switches.pause.lock().unwrap() = pause;
    }

    /// The next commit with a record of this kind fails so.
    pub(crate) fn fail_next(&self, kind: RecordKind, fault: Fault) {
        self.switches.faults.lock().unwrap().push((kind, fault));
    }

    /// How many of the faults are still to come.
    pub(crate) fn faults_left(&self) -> usize {
        self.switches.faults.lock().unwrap().len()
    }

    /// What was handed in so far, commit by commit.
    pub(crate) fn batches(&self) -> Vec<Vec<Note>> {
        self.switches.batches.lock().unwrap().clone()
    }

    /// What was handed in of a transaction.
    pub(crate) fn notes(&self, tx: TxId) -> Vec<Note> {
        self.batches().into_iter().flatten().filter(|note| note.tx == tx).collect()
    }

    /// The most commits that were in flight at once.
    pub(crate) fn most_side_by_side(&self) -> usize {
        self.switches.side_by_side.1.load(SeqCst)
    }

    pub(crate) fn loads(&self) -> usize {
        self.switches.loads.load(SeqCst)
    }

    /// How often each call was made so far.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.switches.calls.lock().unwrap().clone()
    }

    async fn is_up(&self, operation: &'static str) -> Result<(), StoreError> {
        *self.switches.calls.lock().unwrap().entry(operation).or_default() += 1;
        let mut frozen = self.switches.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.expect("the switch outlives its readers");
        match self.switches.down.load(SeqCst) {
            true => Err(StoreError::new(ErrorKind::Unavailable, "spy", operation)),
            false => Ok(()),
        }
    }

    fn fault_of(&self, writes: &[TxWrite]) -> Option<Fault> {
        let mut faults = self.switches.faults.lock().unwrap();
        let at = faults.iter().position(|(kind, _)| writes.iter().any(|w| w.kind == *kind))?;
        Some(faults.remove(at).1)
    }

    async fn commit_now(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let mut held = self.switches.held.subscribe();
        let goes_on = |held: &Option<Held>| match held {
            None => true,
            Some(Held::All) => false,
            Some(Held::Kind(kind)) => writes.iter().all(|write| write.kind != *kind),
        };
        held.wait_for(goes_on).await.expect("the switch outlives its readers");
        let pause = *self.switches.pause.lock().unwrap();
        if !pause.is_zero() {
            super::pass(pause).await;
        }
        let failed = |kind, effect| {
            let error = || StoreError::new(kind, "spy", "commit").with_effect(effect);
            writes.iter().map(|_| CommitResult::Failed(error())).collect::<Vec<_>>()
        };
        if self.is_up("commit").await.is_err() {
            return failed(ErrorKind::Unavailable, Effect::None);
        }
        let fault = self.fault_of(writes);
        if fault == Some(Fault::NotLanded) {
            return failed(ErrorKind::Timeout, Effect::Unknown);
        }
        let results = self.inner.commit(writes).await;
        for (write, result) in writes.iter().zip(&results) {
            if matches!(result, CommitResult::Committed(_)) {
                self.switches.log.lock().unwrap().push(Seen::Durable(Note::of(write)));
            }
        }
        match fault {
            Some(_) => failed(ErrorKind::Timeout, Effect::Unknown),
            None => results,
        }
    }
}

#[async_trait]
impl StateStore for Spy {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.is_up("now").await?;
        self.inner.now().await
    }

    async fn commit(&self, writes: &[TxWrite]) -> Vec<CommitResult> {
        let (now, most) = &self.switches.side_by_side;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        self.switches.batches.lock().unwrap().push(writes.iter().map(Note::of).collect());
        let results = self.commit_now(writes).await;
        now.fetch_sub(1, SeqCst);
        results
    }

    async fn load(&self, ids: &[TxId]) -> Result<Vec<Option<TxRecord>>, StoreError> {
        self.switches.loads.fetch_add(1, SeqCst);
        self.is_up("load").await?;
        self.inner.load(ids).await
    }

    async fn open(
        &self,
        shard: ShardId,
        due_before: Timestamp,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<OpenPage, StoreError> {
        self.is_up("open").await?;
        if cursor.is_some() {
            let mut held = self.switches.pages_held.subscribe();
            held.wait_for(|held| !held).await.expect("the switch outlives its readers");
        }
        self.inner.open(shard, due_before, cursor, limit).await
    }

    async fn earliest(&self, shards: &[ShardId]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.is_up("earliest").await?;
        self.inner.earliest(shards).await
    }

    fn hints(&self) -> Option<Box<dyn Hints>> {
        Some(Box::new(Hinted(self.switches.hints.subscribe())))
    }

    async fn acquire(&self, request: &LeaseRequest) -> Result<Vec<Lease>, StoreError> {
        self.is_up("acquire").await?;
        self.grants().await;
        let leases = self.inner.acquire(request).await;
        // Granted, and the answer is still on its way.
        tokio::task::yield_now().await;
        leases
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<Lease>, StoreError> {
        self.is_up("renew").await?;
        self.grants().await;
        self.inner.renew(leases).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.is_up("release").await?;
        if self.switches.releases_fail.load(SeqCst) {
            return Err(StoreError::new(ErrorKind::Unavailable, "spy", "release"));
        }
        self.inner.release(leases).await
    }
}

#[async_trait]
impl Catalog for Spy {
    async fn list(&self, filter: &Filter) -> Result<Page<TxRecord>, StoreError> {
        self.is_up("list").await?;
        self.inner.list(filter).await
    }

    async fn history(&self, tx: TxId) -> Result<Vec<JournalEntry>, StoreError> {
        self.is_up("history").await?;
        self.inner.history(tx).await
    }

    async fn by_key(&self, key: &Key) -> Result<Option<TxId>, StoreError> {
        self.inner.by_key(key).await
    }

    async fn purge(&self, purge: &Purge) -> Result<u64, StoreError> {
        self.inner.purge(purge).await
    }
}

#[async_trait]
impl ParticipantStore for Spy {
    fn info(&self) -> &StoreInfo {
        self.inner.info()
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.is_up("read").await?;
        self.inner.read(reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.is_up("read_durable").await?;
        self.inner.read_durable(reads).await
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        match self.is_up("write").await {
            Ok(()) => self.inner.write(sets).await,
            Err(_) => {
                let error = || StoreError::new(ErrorKind::Unavailable, "spy", "write");
                sets.iter().map(|_| RowWriteResult::Failed(error())).collect()
            }
        }
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.is_up("scan").await?;
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.is_up("scopes").await?;
        self.inner.scopes(prefix, cursor, limit).await
    }
}
