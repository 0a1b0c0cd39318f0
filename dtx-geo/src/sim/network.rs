//! How long messages take, and which arrive.

use std::time::Duration;

use crate::{
    model::{Jitter, JitterMap, Rng, RttMap, Topology},
    pool::Member,
};

/// A network between regions.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) topology: Topology,
    jitter: Vec<Jitter>,
    /// Of a thousand messages, how many are lost, and how many come twice.
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    /// Of a thousand messages, how many are late by up to a second.
    pub(crate) late: u32,
}

impl Network {
    pub(crate) fn new(map: RttMap, jitters: &JitterMap) -> Self {
        let mut jitter = Vec::new();
        for (a, from) in map.regions().iter().enumerate() {
            for (b, to) in map.regions().iter().enumerate() {
                let mean = map.rtt(a, b).map_or(Duration::from_secs(1), |rtt| rtt.value);
                jitter.push(jitters.get(from, to).unwrap_or_else(|| Jitter::of_mean(mean)));
            }
        }
        Self { topology: Topology::new(map), jitter, lost: 0, doubled: 0, late: 0 }
    }

    /// How long one message takes in one direction.
    pub(crate) fn one_way(&self, from: Member, to: Member, rng: &mut Rng) -> u64 {
        let count = self.topology.map().regions().len();
        let jitter = self.jitter[from.index() * count + to.index()];
        u64::try_from(jitter.one_way(rng).as_micros()).unwrap_or(u64::MAX)
    }

    /// When the copies of a message arrive; none: it is lost.
    pub(crate) fn arrivals(&self, from: Member, to: Member, rng: &mut Rng) -> [Option<u64>; 2] {
        if !self.topology.delivers(from.index(), to.index()) || rng.chance(self.lost) {
            return [None, None];
        }
        let way = |rng: &mut Rng| {
            let late = if rng.chance(self.late) { rng.below(1_000_000) } else { 0 };
            Some(self.one_way(from, to, rng) + late)
        };
        let first = way(rng);
        let second = if rng.chance(self.doubled) { way(rng) } else { None };
        [first, second]
    }
}
