//! Nodes that lie in regions: a message between two of them takes its way, a region is lost as a
//! whole, and partitions run between regions.

use std::{fmt, sync::Arc, time::Duration};

use dtx_core::{
    engine::{EngineSettings, Placement},
    name::RegionName,
};

use crate::{
    draw::Draw,
    network::Node,
    rng::Rng,
    swarm::{MS, SECOND},
    workload::HostPlan,
    world::World,
};

type OneWay = dyn Fn(usize, usize, &mut Draw) -> Duration + Send + Sync;
type PlacementOf = dyn Fn(&RegionName) -> Arc<dyn Placement> + Send + Sync;

/// In how many regions the nodes of a run lie, at least and at most.
const REGIONS: (u64, u64) = (2, 5);
/// No way is longer, in microseconds.
const WAY_MAX_US: u64 = 10 * SECOND;
/// Of a thousand coordinators, how many are where the store is.
const BESIDE_THE_STORE: u32 = 500;
/// Of a thousand partitions, how many run between regions.
const BETWEEN_REGIONS: u32 = 700;

/// Regions, and how long a message takes from one to another.
///
/// Each run lays its nodes out over two to five of them: the store and the participants anywhere, a
/// coordinator beside the store or anywhere. What a run does to messages otherwise comes on top of
/// their way. Leases are asked for and prolonged at once, wherever the store is.
///
/// ```
/// use dtx_core::name::RegionName;
/// use dtx_sim::{Regions, Sim};
/// use std::time::Duration;
///
/// let names = ["eu", "us"].map(|name| RegionName::new(name).expect("a name"));
/// let regions = Regions::new(names, |from, to, draw| match from == to {
///     true => Duration::ZERO,
///     false => Duration::from_micros(45_000 + draw.below(3_000)),
/// });
/// let summary = Sim::explore(0..20).regions(regions).run();
/// assert_eq!(summary.failed, 0, "{:?}", summary.first_violations);
/// ```
#[derive(Clone)]
pub struct Regions {
    names: Arc<[RegionName]>,
    one_way: Arc<OneWay>,
    placement: Option<Arc<PlacementOf>>,
}

impl fmt::Debug for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Regions").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Regions {
    /// `one_way` says how long one message takes, by the places of the regions in `names`; what is
    /// longer than ten seconds counts as ten. All chance in it has to come from the [`Draw`].
    ///
    /// # Panics
    /// When there is no name.
    pub fn new(
        names: impl IntoIterator<Item = RegionName>,
        one_way: impl Fn(usize, usize, &mut Draw) -> Duration + Send + Sync + 'static,
    ) -> Self {
        let names: Arc<[_]> = names.into_iter().collect();
        assert!(!names.is_empty(), "nodes lie in some region");
        Self { names, one_way: Arc::new(one_way), placement: None }
    }

    /// Gives each coordinator a placement, made for its region and made anew with each start. It
    /// takes the place of that of [`Explorer::placement`](crate::Explorer::placement).
    #[must_use]
    pub fn with_placement(
        mut self,
        make: impl Fn(&RegionName) -> Arc<dyn Placement> + Send + Sync + 'static,
    ) -> Self {
        self.placement = Some(Arc::new(make));
        self
    }

    /// The regions of a run, by their places; some may be named twice. Few, so that more than one
    /// node is lost with a region.
    fn of_run(&self, seed: u64) -> Vec<usize> {
        let mut rng = Rng::new(seed, 12);
        let count = rng.range(REGIONS.0, REGIONS.1);
        (0..count).map(|_| rng.below(self.names.len() as u64) as usize).collect()
    }

    /// Puts participants somewhere.
    pub(crate) fn place(&self, hosts: &mut [HostPlan], seed: u64) {
        let (chosen, mut rng) = (self.of_run(seed), Rng::new(seed, 10));
        for host in hosts {
            let region = *rng.pick(&chosen);
            host.region = Some((region, self.names[region].clone()));
        }
    }
}

/// Where the nodes of a run lie.
#[derive(Debug)]
pub(crate) struct Atlas {
    regions: Regions,
    store: usize,
    coordinators: Vec<usize>,
    hosts: Vec<usize>,
    draw: Draw,
}

