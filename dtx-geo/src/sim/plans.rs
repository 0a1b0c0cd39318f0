//! What plans are expected to take, beside what they take in simulation.

use std::time::Duration;

use serde::Serialize;

use crate::{
    model::{Jitter, JitterMap, Provider, Rng, RttMap, Shipped},
    plan::{DataOperation, Kind, Mode, PlanMap, RoundTrips, Shape, TransactionPlan},
    pool::Member,
    sim::network::Network,
};

/// Round trip to most of the zones of a region: the middle of what is measured between zones.
const ZONES: Duration = Duration::from_micros(760);
/// How far copies are behind.
const LAG: Duration = Duration::from_secs(1);
/// Transactions of each plan of which the median is taken.
const TRANSACTIONS: usize = 401;
/// Plans of each provider.
const PLANS: usize = 300;

/// How far the expected latency of plans is from the simulated one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CostModel {
    /// Whose map.
    pub provider: &'static str,
    /// Transactions drawn at random, each planned and simulated.
    pub plans: usize,
    /// Those among them that need a two-phase commit.
    pub two_phase: usize,
    /// How far the expected latency is from the simulated median, on average, as a share of that.
    pub mean_off: f64,
    /// The same of the worst one.
    pub worst_off: f64,
    /// How far plans are from the bound over all ways, on average.
    pub mean_gap: f64,
    /// How much sooner than with the coordinator at the client two-phase plans end, on average.
    pub sooner: f64,
}

struct Drawn<'a> {
    network: &'a Network,
    zones: Jitter,
    rng: &'a mut Rng,
}

impl RoundTrips for Drawn<'_> {
    fn between(&mut self, from: usize, to: usize) -> u64 {
        let (from, to) = (Member::of(from), Member::of(to));
        self.network.one_way(from, to, self.rng) + self.network.one_way(to, from, self.rng)
    }

    fn zones(&mut self) -> u64 {
        let trip = self.zones.one_way(self.rng) + self.zones.one_way(self.rng);
        trip.as_micros() as u64
    }
}

/// How long the client of a plan waits in the middle, and in 99 of 100 cases, over drawn round trips:
/// messages vary as `jitter` says, zones as something that was not measured.
pub fn drawn_latency(
    map: &RttMap,
    jitter: &JitterMap,
    (plans, zones): (&PlanMap, Duration),
    (shape, plan): (&Shape<'_>, &TransactionPlan),
    (seed, transactions): (u64, usize),
) -> (Duration, Duration) {
    let network = Network::new(map.clone(), jitter);
    let mut rng = Rng::new(seed, 13);
    let mut drawn = Drawn { network: &network, zones: Jitter::of_mean(zones), rng: &mut rng };
    let samples = (0..transactions.max(1)).map(|_| plans.carry_out(shape, plan, &mut drawn));
    let mut samples: Vec<u64> = samples.collect();
    samples.sort_unstable();
    let at = |per_cent: usize| Duration::from_micros(samples[(samples.len() - 1) * per_cent / 100]);
    (at(50), at(99))
}

/// Plans transactions drawn at random over the maps whose jitter was measured, and simulates them.
pub fn cost_model(seed: u64) -> Vec<CostModel> {
    [Provider::Aws, Provider::Gcp].map(|provider| of(provider, seed)).into()
}

fn of(provider: Provider, seed: u64) -> CostModel {
    let map = Shipped::rtt(provider).symmetric();
    let network = Network::new(map.clone(), &Shipped::jitter(provider));
    let plans = PlanMap::new(&map, ZONES, LAG).expect("every pair of a shipped map is known");
    let regions = map.regions().len();
    let mut rng = Rng::new(seed, 11);
    let allowed = vec![true; regions];
    let mut model = CostModel {
        provider: provider.name(),
        plans: PLANS,
        two_phase: 0,
        mean_off: 0.0,
        worst_off: 0.0,
        mean_gap: 0.0,
        sooner: 0.0,
    };
    for _ in 0..PLANS {
        let copies: Vec<_> =
            (0..1 + rng.below(8)).map(|_| distinct(regions, 3, &mut rng)).collect();
        let operations: Vec<_> = copies
            .iter()
            .map(|copies| DataOperation {
                write: rng.chance(700),
                home: copies[0],
                copies: &copies[1..],
                staleness: LAG * rng.below(3) as u32,
                bytes: 0,
            })
            .collect();
        let modes = [Mode::StrongGlobal, Mode::StrongRegional, Mode::EventualGlobal];
        let mode = modes[rng.below(3) as usize];
        let client = rng.below(regions as u64) as usize;
        let shape = Shape { client, mode, operations: &operations, allowed: &allowed };
        let plan = plans.plan(&shape).expect("a test runs it: all regions are known and allowed");
        let mut drawn = Drawn { network: &network, zones: Jitter::of_mean(ZONES), rng: &mut rng };
        let mut samples: Vec<_> =
            (0..TRANSACTIONS).map(|_| plans.carry_out(&shape, &plan, &mut drawn)).collect();
        samples.sort_unstable();
        let simulated = samples[TRANSACTIONS / 2] as f64 / 1e6;
        let off = (plan.latency.as_secs_f64() - simulated).abs() / simulated;
        model.mean_off += off / PLANS as f64;
        model.worst_off = model.worst_off.max(off);
        let bound = plans.bound(&shape).expect("it was planned").as_secs_f64();
        model.mean_gap += (plan.latency.as_secs_f64() / bound - 1.0) / PLANS as f64;
        if plan.kind == Kind::TwoPhase {
            model.two_phase += 1;
            let at_client = plans.at(&shape, client).expect("it was planned");
            model.sooner += 1.0 - plan.latency.as_secs_f64() / at_client.as_secs_f64();
        }
    }
    model.sooner /= model.two_phase.max(1) as f64;
    model
}

/// So many different regions.
fn distinct(regions: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let region = rng.below(regions as u64) as usize;
        if !found.contains(&region) {
            found.push(region);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_take_what_they_are_expected_to() {
        for model in cost_model(1) {
            println!("{model:?}");
            assert!(model.mean_off <= 0.03 && model.worst_off <= 0.10, "{model:?}");
            assert!(model.two_phase >= 50 && model.sooner > 0.0, "{model:?}");
        }
    }
}
