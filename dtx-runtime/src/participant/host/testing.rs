//! What the tests of the host share: commands, an action that does as it is told, a store that
//! counts and fails, and a coordinator's end of the transport.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use dtx_core::{
    answer::{Answer, NotDone, PhaseAnswer, rejected},
    error::{Effect, ErrorKind, StoreError},
    ids::{AcceptSequence, Epoch, OperationIndex, ShardId, TxId},
    name::{ActionName, ParticipantName},
    pattern::{Pattern, Phase},
    store::{
        Cursor, MemoryStore, Page, ParticipantStore, RowKey, RowSet, RowWriteResult, Scope,
        ScopeRead, ScopeRows, StoreInfo, StoredRow,
    },
    transaction::Action,
    transport::{Body, Command, Envelope, Interest, Reply, Subscribe, Subscription, Transport},
};
use dtx_transport_inmem::InMemoryTransport;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};

use crate::participant::{
    Compensate, Context, Deliver, Execute, Host, HostHandle, HostSettings, Participant, Prepare,
    Reserve, TwoPhaseCommit, Validate, Vote,
};

pub(crate) fn tx(number: u64) -> TxId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    TxId::from_parts(1_700_000_000_000, random)
}

/// A command of transaction `number`, which is also its sequence, to do as told in `payload`.
pub(crate) fn command(number: u64, phase: Phase) -> Command {
    Command {
        tx: tx(number),
        operation: OperationIndex(0),
        phase,
        pattern: Pattern::Saga,
        participant: ParticipantName::new("worker").expect("a name"),
        action: ActionName::new("work").expect("a name"),
        action_version: 1,
        attempt: 1,
        shard: ShardId(3),
        epoch: Epoch(1),
        sequence: AcceptSequence { epoch: Epoch(1), number },
        watermark: AcceptSequence::default(),
        deadline: None,
        ttl: None,
        one_phase: false,
        reply: true,
        payload: told(Told::Do),
        inputs: Vec::new(),
    }
}

/// What the handler of a test does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Do,
    /// A business no.
    Refuse,
    /// A plain error, the first time only.
    FailOnce,
    Panic,
    /// Waits for a permit of the gate.
    Wait,
}

pub(crate) fn told(told: Told) -> Bytes {
    serde_json::to_vec(&told).expect("a word").into()
}

/// What the handlers of a test did.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) gate: Semaphore,
    pub(crate) started: mpsc::UnboundedSender<TxId>,
    now: AtomicUsize,
    pub(crate) most: AtomicUsize,
    failed: AtomicUsize,
}

impl Record {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<TxId>) {
        let (started, receiver) = mpsc::unbounded_channel();
        let record = Self {
            calls: Mutex::default(),
            gate: Semaphore::new(0),
            started,
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        };
        (Arc::new(record), receiver)
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().expect("no test panics with it").clone()
    }
}

/// The action of the tests.
#[derive(Clone, Debug)]
pub(crate) struct Work(pub(crate) Arc<Record>);

impl Action for Work {
    const NAME: &'static str = "work";
    type Input = Told;
    type Output = String;
}

impl Work {
    async fn act(&self, cx: &Context<'_>, told: Told) -> Answer<()> {
        let record = &self.0;
        let number = record.now.fetch_add(1, Ordering::SeqCst) + 1;
        record.most.fetch_max(number, Ordering::SeqCst);
        let leave = Leave(record);
        let forward: Option<serde_json::Value> = cx.forward()?;
        let forward = forward.map(|it| format!(" of {it}")).unwrap_or_default();
        let call = format!("{} {}{forward}", cx.phase(), cx.attempt());
        record.calls.lock().expect("no test panics with it").push(call);
        record.started.send(cx.tx_id()).ok();
        match told {
            Told::Do => {}
            Told::Refuse => return rejected("not today"),
            Told::FailOnce if record.failed.fetch_add(1, Ordering::SeqCst) == 0 => {
                "x".parse::<u8>()?;
            }
            Told::FailOnce => {}
            Told::Panic => panic!("as told"),
            Told::Wait => record.gate.acquire().await?.forget(),
        }
        drop(leave);
        Ok(())
    }
}

