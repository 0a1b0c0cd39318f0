//! A lane: one task that owns the engines of its shards, with one commit and one publish in
//! flight.
//!
//! A commit holds what all shards of the lane had to write when the previous one returned (group
//! commit); nothing waits for a timer, and nothing waits when the lane is idle.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use dtx_core::{
    crash_point,
    engine::{Context, Input, Outputs, Peers, ShardEngine},
    ids::{ShardId, TxId, WriteId},
    name::ParticipantName,
    store::{CommitResult, Fence, Lease, StateStore, TxWrite},
    time::Timestamp,
    transaction::Transaction,
    transport::{Body, Envelope, Reply, Transport},
};
use tokio::sync::{Semaphore, mpsc};
use tracing::Span;

use super::{
    clock::Clock,
    crash_points, resume,
    settings::CoordinatorSettings,
    stats::Counters,
    waiters::{Submitter, Waiter, Waiters},
};

/// What a lane takes.
#[derive(Debug)]
pub(super) enum LaneInput {
    /// A new transaction.
    Submit { tx: TxId, transaction: Arc<Transaction>, submitter: Submitter },
    /// Somebody waits for a transaction that is on its way already.
    Attach { tx: TxId, waiter: Waiter },
    /// Answers for shards of this lane.
    Replies(Vec<Reply>),
    /// Something for one engine.
    Engine(ShardId, Box<Input>),
    /// A shard is ours.
    Leased(Lease),
    /// This lease is not ours any more.
    LeaseLost(Fence),
    /// Nothing is sent to these participants.
    Held(BTreeSet<ParticipantName>),
    /// Tell when nothing is open any more.
    Drain(tokio::sync::oneshot::Sender<()>),
    /// Write what is left, and stop. Answers how many transactions were still open.
    Stop(tokio::sync::oneshot::Sender<usize>),
}

/// What a lane needs of its coordinator.
#[derive(Clone, Debug)]
pub(super) struct LaneParts {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Arc<CoordinatorSettings>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    /// Leases that were lost here and must not be renewed.
    pub(super) lost: mpsc::UnboundedSender<Fence>,
    /// What is free of `in_flight_max`.
    pub(super) in_flight: Arc<Semaphore>,
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Committed = (Vec<(TxId, WriteId)>, Vec<CommitResult>);

/// The state of the task.
pub(super) struct Lane {
    parts: LaneParts,
    now: Timestamp,
    /// Weak, so that the lane ends when its coordinator is dropped.
    own: mpsc::WeakSender<LaneInput>,
    engines: BTreeMap<ShardId, ShardEngine>,
    peers: Peers,
    waiters: Waiters,
    out: Outputs,
    awaited: VecDeque<TxWrite>,
    lazy: VecDeque<TxWrite>,
    /// Since when the oldest lazy write waits.
    lazy_since: Option<Timestamp>,
    commands: VecDeque<Envelope>,
    commit: Option<Work<Committed>>,
    publish: Option<Work<()>>,
    draining: Vec<tokio::sync::oneshot::Sender<()>>,
}

/// The part of a batch that overdue lazy writes get when the awaited ones alone would fill it.
const LAZY_SHARE: usize = 4;

/// The most inputs that are taken before writes and commands get their turn.
const INPUTS_AT_ONCE: usize = 512;

impl Lane {
    pub(super) fn new(parts: LaneParts, own: mpsc::WeakSender<LaneInput>) -> Self {
        let waiters = Waiters::new(parts.counters.clone(), parts.in_flight.clone());
        let now = parts.clock.now();
        Self {
            now,
            parts,
            own,
            engines: BTreeMap::new(),
            peers: Peers::default(),
            waiters,
            out: Outputs::default(),
            awaited: VecDeque::new(),
            lazy: VecDeque::new(),
            lazy_since: None,
            commands: VecDeque::new(),
            commit: None,
            publish: None,
            draining: Vec::new(),
        }
    }

