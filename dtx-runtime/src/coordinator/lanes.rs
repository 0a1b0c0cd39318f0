//! All lanes of a coordinator, and which shards it owns.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use dtx_core::{
    engine::Input,
    ids::{HolderId, ShardId, TxId},
    store::{Lease, StateStore},
    transport::{Reply, Transport},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{
    clock::Clock,
    lane::{Lane, LaneInput, LaneParts},
    settings::CoordinatorSettings,
    stats::Counters,
};

/// What every part of a coordinator shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Arc<CoordinatorSettings>,
    pub(super) counters: Arc<Counters>,
    pub(super) clock: Clock,
    pub(super) holder: HolderId,
    lanes: Vec<mpsc::Sender<LaneInput>>,
    leases: RwLock<BTreeMap<ShardId, Lease>>,
}

impl Shared {
    /// Starts the lanes. They stop when they are told to, or when this is dropped.
    pub(super) fn start(
        store: Arc<dyn StateStore>,
        transport: Arc<dyn Transport>,
        settings: Arc<CoordinatorSettings>,
        clock: Clock,
        holder: HolderId,
        tasks: &TaskTracker,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<ShardId>) {
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
            };
            tasks.spawn(Lane::new(parts, sender.downgrade()).run(receiver));
            lanes.push(sender);
        }
        let leases = RwLock::default();
        let shared = Self { store, transport, settings, counters, clock, holder, lanes, leases };
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

    pub(super) fn owned(&self) -> BTreeMap<ShardId, Lease> {
        self.leases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn own(&self, lease: Lease) {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        leases.insert(lease.shard, lease);
    }

    pub(super) fn disown(&self, shard: ShardId) -> bool {
        let mut leases = self.leases.write().unwrap_or_else(PoisonError::into_inner);
        leases.remove(&shard).is_some()
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
        for lane in &self.lanes {
            let (done, drained) = oneshot::channel();
            if lane.send(LaneInput::Drain(done)).await.is_ok() {
                drop(drained.await);
            }
        }
    }

    /// Stops the lanes; says how many transactions were still open.
    pub(super) async fn stop(&self) -> usize {
        let mut open = 0;
        for lane in &self.lanes {
            let (done, stopped) = oneshot::channel();
            if lane.send(LaneInput::Stop(done)).await.is_ok() {
                open += stopped.await.unwrap_or(0);
            }
        }
        open
    }
}
