//! A client without a coordinator: it gives the store the same writes, in batches that are ready
//! when the one before returns.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dtx::{
    coordinator::Store,
    ids::{HolderId, TxId, WriteId, mix},
    store::{CommitResult, Fence, Lease, LeaseRequest, StateStore, TxWrite},
};
use dtx_bench::percentile;

use super::{coordinator::LEAD, sample::Sample};

/// Longer than anything here takes, as nobody renews them.
const LEASE: Duration = Duration::from_secs(3_600);

/// Ids are given out by all lanes of the process.
static IDS: AtomicU64 = AtomicU64::new(0);

/// A store whose shards are all ours.
#[derive(Clone, Debug)]
pub(crate) struct Bare {
    store: Arc<dyn StateStore>,
    fences: Arc<Vec<Fence>>,
    sample: Sample,
}

/// An id as a coordinator makes it: the time, then chance.
fn fresh() -> TxId {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let number = IDS.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mix(number ^ millis.rotate_left(40)).to_be_bytes());
    random[8..].copy_from_slice(&(number as u16).to_be_bytes());
    TxId::from_parts(millis, random)
}

impl Bare {
    pub(crate) async fn new(store: Arc<dyn Store>, sample: &Sample) -> Self {
        let store: Arc<dyn StateStore> = store;
        let shards = store.info().shards.shards().collect();
        let holder = HolderId(u128::from(mix(IDS.fetch_add(1, Ordering::Relaxed))));
        let mut leases = store.acquire(&LeaseRequest { holder, shards, ttl: LEASE }).await.unwrap();
        leases.sort_by_key(|lease| lease.shard);
        assert_eq!(leases.len(), usize::from(store.info().shards.get()), "nobody else is there");
        let fences = Arc::new(leases.iter().map(|lease| lease.fence()).collect());
        Self { store, fences, sample: sample.clone() }
    }

    fn fence(&self, tx: TxId) -> Fence {
        self.fences[usize::from(tx.shard(self.store.info().shards).0)]
    }

    /// An id of a shard of this lane.
    fn id_in(&self, lane: usize) -> TxId {
        let info = self.store.info();
        loop {
            let tx = fresh();
            if usize::from(tx.shard(info.shards).0) % info.lanes == lane {
                return tx;
            }
        }
    }

    async fn commit(&self, writes: &[TxWrite]) {
        for result in self.store.commit(writes).await {
            assert!(matches!(result, CommitResult::Committed(_)), "{result:?}");
        }
    }

    /// One lane: each commit has the accepts of one half of what is in flight, and the ends of
    /// those that were accepted by the one before. Says how many ended while it counted.
    async fn lane(self, lane: usize, half: usize, from: Instant, until: Instant) -> u64 {
        let writer = HolderId(u128::from(mix(IDS.fetch_add(1, Ordering::Relaxed))));
        let mut number = 0;
        let mut id = move || {
            number += 1;
            WriteId { writer, number }
        };
        let (mut accepted, mut ended) = (Vec::new(), 0);
        loop {
            let begin: Vec<TxId> = (0..half).map(|_| self.id_in(lane)).collect();
            let accepts = begin.iter().map(|&tx| self.sample.accept(tx, id(), self.fence(tx)));
            let mut writes: Vec<TxWrite> = accepts.collect();
            writes.extend(accepted.iter().map(|&tx| self.sample.end(tx, id(), self.fence(tx))));
            self.commit(&writes).await;
            let now = Instant::now();
            if now >= until {
                return ended;
            }
            if now >= from {
                ended += accepted.len() as u64;
            }
            accepted = begin;
        }
    }

    /// Transactions per second with so many in flight, over all lanes.
    pub(crate) async fn window(&self, in_flight: usize, length: Duration) -> f64 {
        let lanes = self.store.info().lanes;
        let from = Instant::now() + LEAD;
        let until = from + length;
        let half = in_flight / lanes / 2;
        let lane = |lane| tokio::spawn(self.clone().lane(lane, half, from, until));
        let lanes: Vec<_> = (0..lanes).map(lane).collect();
        let mut ended = 0;
        for lane in lanes {
            ended += lane.await.unwrap();
        }
        ended as f64 / length.as_secs_f64()
    }

    /// The middle of what single commits take, one after the other, in microseconds.
    pub(crate) async fn single_commit(&self, samples: usize) -> f64 {
        let writer = HolderId(u128::from(mix(IDS.fetch_add(1, Ordering::Relaxed))));
        let mut taken = Vec::new();
        for number in 0..samples as u64 {
            let tx = fresh();
            let write = self.sample.accept(tx, WriteId { writer, number }, self.fence(tx));
            let begun = Instant::now();
            self.commit(&[write]).await;
            taken.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        percentile(taken, 0.5)
    }

    /// Writes so many finished transactions, each in one write.
    pub(crate) async fn load(&self, count: usize) {
        let (lanes, most) = (self.store.info().lanes, self.store.info().limits.batch_writes_max);
        let lane = |lane: usize| {
            let bare = self.clone();
            tokio::spawn(async move {
                let writer = HolderId(u128::from(mix(IDS.fetch_add(1, Ordering::Relaxed))));
                let numbers: Vec<u64> = (0..(count / lanes) as u64).collect();
                for numbers in numbers.chunks(most) {
                    let write = |&number: &u64| {
                        let tx = bare.id_in(lane);
                        bare.sample.whole(tx, WriteId { writer, number }, bare.fence(tx))
                    };
                    bare.commit(&numbers.iter().map(write).collect::<Vec<_>>()).await;
                }
            })
        };
        let lanes: Vec<_> = (0..lanes).map(lane).collect();
        for lane in lanes {
            lane.await.unwrap();
        }
    }

    /// Gives the shards back.
    pub(crate) async fn release(&self) {
        let lease = |fence: &Fence| Lease {
            shard: fence.shard,
            holder: fence.holder,
            epoch: fence.epoch,
            ttl: LEASE,
        };
        self.store.release(&self.fences.iter().map(lease).collect::<Vec<_>>()).await.unwrap();
    }
}