    /// Runs until it is told to stop, or until nobody can tell it anything.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<LaneInput>) {
        let mut taken = Vec::with_capacity(INPUTS_AT_ONCE);
        let stop = loop {
            self.start_work();
            let wake = self.wake_after();
            tokio::select! {
                biased;
                done = finished(&mut self.commit) => {
                    self.now = self.parts.clock.now();
                    self.committed(done);
                }
                () = finished(&mut self.publish) => self.publish = None,
                count = inputs.recv_many(&mut taken, INPUTS_AT_ONCE) => {
                    if count == 0 {
                        break None;
                    }
                }
                () = tokio::time::sleep(wake), if wake != Duration::MAX => {}
            }
            self.now = self.parts.clock.now();
            let mut stop = None;
            for input in taken.drain(..) {
                match input {
                    LaneInput::Stop(done) => stop = Some(done),
                    other => self.take(other),
                }
            }
            self.tick();
            self.deliver();
            if stop.is_some() {
                break stop;
            }
        };
        self.finish(stop).await;
    }

    /// The time at which this round began. One reading of the clock serves all that arrived.
    fn now(&self) -> Timestamp {
        self.now
    }

    /// How long nothing happens unless something arrives.
    fn wake_after(&self) -> Duration {
        let now = self.now();
        let timers = self.engines.values().filter_map(ShardEngine::next_timer);
        let flush = self.lazy_since.filter(|_| self.commit.is_none());
        let flush = flush.map(|since| since + self.parts.settings.lazy_flush);
        timers.chain(flush).min().map_or(Duration::MAX, |at| {
            // Timers of tokio are of a millisecond; an engine's may be finer.
            at.since(now).max(Duration::from_millis(1))
        })
    }

    fn start_work(&mut self) {
        if self.commit.is_none() && self.has_writes() {
            let writes = self.next_batch();
            let store = self.parts.store.clone();
            self.commit = Some(Box::pin(async move {
                crash_points::committing(&writes);
                let results = store.commit(&writes).await;
                crash_points::committed(&writes);
                (writes.iter().map(|write| (write.tx, write.id)).collect(), results)
            }));
        }
        if self.publish.is_none() && !self.commands.is_empty() {
            let most = self
                .parts
                .settings
                .batch_commands_max
                .min(self.parts.transport.info().limits.batch_messages_max);
            let count = self.commands.len().min(most);
            let batch: Vec<Envelope> = self.commands.drain(..count).collect();
            Counters::add(&self.parts.counters.commands, count as u64);
            self.publish = Some(Box::pin(publish(self.parts.clone(), batch)));
        }
    }

    fn has_writes(&self) -> bool {
        !self.awaited.is_empty() || self.is_lazy_overdue()
    }

    fn is_lazy_overdue(&self) -> bool {
        let overdue = |since| self.now() >= since + self.parts.settings.lazy_flush;
        self.lazy_since.is_some_and(overdue)
    }

    /// What somebody waits for first, then what nobody waits for; but what has waited for too
    /// long has its share, so that it never stays behind for ever.
    fn next_batch(&mut self) -> Vec<TxWrite> {
        let limit = self.parts.store.info().limits.batch_writes_max;
        let most = self.parts.settings.batch_writes_max.min(limit);
        let kept = match self.is_lazy_overdue() {
            true => self.lazy.len().min(most.div_ceil(LAZY_SHARE)),
            false => 0,
        };
        let awaited = self.awaited.len().min(most - kept);
        let lazy = self.lazy.len().min(most - awaited);
        Counters::add(&self.parts.counters.writes_awaited, awaited as u64);
        Counters::add(&self.parts.counters.writes_lazy, lazy as u64);
        Counters::add(&self.parts.counters.commits, 1);
        let batch = self.awaited.drain(..awaited).chain(self.lazy.drain(..lazy)).collect();
        if self.lazy.is_empty() {
            self.lazy_since = None;
        }
        batch
    }

    fn committed(&mut self, (writes, results): Committed) {
        self.commit = None;
        for ((tx, id), result) in writes.into_iter().zip(results) {
            let shard = tx.shard(self.parts.store.info().shards);
            self.engine(shard, Input::Written { tx, id, result });
        }
    }