struct Leave<'a>(&'a Record);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Execute for Work {
    async fn execute(&self, cx: &mut Context<'_>, told: &Told) -> Answer<String> {
        self.act(cx, *told).await?;
        Ok(cx.idempotency_key().to_owned())
    }
}

impl Compensate for Work {
    async fn compensate(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
}

impl Prepare for Work {
    async fn prepare(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
    async fn cancel(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
}

impl Reserve for Work {
    async fn reserve(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
    async fn release(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
}

impl Validate for Work {
    async fn validate(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
}

impl TwoPhaseCommit for Work {
    async fn prepare(&self, cx: &mut Context<'_>, _: &Told) -> Answer<Vote> {
        self.act(cx, Told::Do).await?;
        Ok(Vote::Commit)
    }
    async fn commit(&self, cx: &mut Context<'_>, told: &Told) -> Answer<String> {
        self.act(cx, *told).await?;
        Ok("committed".to_owned())
    }
    async fn abort(&self, cx: &mut Context<'_>, _: &Told) -> Answer<()> {
        self.act(cx, Told::Do).await
    }
}

impl Deliver for Work {
    async fn deliver(&self, cx: &mut Context<'_>, told: &Told) -> Answer<()> {
        self.act(cx, *told).await
    }
}

/// A participant that offers everything.
pub(crate) fn worker(record: &Arc<Record>) -> Participant {
    let work = || Work(Arc::clone(record));
    Participant::new("worker")
        .expect("a name")
        .saga(work())
        .two_phase(work())
        .three_phase(work())
        .two_phase_commit(work())
        .deliver(work())
}

/// A store that counts its writes, and fails as many as it is told to.
#[derive(Debug, Default)]
pub(crate) struct CountingStore {
    pub(crate) inner: MemoryStore,
    pub(crate) writes: AtomicUsize,
    pub(crate) sets: AtomicUsize,
    /// So many writes fail before they do anything.
    pub(crate) failures: AtomicUsize,
    /// So many writes are done and answered with a time-out.
    pub(crate) lost_answers: AtomicUsize,
    /// So many writes meet a change of somebody else.
    pub(crate) conflicts: AtomicUsize,
    /// So often what was read is not durable yet.
    pub(crate) unconfirmed: AtomicUsize,
    /// Writes about the leases of hosts fail.
    pub(crate) forgets_hosts: AtomicBool,
    /// What it says of itself where several processes may share it.
    pub(crate) shared: Option<StoreInfo>,
    /// The writes that are going on, and the most at once.
    pub(crate) side_by_side: (AtomicUsize, AtomicUsize),
}

fn take_one(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
}

fn failed(kind: ErrorKind, effect: Effect, sets: &[RowSet]) -> Vec<RowWriteResult> {
    let fail = || StoreError::new(kind, "counting", "write").with_effect(effect);
    sets.iter().map(|_| RowWriteResult::Failed(fail())).collect()
}

#[async_trait]
impl ParticipantStore for CountingStore {
    fn info(&self) -> &StoreInfo {
        self.shared.as_ref().unwrap_or_else(|| ParticipantStore::info(&self.inner))
    }

    async fn read(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        self.inner.read(reads).await
    }

    async fn read_durable(&self, reads: &[ScopeRead]) -> Result<Vec<ScopeRows>, StoreError> {
        match take_one(&self.unconfirmed) {
            true => Err(StoreError::new(ErrorKind::Timeout, "counting", "read_durable")),
            false => self.inner.read_durable(reads).await,
        }
    }

    async fn write(&self, sets: &[RowSet]) -> Vec<RowWriteResult> {
        let (now, most) = &self.side_by_side;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        now.fetch_sub(1, Ordering::SeqCst);
        if take_one(&self.conflicts) {
            return sets.iter().map(|_| RowWriteResult::Conflict).collect();
        }
        let is_lease = |set: &RowSet| set.scope.as_str().ends_with("/hosts");
        if self.forgets_hosts.load(Ordering::SeqCst) && sets.iter().any(is_lease) {
            return failed(ErrorKind::Unavailable, Effect::None, sets);
        }
        if take_one(&self.failures) {
            return failed(ErrorKind::Unavailable, Effect::None, sets);
        }
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.sets.fetch_add(sets.len(), Ordering::SeqCst);
        let written = self.inner.write(sets).await;
        if take_one(&self.lost_answers) {
            return failed(ErrorKind::Timeout, Effect::Unknown, sets);
        }
        written
    }

    async fn scan(
        &self,
        scope: &Scope,
        prefix: &[u8],
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<(RowKey, StoredRow)>, StoreError> {
        self.inner.scan(scope, prefix, cursor, limit).await
    }

    async fn scopes(
        &self,
        prefix: &str,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Scope>, StoreError> {
        self.inner.scopes(prefix, cursor, limit).await
    }
}

/// The coordinator's end of the transport.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) transport: Arc<InMemoryTransport>,
    pub(crate) replies: Box<dyn Subscription>,
    pub(crate) store: Arc<CountingStore>,
}

impl Coordinator {
    pub(crate) async fn new() -> Self {
        let transport = Arc::new(InMemoryTransport::new());
        let replies = subscribe(&transport, Interest::Replies(vec![ShardId(3)])).await;
        Self { transport, replies, store: Arc::default() }
    }

    /// With a store that several processes may share.
    pub(crate) async fn shared() -> Self {
        let inner = MemoryStore::new();
        let info = StoreInfo { opening: None, ..inner.info().clone() };
        let store = CountingStore { inner, shared: Some(info), ..CountingStore::default() };
        Self { store: Arc::new(store), ..Self::new().await }
    }

    pub(crate) async fn host(
        &self,
        participant: Participant,
        settings: HostSettings,
    ) -> HostHandle {
        let store: Arc<dyn ParticipantStore> = self.store.clone();
        Host::start(participant, self.transport.clone(), Some(store), settings)
            .await
            .expect("the host starts")
    }

    pub(crate) async fn send(&self, commands: impl IntoIterator<Item = Command>) {
        let envelope = |command| Envelope::new(Body::Command(Arc::new(command)));
        let messages: Vec<_> = commands.into_iter().map(envelope).collect();
        for result in self.transport.publish(&messages).await {
            result.expect("published");
        }
    }

    /// The next reply, whatever it answers.
    pub(crate) async fn reply(&mut self) -> Reply {
        self.replies(1).await.remove(0)
    }

    pub(crate) async fn replies(&mut self, count: usize) -> Vec<Reply> {
        let mut all = Vec::new();
        while all.len() < count {
            let wait = Duration::from_secs(20);
            let got = self.replies.receive(count - all.len(), wait).await.expect("open");
            assert!(!got.is_empty(), "{} of {count} replies came", all.len());
            let tokens: Vec<_> = got.iter().map(|delivery| delivery.token).collect();
            all.extend(got.into_iter().map(|delivery| match delivery.envelope.body {
                Body::Reply(reply) => reply,
                other => panic!("no reply: {other:?}"),
            }));
            self.replies.ack(&tokens).await.expect("acknowledged");
        }
        all
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn ask(&mut self, command: Command) -> PhaseAnswer {
        let (tx, phase) = (command.tx, command.phase);
        self.send([command]).await;
        let reply = self.reply().await;
        assert_eq!((reply.tx, reply.phase), (tx, phase));
        reply.answer
    }
}

pub(crate) async fn subscribe(
    transport: &InMemoryTransport,
    interest: Interest,
) -> Box<dyn Subscription> {
    let wish = Subscribe { interest, group: "coordinators".to_owned(), prefetch: 10_000 };
    transport.subscribe(&wish).await.expect("subscribed")
}

pub(crate) fn is_unknown(answer: &PhaseAnswer) -> bool {
    matches!(answer, Err(NotDone::Unknown(_)))
}
