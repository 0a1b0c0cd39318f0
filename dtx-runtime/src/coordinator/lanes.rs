//! All lanes of a coordinator, and which shards it owns.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use dtx_core::{
    engine::Input,
    ids::{HolderId, ShardId, TxId},
    name::ParticipantName,
    store::{Fence, Lease, StateStore},
    transport::{Reply, Transport},
};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    clock::Clock,
    heal::Healing,
    lane::{Lane, LaneInput, LaneParts},
    settings::CoordinatorSettings,
    stats::Counters,
};
use crate::operator::Operator;

/// To whom a reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyOwner {
    /// To this coordinator.
    Here,
    /// To whoever owns the shard.
    Other,
    /// To one who got the shard after this lease of ours.
    Newer(Fence),
}

/// What every part of a coordinator shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Arc<CoordinatorSettings>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) holder: HolderId,
    /// As many permits as are free of `in_flight_max`.
    pub(super) in_flight: Arc<Semaphore>,
    /// Cancelled when the leases are given back: nothing more is looked for in the store.
    pub(super) keeping: CancellationToken,
    pub(super) tasks: TaskTracker,
    lanes: Vec<mpsc::Sender<LaneInput>>,
    leases: RwLock<BTreeMap<ShardId, Lease>>,
    /// The last fence of each shard whose memory this process has dropped.
    dropped: RwLock<BTreeMap<ShardId, Fence>>,
    /// Says which shards are owned, to whoever receives replies.
    announced: watch::Sender<Vec<ShardId>>,
    /// Whoever wrote to the store for another one wakes the keeper.
    pub(super) look: Notify,
    pub(super) operator: Operator,
    pub(super) healing: tokio::sync::Mutex<Healing>,
}

impl Shared {
    /// Starts the lanes. They stop when they are told to, or when this is dropped.
    pub(super) fn start(
        operator: Operator,
        store: Arc<dyn StateStore>,
        transport: Arc<dyn Transport>,
        settings: Arc<CoordinatorSettings>,
        clock: Clock,
        holder: HolderId,
        tasks: &TaskTracker,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Fence>) {
        let in_flight = Arc::new(Semaphore::new(settings.in_flight_max));
        let counters = Arc::new(Counters::default());
        // Bounded by the number of shards: a shard is lost once per lease.
        let (lost, lost_shards) = mpsc::unbounded_channel();
        let mut lanes = Vec::new();
        for _ in 0..store.info().lanes.max(1) {
            let (sender, receiver) = mpsc::channel(settings.lane_inputs_max);
            let parts = LaneParts {
                store: store.clone(),
                transport: transport.clone(),
                settings: settings.clone(),
                counters: counters.clone(),
                clock: clock.clone(),
                lost: lost.clone(),
                in_flight: in_flight.clone(),
            };
            tasks.spawn(Lane::new(parts, sender.downgrade()).run(receiver));
            lanes.push(sender);
        }
        let shared = Self {
            store,
            transport,
            settings,
            counters,
            clock,
            holder,
            in_flight,
            keeping: CancellationToken::new(),
            tasks: tasks.clone(),
            lanes,
            leases: RwLock::default(),
            dropped: RwLock::default(),
            announced: watch::Sender::new(Vec::new()),
            look: Notify::new(),
            operator,
            healing: tokio::sync::Mutex::default(),
        };
        (Arc::new(shared), lost_shards)
    }

    /// Gives something to the lane of a shard. Waits while the lane has `lane_inputs_max` inputs.
    pub(super) async fn send(&self, shard: ShardId, input: LaneInput) {
        let lane = usize::from(shard.0) % self.lanes.len();
        // A lane ends only with its coordinator.
        drop(self.lanes[lane].send(input).await);
    }

    pub(super) async fn engine(&self, shard: ShardId, input: Input) {
        self.send(shard, LaneInput::Engine(shard, Box::new(input))).await;
    }

    pub(super) async fn poke(&self, tx: TxId) {
        self.engine(tx.shard(self.store.info().shards), Input::Poke(tx)).await;
    }

    pub(super) async fn replies(&self, replies: Vec<Reply>) {
        if let [lane] = self.lanes.as_slice() {
            drop(lane.send(LaneInput::Replies(replies)).await);
            return;
        }
        let mut by_lane: Vec<Vec<Reply>> = vec![Vec::new(); self.lanes.len()];
        for reply in replies {
            by_lane[usize::from(reply.shard.0) % self.lanes.len()].push(reply);
        }
        for (lane, replies) in self.lanes.iter().zip(by_lane) {
            if !replies.is_empty() {
                drop(lane.send(LaneInput::Replies(replies)).await);
            }
        }
    }