    fn take(&mut self, input: LaneInput) {
        let shards = self.parts.store.info().shards;
        match input {
            LaneInput::Submit { tx, transaction, submitter } => {
                crash_point!("coordinator.submit");
                let shard = tx.shard(shards);
                if self.engines.contains_key(&shard) {
                    self.waiters.submit(tx, submitter);
                    self.engine(shard, Input::Submit { tx, transaction, observed: false });
                } else {
                    submitter.not_owned();
                }
            }
            LaneInput::Attach { tx, waiter } => {
                let shard = tx.shard(shards);
                let engine = self.engines.get(&shard);
                let told = engine.and_then(|engine| engine.told(tx));
                if engine.is_some_and(|engine| engine.is_open(tx)) {
                    let observed = waiter.wants_events();
                    self.waiters.attach(tx, waiter, told);
                    if observed {
                        self.engine(shard, Input::Observe(tx));
                    }
                } else if let Some(outcome) = told {
                    // Only its last write is left, which tells nobody anything.
                    waiter.ended(outcome);
                } else {
                    waiter.lost();
                }
            }
            LaneInput::Replies(replies) => {
                Counters::add(&self.parts.counters.replies, replies.len() as u64);
                crash_points::replied(&replies);
                for reply in replies {
                    self.engine(reply.shard, Input::Reply(reply));
                }
            }
            LaneInput::Engine(shard, input) => self.hand_over(shard, *input),
            LaneInput::Leased(lease) => {
                crash_point!("lease.taken");
                let settings = Arc::new(self.parts.settings.engine.clone());
                let known = self.engines.get(&lease.shard);
                if known.is_none_or(|engine| engine.fence() != lease.fence()) {
                    // Between two leases of ours somebody else may have had the shard.
                    self.lose(lease.shard);
                    self.engines.insert(lease.shard, ShardEngine::new(lease.fence(), settings));
                }
            }
            LaneInput::LeaseLost(lost) => {
                if self.engines.get(&lost.shard).is_some_and(|engine| engine.fence() == lost) {
                    self.lose(lost.shard);
                }
            }
            LaneInput::Held(held) => self.peers.hold_back(held),
            LaneInput::Drain(done) => self.draining.push(done),
            LaneInput::Stop(_) => {}
        }
    }

    /// Gives an input to the engine of the shard, and counts what that takes up by it.
    fn hand_over(&mut self, shard: ShardId, input: Input) {
        let found = match &input {
            Input::Recovered { record, .. } => Some(record.tx),
            Input::Loaded { tx, .. } => Some(*tx),
            _ => None,
        };
        let found = found.filter(|tx| !self.holds(shard, *tx));
        let span = found.map_or_else(Span::none, |_| resume::span(&input));
        let _within = span.enter();
        self.engine(shard, input);
        if let Some(tx) = found.filter(|tx| self.holds(shard, *tx)) {
            Counters::add(&self.parts.counters.recovered, 1);
            tracing::debug!(%tx, "a transaction is taken up");
            self.waiters.take_up(tx);
        }
    }

    fn holds(&self, shard: ShardId, tx: TxId) -> bool {
        self.engines.get(&shard).is_some_and(|engine| engine.holds(tx))
    }

    /// Losing a lease drops the memory of the shard; nothing is resumed from it (rule 2).
    fn lose(&mut self, shard: ShardId) {
        if let Some(engine) = self.engines.remove(&shard) {
            let shards = self.parts.store.info().shards;
            self.waiters.lose(|tx| tx.shard(shards) == shard);
            self.awaited.retain(|write| write.tx.shard(shards) != shard);
            self.lazy.retain(|write| write.tx.shard(shards) != shard);
            self.commands.retain(|command| command.tx().shard(shards) != shard);
            // Whoever listens may be gone already, when the coordinator stops.
            let _ = self.parts.lost.send(engine.fence());
        }
    }

    fn engine(&mut self, shard: ShardId, input: Input) {
        let now = self.now();
        let store_now = self.parts.clock.store_at(now);
        let load_percent = self.load_percent();
        let Some(engine) = self.engines.get_mut(&shard) else { return };
        let mut cx = Context { now, store_now, load_percent, peers: &mut self.peers };
        engine.handle(input, &mut cx, &mut self.out);
    }

    /// How much of `in_flight_max` is used, by all lanes together.
    fn load_percent(&self) -> u8 {
        let most = self.parts.settings.in_flight_max;
        let used = most.saturating_sub(self.parts.in_flight.available_permits());
        (used * 100 / most.max(1)).min(100) as u8
    }

    fn tick(&mut self) {
        let now = self.now();
        let (store_now, load_percent) = (self.parts.clock.store_at(now), self.load_percent());
        for engine in self.engines.values_mut() {
            if engine.next_timer().is_some_and(|at| at <= now) {
                let mut cx = Context { now, store_now, load_percent, peers: &mut self.peers };
                engine.handle(Input::Tick, &mut cx, &mut self.out);
            }
        }
    }

