//! Regions over stores in memory and one network.

use std::{sync::Arc, time::Duration};

use dtx_core::{
    store::{ManualClock, MemorySettings, MemoryStore, ParticipantStore},
    time::Timestamp,
};
use dtx_geo::{
    model::{Provider, RttMap, Shipped},
    pool::{Answer, HoldId, Member, PoolMap, PoolSettings},
};
use dtx_geo_host::{PoolHandle, PoolNode, PoolNodeSettings, PoolSpec, Told};
use tokio::time::Instant;

use crate::{
    link::Net,
    store::{Break, Rows},
    watch::Watch,
};

pub(crate) const NAMES: [&str; 3] = ["us-east-1", "eu-west-1", "sa-east-1"];
pub(crate) const TTL: Duration = Duration::from_secs(5);

pub(crate) fn map() -> RttMap {
    Shipped::rtt(Provider::Aws).symmetric().select(&NAMES).expect("they are in the map")
}

pub(crate) fn spec(own: &str, settings: PoolSettings) -> PoolSpec {
    PoolSpec::new("cds", &map(), own, settings).expect("it can be")
}

pub(crate) struct Region {
    pub(crate) disk: MemoryStore,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) spec: PoolSpec,
    pub(crate) rows: Arc<Rows>,
    pub(crate) node: Option<PoolNode>,
}

pub(crate) struct World {
    pub(crate) regions: Vec<Region>,
    pub(crate) net: Net,
    pub(crate) watch: Watch,
}

pub(crate) fn disk() -> (MemoryStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    (MemoryStore::with_clock(MemorySettings::default(), clock.clone()), clock)
}

impl World {
    pub(crate) async fn new(stock: [u64; 3], settings: PoolSettings, net: Net) -> Self {
        Self::broken(stock, settings, net, |_| None).await
    }

    /// Where some region's store breaks at a write.
    pub(crate) async fn broken(
        stock: [u64; 3],
        settings: PoolSettings,
        net: Net,
        broken: impl Fn(usize) -> Option<(Break, u64)>,
    ) -> Self {
        let mut disks = Vec::new();
        let mut begin = Vec::new();
        for (name, units) in NAMES.iter().zip(stock) {
            let (disk, clock) = disk();
            let spec = spec(name, settings);
            PoolNode::create(&disk, &spec, units).await.expect("it is created");
            let store: Arc<dyn ParticipantStore> = Arc::new(disk.clone());
            begin.push(PoolNode::read(store, &spec).await.expect("it is there"));
            disks.push((disk, clock, spec));
        }
        let pool_map = PoolMap::new(&map()).expect("every pair is known");
        let watch = Watch::new(settings, &pool_map, begin);
        let mut regions = Vec::new();
        for (index, (disk, clock, spec)) in disks.into_iter().enumerate() {
            let own = Member(index as u8);
            let rows = Rows::new(&disk, &spec, own, &watch, broken(index));
            regions.push(Region { disk, clock, spec, rows, node: None });
        }
        let mut world = Self { regions, net, watch };
        for index in 0..NAMES.len() {
            world.begin(index).await;
        }
        world.pass(Duration::from_millis(250)).await;
        world
    }

    /// Starts a region over the rows that it has, again if its store breaks meanwhile.
    async fn begin(&mut self, index: usize) {
        loop {
            let region = &mut self.regions[index];
            let link = self.net.link(NAMES[index]);
            let (rows, spec) = (region.rows.clone(), region.spec.clone());
            match PoolNode::start(rows, link, spec, PoolNodeSettings::default()).await {
                Ok(node) => {
                    region.node = Some(node);
                    return;
                }
                Err(_) => self.renew(index),
            }
        }
    }

    fn renew(&mut self, index: usize) {
        let region = &mut self.regions[index];
        let own = Member(index as u8);
        region.rows.cut();
        region.rows = Rows::new(&region.disk, &region.spec, own, &self.watch, None);
    }

    /// The process is gone.
    pub(crate) fn crash(&mut self, index: usize) {
        self.regions[index].node = None;
        self.regions[index].rows.cut();
    }

    /// Another process over the same rows. Its clock shows how much time has passed.
    pub(crate) async fn restart(&mut self, index: usize) {
        self.crash(index);
        self.renew(index);
        self.begin(index).await;
    }

    /// Those whose stores have broken begin again.
    pub(crate) async fn mend(&mut self) {
        for index in 0..NAMES.len() {
            if self.is_gone(index) {
                self.restart(index).await;
            }
        }
    }

    fn is_gone(&self, index: usize) -> bool {
        use std::future::Future;
        let mut gone = std::pin::pin!(self.regions[index].rows.until_gone());
        let waker = std::task::Waker::noop();
        gone.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready()
    }

    pub(crate) fn at(&self, index: usize) -> PoolHandle {
        let node = self.regions[index].node.as_ref().expect("it runs");
        node.handle().clone()
    }

    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep_until(Instant::now() + time).await;
    }

    pub(crate) async fn reserve(&self, index: usize, id: u128, units: u64) -> Answer {
        let since = self.watch.now();
        let told = self.at(index).reserve(HoldId(id), units, TTL).await.expect("it runs");
        if let Answer::SoldOut { .. } = told.answer {
            self.watch.sold_out(since, units);
        }
        told.answer
    }

    /// Confirms at home, wherever the hold is.
    pub(crate) async fn confirm(&self, index: usize, id: u128, units: u64) -> Told {
        let told = self.at(index).confirm(HoldId(id)).await.expect("it runs");
        if told.answer == Answer::Confirmed {
            self.watch.sold(told.at, HoldId(id), units);
        }
        told
    }
}