/// The regions at both ends of a message; `None`: it has no way to go.
pub(crate) type Way = Option<(usize, usize)>;

impl Atlas {
    pub(crate) fn new(regions: Regions, seed: u64, coordinators: usize, hosts: Vec<usize>) -> Self {
        let (chosen, mut rng) = (regions.of_run(seed), Rng::new(seed, 11));
        let store = *rng.pick(&chosen);
        let place = |_| match rng.chance(BESIDE_THE_STORE) {
            true => store,
            false => *rng.pick(&chosen),
        };
        let coordinators = (0..coordinators).map(place).collect();
        Self { regions, store, coordinators, hosts, draw: Draw(rng) }
    }

    fn of(&self, node: Node) -> usize {
        match node {
            Node::Store => self.store,
            Node::Coordinator(index) => self.coordinators[index],
            Node::Host(index) => self.hosts[index],
        }
    }
}

impl World {
    /// The way of a message from one node to another.
    pub(crate) fn way(&self, from: Node, to: Node) -> Way {
        self.atlas.as_ref().map(|atlas| (atlas.of(from), atlas.of(to)))
    }

    /// How long a message is on its way, in microseconds.
    pub(crate) fn way_us(&mut self, way: Way) -> u64 {
        let Some(((from, to), atlas)) = way.zip(self.atlas.as_mut()) else { return 0 };
        let time = (atlas.regions.one_way)(from, to, &mut atlas.draw);
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(WAY_MAX_US)
    }

    /// How long a call of a coordinator is on its way to the store.
    pub(crate) fn way_to_store(&mut self, coordinator: usize) -> u64 {
        let way = self.way(Node::Coordinator(coordinator), Node::Store);
        self.way_us(way)
    }

    /// How long the store's answer is on its way.
    pub(crate) fn way_from_store(&mut self, coordinator: usize) -> u64 {
        let way = self.way(Node::Store, Node::Coordinator(coordinator));
        self.way_us(way)
    }

    /// What the engines of a coordinator that starts are told.
    pub(crate) fn settings_of(&self, coordinator: usize) -> Arc<EngineSettings> {
        let placement = self.placement_of(coordinator);
        match placement {
            Some(placement) => {
                Arc::new(EngineSettings { placement: Some(placement), ..(*self.settings).clone() })
            }
            None => self.settings.clone(),
        }
    }

    /// A placement for a coordinator that starts.
    fn placement_of(&self, coordinator: usize) -> Option<Arc<dyn Placement>> {
        let atlas = self.atlas.as_ref()?;
        let make = atlas.regions.placement.as_ref()?;
        Some(make(&atlas.regions.names[atlas.coordinators[coordinator]]))
    }

    /// The nodes of some regions.
    fn nodes_of(&self, is_in: impl Fn(usize) -> bool) -> Vec<Node> {
        let Some(atlas) = &self.atlas else { return Vec::new() };
        self.nodes().into_iter().filter(|node| is_in(atlas.of(*node))).collect()
    }

    /// A region is lost for a while, with all that is in it.
    pub(crate) fn lose_region(&mut self) {
        let down = self.rng.range(100 * MS, 6 * SECOND);
        let nodes = self.nodes();
        let one = *self.rng.pick(&nodes);
        let Some(atlas) = &self.atlas else { return };
        let region = atlas.of(one);
        self.counters.region_losses += 1;
        for node in self.nodes_of(|of| of == region) {
            match node {
                Node::Store => self.crash_store(self.now + down),
                Node::Coordinator(coordinator) => self.crash_coordinator(coordinator, down),
                Node::Host(host) => self.crash_participant(host, down),
            }
        }
    }

    /// Nodes on one side of a partition between regions; `None`: it is one of another kind.
    pub(crate) fn regions_apart(&mut self) -> Option<Vec<Node>> {
        if self.atlas.is_none() || !self.rng.chance(BETWEEN_REGIONS) {
            return None;
        }
        let sides = self.rng.next();
        Some(self.nodes_of(|region| sides >> (region % 64) & 1 == 1))
    }
}