    /// Hands out what the engines gave.
    fn deliver(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for write in out.writes.drain(..) {
            if write.lazy {
                self.lazy_since.get_or_insert_with(|| self.parts.clock.now());
                self.lazy.push_back(write);
            } else {
                self.awaited.push_back(write);
            }
        }
        self.enqueue(out.commands.drain(..));
        if !out.loads.is_empty() {
            self.load(std::mem::take(&mut out.loads));
        }
        let mut lost = Vec::new();
        crash_point!("coordinator.tell", !out.notices.is_empty());
        for notice in out.notices.drain(..) {
            self.waiters.tell(notice, &mut lost);
        }
        // Empty, with its room.
        self.out = out;
        for shard in lost {
            self.lose(shard);
        }
        if !self.draining.is_empty() && self.engines.values().all(|e| e.open_count() == 0) {
            for done in self.draining.drain(..) {
                let _ = done.send(());
            }
        }
    }

    /// Commands never wait for room here: the lane must go on taking replies, or a full queue of
    /// a participant and a full queue of replies could wait for each other.
    fn enqueue(&mut self, commands: impl Iterator<Item = Envelope>) {
        for envelope in commands {
            let is_full = self.commands.len() >= self.parts.settings.commands_max;
            if is_full && matches!(&envelope.body, Body::Command(command) if command.attempt > 1) {
                Counters::add(&self.parts.counters.commands_unsent, 1);
            } else {
                self.commands.push_back(envelope);
            }
        }
    }

    fn load(&self, ids: Vec<TxId>) {
        let (store, own) = (self.parts.store.clone(), self.own.clone());
        tokio::spawn(async move {
            let shards = store.info().shards;
            let found = match (store.load(&ids).await, store.now().await) {
                (Ok(records), Ok(now)) => Ok((records, now)),
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
            let (records, store_now) = found.unwrap_or_else(|error| {
                tracing::warn!(%error, "records could not be read");
                (vec![None; ids.len()], Timestamp::ZERO)
            });
            let Some(own) = own.upgrade() else { return };
            for (tx, record) in ids.into_iter().zip(records) {
                let input = Input::Loaded { tx, record: Ok(record.map(Box::new)), store_now };
                drop(own.send(LaneInput::Engine(tx.shard(shards), Box::new(input))).await);
            }
        });
    }

    /// Writes what is left, so that a graceful stop leaves as little as possible to recover.
    async fn finish(mut self, stop: Option<tokio::sync::oneshot::Sender<usize>>) {
        crash_point!("coordinator.stop.before");
        if let Some(commit) = self.commit.take() {
            let done = commit.await;
            self.committed(done);
            self.deliver();
        }
        self.awaited.append(&mut self.lazy);
        let mut ended = 0;
        while !self.awaited.is_empty() {
            let batch = self.next_batch();
            let results = self.parts.store.commit(&batch).await;
            let is_committed = |result: &CommitResult| matches!(result, CommitResult::Committed(_));
            let settled = batch.iter().zip(&results).filter(|(_, result)| is_committed(result));
            ended += settled.filter(|(write, _)| write.due.is_none()).count();
            if results.iter().any(|result| matches!(result, CommitResult::Failed(_))) {
                tracing::warn!("the last records could not be written; the next owner finds them");
                break;
            }
        }
        crash_point!("coordinator.stop.after");
        // Commands that are still on their way count as lost: the next owner sends them again.
        self.publish = None;
        let open: usize = self.engines.values().map(ShardEngine::open_count).sum();
        let open = open.saturating_sub(ended);
        self.waiters.stop();
        if let Some(done) = stop {
            let _ = done.send(open);
        }
    }
}

/// A command that could not be published is one that got lost: it is sent again when its answer
/// stays out.
async fn publish(parts: LaneParts, batch: Vec<Envelope>) {
    crash_points::publishing(&batch);
    let publishing = parts.transport.publish(&batch);
    let unsent = match tokio::time::timeout(parts.settings.publish_timeout, publishing).await {
        Ok(results) => results.iter().filter(|result| result.is_err()).count(),
        Err(_) => batch.len(),
    };
    crash_points::published(&batch);
    if unsent > 0 {
        Counters::add(&parts.counters.commands_unsent, unsent as u64);
        tracing::debug!(unsent, "commands were not published; they are sent again");
    }
}

/// Waits for work, for ever if there is none.
async fn finished<T>(work: &mut Option<Work<T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
