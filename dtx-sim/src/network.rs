//! Who can reach whom: partitions of the nodes, in one direction or both.

use crate::{
    coordinator::NAMES,
    event::Event,
    regions::Way,
    swarm::{MS, SECOND},
    world::World,
};

/// A process, or the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Store,
    Coordinator(usize),
    Host(usize),
}

/// Nodes as a set of bits.
type Nodes = u64;

const STORE: Nodes = 1;
const EVERYBODY: Nodes = Nodes::MAX;
/// Bits before those of participants: the store and up to seven coordinators.
const FIXED: usize = 8;

impl Node {
    fn bit(self) -> Nodes {
        match self {
            Self::Store => STORE,
            Self::Coordinator(index) => 1 << (1 + index),
            Self::Host(index) => 1 << (FIXED + index),
        }
    }
}

/// Messages from some nodes to some others do not arrive for a while.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: Nodes,
    to: Nodes,
    until: u64,
}

/// The cuts that there are.
#[derive(Debug, Default)]
pub(crate) struct Network {
    cuts: Vec<Cut>,
}

impl Network {
    pub(crate) fn cut(&mut self, from: Nodes, to: Nodes, until: u64) {
        self.cuts.push(Cut { from, to, until });
    }

    fn is_cut(&self, from: Node, to: Node, now: u64) -> bool {
        let (from, to) = (from.bit(), to.bit());
        self.cuts.iter().any(|cut| cut.until > now && cut.from & from != 0 && cut.to & to != 0)
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
    }
}

impl World {
    /// Whether a message from one node reaches another now. Counts those that do not.
    pub(crate) fn reaches(&mut self, from: Node, to: Node) -> bool {
        let is_cut = self.network.is_cut(from, to, self.now);
        self.counters.cut_off += u64::from(is_cut);
        !is_cut
    }

    /// Whether a call to the store comes through, and its answer too.
    pub(crate) fn reaches_store(&mut self, coordinator: usize) -> bool {
        let node = Node::Coordinator(coordinator);
        self.reaches(node, Node::Store) && self.reaches(Node::Store, node)
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        let coordinators = (0..self.coordinators.len()).map(Node::Coordinator);
        let hosts = (0..self.hosts.len()).map(Node::Host);
        [Node::Store].into_iter().chain(coordinators).chain(hosts).collect()
    }

    fn node_name(&self, node: Node) -> &str {
        match node {
            Node::Store => "store",
            Node::Coordinator(coordinator) => NAMES[coordinator],
            Node::Host(host) => self.hosts[host].name.as_str(),
        }
    }

    /// The names of all nodes.
    pub(crate) fn node_names(&self) -> Vec<String> {
        self.nodes().into_iter().map(|node| self.node_name(node).to_owned()).collect()
    }

    /// The node of a name.
    pub(crate) fn node(&self, name: &str) -> Option<Node> {
        self.nodes().into_iter().find(|node| self.node_name(*node) == name)
    }

    /// Some nodes do not reach others for a while.
    pub(crate) fn partition(&mut self) {
        self.counters.partitions += 1;
        let until = self.now + self.rng.range(100 * MS, 6 * SECOND);
        if let Some(side) = self.regions_apart() {
            let side = side.into_iter().fold(0, |all, node| all | node.bit());
            self.network.cut(side, !side, until);
            // In one direction, or in both.
            if self.rng.chance(700) {
                self.network.cut(!side, side, until);
            }
            return;
        }
        let nodes = self.nodes();
        let one = self.rng.pick(&nodes).bit();
        let pairs: Vec<(Nodes, Nodes)> = match self.rng.below(5) {
            // One is alone.
            0 => vec![(one, EVERYBODY), (EVERYBODY, one)],
            // One is heard and does not hear, or the other way round.
            1 => vec![(EVERYBODY, one)],
            2 => vec![(one, EVERYBODY)],
            // Two do not reach each other, and all others do.
            3 => {
                let coordinator = self.rng.below(self.coordinators.len() as u64) as usize;
                let coordinator = Node::Coordinator(coordinator).bit();
                vec![(one, coordinator), (coordinator, one)]
            }
            // Two parts; the store is in one of them.
            _ => {
                let half = self.rng.next();
                vec![(half, !half), (!half, half)]
            }
        };
        for (from, to) in pairs {
            self.network.cut(from, to, until);
        }
    }

    /// The store is away for a while, or slow.
    pub(crate) fn outage(&mut self) {
        let until = self.now + self.rng.range(50 * MS, 4 * SECOND);
        self.counters.outages += 1;
        if self.rng.chance(400) {
            self.store_slow_until = until;
        } else {
            self.crash_store(until);
        }
    }

    /// What is on its way to the store is lost, and so is what it had on its way back.
    pub(crate) fn crash_store(&mut self, until: u64) {
        self.network.cut(STORE, EVERYBODY, until);
        self.network.cut(EVERYBODY, STORE, until);
    }

    /// Sends a message from one node to another, unless they are cut off from each other.
    pub(crate) fn send(&mut self, (from, to): (Node, Node), event: impl FnMut() -> Event) {
        if self.reaches(from, to) {
            let way = self.way(from, to);
            self.set_off(way, event);
        }
    }

    /// A message is on its way: it may be lost, come late, come twice and overtake others.
    pub(crate) fn set_off(&mut self, way: Way, mut event: impl FnMut() -> Event) {
        match self.transit(way) {
            Some(delay) => self.after(delay, event()),
            None => self.counters.lost += 1,
        }
        let twice = self.twice || (!self.is_healed() && self.rng.chance(self.swarm.duplicate));
        if twice && let Some(delay) = self.transit(way) {
            self.counters.duplicates += 1;
            self.after(delay, event());
        }
    }

    /// How long a message takes; `None`: it is lost.
    fn transit(&mut self, way: Way) -> Option<u64> {
        let way = self.way_us(way);
        if self.is_healed() {
            return Some(way + self.rng.range(1, MS));
        }
        if self.rng.chance(self.swarm.loss) {
            return None;
        }
        let slow = self.rng.chance(self.swarm.slow);
        let most = if slow { self.swarm.slow_us } else { self.swarm.delay_us };
        Some(way + self.rng.range(1, most.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_holds_in_its_direction_and_until_its_end() {
        let mut network = Network::default();
        let (store, first, bank) = (Node::Store, Node::Coordinator(0), Node::Host(0));
        network.cut(first.bit(), bank.bit(), 10);
        assert!(network.is_cut(first, bank, 9));
        assert!(!network.is_cut(first, bank, 10), "it is over");
        assert!(!network.is_cut(bank, first, 9), "the other direction");
        assert!(!network.is_cut(first, store, 9) && !network.is_cut(store, bank, 9));
        network.cut(EVERYBODY, STORE, 10);
        assert!(network.is_cut(bank, store, 9) && !network.is_cut(store, bank, 9));
        network.heal();
        assert!(!network.is_cut(first, bank, 9));
    }

    #[test]
    fn every_node_has_a_bit_of_its_own() {
        let coordinators = (0..2).map(Node::Coordinator);
        let nodes = [Node::Store].into_iter().chain(coordinators).chain((0..30).map(Node::Host));
        let all = nodes.clone().fold(0, |all: Nodes, node| all | node.bit());
        assert_eq!(all.count_ones() as usize, nodes.count());
    }
}
