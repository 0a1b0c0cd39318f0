//! Whether this world is like the real one: medians that others measured, simulated.

use std::time::Duration;

use serde::Serialize;

use crate::{
    model::{Protocol, Provider, Published, Rng, RttMap, Shipped},
    pool::Member,
    sim::network::Network,
};

/// Where the leaders of all shards were.
const LEADER: &str = "us-east1";
/// Where their followers were.
const FOLLOWERS: [&str; 2] = ["europe-north1", "southamerica-east1"];
/// Transactions of which the median is taken.
const TRANSACTIONS: usize = 10_001;
/// A median under a millisecond is of one region and says nothing of the map.
const LOCAL: Duration = Duration::from_millis(1);

/// A published median beside the simulated one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fidelity {
    /// How transactions are committed.
    pub protocol: &'static str,
    /// Where their coordinators are.
    pub region: String,
    /// Whether messages leave the region.
    pub wide: bool,
    /// What was measured, in milliseconds.
    pub published_ms: f64,
    /// What the sum of round trips of the map is, in milliseconds.
    pub formula_ms: f64,
    /// The median of simulated transactions, in milliseconds.
    pub simulated_ms: f64,
    /// How far the simulated median is from the published one, as a share of that.
    pub off: f64,
}

/// Simulates each published median over the shipped map of its provider.
pub fn fidelity(seed: u64) -> Vec<Fidelity> {
    let map = Shipped::rtt(Provider::Gcp).symmetric();
    let network = Network::new(map.clone(), &Shipped::jitter(Provider::Gcp));
    let mut rng = Rng::new(seed, 8);
    let published = Shipped::published();
    published.iter().map(|published| one(published, &map, &network, &mut rng)).collect()
}

fn one(published: &Published, map: &RttMap, network: &Network, rng: &mut Rng) -> Fidelity {
    let index = |name: &str| map.index(name).expect("a test runs it: the regions are in the map");
    let (from, leader) = (index(published.region.name.as_str()), index(LEADER));
    let mean = |from, to| {
        let rtt = map.rtt(from, to).expect("every pair of a shipped map is known");
        rtt.value.as_micros() as u64
    };
    let formula = latency(published.protocol, from, leader, FOLLOWERS.map(index), mean);
    let mut samples: Vec<_> = (0..TRANSACTIONS)
        .map(|_| {
            let round_trip = |from: usize, to: usize| {
                let (from, to) = (Member::of(from), Member::of(to));
                network.one_way(from, to, rng) + network.one_way(to, from, rng)
            };
            latency(published.protocol, from, leader, FOLLOWERS.map(index), round_trip)
        })
        .collect();
    samples.sort_unstable();
    let simulated_ms = samples[TRANSACTIONS / 2] as f64 / 1e3;
    let published_ms = published.median.as_secs_f64() * 1e3;
    Fidelity {
        protocol: published.protocol.name(),
        region: published.region.name.to_string(),
        wide: published.median > LOCAL,
        published_ms,
        formula_ms: formula as f64 / 1e3,
        simulated_ms,
        off: (simulated_ms - published_ms).abs() / published_ms,
    }
}

/// The messages of one commit. The leaders of all shards are in one region, so that each round
/// is one round trip; with three replicas the first follower makes a majority.
fn latency(
    protocol: Protocol,
    from: usize,
    leader: usize,
    followers: [usize; 2],
    mut round_trip: impl FnMut(usize, usize) -> u64,
) -> u64 {
    let rounds = if protocol == Protocol::TwoPhaseLockingPaxos { 2 } else { 1 };
    let to_leader: u64 = (0..rounds).map(|_| round_trip(from, leader)).sum();
    let majority = followers.map(|follower| round_trip(leader, follower));
    let replicated = protocol != Protocol::Ncc;
    to_leader + if replicated { majority[0].min(majority[1]) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_medians_come_out_within_three_percent() {
        let found = fidelity(1);
        for one in &found {
            println!("{one:?}");
        }
        let wide: Vec<_> = found.iter().filter(|one| one.wide).collect();
        assert_eq!((found.len(), wide.len()), (12, 11));
        assert!(wide.iter().all(|one| one.off <= 0.03), "{wide:?}");
        // The twelfth is 0.01 ms away.
        let local = found.iter().find(|one| !one.wide).expect("there is one");
        assert!((local.simulated_ms - local.published_ms).abs() < 0.05, "{local:?}");
    }

    #[test]
    fn a_protocol_has_its_rounds_and_its_majority() {
        let round_trip = |from, to| match (from, to) {
            (3, 0) => 100,
            (0, 1) => 30,
            (0, 2) => 20,
            _ => 1_000,
        };
        let micros = |protocol| latency(protocol, 3, 0, [1, 2], round_trip);
        assert_eq!(Protocol::ALL.map(micros), [220, 100, 120]);
    }
}