    /// Tells every lane which participants are held.
    pub(super) async fn hold(&self, held: &BTreeSet<ParticipantName>) {
        for lane in &self.lanes {
            drop(lane.send(LaneInput::Held(held.clone())).await);
        }
    }

    pub(super) fn owned(&self) -> BTreeMap<ShardId, Lease> {
        self.leases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn own(&self, lease: Lease) {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        leases.insert(lease.shard, lease);
    }

    /// Forgets a lease, unless the shard was leased anew since. Says whether it was known.
    pub(super) fn disown(&self, lost: Fence) -> bool {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        let known = leases.get(&lost.shard).is_some_and(|lease| lease.fence() == lost);
        if known {
            leases.remove(&lost.shard);
            let mut dropped = self.dropped.write().unwrap_or_else(PoisonError::into_inner);
            dropped.insert(lost.shard, lost);
        }
        known
    }

    /// Whether this process has dropped the memory of a shard under this fence. It must not have
    /// it again: numbers of writes and of accepts would begin anew under the same epoch.
    pub(super) fn has_dropped(&self, fence: Fence) -> bool {
        let dropped = self.dropped.read().unwrap_or_else(PoisonError::into_inner);
        dropped.get(&fence.shard) == Some(&fence)
    }

    /// Says which shards are owned now.
    pub(super) fn announce(&self) {
        self.announced.send_replace(self.owned().into_keys().collect());
    }

    /// Learns which shards are owned.
    pub(super) fn announced(&self) -> watch::Receiver<Vec<ShardId>> {
        self.announced.subscribe()
    }

    /// Whose reply this is. One of a higher epoch proves that the shard has a newer owner, also
    /// when the store cannot say so.
    pub(super) fn owner(&self, reply: &Reply) -> ReplyOwner {
        let leases = self.leases.read().unwrap_or_else(PoisonError::into_inner);
        match leases.get(&reply.shard) {
            None => ReplyOwner::Other,
            Some(lease) if lease.epoch < reply.epoch => ReplyOwner::Newer(lease.fence()),
            Some(_) => ReplyOwner::Here,
        }
    }

    /// Whether this is still the lease of its shard.
    pub(super) fn owns(&self, fence: Fence) -> bool {
        let leases = self.leases.read().unwrap_or_else(PoisonError::into_inner);
        leases.get(&fence.shard).is_some_and(|lease| lease.fence() == fence)
    }

    /// An id in a shard that this coordinator owns; `None` when it owns none.
    pub(super) fn new_id(&self) -> Option<TxId> {
        let leases = self.leases.read().unwrap_or_else(PoisonError::into_inner);
        if leases.is_empty() {
            return None;
        }
        let (shards, millis) = (self.store.info().shards, self.clock.unix_millis());
        loop {
            let random = uuid::Uuid::new_v4();
            let mut bytes = [0; 10];
            bytes.copy_from_slice(&random.as_bytes()[..10]);
            let tx = TxId::from_parts(millis, bytes);
            if leases.contains_key(&tx.shard(shards)) {
                return Some(tx);
            }
        }
    }

    /// Waits until nothing is open in any lane.
    pub(super) async fn drain(&self) {
        // A transaction never moves to another lane, so one after the other is enough.
        for lane in &self.lanes {
            let (done, drained) = oneshot::channel();
            if lane.send(LaneInput::Drain(done)).await.is_ok() {
                drop(drained.await);
            }
        }
    }

    /// Stops the lanes; says how many transactions were still open. A lane whose store does not
    /// answer within `limit` is left behind, and what it has is counted by what is in flight.
    pub(super) async fn stop(&self, limit: Duration) -> usize {
        let stopping = async {
            let mut stopped = Vec::new();
            for lane in &self.lanes {
                let (done, open) = oneshot::channel();
                if lane.send(LaneInput::Stop(done)).await.is_ok() {
                    stopped.push(open);
                }
            }
            let mut open = 0;
            for lane in stopped {
                open += lane.await.unwrap_or(0);
            }
            open
        };
        tokio::time::timeout(limit, stopping).await.unwrap_or_else(|_| {
            tracing::warn!("the store does not answer; the next owner finds what is open");
            self.settings.in_flight_max - self.in_flight.available_permits()
        })
    }
}
