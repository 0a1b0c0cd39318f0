//! Which regions reach each other.

use std::{collections::BTreeSet, time::Duration};

use crate::model::RttMap;

/// A link that fails in one direction, by the indexes of its regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailedLink {
    /// Where messages come from.
    pub from: usize,
    /// Where they do not arrive.
    pub to: usize,
}

/// A map with regions and links that have failed. There is no routing around a failed link: where
/// two regions cannot reach each other, they cannot.
#[derive(Clone, Debug)]
pub struct Topology {
    map: RttMap,
    regions: BTreeSet<usize>,
    links: BTreeSet<FailedLink>,
}

impl Topology {
    /// All is well.
    pub fn new(map: RttMap) -> Self {
        Self { map, regions: BTreeSet::new(), links: BTreeSet::new() }
    }

    /// The map beneath.
    pub fn map(&self) -> &RttMap {
        &self.map
    }

    /// A region fails: nothing comes from it and nothing reaches it.
    pub fn fail_region(&mut self, region: usize) {
        self.regions.insert(region);
    }

    /// A region is back.
    pub fn heal_region(&mut self, region: usize) {
        self.regions.remove(&region);
    }

    /// A link fails in one direction.
    pub fn cut(&mut self, link: FailedLink) {
        self.links.insert(link);
    }

    /// All links between `side` and the other regions fail, in both directions.
    pub fn partition(&mut self, side: &[usize]) {
        for from in 0..self.map.regions().len() {
            for to in 0..self.map.regions().len() {
                if side.contains(&from) != side.contains(&to) {
                    self.cut(FailedLink { from, to });
                }
            }
        }
    }

    /// All links are back.
    pub fn heal_links(&mut self) {
        self.links.clear();
    }

    /// Whether a region is up.
    pub fn is_up(&self, region: usize) -> bool {
        !self.regions.contains(&region)
    }

    /// Whether a message from one region arrives at another.
    pub fn delivers(&self, from: usize, to: usize) -> bool {
        self.is_up(from) && self.is_up(to) && !self.links.contains(&FailedLink { from, to })
    }

    /// The round trip, if both of its messages arrive.
    pub fn rtt(&self, from: usize, to: usize) -> Option<Duration> {
        let both = self.delivers(from, to) && self.delivers(to, from);
        self.map.rtt(from, to).filter(|_| both).map(|rtt| rtt.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Provider, Shipped};

    #[test]
    fn what_has_failed_is_not_reached_until_it_is_healed() {
        let mut world = Topology::new(Shipped::rtt(Provider::Ibm));
        assert!(world.rtt(0, 1).is_some());
        world.cut(FailedLink { from: 1, to: 0 });
        assert!(world.delivers(0, 1) && !world.delivers(1, 0));
        assert_eq!((world.rtt(0, 1), world.rtt(1, 0)), (None, None));
        world.heal_links();
        world.partition(&[0, 2]);
        assert!(world.delivers(0, 2) && world.delivers(1, 3) && !world.delivers(2, 3));
        world.heal_links();
        world.fail_region(3);
        assert!(!world.delivers(3, 3) && world.rtt(1, 3).is_none());
        world.heal_region(3);
        assert!(world.rtt(1, 3).is_some());
    }
}
