//! How long messages take, and which arrive.

use crate::{
    model::{JitterMap, Rng, RttMap, Topology, Ways},
    pool::Member,
};

/// A network between regions.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) topology: Topology,
    ways: Ways,
    /// Of a thousand messages, how many are lost, and how many come twice.
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    /// Of a thousand messages, how many are late by up to a second.
    pub(crate) late: u32,
}

impl Network {
    pub(crate) fn new(map: RttMap, jitters: &JitterMap) -> Self {
        let ways = Ways::new(&map, jitters);
        Self { topology: Topology::new(map), ways, lost: 0, doubled: 0, late: 0 }
    }

    /// How long one message takes in one direction.
    pub(crate) fn one_way(&self, from: Member, to: Member, rng: &mut Rng) -> u64 {
        let way = self.ways.one_way(from.index(), to.index(), rng);
        u64::try_from(way.as_micros()).unwrap_or(u64::MAX)
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
