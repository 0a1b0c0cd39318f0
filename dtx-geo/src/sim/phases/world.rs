//! Paths between regions, and what a coordinator learns of them.

use std::time::Duration;

use dtx_core::time::Timestamp;

use crate::{
    model::{JitterMap, LivePair, Provider, Rng, Routes, RttMap, Shipped},
    phase::Latency,
    pool::Member,
    sim::network::Network,
};

/// What a region takes to pass a message on and its answer back.
const RELAY: Duration = Duration::from_micros(200);
/// A participant takes at least this to do what it is asked, and the mean of the exponential above
/// it, in microseconds.
const SERVICE: (u64, f64) = (200, 300.0);
/// After so many transactions what is known of latencies is read again.
const REFRESH: u64 = 100;
/// Between two samples of a path, in microseconds.
const SAMPLE_GAP: u64 = 20_000;
/// Samples of each path before the first transaction.
pub(super) const WARM_UP: u64 = 1_000;

/// The paths between the regions of one provider.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) map: RttMap,
    /// The shortest ways, at no cost for passing on.
    pub(super) closed: RttMap,
    network: Network,
    routes: Option<Routes>,
    extra: u64,
}

/// One command: there, done, back; and the commit that follows the decision. In microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub(super) there: u64,
    pub(super) service: u64,
    pub(super) back: u64,
    pub(super) commit: u64,
}

impl Draw {
    pub(super) fn answer(&self) -> u64 {
        self.there + self.service + self.back
    }
}

impl Paths {
    pub(super) fn new(provider: Provider, relayed: bool, jitter_ms: u64) -> Self {
        let map = Shipped::rtt(provider).symmetric();
        let jitters: JitterMap = Shipped::jitter(provider);
        let network = Network::new(map.clone(), &jitters);
        let routes = relayed.then(|| Routes::new(&map, RELAY));
        Self { closed: map.closure(), network, routes, extra: jitter_ms * 1_000, map }
    }

    fn one_way(&self, from: usize, to: usize, rng: &mut Rng) -> u64 {
        let mut hop = |from, to| self.network.one_way(Member::of(from), Member::of(to), rng);
        let way = match &self.routes {
            Some(routes) if from != to => {
                let (mut at, mut total) = (from, 0);
                for next in routes.way(from, to) {
                    let relayed = if at == from { 0 } else { RELAY.as_micros() as u64 / 2 };
                    total += relayed + hop(at, next);
                    at = next;
                }
                total
            }
            _ => hop(from, to),
        };
        way + rng.below(self.extra + 1)
    }

    pub(super) fn draw(&self, from: usize, to: usize, rng: &mut Rng) -> Draw {
        Draw {
            there: self.one_way(from, to, rng),
            service: SERVICE.0 + rng.exponential(SERVICE.1) as u64,
            back: self.one_way(to, from, rng),
            commit: self.one_way(from, to, rng),
        }
    }
}

/// What a coordinator knows of one participant.
#[derive(Debug, Default)]
pub(super) struct Known {
    pair: LivePair,
    samples: u64,
    pub(super) latency: Latency,
    /// A ping in whole milliseconds, smoothed with 0.8 and begun at zero.
    point: f64,
}

impl Known {
    pub(super) fn learn(&mut self, draw: &Draw) {
        let now = Timestamp::from_micros(self.samples * SAMPLE_GAP);
        self.pair.record(now, Duration::from_micros(draw.answer()), 1);
        let ping = (draw.there + draw.back) / 1_000;
        self.point = self.point * 0.8 + ping as f64 * 0.2;
        self.samples += 1;
        if self.samples.is_multiple_of(REFRESH) {
            self.latency = Latency::measured(&self.pair).expect("there are samples");
        }
    }

    /// The smoothed ping, in microseconds.
    pub(super) fn point(&self) -> u64 {
        self.point as u64 * 1_000
    }
}
